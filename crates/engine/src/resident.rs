//! The snapshots that can be scanned: the newest, those that are still pinned, and past instants.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use panscan_core::calendar::Calendar;
use panscan_core::snapshot::Snapshot;
use panscan_core::split::Splits;
use panscan_core::suspicion::volume_spikes;
use panscan_core::symbol::{Symbol, SymbolId};
use panscan_core::time::{SessionDate, Timestamp};
use panscan_core::universe::Universe;
use tokio::sync::watch;

use crate::corporate;
use crate::notes::RefusedNote;
use crate::origins::Origins;

/// Snapshots that are kept at most, however long they could be pinned: each is a whole panel.
const KEPT_MAX: usize = 8;

/// A snapshot with what every scan of it would otherwise work out again.
#[derive(Debug, Clone)]
pub struct Published {
    /// The snapshot.
    pub snapshot: Arc<Snapshot>,
    /// Symbols that have bars, but none in the newest session, with the session of their newest.
    pub laggards: Vec<(SymbolId, SessionDate)>,
    /// Symbols with a session without a bar after their first one.
    pub gappy: Vec<SymbolId>,
    /// Symbols that have fewer bars than there are sessions, with how many; fewest first.
    pub(crate) short: Vec<(u32, SymbolId)>,
    /// How many of its symbols the provider does not list.
    pub(crate) unlisted: usize,
    /// Bars of its symbols and sessions that were refused.
    pub(crate) refused: Vec<(SymbolId, RefusedNote)>,
    /// Instant from which on a newer session may exist.
    pub(crate) outdated_at: Timestamp,
    /// The splits that its panel is adjusted for.
    pub(crate) splits: Arc<Splits>,
    /// The universe as it was known when the snapshot was made; the snapshot's own is as of its end.
    pub(crate) today: Arc<Universe>,
    /// Symbols whose newest volume looks counted twice or more, and how often.
    pub(crate) spikes: Vec<(SymbolId, f64)>,
    /// Who its bars came from.
    pub(crate) origins: Arc<Origins>,
    /// Splits of its symbols that are doubtful or lacking, with the reason.
    pub(crate) doubtful: Vec<(SymbolId, String)>,
    /// Version of what is held and known that it shows.
    pub(crate) version: u64,
    /// Version of the bars among it.
    pub(crate) bars: u64,
}

impl Published {
    pub(crate) fn new(
        snapshot: Snapshot,
        (version, bars): (u64, u64),
        (splits, today): (&Arc<Splits>, &Arc<Universe>),
        refused: &[RefusedNote],
        origins: Arc<Origins>,
        before: Option<&Self>,
    ) -> Self {
        // All symbols are looked at for these, so that what a snapshot shares with an earlier one is not looked at again.
        let same = |before: &&Self| Arc::ptr_eq(&before.snapshot.daily, &snapshot.daily);
        let spikes = before.filter(same).map(|before| before.spikes.clone());
        let spikes = spikes.unwrap_or_else(|| {
            let spikes = volume_spikes(&snapshot.daily);
            spikes.into_iter().map(|(id, spike)| (id, spike.ratio)).collect()
        });
        let same = |before: &&Self| {
            Arc::ptr_eq(&before.snapshot.daily_raw, &snapshot.daily_raw)
                && Arc::ptr_eq(&before.splits, splits)
        };
        let doubtful = before.filter(same).map(|before| before.doubtful.clone());
        let doubtful = doubtful.unwrap_or_else(|| corporate::doubtful(&snapshot, splits));
        let calendar = Calendar::us_equities();
        let panel = &snapshot.daily;
        let newest = snapshot.newest();
        let mut laggards = Vec::new();
        let mut gappy = Vec::new();
        let mut short = Vec::new();
        for id in snapshot.universe.ids() {
            let bars = panel.bars(id);
            if bars < panel.sessions().len() {
                short.push((u32::try_from(bars).unwrap_or(u32::MAX), id));
            }
            let Some(last) = panel.newest(id) else { continue };
            if Some(last) != newest {
                laggards.push((id, last));
            }
            if panel.span(id) > bars {
                gappy.push(id);
            }
        }
        short.sort_unstable();
        let of_here = |note: &RefusedNote| {
            let session: SessionDate = note.session.parse().ok()?;
            let inside = session >= snapshot.history_start && Some(session) <= newest;
            Some((snapshot.universe.find(&note.symbol).filter(|_| inside)?, note.clone()))
        };
        let refused = refused.iter().filter_map(of_here).collect();
        let next = newest.and_then(|d| calendar.next(d));
        let outdated_at = next.map_or(Timestamp::from_nanos(i64::MAX), |d| calendar.close(d));
        Self {
            snapshot: Arc::new(snapshot),
            laggards,
            gappy,
            short,
            unlisted: 0,
            refused,
            outdated_at,
            splits: splits.clone(),
            today: today.clone(),
            spikes,
            origins,
            doubtful,
            version,
            bars,
        }
    }
}

