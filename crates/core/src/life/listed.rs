//! Lives out of two lists of tickers: those that trade and those that ceased to. Both name the figi of the security.
//!
//! A list says when a ticker was given up, not when it was taken on; what a source tells of one company
//! ([`Lives::learn`]) is more exact and replaces what is found here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::Lives;
use crate::calendar::Calendar;
use crate::port::Rename;
use crate::symbol::Symbol;
use crate::time::SessionDate;
use crate::universe::Listing;

/// Of each ticker who gave it up when.
type Former<'a> = BTreeMap<&'a Symbol, BTreeMap<SessionDate, &'a Arc<str>>>;

/// One company's tickers as they are listed: those that it gave up with the day of that, and the present one.
#[derive(Default)]
struct Company<'a> {
    given_up: BTreeMap<SessionDate, &'a Symbol>,
    present: Option<&'a Listing>,
}

impl Lives {
    /// The companies that changed their ticker, and those whose ticker had another company before. A ticker whose
    /// figi is not told, or that was given up nobody says when, is left out.
    #[must_use]
    pub fn of_listings(listed: &[Listing], gone: &[Listing]) -> Self {
        let mut companies: HashMap<&Arc<str>, Company<'_>> = HashMap::new();
        let mut former = Former::new();
        for row in gone {
            let (Some(figi), Some(date)) = (&row.figi, row.delist_date) else { continue };
            companies.entry(figi).or_default().given_up.insert(date, &row.symbol);
            former.entry(&row.symbol).or_default().insert(date, figi);
        }
        for row in listed {
            // Every other company has one ticker, and nobody had it before.
            let Some(figi) = &row.figi else { continue };
            if companies.contains_key(figi) || former.contains_key(&row.symbol) {
                companies.entry(figi).or_default().present = Some(row);
            }
        }
        let bearers: BTreeMap<&Symbol, &Arc<str>> =
            companies.iter().filter_map(|(figi, company)| Some((&company.present?.symbol, *figi))).collect();
        let mut lives = Self::new();
        let mut figis: Vec<&Arc<str>> = companies.keys().copied().collect();
        figis.sort_unstable();
        for figi in figis {
            let company = &companies[figi];
            let present = company.present.map(|row| &row.symbol);
            let tickers: BTreeSet<&Symbol> = company.given_up.values().copied().chain(present).collect();
            let shared = |ticker: &&Symbol| {
                bearers.get(*ticker).is_some_and(|other| *other != figi)
                    || former.get(*ticker).is_some_and(|of| of.values().any(|other| *other != figi))
            };
            if tickers.len() > 1 || tickers.iter().any(shared) {
                let (renames, until) = company.told(figi, &former);
                lives.add(&renames, until);
            }
        }
        lives.index();
        lives
    }
}

impl Company<'_> {
    /// Its tickers with the first session under each, and its last session where it is gone.
    fn told(&self, figi: &Arc<str>, former: &Former<'_>) -> (Vec<Rename>, Option<SessionDate>) {
        let present = self.present.map(|row| &row.symbol);
        let mut renames: Vec<Rename> = Vec::new();
        let mut begin = None;
        let ends = self.given_up.iter().map(|(date, symbol)| (*symbol, Some(*date)));
        for (symbol, end) in ends.chain(present.map(|symbol| (symbol, None))) {
            // The first ticker: since another company gave it up, or always.
            let from = begin.unwrap_or_else(|| {
                let before = former.get(symbol).into_iter().flatten();
                let theirs =
                    before.filter(|(date, other)| **other != figi && end.is_none_or(|end| **date < end));
                let free = theirs.map(|(date, _)| date.plus(1)).max();
                free.unwrap_or_else(|| Calendar::us_equities().first())
            });
            renames.push(Rename { symbol: symbol.clone(), from, figi: Some(figi.clone()) });
            begin = end;
        }
        (renames, begin.filter(|_| present.is_none()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> SessionDate {
        text.parse().unwrap()
    }

    fn row(symbol: &str, figi: &str, gone: Option<&str>) -> Listing {
        let mut row = Listing::new(Symbol::new(symbol).unwrap());
        row.figi = Some(figi).filter(|figi| !figi.is_empty()).map(Arc::from);
        row.delist_date = gone.map(date);
        row
    }

    fn told(lives: &Lives, symbol: &str, known: &str) -> Vec<String> {
        let symbol = Symbol::new(symbol).unwrap();
        let stretches = lives.history(&symbol, date(known), date("2015-01-02"), date("2025-01-02"), 0);
        stretches.iter().map(|s| format!("{} {} {}", s.symbol, s.from, s.to)).collect()
    }

    #[test]
    fn a_chain_of_tickers_is_joined_and_a_reused_one_is_not() {
        let listed = [row("META", "NETWORK", None), row("IBM", "IBM", None), row("ABC", "NEW", None)];
        let gone = [
            row("FB", "NETWORK", Some("2022-06-09")),
            row("TFB", "NETWORK", Some("2016-02-01")),
            row("ABC", "OLD", Some("2018-03-01")),
            row("XYZ", "", Some("2018-03-01")),
            row("LONE", "LONE", Some("2019-03-01")),
        ];
        let lives = Lives::of_listings(&listed, &gone);
        assert_eq!(
            told(&lives, "META", "2025-01-02"),
            ["TFB 2015-01-02 2016-01-31", "FB 2016-02-01 2022-06-08", "META 2022-06-09 2025-01-02"]
        );
        assert_eq!(told(&lives, "ABC", "2025-01-02"), ["ABC 2018-03-02 2025-01-02"]);
        assert_eq!(told(&lives, "ABC", "2017-01-03"), ["ABC 2015-01-02 2018-03-01"]);
        assert_eq!(lives.iter().filter(|life| life.figi.as_deref() == Some("IBM")).count(), 0);
        assert_eq!(lives.iter().count(), 5, "who never shared or changed a ticker is not in it");
    }
}
