//! Ctrl-C and SIGTERM: the first asks for a clean end, the second Ctrl-C gets an immediate one.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Tells a command that it is asked to end.
#[derive(Debug, Clone)]
pub struct Stop {
    asked: CancellationToken,
    insisted: CancellationToken,
}

impl Stop {
    /// Starts to listen for the signals; from here on they no longer end the process by themselves.
    ///
    /// # Errors
    ///
    /// When the system refuses to deliver signals.
    pub fn listen() -> io::Result<Self> {
        let stop = Self { asked: CancellationToken::new(), insisted: CancellationToken::new() };
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let Self { asked, insisted } = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            asked.cancel();
            interrupt.recv().await;
            insisted.cancel();
        });
        Ok(stop)
    }

    /// Waits until the process is asked to end.
    pub async fn asked(&self) {
        self.asked.cancelled().await;
    }

    /// Waits until the process is asked to end at once.
    pub async fn insisted(&self) {
        self.insisted.cancelled().await;
    }
}