/// Holds them.
#[derive(Debug)]
pub(crate) struct Resident {
    current: ArcSwapOption<Published>,
    kept: Mutex<VecDeque<Arc<Published>>>,
    ttl: Duration,
    /// The epoch of the newest.
    told: watch::Sender<u64>,
}

impl Resident {
    pub(crate) fn new(ttl: Duration) -> Self {
        Self {
            current: ArcSwapOption::empty(),
            kept: Mutex::new(VecDeque::new()),
            ttl,
            told: watch::Sender::new(0),
        }
    }

    /// The newest; one atomic load.
    pub(crate) fn current(&self) -> Option<Arc<Published>> {
        self.current.load_full()
    }

    /// Makes a snapshot the newest one.
    pub(crate) fn publish(&self, published: Arc<Published>) {
        self.keep(published.clone());
        let epoch = published.snapshot.epoch;
        self.current.store(Some(published));
        self.told.send_replace(epoch);
    }

    /// Tells the epoch of each newest one.
    pub(crate) fn follow(&self) -> watch::Receiver<u64> {
        self.told.subscribe()
    }

    /// Makes a snapshot one that can be pinned, without making it the newest.
    pub(crate) fn keep(&self, published: Arc<Published>) {
        let now = published.snapshot.created;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|p| now < p.snapshot.created.after(self.ttl));
        kept.truncate(KEPT_MAX - 1);
        kept.push_front(published);
    }

    /// A snapshot by its id.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<Published>> {
        if let Some(current) = self.current()
            && current.snapshot.id.as_str() == id
        {
            return Some(current);
        }
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|p| p.snapshot.id.as_str() == id).cloned()
    }

    /// A snapshot that ends with `newest` and shows these bars of these symbols.
    pub(crate) fn showing(
        &self,
        newest: SessionDate,
        bars: u64,
        symbols: &[Symbol],
    ) -> Option<Arc<Published>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let shows = |p: &Published| p.bars == bars && p.snapshot.newest() == Some(newest);
        kept.iter().find(|p| shows(p) && **p.snapshot.universe.symbols() == *symbols).cloned()
    }

    /// Those that can be pinned, newest first, with the instant after which each may be gone.
    pub(crate) fn pinnable(&self, now: Timestamp) -> Vec<(Arc<Published>, Timestamp)> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<_> =
            kept.iter().map(|p| (p.clone(), p.snapshot.created.after(self.ttl))).collect();
        drop(kept);
        if let Some(current) = self.current() {
            // The newest stays for as long as it is that, and its time to live after.
            let until = now.after(self.ttl);
            match found.iter_mut().find(|(p, _)| Arc::ptr_eq(p, &current)) {
                Some(entry) => entry.1 = until,
                None => found.push((current, until)),
            }
        }
        found.retain(|(_, until)| now < *until);
        found.sort_by_key(|(p, _)| std::cmp::Reverse(p.snapshot.epoch));
        found
    }

    /// A snapshot that ends with `newest` and shows `version`.
    pub(crate) fn ending(&self, newest: SessionDate, version: u64) -> Option<Arc<Published>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|p| p.version == version && p.snapshot.newest() == Some(newest)).cloned()
    }
}
