//! The engine: one market's universe, what is held of it, and the snapshots made from that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};

use panscan_core::block::Block;
use panscan_core::calendar::Calendar;
use panscan_core::life::{Histories, Lives};
use panscan_core::named::{Definition, Named};
use panscan_core::panel::{Panel, Split, Splits};
use panscan_core::plan::Digest;
use panscan_core::port::{
    BarSource, BlockKey, Clock, Compute, SeriesStore, SourceError, SourceHealth, SourceStats, TierStats,
};
use panscan_core::snapshot::{Held, MarketId, Snapshot};
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timeframe, Timestamp};
use panscan_core::universe::{Listing, Universe};
use tokio::sync::Mutex;

use crate::admit::Admission;
use crate::config::EngineConfig;
use crate::corporate::Paid;
use crate::details::Details;
use crate::error::EngineError;
use crate::flight::Flights;
use crate::intraday::Intraday;
use crate::lives::Former;
use crate::memo::NodeMemo;
use crate::notes::{self, RefusedNote};
use crate::origins::Origins;
use crate::plans::Plans;
use crate::prefetch::{Prefetch, PrefetchStats};
use crate::requeue::Requeue;
use crate::resident::{Published, Resident};
use crate::statistics::Statistics;
use crate::unlisted::universe;
use crate::unserved::Unserved;
use crate::wide::Kept;

/// The concrete parts behind the ports, joined by whoever builds the engine.
#[derive(Clone)]
pub struct Parts {
    /// Where bars come from.
    pub source: Arc<dyn BarSource>,
    /// Where they are kept.
    pub store: Arc<dyn SeriesStore>,
    /// What evaluates plans.
    pub compute: Arc<dyn Compute>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Attributes from a universe file; they complete the provider's listings.
    pub attributes: Arc<[Listing]>,
}

/// Scans, bars and snapshots of one market. Cheap to clone.
#[derive(Clone)]
pub struct Engine(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) parts: Parts,
    pub(crate) config: EngineConfig,
    pub(crate) market: MarketId,
    pub(crate) resident: Resident,
    pub(crate) admission: Admission,
    pub(crate) memo: NodeMemo,
    pub(crate) plans: Plans,
    pub(crate) flights: Arc<Flights>,
    pub(crate) requeue: Requeue,
    /// What is usually asked for, and what came of fetching it ahead.
    pub(crate) prefetch: Prefetch,
    /// Days that the provider does not serve.
    pub(crate) unserved: Unserved,
    pub(crate) state: Mutex<State>,
    /// Statistics of groups that were worked out.
    pub(crate) statistics: Statistics,
    /// Held while a symbol's own block is read, joined with new bars and written back.
    pub(crate) joining: Mutex<()>,
    pub(crate) intraday: Intraday,
    /// Held while listings and splits are asked for.
    pub(crate) refreshing: Mutex<()>,
    /// When listings were last fetched, and when they were last asked for, in nanoseconds.
    pub(crate) reference_at: AtomicI64,
    pub(crate) reference_asked: AtomicI64,
    pub(crate) details: Mutex<Details>,
    /// Held while tickers that ceased to trade are asked for. Before the state, where both are held.
    pub(crate) former: Mutex<Former>,
    /// Whether the universe lacks tickers that are known to trade.
    pub(crate) unlisted: AtomicBool,
    /// Rounds of fetching that somebody waits for.
    pub(crate) interactive: AtomicUsize,
    /// Answers to questions that nobody asked.
    pub(crate) refreshed: AtomicU64,
    /// Held while dividends are asked for.
    pub(crate) paying: Mutex<()>,
    /// The panel of past sessions that was made last.
    pub(crate) wide: std::sync::Mutex<Option<Kept>>,
    pub(crate) started: Timestamp,
    pub(crate) instance: Digest,
    pub(crate) epoch: AtomicU64,
    pub(crate) scans: AtomicU64,
}

