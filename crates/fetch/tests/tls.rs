//! TLS with a certificate authority of one's own: HTTP/2 is agreed on, one connection carries all calls, and
//! bodies come in zstd.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{Response, Version};
use futures::{StreamExt, stream};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use panscan_core::limit::Quota;
use panscan_core::port::{BarAsk, BarSource, Clock, Errand, SourceError};
use panscan_core::time::Timestamp;
use panscan_fetch::{Polygon, PolygonConfig, Secret};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        "2025-12-31T23:00:00Z".parse().unwrap()
    }
}

/// What was asked for, and how.
type Asked = Arc<Mutex<Vec<(Version, String)>>>;

struct Provider {
    url: String,
    ca_file: PathBuf,
    asked: Asked,
    connections: Arc<AtomicUsize>,
}

/// Serves a day of one bar over TLS, with a certificate of an authority that is written to `folder`.
async fn serve(folder: &Path) -> Provider {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_file = folder.join("ca.pem");
    std::fs::write(&ca_file, ca.self_signed(&ca_key).unwrap().pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let mut tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(tls));

    let (asked, connections) = (Asked::default(), Arc::new(AtomicUsize::new(0)));
    let noted = asked.clone();
    let answer = move |request: Request| {
        let accepted = request.headers()["accept-encoding"].to_str().unwrap().to_owned();
        noted.lock().unwrap().push((request.version(), accepted));
        let row = "{\"T\":\"AAPL\",\"v\":7,\"o\":2,\"c\":2,\"h\":3,\"l\":1,\"t\":1765918800000}";
        let body = format!("{{\"status\":\"OK\",\"adjusted\":false,\"resultsCount\":1,\"results\":[{row}]}}");
        let body = zstd::encode_all(body.as_bytes(), 3).unwrap();
        let response = Response::builder().header("content-encoding", "zstd").body(Body::from(body));
        async { response.unwrap() }
    };
    let router = Router::new().fallback(answer);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let count = connections.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, service) = (acceptor.clone(), TowerToHyperService::new(router.clone()));
            let count = count.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(socket).await else { return };
                count.fetch_add(1, Ordering::Relaxed);
                let _ =
                    Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    Provider { url, ca_file, asked, connections }
}

fn config(url: &str, ca_file: Option<PathBuf>) -> PolygonConfig {
    let key = Some(Secret::new("a-key-that-nobody-shows"));
    let mut config = PolygonConfig::new(url, key, Quota::UNLIMITED, Arc::new(Fixed));
    config.calls.ca_file = ca_file;
    config.calls.max_retries = 0;
    config
}

fn day() -> BarAsk {
    BarAsk::Day("2025-12-16".parse().unwrap())
}

#[tokio::test]
async fn http2_is_agreed_on_and_zstd_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let provider = serve(folder.path()).await;
    let polygon = Polygon::new(config(&provider.url, Some(provider.ca_file.clone()))).unwrap();
    polygon.fetch(&day(), Errand::interactive(0)).await.unwrap();
    let one = |caller| {
        let polygon = &polygon;
        async move { polygon.fetch(&day(), Errand::interactive(caller)).await }
    };
    let all: Vec<_> = stream::iter(0..40).map(one).buffer_unordered(20).collect().await;
    for fetched in all {
        assert_eq!(fetched.unwrap().block.count_bars(), 1);
    }
    let asked = provider.asked.lock().unwrap();
    assert_eq!(asked.len(), 41);
    for (version, accepted) in asked.iter() {
        assert_eq!(*version, Version::HTTP_2);
        assert!(accepted.contains("zstd") && accepted.contains("gzip"), "{accepted}");
    }
    assert_eq!(provider.connections.load(Ordering::Relaxed), 1, "one connection carries all calls");
}

#[tokio::test]
async fn a_certificate_of_nobody_known_is_refused_without_a_call() {
    let folder = tempfile::tempdir().unwrap();
    let provider = serve(folder.path()).await;
    let other = tempfile::tempdir().unwrap();
    let other = serve(other.path()).await;
    let ca = std::fs::read(&other.ca_file).unwrap();
    let file = folder.path().join("other.pem");
    std::fs::write(&file, ca).unwrap();
    let polygon = Polygon::new(config(&provider.url, Some(file))).unwrap();
    let error = polygon.fetch(&day(), Errand::interactive(0)).await.unwrap_err();
    assert!(matches!(error, SourceError::Unavailable { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("ertificate") && !text.contains("a-key-that-nobody-shows"), "{text}");
    assert!(provider.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_file_without_certificates_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let built =
        || Polygon::new(config("https://localhost:1", Some(file.clone()))).err().map(|e| e.to_string());
    assert!(built().unwrap().contains("ca.pem cannot be read"));
    std::fs::write(&file, "not a certificate").unwrap();
    let error = built().unwrap();
    assert!(error.contains("certificate file") && error.contains("PEM"), "{error}");
}
