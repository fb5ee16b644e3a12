//! A running simulator: build the market, bind, serve, stop.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use panscan_core::bar::Field;
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timestamp};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::audit::{Audit, Auditor};
use crate::clock::SimClock;
use crate::config::{MarketSource, SimConfig};
use crate::dialect::Dialects;
use crate::error::SimError;
use crate::fault::{FaultName, Faults};
use crate::http::{self, EVENING_MS, Shared};
use crate::market::Market;
use crate::wire::{Cut, WireListener};
use crate::{generate, listing, recorded};

/// How long connections may finish what they do after a stop.
const GRACE: Duration = Duration::from_secs(2);

/// How large a market is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shape {
    /// Symbols.
    pub symbols: usize,
    /// Sessions with daily bars.
    pub sessions: usize,
    /// The first of them.
    pub first: SessionDate,
    /// The last of them.
    pub last: SessionDate,
    /// Daily bars.
    pub days: usize,
    /// Recorded minute bars; a generated market makes its own when asked.
    pub minutes: usize,
    /// Splits.
    pub splits: usize,
}

/// A provider that runs in this process until it is stopped. Dropping it ends it without grace.
pub struct Simulator {
    addr: SocketAddr,
    shared: Arc<Shared>,
    audit_file: Option<PathBuf>,
    cut: CancellationToken,
    server: JoinHandle<std::io::Result<()>>,
}

