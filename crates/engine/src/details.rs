//! Ticker details: one call a symbol, oldest first, kept in chunks so that a restart goes on where it was.
//!
//! Not here: how often a call is made; see the refresh.

use std::collections::{BTreeMap, BTreeSet};

use panscan_core::port::{Errand, SourceError};
use panscan_core::symbol::Symbol;
use panscan_core::time::Timestamp;
use panscan_core::universe::{Listing, Universe};
use serde::{Deserialize, Serialize};

use crate::corporate::is_not_offered;
use crate::market::Engine;
use crate::notes::{self, ListingNote};

/// Notes that the details are spread over.
const CHUNKS: u8 = 64;
/// Details that are not written yet, at most.
const UNSAVED_MAX: usize = 16;

/// What one call brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Details, or the word that there are none.
    Answered,
    /// The call failed; another symbol is next.
    Failed,
    /// All are as new as they should be.
    Nothing,
    /// The source has no details.
    NotOffered,
}

/// Details of symbols, with the time at which each was asked for.
#[derive(Debug, Default)]
pub(crate) struct Details {
    known: BTreeMap<Symbol, (Timestamp, Listing)>,
    unsaved: BTreeSet<Symbol>,
    /// Whether some came that the universe does not show.
    pub(crate) fresh: bool,
    refused: bool,
}

#[derive(Serialize, Deserialize)]
struct DetailNote {
    at: i64,
    listing: ListingNote,
}

fn chunk(symbol: &Symbol) -> u8 {
    // FNV-1a: the same in every build, so that a symbol stays in its note.
    let hash = symbol.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (hash % u64::from(CHUNKS)) as u8
}

fn note_name(chunk: u8) -> String {
    format!("details-{chunk:02}.json")
}

impl Details {
    /// What is known, without capitalisations that go out of date: where the shares are known it follows from the
    /// newest close.
    pub(crate) fn listings(&self) -> impl Iterator<Item = Listing> + '_ {
        self.known.values().map(|(_, listing)| {
            let shares = listing.shares_outstanding.is_some();
            Listing { market_cap: listing.market_cap.filter(|_| !shares), ..listing.clone() }
        })
    }

    /// Whose turn it is: whose details are oldest, those never asked for first and chunk by chunk.
    fn oldest(&self, universe: &Universe, before: Timestamp) -> Option<Symbol> {
        let at = |symbol: &Symbol| self.known.get(symbol).map_or(Timestamp::default(), |(at, _)| *at);
        let due = universe.symbols().iter().filter(|symbol| at(symbol) < before);
        due.min_by_key(|symbol| (at(symbol), chunk(symbol))).cloned()
    }

    /// How many of these are known; none named: of all.
    pub(crate) fn count(&self, symbols: Option<&[Symbol]>) -> usize {
        let named = |symbol: &&Symbol| symbols.is_none_or(|named| named.contains(symbol));
        self.known.keys().filter(named).count()
    }

    /// These count as asked for long ago; what is known is shown until the answer.
    pub(crate) fn forget(&mut self, symbols: Option<&[Symbol]>) {
        for (symbol, (at, _)) in &mut self.known {
            if symbols.is_none_or(|named| named.contains(symbol)) {
                *at = Timestamp::default();
                self.unsaved.insert(symbol.clone());
            }
        }
    }

    fn learn(&mut self, symbol: &Symbol, now: Timestamp, found: Option<Listing>) {
        let (at, listing) =
            self.known.entry(symbol.clone()).or_insert_with(|| (now, Listing::new(symbol.clone())));
        *at = now;
        if let Some(found) = found {
            let before = listing.clone();
            listing.update(&found);
            self.fresh |= *listing != before;
        }
        self.unsaved.insert(symbol.clone());
    }

    /// The notes that must be written, and how.
    fn unsaved(&mut self) -> Vec<(String, Vec<u8>)> {
        let chunks: BTreeSet<u8> = std::mem::take(&mut self.unsaved).iter().map(chunk).collect();
        let body = |number: u8| {
            let mine = self.known.iter().filter(|(symbol, _)| chunk(symbol) == number);
            let note = |(at, l): &(Timestamp, Listing)| DetailNote {
                at: at.as_nanos(),
                listing: notes::listing_note(l),
            };
            notes::to_bytes(&mine.map(|(_, detail)| note(detail)).collect::<Vec<_>>())
        };
        chunks.into_iter().map(|number| (note_name(number), body(number))).collect()
    }
}

