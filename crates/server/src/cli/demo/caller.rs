//! The client of a demo: one scan over the client crate, and the same one again and again on one connection.
//!
//! The measured round trips go over the generated client, because they carry a word that only measurements
//! need; what they read is decoded as the client crate decodes it.

use std::net::SocketAddr;
use std::time::Duration;

use panscan_client::{Client, Column, Format, Scan, ScanResult};
use panscan_proto::convert::frame::ScanFrame;
use panscan_proto::v1;
use panscan_proto::v1::scanner_client::ScannerClient;
use tonic::Request;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::{COLUMNS, FILTER, LIMIT, RANK_BY};
use crate::cli::args::DemoArgs;
use crate::cli::failure::Failure;

/// Longest wait for a cold scan; the demo's rate may be set as low as one likes.
const COLD_TIMEOUT: Duration = Duration::from_secs(24 * 3_600);
/// Longest wait for a warm one.
const WARM_TIMEOUT: Duration = Duration::from_secs(10);

/// Calls one server.
pub struct Caller {
    client: Client,
    filter: String,
    /// The measured connection; scans and bare calls share it.
    channel: Channel,
    message: v1::ScanUniverseRequest,
}

impl Caller {
    /// Connects to a server.
    pub async fn connect(grpc: SocketAddr, args: &DemoArgs) -> Result<Self, Failure> {
        let address = format!("http://{grpc}");
        let client = Client::connect(address.as_str()).await?;
        let filter = args.filter.clone().unwrap_or_else(|| FILTER.to_owned());
        let endpoint = Endpoint::from_shared(address.clone())
            .map_err(|error| Failure::Unexpected(error.to_string()))?
            .tcp_nodelay(true);
        let channel = endpoint.connect().await.map_err(|error| Failure::unreachable(&address, &error))?;
        let message = scan(&client, &filter).request().into();
        Ok(Self { client, filter, channel, message })
    }

    /// The scan, whole.
    pub async fn scan(&self) -> Result<ScanResult, Failure> {
        Ok(scan(&self.client, &self.filter).timeout(COLD_TIMEOUT).collect().await?)
    }

    /// The scan again, its rows decoded and dropped.
    pub async fn scan_again(&self, memo: bool) -> Result<(), Failure> {
        let mut request = Request::new(self.message.clone());
        request.set_timeout(WARM_TIMEOUT);
        if !memo {
            request.metadata_mut().insert("panscan-memo", MetadataValue::from_static("off"));
        }
        let failed = |status: tonic::Status| Failure::status(&status);
        let answer = ScannerClient::new(self.channel.clone()).scan_universe(request).await.map_err(failed)?;
        let mut stream = answer.into_inner();
        let mut columns: Option<Vec<Column>> = None;
        while let Some(message) = stream.message().await.map_err(failed)? {
            let frame = ScanFrame::read(message, columns.as_deref());
            if let ScanFrame::Header(header) =
                frame.map_err(|error| Failure::Unexpected(error.to_string()))?
            {
                columns = Some(header.columns);
            }
        }
        Ok(())
    }

    /// A call that does nothing, on the same connection.
    pub async fn bare(&self) -> Result<(), Failure> {
        let asked = HealthClient::new(self.channel.clone()).check(HealthCheckRequest::default()).await;
        asked.map(drop).map_err(|status| Failure::status(&status))
    }
}

fn scan(client: &Client, filter: &str) -> Scan {
    client
        .scan(filter)
        .columns(COLUMNS)
        .rank_by(RANK_BY)
        .ascending()
        .limit(LIMIT as usize)
        .format(Format::Columns)
}
