//! The client against a scripted server over real gRPC on the loopback device.

#![expect(clippy::unwrap_used, reason = "a test whose server does not start has failed")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use panscan_client::{Client, ClientError, Compression, Format, Kind, Retry, Timestamp};
use panscan_proto::Violation;
use panscan_proto::convert::expression::ExpressionFault;
use panscan_proto::kind::{Details, status};
use panscan_proto::v1::scan_universe_response::Frame;
use panscan_proto::v1::scanner_server::{Scanner, ScannerServer};
use panscan_proto::v1::{self, column_data};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

type Out<T> = Pin<Box<dyn tokio_stream::Stream<Item = Result<T, Status>> + Send>>;

/// What the server does with one call.
enum Step {
    Refuse(Box<Status>),
    Send(Vec<Result<Frame, Status>>),
    /// Sends, and then neither goes on nor ends.
    Hang(Vec<Frame>),
}

#[derive(Clone, Default)]
struct Script {
    steps: Arc<Mutex<VecDeque<Step>>>,
    seen: Arc<Mutex<Vec<(MetadataMap, v1::ScanUniverseRequest)>>>,
}

impl Script {
    fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: Arc::new(Mutex::new(steps.into_iter().collect())), ..Self::default() }
    }

    fn calls(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    fn metadata(&self, call: usize, key: &str) -> Option<String> {
        self.seen.lock().unwrap()[call].0.get(key).map(|v| v.to_str().unwrap().to_owned())
    }
}

/// A scanner of which only the methods in braces do anything.
macro_rules! scanner {
    ({ $($body:tt)* } $($method:ident($request:ident) -> $response:ty),+ $(,)?) => {
        #[tonic::async_trait]
        impl Scanner for Script {
            $($body)*
            $(async fn $method(&self, _: Request<v1::$request>) -> Result<Response<$response>, Status> {
                Err(Status::unimplemented("not in this script"))
            })+
        }
    };
}

scanner! { {
    type ScanUniverseStream = Out<v1::ScanUniverseResponse>;
    type WatchUniverseStream = Out<v1::WatchUniverseResponse>;
    type ScanHistoryStream = Out<v1::ScanHistoryResponse>;

    async fn scan_universe(
        &self,
        request: Request<v1::ScanUniverseRequest>,
    ) -> Result<Response<Self::ScanUniverseStream>, Status> {
        let (metadata, _, message) = request.into_parts();
        self.seen.lock().unwrap().push((metadata, message));
        let message = |frame| v1::ScanUniverseResponse { frame: Some(frame) };
        match self.steps.lock().unwrap().pop_front() {
            None => Err(Status::internal("the script is over")),
            Some(Step::Refuse(status)) => Err(*status),
            Some(Step::Send(frames)) => {
                let frames = tokio_stream::iter(frames).map(move |f| f.map(message));
                Ok(Response::new(Box::pin(frames)))
            }
            Some(Step::Hang(frames)) => {
                let frames = tokio_stream::iter(frames).map(move |f| Ok(message(f)));
                Ok(Response::new(Box::pin(frames.chain(tokio_stream::pending()))))
            }
        }
    }

    }
        watch_universe(WatchUniverseRequest) -> Self::WatchUniverseStream,
        scan_history(ScanHistoryRequest) -> Self::ScanHistoryStream,
        explain_scan(ExplainScanRequest) -> v1::ExplainScanResponse,
        validate_scan(ValidateScanRequest) -> v1::ValidateScanResponse,
        list_snapshots(ListSnapshotsRequest) -> v1::ListSnapshotsResponse,
        create_saved_scan(CreateSavedScanRequest) -> v1::SavedScan,
        get_saved_scan(GetSavedScanRequest) -> v1::SavedScan,
        list_saved_scans(ListSavedScansRequest) -> v1::ListSavedScansResponse,
        update_saved_scan(UpdateSavedScanRequest) -> v1::SavedScan,
        delete_saved_scan(DeleteSavedScanRequest) -> (),
}

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    /// Ends it and its connections.
    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}

async fn serve_at(script: &Script, address: &str) -> Server {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let scanner = ScannerServer::new(script.clone()).send_compressed(CompressionEncoding::Zstd);
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(async move {
        let server = tonic::transport::Server::builder().add_service(scanner);
        let incoming = TcpListenerStream::new(listener);
        server.serve_with_incoming_shutdown(incoming, async { drop(stopped.await) }).await.unwrap();
    });
    Server { address, stop, task }
}

