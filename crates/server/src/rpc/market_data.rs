//! `panscan.v1.MarketData`: bars of one symbol, paged, and of many, streamed.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt, stream};
use panscan_core::calendar::Calendar;
use panscan_core::panel::SeriesBars;
use panscan_core::plan::Digest;
use panscan_core::port::Errand;
use panscan_core::scan::SessionHours;
use panscan_core::select::select;
use panscan_core::time::Timeframe;
use panscan_engine::{BarsAnswer, BarsRequest, Pin as Snapshots, SymbolBars};
use panscan_proto::convert::answer::Cost;
use panscan_proto::convert::bars::{self, BarRange, BarsAsk, BarsSummary, Origin, daily_bars};
use panscan_proto::convert::mask::Mask;
use panscan_proto::convert::wire_timestamp;
use panscan_proto::v1::market_data_server::MarketData as Service;
use panscan_proto::v1::{self, BatchGetBarsResponse, batch_get_bars_response::Frame};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::token::{self, Page};
use super::{call, status};
use crate::host::Host;

/// The name that binds page tokens to this method.
const GET_BARS: &str = "MarketData.GetBars";
/// Bars of one frame at most, which keeps it below a mebibyte.
const FRAME_BARS_MAX: usize = 8192;

/// The service.
pub(super) struct MarketData(pub(super) Arc<Host>);

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Service for MarketData {
    type BatchGetBarsStream = Streamed<v1::BatchGetBarsResponse>;
    type WatchBarsStream = Streamed<v1::WatchBarsResponse>;

    async fn get_bars(
        &self,
        request: Request<v1::GetBarsRequest>,
    ) -> Result<Response<v1::GetBarsResponse>, Status> {
        call::admitted(&self.0)?;
        let (deadline, errand) = (call::deadline(request.metadata()), call::errand(&request));
        let asked = bars::BarsRequest::try_from(request.get_ref())?;
        in_this_build(&asked.ask)?;
        let digest = digest(request.get_ref());
        let mut read = to_engine(vec![asked.symbol.to_string()], &asked.ask, deadline, errand);
        let mut skip = 0;
        if !asked.page_token.is_empty() {
            let page = token::read(GET_BARS, digest, &asked.page_token)?;
            read.pin = Snapshots::Snapshot(page.snapshot);
            skip = page.skip;
        }
        let engine = self.0.engine().map_err(status::of)?;
        far_enough(&mut read, &engine).map_err(status::of)?;
        let answer = engine.bars(&read).await.map_err(status::of)?;
        let Some(found) = answer.series.first() else {
            let error =
                panscan_engine::EngineError::NotFound { what: "symbol", name: asked.symbol.to_string() };
            return Err(status::of(error));
        };
        let total = found.bars.sessions.len();
        let end = (skip + asked.page_size).min(total);
        let page = slice(found, skip.min(total)..end);
        let snapshot = &answer.published.snapshot;
        let snapshot_id = snapshot.id.to_string();
        let more = Page { snapshot: snapshot_id.clone(), skip: end };
        Ok(Response::new(v1::GetBarsResponse {
            bars: Some(daily_bars(origin(found, &asked.ask, &answer), &page, &asked.ask.mask)),
            next_page_token: if end < total { token::write(GET_BARS, digest, &more) } else { String::new() },
            diagnostics: answer.diagnostics.iter().map(Into::into).collect(),
            snapshot_id,
        }))
    }

    async fn batch_get_bars(
        &self,
        request: Request<v1::BatchGetBarsRequest>,
    ) -> Result<Response<Self::BatchGetBarsStream>, Status> {
        let started = Instant::now();
        call::admitted(&self.0)?;
        let (deadline, errand) = (call::deadline(request.metadata()), call::errand(&request));
        let asked = bars::BatchBarsRequest::try_from(request.get_ref())?;
        in_this_build(&asked.ask)?;
        let engine = self.0.engine().map_err(status::of)?;
        let mut symbols = asked.symbols;
        if let Some(universe) = &asked.universe {
            let current = engine.current().map_err(status::of)?;
            let selection = select(universe, &current.snapshot);
            let ids = selection.population.ids();
            symbols.extend(ids.map(|id| current.snapshot.universe.symbol(id).to_string()));
        }
        let mut read = to_engine(symbols, &asked.ask, deadline, errand);
        far_enough(&mut read, &engine).map_err(status::of)?;
        let limit = if asked.limit == 0 { bars::BARS_DEFAULT } else { asked.limit };
        let mut answer = engine.bars(&read).await.map_err(status::of)?;
        let series = std::mem::take(&mut answer.series);
        let answer = Arc::new(answer);
        let mut summary = BarsSummary {
            symbols_returned: series.len() as u64,
            symbols_failed: answer.failed as u64,
            bars: series.iter().map(|s| s.bars.sessions.len().min(limit) as u64).sum(),
            provider_calls: answer.provider_calls,
            complete: answer.complete,
            ..BarsSummary::default()
        };
        let head = header(&answer, series.len());
        let said = answer.diagnostics.iter().map(|d| Frame::Diagnostic(d.into())).collect::<Vec<_>>();
        let (about, ask) = (answer.clone(), asked.ask);
        let rows = series.into_iter().flat_map(move |found| {
            let total = found.bars.sessions.len();
            let first = total.saturating_sub(limit);
            let pages = (first..total).step_by(FRAME_BARS_MAX).map(|at| at..(at + FRAME_BARS_MAX).min(total));
            let origin = origin(&found, &ask, &about);
            let frames = pages.map(|page| Frame::Bars(daily_bars(origin, &slice(&found, page), &ask.mask)));
            // A known symbol without bars has its message too, an empty one.
            let none = (first == total)
                .then(|| Frame::Bars(daily_bars(origin, &SeriesBars::default(), &Mask::default())));
            frames.chain(none).collect::<Vec<_>>()
        });
        let mut last = move || {
            summary.total_time = started.elapsed();
            Frame::Summary((&summary).into())
        };
        let frames = std::iter::once(head).chain(rows).chain(said);
        let stream = stream::iter(frames).chain(stream::once(async move { last() }));
        let stream = stream.map(|frame| Ok(BatchGetBarsResponse { frame: Some(frame) }));
        let stream: Self::BatchGetBarsStream = Box::pin(stream);
        Ok(Response::new(stream))
    }

    async fn watch_bars(
        &self,
        _: Request<v1::WatchBarsRequest>,
    ) -> Result<Response<Self::WatchBarsStream>, Status> {
        Err(status::not_in_this_build("WatchBars"))
    }
}

