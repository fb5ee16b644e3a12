//! `panscan.v1.Indicators`: expressions at every bar, streamed, and the registry of functions.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt, stream};
use panscan_core::indicator;
use panscan_core::plan::Digest;
use panscan_core::port::Errand;
use panscan_core::scan::{Backend, Precision};
use panscan_engine::{GivenBars, IndicatorsEvent, IndicatorsHead, IndicatorsRequest, Pin as Snapshots};
use panscan_proto::convert::answer::{Cost, Header, columns};
use panscan_proto::convert::listing::{function, page};
use panscan_proto::convert::series::{self, IndicatorsAsk};
use panscan_proto::token::{self, Page};
use panscan_proto::v1::indicators_server::Indicators as Service;
use panscan_proto::v1::{self, ComputeIndicatorsResponse, compute_indicators_response::Frame};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::market_data::summary;
use super::{call, status};
use crate::host::Host;

/// The name that binds page tokens to this method.
const LIST_FUNCTIONS: &str = "Indicators.ListFunctions";

/// The service.
pub(super) struct Indicators(pub(super) Arc<Host>);

#[tonic::async_trait]
impl Service for Indicators {
    type ComputeIndicatorsStream =
        Pin<Box<dyn Stream<Item = Result<v1::ComputeIndicatorsResponse, Status>> + Send>>;

    async fn compute_indicators(
        &self,
        request: Request<v1::ComputeIndicatorsRequest>,
    ) -> Result<Response<Self::ComputeIndicatorsStream>, Status> {
        call::admitted(&self.0)?;
        let (deadline, errand) = (call::deadline(request.metadata()), call::errand(&request));
        let (metadata, _, message) = request.into_parts();
        let ask = IndicatorsAsk::try_from(message)?;
        let engine = self.0.engine().map_err(status::of)?;
        let source = engine.indicators(to_engine(ask, deadline, errand)).await.map_err(status::of)?;
        let head = header(source.head());
        let (snapshot_id, scan_id) = (head.snapshot_id.clone(), head.scan_id.clone());
        let names = head.columns.clone();
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
                Ok(IndicatorsEvent::Values(found)) => {
                    let frames = series::frames(&found.symbol, &found.start, &found.columns, &names);
                    frames.into_iter().map(Ok).collect()
                }
                Ok(IndicatorsEvent::Diagnostic(said)) => vec![Ok(Frame::Diagnostic((&said).into()))],
                Ok(IndicatorsEvent::End(end)) => vec![Ok(Frame::Summary((&summary(end)).into()))],
                Err(status) => vec![Err(status)],
            };
            stream::iter(frames)
        });
        let first = stream::iter([Ok(Frame::Header((&head).into()))]);
        let stream = first.chain(frames).map(|frame| Ok(ComputeIndicatorsResponse { frame: Some(frame?) }));
        let stream: Self::ComputeIndicatorsStream = Box::pin(stream);
        let mut response = Response::new(stream);
        call::answer(&metadata, response.metadata_mut(), &snapshot_id, &scan_id);
        Ok(response)
    }

    async fn list_functions(
        &self,
        request: Request<v1::ListFunctionsRequest>,
    ) -> Result<Response<v1::ListFunctionsResponse>, Status> {
        call::admitted(&self.0)?;
        let asked = request.get_ref();
        // The registry is that of the build: a token of another version belongs to another list.
        let list = Digest::of(env!("CARGO_PKG_VERSION"));
        let skip = token::skip(LIST_FUNCTIONS, list, &asked.page_token)?;
        let functions: Vec<_> = indicator::all().collect();
        let (range, more) = page(asked.page_size, skip, functions.len())?;
        let next = Page { skip: range.end, ..Page::default() };
        Ok(Response::new(v1::ListFunctionsResponse {
            next_page_token: token::following(LIST_FUNCTIONS, list, &next, more),
            functions: functions[range].iter().map(|definition| function(definition)).collect(),
        }))
    }
}

fn to_engine(ask: IndicatorsAsk, deadline: Instant, errand: Errand) -> IndicatorsRequest {
    let given = |given: series::GivenBars| GivenBars { symbol: given.symbol, bars: given.bars };
    IndicatorsRequest {
        columns: ask.columns,
        symbols: ask.symbols,
        given: ask.given.into_iter().map(given).collect(),
        timeframe: ask.timeframe,
        range: ask.range,
        adjustment: ask.adjustment,
        benchmark: ask.benchmark,
        pin: ask.snapshot.map_or(Snapshots::Newest, |id| Snapshots::Snapshot(id.to_string())),
        policy: ask.policy,
        backend: ask.backend,
        precision: ask.precision,
        deadline: Some(deadline),
        errand,
    }
}

fn header(head: &IndicatorsHead) -> Header {
    let cost = Cost {
        universe_symbols: head.cost.universe as u64,
        population_symbols: head.cost.population as u64,
        missing_cells: head.cost.missing_cells,
        provider_calls: head.cost.calls,
        fetch_time: head.cost.fetch_time,
        ..Cost::of(&head.plan)
    };
    let snapshot = head.published.as_ref().map(|published| &published.snapshot);
    Header {
        scan_id: head.scan_id.clone(),
        snapshot_id: snapshot.map(|snapshot| snapshot.id.to_string()).unwrap_or_default(),
        as_of: head.as_of,
        history_start: head.history_start,
        columns: columns(&head.plan),
        cost,
        fingerprint: head.plan.fingerprint.to_string(),
        backend: Backend::Cpu,
        precision: Precision::F64,
        point_in_time: snapshot.is_none_or(|snapshot| snapshot.point_in_time),
        server_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}
