//! `panscan serve`: build, bind, serve, drain.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use super::exit::Exit;
use super::failure::Failure;
use super::ready::Ready;
use super::stop::Stop;
use crate::app;
use crate::config::Settings;

/// How often the log says how far the history has come.
const WARM_SAID_EVERY: Duration = Duration::from_secs(10);

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

/// Fetches the resident history, as `Admin.WarmCache` does, and says in the log how far it has come.
async fn warm(running: &app::Running) -> Result<(), Failure> {
    let mut stream = running.warm().await?;
    let mut said: Option<Instant> = None;
    while let Some(warmed) = stream.next().await.map_err(app::AppError::from)? {
        if let Some(diagnostic) = &warmed.diagnostic {
            tracing::warn!(
                reason = diagnostic.reason.as_str(),
                diagnostic.message,
                "while fetching the history"
            );
        }
        if warmed.done || said.is_none_or(|at| at.elapsed() >= WARM_SAID_EVERY) {
            said = Some(Instant::now());
            let (cells, of, calls) = (warmed.cells_done, warmed.cells_total, warmed.provider_calls);
            let (done, left) = (warmed.done, warmed.remaining);
            tracing::info!(cells, of, provider_calls = calls, ?left, done, "the resident history");
        }
    }
    Ok(())
}
