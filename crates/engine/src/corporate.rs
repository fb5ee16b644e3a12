//! Corporate actions: dividends fetched and kept, panels adjusted for them, and which splits are doubtful.
//!
//! Not here: the arithmetic, which is the core's, and when reference data is refreshed.

use std::collections::BTreeMap;
use std::sync::Arc;

use panscan_core::bar::{Bar, Field};
use panscan_core::dividend::Dividends;
use panscan_core::life::Lives;
use panscan_core::panel::{Panel, Split, Splits};
use panscan_core::port::{Dividend, SourceError};
use panscan_core::snapshot::Snapshot;
use panscan_core::suspicion::{Cliff, SplitEvidence, cliffs, split_evidence};
use panscan_core::symbol::{Symbol, SymbolId};
use panscan_core::time::{SessionDate, Timestamp};

use crate::error::EngineError;
use crate::lives;
use crate::market::Engine;
use crate::notes::{self, DividendsNote};
use crate::resident::Published;

/// When dividends are asked for again, days before the newest that is known are included: some are announced late.
const OVERLAP_DAYS: i32 = 30;
/// Days on either side of a split in which its step is looked for.
const AROUND_DAYS: i32 = 10;

/// The dividends that are known.
#[derive(Debug, Clone, Default)]
pub(crate) struct Paid {
    /// Those with an ex-date from here on.
    from: Option<SessionDate>,
    /// When they were last asked for.
    at: Timestamp,
    listed: Arc<Vec<Dividend>>,
    pub(crate) applied: Arc<Dividends>,
}

impl Paid {
    /// Joins them through the companies' lives.
    pub(crate) fn rejoin(&mut self, lives: &Lives, now: Timestamp) {
        self.applied = Arc::new(lives::dividends(lives, &self.listed, now));
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let note: DividendsNote = notes::from_bytes(bytes)?;
        let row = |(symbol, date, cash, currency): (String, String, f64, Option<String>)| {
            let (symbol, ex_date) = (Symbol::new(&symbol).ok()?, date.parse().ok()?);
            Some(Dividend { symbol, ex_date, cash, currency: currency.map(Arc::from) })
        };
        let listed: Vec<Dividend> = note.rows.into_iter().map(row).collect::<Option<_>>()?;
        let applied = Arc::new(Dividends::new(&listed));
        let listed = Arc::new(listed);
        Some(Self { from: note.from.parse().ok(), at: Timestamp::from_nanos(note.at), listed, applied })
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let row = |d: &Dividend| {
            let currency = d.currency.as_ref().map(ToString::to_string);
            (d.symbol.to_string(), d.ex_date.to_string(), d.cash, currency)
        };
        notes::to_bytes(&DividendsNote {
            from: self.from.unwrap_or_default().to_string(),
            at: self.at.as_nanos(),
            rows: self.listed.iter().map(row).collect(),
        })
    }

    /// They count as asked for long ago.
    pub(crate) fn forget(&mut self) {
        self.at = Timestamp::default();
    }

    /// Whether they were asked for once, so that they are kept up to date.
    pub(crate) fn is_known(&self) -> bool {
        self.from.is_some()
    }
}

impl Engine {
    /// The dividends with an ex-date from `from` on, fetched where they are not known or old. Old ones are better
    /// than none when the provider fails.
    ///
    /// # Errors
    ///
    /// The provider's, where nothing is known for the range.
    pub(crate) async fn dividends(&self, from: SessionDate) -> Result<Arc<Dividends>, EngineError> {
        let inner = &self.0;
        // One at a time: the second finds what the first brought.
        let _one = inner.paying.lock().await;
        let (known, lives) = {
            let state = inner.state.lock().await;
            (state.dividends.clone(), state.lives.clone())
        };
        let now = inner.parts.clock.now();
        let covers = known.from.is_some_and(|first| first <= from);
        if covers && now < known.at.after(inner.config.reference_ttl) {
            return Ok(known.applied);
        }
        let newest = known.listed.iter().map(|d| d.ex_date).max().filter(|_| covers);
        let since = newest.map_or(from, |newest| newest.plus(-OVERLAP_DAYS).max(from));
        let fresh = match inner.parts.source.dividends(since).await {
            Ok(fresh) => fresh,
            Err(error) if covers => {
                tracing::warn!(%error, "dividends stay as they were");
                return Ok(known.applied);
            }
            Err(error) => return Err(error.into()),
        };
        let mut listed: Vec<Dividend> = known.listed.iter().filter(|d| d.ex_date < since).cloned().collect();
        listed.extend(fresh);
        let listed = Arc::new(listed);
        let changed = listed != known.listed;
        let from = known.from.map_or(from, |first| first.min(from));
        let mut paid = Paid { from: Some(from), at: now, listed, applied: known.applied };
        if changed {
            paid.rejoin(&lives, now);
        }
        let applied = paid.applied.clone();
        let body = paid.to_bytes();
        {
            let mut state = inner.state.lock().await;
            state.dividends = paid;
            if changed && known.from.is_some() {
                // Snapshots whose panel was adjusted for the old ones stay as they are; the next one is another.
                state.version += 1;
            }
        }
        if let Err(error) = inner.parts.store.write_note(&inner.market, notes::DIVIDENDS, now, &body).await {
            tracing::warn!(%error, "dividends were not kept");
        }
        Ok(applied)
    }

