//! `panscan scan`: one scan over a server or in this process.

use std::io;

use panscan_client::{
    Client, DataPolicy, Format as Wire, Order, Scan, ScanRequest, ScanSpec, SessionDate, Timeframe,
    Timestamp, UniverseSelector,
};
use panscan_core::calendar::Calendar;
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
const ROWS_AT_ONCE: u32 = 1_000;

/// Flags of the contract that this build lacks.
pub fn absent(args: &ScanArgs) -> Option<&'static str> {
    [
        (args.watch, "scan --watch"),
        (!args.factor.is_empty(), "scan --factor"),
        (args.saved.is_some(), "scan --saved"),
    ]
    .into_iter()
    .find_map(|(given, flag)| given.then_some(flag))
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
    timeframe: Timeframe,
    as_of: Option<Timestamp>,
    history: Option<history::Range>,
    universe: UniverseSelector,
}

impl Wanted {
    fn read(args: &ScanArgs) -> Result<Self, Failure> {
        let usage = |flag: &str, error: &dyn std::fmt::Display| Failure::Usage(format!("{flag}: {error}"));
        Ok(Self {
            timeframe: args.timeframe.parse().map_err(|error| usage("--timeframe", &error))?,
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

/// The scan as the flags say it.
fn described(args: &ScanArgs, wanted: &Wanted, client: &Client) -> Scan {
    let mut request = ScanRequest {
        spec: ScanSpec {
            filter: args.filter.clone().unwrap_or_default(),
            columns: args.columns.clone(),
            rank_by: args.rank_by.clone().unwrap_or_default(),
            order: if args.asc { Order::Ascending } else { Order::Descending },
            limit: args.limit as usize,
            universe: wanted.universe.clone(),
            timeframe: wanted.timeframe,
            ..ScanSpec::default()
        },
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
    if args.limit <= ROWS_AT_ONCE {
        request.batch_rows = Some(args.limit as usize);
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
    let scan = described(args, wanted, client);
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
