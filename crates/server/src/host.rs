//! The engine as the services see it: absent while it starts, present after, and draining at the end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use panscan_core::catalog::Catalog;
use panscan_engine::{Engine, EngineError};
use tokio::sync::watch;

/// How far the start has come.
#[derive(Debug, Clone)]
pub enum Phase {
    /// Waiting for the provider or for an operator.
    Starting,
    /// It cannot start until an operator acts; the error says what to do.
    Refused(EngineError),
    /// The first snapshot is published.
    Ready,
}

/// Shared by all services.
pub struct Host {
    engine: ArcSwapOption<Engine>,
    why: Mutex<String>,
    draining: AtomicBool,
    phase: watch::Sender<Phase>,
    /// What outlives the process besides bars.
    pub catalog: Arc<dyn Catalog>,
    /// Rows per message where a request does not say.
    pub batch_rows: usize,
    /// The effective settings, with where each came from; secrets are masked.
    pub config: Vec<(String, String, &'static str)>,
}

impl Host {
    /// One whose engine is not there yet.
    #[must_use]
    pub fn new(
        catalog: Arc<dyn Catalog>,
        batch_rows: usize,
        config: Vec<(String, String, &'static str)>,
    ) -> Arc<Self> {
        Arc::new(Self {
            engine: ArcSwapOption::empty(),
            why: Mutex::new("the server is starting".to_owned()),
            draining: AtomicBool::new(false),
            phase: watch::Sender::new(Phase::Starting),
            catalog,
            batch_rows,
            config,
        })
    }

    /// The engine.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoSnapshot`] with what start-up waits for.
    pub fn engine(&self) -> Result<Arc<Engine>, EngineError> {
        self.engine.load_full().ok_or_else(|| EngineError::NoSnapshot {
            why: self.why.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        })
    }

    /// From now on there is an engine.
    pub fn ready(&self, engine: Engine) {
        self.engine.store(Some(Arc::new(engine)));
        self.phase.send_replace(Phase::Ready);
    }

    /// There is none yet, and this is why. `fatal`: an operator has to act.
    pub fn waits(&self, error: EngineError, fatal: bool) {
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = error.to_string();
        if fatal {
            self.phase.send_replace(Phase::Refused(error));
        }
    }

    /// Follows the start.
    #[must_use]
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// From now on new calls are refused.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether new calls are refused.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}