async fn start(script: &Script) -> (Server, Client) {
    let server = serve_at(script, "127.0.0.1:0").await;
    let retry = Retry { first_wait: Duration::from_millis(1), ..Retry::default() };
    let client = Client::connect(format!("http://{}", server.address)).key("secret").retry(retry);
    (server, client.await.unwrap())
}

fn header() -> Frame {
    let column = |name: &str, kind: v1::ColumnType| v1::ColumnInfo {
        name: name.into(),
        expr: name.into(),
        r#type: kind.into(),
        ..Default::default()
    };
    Frame::Header(v1::ScanHeader {
        scan_id: "scan-7".into(),
        snapshot_id: "snap-1".into(),
        as_of: Some(prost_timestamp(1_483_131_600)),
        history_start: Some(prost_timestamp(1_451_883_600)),
        columns: vec![
            column("close", v1::ColumnType::Number),
            column("days_listed", v1::ColumnType::Integer),
            column("active", v1::ColumnType::Bool),
            column("sector", v1::ColumnType::String),
        ],
        backend: v1::Backend::Cpu.into(),
        precision: v1::Precision::F64.into(),
        ..Default::default()
    })
}

fn prost_timestamp(seconds: i64) -> panscan_proto::prost_types::Timestamp {
    panscan_proto::convert::wire_timestamp(Timestamp::from_seconds(seconds))
}

/// Rows of these ranks; in every second one all but the rank is missing.
fn rows(ranks: std::ops::Range<i32>) -> Frame {
    let n = ranks.len();
    let some =
        |values| v1::ColumnData { values: Some(values), validity: vec![0b0101_0101; n.div_ceil(8)].into() };
    Frame::Columns(v1::ColumnBatch {
        first_rank: ranks.start,
        symbols: ranks.clone().map(|r| format!("S{r}")).collect(),
        data: vec![
            some(column_data::Values::Doubles(v1::DoubleColumn { values: vec![12.5; n] })),
            some(column_data::Values::Int64s(v1::Int64Column { values: vec![9000; n] })),
            some(column_data::Values::Bools(v1::BoolColumn { values: vec![true; n] })),
            some(column_data::Values::Strings(v1::DictionaryColumn {
                dictionary: vec!["Energy".into()],
                indices: vec![0; n],
            })),
        ],
    })
}

fn summary() -> Frame {
    Frame::Summary(v1::ScanSummary {
        matched: 5,
        returned: 5,
        scanned: 9,
        complete: true,
        ..Default::default()
    })
}

fn diagnostic() -> Frame {
    Frame::Diagnostic(v1::Diagnostic { reason: "STALE_DATA".into(), count: 2, ..Default::default() })
}

fn answer() -> Step {
    Step::Send(vec![Ok(header()), Ok(rows(1..4)), Ok(diagnostic()), Ok(rows(4..6)), Ok(summary())])
}

fn refuse(kind: Kind, details: Details) -> Step {
    Step::Refuse(Box::new(status(kind, "WHY", "no", details)))
}

