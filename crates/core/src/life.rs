//! Who traded under which ticker when: a company changes its ticker, and a ticker its company.
//!
//! Bars are kept under the ticker that they were traded under. This joins them: the history of a company is the
//! stretches of its tickers, and a ticker's owner depends on the day. Not here: fetching the changes (a
//! [`BarSource`](crate::port::BarSource) does), and joining the bars themselves.

mod history;
mod listed;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub use self::history::{Histories, SLACK_DAYS};

use crate::panel::Split;
use crate::port::Rename;
use crate::symbol::Symbol;
use crate::time::SessionDate;

/// One company under one ticker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// The ticker.
    pub symbol: Symbol,
    /// First session under it; `None` where nobody says.
    pub from: Option<SessionDate>,
    /// Last session under it; `None` while it lasts.
    pub to: Option<SessionDate>,
    /// The company's figi, which outlives its tickers.
    pub figi: Option<Arc<str>>,
}

impl Life {
    fn holds(&self, date: SessionDate) -> bool {
        self.from.is_none_or(|from| from <= date) && self.to.is_none_or(|to| date <= to)
    }
}

/// A part of a company's history: its bars of these days were traded under this ticker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// The ticker of that time.
    pub symbol: Symbol,
    /// First day.
    pub from: SessionDate,
    /// Last day.
    pub to: SessionDate,
}

/// All lives that are known. What is not known about a ticker is taken to be one company, always.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lives {
    /// Of each company its lives, oldest first.
    companies: Vec<Vec<Life>>,
    by_figi: HashMap<Arc<str>, usize>,
    by_symbol: BTreeMap<Symbol, Vec<usize>>,
}

impl Lives {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes over a company's tickers as a source tells them, in any order; `until` is its last session, where it
    /// is gone. What was known of the same company (by its figi, or by its newest ticker where none has one) is
    /// replaced.
    ///
    /// Where two companies had one ticker, the older one's time under it ends before the younger one's begins.
    pub fn learn(&mut self, renames: &[Rename], until: Option<SessionDate>) {
        self.add(renames, until);
        self.index();
    }

    fn add(&mut self, renames: &[Rename], until: Option<SessionDate>) {
        let mut renames: Vec<&Rename> = renames.iter().collect();
        renames.sort_by_key(|rename| rename.from);
        renames.dedup_by(|later, earlier| later.symbol == earlier.symbol);
        let Some(newest) = renames.last() else { return };
        let figi = renames.iter().rev().find_map(|rename| rename.figi.clone());
        let ends = renames.iter().skip(1).map(|next| Some(next.from.plus(-1))).chain([until]);
        let lives: Vec<Life> = renames
            .iter()
            .zip(ends)
            .map(|(rename, to)| Life {
                symbol: rename.symbol.clone(),
                from: Some(rename.from),
                to,
                figi: figi.clone(),
            })
            .collect();
        let known = match &figi {
            Some(figi) => self.by_figi.get(figi).copied(),
            None => self.companies.iter().position(|company| {
                company.last().is_some_and(|life| life.figi.is_none() && life.symbol == newest.symbol)
            }),
        };
        match known.and_then(|at| self.companies.get_mut(at)) {
            Some(company) => *company = lives,
            None => {
                if let Some(figi) = figi {
                    self.by_figi.insert(figi, self.companies.len());
                }
                self.companies.push(lives);
            }
        }
    }

    /// Puts up the look-ups, and ends each life under a ticker before the next company's begins.
    fn index(&mut self) {
        self.by_figi.clear();
        self.by_symbol.clear();
        let mut bearers: BTreeMap<Symbol, Vec<(Option<SessionDate>, usize, usize)>> = BTreeMap::new();
        for (company, lives) in self.companies.iter().enumerate() {
            for (at, life) in lives.iter().enumerate() {
                if let Some(figi) = &life.figi {
                    self.by_figi.insert(figi.clone(), company);
                }
                bearers.entry(life.symbol.clone()).or_default().push((life.from, company, at));
            }
        }
        for (symbol, mut lives) in bearers {
            lives.sort_unstable();
            for two in lives.windows(2) {
                let [(_, company, at), (next, other, _)] = two else { continue };
                let life = &mut self.companies[*company][*at];
                if let (true, Some(next)) = (company != other, next)
                    && life.to.is_none_or(|to| to >= *next)
                {
                    life.to = Some(next.plus(-1));
                }
            }
            let mut companies: Vec<usize> = lives.into_iter().map(|(_, company, _)| company).collect();
            companies.dedup();
            self.by_symbol.insert(symbol, companies);
        }
    }

