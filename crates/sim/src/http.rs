//! From an HTTP request to an HTTP answer: key, limit, fault, handler, compression, headers.

use std::collections::HashSet;
use std::io::{self, Write};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST,
    RETRY_AFTER, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use panscan_core::time::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::aggregates;
use crate::ask::{Answer, Ask, decode, find, params};
use crate::audit::{Admission, Audit, Auditor};
use crate::bucket::{self, Bucket};
use crate::clock::SimClock;
use crate::company;
use crate::config::{BucketKeys, Plan};
use crate::control::{self, Reply};
use crate::dialect::{self, Dialects};
use crate::fault::{FaultName, Faults};
use crate::market::{Changes, HOUR_MS, MINUTE_MS, Market, View};
use crate::reference::{self, Form};
use crate::rng::hash;
use crate::snapshot::{self, Which};
use crate::status;
use crate::wire::Cut;

/// Bodies below this are not worth compressing.
const GZIP_BYTES_MIN: usize = 512;
/// Largest body that a control request may have.
const CONTROL_BYTES_MAX: usize = 1 << 20;

/// What all requests share.
pub(crate) struct Shared {
    pub(crate) market: Arc<Market>,
    pub(crate) clock: SimClock,
    pub(crate) auditor: Auditor,
    pub(crate) faults: Faults,
    pub(crate) plan: Plan,
    pub(crate) keys: Option<HashSet<String>>,
    pub(crate) dialects: Dialects,
    pub(crate) bucket: Bucket,
    /// Ends waits that a fault makes.
    pub(crate) stop: CancellationToken,
    changes: RwLock<Arc<Changes>>,
}

impl Shared {
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a part of its own, named at the one place that calls this"
    )]
    pub(crate) fn new(
        market: Market,
        clock: SimClock,
        auditor: Auditor,
        faults: Faults,
        plan: Plan,
        keys: Option<Vec<String>>,
        dialects: Dialects,
        stop: CancellationToken,
    ) -> Self {
        let keys = keys.map(|keys| keys.into_iter().collect());
        let (changes, bucket) = (RwLock::default(), Bucket::new(BucketKeys::default()));
        let market = Arc::new(market);
        Self { market, clock, auditor, faults, plan, keys, dialects, bucket, stop, changes }
    }

    /// With these keys to its bucket.
    pub(crate) fn with_bucket(self, keys: BucketKeys) -> Self {
        Self { bucket: Bucket::new(keys), ..self }
    }

    /// What was called so far, on the paths of all providers.
    pub(crate) fn audit(&self) -> Audit {
        self.dialects.add_to(self.auditor.snapshot())
    }

    /// Forgets what was counted; the limits go on.
    pub(crate) fn reset_audit(&self) {
        self.auditor.reset();
        self.dialects.reset();
    }

    pub(crate) fn changes(&self) -> Arc<Changes> {
        Arc::clone(&self.changes.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_changes(&self, changes: Changes) {
        *self.changes.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(changes);
    }

    /// The market as it is now; `truly` sees past the delay of the plan.
    pub(crate) fn view(&self, truly: bool) -> View {
        let now = self.clock.now();
        let behind = if self.plan == Plan::Delayed && !truly { 15 * MINUTE_MS } else { 0 };
        let visible = Timestamp::from_millis(now.as_millis() - behind);
        View { market: Arc::clone(&self.market), changes: self.changes(), visible, now }
    }
}

/// The provider's paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Range,
    Grouped,
    Previous,
    Tickers,
    Details,
    Splits(Form),
    Dividends(Form),
    Events,
    Snapshot(Which),
    OpenClose,
    StatusNow,
    StatusUpcoming,
    Unknown,
}

