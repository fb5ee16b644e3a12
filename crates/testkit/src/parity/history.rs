//! Many sessions at once against a scan on each session's own snapshot.

use std::sync::Arc;

use panscan_core::calendar::Calendar;
use panscan_core::dividend::Dividends;
use panscan_core::history::{HistoryBars, HistoryJob, Moment, SessionRows, one_by_one};
use panscan_core::panel::{Split, Splits};
use panscan_core::port::{Cancel, Compute, ComputeError, Dividend};
use panscan_core::scan::{Adjustment, Factor, FactorTransform, LIMIT_MAX, Order, ScanSpec, UniverseSelector};
use panscan_core::select::Named;
use panscan_core::time::Timestamp;
use panscan_core::universe::{Listing, Universe};

use super::{ACROSS, BESIDE, EXPRESSIONS, assert_alike, planned, same_bits};
use crate::world::{Habit, World};

/// Sessions of history before each that is scanned.
const HISTORY: usize = 70;

/// A world whose symbols come and go, split and pay within the range.
fn bars() -> Arc<HistoryBars> {
    let world = World::with_habits(90, 200, 51);
    let mut snapshot = world.snapshot;
    let sessions = snapshot.daily.sessions().clone();
    let (mut splits, mut cash) = (Vec::new(), Vec::new());
    let listings: Vec<Listing> = snapshot.universe.ids().map(|id| snapshot.universe.listing(id)).collect();
    let listings = listings.into_iter().enumerate().map(|(i, mut listing)| {
        let session = |k: usize| sessions[k.min(sessions.len() - 1)];
        listing.list_date = (i % 5 != 4).then(|| session(i % 4 * 35));
        listing.delist_date = (i % 6 == 1).then(|| session(120 + i % 50));
        listing.active = Some(i % 6 != 1 && i % 23 != 11);
        let mut split = |k: usize, to: f64| {
            splits.push(Split { symbol: listing.symbol.clone(), execution: session(k), from: 1.0, to });
        };
        if Habit::ALL[i % Habit::ALL.len()] == Habit::Splits {
            split(100, 4.0);
        }
        if i % 9 == 2 {
            split(110 + i % 40, 3.0);
            split(145, 0.7);
        }
        if i % 4 == 3 {
            let paid = |k: usize| Dividend {
                symbol: listing.symbol.clone(),
                ex_date: session(k),
                cash: 0.31,
                currency: None,
            };
            cash.extend([90 + i % 17, 118 + i % 7, 150 - i % 11, 199].map(paid));
        }
        listing
    });
    let universe = Universe::new("default", 1, Timestamp::default(), listings.collect::<Vec<_>>());
    snapshot.universe = Arc::new(universe);
    let latest = sessions[sessions.len() - 1];
    let (splits, dividends) = (Arc::new(Splits::new(&splits)), Arc::new(Dividends::new(&cash)));
    Arc::new(HistoryBars::new(snapshot, splits, Some(dividends), latest))
}

/// So many of a panel's sessions, each with the history start that the contract gives it.
fn moments(bars: &HistoryBars, which: impl Iterator<Item = usize>) -> Vec<Moment> {
    let sessions = bars.sessions();
    let start = |session: usize| {
        let first = Calendar::us_equities().history_start(sessions[session], HISTORY);
        sessions.partition_point(|known| *known < first)
    };
    which.map(|session| Moment { session, start: start(session) }).collect()
}

fn assert_same(what: &str, got: &[SessionRows], expected: &[SessionRows]) {
    assert_eq!(got.len(), expected.len(), "{what}: sessions");
    for (got, expected) in got.iter().zip(expected) {
        let what = format!("{what} as of {}", expected.session);
        assert_eq!(got.session, expected.session, "{what}");
        assert_eq!((got.scanned, got.short), (expected.scanned, expected.short), "{what}: population");
        assert_alike(&what, &got.rows, &expected.rows, same_bits);
    }
}

/// Every session's answer has the bits of a scan on a snapshot that ends with it.
pub(super) fn history(compute: &dyn Compute) {
    let bars = bars();
    let columns = |columns: &[&str]| ScanSpec {
        columns: columns.iter().map(|c| (*c).to_owned()).collect(),
        benchmark: "T00011".to_owned(),
        limit: LIMIT_MAX,
        ..ScanSpec::default()
    };
    let mut specs: Vec<ScanSpec> = EXPRESSIONS.chunks(40).chain([ACROSS, BESIDE]).map(columns).collect();
    for adjustment in [Adjustment::Raw, Adjustment::SplitsAndDividends] {
        specs.push(ScanSpec { adjustment, ..columns(&["rsi(14)", "sma(20)", "rank(roc(10))", "beta(20)"]) });
    }
    let selector = UniverseSelector {
        min_price: Some(20.0),
        max_price: Some(280.0),
        min_dollar_volume: Some(5e6),
        min_market_cap: Some(3e8),
        ..UniverseSelector::default()
    };
    let mixed = ["rsi(14)", "close * market_cap", "days_listed + close", "active", "market_cap", "sector"];
    specs.push(ScanSpec {
        universe: selector.clone(),
        filter: "rsi(14) < 60 and days_listed > 40".into(),
        rank_by: "zscore(roc(20), by=sector)".into(),
        order: Order::Ascending,
        limit: 7,
        ..columns(&mixed)
    });
    let raw = Adjustment::Raw;
    let delisted = UniverseSelector { include_delisted: true, ..selector };
    specs.push(ScanSpec { universe: delisted, adjustment: raw, ..columns(&mixed) });
    let factor = |expr: &str| Factor {
        name: String::new(),
        expr: expr.to_owned(),
        weight: 0.5,
        transform: FactorTransform::RobustZScore,
        winsorize: 0.05,
        by: "sector".into(),
    };
    specs.push(ScanSpec {
        factors: vec![
            Factor { name: "a".into(), ..factor("volatility()") },
            Factor { name: "b".into(), ..factor("rsi(14)") },
        ],
        group_by: "sector".into(),
        limit_per_group: 3,
        rank_by: "score()".into(),
        ..columns(&["score()"])
    });
    for spec in specs {
        let (plan, cancel) = (Arc::new(planned(&spec)), Cancel::default());
        let named = Arc::new(Named::new(&plan.universe, bars.universe()));
        let wide = plan.outputs.len() > 20;
        let step = if wide { 19 } else { 3 };
        let from = HISTORY + 25;
        for moments in [moments(&bars, (from..200).step_by(step)), moments(&bars, [199].into_iter())] {
            let job =
                HistoryJob { plan: &plan, bars: &bars, named: &named, moments: &moments, cancel: &cancel };
            let what = format!("{}: {:?}", compute.describe(), spec.columns);
            let got = compute.history(&job).unwrap_or_else(|e| panic!("{what}: {e}"));
            let expected = one_by_one(compute, &job).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert!(expected.iter().all(|session| session.scanned > 10), "{what}: hardly anybody");
            assert_same(&what, &got, &expected);
        }
        cancel.cancel();
        let moments = moments(&bars, 150..200);
        let job = HistoryJob { plan: &plan, bars: &bars, named: &named, moments: &moments, cancel: &cancel };
        assert!(matches!(compute.history(&job), Err(ComputeError::Cancelled)));
    }
}
