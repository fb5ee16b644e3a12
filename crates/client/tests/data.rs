//! Bars, symbols, counters and health over real gRPC on the loopback device, from a server with canned answers.

#![expect(clippy::unwrap_used, reason = "a test whose server does not start has failed")]

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use panscan_client::{Adjustment, BarRange, Client, ClientError, Kind, Order, Retry, Timeframe};
use panscan_proto::kind::{Details, status};
use panscan_proto::v1;
use panscan_proto::v1::admin_server::{Admin, AdminServer};
use panscan_proto::v1::batch_get_bars_response::Frame;
use panscan_proto::v1::market_data_server::{MarketData, MarketDataServer};
use panscan_proto::v1::universes_server::{Universes, UniversesServer};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

type Out<T> = Pin<Box<dyn tokio_stream::Stream<Item = Result<T, Status>> + Send>>;

#[derive(Clone, Default)]
struct Canned {
    bars: Arc<Mutex<Vec<v1::GetBarsRequest>>>,
    batches: Arc<Mutex<Vec<v1::BatchGetBarsRequest>>>,
    pages: Arc<Mutex<Vec<v1::ListSymbolsRequest>>>,
    frames: Arc<Mutex<Vec<Frame>>>,
}

fn bars(symbol: &str) -> v1::Bars {
    v1::Bars {
        symbol: symbol.into(),
        timeframe: "1d".into(),
        start_time_ms: vec![1_451_883_600_000, 1_451_970_000_000],
        close: vec![1.0, 2.0],
        vwap: vec![1.5, 0.0],
        vwap_validity: vec![0b01].into(),
        ..Default::default()
    }
}

#[tonic::async_trait]
impl MarketData for Canned {
    type BatchGetBarsStream = Out<v1::BatchGetBarsResponse>;
    type WatchBarsStream = Out<v1::WatchBarsResponse>;

    async fn get_bars(
        &self,
        request: Request<v1::GetBarsRequest>,
    ) -> Result<Response<v1::GetBarsResponse>, Status> {
        let request = request.into_inner();
        self.bars.lock().unwrap().push(request.clone());
        if request.symbol == "NONE" {
            let details = Details::resource("panscan.v1.Symbol", "NONE", "not in the universe");
            return Err(status(Kind::NotFound, "SYMBOL_UNKNOWN", "no such symbol", details));
        }
        let bars = Some(bars(&request.symbol));
        Ok(Response::new(v1::GetBarsResponse { bars, next_page_token: "next".into(), ..Default::default() }))
    }

    async fn batch_get_bars(
        &self,
        request: Request<v1::BatchGetBarsRequest>,
    ) -> Result<Response<Self::BatchGetBarsStream>, Status> {
        self.batches.lock().unwrap().push(request.into_inner());
        let frames = std::mem::take(&mut *self.frames.lock().unwrap());
        let message = |frame| Ok(v1::BatchGetBarsResponse { frame: Some(frame) });
        Ok(Response::new(Box::pin(tokio_stream::iter(frames.into_iter().map(message)))))
    }

    async fn watch_bars(
        &self,
        _: Request<v1::WatchBarsRequest>,
    ) -> Result<Response<Self::WatchBarsStream>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

#[tonic::async_trait]
impl Universes for Canned {
    async fn list_symbols(
        &self,
        request: Request<v1::ListSymbolsRequest>,
    ) -> Result<Response<v1::ListSymbolsResponse>, Status> {
        let request = request.into_inner();
        self.pages.lock().unwrap().push(request.clone());
        let (symbol, next) = match request.page_token.as_str() {
            "" => ("A", "2"),
            "2" => ("B", "3"),
            _ => ("C", ""),
        };
        let symbol = v1::Symbol { symbol: symbol.into(), sector: "Energy".into(), ..Default::default() };
        let symbols = vec![symbol];
        Ok(Response::new(v1::ListSymbolsResponse { symbols, next_page_token: next.into(), total_size: 3 }))
    }