/// What is held; changed by one task at a time.
pub(crate) struct State {
    pub(crate) universe: Arc<Universe>,
    /// Universes that have a name.
    pub(crate) named: Arc<[Definition]>,
    /// As the provider lists them.
    pub(crate) listings: Vec<Listing>,
    /// Tickers that traded and were not listed at the time.
    pub(crate) traded: BTreeSet<Symbol>,
    /// How many of the universe's symbols the provider does not list.
    pub(crate) unlisted: usize,
    /// Who traded under which ticker when.
    pub(crate) lives: Arc<Lives>,
    pub(crate) splits: Arc<Splits>,
    pub(crate) splits_listed: Vec<Split>,
    /// Sessions of which the whole market is held.
    pub(crate) days: BTreeSet<SessionDate>,
    /// The store was looked through from this session on.
    pub(crate) looked: SessionDate,
    /// Symbols that were fetched on their own, with the sessions asked for.
    pub(crate) symbols: BTreeMap<Symbol, BTreeSet<SessionDate>>,
    /// The provider has nothing before this session.
    pub(crate) first_session: Option<SessionDate>,
    pub(crate) refused: Vec<RefusedNote>,
    /// Dividends, once they were asked for.
    pub(crate) dividends: Paid,
    /// Grows with every change of what is held or known.
    pub(crate) version: u64,
    /// Grows with every change of the bars that are held.
    pub(crate) bars: u64,
}

impl State {
    /// Notes that other bars are held than before.
    pub(crate) fn bars_changed(&mut self) {
        self.bars += 1;
        self.version += 1;
    }

    /// Notes what a block of one symbol holds. Says whether that is news.
    pub(crate) fn hold(&mut self, symbol: &Symbol, block: &Block) -> bool {
        let held = self.symbols.entry(symbol.clone()).or_default();
        let before = held.len();
        held.extend(block.rows().iter().map(|key| key.as_session()));
        held.len() > before
    }

    pub(crate) fn is_empty_session(&self, session: SessionDate) -> bool {
        self.first_session.is_some_and(|first| session < first)
    }
}

/// Counters for operators.
#[derive(Debug, Clone, Default)]
pub struct EngineStats {
    /// Newest snapshot.
    pub snapshot: Option<Arc<Published>>,
    /// The tiers.
    pub tiers: Vec<TierStats>,
    /// The provider's name.
    pub provider: String,
    /// The provider's counters; those of all together where there are several.
    pub source: SourceStats,
    /// How each provider is doing.
    pub health: Vec<SourceHealth>,
    /// Callers that joined a provider call of somebody else.
    pub coalesced: u64,
    /// Questions that failed and were queued again.
    pub requeued: u64,
    /// Answers to questions that nobody asked: details, and days that were asked for again.
    pub refreshed: u64,
    /// Symbols with bars that the provider does not list.
    pub unlisted: usize,
    /// Listed symbols without a bar in the newest snapshot.
    pub without_bars: usize,
    /// Callers that wait for the provider.
    pub fetching: usize,
    /// Scans that hold a permit.
    pub active: usize,
    /// Scans that wait for one.
    pub queued: usize,
    /// Scans since start.
    pub scans: u64,
    /// Bytes of node results kept.
    pub memo_bytes: usize,
    /// When the engine was started.
    pub started: Timestamp,
    /// What evaluates plans.
    pub compute: String,
    /// What fetching ahead did.
    pub prefetch: PrefetchStats,
}

