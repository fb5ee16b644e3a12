//! Tickers that trade and that the provider does not list: their bars are kept and shown, with attributes unknown.
//!
//! They are found in the market's days. Such a ticker takes part in scans like any other, and a condition on an
//! attribute leaves it out, because null meets none; one that ceased to trade is known to have done so.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use panscan_core::symbol::Symbol;
use panscan_core::time::Timestamp;
use panscan_core::universe::{Listing, Universe};

use crate::lives::Former;
use crate::market::{Engine, State};

/// Listings of the provider and of tickers that it does not list, completed by its details and, last, by the
/// attributes of a file. A symbol that only these have is none.
pub(crate) fn universe(
    listings: &[Listing],
    unlisted: &[Listing],
    details: &[Listing],
    attributes: &[Listing],
    version: u64,
    at: Timestamp,
) -> Universe {
    let all = || listings.iter().chain(unlisted);
    let listed: HashSet<&Symbol> = all().map(|l| &l.symbol).collect();
    let known = details.iter().chain(attributes).filter(|l| listed.contains(&l.symbol)).cloned();
    Universe::new("default", version, at, all().cloned().chain(known))
}

impl State {
    /// Notes the tickers of a market day; says whether one of them is new.
    pub(crate) fn note_traded(&mut self, symbols: &[Symbol]) -> bool {
        let before = self.traded.len();
        for symbol in symbols {
            if self.universe.find(symbol.as_str()).is_none() && !self.traded.contains(symbol) {
                self.traded.insert(symbol.clone());
            }
        }
        self.traded.len() != before
    }

    /// The tickers that traded and are not listed, with what is known of them.
    fn unlisted(&self, former: &Former) -> Vec<Listing> {
        let listed: BTreeSet<&Symbol> = self.listings.iter().map(|l| &l.symbol).collect();
        let lacking = self.traded.iter().filter(|symbol| !listed.contains(symbol));
        lacking
            .map(|symbol| match former.listing(symbol) {
                Some(gone) => Listing { active: Some(false), ..gone.clone() },
                None => {
                    // Its company goes by another ticker now.
                    let life = self.lives.iter().filter(|life| life.symbol == *symbol).last();
                    let until = life.and_then(|life| life.to);
                    let active = until.map(|_| false);
                    Listing { active, delist_date: until, ..Listing::new(symbol.clone()) }
                }
            })
            .collect()
    }
}

impl Engine {
    /// Makes the universe anew out of all that is known. The bars of its symbols count as changed where its symbols do.
    pub(crate) async fn renew_universe(&self) {
        let inner = &self.0;
        inner.unlisted.store(false, Ordering::Relaxed);
        let known: Vec<Listing> = inner.details.lock().await.listings().collect();
        // Whoever asks the provider for what is in here holds it for long, and renews the universe in the end.
        let Ok(former) = inner.former.try_lock() else {
            inner.unlisted.store(true, Ordering::Relaxed);
            return;
        };
        let now = inner.parts.clock.now();
        let mut state = inner.state.lock().await;
        let version = state.universe.version() + 1;
        let unlisted = state.unlisted(&former);
        let fresh = universe(&state.listings, &unlisted, &known, &inner.parts.attributes, version, now);
        if fresh.symbols() != state.universe.symbols() {
            state.bars_changed();
        }
        state.unlisted = unlisted.len();
        state.universe = Arc::new(fresh);
        state.version += 1;
    }

    /// Shows tickers that were met since the universe was made.
    pub(crate) async fn show_unlisted(&self) {
        if self.0.unlisted.load(Ordering::Relaxed) {
            self.renew_universe().await;
        }
    }
}
