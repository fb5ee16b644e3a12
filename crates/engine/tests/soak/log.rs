//! Everything that is logged, read for what must not be in it.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing_subscriber::fmt::MakeWriter;

/// Reads along with the log; each event comes in one piece.
#[derive(Clone)]
pub(crate) struct Log {
    secret: &'static str,
    bytes: Arc<AtomicU64>,
    found: Arc<AtomicU64>,
}

impl Log {
    /// Takes everything that this process logs from now on, down to the details of connections.
    pub(crate) fn install(secret: &'static str) -> Self {
        let log = Self { secret, bytes: Arc::default(), found: Arc::default() };
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(log.clone())
            .finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
        log
    }

    /// Bytes that were logged.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Events that hold the secret.
    pub(crate) fn found(&self) -> u64 {
        self.found.load(Ordering::Relaxed)
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let secret = self.secret.as_bytes();
        if bytes.windows(secret.len()).any(|part| part == secret) {
            self.found.fetch_add(1, Ordering::Relaxed);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
