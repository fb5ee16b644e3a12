//! `panscan scan`: one scan over a server or in this process.

use std::io;

use panscan_client::{
    Client, DataPolicy, Format as Wire, Order, Scan, ScanRequest, ScanSpec, SessionDate, Timeframe,
    Timestamp, UniverseSelector,
};
use panscan_core::calendar::Calendar;
use panscan_core::scan::{Factor, FactorTransform};
use panscan_core::snapshot::SnapshotId;

use super::args::{Format, Policy, ScanArgs};
use super::exit::Exit;
use super::failure::Failure;
use super::output::{self, Notes};
use super::stop::Stop;
use super::{answer, explain, history, symbols};
use crate::app;
use crate::config::Settings;

/// Answers up to this many rows are asked for in one message.
const ROWS_AT_ONCE: usize = 1_000;

/// Flags of the contract that this build lacks.
pub fn absent(args: &ScanArgs) -> Option<&'static str> {
    [(args.watch, "scan --watch")].into_iter().find_map(|(given, flag)| given.then_some(flag))
}

/// Runs the scan; the first Ctrl-C ends it where it is.
pub async fn run(args: ScanArgs, settings: Settings, stop: &Stop) -> Result<Exit, Failure> {
    tokio::select! {
        ended = perform(&args, &settings) => ended,
        () = stop.asked() => Ok(Exit::Interrupted),
    }
}

async fn perform(args: &ScanArgs, settings: &Settings) -> Result<Exit, Failure> {
    let wanted = Wanted::read(args)?;
    let format = output::chosen(args.output)?;
    if !args.local {
        let address = settings.client_server.as_str();
        let client = Client::connect(address).await?;
        return ask(args, &wanted, format, &client, address).await;
    }
    let server = app::start(settings).await?;
    let ended = async {
        tokio::time::timeout(args.timeout, server.ready()).await.map_err(|_| Failure::Deadline {
            what: "the first snapshot".to_owned(),
            timeout: args.timeout,
        })??;
        let address = format!("http://{}", server.grpc);
        let client = Client::connect(address.as_str()).await?;
        ask(args, &wanted, format, &client, &address).await
    }
    .await;
    server.stop().await;
    ended
}

/// What the flags say, read.
struct Wanted {
    timeframe: Option<Timeframe>,
    as_of: Option<Timestamp>,
    history: Option<history::Range>,
    universe: UniverseSelector,
    factors: Vec<Factor>,
}

impl Wanted {
    fn read(args: &ScanArgs) -> Result<Self, Failure> {
        let usage = |flag: &str, error: &dyn std::fmt::Display| Failure::Usage(format!("{flag}: {error}"));
        Ok(Self {
            timeframe: match args.timeframe.as_deref().map(str::parse) {
                Some(read) => Some(read.map_err(|error| usage("--timeframe", &error))?),
                None => None,
            },
            factors: args.factor.iter().map(|text| factor(text)).collect::<Result<_, _>>()?,
            as_of: args.as_of.as_deref().map(as_of).transpose().map_err(|error| usage("--as-of", &error))?,
            history: args.history.as_deref().map(history::Range::read).transpose()?,
            universe: UniverseSelector {
                symbols: match &args.symbols {
                    Some(text) => symbols::read("--symbols", text)?,
                    None => Vec::new(),
                },
                sectors: args.sector.clone(),
                exchanges: args.exchange.clone(),
                min_market_cap: args.min_market_cap,
                ..UniverseSelector::default()
            },
        })
    }
}

/// An instant, or the end of a session by its date.
fn as_of(text: &str) -> Result<Timestamp, panscan_core::Error> {
    match text.parse::<SessionDate>() {
        // Whatever ended on that date had ended when the next one began.
        Ok(date) => Ok(Calendar::us_equities().midnight(date.plus(1))),
        Err(_) => text.parse(),
    }
}

/// Reads `NAME=WEIGHT` of a built-in factor, or `NAME=WEIGHT:EXPRESSION`.
fn factor(text: &str) -> Result<Factor, Failure> {
    let usage = || {
        Failure::Usage(format!(
            "--factor: {text:?} is no factor; expected e.g. momentum=0.7 or cheap=-1:close"
        ))
    };
    let (name, rest) = text.split_once('=').ok_or_else(usage)?;
    let (weight, expr) = match rest.split_once(':') {
        Some((weight, expr)) => (weight, expr.trim().to_owned()),
        None => (rest, format!("{}()", name.trim())),
    };
    Ok(Factor {
        name: name.trim().to_owned(),
        expr,
        weight: weight.trim().parse().ok().filter(|w: &f64| w.is_finite()).ok_or_else(usage)?,
        transform: FactorTransform::default(),
        winsorize: 0.0,
        by: String::new(),
    })
}

