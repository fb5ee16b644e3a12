//! Cash dividends: which are applied, and by what factor the prices before an ex-date are multiplied.
//!
//! The factor of an ex-date is 1 - cash / close, with the raw close of the last bar before it, brought to the share
//! count of the ex-date where a split lies between. Volumes do not change. Not here: fetching and keeping them.

use std::collections::BTreeMap;

use crate::bar::Field;
use crate::panel::SeriesBars;
use crate::port::Dividend;
use crate::symbol::Symbol;
use crate::time::SessionDate;

/// Dividends in this currency are applied; the bars are in it.
const CURRENCY: &str = "USD";

/// The dividends that are applied, by symbol. Equal repeats count once; different amounts of one ex-date, say a
/// regular and a special one, add up. Amounts that are not finite and positive, or in another currency than the
/// prices, are kept as suspicious.
#[derive(Debug, Clone, Default)]
pub struct Dividends {
    applied: BTreeMap<Symbol, Vec<(SessionDate, f64)>>,
    suspicious: Vec<Dividend>,
}

impl Dividends {
    /// Sorts out what a provider listed.
    #[must_use]
    pub fn new(listed: &[Dividend]) -> Self {
        let mut by_date: BTreeMap<(Symbol, SessionDate), Vec<f64>> = BTreeMap::new();
        let mut suspicious: Vec<Dividend> = Vec::new();
        for dividend in listed {
            let currency = dividend.currency.as_deref().unwrap_or(CURRENCY);
            let sound = dividend.cash.is_finite() && dividend.cash > 0.0;
            if !sound || !currency.eq_ignore_ascii_case(CURRENCY) {
                suspicious.push(dividend.clone());
                continue;
            }
            let amounts = by_date.entry((dividend.symbol.clone(), dividend.ex_date)).or_default();
            if !amounts.contains(&dividend.cash) {
                amounts.push(dividend.cash);
            }
        }
        let mut applied: BTreeMap<Symbol, Vec<(SessionDate, f64)>> = BTreeMap::new();
        for ((symbol, date), mut amounts) in by_date {
            // In one order, so that the sum does not depend on that of the list.
            amounts.sort_unstable_by(f64::total_cmp);
            applied.entry(symbol).or_default().push((date, amounts.iter().sum()));
        }
        Self { applied, suspicious }
    }

    /// Cash a share by ex-date, ascending.
    #[must_use]
    pub fn of(&self, symbol: &str) -> &[(SessionDate, f64)] {
        self.applied.get(symbol).map_or(&[], Vec::as_slice)
    }

    /// Every symbol with its cash a share.
    pub fn iter(&self) -> impl Iterator<Item = (&Symbol, &[(SessionDate, f64)])> {
        self.applied.iter().map(|(symbol, cash)| (symbol, cash.as_slice()))
    }

    /// What was listed and is not applied.
    #[must_use]
    pub fn suspicious(&self) -> &[Dividend] {
        &self.suspicious
    }

    /// Whether none is applied.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.applied.is_empty()
    }
}

/// Price factors by ex-date, ascending, for one symbol's raw closes (ascending, one a bar) and its splits. An ex-date
/// after `last` has none, nor has one without a bar before it or with a cash amount that the price does not bear.
#[must_use]
pub fn factors(
    cash: &[(SessionDate, f64)],
    splits: &[(SessionDate, f64)],
    closes: &[(SessionDate, f64)],
    last: SessionDate,
) -> Vec<(SessionDate, f64)> {
    let factor = |(date, cash): &(SessionDate, f64)| {
        let before = closes.partition_point(|(session, _)| session < date).checked_sub(1)?;
        let (session, close) = closes[before];
        let between = splits.iter().filter(|(at, _)| *at > session && at <= date);
        let close = between.fold(close, |close, (_, factor)| close * factor);
        let factor = 1.0 - cash / close;
        (factor.is_finite() && factor > 0.0 && *date <= last).then_some((*date, factor))
    };
    cash.iter().filter_map(factor).collect()
}

/// Multiplies the prices before each date by its factor.
pub fn apply(series: &mut SeriesBars, factors: &[(SessionDate, f64)]) {
    let mut pending = factors;
    let mut factor = 1.0;
    for row in (0..series.sessions.len()).rev() {
        while let Some(((date, next), rest)) = pending.split_last()
            && *date > series.sessions[row]
        {
            factor *= next;
            pending = rest;
        }
        if factor == 1.0 {
            continue;
        }
        for field in Field::ALL.into_iter().filter(|field| field.is_price()) {
            series.columns[field.index()][row] *= factor;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn day(n: i32) -> SessionDate {
        SessionDate::from_days(n)
    }

    fn paid(date: i32, cash: f64, currency: Option<&str>) -> Dividend {
        let currency = currency.map(Arc::from);
        Dividend { symbol: Symbol::new("A").unwrap(), ex_date: day(date), cash, currency }
    }

    #[test]
    fn repeats_count_once_a_special_one_adds_up_and_foreign_cash_is_left_out() {
        let listed = [
            paid(12, 1.0, Some("USD")),
            paid(12, 1.0, None),
            paid(12, 0.25, Some("usd")),
            paid(11, 0.5, None),
            paid(13, 2.0, Some("CAD")),
            paid(14, -1.0, None),
            paid(15, f64::NAN, None),
        ];
        let dividends = Dividends::new(&listed);
        assert_eq!(dividends.of("A"), [(day(11), 0.5), (day(12), 1.25)]);
        assert_eq!(dividends.suspicious().len(), 3);
        assert!(dividends.of("B").is_empty() && !dividends.is_empty());
    }

    /// By hand: closes 100, 99, 49 with a split of 2 for 1 on the third day. 1.00 on the second day: 1 - 1/100. 0.49 on
    /// the third: half of 99 is 49.5, 1 - 0.49/49.5.
    #[test]
    fn factors_follow_the_close_before_at_the_share_count_of_the_day() {
        let closes = [(day(10), 100.0), (day(11), 99.0), (day(12), 49.0)];
        let cash = [(day(11), 1.0), (day(12), 0.49)];
        let found = factors(&cash, &[(day(12), 0.5)], &closes, day(12));
        assert_eq!(found, [(day(11), 0.99), (day(12), 1.0 - 0.49 / 49.5)]);
        assert_eq!(factors(&cash, &[], &closes, day(11)), [(day(11), 0.99)], "not yet paid by then");
        assert_eq!(factors(&[(day(10), 1.0)], &[], &closes, day(12)), [], "no bar before it");
        assert_eq!(factors(&[(day(11), 100.0)], &[], &closes, day(12)), [], "more than the price");
        // The session of the ex-date has no bar, nor has the one before it.
        assert_eq!(factors(&[(day(20), 0.49)], &[], &closes, day(30)), [(day(20), 0.99)]);
    }

    #[test]
    fn prices_before_a_date_are_scaled_and_volumes_are_not() {
        let mut series = SeriesBars { sessions: vec![day(10), day(11), day(12)], ..SeriesBars::default() };
        series.columns.iter_mut().for_each(|column| *column = vec![100.0, 50.0, 40.0]);
        apply(&mut series, &[(day(11), 0.5), (day(12), 0.75), (day(13), 0.5)]);
        assert_eq!(series.columns[Field::Close.index()], [18.75, 18.75, 20.0]);
        assert_eq!(series.columns[Field::Volume.index()], [100.0, 50.0, 40.0]);
    }
}
