//! The scan itself: `ScanSpec` and its prefilter. Every field that is wrong is reported, not only the first.
//!
//! Expressions are not looked at here; their errors have positions and come from the planner.

use panscan_core::error::shortened;
use panscan_core::scan::{Factor, LIMIT_DEFAULT, LIMIT_MAX, SYMBOLS_MAX, ScanSpec, UniverseSelector};
use panscan_core::symbol::Symbol;
use panscan_core::time::Timeframe;

use super::word::{Word, word};
use super::{count, resource};
use crate::error::Violations;
use crate::v1;

/// Columns, definitions and factors of a scan at most, each.
pub const LIST_MAX: usize = 64;

impl TryFrom<&v1::ScanSpec> for ScanSpec {
    type Error = Violations;

    fn try_from(wire: &v1::ScanSpec) -> Result<Self, Violations> {
        let mut found = Violations::default();
        let spec = scan_spec(&mut found, "scan", wire);
        found.or(spec)
    }
}

/// The scan as far as it can be read, and everything that is wrong with its fields at `at`.
#[must_use]
pub fn checked(at: &str, wire: &v1::ScanSpec) -> (ScanSpec, Violations) {
    let mut found = Violations::default();
    let spec = scan_spec(&mut found, at, wire);
    (spec, found)
}

impl TryFrom<&v1::UniverseSelector> for UniverseSelector {
    type Error = Violations;

    fn try_from(wire: &v1::UniverseSelector) -> Result<Self, Violations> {
        let mut found = Violations::default();
        let selector = selector(&mut found, "universe", wire);
        found.or(selector)
    }
}

pub(super) fn scan_spec(found: &mut Violations, at: &str, wire: &v1::ScanSpec) -> ScanSpec {
    let path = |field: &str| format!("{at}.{field}");
    at_most(found, &path("columns"), wire.columns.len(), LIST_MAX);
    at_most(found, &path("define"), wire.define.len(), LIST_MAX);
    at_most(found, &path("factors"), wire.factors.len(), LIST_MAX);
    let order = word(found, &path("order"), wire.order);
    let limit = count(found, &path("limit"), wire.limit, LIMIT_DEFAULT, LIMIT_MAX);
    let limit_per_group = count(found, &path("limit_per_group"), wire.limit_per_group, 0, LIMIT_MAX);
    let factors = wire.factors.iter().take(LIST_MAX).enumerate();
    let factors = factors.map(|(i, f)| factor(found, &path(&format!("factors[{i}]")), f)).collect();
    let missing_factor = word(found, &path("missing_factor"), wire.missing_factor);
    let universe = wire.universe.as_ref().map(|u| selector(found, &path("universe"), u)).unwrap_or_default();
    let benchmark = if wire.benchmark.is_empty() { "SPY" } else { &wire.benchmark };
    ticker(found, &path("benchmark"), benchmark);
    ScanSpec {
        filter: wire.filter.clone(),
        columns: wire.columns.clone(),
        define: wire.define.clone(),
        rank_by: wire.rank_by.clone(),
        order,
        limit,
        limit_per_group,
        group_by: wire.group_by.clone(),
        factors,
        missing_factor,
        universe,
        timeframe: timeframe(found, &path("timeframe"), &wire.timeframe),
        adjustment: word(found, &path("adjustment"), wire.adjustment),
        bars: word(found, &path("bars"), wire.bars),
        session: word(found, &path("session"), wire.session),
        benchmark: benchmark.to_owned(),
    }
}

fn factor(found: &mut Violations, at: &str, wire: &v1::Factor) -> Factor {
    if !wire.weight.is_finite() {
        found.push(format!("{at}.weight"), "NOT_FINITE", "is no finite number");
    }
    let transform = word(found, &format!("{at}.transform"), wire.transform);
    if !(0.0..0.25).contains(&wire.winsorize) {
        let message = format!("is {}; it must be at least 0 and below 0.25", wire.winsorize);
        found.push(format!("{at}.winsorize"), "OUT_OF_RANGE", message);
    }
    Factor {
        name: wire.name.clone(),
        expr: wire.expr.clone(),
        weight: wire.weight,
        transform,
        winsorize: wire.winsorize,
        by: wire.by.clone(),
    }
}

