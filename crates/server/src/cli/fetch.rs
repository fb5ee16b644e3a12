//! `panscan fetch`: bars into the server's store, and out of it with `-o`.

mod progress;
mod warm;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use panscan_client::{
    Adjustment, BarRange, Bars, BarsSummary, BatchBarsQuery, Client, SessionDate, Timeframe, UniverseSelector,
};
use serde_json::{Value, json};

use super::args::{Adjusted, FetchArgs, Format};
use super::exit::Exit;
use super::failure::Failure;
use super::output::{self, Cell, CellKind, Column, Head, Notes, RowWriter};
use super::stop::Stop;
use super::{answer, symbols};
use crate::config::Settings;

/// Bars of a symbol where the flags do not say.
const LAST_DEFAULT: u32 = 500;
/// Bars of one symbol that one answer holds at most.
const BARS_MAX: usize = 50_000;
/// The wait that is asked for where nobody set one; a server takes no answer for half a minute otherwise.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3_600);
/// Longest wait for a plan.
const PLAN_TIMEOUT: Duration = Duration::from_secs(120);

/// Fetches what is missing, showing how far it has come, and writes the bars out where a form is given. The first Ctrl-C
/// ends it where it is: what came until then is kept, and the same command goes on from there.
pub async fn run(args: FetchArgs, settings: Settings, stop: &Stop) -> Result<Exit, Failure> {
    let wanted = Wanted::read(&args)?;
    let format = args.output.map(|asked| output::chosen(Some(asked))).transpose()?;
    let (notes, address) = (Notes::new(args.quiet), settings.client_server.as_str());
    if args.dry_run {
        let client = Client::connect(address).await?;
        return dry_run(&wanted, &client, args.timeout.unwrap_or(PLAN_TIMEOUT)).await;
    }
    let warmed = tokio::select! {
        warmed = warm::run(&wanted, address, args.timeout, args.quiet) => warmed,
        () = stop.asked() => {
            notes.say("stopped; what came is kept, and the same command goes on from there");
            return Ok(Exit::Done);
        }
    }?;
    if format.is_none()
        && let Some(warmed) = &warmed
    {
        notes.say(warmed);
        return if warmed.late() { Err(warmed.failure(args.timeout)) } else { Ok(Exit::Done) };
    }
    let late = warmed.as_ref().is_some_and(warm::Warmed::late);
    let query = wanted.query(&Client::connect(address).await?).timeout(LONGEST);
    write(if late { query.cached_only() } else { query }, format, notes, stop).await
}

/// Reads the bars, and writes them where a form is given.
async fn write(
    query: BatchBarsQuery,
    format: Option<Format>,
    notes: Notes,
    stop: &Stop,
) -> Result<Exit, Failure> {
    let mut stream = query.send().await?;
    let mut out = format.map(|format| output::writer(format, io::stdout()));
    if let Some(out) = &mut out {
        out.head(&head(&stream.header().snapshot_id)).map_err(Failure::Output)?;
    }
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let stopped = loop {
        let bars = tokio::select! {
            bars = stream.next_bars() => bars?,
            () = stop.asked() => break true,
        };
        let Some(bars) = bars else { break false };
        *counts.entry(bars.symbol.clone()).or_default() += bars.start.len();
        if let Some(out) = &mut out {
            rows(&bars, &mut **out).map_err(Failure::Output)?;
        }
    };
    if stopped {
        // What was begun is ended as its form asks for.
        if let Some(out) = &mut out {
            out.finish(Vec::new(), json!({"stopped": true})).map_err(Failure::Output)?;
        }
        notes.say("stopped; what came is kept, and the same command goes on from there");
        return Ok(Exit::Done);
    }
    let Some(summary) = stream.summary() else {
        return Err(Failure::Unexpected("the answer has no summary".to_owned()));
    };
    let diagnostics = stream.diagnostics();
    if let Some(out) = &mut out {
        let values = diagnostics.iter().map(answer::diagnostic_value).collect();
        out.finish(values, summary_value(summary)).map_err(Failure::Output)?;
    }
    let cut = counts.values().filter(|bars| **bars >= BARS_MAX).count();
    if cut > 0 {
        let what = format!("{cut} symbols reached {BARS_MAX} bars; older ones in the range are left out");
        notes.say(format!("warning: {what}: ask for it in parts with --from and --to"));
    }
    diagnostics.iter().for_each(|diagnostic| notes.say(answer::diagnostic_line(diagnostic)));
    notes.say(format!(
        "{} bars of {} symbols, {} failed, {} provider calls, {:.1} s{}",
        summary.bars,
        summary.symbols_returned,
        summary.symbols_failed,
        summary.provider_calls,
        summary.total_time.as_secs_f64(),
        if summary.complete { "" } else { "; not complete" }
    ));
    Ok(Exit::Done)
}

/// What the flags say, read.
struct Wanted {
    symbols: Vec<String>,
    timeframe: Timeframe,
    range: BarRange,
    adjustment: Adjustment,
}