    async fn list_universes(
        &self,
        _: Request<v1::ListUniversesRequest>,
    ) -> Result<Response<v1::ListUniversesResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn get_universe(
        &self,
        _: Request<v1::GetUniverseRequest>,
    ) -> Result<Response<v1::Universe>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn get_symbol(&self, _: Request<v1::GetSymbolRequest>) -> Result<Response<v1::Symbol>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn create_universe(
        &self,
        _: Request<v1::CreateUniverseRequest>,
    ) -> Result<Response<v1::Universe>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn update_universe(
        &self,
        _: Request<v1::UpdateUniverseRequest>,
    ) -> Result<Response<v1::Universe>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn delete_universe(&self, _: Request<v1::DeleteUniverseRequest>) -> Result<Response<()>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn get_group_statistics(
        &self,
        _: Request<v1::GetGroupStatisticsRequest>,
    ) -> Result<Response<v1::GroupStatistics>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

#[tonic::async_trait]
impl Admin for Canned {
    type WarmCacheStream = Out<v1::WarmCacheResponse>;

    async fn get_stats(
        &self,
        request: Request<v1::GetStatsRequest>,
    ) -> Result<Response<v1::GetStatsResponse>, Status> {
        if request.metadata().get("authorization").is_none() {
            return Err(status(Kind::Unauthenticated, "NO_KEY", "send a key", Details::default()));
        }
        let tiers = vec![v1::TierStats { tier: "l1".into(), hits: 7, ..Default::default() }];
        Ok(Response::new(v1::GetStatsResponse { tiers, active_calls: 1, ..Default::default() }))
    }