#[tokio::test]
async fn an_answer_arrives_typed_and_in_order() {
    let script = Script::new([answer(), answer()]);
    let (_server, client) = start(&script).await;
    let scan = client.scan("rsi(14) < 30").columns(["close"]).rank_by("close").ascending().limit(5);
    let result = scan.clone().sector("Energy").min_market_cap(1e9).cached_only().collect().await.unwrap();
    assert_eq!(result.rows.iter().map(|r| r.rank()).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    let first = &result.rows[0];
    assert_eq!(first.symbol(), "S1");
    assert_eq!((first.number("close"), first.number("days_listed")), (Some(12.5), Some(9000.0)));
    assert_eq!((first.integer("days_listed"), first.boolean("active")), (Some(9000), Some(true)));
    assert_eq!(
        (first.text("sector"), first.text("close"), first.number("nosuch")),
        (Some("Energy"), None, None)
    );
    assert_eq!(result.row("S2").unwrap().number("close"), None);
    assert_eq!(result.rows[4].cells().count(), 4);
    assert_eq!((result.diagnostics.len(), result.summary.matched), (1, 5));
    assert_eq!(result.header.snapshot_id, "snap-1");

    let mut stream = scan.format(Format::Rows).send().await.unwrap();
    let mut ranks = Vec::new();
    while let Some(row) = stream.next_row().await.unwrap() {
        ranks.push(row.rank());
        if ranks.len() == 2 {
            break;
        }
    }
    assert!(stream.summary().is_none());
    let rest = stream.collect().await.unwrap();
    ranks.extend(rest.rows.iter().map(|r| r.rank()));
    assert_eq!(ranks, [1, 2, 3, 4, 5]);

    let seen = script.seen.lock().unwrap();
    let (metadata, request) = &seen[0];
    assert_eq!(metadata.get("authorization").unwrap(), "Bearer secret");
    assert!(metadata.get("grpc-timeout").is_some() && metadata.get("x-request-id").is_some());
    let spec = request.scan.as_ref().unwrap();
    assert_eq!((spec.limit, spec.order), (5, v1::SortOrder::Asc.into()));
    assert_eq!(spec.universe.as_ref().unwrap().sectors, ["Energy"]);
    assert_eq!((request.format, request.data_policy), (2, 2));
    assert_eq!(seen[1].1.format, 1);
}

#[tokio::test]
async fn a_compressed_answer_is_the_same() {
    let script = Script::new([answer()]);
    let server = serve_at(&script, "127.0.0.1:0").await;
    let client = Client::connect(server.address.to_string()).compression(Compression::Zstd).await.unwrap();
    assert_eq!(client.scan("").collect().await.unwrap().rows.len(), 5);
    assert_eq!(script.metadata(0, "grpc-accept-encoding").unwrap(), "zstd,identity");
    assert_eq!(script.metadata(0, "authorization"), None);
}

#[tokio::test]
async fn a_server_that_is_away_or_busy_is_asked_again() {
    let wait = Details::retry_after(Duration::from_millis(2));
    let script = Script::new([
        refuse(Kind::Upstream, Details::default()),
        refuse(Kind::Busy, wait),
        // A stream that breaks before its first message has handed nothing out.
        Step::Send(vec![Err(status(Kind::Upstream, "DRAINING", "bye", Details::default()))]),
        answer(),
    ]);
    let (_server, client) = start(&script).await;
    assert_eq!(client.scan("").collect().await.unwrap().rows.len(), 5);
    assert_eq!(script.calls(), 4);
    let ids: Vec<_> = (0..4).map(|i| script.metadata(i, "x-request-id").unwrap()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "all tries are one call: {ids:?}");
}

#[tokio::test]
async fn nothing_is_asked_twice_that_waiting_does_not_help() {
    let steps = [Kind::BadRequest, Kind::Internal, Kind::Unauthenticated, Kind::NotFound, Kind::Busy];
    for kind in steps {
        let script = Script::new([refuse(kind, Details::default()), answer()]);
        let (_server, client) = start(&script).await;
        let error = client.scan("").send().await.unwrap_err();
        assert_eq!((error.kind(), script.calls()), (kind, 1), "{error}");
        let report = error.report().unwrap();
        assert_eq!(report.reason, "WHY");
        assert_eq!(Some(&report.request_id), script.metadata(0, "x-request-id").as_ref());
    }
    let minutes = Details::retry_after(Duration::from_secs(600));
    let script = Script::new([refuse(Kind::Busy, minutes), answer()]);
    let (_server, client) = start(&script).await;
    let error = client.scan("").send().await.unwrap_err();
    assert_eq!((error.retry_after(), script.calls()), (Some(Duration::from_secs(600)), 1));
    assert!(error.to_string().contains("come back in 600.0 s"), "{error}");
}

#[tokio::test]
async fn tries_are_counted() {
    let script = Script::new((0..9).map(|_| refuse(Kind::Upstream, Details::default())));
    let (_server, client) = start(&script).await;
    let error = client.scan("").send().await.unwrap_err();
    assert!(matches!(error, ClientError::Unavailable { .. }));
    assert_eq!(script.calls(), 4);
    // A server in trouble is not asked four times as often for ever: the budget runs out.
    for _ in 0..20 {
        script.steps.lock().unwrap().extend((0..4).map(|_| refuse(Kind::Upstream, Details::default())));
        client.scan("").send().await.unwrap_err();
    }
    assert!(script.calls() < 21 + 10 + 6, "{}", script.calls());
}

#[tokio::test]
async fn after_the_first_row_nothing_is_repeated() {
    let broke = status(Kind::Upstream, "DRAINING", "bye", Details::default());
    let script = Script::new([Step::Send(vec![Ok(header()), Ok(rows(1..3)), Err(broke)]), answer()]);
    let (_server, client) = start(&script).await;
    let mut stream = client.scan("").send().await.unwrap();
    assert_eq!(stream.next_row().await.unwrap().unwrap().rank(), 1);
    assert_eq!(stream.next_row().await.unwrap().unwrap().rank(), 2);
    let error = stream.next_row().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Upstream);
    assert_eq!(error.report().unwrap().scan_id.as_deref(), Some("scan-7"));
    assert!(error.to_string().contains("scan scan-7"), "{error}");
    assert!(stream.next_row().await.unwrap().is_none(), "a failed stream is over");
    assert_eq!(script.calls(), 1);
}