impl Route {
    fn of(segments: &[String]) -> Self {
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match segments[..] {
            ["v2", "aggs", "ticker", _, "range", _, _, _, _] => Self::Range,
            ["v2", "aggs", "grouped", "locale", "us", "market", "stocks", _] => Self::Grouped,
            ["v2", "aggs", "ticker", _, "prev"] => Self::Previous,
            ["v3", "reference", "tickers"] => Self::Tickers,
            ["v3", "reference", "tickers", _] => Self::Details,
            ["v3", "reference", "splits"] => Self::Splits(Form::Older),
            ["v3", "reference", "dividends"] => Self::Dividends(Form::Older),
            ["stocks", "v1", "splits"] => Self::Splits(Form::Newer),
            ["stocks", "v1", "dividends"] => Self::Dividends(Form::Newer),
            ["vX", "reference", "tickers", _, "events"] => Self::Events,
            ["v2", "snapshot", "locale", "us", "markets", "stocks", "tickers"] => Self::Snapshot(Which::Many),
            ["v2", "snapshot", "locale", "us", "markets", "stocks", "tickers", _] => {
                Self::Snapshot(Which::One)
            }
            ["v2", "snapshot", "locale", "us", "markets", "stocks", "gainers"] => {
                Self::Snapshot(Which::Gainers)
            }
            ["v2", "snapshot", "locale", "us", "markets", "stocks", "losers"] => {
                Self::Snapshot(Which::Losers)
            }
            ["v1", "open-close", _, _] => Self::OpenClose,
            ["v1", "marketstatus", "now"] => Self::StatusNow,
            ["v1", "marketstatus", "upcoming"] => Self::StatusUpcoming,
            _ => Self::Unknown,
        }
    }

    fn template(self) -> &'static str {
        match self {
            Self::Range => "/v2/aggs/ticker/{ticker}/range/{multiplier}/{timespan}/{from}/{to}",
            Self::Grouped => "/v2/aggs/grouped/locale/us/market/stocks/{date}",
            Self::Previous => "/v2/aggs/ticker/{ticker}/prev",
            Self::Tickers => "/v3/reference/tickers",
            Self::Details => "/v3/reference/tickers/{ticker}",
            Self::Splits(Form::Older) => "/v3/reference/splits",
            Self::Dividends(Form::Older) => "/v3/reference/dividends",
            Self::Splits(Form::Newer) => "/stocks/v1/splits",
            Self::Dividends(Form::Newer) => "/stocks/v1/dividends",
            Self::Events => "/vX/reference/tickers/{id}/events",
            Self::Snapshot(Which::Many) => "/v2/snapshot/locale/us/markets/stocks/tickers",
            Self::Snapshot(Which::One) => "/v2/snapshot/locale/us/markets/stocks/tickers/{ticker}",
            Self::Snapshot(Which::Gainers) => "/v2/snapshot/locale/us/markets/stocks/gainers",
            Self::Snapshot(Which::Losers) => "/v2/snapshot/locale/us/markets/stocks/losers",
            Self::OpenClose => "/v1/open-close/{ticker}/{date}",
            Self::StatusNow => "/v1/marketstatus/now",
            Self::StatusUpcoming => "/v1/marketstatus/upcoming",
            Self::Unknown => "other",
        }
    }

    fn is_status(self) -> bool {
        matches!(self, Self::StatusNow | Self::StatusUpcoming)
    }

    fn answer(self, ask: &Ask, plan: Plan) -> Answer {
        match self {
            Self::Range => aggregates::range(ask, plan),
            Self::Grouped => aggregates::grouped(ask, plan),
            Self::Previous => aggregates::previous(ask),
            Self::Tickers => reference::tickers(ask),
            Self::Details => reference::details(ask),
            Self::Splits(form) => reference::splits(ask, form),
            Self::Dividends(form) => reference::dividends(ask, form),
            Self::Events => company::events(ask),
            Self::Snapshot(which) => snapshot::snapshot(ask, plan, which),
            Self::OpenClose => snapshot::open_close(ask, plan),
            Self::StatusNow => Ok(status::now(ask)),
            Self::StatusUpcoming => Ok(status::upcoming(ask)),
            Self::Unknown => Err(Answer::not_found(&ask.request_id, "page not found")),
        }
        .unwrap_or_else(|refused| refused)
    }
}

