//! What is held and is to be fetched anew, because an operator knows that it is wrong.
//!
//! Blocks of days go as a whole: where a session was fetched for the whole market it goes for all symbols, and one call
//! brings it back. Minutes go session by session. Reference data goes stale at once and is shown until the new is there.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use panscan_core::calendar::Calendar;
use panscan_core::minutes;
use panscan_core::port::BlockKey;
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timeframe, Timestamp};

use crate::error::EngineError;
use crate::intraday::MINUTE;
use crate::market::Engine;
use crate::notes;

/// Which kind of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Forgettable {
    /// Daily bars, and so the weeks and months made of them.
    #[default]
    Days,
    /// Minutes, and so the longer bars made of them.
    Minutes,
    /// Listings, splits, dividends, ticker changes, and the details of symbols.
    Reference,
}

/// What to forget.
#[derive(Debug, Clone, Default)]
pub struct Forget {
    /// Whose; none: everybody's.
    pub symbols: Option<Vec<Symbol>>,
    /// Which kind of data.
    pub what: Forgettable,
    /// First session; none: the oldest.
    pub from: Option<SessionDate>,
    /// Last session; none: the newest.
    pub to: Option<SessionDate>,
    /// Only in the tiers of these names, so that others still have it; none: in all, and it is not held any more.
    pub tiers: Vec<String>,
    /// Only say what would go.
    pub dry_run: bool,
}

/// What went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Forgotten {
    /// Cells of bars; of reference data its rows.
    pub cells: u64,
    /// Bytes of their blocks.
    pub bytes: u64,
}

impl Forget {
    fn has(&self, session: SessionDate) -> bool {
        self.from.is_none_or(|from| session >= from) && self.to.is_none_or(|to| session <= to)
    }
}

impl Engine {
    /// Forgets what is held in the store and in what is shown, so that it is fetched when it is next needed.
    ///
    /// # Errors
    ///
    /// The store's, where a tier still has some of it; what went is gone and the rest can be asked for again.
    pub async fn forget(&self, what: &Forget) -> Result<Forgotten, EngineError> {
        let gone = match what.what {
            Forgettable::Days => self.forget_days(what).await?,
            Forgettable::Minutes => self.forget_minutes(what).await?,
            Forgettable::Reference => self.forget_reference(what).await,
        };
        if !what.dry_run {
            self.0.requeue.forgive();
            tracing::info!(?what, cells = gone.cells, "what is held is forgotten");
        }
        Ok(gone)
    }

    async fn forget_days(&self, what: &Forget) -> Result<Forgotten, EngineError> {
        let inner = &self.0;
        // The days of a company may be kept under an earlier ticker.
        let named = match &what.symbols {
            Some(symbols) => Some(self.tickers_of(symbols).await),
            None => None,
        };
        let named = |symbol: &Symbol| named.as_ref().is_none_or(|named| named.contains(symbol));
        // No symbol's block is joined and written back meanwhile.
        let joining = inner.joining.lock().await;
        let (days, own, cells) = {
            let state = inner.state.lock().await;
            let days: BTreeSet<SessionDate> = state.days.iter().copied().filter(|d| what.has(*d)).collect();
            let own = state
                .symbols
                .iter()
                .filter(|(symbol, asked)| named(symbol) && asked.iter().any(|d| what.has(*d)));
            let own: Vec<(Symbol, usize)> =
                own.map(|(symbol, asked)| (symbol.clone(), asked.len())).collect();
            let cells = days.len() * state.universe.len() + own.iter().map(|(_, asked)| asked).sum::<usize>();
            (days, own, cells as u64)
        };
        let mut keys: Vec<BlockKey> = days.iter().map(|day| BlockKey::Day(*day)).collect();
        keys.extend(own.iter().map(|(symbol, _)| BlockKey::Symbol(Timeframe::Day, symbol.clone())));
        let found = inner.parts.store.read(&inner.market, &keys).await;
        let bytes = found.iter().flatten().map(|found| found.block.bytes() as u64).sum();
        let gone = Forgotten { cells, bytes };
        if what.dry_run || keys.is_empty() {
            return Ok(gone);
        }
        if !what.tiers.is_empty() {
            self.forget_in(&keys, &what.tiers).await?;
            return Ok(gone);
        }
        {
            let mut state = inner.state.lock().await;
            state.days.retain(|day| !days.contains(day));
            own.iter().for_each(|(symbol, _)| drop(state.symbols.remove(symbol)));
            state.bars_changed();
        }
        let forgotten = inner.parts.store.forget(&inner.market, &keys).await;
        drop(joining);
        if let Some(newest) = self.newest_session() {
            self.snapshot_ending(newest).await?;
        }
        forgotten.map_err(|error| EngineError::Internal(error.to_string()))?;
        Ok(gone)
    }