#[tokio::test]
async fn answers_that_break_the_contract_are_named() {
    let cases: [(&str, Vec<Frame>); 7] = [
        ("does not start with a header", vec![rows(1..2)]),
        ("ended before its header", vec![]),
        ("ended without a summary", vec![header(), rows(1..2)]),
        ("second header", vec![header(), header()]),
        ("hole in its ranks", vec![header(), rows(1..3), rows(4..5), summary()]),
        ("goes on after its summary", vec![header(), summary(), rows(1..2)]),
        ("Arrow data", vec![header(), Frame::Arrow(v1::ArrowBatch::default())]),
    ];
    for (words, frames) in cases {
        let script = Script::new([Step::Send(frames.into_iter().map(Ok).collect())]);
        let (_server, client) = start(&script).await;
        let error = client.scan("").collect().await.unwrap_err();
        assert!(matches!(error, ClientError::Broken { .. }), "{words}: {error}");
        assert!(error.to_string().contains(words), "{words}: {error}");
        assert_eq!(script.calls(), 1);
    }
}

#[tokio::test]
async fn the_deadline_ends_a_server_that_hangs() {
    for frames in [vec![], vec![header()], vec![header(), rows(1..2)]] {
        let script = Script::new([Step::Hang(frames)]);
        let (_server, client) = start(&script).await;
        let before = std::time::Instant::now();
        let error = client.scan("").timeout(Duration::from_millis(60)).collect().await.unwrap_err();
        assert!(matches!(error, ClientError::Deadline { .. }), "{error:?}");
        assert!(before.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn a_wrong_expression_is_shown_with_its_caret() {
    let details = Details {
        violations: vec![
            Violation {
                field: "scan.filter".into(),
                reason: "UNKNOWN_FUNCTION".into(),
                message: "no".into(),
            },
            Violation { field: "scan.limit".into(), reason: "OUT_OF_RANGE".into(), message: "is -1".into() },
        ],
        expressions: vec![ExpressionFault {
            field: "scan.filter".into(),
            start: 17,
            end: 21,
            line: 1,
            column: 18,
            reason: "UNKNOWN_FUNCTION".into(),
            message: "unknown function `smaa`".into(),
            suggestion: "sma".into(),
            excerpt: "rsi(14) < 30 and smaa(20) > close\n                 ^^^^".into(),
        }],
        ..Details::default()
    };
    let script = Script::new([refuse(Kind::BadRequest, details)]);
    let (_server, client) = start(&script).await;
    let error = client.scan("").collect().await.unwrap_err();
    let lines: Vec<String> = error.to_string().lines().skip(1).map(str::to_owned).collect();
    assert_eq!(
        lines,
        [
            "scan.filter:1:18: unknown function `smaa`; did you mean `sma`?",
            "  rsi(14) < 30 and smaa(20) > close",
            "                   ^^^^",
            "scan.limit: is -1",
        ]
    );
    let ClientError::Invalid { violations, expressions, .. } = error else { panic!("{error:?}") };
    assert_eq!((violations.len(), expressions[0].start), (2, 17));
}

#[tokio::test]
async fn a_server_that_comes_back_is_found_again() {
    let script = Script::new([answer(), answer()]);
    let (server, client) = start(&script).await;
    assert_eq!(client.scan("").collect().await.unwrap().rows.len(), 5);
    let address = server.address.to_string();
    server.stop().await;
    let error = client.scan("").collect().await.unwrap_err();
    assert!(matches!(error, ClientError::Unavailable { .. }), "{error:?}");
    let _server = serve_at(&script, &address).await;
    assert_eq!(client.scan("").collect().await.unwrap().rows.len(), 5);
}

#[tokio::test]
async fn calls_of_one_client_run_beside_each_other() {
    let script = Script::new((0..64).map(|_| answer()));
    let (_server, client) = start(&script).await;
    let calls = (0..64).map(|_| tokio::spawn(client.scan("").collect()));
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.unwrap().unwrap().rows.len(), 5);
    }
    assert_eq!(script.calls(), 64);
}

#[test]
fn the_program_of_the_readme_is_the_example() {
    let program = include_str!("../examples/first_scan.rs");
    assert!(include_str!("../README.md").contains(program));
}