/// Answers any request.
pub(crate) async fn serve(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let query = parts.uri.query().unwrap_or_default().to_owned();
    if path.starts_with("/_sim/") {
        let Ok(body) = axum::body::to_bytes(body, CONTROL_BYTES_MAX).await else {
            return finish(&shared, Answer::error(413, "", "the body is larger than 1 MiB"), "", None);
        };
        return match control::answer(&shared, parts.method.as_str(), &path, &query, &body) {
            Reply::Whole(answer) => finish(&shared, answer, "", None),
            Reply::Stream(body) => {
                let mut response = Response::new(body);
                let headers = response.headers_mut();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
                market_header(&shared, headers);
                response
            }
        };
    }
    if let Some(spoken) = shared.dialects.of(&path) {
        return dialect::serve(shared, spoken, &cut, &parts.method, &parts.headers, &path, &query).await;
    }
    if bucket::is_path(&path) {
        return bucket::serve(shared, &cut, &parts, &query).await;
    }
    provider(shared, &cut, &parts.method, &parts.headers, &path, &query).await
}

async fn provider(
    shared: Arc<Shared>,
    cut: &Cut,
    method: &Method,
    headers: &HeaderMap,
    path: &str,
    query: &str,
) -> Response {
    let segments: Vec<String> = path.split('/').skip(1).map(|segment| decode(segment, false)).collect();
    let route = Route::of(&segments);
    let params = params(query);
    // without the key, so that neither ids nor links tell it
    let open: Vec<&str> =
        query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("apiKey=")).collect();
    let target = if open.is_empty() { path.to_owned() } else { format!("{path}?{}", open.join("&")) };
    let request_id = request_id(&shared.market.id, &target);
    let gzip = accepts(headers, "gzip").then_some(());

    let key = key(headers, &params).unwrap_or_default();
    let admission = shared.auditor.call(&key, route.template(), route.is_status());
    let refusal = if key.is_empty() {
        Some(Answer::error(401, &request_id, "API Key was not provided"))
    } else if shared.keys.as_ref().is_some_and(|keys| !keys.contains(&key)) {
        Some(Answer::error(401, &request_id, "Unknown API Key"))
    } else if let Admission::Refused { wait } = admission {
        tracing::debug!(?wait, template = route.template(), "call beyond the limit");
        Some(too_many(&request_id))
    } else if method != Method::GET {
        Some(Answer::error(405, &request_id, "only GET is served"))
    } else {
        None
    };
    if let Some(refusal) = refusal {
        return finish(&shared, refusal, &request_id, gzip);
    }

    let fault = shared.faults.draw();
    if let Some(answer) = fault.and_then(|fault| instead(fault, &request_id)) {
        if let Some(fault) = fault {
            shared.auditor.fault(fault.as_str());
        }
        return finish(&shared, answer, &request_id, gzip);
    }
    if fault == Some(FaultName::DropSocket) {
        shared.auditor.fault(FaultName::DropSocket.as_str());
        cut.now();
        // the connection ends at its next read; this answer is never written
        std::future::pending::<()>().await;
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("127.0.0.1");
    let ask = Ask {
        segments,
        params,
        origin: format!("http://{host}"),
        target,
        request_id: request_id.clone(),
        view: shared.view(false),
        status: if shared.plan == Plan::Delayed { "DELAYED" } else { "OK" },
        csv: headers
            .get(ACCEPT)
            .and_then(|kind| kind.to_str().ok())
            .is_some_and(|kind| kind.starts_with("text/csv")),
        tweak: fault,
    };
    let plan = shared.plan;
    // bodies of megabytes are built and compressed beside the threads that serve sockets
    let built = tokio::task::spawn_blocking(move || {
        let mut answer = route.answer(&ask, plan);
        if ask.tweak == Some(FaultName::BadJson) {
            answer.body.truncate(answer.body.len() / 2);
            answer.tweaked = true;
        }
        let packed = gzip.filter(|()| worth_packing(&answer.body)).and_then(|()| pack(&answer.body));
        (answer, packed)
    })
    .await;
    let Ok((answer, packed)) = built else {
        return finish(&shared, Answer::error(500, &request_id, "the simulator failed"), &request_id, None);
    };
    shared.auditor.rows(answer.rows);
    if let (true, Some(fault)) = (answer.tweaked, fault) {
        shared.auditor.fault(fault.as_str());
    }
    wounded(&shared, answer, packed, &request_id, fault).await
}

