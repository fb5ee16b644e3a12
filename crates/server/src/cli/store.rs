//! `panscan store`: looks after the file tier. What is done lies in `panscan-cache`; here it is asked for, followed and
//! told. Not here: fetching, and anything that a server does by itself.

mod export;
mod sheet;
mod steps;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use panscan_cache::{CacheError, Census, Copied, DamagedFile, Writer};
use serde_json::{Value, json};

use self::steps::Steps;
use super::args::{StoreArgs, StoreCommand};
use super::exit::Exit;
use super::failure::Failure;
use super::output::{Notes, plain_table};
use crate::app::AppError;

/// Does what the command says to the store in `dir`.
pub fn run(args: StoreArgs, dir: &Path, l3_bytes: u64) -> Result<Exit, Failure> {
    match args.command {
        StoreCommand::Verify(at) => verify(dir, at.json),
        StoreCommand::Stats(at) => stats(dir, at.json, l3_bytes),
        StoreCommand::Compact(at) => compact(dir, at.json),
        StoreCommand::Export(args) => export::run(&args, dir),
        StoreCommand::Backup(args) => {
            let copied = Steps::follow("saving", |step| panscan_cache::backup(dir, &args.to, step));
            copies(&copied.map_err(failed)?, "saved", &args.to, args.at.json)
        }
        StoreCommand::Restore(args) => {
            let copied = Steps::follow("bringing back", |step| panscan_cache::restore(&args.from, dir, step));
            copies(&copied.map_err(failed)?, "restored", dir, args.at.json)
        }
    }
}

fn failed(error: CacheError) -> Failure {
    Failure::App(AppError::Store(error))
}

fn verify(dir: &Path, as_json: bool) -> Result<Exit, Failure> {
    let report = Steps::follow("verifying", |step| panscan_cache::verify(dir, step)).map_err(failed)?;
    if as_json {
        say(&json!({
            "ok": report.is_whole(),
            "store": shown(dir),
            "blocks": report.blocks,
            "bytes": report.bytes,
            "notes": report.notes,
            "damaged": damaged_values(&report.damaged),
            "missing": paths(&report.missing),
            "set_aside": paths(&report.set_aside),
        }))?;
    } else {
        let mut text = damaged_lines(&report.damaged);
        text.extend(report.missing.iter().map(|path| format!("missing: {}", path.display())));
        text.extend(report.set_aside.iter().map(|path| format!("set aside earlier: {}", path.display())));
        text.push(format!(
            "{} blocks ({}) and {} notes read: {} damaged, {} missing",
            report.blocks,
            mebibytes(report.bytes),
            report.notes,
            report.damaged.len(),
            report.missing.len()
        ));
        lines(&text)?;
    }
    if report.is_whole() {
        return Ok(Exit::Done);
    }
    Notes::new(false)
        .say("a server sets damaged files aside and fetches what is missing again; a backup can be restored");
    Ok(Exit::Incomplete)
}

