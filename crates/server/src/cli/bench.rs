//! `panscan bench`: a suite, shown or written, and held against an earlier run.

use std::io::{self, Write as _};
use std::path::Path;

use serde_json::Value;

use super::args::BenchArgs;
use super::exit::Exit;
use super::failure::Failure;
use super::output::{Notes, plain_table};
use super::stop::Stop;
use crate::bench::{self, Case, Options, Report};
use crate::config::Settings;

/// Measures; the first Ctrl-C ends it.
pub async fn run(args: BenchArgs, settings: &Settings, stop: &Stop) -> Result<Exit, Failure> {
    let allowed = share(&args.max_regression)?;
    match args.backend.as_deref() {
        None | Some("auto" | "cpu") => {}
        Some("cuda") => return Err(Failure::Absent("bench --backend cuda".to_owned())),
        Some(other) => return Err(Failure::Usage(format!("--backend: {other:?} is none of auto, cpu"))),
    }
    let earlier = args.compare.as_deref().map(read).transpose()?;
    let options = Options {
        symbols: args.symbols as usize,
        bars: args.bars as usize,
        iterations: args.iterations.map(|n| n as usize),
        threads: settings.compute.threads,
        recorded: settings.recorded.clone(),
        peers: settings.peers.clone(),
        scan: args.scan,
    };
    let notes = Notes::new(false);
    let told = |case: &Case| {
        notes.say(line(case).join("  "));
        if !case.note.is_empty() {
            notes.say(format!("  {}", case.note));
        }
    };
    let report = tokio::select! {
        report = bench::run(&args.suite, &options, &told) => report?,
        () = stop.asked() => return Ok(Exit::Interrupted),
    };
    show(&report, args.json.as_deref())?;
    match earlier {
        Some(earlier) => compare(&report, &earlier, allowed),
        None => Ok(Exit::Done),
    }
}

fn line(case: &Case) -> [String; 7] {
    if !case.skipped.is_empty() {
        let none = String::new;
        return [
            case.name.clone(),
            none(),
            none(),
            case.baseline.name.to_owned(),
            none(),
            none(),
            format!("skipped: {}", case.skipped),
        ];
    }
    let met = match (case.goal.is_empty(), case.met) {
        (true, _) => String::new(),
        (false, true) => format!("{} met", case.goal),
        (false, false) => format!("{} MISSED", case.goal),
    };
    [
        case.name.clone(),
        format!("{:.4}", case.value),
        case.unit.to_owned(),
        case.baseline.name.to_owned(),
        format!("{:.4}", case.baseline.value),
        format!("{:.2}", case.ratio),
        met,
    ]
}

/// The report on stdout: as a table, or as JSON where no file is named.
fn show(report: &Report, file: Option<&Path>) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(report).map_err(|e| Failure::Unexpected(e.to_string()))?;
    let text = match file {
        Some(path) if path == Path::new("-") => json,
        file => {
            if let Some(path) = file {
                std::fs::write(path, format!("{json}\n")).map_err(|e| Failure::file("write", path, e))?;
            }
            plain_table(
                ["case", "value", "unit", "baseline", "its value", "ratio", "goal"],
                report.cases.iter().map(line),
            )
        }
    };
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(Failure::Output)
}

fn read(path: &Path) -> Result<Value, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| Failure::file("read", path, e))?;
    serde_json::from_str(&text).map_err(|e| Failure::file("read", path, e.into()))
}

/// A share as `10%` or `0.1`.
fn share(text: &str) -> Result<f64, Failure> {
    let (number, unit) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 0.01));
    let share = number.trim().parse::<f64>().ok().map(|n| n * unit).filter(|n| (0.0..=1.0).contains(n));
    share.ok_or_else(|| Failure::Usage(format!("--max-regression: {text:?} is no share; expected e.g. 10%")))
}

/// Holds each ratio against that of the same case and baseline in the earlier run. Ratios, not times: two runs may
/// be of two machines.
fn compare(report: &Report, earlier: &Value, allowed: f64) -> Result<Exit, Failure> {
    let cases = earlier["cases"].as_array().map(Vec::as_slice).unwrap_or_default();
    let slower: Vec<String> = report
        .cases
        .iter()
        .filter_map(|case| {
            let same = |old: &&Value| {
                old["name"] == case.name.as_str() && old["baseline"]["name"] == case.baseline.name
            };
            let before = cases.iter().find(same)?["ratio"].as_f64()?;
            (case.ratio < before * (1.0 - allowed)).then(|| {
                format!("  {} against {}: {:.2}, was {before:.2}", case.name, case.baseline.name, case.ratio)
            })
        })
        .collect();
    if slower.is_empty() { Ok(Exit::Done) } else { Err(Failure::Slower(slower.join("\n"))) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    #[test]
    fn shares_are_read() {
        assert_eq!(share("10%").unwrap(), 0.1);
        assert_eq!(share("0.25").unwrap(), 0.25);
        for bad in ["", "ten", "-1%", "200%", "nan"] {
            assert_eq!(share(bad).unwrap_err().exit(), Exit::Usage, "{bad}");
        }
    }

    #[test]
    fn a_lower_ratio_is_slower() {
        let case = Case::time("x", Duration::from_millis(10), 3, ("scalar", Duration::from_millis(100)));
        let report = Report::new("scan", vec![case]);
        let earlier =
            |ratio: f64| json!({"cases": [{"name": "x", "baseline": {"name": "scalar"}, "ratio": ratio}]});
        assert!(compare(&report, &earlier(10.5), 0.1).is_ok());
        assert_eq!(compare(&report, &earlier(12.0), 0.1).unwrap_err().exit(), Exit::Incomplete);
        assert!(compare(&report, &json!({"cases": []}), 0.1).is_ok());
    }
}