pub(super) fn selector(found: &mut Violations, at: &str, wire: &v1::UniverseSelector) -> UniverseSelector {
    let path = |field: &str| format!("{at}.{field}");
    for (field, list) in [
        ("sectors", &wire.sectors),
        ("industries", &wire.industries),
        ("exchanges", &wire.exchanges),
        ("types", &wire.types),
    ] {
        at_most(found, &path(field), list.len(), SYMBOLS_MAX);
    }
    UniverseSelector {
        universe: resource(found, &path("universe"), "universes/", &wire.universe),
        symbols: tickers(found, &path("symbols"), &wire.symbols),
        exclude_symbols: tickers(found, &path("exclude_symbols"), &wire.exclude_symbols),
        sectors: wire.sectors.clone(),
        industries: wire.industries.clone(),
        exchanges: wire.exchanges.clone(),
        types: wire.types.clone(),
        min_market_cap: bound(found, &path("min_market_cap"), wire.min_market_cap),
        max_market_cap: bound(found, &path("max_market_cap"), wire.max_market_cap),
        min_price: bound(found, &path("min_price"), wire.min_price),
        max_price: bound(found, &path("max_price"), wire.max_price),
        min_dollar_volume: bound(found, &path("min_dollar_volume"), wire.min_dollar_volume),
        include_delisted: wire.include_delisted,
    }
}

/// Reads a timeframe; empty is a day.
pub(super) fn timeframe(found: &mut Violations, field: &str, text: &str) -> Timeframe {
    if text.is_empty() {
        return Timeframe::Day;
    }
    text.parse().unwrap_or_else(|_| {
        let message = format!("is {:?}; expected one of {}", shortened(text), Timeframe::NAMES);
        found.push(field, "UNKNOWN_TIMEFRAME", message);
        Timeframe::Day
    })
}

/// Checks that each of a list of tickers is one.
pub(super) fn tickers(found: &mut Violations, field: &str, list: &[String]) -> Vec<String> {
    if !at_most(found, field, list.len(), SYMBOLS_MAX) {
        return Vec::new();
    }
    for (i, text) in list.iter().enumerate() {
        if Symbol::fault(text).is_some() {
            ticker(found, &format!("{field}[{i}]"), text);
        }
    }
    list.to_vec()
}

pub(super) fn ticker(found: &mut Violations, field: &str, text: &str) {
    if let Some(fault) = Symbol::fault(text) {
        found.push(field, "INVALID_SYMBOL", format!("is {:?}, which {fault}", shortened(text)));
    }
}

fn bound(found: &mut Violations, field: &str, value: Option<f64>) -> Option<f64> {
    if value.is_some_and(|v| !v.is_finite()) {
        found.push(field, "NOT_FINITE", "is no finite number; leave it out for no bound");
    }
    value
}

fn at_most(found: &mut Violations, field: &str, n: usize, max: usize) -> bool {
    if n > max {
        found.push(field, "TOO_MANY", format!("has {n} entries; at most {max} are accepted"));
    }
    n <= max
}

impl From<&ScanSpec> for v1::ScanSpec {
    /// The scan with every default filled in.
    fn from(spec: &ScanSpec) -> Self {
        Self {
            filter: spec.filter.clone(),
            columns: spec.columns.clone(),
            define: spec.define.clone(),
            rank_by: spec.rank_by.clone(),
            order: spec.order.number(),
            limit: wire_count(spec.limit),
            limit_per_group: wire_count(spec.limit_per_group),
            group_by: spec.group_by.clone(),
            factors: spec
                .factors
                .iter()
                .map(|f| v1::Factor {
                    name: f.name.clone(),
                    expr: f.expr.clone(),
                    weight: f.weight,
                    transform: f.transform.number(),
                    winsorize: f.winsorize,
                    by: f.by.clone(),
                })
                .collect(),
            missing_factor: spec.missing_factor.number(),
            universe: Some(v1::UniverseSelector::from(&spec.universe)),
            timeframe: spec.timeframe.to_string(),
            adjustment: spec.adjustment.number(),
            bars: spec.bars.number(),
            session: spec.session.number(),
            benchmark: spec.benchmark.clone(),
        }
    }
}

impl From<&UniverseSelector> for v1::UniverseSelector {
    fn from(selector: &UniverseSelector) -> Self {
        let universe = match selector.universe.as_str() {
            "" => String::new(),
            id => format!("universes/{id}"),
        };
        Self {
            universe,
            symbols: selector.symbols.clone(),
            exclude_symbols: selector.exclude_symbols.clone(),
            sectors: selector.sectors.clone(),
            industries: selector.industries.clone(),
            exchanges: selector.exchanges.clone(),
            types: selector.types.clone(),
            min_market_cap: selector.min_market_cap,
            max_market_cap: selector.max_market_cap,
            min_price: selector.min_price,
            max_price: selector.max_price,
            min_dollar_volume: selector.min_dollar_volume,
            include_delisted: selector.include_delisted,
        }
    }
}

