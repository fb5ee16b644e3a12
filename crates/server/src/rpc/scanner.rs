//! `panscan.v1.Scanner`.

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use panscan_core::expr;
use panscan_core::plan::Digest;
use panscan_engine::{HistoryRequest, Pin as Snapshots, Published, ScanRequest};
use panscan_proto::convert::history::HistoryAsk;
use panscan_proto::convert::listing::{page, snapshot};
use panscan_proto::convert::plan::plan_nodes;
use panscan_proto::convert::request;
use panscan_proto::token::{self, Page};
use panscan_proto::v1::scanner_server::Scanner as Service;
use panscan_proto::{Violations, v1};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::frames::{self, Form};
use super::{call, history, saved, status, validate};
use crate::host::Host;

/// The name that binds page tokens to this method.
const SCAN: &str = "Scanner.ScanUniverse";
/// The same of the list of snapshots.
const LIST_SNAPSHOTS: &str = "Scanner.ListSnapshots";

/// The service.
pub(super) struct Scanner(pub(super) Arc<Host>);

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Service for Scanner {
    type ScanUniverseStream = Streamed<v1::ScanUniverseResponse>;
    type WatchUniverseStream = Streamed<v1::WatchUniverseResponse>;
    type ScanHistoryStream = Streamed<v1::ScanHistoryResponse>;

    async fn scan_universe(
        &self,
        request: Request<v1::ScanUniverseRequest>,
    ) -> Result<Response<Self::ScanUniverseStream>, Status> {
        let started = Instant::now();
        call::admitted(&self.0)?;
        let (deadline, memo) = (call::deadline(request.metadata()), call::uses_memo(request.metadata()));
        let errand = call::errand(&request);
        let message = saved::filled(&self.0, request.get_ref()).await?;
        let asked = request::ScanRequest::try_from(&*message)?;
        let engine = self.0.engine().map_err(status::of)?;
        let mut scan = ScanRequest {
            pin: match (asked.snapshot, asked.as_of) {
                (Some(id), _) => Snapshots::Snapshot(id.as_str().to_owned()),
                (None, Some(at)) => Snapshots::AsOf(at),
                (None, None) => Snapshots::Newest,
            },
            spec: asked.spec,
            skip: 0,
            policy: asked.policy,
            max_staleness: asked.max_staleness,
            backend: asked.backend,
            precision: asked.precision,
            plan_only: asked.validate_only,
            memo,
            deadline: Some(deadline),
            errand,
        };
        if !asked.page_token.is_empty() {
            let plan = expr::plan(&scan.spec).map_err(|error| status::of(error.into()))?;
            let page = token::read(SCAN, plan.fingerprint, &asked.page_token)?;
            if matches!(&scan.pin, Snapshots::Snapshot(id) if *id != page.snapshot) {
                let message = "was given for another snapshot than snapshot_id";
                return Err(Violations::of("page_token", "PAGE_TOKEN_MISMATCH", message).into());
            }
            scan.pin = Snapshots::Snapshot(page.snapshot);
            scan.skip = page.skip;
        }
        let answer = Arc::new(engine.scan(&scan).await.map_err(status::of)?);
        let returned = scan.skip + answer.rows.symbols.len();
        let more = !scan.plan_only && returned < answer.rows.matched && !answer.rows.symbols.is_empty();
        let snapshot_id = answer.published.snapshot.id.as_str().to_owned();
        let next = if more {
            let page = Page { snapshot: snapshot_id.clone(), skip: returned, until: None };
            token::write(SCAN, answer.plan.fingerprint, &page)
        } else {
            String::new()
        };
        let form = Form {
            format: asked.format,
            batch_rows: asked.batch_rows.unwrap_or(self.0.batch_rows).max(1),
            first_rank: scan.skip + 1,
            started,
        };
        let scan_id = answer.scan_id.clone();
        let stream: Self::ScanUniverseStream = Box::pin(frames::frames(answer, form, next));
        let mut response = Response::new(stream);
        call::answer(request.metadata(), response.metadata_mut(), &snapshot_id, &scan_id);
        Ok(response)
    }

    async fn explain_scan(
        &self,
        request: Request<v1::ExplainScanRequest>,
    ) -> Result<Response<v1::ExplainScanResponse>, Status> {
        call::admitted(&self.0)?;
        let deadline = call::deadline(request.metadata());
        let asked = request.get_ref();
        let as_scan = v1::ScanUniverseRequest {
            scan: saved::merged(&self.0, &asked.saved_scan, asked.scan.as_ref()).await?,
            as_of: asked.as_of,
            validate_only: true,
            ..Default::default()
        };
        let parsed = request::ScanRequest::try_from(&as_scan)?;
        let scan = ScanRequest {
            spec: parsed.spec,
            pin: parsed.as_of.map_or(Snapshots::Newest, Snapshots::AsOf),
            plan_only: true,
            deadline: Some(deadline),
            ..ScanRequest::default()
        };
        let answer = self.0.engine().map_err(status::of)?.scan(&scan).await.map_err(status::of)?;
        Ok(Response::new(v1::ExplainScanResponse {
            header: Some(frames::header(&answer)),
            canonical: Some((&scan.spec).into()),
            nodes: plan_nodes(&answer.plan, &answer.rows.memoized),
            text: format!("{}\n{}\n", expr::explain(&answer.plan).trim_end(), fetching(&answer.cost)),
        }))
    }

    async fn validate_scan(
        &self,
        request: Request<v1::ValidateScanRequest>,
    ) -> Result<Response<v1::ValidateScanResponse>, Status> {
        call::admitted(&self.0)?;
        let asked = request.get_ref();
        let scan = saved::merged(&self.0, &asked.saved_scan, asked.scan.as_ref()).await?;
        Ok(Response::new(validate::answer(&self.0, &scan.unwrap_or_default())))
    }

    async fn watch_universe(
        &self,
        _: Request<v1::WatchUniverseRequest>,
    ) -> Result<Response<Self::WatchUniverseStream>, Status> {
        Err(status::not_in_this_build("WatchUniverse"))
    }

    async fn scan_history(
        &self,
        request: Request<v1::ScanHistoryRequest>,
    ) -> Result<Response<Self::ScanHistoryStream>, Status> {
        call::admitted(&self.0)?;
        let (deadline, errand) = (call::deadline(request.metadata()), call::errand(&request));
        let asked = request.get_ref();
        let scan = saved::merged(&self.0, &asked.saved_scan, asked.scan.as_ref()).await?;
        let filled = v1::ScanHistoryRequest { scan, saved_scan: String::new(), ..asked.clone() };
        let ask = HistoryAsk::try_from(&filled)?;
        let engine = self.0.engine().map_err(status::of)?;
        let asked = HistoryRequest {
            sessions: ask.sessions(),
            spec: ask.spec,
            policy: ask.policy,
            deadline: Some(deadline),
            errand,
        };
        let source = engine.history(asked).await.map_err(status::of)?;
        let head = source.head();
        let (snapshot_id, scan_id) = (head.published.snapshot.id.to_string(), head.scan_id.clone());
        let stream: Self::ScanHistoryStream =
            Box::pin(history::stream(source, ask.format, self.0.batch_rows));
        let mut response = Response::new(stream);
        call::answer(request.metadata(), response.metadata_mut(), &snapshot_id, &scan_id);
        Ok(response)
    }

    async fn list_snapshots(
        &self,
        request: Request<v1::ListSnapshotsRequest>,
    ) -> Result<Response<v1::ListSnapshotsResponse>, Status> {
        call::admitted(&self.0)?;
        let asked = request.get_ref();
        let snapshots = self.0.engine().map_err(status::of)?.snapshots();
        // The list changes under its reader: a page goes on after the snapshot that ended the one before.
        let after = match asked.page_token.as_str() {
            "" => None,
            token => Some(token::read(LIST_SNAPSHOTS, Digest(0), token)?),
        };
        let older = |p: &Published| after.as_ref().is_none_or(|page| p.snapshot.epoch < page.skip as u64);
        let snapshots: Vec<_> = snapshots.into_iter().filter(|(p, _)| older(p)).collect();
        let (range, more) = page(asked.page_size, 0, snapshots.len())?;
        let last = range.end.checked_sub(1).map_or(0, |last| snapshots[last].0.snapshot.epoch);
        let next = Page { skip: usize::try_from(last).unwrap_or(usize::MAX), ..Page::default() };
        Ok(Response::new(v1::ListSnapshotsResponse {
            next_page_token: token::following(LIST_SNAPSHOTS, Digest(0), &next, more),
            snapshots: snapshots[range].iter().map(|(p, until)| snapshot(&p.snapshot, *until)).collect(),
        }))
    }

    async fn create_saved_scan(
        &self,
        request: Request<v1::CreateSavedScanRequest>,
    ) -> Result<Response<v1::SavedScan>, Status> {
        saved::create(&self.0, request.get_ref()).await.map(Response::new)
    }

    async fn get_saved_scan(
        &self,
        request: Request<v1::GetSavedScanRequest>,
    ) -> Result<Response<v1::SavedScan>, Status> {
        saved::get(&self.0, request.get_ref()).await.map(Response::new)
    }

    async fn list_saved_scans(
        &self,
        request: Request<v1::ListSavedScansRequest>,
    ) -> Result<Response<v1::ListSavedScansResponse>, Status> {
        saved::list(&self.0, request.get_ref()).await.map(Response::new)
    }

    async fn update_saved_scan(
        &self,
        request: Request<v1::UpdateSavedScanRequest>,
    ) -> Result<Response<v1::SavedScan>, Status> {
        saved::update(&self.0, request.get_ref()).await.map(Response::new)
    }

    async fn delete_saved_scan(
        &self,
        request: Request<v1::DeleteSavedScanRequest>,
    ) -> Result<Response<()>, Status> {
        saved::delete(&self.0, request.get_ref()).await.map(Response::new)
    }
}

/// What fetching the missing cells would take, in one line of the plan's text.
fn fetching(cost: &panscan_engine::Cost) -> String {
    let kinds = cost.kinds;
    format!(
        "fetch: {} market days, {} ranges, {} files; {} bytes; {:.1} s at the configured limit",
        kinds.days,
        kinds.ranges,
        kinds.files,
        cost.fetch_bytes,
        cost.fetch_time.as_secs_f64()
    )
}
