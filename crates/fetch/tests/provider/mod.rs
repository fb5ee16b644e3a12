//! A provider whose every answer a test writes itself, over real HTTP, and that remembers what it was asked.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{Response, StatusCode};
use panscan_core::limit::Quota;
use panscan_core::port::{BarAsk, Clock};
use panscan_core::time::Timestamp;
use panscan_fetch::{CallConfig, Polygon, PolygonConfig, Secret};

pub(crate) const KEY: &str = "test-key-7531";

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) at: Instant,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) key: Option<String>,
}

pub(crate) struct Provider {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// Serves `answer`, which gets the request and how many came before it.
pub(crate) async fn serve<F>(answer: F) -> Provider
where
    F: Fn(&Asked, usize) -> Response<Body> + Clone + Send + Sync + 'static,
{
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
    let (ledger, count) = (asked.clone(), Arc::new(AtomicUsize::new(0)));
    let app = Router::new().fallback(move |request: Request| {
        let (ledger, count, answer) = (ledger.clone(), count.clone(), answer.clone());
        async move {
            let seen = Asked {
                at: Instant::now(),
                path: request.uri().path().to_owned(),
                query: request.uri().query().unwrap_or_default().to_owned(),
                key: request
                    .headers()
                    .get("authorization")
                    .and_then(|value| value.to_str().ok())
                    .map(str::to_owned),
            };
            ledger.lock().unwrap().push(seen.clone());
            answer(&seen, count.fetch_add(1, Ordering::SeqCst))
        }
    });
    tokio::spawn(async move { axum::serve(listener, app).await });
    Provider { url, asked }
}

impl Provider {
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn config(&self) -> PolygonConfig {
        config(&self.url)
    }

    pub(crate) fn polygon(&self) -> Polygon {
        Polygon::new(self.config()).unwrap()
    }
}

pub(crate) struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        "2025-12-31T23:00:00Z".parse().unwrap()
    }
}

/// Quick retries, and no limit.
pub(crate) fn config(url: &str) -> PolygonConfig {
    let config = PolygonConfig::new(url, Some(Secret::new(KEY)), Quota::UNLIMITED, Arc::new(Fixed));
    tuned(config, |calls| calls.retry_factor = Duration::from_millis(2))
}

/// The same with other settings of its calls.
pub(crate) fn tuned(mut config: PolygonConfig, tune: impl FnOnce(&mut CallConfig)) -> PolygonConfig {
    tune(&mut config.calls);
    config
}

pub(crate) fn json(body: impl Into<String>) -> Response<Body> {
    answer(StatusCode::OK, body)
}

pub(crate) fn answer(status: StatusCode, body: impl Into<String>) -> Response<Body> {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Body::from(body.into()))
        .unwrap()
}

pub(crate) fn day(text: &str) -> BarAsk {
    BarAsk::Day(text.parse().unwrap())
}

/// A page with one row for `ticker`; `more` goes in front of the results.
pub(crate) fn page(ticker: &str, more: &str) -> String {
    format!(
        "{{\"adjusted\":false,{more}\"results\":[{{\"T\":\"{ticker}\",\"v\":95595226.0,\"vw\":158.6074,\"o\":162.25,\
         \"c\":156.8,\"h\":162.34,\"l\":156.72,\"t\":1765918800000,\"n\":899965}}],\"resultsCount\":1,\"status\":\"OK\"}}"
    )
}