fn in_this_build(ask: &BarsAsk) -> Result<(), Status> {
    if ask.timeframe != Timeframe::Day {
        return Err(status::not_in_this_build(&format!("timeframe {}", ask.timeframe)));
    }
    if ask.session == SessionHours::Extended {
        return Err(status::not_in_this_build("session EXTENDED"));
    }
    Ok(())
}

fn to_engine(symbols: Vec<String>, ask: &BarsAsk, deadline: Instant, errand: Errand) -> BarsRequest {
    let (from, to) = ask.range.sessions();
    let last = if let BarRange::Last(n) = ask.range { n } else { 0 };
    BarsRequest {
        symbols,
        from,
        to,
        last,
        adjustment: ask.adjustment,
        pin: ask.snapshot.as_ref().map_or(Snapshots::Newest, |id| Snapshots::Snapshot(id.to_string())),
        policy: ask.policy,
        deadline: Some(deadline),
        errand,
    }
}

/// "The newest n bars" may reach beyond what is resident.
fn far_enough(
    read: &mut BarsRequest,
    engine: &panscan_engine::Engine,
) -> Result<(), panscan_engine::EngineError> {
    let snapshot = match &read.pin {
        Snapshots::Snapshot(id) => engine.pinned(id)?,
        _ => engine.current()?,
    };
    let snapshot = &snapshot.snapshot;
    if read.last > snapshot.daily.sessions().len()
        && let Some(newest) = snapshot.newest()
    {
        let calendar = Calendar::us_equities();
        read.from = Some(calendar.back(newest, read.last - 1).unwrap_or_else(|| calendar.first()));
    }
    Ok(())
}

/// What a page token is bound to: the request without its paging.
fn digest(request: &v1::GetBarsRequest) -> Digest {
    let bare = v1::GetBarsRequest { page_size: 0, page_token: String::new(), ..request.clone() };
    token::bound_to(&bare)
}

fn origin<'a>(found: &'a SymbolBars, ask: &BarsAsk, answer: &'a BarsAnswer) -> Origin<'a> {
    Origin {
        symbol: found.symbol.as_str(),
        adjustment: ask.adjustment,
        forming: false,
        provider: &answer.published.snapshot.provider,
        fetched: None,
    }
}

fn slice(found: &SymbolBars, range: std::ops::Range<usize>) -> SeriesBars {
    SeriesBars {
        sessions: found.bars.sessions[range.clone()].to_vec(),
        columns: std::array::from_fn(|i| found.bars.columns[i][range.clone()].to_vec()),
    }
}

fn header(answer: &BarsAnswer, symbols: usize) -> Frame {
    let cost = Cost {
        universe_symbols: answer.cost.universe as u64,
        population_symbols: answer.cost.population as u64,
        missing_cells: answer.cost.missing_cells,
        provider_calls: answer.cost.calls,
        fetch_time: answer.cost.fetch_time,
        ..Cost::default()
    };
    let snapshot = &answer.published.snapshot;
    Frame::Header(v1::BarsHeader {
        snapshot_id: snapshot.id.to_string(),
        as_of: Some(wire_timestamp(snapshot.as_of)),
        symbols: i32::try_from(symbols).unwrap_or(i32::MAX),
        cost: Some((&cost).into()),
    })
}
