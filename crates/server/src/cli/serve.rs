//! `panscan serve`: build, bind, serve, drain.

use std::path::PathBuf;
use std::time::Duration;

use panscan_client::Client;

use super::exit::Exit;
use super::failure::Failure;
use super::ready::Ready;
use super::stop::Stop;
use crate::app;
use crate::config::Settings;

/// A column that is seeded at the start of the history, so that all of it is needed.
const WHOLE_HISTORY: &str = "ema(close, 2)";
/// Longest wait for all of it; at five calls a minute a year takes an hour.
const WARM_TIMEOUT: Duration = Duration::from_secs(24 * 3_600);

/// What `serve` is told beside the settings.
#[derive(Debug, Default)]
pub struct ServeOptions {
    /// Written when the first request can be answered.
    pub ready_file: Option<PathBuf>,
    /// Fetch the resident history before that.
    pub warm: bool,
}

/// Serves until it is asked to end, by a signal or over gRPC.
pub async fn run(settings: Settings, options: ServeOptions, stop: &Stop) -> Result<Exit, Failure> {
    for shown in settings.idle() {
        tracing::warn!(setting = shown.entry.name, "has no effect in this build");
    }
    let running = app::start(&settings).await?;
    tracing::info!(grpc = %running.grpc, store = %settings.tiers.store.display(), "listening");
    let ended = tokio::select! {
        ended = until_drained(&running, &options) => ended,
        () = stop.asked() => {
            tracing::info!(grace = ?settings.server.drain_grace, "draining");
            Ok(())
        }
    };
    running.stop().await;
    ended.map(|()| Exit::Done)
}

async fn until_drained(running: &app::Running, options: &ServeOptions) -> Result<(), Failure> {
    running.ready().await?;
    tracing::info!("the first snapshot is published");
    if options.warm {
        warm(running).await?;
    }
    if let Some(path) = &options.ready_file {
        Ready { grpc: Some(running.grpc), ..Ready::default() }.write(path)?;
    }
    running.drained().await;
    Ok(())
}

/// Fetches the resident history, by a scan that needs all of it.
async fn warm(running: &app::Running) -> Result<(), Failure> {
    let client = Client::connect(running.grpc.to_string()).await?;
    let scan = client.scan("").columns([WHOLE_HISTORY]).limit(1).timeout(WARM_TIMEOUT);
    let summary = scan.collect().await?.summary;
    tracing::info!(
        provider_calls = summary.provider_calls,
        complete = summary.complete,
        "the resident history is fetched"
    );
    Ok(())
}