impl Engine {
    /// Reads the details that were kept.
    pub(crate) async fn recall_details(&self) {
        let inner = &self.0;
        let mut details = inner.details.lock().await;
        for number in 0..CHUNKS {
            let note = inner.parts.store.read_note(&inner.market, &note_name(number)).await;
            let rows: Vec<DetailNote> =
                note.and_then(|(_, bytes)| notes::from_bytes(&bytes)).unwrap_or_default();
            for row in rows {
                if let Some(listing) = notes::listing(row.listing) {
                    details.known.insert(listing.symbol.clone(), (Timestamp::from_nanos(row.at), listing));
                }
            }
        }
        details.fresh = !details.known.is_empty();
    }

    /// Asks for the details that are oldest, if they are older than they should be.
    pub(crate) async fn ask_details(&self) -> Asked {
        let inner = &self.0;
        let now = inner.parts.clock.now();
        let universe = inner.state.lock().await.universe.clone();
        let symbol = {
            let details = inner.details.lock().await;
            if details.refused {
                return Asked::NotOffered;
            }
            let before = Timestamp::from_nanos(now.as_nanos() - inner.config.details_ttl.as_nanos() as i64);
            match details.oldest(&universe, before) {
                Some(symbol) => symbol,
                None => return Asked::Nothing,
            }
        };
        let found = inner.parts.source.details(&symbol, Errand::background()).await;
        let mut details = inner.details.lock().await;
        let asked = match found {
            Ok(found) => {
                inner.refreshed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                details.learn(&symbol, now, found);
                Asked::Answered
            }
            Err(error) if is_not_offered(&error) => {
                tracing::info!(%error, "ticker details are not refreshed");
                details.refused = true;
                Asked::NotOffered
            }
            Err(error) => {
                tracing::debug!(%symbol, %error, "no ticker details");
                // What is wrong with this one symbol must not keep all others waiting.
                if matches!(error, SourceError::Refused { .. } | SourceError::Unreadable { .. }) {
                    details.learn(&symbol, now, None);
                }
                Asked::Failed
            }
        };
        let full = details.unsaved.len() >= UNSAVED_MAX;
        drop(details);
        if full {
            self.save_details().await;
        }
        asked
    }

    /// Writes what is not written yet.
    pub(crate) async fn save_details(&self) {
        let inner = &self.0;
        let notes = inner.details.lock().await.unsaved();
        let now = inner.parts.clock.now();
        for (name, body) in notes {
            if let Err(error) = inner.parts.store.write_note(&inner.market, &name, now, &body).await {
                tracing::warn!(%error, "ticker details were not kept");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use panscan_core::universe::TextAttribute;

    use super::*;

    fn symbol(text: &str) -> Symbol {
        Symbol::new(text).unwrap()
    }

    #[test]
    fn the_oldest_is_next_and_what_is_known_is_never_erased() {
        let names = ["A", "B", "C"].map(|name| Listing::new(symbol(name)));
        let universe = Universe::new("default", 1, Timestamp::default(), names);
        let at = Timestamp::from_seconds;
        let mut details = Details::default();
        let mut full = Listing::new(symbol("B"));
        full.text[TextAttribute::Sector as usize] = Some(Arc::from("Energy"));
        full.shares_outstanding = Some(10.0);
        full.market_cap = Some(99.0);
        details.learn(&symbol("B"), at(100), Some(full));
        details.learn(&symbol("A"), at(200), None);
        assert_eq!(details.oldest(&universe, at(300)), Some(symbol("C")));
        details.learn(&symbol("C"), at(300), None);
        assert_eq!(details.oldest(&universe, at(300)), Some(symbol("B")));
        assert_eq!(details.oldest(&universe, at(100)), None);
        details.learn(&symbol("B"), at(400), Some(Listing::new(symbol("B"))));
        let kept = details.listings().find(|l| l.symbol == symbol("B")).unwrap();
        assert_eq!(kept.text[TextAttribute::Sector as usize].as_deref(), Some("Energy"));
        assert_eq!((kept.shares_outstanding, kept.market_cap), (Some(10.0), None));
        let notes = details.unsaved();
        assert!((1..=3).contains(&notes.len()) && details.unsaved().is_empty());
    }
}