impl Simulator {
    /// Builds the market, binds and serves.
    ///
    /// # Errors
    ///
    /// A setting out of range, a data file that cannot be read or lacks columns, an address that is taken.
    pub async fn start(config: SimConfig) -> Result<Self, SimError> {
        let faults = Faults::new(config.fault_seed, &config.faults)?;
        let source = config.market;
        let market = tokio::task::spawn_blocking(move || build(&source))
            .await
            .map_err(|fault| SimError::Ended { what: fault.to_string() })??;
        let now = match (config.now, market.sessions.last()) {
            (Some(now), _) => now,
            (None, Some(last)) => Timestamp::from_millis(last.midnight + EVENING_MS),
            (None, None) => return Err(SimError::setting("data", "holds no session")),
        };
        // the stop of waits comes first, the cut of connections only after the grace
        let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
        let (listener, addr) = WireListener::bind(config.listen, cut.clone())
            .await
            .map_err(|source| SimError::Bind { addr: config.listen, source })?;
        let shared = Shared::new(
            market,
            SimClock::new(now),
            Auditor::new(config.rate),
            faults,
            config.plan,
            config.keys,
            Dialects::new(&config.dialects),
            stop.clone(),
        )
        .with_bucket(config.bucket);
        let shared = Arc::new(shared);
        let app = Router::new()
            .fallback(http::serve)
            .with_state(Arc::clone(&shared))
            .into_make_service_with_connect_info::<Cut>();
        let server = tokio::spawn(async move {
            axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await
        });
        tracing::info!(%addr, market = shared.market.id, "simulated provider listens");
        Ok(Self { addr, shared, audit_file: config.audit_file, cut, server })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The base URL of the provider's paths, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Which market is served, as the header `x-panscan-market` says it.
    #[must_use]
    pub fn market_id(&self) -> &str {
        &self.shared.market.id
    }

    /// How large the market is.
    #[must_use]
    pub fn shape(&self) -> Shape {
        let market = &self.shared.market;
        let date = |session: Option<&crate::market::Session>| session.map(|at| at.date).unwrap_or_default();
        Shape {
            symbols: market.listings.len(),
            sessions: market.sessions.len(),
            first: date(market.sessions.first()),
            last: date(market.sessions.last()),
            days: market.count_days(),
            minutes: market.count_minutes(),
            splits: market.splits.len(),
        }
    }

    /// The simulator's time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// Sets the simulator's clock; it runs on from there.
    pub fn set_now(&self, now: Timestamp) {
        self.shared.clock.set(now);
    }

    /// Moves the simulator's clock forward and says what it shows then.
    pub fn advance(&self, span: Duration) -> Timestamp {
        self.shared.clock.advance(span)
    }

    /// Replaces the probabilities of all faults; those not named are off.
    ///
    /// # Errors
    ///
    /// A probability outside 0 to 1, or a sum above 1.
    pub fn set_faults(&self, faults: &[(FaultName, f64)]) -> Result<(), SimError> {
        self.shared.faults.replace(faults)
    }

    /// The market's symbols, byte-wise ascending.
    pub fn symbols(&self) -> impl Iterator<Item = &Symbol> {
        self.shared.market.listings.iter().map(|listing| &listing.symbol)
    }

    /// The raw daily bars of a symbol as they truly are, up to the clock: values in the order of
    /// [`Field::ALL`], NaN where the source has none. Empty for a symbol that the market lacks.
    #[must_use]
    pub fn truth(&self, symbol: &str) -> Vec<(SessionDate, [f64; Field::COUNT])> {
        let view = self.shared.view(true);
        let sessions = view.market.sessions.iter().enumerate();
        sessions
            .filter_map(|(position, session)| {
                let bar = view.day(view.bearer(symbol, session.date)?, position)?;
                Some((session.date, [bar.o, bar.h, bar.l, bar.c, bar.v, bar.vw, bar.n]))
            })
            .collect()
    }

    /// The raw minute bars of a symbol up to the clock, with their starts, ascending.
    #[must_use]
    pub fn truth_minutes(&self, symbol: &str) -> Vec<(Timestamp, [f64; Field::COUNT])> {
        let view = self.shared.view(true);
        let Some(at) = view.market.find(symbol) else { return Vec::new() };
        let minutes = (0..view.market.sessions.len()).flat_map(|session| view.minutes(at, session));
        minutes
            .map(|(t, bar)| (Timestamp::from_millis(t), [bar.o, bar.h, bar.l, bar.c, bar.v, bar.vw, bar.n]))
            .collect()
    }

    /// Forgets what was counted; the limit goes on.
    pub fn reset_audit(&self) {
        self.shared.reset_audit();
    }

    /// What was called so far.
    #[must_use]
    pub fn audit(&self) -> Audit {
        self.shared.audit()
    }

    /// Writes the market's symbols and their attributes as CSV.
    ///
    /// # Errors
    ///
    /// A file that cannot be written.
    pub fn write_universe(&self, path: &Path) -> Result<(), SimError> {
        listing::write(path, &self.shared.market.listings)
    }

    /// Stops taking calls, lets those under way finish for two seconds, cuts what is left, and writes the
    /// audit.
    ///
    /// # Errors
    ///
    /// An audit file that cannot be written; a server that had failed before.
    pub async fn stop(mut self) -> Result<Audit, SimError> {
        self.shared.stop.cancel();
        let ended = if let Ok(ended) = tokio::time::timeout(GRACE, &mut self.server).await {
            ended
        } else {
            self.cut.cancel();
            (&mut self.server).await
        };
        ended
            .map_err(|fault| fault.to_string())
            .and_then(|served| served.map_err(|fault| fault.to_string()))
            .map_err(|what| SimError::Ended { what })?;
        let audit = self.audit();
        if let Some(path) = &self.audit_file {
            let text = format!("{:#}\n", audit.to_json());
            std::fs::write(path, text).map_err(|source| SimError::file("write", path, source))?;
        }
        Ok(audit)
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.shared.stop.cancel();
        self.cut.cancel();
        self.server.abort();
    }
}

impl std::fmt::Debug for Simulator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulator")
            .field("addr", &self.addr)
            .field("market", &self.market_id())
            .finish_non_exhaustive()
    }
}

fn build(source: &MarketSource) -> Result<Market, SimError> {
    match source {
        MarketSource::Generated { symbols, sessions, seed, end } => {
            generate::market(*symbols, *sessions, *seed, *end)
        }
        MarketSource::Recorded { files, universe } => recorded::market(files, universe.as_deref()),
    }
}