    async fn invalidate_cache(
        &self,
        _: Request<v1::InvalidateCacheRequest>,
    ) -> Result<Response<v1::InvalidateCacheResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn warm_cache(
        &self,
        _: Request<v1::WarmCacheRequest>,
    ) -> Result<Response<Self::WarmCacheStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn reset_breaker(
        &self,
        _: Request<v1::ResetBreakerRequest>,
    ) -> Result<Response<v1::ResetBreakerResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn drain(&self, _: Request<v1::DrainRequest>) -> Result<Response<v1::DrainResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn get_config(
        &self,
        _: Request<v1::GetConfigRequest>,
    ) -> Result<Response<v1::GetConfigResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

/// Starts a server and gives its address; it ends with the test's runtime.
async fn start(canned: &Canned) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<MarketDataServer<Canned>>().await;
    reporter.set_not_serving::<AdminServer<Canned>>().await;
    let server = tonic::transport::Server::builder()
        .add_service(health)
        .add_service(MarketDataServer::new(canned.clone()))
        .add_service(UniversesServer::new(canned.clone()))
        .add_service(AdminServer::new(canned.clone()));
    tokio::spawn(async move { server.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap() });
    address
}

#[tokio::test]
async fn one_symbols_bars() {
    let canned = Canned::default();
    let client = Client::connect(start(&canned).await).await.unwrap();
    let query = client.bars("SPY").last(2).adjustment(Adjustment::Raw).timeframe(Timeframe::Day);
    let page = query.page_size(2).cached_only().send().await.unwrap();
    assert_eq!((page.bars.symbol.as_str(), page.bars.close.as_slice()), ("SPY", [1.0, 2.0].as_slice()));
    assert!(page.bars.vwap[0] == 1.5 && page.bars.vwap[1].is_nan());
    assert_eq!(page.next_page_token, "next");
    let asked = canned.bars.lock().unwrap()[0].clone();
    assert_eq!(
        (asked.range.unwrap().last, asked.adjustment, asked.page_size, asked.data_policy),
        (2, 1, 2, 2)
    );

    let error = client.bars("NONE").send().await.unwrap_err();
    assert!(
        matches!(&error, ClientError::NotFound { resource: Some(r), .. } if r.name == "NONE"),
        "{error:?}"
    );
    let error = client.bars("no way").send().await.unwrap_err();
    assert!(matches!(error, ClientError::Setting { .. }));
    assert_eq!(canned.bars.lock().unwrap().len(), 2, "what is no symbol is not sent");
}

#[tokio::test]
async fn many_symbols_bars() {
    let canned = Canned::default();
    let client = Client::connect(start(&canned).await).await.unwrap();
    let header =
        || Frame::Header(v1::BarsHeader { snapshot_id: "s".into(), symbols: 2, ..Default::default() });
    let summary = || Frame::Summary(v1::BarsSummary { symbols_returned: 2, bars: 4, ..Default::default() });
    let diagnostic = v1::Diagnostic { reason: "SYMBOL_UNKNOWN".into(), ..Default::default() };
    *canned.frames.lock().unwrap() = vec![
        header(),
        Frame::Bars(bars("A")),
        Frame::Diagnostic(diagnostic),
        Frame::Bars(bars("B")),
        summary(),
    ];
    let range = BarRange::Sessions(Some("2016-01-04".parse().unwrap()), None);
    let mut stream = client.batch_bars(["A", "B", "C"]).range(range).ordered().send().await.unwrap();
    assert_eq!(stream.header().symbols, 2);
    let mut symbols = Vec::new();
    while let Some(bars) = stream.next_bars().await.unwrap() {
        symbols.push(bars.symbol);
    }
    assert_eq!(symbols, ["A", "B"]);
    assert_eq!((stream.diagnostics().len(), stream.summary().unwrap().bars), (1, 4));
    let asked = canned.batches.lock().unwrap()[0].clone();
    assert_eq!((asked.symbols.len(), asked.ordered), (3, true));
    assert_eq!(asked.range.unwrap().start_date, "2016-01-04");

    *canned.frames.lock().unwrap() = vec![header(), Frame::Bars(bars("A"))];
    let mut stream = client.batch_bars(["A"]).send().await.unwrap();
    stream.next_bars().await.unwrap();
    assert!(matches!(stream.next_bars().await, Err(ClientError::Broken { .. })));
    assert!(stream.next_bars().await.unwrap().is_none());
}

#[tokio::test]
async fn all_pages_of_symbols() {
    let canned = Canned::default();
    let client = Client::connect(start(&canned).await).await.unwrap();
    let query = client.symbols().filter("sector == 'Energy'").order_by("market_cap", Order::Descending);
    let symbols = query.clone().collect().await.unwrap();
    assert_eq!(symbols.iter().map(|l| l.symbol.as_str()).collect::<Vec<_>>(), ["A", "B", "C"]);
    let page = query.page_token("2").send().await.unwrap();
    assert_eq!((page.symbols.len(), page.total, page.next_page_token.as_str()), (1, 3, "3"));
    let asked = canned.pages.lock().unwrap()[0].clone();
    assert_eq!((asked.parent.as_str(), asked.order_by.as_str()), ("universes/default", "market_cap desc"));
}

#[tokio::test]
async fn counters_and_health() {
    let canned = Canned::default();
    let address = start(&canned).await;
    let client = Client::connect(&address).retry(Retry::NEVER).await.unwrap();
    let error = client.stats().await.unwrap_err();
    assert_eq!((error.kind(), error.report().unwrap().reason.as_str()), (Kind::Unauthenticated, "NO_KEY"));
    let client = Client::connect(&address).key("k").await.unwrap();
    let stats = client.stats().await.unwrap();
    assert_eq!((stats.tiers[0].hits, stats.active_calls), (7, 1));
    assert!(client.health("panscan.v1.MarketData").await.unwrap());
    assert!(!client.health("panscan.v1.Admin").await.unwrap());
    assert_eq!(client.health("panscan.v1.Nothing").await.unwrap_err().kind(), Kind::NotFound);
}
