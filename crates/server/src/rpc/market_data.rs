//! `panscan.v1.MarketData`: bars of one symbol, paged, and of many, streamed.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt, stream};
use panscan_core::plan::Digest;
use panscan_core::port::Errand;
use panscan_core::resample::Series;
use panscan_core::select::select;
use panscan_core::time::Timeframe;
use panscan_engine::{
    EngineError, Pin as Snapshots, SeriesEnd, SeriesEvent, SeriesHead, SeriesRequest, SymbolSeries,
};
use panscan_proto::convert::answer::Cost;
use panscan_proto::convert::bars::{self, BarsAsk, BarsSummary, Origin};
use panscan_proto::convert::mask::Mask;
use panscan_proto::convert::wire_timestamp;
use panscan_proto::token::{self, Page};
use panscan_proto::v1::market_data_server::MarketData as Service;
use panscan_proto::v1::{self, BatchGetBarsResponse, batch_get_bars_response::Frame};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

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
        let digest = digest(request.get_ref());
        let mut read = to_engine(vec![asked.symbol.to_string()], &asked.ask, deadline, errand);
        let mut skip = 0;
        if !asked.page_token.is_empty() {
            let page = token::read(GET_BARS, digest, &asked.page_token)?;
            read.pin = Snapshots::Snapshot(page.snapshot);
            (skip, read.until) = (page.skip, page.until);
        }
        let engine = self.0.engine().map_err(status::of)?;
        let answer = engine.series(read).await.map_err(status::of)?;
        let found = match answer.series.into_iter().next() {
            Some(found) => found,
            // Known, but nothing of it could be had in time; the diagnostics say why.
            None if answer.published.snapshot.universe.find(asked.symbol.as_str()).is_some() => {
                SymbolSeries {
                    symbol: asked.symbol.clone(),
                    bars: Series::default(),
                    provider: answer.published.snapshot.provider.clone(),
                    fetched: None,
                }
            }
            None => {
                let name = asked.symbol.to_string();
                return Err(status::of(EngineError::NotFound { what: "symbol", name }));
            }
        };
        let total = found.bars.len();
        let end = (skip + asked.page_size).min(total);
        let page = found.bars.slice(skip.min(total)..end);
        let snapshot_id = answer.published.snapshot.id.to_string();
        let until = matches!(asked.ask.timeframe, Timeframe::Minutes(_)).then_some(answer.until);
        let more = Page { snapshot: snapshot_id.clone(), skip: end, until };
        Ok(Response::new(v1::GetBarsResponse {
            bars: Some(bars::bars(origin(&found, &asked.ask), &page, &asked.ask.mask)),
            next_page_token: if end < total { token::write(GET_BARS, digest, &more) } else { String::new() },
            diagnostics: answer.diagnostics.iter().map(Into::into).collect(),
            snapshot_id,
        }))
    }

    async fn batch_get_bars(
        &self,
        request: Request<v1::BatchGetBarsRequest>,
    ) -> Result<Response<Self::BatchGetBarsStream>, Status> {
        call::admitted(&self.0)?;
        let (deadline, errand) = (call::deadline(request.metadata()), call::errand(&request));
        let asked = bars::BatchBarsRequest::try_from(request.get_ref())?;
        let engine = self.0.engine().map_err(status::of)?;
        let mut symbols = asked.symbols;
        if let Some(universe) = &asked.universe {
            let current = engine.current().map_err(status::of)?;
            let selection = select(universe, &current.snapshot);
            let ids = selection.population.ids();
            symbols.extend(ids.map(|id| current.snapshot.universe.symbol(id).to_string()));
        }
        let mut read = to_engine(symbols, &asked.ask, deadline, errand);
        read.limit = if asked.limit == 0 { bars::BARS_DEFAULT } else { asked.limit };
        read.ordered = asked.ordered;
        let source = engine.stream(read).await.map_err(status::of)?;
        let ask = asked.ask;
        let head = header(source.head());
        // One event at a time is taken from the engine, when the reader has room for it.
        let events = stream::unfold(Some(source), |source| async move {
            let mut source = source?;
            match source.next().await {
                Ok(Some(event)) => Some((Ok(event), Some(source))),
                Ok(None) => None,
                Err(error) => Some((Err(status::of(error)), None)),
            }
        });
        let frames = events.flat_map(move |event| {
            let frames = match event {
                Ok(SeriesEvent::Bars(found)) => pages(&found, &ask).into_iter().map(Ok).collect(),
                Ok(SeriesEvent::Diagnostic(said)) => vec![Ok(Frame::Diagnostic((&said).into()))],
                Ok(SeriesEvent::End(end)) => vec![Ok(Frame::Summary((&summary(end)).into()))],
                Err(status) => vec![Err(status)],
            };
            stream::iter(frames)
        });
        let stream = stream::iter([Ok(head)]).chain(frames);
        let stream = stream.map(|frame| Ok(BatchGetBarsResponse { frame: Some(frame?) }));
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

fn to_engine(symbols: Vec<String>, ask: &BarsAsk, deadline: Instant, errand: Errand) -> SeriesRequest {
    SeriesRequest {
        symbols,
        timeframe: ask.timeframe,
        range: ask.range,
        hours: ask.session,
        selection: ask.bars,
        adjustment: ask.adjustment,
        pin: ask.snapshot.as_ref().map_or(Snapshots::Newest, |id| Snapshots::Snapshot(id.to_string())),
        until: None,
        policy: ask.policy,
        deadline: Some(deadline),
        errand,
        limit: 0,
        ordered: false,
    }
}

/// What a page token is bound to: the request without its paging.
fn digest(request: &v1::GetBarsRequest) -> Digest {
    let bare = v1::GetBarsRequest { page_size: 0, page_token: String::new(), ..request.clone() };
    token::bound_to(&bare)
}

fn origin<'a>(found: &'a SymbolSeries, ask: &BarsAsk) -> Origin<'a> {
    Origin {
        symbol: found.symbol.as_str(),
        timeframe: ask.timeframe,
        adjustment: ask.adjustment,
        provider: &found.provider,
        fetched: found.fetched,
    }
}