/// The key from the header or the query.
fn key(headers: &HeaderMap, params: &[(String, String)]) -> Option<String> {
    let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = header.and_then(|text| text.strip_prefix("Bearer ")).map(str::trim);
    bearer.or_else(|| find(params, "apiKey")).map(str::to_owned)
}

pub(crate) fn accepts(headers: &HeaderMap, coding: &str) -> bool {
    let listed = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    listed.split(',').any(|part| part.split(';').next().is_some_and(|name| name.trim() == coding))
}

/// The same request gets the same id, so that answers are the same bytes.
fn request_id(market: &str, target: &str) -> String {
    let seed = hash(market.as_bytes(), 0);
    format!("{:016x}{:016x}", hash(target.as_bytes(), seed), hash(target.as_bytes(), !seed))
}

fn too_many(request_id: &str) -> Answer {
    let text = "You've exceeded the maximum requests per minute, please wait or upgrade your subscription \
                to continue.";
    Answer::error(429, request_id, text)
}

/// The answer that a fault puts in place of the real one.
pub(crate) fn instead(fault: FaultName, request_id: &str) -> Option<Answer> {
    let html = |status: u16, text: &str| Answer {
        content_type: "text/html",
        ..Answer::new(status, format!("<html><body><h1>{text}</h1></body></html>").into_bytes())
    };
    let plan = "You are not entitled to this data. Please upgrade your plan.";
    Some(match fault {
        FaultName::TooMany => too_many(request_id),
        FaultName::TooManyRetryAfter => Answer { retry_after: Some(1), ..too_many(request_id) },
        FaultName::TooManyEmpty => Answer::new(429, Vec::new()),
        FaultName::ServerError => Answer::error(500, request_id, "internal error"),
        FaultName::BadGatewayHtml => html(502, "502 Bad Gateway"),
        FaultName::Unavailable => Answer::new(503, Vec::new()),
        FaultName::GatewayTimeout => Answer::new(504, Vec::new()),
        FaultName::HtmlOk => html(200, "Scheduled maintenance"),
        FaultName::NotAuthorizedOk => Answer::not_authorized(200, request_id, plan),
        FaultName::KeyRevoked => Answer::error(401, request_id, "Unknown API Key"),
        _ => return None,
    })
}

/// Whether a body is long enough to be compressed.
pub(crate) fn worth_packing(body: &[u8]) -> bool {
    body.len() >= GZIP_BYTES_MIN
}

/// Compresses a body.
pub(crate) fn pack(body: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 3 + 64), Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}

/// An answer without damage to its bytes.
pub(crate) fn finish(shared: &Shared, answer: Answer, request_id: &str, gzip: Option<()>) -> Response {
    let packed = gzip.filter(|()| worth_packing(&answer.body)).and_then(|()| pack(&answer.body));
    let coded = packed.is_some();
    let body = Bytes::from(packed.unwrap_or(answer.body));
    let mut response = Response::new(Body::from(body));
    head(shared, &mut response, answer.status, answer.content_type, answer.retry_after, request_id, coded);
    response
}