impl Wanted {
    fn read(args: &FetchArgs) -> Result<Self, Failure> {
        let usage = |flag: &str, error: &dyn std::fmt::Display| Failure::Usage(format!("{flag}: {error}"));
        let date = |flag: &str, text: &Option<String>| {
            text.as_deref().map(str::parse::<SessionDate>).transpose().map_err(|error| usage(flag, &error))
        };
        let (from, to) = (date("--from", &args.from)?, date("--to", &args.to)?);
        if let (Some(from), Some(to)) = (from, to)
            && to < from
        {
            return Err(Failure::Usage(format!("--to: {to} lies before --from {from}")));
        }
        let mut named = Vec::new();
        for text in &args.symbols {
            named.extend(symbols::read("SYMBOLS", text)?);
        }
        Ok(Self {
            symbols: named,
            timeframe: args.timeframe.parse().map_err(|error| usage("--timeframe", &error))?,
            range: match (from, to) {
                (None, None) => BarRange::Last(args.last.unwrap_or(LAST_DEFAULT) as usize),
                (from, to) => BarRange::Sessions(from, to),
            },
            adjustment: match args.adjustment {
                Adjusted::Splits => Adjustment::Splits,
                Adjusted::Raw => Adjustment::Raw,
                Adjusted::All => Adjustment::SplitsAndDividends,
            },
        })
    }

    fn query(&self, client: &Client) -> BatchBarsQuery {
        let query = client
            .batch_bars(&self.symbols)
            .timeframe(self.timeframe)
            .range(self.range)
            .adjustment(self.adjustment)
            .limit(BARS_MAX)
            .ordered();
        // No symbol named is every symbol.
        if self.symbols.is_empty() { query.universe(UniverseSelector::default()) } else { query }
    }
}

/// Says what it would take; nothing is fetched.
async fn dry_run(wanted: &Wanted, client: &Client, timeout: Duration) -> Result<Exit, Failure> {
    // The header of the same request says it; nobody reads on.
    let stream = wanted.query(client).cached_only().timeout(timeout).send().await?;
    let cost = &stream.header().cost;
    let line = json!({
        "symbols": cost.population_symbols,
        "cells": cost.missing_cells,
        "provider_calls": cost.provider_calls,
        "market_days": cost.kinds.days,
        "ranges": cost.kinds.ranges,
        "files": cost.kinds.files,
        "bytes": cost.fetch_bytes,
        "seconds": cost.fetch_time.as_secs_f64(),
    });
    let mut out = io::stdout().lock();
    io::Write::write_fmt(&mut out, format_args!("{line}\n")).map_err(Failure::Output)?;
    let notes = Notes::new(false);
    notes.say(format!(
        "{} of {} symbols, {} cells missing: {} provider calls, about {:.1} s",
        cost.population_symbols,
        cost.universe_symbols,
        cost.missing_cells,
        cost.provider_calls,
        cost.fetch_time.as_secs_f64()
    ));
    let (kinds, bytes) = (&cost.kinds, cost.fetch_bytes as f64 / 1e6);
    notes.say(format!(
        "{} market days, {} ranges, {} files, {bytes:.1} MB",
        kinds.days, kinds.ranges, kinds.files
    ));
    Ok(Exit::Done)
}

fn head(snapshot: &str) -> Head {
    let mut columns = vec![Column::new("symbol", CellKind::Text), Column::new("time", CellKind::Instant)];
    for name in ["open", "high", "low", "close", "volume", "vwap"] {
        columns.push(Column::new(name, CellKind::Number));
    }
    columns.push(Column::new("trades", CellKind::Integer));
    Head {
        columns,
        info: json!({"snapshot_id": snapshot}),
        metadata: vec![("snapshot_id".to_owned(), snapshot.to_owned())],
    }
}

fn rows(bars: &Bars, out: &mut dyn RowWriter) -> io::Result<()> {
    let symbol: Arc<str> = Arc::from(bars.symbol.as_str());
    for (i, start) in bars.start.iter().enumerate() {
        let number = |values: &[f64]| match values.get(i) {
            Some(value) if value.is_finite() => Cell::Number(*value),
            _ => Cell::Null,
        };
        out.row(&[
            Cell::Text(Arc::clone(&symbol)),
            Cell::Instant(*start),
            number(&bars.open),
            number(&bars.high),
            number(&bars.low),
            number(&bars.close),
            number(&bars.volume),
            number(&bars.vwap),
            // The provider says 0 where it does not know.
            match bars.trades.get(i) {
                Some(n) if *n > 0 => Cell::Integer(i64::try_from(*n).unwrap_or(i64::MAX)),
                _ => Cell::Null,
            },
        ])?;
    }
    out.flush()
}

fn summary_value(summary: &BarsSummary) -> Value {
    json!({
        "symbols_returned": summary.symbols_returned,
        "symbols_failed": summary.symbols_failed,
        "bars": summary.bars,
        "provider_calls": summary.provider_calls,
        "complete": summary.complete,
        "total_seconds": summary.total_time.as_secs_f64(),
        "cells_by_tier": summary.cells_by_tier,
    })
}