    /// Makes the panel of a snapshot that is adjusted for dividends too, once.
    pub(crate) async fn pay(&self, published: &Arc<Published>) -> Result<(), EngineError> {
        let snapshot = &published.snapshot;
        if snapshot.daily_paid.get().is_some() {
            return Ok(());
        }
        let dividends = self.dividends(snapshot.history_start).await?;
        let (published, threads) = (published.clone(), self.0.config.threads);
        let make = move || {
            let snapshot = &published.snapshot;
            let paid = || {
                let (universe, raw) = (&snapshot.universe, &snapshot.daily_raw);
                Arc::new(snapshot.daily.paid(raw, universe, &published.splits, &dividends, threads))
            };
            snapshot.daily_paid.get_or_init(paid);
        };
        tokio::task::spawn_blocking(make)
            .await
            .map_err(|error| EngineError::Internal(format!("the panel was not adjusted: {error}")))
    }

    /// The panels of an earlier snapshot under these splits: tiles whose splits are the same are shared.
    pub(crate) async fn readjusted(
        &self,
        before: &Arc<Published>,
        splits: &Arc<Splits>,
    ) -> Result<(Arc<Panel>, Arc<Panel>), EngineError> {
        let raw = before.snapshot.daily_raw.clone();
        if Arc::ptr_eq(&before.splits, splits) {
            return Ok((before.snapshot.daily.clone(), raw));
        }
        let (before, splits) = (before.clone(), splits.clone());
        let make = move || {
            let snapshot = &before.snapshot;
            snapshot.daily.resplit(&snapshot.daily_raw, &snapshot.universe, &before.splits, &splits)
        };
        let daily = tokio::task::spawn_blocking(make)
            .await
            .map_err(|error| EngineError::Internal(format!("the panel was not adjusted: {error}")))?;
        Ok((Arc::new(daily), raw))
    }
}

/// Whether a source has no such thing, so that asking it again is no use.
pub(crate) fn is_not_offered(error: &SourceError) -> bool {
    matches!(error, SourceError::NotOffered { .. } | SourceError::NotEntitled { .. })
}

/// Splits of a snapshot's symbols and sessions that are listed in contradiction, or that the price does not bear
/// out, each with the reason. They are shown and not repaired.
pub(crate) fn doubtful(snapshot: &Snapshot, splits: &Splits) -> Vec<(SymbolId, String)> {
    let (Some(newest), first) = (snapshot.newest(), snapshot.history_start) else { return Vec::new() };
    let mut found: BTreeMap<SymbolId, String> = BTreeMap::new();
    for split in splits.suspicious().iter().filter(|s| s.execution > first && s.execution <= newest) {
        if let Some(id) = snapshot.universe.find(split.symbol.as_str()) {
            let why =
                format!("{} on {}: listed in contradiction, not applied", split.symbol, split.execution);
            found.entry(id).or_insert(why);
        }
    }
    for id in snapshot.universe.ids() {
        let symbol = snapshot.universe.symbol(id);
        let applied = splits.until(symbol.as_str(), newest).iter();
        for (execution, factor) in applied.filter(|(execution, _)| *execution > first) {
            let split = Split { symbol: symbol.clone(), execution: *execution, from: *factor, to: 1.0 };
            let (from, to) = (execution.plus(-AROUND_DAYS), execution.plus(AROUND_DAYS));
            let raw = snapshot.daily_raw.series(id, from, to);
            let bar = |row: usize| {
                let values = Field::ALL.map(|field| raw.columns[field.index()][row]);
                Some((raw.sessions[row], Bar::new(values).ok()?))
            };
            let bars: Vec<(SessionDate, Bar)> = (0..raw.sessions.len()).filter_map(bar).collect();
            let why = match split_evidence(&split, &bars) {
                SplitEvidence::OnAnotherDay(day) => format!("the price took the step on {day}"),
                SplitEvidence::NoStep => "the price took no step".to_owned(),
                SplitEvidence::OtherStep(step) => format!("the price moved by a factor of {step:.3}"),
                _ => continue,
            };
            let why = format!("{symbol} by a factor of {factor:.4} on {execution}: {why}");
            found.entry(id).or_insert(why);
        }
    }
    for Cliff { symbol: id, session, ratio: (from, to) } in
        cliffs(&snapshot.daily_raw, &snapshot.universe, splits)
    {
        let symbol = snapshot.universe.symbol(id);
        let why = format!("{symbol} moved on {session} as if split {to} for {from}, and no split is listed");
        found.entry(id).or_insert(why);
    }
    found.into_iter().collect()
}