fn stats(dir: &Path, as_json: bool, l3_bytes: u64) -> Result<Exit, Failure> {
    let census = Census::take(dir).map_err(failed)?;
    let blocks = |held: &panscan_cache::Holding| held.days.len() + held.symbols.len();
    let bytes: u64 = census.holdings.values().map(|held| held.bytes).sum();
    let pid = match census.writer {
        Writer::Process(pid) => pid,
        Writer::None => None,
    };
    if as_json {
        let holdings: Vec<Value> = census
            .holdings
            .iter()
            .map(|((market, timeframe), held)| {
                json!({
                    "market": market.as_str(),
                    "timeframe": timeframe.to_string(),
                    "sessions": held.days.len(),
                    "first": held.days.first().map(ToString::to_string),
                    "last": held.days.last().map(ToString::to_string),
                    "symbols": held.symbols.len(),
                    "bytes": held.bytes,
                })
            })
            .collect();
        say(&json!({
            "store": shown(dir),
            "format": "v1",
            "manifest": census.manifest,
            "in_use": census.writer != Writer::None,
            "pid": pid,
            "blocks": census.holdings.values().map(blocks).sum::<usize>(),
            "bytes": bytes,
            "capacity_bytes": l3_bytes,
            "notes": census.notes,
            "note_bytes": census.note_bytes,
            "set_aside": census.set_aside,
            "set_aside_bytes": census.set_aside_bytes,
            "unfinished": census.unfinished,
            "holdings": holdings,
        }))?;
        return Ok(Exit::Done);
    }
    let rows = census.holdings.iter().map(|((market, timeframe), held)| {
        let span = match (held.days.first(), held.days.last()) {
            (Some(first), Some(last)) => format!("{first} to {last}"),
            _ => String::new(),
        };
        [
            market.to_string(),
            timeframe.to_string(),
            held.days.len().to_string(),
            span,
            held.symbols.len().to_string(),
            mebibytes(held.bytes),
        ]
    });
    let header = ["market", "timeframe", "sessions", "from", "single symbols", "size"];
    let writer = match (census.writer, pid) {
        (Writer::None, _) => "no process writes it".to_owned(),
        (_, Some(pid)) => format!("process {pid} writes it"),
        (_, None) => "a process writes it".to_owned(),
    };
    lines(&[
        plain_table(header, rows),
        format!("{} of {} used, {} notes", mebibytes(bytes), mebibytes(l3_bytes), census.notes),
        format!(
            "{} files set aside ({}), {} unfinished, manifest {}, {writer}",
            census.set_aside,
            mebibytes(census.set_aside_bytes),
            census.unfinished,
            census.manifest
        ),
    ])?;
    Ok(Exit::Done)
}

fn compact(dir: &Path, as_json: bool) -> Result<Exit, Failure> {
    let done = Steps::follow("compacting", |step| panscan_cache::compact(dir, step)).map_err(failed)?;
    if as_json {
        say(&json!({
            "store": shown(dir),
            "leftovers": done.leftovers,
            "doubles": done.doubles,
            "folders": done.folders,
            "freed_bytes": done.freed_bytes,
            "manifest_lines": done.manifest_lines,
        }))?;
    } else {
        lines(&[format!(
            "{} freed: {} leftovers, {} symbols whose sessions are all held, {} empty folders, {} manifest lines",
            mebibytes(done.freed_bytes),
            done.leftovers,
            done.doubles,
            done.folders,
            done.manifest_lines
        )])?;
    }
    Ok(Exit::Done)
}

fn copies(copied: &Copied, verb: &str, to: &Path, as_json: bool) -> Result<Exit, Failure> {
    if as_json {
        say(&json!({
            "ok": copied.damaged.is_empty(),
            "to": shown(to),
            "blocks": copied.blocks,
            "notes": copied.notes,
            "bytes": copied.bytes,
            "kept": copied.kept,
            "damaged": damaged_values(&copied.damaged),
        }))?;
    } else {
        let mut text = damaged_lines(&copied.damaged);
        text.push(format!(
            "{verb} {} blocks and {} notes ({}) to {}, {} left as they are, {} damaged left out",
            copied.blocks,
            copied.notes,
            mebibytes(copied.bytes),
            to.display(),
            copied.kept,
            copied.damaged.len()
        ));
        lines(&text)?;
    }
    Ok(if copied.damaged.is_empty() { Exit::Done } else { Exit::Incomplete })
}

fn damaged_values(damaged: &[DamagedFile]) -> Vec<Value> {
    damaged.iter().map(|file| json!({"path": shown(&file.path), "message": file.message})).collect()
}

fn damaged_lines(damaged: &[DamagedFile]) -> Vec<String> {
    damaged.iter().map(|file| format!("damaged: {}: {}", file.path.display(), file.message)).collect()
}

fn paths(paths: &[PathBuf]) -> Vec<String> {
    paths.iter().map(|path| shown(path)).collect()
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / (1 << 20) as f64)
}

fn say(value: &Value) -> Result<(), Failure> {
    lines(&[value.to_string()])
}

fn lines(text: &[String]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    text.iter()
        .try_for_each(|line| writeln!(out, "{line}"))
        .and_then(|()| out.flush())
        .map_err(Failure::Output)
}
