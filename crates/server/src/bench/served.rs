//! What the suites over real sockets stand on: a simulator with a generated market, and a server that knows nothing
//! else.

use panscan_client::Client;

use super::BenchError;
use crate::app::{self, Running};
use crate::cli::args::DemoArgs;
use crate::cli::stage::Stage;

/// Both, in this process.
pub(super) struct Served {
    pub(super) stage: Stage,
    pub(super) running: Running,
}

impl Served {
    /// Starts them and waits until the server is ready; nothing is fetched yet.
    pub(super) async fn start(symbols: usize, sessions: usize) -> Result<Self, BenchError> {
        let failed = failed("the server");
        let args = DemoArgs {
            symbols: u32::try_from(symbols).unwrap_or(u32::MAX),
            sessions: u32::try_from(sessions).unwrap_or(u32::MAX),
            seed: 1,
            rate: "1000/s".to_owned(),
            filter: None,
            port: 0,
            once: true,
            json: false,
            keep: false,
            data: Vec::new(),
            universe: None,
        };
        let stage = Stage::set(&args).await.map_err(|e| failed(&e))?;
        let running = app::start(&stage.settings).await.map_err(|e| failed(&e))?;
        running.ready().await.map_err(|e| failed(&e))?;
        Ok(Self { stage, running })
    }

    /// Where the server is.
    pub(super) fn address(&self) -> String {
        format!("http://{}", self.running.grpc)
    }

    /// A client of it.
    pub(super) async fn client(&self) -> Result<Client, BenchError> {
        Client::connect(self.address()).await.map_err(|e| failed("the client")(&e))
    }

    /// Provider calls so far.
    pub(super) fn calls(&self) -> u64 {
        self.stage.simulator.audit().total
    }

    /// Ends the server; the simulator and the store stay.
    pub(super) async fn end_server(self) -> Stage {
        self.running.stop().await;
        self.stage
    }
}

/// An error of `what`.
pub(super) fn failed(what: &'static str) -> impl Fn(&dyn std::fmt::Display) -> BenchError {
    move |error| BenchError::Failed { what, message: error.to_string() }
}