    async fn forget_minutes(&self, what: &Forget) -> Result<Forgotten, EngineError> {
        let inner = &self.0;
        let stored = inner.parts.store.symbols(&inner.market, MINUTE).await;
        let wanted: Vec<Symbol> = match &what.symbols {
            Some(symbols) => self.tickers_of(symbols).await.into_iter().collect(),
            None => stored,
        };
        let mut gone = Forgotten::default();
        let mut failed = None;
        for symbol in wanted {
            // No new minutes are joined and written back meanwhile.
            let lane = inner.intraday.lane(&symbol).lock().await;
            let Some(block) = self.minute_block(&symbol).await else { continue };
            let sessions = minutes::finals(&block).filter(|session| what.has(*session)).count();
            let (oldest, newest) = (Calendar::us_equities().first(), Calendar::us_equities().last());
            let (from, to) = (what.from.unwrap_or(oldest), what.to.unwrap_or(newest));
            let left = minutes::without(&block, from, to);
            let untouched = left.as_ref().is_some_and(|left| left.rows().len() == block.rows().len());
            if untouched {
                continue;
            }
            gone.cells += sessions as u64;
            gone.bytes +=
                (block.bytes() as u64).saturating_sub(left.as_ref().map_or(0, |l| l.bytes() as u64));
            if what.dry_run {
                continue;
            }
            let key = BlockKey::Symbol(MINUTE, symbol.clone());
            let forgotten = match left {
                _ if !what.tiers.is_empty() => {
                    inner.parts.store.forget_in(&inner.market, std::slice::from_ref(&key), &what.tiers).await
                }
                Some(left) => inner.parts.store.write(&inner.market, &[(key, left)]).await,
                None => inner.parts.store.forget(&inner.market, std::slice::from_ref(&key)).await,
            };
            inner.intraday.forget(&symbol);
            drop(lane);
            failed = failed.or(forgotten.err());
        }
        match failed {
            Some(error) => Err(EngineError::Internal(error.to_string())),
            None => Ok(gone),
        }
    }

    /// Everything but bars counts as asked for long ago.
    async fn forget_reference(&self, what: &Forget) -> Forgotten {
        let inner = &self.0;
        let long_ago = Timestamp::default();
        let known = inner.details.lock().await.count(what.symbols.as_deref());
        let listed = inner.state.lock().await.listings.len();
        let gone = Forgotten { cells: (known + listed) as u64, bytes: 0 };
        if what.dry_run {
            return gone;
        }
        inner.details.lock().await.forget(what.symbols.as_deref());
        self.save_details().await;
        for name in [notes::LISTINGS, notes::SPLITS, notes::GONE] {
            let Some((_, body)) = inner.parts.store.read_note(&inner.market, name).await else { continue };
            if let Err(error) = inner.parts.store.write_note(&inner.market, name, long_ago, &body).await {
                tracing::warn!(%error, name, "a note was not kept");
            }
        }
        inner.former.lock().await.forget();
        inner.reference_at.store(long_ago.as_nanos(), Ordering::Relaxed);
        {
            let mut state = inner.state.lock().await;
            state.dividends.forget();
        }
        let engine = self.clone();
        // Whoever asks next does not wait for it: the old is shown until the new is there.
        tokio::spawn(async move {
            engine.refresh_once().await;
        });
        gone
    }

    /// Symbols with the earlier tickers of their companies.
    async fn tickers_of(&self, symbols: &[Symbol]) -> BTreeSet<Symbol> {
        let lives = self.0.state.lock().await.lives.clone();
        let calendar = Calendar::us_equities();
        let (first, today) = (calendar.first(), calendar.session_of(self.clock().now()));
        let all = symbols.iter().flat_map(|symbol| lives.shown(symbol, today, first, today, 0));
        all.map(|stretch| stretch.symbol).chain(symbols.iter().cloned()).collect()
    }

    async fn forget_in(&self, keys: &[BlockKey], tiers: &[String]) -> Result<(), EngineError> {
        let inner = &self.0;
        let forgotten = inner.parts.store.forget_in(&inner.market, keys, tiers).await;
        forgotten.map_err(|error| EngineError::Internal(error.to_string()))
    }

    /// Has a provider asked again at once that is left alone, or whose refusals taught what it does not serve; an
    /// empty name means every one.
    ///
    /// # Errors
    ///
    /// [`EngineError::NotFound`] where none has this name.
    pub fn reset_provider(&self, provider: &str) -> Result<(), EngineError> {
        let inner = &self.0;
        let source = &inner.parts.source;
        let names: Vec<String> = match provider {
            "" => source.health().iter().map(|health| health.provider.to_string()).collect(),
            name => vec![name.to_owned()],
        };
        let known = names.iter().filter(|name| source.reset(name)).count();
        if known == 0 {
            return Err(EngineError::NotFound { what: "provider", name: provider.to_owned() });
        }
        inner.requeue.forget();
        inner.unserved.forget();
        inner.intraday.forget_refusals();
        tracing::info!(provider, "the provider is asked again at once");
        Ok(())
    }
}