fn head(
    shared: &Shared,
    response: &mut Response,
    status: u16,
    content_type: &'static str,
    retry_after: Option<u64>,
    request_id: &str,
    coded: bool,
) {
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if let Some(seconds) = retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if coded {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert("x-request-id", id);
    }
    market_header(shared, headers);
}

fn market_header(shared: &Shared, headers: &mut HeaderMap) {
    if let Ok(id) = HeaderValue::from_str(&shared.market.id) {
        headers.insert("x-panscan-market", id);
    }
}

/// An answer with whatever the fault does to its bytes and their timing.
pub(crate) async fn wounded(
    shared: &Arc<Shared>,
    answer: Answer,
    packed: Option<Vec<u8>>,
    request_id: &str,
    fault: Option<FaultName>,
) -> Response {
    let coded = packed.is_some();
    let mut bytes = packed.unwrap_or(answer.body);
    let half = bytes.len() / 2;
    let done = |fault: FaultName| shared.auditor.fault(fault.as_str());
    let mut length = None;
    let body = match fault {
        Some(fault @ FaultName::SlowFirstByte) => {
            done(fault);
            shared.pause(Duration::from_secs(2)).await;
            Body::from(bytes)
        }
        Some(fault @ FaultName::BadGzip) if coded => {
            done(fault);
            bytes[half..].iter_mut().step_by(3).for_each(|byte| *byte ^= 0x5a);
            Body::from(bytes)
        }
        Some(fault @ FaultName::ShortLength) => {
            done(fault);
            bytes.truncate(half);
            Body::from(bytes)
        }
        Some(fault @ (FaultName::Truncate | FaultName::Stall)) => {
            done(fault);
            length = Some(bytes.len());
            // long enough that the first half is on the wire before the connection ends
            let wait =
                if fault == FaultName::Stall { Duration::from_secs(60) } else { Duration::from_millis(20) };
            bytes.truncate(half);
            broken(Arc::clone(shared), bytes, wait)
        }
        Some(fault @ FaultName::SlowDrip) => {
            done(fault);
            length = Some(bytes.len());
            drip(Arc::clone(shared), Bytes::from(bytes))
        }
        _ => Body::from(bytes),
    };
    let mut response = Response::new(body);
    head(shared, &mut response, answer.status, answer.content_type, answer.retry_after, request_id, coded);
    if let Some(length) = length {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    response
}

impl Shared {
    /// Waits, but not past the simulator's end.
    async fn pause(&self, span: Duration) {
        tokio::select! {
            () = tokio::time::sleep(span) => {}
            () = self.stop.cancelled() => {}
        }
    }
}

/// A body that ends in an error after its first part and a wait.
fn broken(shared: Arc<Shared>, first: Vec<u8>, wait: Duration) -> Body {
    let parts = futures::stream::unfold(Some(first), move |state| {
        let shared = Arc::clone(&shared);
        async move {
            match state {
                Some(first) if !first.is_empty() => Some((Ok(Bytes::from(first)), Some(Vec::new()))),
                Some(_) => {
                    shared.pause(wait).await;
                    Some((Err(io::Error::from(io::ErrorKind::ConnectionAborted)), None))
                }
                None => None,
            }
        }
    });
    Body::from_stream(parts)
}

/// A body in twenty parts over two seconds.
fn drip(shared: Arc<Shared>, bytes: Bytes) -> Body {
    let part = bytes.len().div_ceil(20).max(1);
    let parts = futures::stream::unfold(bytes, move |mut left| {
        let shared = Arc::clone(&shared);
        async move {
            if left.is_empty() {
                return None;
            }
            shared.pause(Duration::from_millis(100)).await;
            let now = left.split_to(part.min(left.len()));
            Some((Ok::<_, io::Error>(now), left))
        }
    });
    Body::from_stream(parts)
}

/// Twenty hours after midnight: where the clock starts on the last session.
pub(crate) const EVENING_MS: i64 = 20 * HOUR_MS;