impl Engine {
    /// Learns from the provider (or, where it does not answer, from the store) which market this is and what it
    /// lists, and publishes a first snapshot of what the store holds. Makes no call for bars.
    ///
    /// # Errors
    ///
    /// The provider's error where nothing was kept from an earlier run.
    pub async fn start(parts: Parts, config: EngineConfig) -> Result<Self, EngineError> {
        let market = market_id(&parts).await?;
        let started = parts.clock.now();
        let now = started;
        let oldest = Calendar::us_equities().first();
        let (listings, listed_at, before) = match listings(&parts, &market, &config, now).await {
            Ok(found) => (found.listings, found.at, found.before),
            Err(_) if !parts.attributes.is_empty() => (parts.attributes.to_vec(), Timestamp::default(), None),
            Err(error) => return Err(error.into()),
        };
        let splits = splits(&parts, &market, &config, now, oldest).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "splits are not known; prices stay raw until they are");
            Vec::new()
        });
        let note = async |name| parts.store.read_note(&market, name).await.map(|(_, bytes)| bytes);
        let first_session = note(notes::FIRST_SESSION).await.and_then(|b| notes::from_bytes::<String>(&b));
        let refused = note(notes::QUARANTINE).await.and_then(|b| notes::from_bytes(&b)).unwrap_or_default();
        let dividends = note(notes::DIVIDENDS).await.and_then(|b| Paid::from_bytes(&b)).unwrap_or_default();
        let mut former = Former::default();
        if let Some(before) = before {
            former.compare(&before, &listings);
        }
        let instance = Digest::of(&format!("{market} {}", started.as_nanos()));
        let state = State {
            universe: Arc::new(universe(&listings, &[], &[], &parts.attributes, 1, now)),
            named: Arc::from([]),
            listings,
            traded: BTreeSet::new(),
            unlisted: 0,
            lives: Arc::default(),
            splits: Arc::new(Splits::new(&splits)),
            splits_listed: splits,
            days: BTreeSet::new(),
            looked: SessionDate::from_days(i32::MAX),
            symbols: BTreeMap::new(),
            first_session: first_session.and_then(|d| d.parse().ok()),
            refused,
            dividends,
            version: 1,
            bars: 1,
        };
        let engine = Self(Arc::new(Inner {
            resident: Resident::new(config.snapshot_ttl),
            admission: Admission::new(config.max_concurrent, config.max_queue, config.max_fetching),
            memo: NodeMemo::new(config.memo_bytes),
            plans: Plans::default(),
            flights: Arc::new(Flights::default()),
            requeue: Requeue::new(config.absent_ttl),
            prefetch: Prefetch::new(config.prefetch),
            unserved: Unserved::default(),
            state: Mutex::new(state),
            statistics: Statistics::new(config.statistics_ttl),
            joining: Mutex::new(()),
            intraday: Intraday::new(config.workers),
            paying: Mutex::new(()),
            wide: std::sync::Mutex::default(),
            refreshing: Mutex::new(()),
            reference_at: AtomicI64::new(listed_at.as_nanos()),
            reference_asked: AtomicI64::new(i64::MIN),
            details: Mutex::default(),
            former: Mutex::new(former),
            unlisted: AtomicBool::new(false),
            interactive: AtomicUsize::new(0),
            refreshed: AtomicU64::new(0),
            started,
            instance,
            epoch: AtomicU64::new(0),
            scans: AtomicU64::new(0),
            parts,
            config,
            market,
        }));
        engine.look_through_store().await;
        engine.recall_lives().await;
        engine.refresh_lives(true).await;
        engine.recall_details().await;
        engine.recall_habits().await;
        engine.show_details().await;
        let newest = engine.newest_session().ok_or_else(|| EngineError::NoSnapshot {
            why: "the clock is outside of the exchange calendar (1998 to 2030)".to_owned(),
        })?;
        engine.snapshot_ending(newest).await?;
        Ok(engine)
    }

    /// The world that is served.
    #[must_use]
    pub fn market(&self) -> &MarketId {
        &self.0.market
    }

    /// What time it is.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.parts.clock
    }

    /// The newest snapshot; one atomic load.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoSnapshot`] before the first.
    pub fn current(&self) -> Result<Arc<Published>, EngineError> {
        self.0
            .resident
            .current()
            .ok_or_else(|| EngineError::NoSnapshot { why: "the first one is being made".to_owned() })
    }

    /// A snapshot by its id.
    ///
    /// # Errors
    ///
    /// [`EngineError::SnapshotExpired`] when it is not kept any more.
    pub fn pinned(&self, id: &str) -> Result<Arc<Published>, EngineError> {
        self.0
            .resident
            .find(id)
            .ok_or_else(|| EngineError::SnapshotExpired { id: id.chars().take(64).collect() })
    }

    /// The snapshots that can be pinned, newest first, with the instant after which each may be gone.
    #[must_use]
    pub fn snapshots(&self) -> Vec<(Arc<Published>, Timestamp)> {
        self.0.resident.pinnable(self.0.parts.clock.now())
    }

    /// Counters for operators.
    #[must_use]
    pub fn stats(&self) -> EngineStats {
        let inner = &self.0;
        let snapshot = inner.resident.current();
        let none = |p: &Arc<Published>| p.short.partition_point(|(bars, _)| *bars == 0);
        EngineStats {
            unlisted: snapshot.as_ref().map_or(0, |p| p.unlisted),
            without_bars: snapshot.as_ref().map_or(0, none),
            snapshot,
            tiers: inner.parts.store.stats(),
            provider: inner.parts.source.name().to_string(),
            source: inner.parts.source.stats(),
            health: inner.parts.source.health(),
            coalesced: inner.flights.coalesced(),
            refreshed: inner.refreshed.load(Ordering::Relaxed),
            requeued: inner.requeue.requeued(),
            fetching: inner.admission.fetching(),
            active: inner.admission.active(),
            queued: inner.admission.queued(),
            scans: inner.scans.load(Ordering::Relaxed),
            memo_bytes: inner.memo.bytes(),
            started: inner.started,
            compute: inner.parts.compute.describe(),
            prefetch: inner.prefetch.stats(),
        }
    }

    /// The newest session that has closed.
    pub(crate) fn newest_session(&self) -> Option<SessionDate> {
        Calendar::us_equities().last_closed(self.0.parts.clock.now())
    }

    /// Finds out what the store holds of the present panel's sessions.
    async fn look_through_store(&self) {
        let inner = &self.0;
        let Some(newest) = self.newest_session() else { return };
        let calendar = Calendar::us_equities();
        let start = calendar.history_start(newest, inner.config.history_daily);
        let sessions = calendar.sessions(start, newest);
        let keys: Vec<BlockKey> = sessions.iter().map(|d| BlockKey::Day(*d)).collect();
        let found = inner.parts.store.read(&inner.market, &keys).await;
        let symbols = inner.parts.store.symbols(&inner.market, Timeframe::Day).await;
        let keys: Vec<BlockKey> =
            symbols.iter().map(|s| BlockKey::Symbol(Timeframe::Day, s.clone())).collect();
        let ranges = inner.parts.store.read(&inner.market, &keys).await;
        let mut state = inner.state.lock().await;
        state.looked = start;
        state.days.extend(sessions.iter().zip(&found).filter(|(_, f)| f.is_some()).map(|(d, _)| *d));
        for day in found.iter().flatten() {
            if state.note_traded(day.block.symbols()) {
                inner.unlisted.store(true, Ordering::Relaxed);
            }
        }
        for (symbol, range) in symbols.into_iter().zip(ranges) {
            if let Some(found) = range {
                let asked = found.block.rows().iter().map(|key| key.as_session());
                state.symbols.entry(symbol).or_default().extend(asked);
            }
        }
    }

    /// The snapshot that ends with `newest` and shows everything that is held now; made if there is none. The
    /// newest session's becomes the current one.
    pub(crate) async fn snapshot_ending(&self, newest: SessionDate) -> Result<Arc<Published>, EngineError> {
        let inner = &self.0;
        self.show_unlisted().await;
        let mut state = inner.state.lock().await;
        if let Some(made) = inner.resident.ending(newest, state.version) {
            return Ok(made);
        }
        let calendar = Calendar::us_equities();
        let start = calendar.history_start(newest, inner.config.history_daily);
        self.look_back(&mut state, start).await;
        let sessions: Arc<[SessionDate]> = calendar.sessions(start, newest).into();
        let before = inner.resident.showing(newest, state.bars, state.universe.symbols());
        let (daily, raw, origins) = match &before {
            Some(before) => {
                let (daily, raw) = self.readjusted(before, &state.splits).await?;
                (daily, raw, before.origins.clone())
            }
            None => self.built(&mut state, &sessions).await?,
        };
        let histories = state.histories(&state.universe, &sessions, inner.parts.clock.now());
        let held = held(&state, &state.universe, &sessions, &histories);
        let latest = self.newest_session().is_none_or(|latest| newest >= latest);
        let universe = if latest { state.universe.clone() } else { state.universe.at(newest) };
        let universe = universe.valued(|id| raw.last_close(id));
        let splits = state.splits.clone();
        let epoch = inner.epoch.fetch_add(1, Ordering::Relaxed) + 1;
        let snapshot = Snapshot {
            id: self.snapshot_id(epoch),
            epoch,
            market: inner.market.clone(),
            as_of: calendar.close(newest),
            created: inner.parts.clock.now(),
            history_start: start,
            point_in_time: latest,
            universe,
            named: Arc::new(Named::new(state.named.clone())),
            daily,
            daily_raw: raw,
            daily_paid: Arc::default(),
            held: Arc::new(held),
            provider: inner.parts.source.primary(),
        };
        let versions = (state.version, state.bars);
        let published = Published::new(
            snapshot,
            versions,
            (&splits, &state.universe),
            &state.refused,
            origins,
            before.as_deref(),
        );
        let published = Arc::new(Published { unlisted: state.unlisted, ..published });
        if latest {
            inner.resident.publish(published.clone());
        } else {
            inner.resident.keep(published.clone());
        }
        Ok(published)
    }

    /// Panels out of the blocks of these sessions.
    async fn built(
        &self,
        state: &mut State,
        sessions: &Arc<[SessionDate]>,
    ) -> Result<(Arc<Panel>, Arc<Panel>, Arc<Origins>), EngineError> {
        let (blocks, origins) = self.blocks(state, sessions).await;
        let (universe, splits) = (state.universe.clone(), state.splits.clone());
        let histories = state.histories(&universe, sessions, self.0.parts.clock.now());
        let (axis, threads) = (sessions.clone(), self.0.config.threads);
        let build = move || {
            let panels = Panel::build_across(&universe, &axis, &blocks, &splits, &histories, threads);
            // The panel has its own copy.
            blocks.iter().for_each(Block::release);
            panels
        };
        let (daily, raw) = tokio::task::spawn_blocking(build)
            .await
            .map_err(|error| EngineError::Internal(format!("the panel was not built: {error}")))?;
        Ok((Arc::new(daily), Arc::new(raw), Arc::new(origins)))
    }

    /// Reads the blocks of these sessions; what the store lost meanwhile is no longer held.
    pub(crate) async fn blocks(&self, state: &mut State, sessions: &[SessionDate]) -> (Vec<Block>, Origins) {
        let inner = &self.0;
        let days: Vec<SessionDate> = sessions.iter().copied().filter(|d| state.days.contains(d)).collect();
        let mut keys: Vec<BlockKey> = days.iter().map(|d| BlockKey::Day(*d)).collect();
        let symbols: Vec<Symbol> = state.symbols.keys().cloned().collect();
        keys.extend(symbols.iter().map(|s| BlockKey::Symbol(Timeframe::Day, s.clone())));
        let found = inner.parts.store.read(&inner.market, &keys).await;
        for (key, found) in keys.iter().zip(&found) {
            if found.is_some() {
                continue;
            }
            state.bars_changed();
            match key {
                BlockKey::Day(day) => drop(state.days.remove(day)),
                BlockKey::Symbol(_, symbol) => drop(state.symbols.remove(symbol)),
            }
        }
        let market = found[..days.len()].iter().flatten().count();
        let blocks: Vec<Block> = found.into_iter().flatten().map(|f| f.block).collect();
        let origins = Origins::of(&blocks, market);
        (blocks, origins)
    }
}