/// One symbol's bars in as many messages as they take.
fn pages(found: &SymbolSeries, ask: &BarsAsk) -> Vec<Frame> {
    let (origin, total) = (origin(found, ask), found.bars.len());
    if total == 0 {
        // A known symbol without bars has its message too, an empty one.
        return vec![Frame::Bars(bars::bars(origin, &Series::default(), &Mask::default()))];
    }
    let pages = (0..total).step_by(FRAME_BARS_MAX).map(|at| at..(at + FRAME_BARS_MAX).min(total));
    pages.map(|page| Frame::Bars(bars::bars(origin, &found.bars.slice(page), &ask.mask))).collect()
}

pub(super) fn summary(end: SeriesEnd) -> BarsSummary {
    let fetched = (end.fetched_bars > 0).then(|| ("provider".to_owned(), end.fetched_bars));
    BarsSummary {
        symbols_returned: end.returned,
        symbols_failed: end.failed,
        bars: end.bars,
        provider_calls: end.provider_calls,
        complete: end.complete,
        total_time: end.elapsed,
        cells_by_tier: fetched.into_iter().collect(),
    }
}

fn header(head: &SeriesHead) -> Frame {
    let cost = Cost {
        universe_symbols: head.cost.universe as u64,
        population_symbols: head.cost.population as u64,
        missing_cells: head.cost.missing_cells,
        provider_calls: head.cost.calls,
        fetch_time: head.cost.fetch_time,
        kinds: head.cost.kinds,
        fetch_bytes: head.cost.fetch_bytes,
        ..Cost::default()
    };
    Frame::Header(v1::BarsHeader {
        snapshot_id: head.snapshot.to_string(),
        as_of: Some(wire_timestamp(head.until)),
        symbols: i32::try_from(head.symbols).unwrap_or(i32::MAX),
        cost: Some((&cost).into()),
    })
}
