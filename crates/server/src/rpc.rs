//! The gRPC services: a thin skin over the engine. Here they are put together and served.
//!
//! Deliberately absent: Redis, HTTP clients and CUDA; a service knows the engine and the contract only.

mod admin;
mod arrow;
mod call;
mod frames;
mod history;
mod indicators;
mod market_data;
mod named;
mod saved;
mod scanner;
mod statistics;
mod status;
mod universes;
mod validate;
mod warm;

use std::sync::Arc;
use std::time::Duration;

use panscan_proto::v1::{
    admin_server::AdminServer, indicators_server::IndicatorsServer, market_data_server::MarketDataServer,
    scanner_server::ScannerServer, signals_server, universes_server::UniversesServer,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding::{Gzip, Zstd};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::host::{Host, Phase};

/// Largest message that is taken.
const INBOUND_BYTES_MAX: usize = 4 << 20;
/// The same of a request that brings bars along.
const INDICATORS_BYTES_MAX: usize = 64 << 20;
/// Bytes that a stream may have on the way before the reader answers; a page of columns fits.
const WINDOW_BYTES: u32 = 1 << 20;
/// Streams of one connection at once.
const STREAMS_MAX: u32 = 1024;

/// The services whose health is told apart; the empty name is the server as a whole.
const SERVICES: [&str; 5] = [
    "",
    panscan_proto::v1::scanner_server::SERVICE_NAME,
    panscan_proto::v1::market_data_server::SERVICE_NAME,
    panscan_proto::v1::universes_server::SERVICE_NAME,
    panscan_proto::v1::indicators_server::SERVICE_NAME,
];

/// Serves until `stop`, then lets running calls end.
pub async fn serve(listener: TcpListener, host: Arc<Host>, stop: CancellationToken) {
    macro_rules! compressed {
        ($service:expr) => {
            $service
                .accept_compressed(Gzip)
                .accept_compressed(Zstd)
                .send_compressed(Gzip)
                .send_compressed(Zstd)
                .max_decoding_message_size(INBOUND_BYTES_MAX)
        };
    }
    let (health, health_service) = tonic_health::server::health_reporter();
    let telling = tokio::spawn(tell_health(health, host.clone(), stop.clone()));
    let mut server = Server::builder()
        .layer(tonic::service::InterceptorLayer::new(call::compressed_on_request))
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(4 * WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_keepalive_interval(Some(Duration::from_secs(30)));
    let router = server
        .add_service(compressed!(ScannerServer::new(scanner::Scanner(host.clone()))))
        .add_service(compressed!(MarketDataServer::new(market_data::MarketData(host.clone()))))
        .add_service(compressed!(UniversesServer::new(universes::Universes(host.clone()))))
        .add_service(
            compressed!(IndicatorsServer::new(indicators::Indicators(host.clone())))
                .max_decoding_message_size(INDICATORS_BYTES_MAX),
        )
        .add_service(compressed!(AdminServer::new(admin::Admin { host, stop: stop.clone() })))
        .add_service(health_service);
    // Both versions: the Python client still asks with v1alpha, everyone else with v1.
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(panscan_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let router = match (reflection().build_v1(), reflection().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => router.add_service(v1).add_service(v1alpha),
        (v1, v1alpha) => {
            tracing::error!(error = ?v1.err().or(v1alpha.err()), "reflection is off: its descriptors do not load");
            router
        }
    };
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    if let Err(error) = router.serve_with_incoming_shutdown(incoming, stop.cancelled_owned()).await {
        tracing::error!(%error, "the server ended");
    }
    telling.abort();
}

/// NOT_SERVING until the first snapshot and from the first moment of a drain, SERVING in between.
async fn tell_health(health: HealthReporter, host: Arc<Host>, stop: CancellationToken) {
    let tell = async |state| {
        for service in SERVICES {
            health.set_service_status(service, state).await;
        }
    };
    tell(ServingStatus::NotServing).await;
    // Operators ask while the server waits for its provider, too.
    health.set_service_status(panscan_proto::v1::admin_server::SERVICE_NAME, ServingStatus::Serving).await;
    health.set_service_status(signals_server::SERVICE_NAME, ServingStatus::NotServing).await;
    let mut phase = host.phase();
    loop {
        if matches!(*phase.borrow_and_update(), Phase::Ready) {
            break;
        }
        tokio::select! {
            changed = phase.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
    }
    tell(ServingStatus::Serving).await;
    stop.cancelled().await;
    tell(ServingStatus::NotServing).await;
}