/// Which cells of a universe's symbols are held of these sessions.
pub(crate) fn held(
    state: &State,
    universe: &Universe,
    sessions: &[SessionDate],
    histories: &Histories,
) -> Held {
    let market = sessions.iter().map(|d| state.days.contains(d) || state.is_empty_session(*d)).collect();
    let flags = |asked: &BTreeSet<SessionDate>| sessions.iter().map(|d| asked.contains(d)).collect();
    let own = state.symbols.iter();
    let mut symbols: BTreeMap<_, Vec<bool>> =
        own.filter_map(|(s, asked)| Some((universe.find(s.as_str())?, flags(asked)))).collect();
    for id in histories.ids() {
        let stretches = histories.exact(id).unwrap_or_default();
        // A day on which none of its tickers was the company's has nothing to ask for.
        let held = |day: &SessionDate| match stretches.iter().find(|s| s.from <= *day && *day <= s.to) {
            Some(stretch) => state.symbols.get(&stretch.symbol).is_some_and(|asked| asked.contains(day)),
            None => true,
        };
        symbols.insert(id, sessions.iter().map(held).collect());
    }
    Held { market, symbols }
}

async fn market_id(parts: &Parts) -> Result<MarketId, EngineError> {
    let last = MarketId::new("last");
    match parts.source.status().await {
        Ok(status) => {
            let body = notes::to_bytes(&status.market.as_str());
            if let Err(error) = parts.store.write_note(&last, notes::MARKET, parts.clock.now(), &body).await {
                tracing::warn!(%error, "the market's name was not kept");
            }
            Ok(status.market)
        }
        Err(error @ SourceError::Key { .. }) => Err(error.into()),
        Err(error) => match parts.store.read_note(&last, notes::MARKET).await {
            Some((_, bytes)) => {
                let kept: Option<String> = notes::from_bytes(&bytes);
                tracing::warn!(%error, "the provider does not answer; serving what is held");
                kept.map(|id| MarketId::new(&id)).ok_or_else(|| error.into())
            }
            None => Err(error.into()),
        },
    }
}