/// The scan as the flags say it, over `spec`.
fn described(args: &ScanArgs, wanted: &Wanted, client: &Client, mut spec: ScanSpec) -> Scan {
    if let Some(filter) = &args.filter {
        spec.filter.clone_from(filter);
    }
    if !args.columns.is_empty() {
        spec.columns.clone_from(&args.columns);
    }
    if let Some(rank_by) = &args.rank_by {
        spec.rank_by.clone_from(rank_by);
    }
    if args.asc {
        spec.order = Order::Ascending;
    }
    if let Some(limit) = args.limit {
        spec.limit = limit as usize;
    }
    if let Some(timeframe) = wanted.timeframe {
        spec.timeframe = timeframe;
    }
    if !wanted.factors.is_empty() {
        spec.factors.clone_from(&wanted.factors);
    }
    let (given, mine) = (&wanted.universe, &mut spec.universe);
    for (given, mine) in [
        (&given.symbols, &mut mine.symbols),
        (&given.sectors, &mut mine.sectors),
        (&given.exchanges, &mut mine.exchanges),
    ] {
        if !given.is_empty() {
            mine.clone_from(given);
        }
    }
    mine.min_market_cap = given.min_market_cap.or(mine.min_market_cap);
    let limit = spec.limit;
    let mut request = ScanRequest {
        spec,
        snapshot: args.snapshot.as_deref().map(|id| SnapshotId(id.into())),
        as_of: wanted.as_of,
        format: Wire::Columns,
        policy: match args.policy {
            Policy::BestEffort => DataPolicy::BestEffort,
            Policy::Cached => DataPolicy::CachedOnly,
            Policy::Complete => DataPolicy::RequireComplete,
        },
        validate_only: args.validate,
        analyze: args.analyze,
        ..ScanRequest::default()
    };
    if limit <= ROWS_AT_ONCE {
        request.batch_rows = Some(limit);
    }
    client.scan("").with_request(request).timeout(args.timeout)
}

async fn ask(
    args: &ScanArgs,
    wanted: &Wanted,
    format: Format,
    client: &Client,
    address: &str,
) -> Result<Exit, Failure> {
    let notes = Notes::new(args.quiet);
    let spec = match &args.saved {
        Some(name) => client.get_saved_scan(name.strip_prefix("scans/").unwrap_or(name)).await?.spec,
        None => ScanSpec::default(),
    };
    let scan = described(args, wanted, client, spec);
    if let Some(name) = &args.save {
        let saved = client.create_saved_scan(name, "", &scan.request().spec).await?;
        notes.say(format!("saved as scans/{}; run it with --saved {}", saved.id, saved.id));
        return Ok(Exit::Done);
    }
    if args.explain {
        return explain::run(scan.request(), format, address, args.timeout).await;
    }
    if let Some(range) = wanted.history {
        return history::run(args, &scan, range, format).await;
    }
    let mut stream = scan.send().await?;
    let header = stream.header().clone();
    let mut out = output::writer(format, io::stdout());
    out.head(&answer::head(&header)).map_err(Failure::Output)?;
    while let Some(batch) = stream.next_batch().await? {
        answer::rows(&[], &batch, &mut *out).map_err(Failure::Output)?;
    }
    let diagnostics = stream.diagnostics();
    let Some(summary) = stream.summary() else {
        return Err(Failure::Unexpected("the answer has no summary".to_owned()));
    };
    let values = diagnostics.iter().map(answer::diagnostic_value).collect();
    if !(args.validate && format == Format::Table) {
        out.finish(values, answer::summary_value(summary)).map_err(Failure::Output)?;
    }
    diagnostics.iter().for_each(|diagnostic| notes.say(answer::diagnostic_line(diagnostic)));
    if args.validate {
        notes.say(format!("valid: {} columns, {} nodes", header.columns.len(), header.cost.nodes));
        return Ok(Exit::Done);
    }
    for node in &summary.nodes {
        notes.say(answer::node_line(node));
    }
    notes.say(answer::summary_line(summary));
    match (args.strict && !summary.complete, args.fail_empty && summary.returned == 0) {
        (true, _) => Err(Failure::Incomplete),
        (_, true) => Err(Failure::Empty),
        _ => Ok(Exit::Done),
    }
}
