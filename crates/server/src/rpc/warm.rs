//! `Admin.WarmCache`: what is to be fetched, and how far it has come, in the words of the wire.

use std::sync::Arc;

use futures::{Stream, stream};
use panscan_core::range::BarRange;
use panscan_core::select::select;
use panscan_core::time::Timeframe;
use panscan_engine::{EngineError, WarmRequest, Warmed};
use panscan_proto::convert::bars::BatchBarsRequest;
use panscan_proto::convert::wire_duration;
use panscan_proto::v1;
use tonic::{Request, Status};

use super::{call, status};
use crate::host::Host;

/// Intervals of one request.
const TIMEFRAMES_MAX: usize = 8;

/// Starts what a request asks for.
pub(super) async fn warm(
    host: &Arc<Host>,
    request: Request<v1::WarmCacheRequest>,
) -> Result<impl Stream<Item = Result<v1::WarmCacheResponse, Status>> + Send + use<>, Status> {
    call::admitted(host)?;
    let (deadline, errand) = (call::deadline(request.metadata()), call::errand(&request));
    let wire = request.get_ref();
    let refuse = |field: &'static str, message: &str| {
        status::of(EngineError::BadField { field, message: message.to_owned() })
    };
    if wire.resident {
        return Err(refuse("resident", "no device is in this build; leave it out"));
    }
    if wire.timeframes.len() > TIMEFRAMES_MAX {
        return Err(refuse("timeframes", "at most 8 at once"));
    }
    let engine = host.engine().map_err(status::of)?;
    let asked = asked(wire)?;
    let mut symbols = asked.symbols;
    if let Some(universe) = asked.universe.as_ref().filter(|_| wire.universe.is_some()) {
        let current = engine.current().map_err(status::of)?;
        let selection = select(universe, &current.snapshot);
        let ids = selection.population.ids();
        symbols.extend(ids.map(|id| current.snapshot.universe.symbol(id).to_string()));
        if symbols.is_empty() {
            return Err(refuse("universe", "selects no symbol"));
        }
    }
    let work = WarmRequest {
        symbols,
        timeframes: asked.timeframes,
        range: Some(asked.range),
        deadline: Some(deadline),
        errand,
        dry_run: wire.validate_only,
    };
    let source = engine.warm(work).await.map_err(status::of)?;
    Ok(stream::unfold(Some(source), |source| async move {
        let mut source = source?;
        match source.next().await {
            Ok(Some(warmed)) => Some((Ok(message(&warmed)), Some(source))),
            Ok(None) => None,
            Err(error) => Some((Err(status::of(error)), None)),
        }
    }))
}

/// A request that was read.
struct Asked {
    symbols: Vec<String>,
    universe: Option<panscan_core::scan::UniverseSelector>,
    timeframes: Vec<Timeframe>,
    range: BarRange,
}

/// Reads it by the rules for bars of many symbols, once for each interval.
fn asked(wire: &v1::WarmCacheRequest) -> Result<Asked, Status> {
    let everybody = wire.symbols.is_empty().then(v1::UniverseSelector::default);
    let read = |timeframe: &str| {
        BatchBarsRequest::try_from(&v1::BatchGetBarsRequest {
            symbols: wire.symbols.clone(),
            universe: wire.universe.clone().or_else(|| everybody.clone()),
            timeframe: timeframe.to_owned(),
            range: wire.range.clone(),
            ..v1::BatchGetBarsRequest::default()
        })
    };
    let (first, more) = match &wire.timeframes[..] {
        [] => ("", &[][..]),
        [first, more @ ..] => (first.as_str(), more),
    };
    let asked = read(first)?;
    let mut timeframes = vec![asked.ask.timeframe];
    for timeframe in more {
        timeframes.push(read(timeframe)?.ask.timeframe);
    }
    Ok(Asked { symbols: asked.symbols, universe: asked.universe, timeframes, range: asked.ask.range })
}

fn message(warmed: &Warmed) -> v1::WarmCacheResponse {
    let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    v1::WarmCacheResponse {
        cells_done: signed(warmed.cells_done),
        cells_total: signed(warmed.cells_total),
        provider_calls: signed(warmed.provider_calls),
        remaining: Some(wire_duration(warmed.remaining)),
        diagnostic: warmed.diagnostic.as_ref().map(Into::into),
        done: warmed.done,
    }
}
