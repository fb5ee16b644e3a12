//! Where the bars of a universe's symbols are kept that are not simply all bars under their own ticker.
//!
//! A company's present ticker shows its whole history, whatever it traded as; a ticker that it gave up shows the days
//! on which it was that company's. Not here: who had which ticker when ([`Lives`]).

use std::collections::BTreeMap;

use super::{Lives, Stretch};
use crate::symbol::{Symbol, SymbolId};
use crate::time::SessionDate;
use crate::universe::Universe;

/// Days by which the date of a change may be off.
pub const SLACK_DAYS: u16 = 5;

/// One symbol's stretches.
#[derive(Debug, Clone, PartialEq, Eq)]
struct History {
    /// By the dates that are told; they do not overlap.
    exact: Vec<Stretch>,
    /// The same with slack: what lies beyond the told dates counts where the right ticker has no bar.
    wide: Vec<Stretch>,
}

/// The stretches of a universe's symbols over some sessions; symbols that are not in it have one ticker throughout.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histories {
    by_id: BTreeMap<SymbolId, History>,
}

impl Lives {
    /// The histories from `from` to `to` of a universe's symbols, which are the tickers of the day `known`.
    #[must_use]
    pub fn histories(
        &self,
        universe: &Universe,
        known: SessionDate,
        from: SessionDate,
        to: SessionDate,
    ) -> Histories {
        let mut by_id = BTreeMap::new();
        for symbol in self.by_symbol.keys() {
            let Some(id) = universe.find(symbol.as_str()) else { continue };
            let exact = self.shown(symbol, known, from, to, 0);
            let plain =
                matches!(&exact[..], [all] if all.symbol == *symbol && (all.from, all.to) == (from, to));
            if !plain {
                by_id.insert(id, History { wide: self.shown(symbol, known, from, to, SLACK_DAYS), exact });
            }
        }
        Histories { by_id }
    }

    /// The stretches that `symbol`, a ticker of the day `known`, shows: all of its company's where it is the company's
    /// ticker on that day, else its own.
    #[must_use]
    pub fn shown(
        &self,
        symbol: &Symbol,
        known: SessionDate,
        from: SessionDate,
        to: SessionDate,
        slack: u16,
    ) -> Vec<Stretch> {
        let mut stretches = self.history(symbol, known, from, to, slack);
        let company = self.company(symbol.as_str(), known).unwrap_or_default();
        if company.last().is_some_and(|newest| newest.symbol != *symbol) {
            stretches.retain(|stretch| stretch.symbol == *symbol);
        }
        stretches
    }
}

impl Histories {
    /// Whether every symbol has one ticker throughout.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The symbols with stretches of their own.
    pub fn ids(&self) -> impl Iterator<Item = SymbolId> + '_ {
        self.by_id.keys().copied()
    }

    /// A symbol's stretches by the dates told; `None` where it has one ticker throughout.
    #[must_use]
    pub fn exact(&self, id: SymbolId) -> Option<&[Stretch]> {
        self.by_id.get(&id).map(|history| &history.exact[..])
    }

    /// What to lay out for a symbol, in this order: a later stretch has the better claim to a session.
    pub fn laid(&self, id: SymbolId) -> impl Iterator<Item = &Stretch> {
        self.by_id.get(&id).into_iter().flat_map(|history| history.wide.iter().chain(&history.exact))
    }

    /// Under which tickers to ask for a symbol's bars of `from` to `to`; dates of changes get their slack. `None` where
    /// it has one ticker throughout.
    #[must_use]
    pub fn asked(&self, id: SymbolId, from: SessionDate, to: SessionDate) -> Option<Vec<Stretch>> {
        let history = self.by_id.get(&id)?;
        let inside = history.exact.iter().filter(|stretch| stretch.from <= to && from <= stretch.to);
        let widened = inside.map(|stretch| {
            let holds = |wide: &&Stretch| {
                wide.symbol == stretch.symbol && wide.from <= stretch.from && stretch.to <= wide.to
            };
            let wide = history.wide.iter().find(holds).unwrap_or(stretch);
            Stretch { symbol: stretch.symbol.clone(), from: wide.from.max(from), to: wide.to.min(to) }
        });
        Some(widened.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::Rename;
    use crate::time::Timestamp;
    use crate::universe::Listing;

    fn date(text: &str) -> SessionDate {
        text.parse().unwrap()
    }

    fn symbol(text: &str) -> Symbol {
        Symbol::new(text).unwrap()
    }

    #[test]
    fn the_present_ticker_shows_all_and_a_former_one_its_own_days() {
        let mut lives = Lives::new();
        let rename = |name: &str, from: &str| Rename {
            symbol: symbol(name),
            from: date(from),
            figi: Some("N".into()),
        };
        lives.learn(&[rename("FB", "2012-05-18"), rename("META", "2022-06-09")], None);
        let names = ["FB", "IBM", "META"].map(|name| Listing::new(symbol(name)));
        let universe = Universe::new("default", 1, Timestamp::default(), names);
        let (from, to) = (date("2022-01-03"), date("2022-12-30"));
        let histories = lives.histories(&universe, to, from, to);
        let id = |name: &str| universe.find(name).unwrap();
        let told = |stretches: &[Stretch]| {
            stretches.iter().map(|s| format!("{} {} {}", s.symbol, s.from, s.to)).collect::<Vec<_>>()
        };
        assert_eq!(
            told(histories.exact(id("META")).unwrap()),
            ["FB 2022-01-03 2022-06-08", "META 2022-06-09 2022-12-30"]
        );
        assert_eq!(told(histories.exact(id("FB")).unwrap()), ["FB 2022-01-03 2022-06-08"]);
        assert_eq!(histories.exact(id("IBM")), None);
        assert_eq!(
            told(&histories.asked(id("META"), from, to).unwrap()),
            ["FB 2022-01-03 2022-06-13", "META 2022-06-04 2022-12-30"]
        );
        // One side of the change takes one call.
        let asked = histories.asked(id("META"), date("2022-02-01"), date("2022-06-07")).unwrap();
        assert_eq!(told(&asked), ["FB 2022-02-01 2022-06-07"]);
        // After the change nothing differs, and a ticker that was given up shows nothing.
        let later = lives.histories(&universe, to, date("2023-01-03"), date("2023-02-01"));
        assert_eq!(later.exact(id("META")), None);
        assert_eq!(later.exact(id("FB")), Some(&[][..]));
    }
}