/// The provider's listings.
pub(crate) struct Listed {
    pub(crate) listings: Vec<Listing>,
    /// When they were asked for.
    pub(crate) at: Timestamp,
    /// Those that they replace.
    pub(crate) before: Option<Vec<Listing>>,
}

pub(crate) async fn listings(
    parts: &Parts,
    market: &MarketId,
    config: &EngineConfig,
    now: Timestamp,
) -> Result<Listed, SourceError> {
    let kept = parts.store.read_note(market, notes::LISTINGS).await;
    let kept = kept.and_then(|(at, bytes)| Some((notes::listings_from_bytes(&bytes)?, at)));
    if let Some((listings, at)) = &kept
        && now < at.after(config.reference_ttl)
    {
        return Ok(Listed { listings: listings.clone(), at: *at, before: None });
    }
    match parts.source.listings().await {
        Ok(fresh) => {
            let body = notes::listings_to_bytes(&fresh);
            if let Err(error) = parts.store.write_note(market, notes::LISTINGS, now, &body).await {
                tracing::warn!(%error, "listings were not kept");
            }
            Ok(Listed { listings: fresh, at: now, before: kept.map(|(old, _)| old) })
        }
        Err(error) => match kept {
            Some((old, at)) => {
                tracing::warn!(%error, age = ?now.since(at), "listings are old");
                Ok(Listed { listings: old, at, before: None })
            }
            None => Err(error),
        },
    }
}

pub(crate) async fn splits(
    parts: &Parts,
    market: &MarketId,
    config: &EngineConfig,
    now: Timestamp,
    from: SessionDate,
) -> Result<Vec<Split>, SourceError> {
    let kept = parts.store.read_note(market, notes::SPLITS).await;
    let kept = kept.and_then(|(at, bytes)| Some((notes::splits_from_bytes(&bytes)?, at)));
    if let Some((splits, at)) = &kept
        && now < at.after(config.reference_ttl)
    {
        return Ok(splits.clone());
    }
    match parts.source.splits(from).await {
        Ok(fresh) => {
            let body = notes::splits_to_bytes(&fresh);
            if let Err(error) = parts.store.write_note(market, notes::SPLITS, now, &body).await {
                tracing::warn!(%error, "splits were not kept");
            }
            Ok(fresh)
        }
        Err(error) => kept.map(|(old, _)| old).ok_or(error),
    }
}