    /// Whether nobody is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.companies.is_empty()
    }

    /// Every life, company by company, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Life> {
        self.companies.iter().flatten()
    }

    /// The company that traded as `symbol` on `date`; where nobody is known to, the one that did so last before, and
    /// else the first after.
    fn company(&self, symbol: &str, date: SessionDate) -> Option<&[Life]> {
        let companies = self.by_symbol.get(symbol)?;
        let lives = || {
            companies.iter().filter_map(|at| self.companies.get(*at)).flat_map(|company| {
                company.iter().filter(|life| life.symbol.as_str() == symbol).map(move |life| (company, life))
            })
        };
        let found = lives()
            .find(|(_, life)| life.holds(date))
            .or_else(|| lives().rfind(|(_, life)| life.from.is_none_or(|from| from <= date)))
            .or_else(|| lives().next());
        found.map(|(company, _)| company.as_slice())
    }

    /// Whose ticker `symbol` was on `date`; `None` where nobody is known to have had it.
    #[must_use]
    pub fn owner(&self, symbol: &str, date: SessionDate) -> Option<&Life> {
        self.company(symbol, date)?.iter().find(|life| life.symbol.as_str() == symbol && life.holds(date))
    }

    /// The ticker on `date` of the company that traded as `symbol` on `known`.
    #[must_use]
    pub fn ticker(&self, symbol: &Symbol, known: SessionDate, date: SessionDate) -> Symbol {
        let company = self.company(symbol.as_str(), known).unwrap_or_default();
        company
            .iter()
            .find(|life| life.holds(date))
            .map_or_else(|| symbol.clone(), |life| life.symbol.clone())
    }

    /// Under which tickers to look for the bars, over `from` to `to`, of the company that traded as `symbol` on
    /// `known`; oldest first.
    ///
    /// Dates of changes are not exact: each stretch reaches up to `slack` days beyond a change, as far as no other
    /// company is known to have had the ticker then. Where two stretches both have a bar of one session, the
    /// younger ticker's is the right one.
    #[must_use]
    pub fn history(
        &self,
        symbol: &Symbol,
        known: SessionDate,
        from: SessionDate,
        to: SessionDate,
        slack: u16,
    ) -> Vec<Stretch> {
        if to < from {
            return Vec::new();
        }
        let slack = i32::from(slack);
        let Some(company) = self.company(symbol.as_str(), known) else {
            return vec![Stretch { symbol: symbol.clone(), from, to }];
        };
        let mut stretches: Vec<Stretch> = Vec::new();
        for (at, life) in company.iter().enumerate() {
            // Before its first known ticker a company may have traded as long as the provider has bars.
            let begin = match (at, life.from) {
                (0, _) | (_, None) => self.free_since(life).max(Some(from)),
                (_, Some(begin)) => Some(begin.plus(-slack)).max(self.free_since(life)),
            };
            let end = match life.to {
                Some(end) if at + 1 < company.len() => self.free_until(life, end.plus(slack)),
                Some(end) => end,
                None => to,
            };
            let (begin, end) = (begin.unwrap_or(from).max(from), end.min(to));
            if begin <= end {
                stretches.push(Stretch { symbol: life.symbol.clone(), from: begin, to: end });
            }
        }
        stretches
    }

    fn others<'a>(&'a self, life: &'a Life) -> impl Iterator<Item = &'a Life> + 'a {
        let companies = self.by_symbol.get(&life.symbol).map_or(&[][..], Vec::as_slice);
        companies.iter().filter_map(|at| self.companies.get(*at)).flatten().filter(move |other| {
            other.symbol == life.symbol
                && !std::ptr::eq(*other, life)
                && (other.figi.is_none() || other.figi != life.figi)
        })
    }

    /// The first day on which the ticker was no longer another company's.
    fn free_since(&self, life: &Life) -> Option<SessionDate> {
        let begin = life.from?;
        self.others(life).filter_map(|other| other.to).filter(|to| *to < begin).max().map(|to| to.plus(1))
    }

    /// `wanted`, or the last day before the ticker became another company's.
    fn free_until(&self, life: &Life, wanted: SessionDate) -> SessionDate {
        let end = life.to.unwrap_or(wanted);
        let next = self.others(life).filter_map(|other| other.from).filter(|from| *from > end).min();
        next.map_or(wanted, |next| wanted.min(next.plus(-1)))
    }

    /// Whether what a source lists under `ticker` on `date` is about the company that traded as `symbol` on `known`.
    #[must_use]
    pub fn is_of(&self, symbol: &Symbol, known: SessionDate, ticker: &Symbol, date: SessionDate) -> bool {
        match self.company(symbol.as_str(), known) {
            None => ticker == symbol,
            // On that day another company may have had the ticker.
            Some(company) => self.company(ticker.as_str(), date).is_some_and(|of| std::ptr::eq(of, company)),
        }
    }

    /// The splits of the company that traded as `symbol` on `known`, under whatever ticker of it they are listed,
    /// all under `symbol`. A provider lists a split under today's ticker also where it was executed under another.
    #[must_use]
    pub fn splits(&self, symbol: &Symbol, known: SessionDate, listed: &[Split]) -> Vec<Split> {
        let own = |split: &&Split| self.is_of(symbol, known, &split.symbol, split.execution);
        let mut splits: Vec<Split> = Vec::new();
        for split in listed.iter().filter(own) {
            let renamed = Split { symbol: symbol.clone(), ..split.clone() };
            if !splits.contains(&renamed) {
                splits.push(renamed);
            }
        }
        splits.sort_by_key(|split| split.execution);
        splits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> SessionDate {
        text.parse().unwrap()
    }

    fn symbol(text: &str) -> Symbol {
        Symbol::new(text).unwrap()
    }

    fn renames(figi: &str, tickers: &[(&str, &str)]) -> Vec<Rename> {
        let figi = Some(figi).filter(|figi| !figi.is_empty()).map(Arc::from);
        tickers
            .iter()
            .map(|(s, from)| Rename { symbol: symbol(s), from: date(from), figi: figi.clone() })
            .collect()
    }

    /// The social network took a fund's ticker, which the fund had given up for METV some months before.
    fn meta() -> Lives {
        let mut lives = Lives::new();
        lives.learn(&renames("NETWORK", &[("META", "2022-06-09"), ("FB", "2012-05-18")]), None);
        lives.learn(&renames("FUND", &[("META", "2021-06-30"), ("METV", "2022-01-31")]), None);
        lives
    }

    fn told(stretches: &[Stretch]) -> Vec<String> {
        stretches.iter().map(|s| format!("{} {} {}", s.symbol.as_str(), s.from, s.to)).collect()
    }

    #[test]
    fn a_ticker_has_the_owner_of_its_day() {
        let lives = meta();
        let figi = |symbol: &str, day: &str| {
            lives.owner(symbol, date(day)).and_then(|life| life.figi.as_deref().map(str::to_owned))
        };
        assert_eq!(figi("META", "2021-12-01").as_deref(), Some("FUND"));
        assert_eq!(figi("META", "2022-03-01"), None);
        assert_eq!(figi("META", "2022-06-09").as_deref(), Some("NETWORK"));
        assert_eq!(figi("FB", "2022-06-08").as_deref(), Some("NETWORK"));
        assert_eq!(figi("FB", "2022-06-09"), None);
        assert_eq!(lives.ticker(&symbol("FB"), date("2020-01-02"), date("2025-01-02")).as_str(), "META");
        assert_eq!(lives.ticker(&symbol("META"), date("2021-12-01"), date("2025-01-02")).as_str(), "METV");
        assert_eq!(
            lives.ticker(&symbol("NOBODY"), date("2021-12-01"), date("2025-01-02")).as_str(),
            "NOBODY"
        );
        assert_eq!(lives.iter().count(), 4);
    }

    #[test]
    fn a_history_is_looked_for_under_the_right_ticker_on_the_right_day() {
        let lives = meta();
        let of = |name: &str, known: &str, slack| {
            told(&lives.history(&symbol(name), date(known), date("2021-01-04"), date("2023-12-29"), slack))
        };
        assert_eq!(of("META", "2023-01-03", 0), ["FB 2021-01-04 2022-06-08", "META 2022-06-09 2023-12-29"]);
        // the date is not exact, but the fund's days are never taken for the network's
        assert_eq!(of("META", "2023-01-03", 10), ["FB 2021-01-04 2022-06-18", "META 2022-05-30 2023-12-29"]);
        assert_eq!(of("META", "2023-01-03", 365), ["FB 2021-01-04 2023-06-08", "META 2022-01-31 2023-12-29"]);
        assert_eq!(of("META", "2021-12-01", 5), ["META 2021-01-04 2022-02-04", "METV 2022-01-26 2023-12-29"]);
        assert_eq!(of("IBM", "2021-12-01", 5), ["IBM 2021-01-04 2023-12-29"]);
        let none =
            lives.history(&symbol("META"), date("2023-01-03"), date("2023-01-03"), date("2022-01-03"), 5);
        assert!(none.is_empty());
    }

    #[test]
    fn the_delisted_keep_their_days_and_a_successor_gets_its_own() {
        let mut lives = Lives::new();
        lives.learn(&renames("OLD", &[("ABC", "2001-01-02")]), Some(date("2010-03-01")));
        lives.learn(&renames("NEW", &[("ABC", "2015-05-01")]), None);
        let of = |known| {
            told(&lives.history(&symbol("ABC"), date(known), date("2000-01-03"), date("2020-01-03"), 3))
        };
        assert_eq!(of("2005-01-03"), ["ABC 2000-01-03 2010-03-01"]);
        assert_eq!(of("2019-01-03"), ["ABC 2010-03-02 2020-01-03"]);
        // between the two nobody has it, and whoever had it last is meant
        assert_eq!(lives.owner("ABC", date("2012-01-03")), None);
        assert_eq!(of("2012-01-03"), of("2005-01-03"));
    }

    #[test]
    fn what_is_told_again_replaces_what_was_told_before() {
        let mut lives = meta();
        lives.learn(&renames("NETWORK", &[("FB", "2012-05-18"), ("META", "2022-06-11")]), None);
        assert_eq!(lives.iter().count(), 4);
        assert_eq!(lives.owner("FB", date("2022-06-10")).unwrap().to, Some(date("2022-06-10")));
        lives.learn(&renames("", &[("A", "2001-01-02"), ("B", "2002-01-02")]), None);
        lives.learn(&renames("", &[("A", "2001-01-02"), ("B", "2002-02-02")]), None);
        assert_eq!(lives.iter().count(), 6);
        lives.learn(&[], None);
        assert_eq!(lives.iter().count(), 6);
    }

    #[test]
    fn splits_follow_the_company_and_not_the_name_of_the_day() {
        let mut lives = Lives::new();
        lives.learn(
            &renames("S", &[("STRR", "2013-01-02"), ("DRAD", "2020-01-02"), ("STRR", "2023-01-03")]),
            None,
        );
        let split = |name: &str, day: &str, to: f64| Split {
            symbol: symbol(name),
            execution: date(day),
            from: 1.0,
            to,
        };
        let listed = [
            split("STRR", "2021-06-01", 2.0), // executed as DRAD, listed under today's ticker
            split("DRAD", "2021-06-01", 2.0),
            split("DRAD", "2022-01-04", 3.0),
            split("IBM", "2021-06-01", 4.0),
        ];
        for name in ["STRR", "DRAD"] {
            let splits = lives.splits(&symbol(name), date("2021-01-04"), &listed);
            assert_eq!(splits, [split(name, "2021-06-01", 2.0), split(name, "2022-01-04", 3.0)]);
        }
        assert_eq!(lives.splits(&symbol("IBM"), date("2021-01-04"), &listed), [listed[3].clone()]);
        // a split of the fund is not one of the network, though both were META
        let listed = [split("META", "2021-10-01", 5.0), split("META", "2023-10-02", 7.0)];
        let lives = meta();
        assert_eq!(lives.splits(&symbol("META"), date("2023-01-03"), &listed), [listed[1].clone()]);
        assert_eq!(
            lives.splits(&symbol("FB"), date("2020-01-03"), &listed),
            [split("FB", "2023-10-02", 7.0)]
        );
        assert_eq!(
            lives.splits(&symbol("METV"), date("2023-01-03"), &listed),
            [split("METV", "2021-10-01", 5.0)]
        );
    }
}