/// A count for the wire. One that is too large for it stays too large, so that the other side refuses it.
pub(super) fn wire_count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use panscan_core::scan::{Adjustment, BarSelection, FactorTransform, MissingFactor, Order, SessionHours};

    use super::*;

    #[test]
    fn the_empty_scan_is_the_default() {
        assert_eq!(ScanSpec::try_from(&v1::ScanSpec::default()).unwrap(), ScanSpec::default());
    }

    #[test]
    fn a_scan_comes_back() {
        let spec = ScanSpec {
            filter: "rsi(14) < 30".into(),
            columns: vec!["close".into(), "r = rsi(14)".into()],
            define: [("x".to_owned(), "close / open".to_owned())].into(),
            rank_by: "r".into(),
            order: Order::Ascending,
            limit: 50_000,
            limit_per_group: 3,
            group_by: "sector".into(),
            factors: vec![Factor {
                name: "m".into(),
                expr: "roc(20)".into(),
                weight: -0.5,
                transform: FactorTransform::Percentile,
                winsorize: 0.05,
                by: "sector".into(),
            }],
            missing_factor: MissingFactor::Center,
            universe: UniverseSelector {
                universe: "us".into(),
                symbols: vec!["BRK.B".into()],
                exclude_symbols: vec!["A".into()],
                sectors: vec!["Technology".into()],
                industries: vec!["Software".into()],
                exchanges: vec!["XNAS".into()],
                types: vec!["CS".into()],
                min_market_cap: Some(1e9),
                max_market_cap: Some(1e12),
                min_price: Some(5.0),
                max_price: Some(500.0),
                min_dollar_volume: Some(1e6),
                include_delisted: true,
            },
            timeframe: Timeframe::Minutes(60),
            adjustment: Adjustment::Raw,
            bars: BarSelection::ClosedOnly,
            session: SessionHours::Extended,
            benchmark: "QQQ".into(),
        };
        assert_eq!(ScanSpec::try_from(&v1::ScanSpec::from(&spec)).unwrap(), spec);
    }

    #[test]
    fn every_bad_field_is_named_at_once() {
        let wire = v1::ScanSpec {
            columns: vec![String::new(); 65],
            define: (0..65).map(|i| (format!("d{i}"), "1".to_owned())).collect(),
            order: 7,
            limit: -1,
            limit_per_group: 50_001,
            factors: vec![v1::Factor {
                weight: f64::NAN,
                transform: 99,
                winsorize: 0.25,
                ..Default::default()
            }],
            missing_factor: -3,
            universe: Some(v1::UniverseSelector {
                universe: "universes/x y".into(),
                symbols: vec!["A B".into(), "OK".into(), String::new()],
                exclude_symbols: vec!["A".into(); 50_001],
                min_price: Some(f64::INFINITY),
                ..Default::default()
            }),
            timeframe: "7x".into(),
            adjustment: 4,
            bars: 9,
            session: 9,
            benchmark: "\u{0}".into(),
            ..Default::default()
        };
        let violations = ScanSpec::try_from(&wire).unwrap_err();
        let fields: Vec<(&str, &str)> =
            violations.as_slice().iter().map(|v| (v.field.as_str(), v.reason.as_str())).collect();
        assert_eq!(
            fields,
            [
                ("scan.columns", "TOO_MANY"),
                ("scan.define", "TOO_MANY"),
                ("scan.order", "UNKNOWN_VALUE"),
                ("scan.limit", "OUT_OF_RANGE"),
                ("scan.limit_per_group", "OUT_OF_RANGE"),
                ("scan.factors[0].weight", "NOT_FINITE"),
                ("scan.factors[0].transform", "UNKNOWN_VALUE"),
                ("scan.factors[0].winsorize", "OUT_OF_RANGE"),
                ("scan.missing_factor", "UNKNOWN_VALUE"),
                ("scan.universe.universe", "INVALID_NAME"),
                ("scan.universe.symbols[0]", "INVALID_SYMBOL"),
                ("scan.universe.symbols[2]", "INVALID_SYMBOL"),
                ("scan.universe.exclude_symbols", "TOO_MANY"),
                ("scan.universe.min_price", "NOT_FINITE"),
                ("scan.benchmark", "INVALID_SYMBOL"),
                ("scan.timeframe", "UNKNOWN_TIMEFRAME"),
                ("scan.adjustment", "UNKNOWN_VALUE"),
                ("scan.bars", "UNKNOWN_VALUE"),
                ("scan.session", "UNKNOWN_VALUE"),
            ]
        );
    }

    #[test]
    fn limits_are_those_of_the_contract() {
        for (wire, limit) in
            [(0, Some(100)), (1, Some(1)), (50_000, Some(50_000)), (50_001, None), (-1, None)]
        {
            let spec = ScanSpec::try_from(&v1::ScanSpec { limit: wire, ..Default::default() });
            assert_eq!(spec.ok().map(|s| s.limit), limit, "{wire}");
        }
    }
}
