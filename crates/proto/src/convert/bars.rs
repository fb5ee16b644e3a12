//! Bars: the range and the requests that ask for them, and the messages that carry them.

use std::collections::BTreeMap;
use std::time::Duration;

use panscan_core::bar::Field;
pub use panscan_core::range::{BarRange, LAST_DEFAULT};
use panscan_core::resample::Series;
use panscan_core::scan::{Adjustment, BarSelection, DataPolicy, SYMBOLS_MAX, SessionHours, UniverseSelector};
use panscan_core::snapshot::{Snapshot, SnapshotId};
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timeframe, Timestamp};

use super::answer::{Cost, elapsed, saturated, signed, unsigned};
use super::mask::{Mask, Masked, masked};
use super::request::snapshot;
use super::spec::{selector, ticker, tickers, timeframe};
use super::table::packed;
use super::word::{Word, word};
use super::{count, instant, page_size, read_timestamp, wire_duration, wire_timestamp};
use crate::error::{Error, Violations};
use crate::v1;

/// Bars of one symbol in an answer that does not say how many.
pub const BARS_DEFAULT: usize = 10_000;
/// Bars of one symbol in an answer at most.
pub const BARS_MAX: usize = 50_000;

masked!(v1::Bars, BARS_FIELDS, "Paths that a mask of bars may have.", [
    symbol "symbol",
    timeframe "timeframe",
    adjustment "adjustment",
    start_time_ms "start_time_ms",
    open "open",
    high "high",
    low "low",
    close "close",
    volume "volume",
    vwap "vwap",
    vwap_validity "vwap_validity",
    trades "trades",
    forming "forming",
    provider "provider",
    fetch_time "fetch_time",
]);

pub(super) fn range(found: &mut Violations, wire: Option<&v1::BarRange>) -> BarRange {
    let Some(wire) = wire else { return BarRange::default() };
    let dates = !wire.start_date.is_empty() || !wire.end_date.is_empty();
    let times = wire.start_time.is_some() || wire.end_time.is_some();
    if usize::from(dates) + usize::from(times) + usize::from(wire.last != 0) > 1 {
        let message = "mixes forms; give either start_date and end_date, or start_time and end_time, or last";
        found.push("range", "CONTRADICTION", message);
    }
    let start_date = date(found, "range.start_date", &wire.start_date);
    let end_date = date(found, "range.end_date", &wire.end_date);
    let start_time = instant(found, "range.start_time", wire.start_time.as_ref());
    let end_time = instant(found, "range.end_time", wire.end_time.as_ref());
    if start_date.zip(end_date).is_some_and(|(from, to)| to < from) {
        found.push("range.end_date", "OUT_OF_RANGE", "lies before start_date");
    }
    if start_time.zip(end_time).is_some_and(|(from, to)| to < from) {
        found.push("range.end_time", "OUT_OF_RANGE", "lies before start_time");
    }
    let last = count(found, "range.last", wire.last, LAST_DEFAULT, BARS_MAX);
    match (dates, times) {
        (true, _) => BarRange::Sessions(start_date, end_date),
        (_, true) => BarRange::Instants(start_time, end_time),
        _ => BarRange::Last(last),
    }
}

fn date(found: &mut Violations, field: &str, text: &str) -> Option<SessionDate> {
    if text.is_empty() {
        return None;
    }
    text.parse().map_err(|e: panscan_core::Error| found.push(field, "UNREADABLE", e.to_string())).ok()
}

impl From<BarRange> for v1::BarRange {
    fn from(range: BarRange) -> Self {
        let date = |d: Option<SessionDate>| d.map(|d| d.to_string()).unwrap_or_default();
        match range {
            BarRange::Last(n) => Self { last: i32::try_from(n).unwrap_or(i32::MAX), ..Self::default() },
            BarRange::Sessions(from, to) => {
                Self { start_date: date(from), end_date: date(to), ..Self::default() }
            }
            BarRange::Instants(from, to) => Self {
                start_time: from.map(wire_timestamp),
                end_time: to.map(wire_timestamp),
                ..Self::default()
            },
        }
    }
}

/// What `GetBars` and `BatchGetBars` have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct BarsAsk {
    /// Interval.
    pub timeframe: Timeframe,
    /// Which bars.
    pub range: BarRange,
    /// How prices are adjusted.
    pub adjustment: Adjustment,
    /// Whether the forming bar takes part.
    pub bars: BarSelection,
    /// Which hours count.
    pub session: SessionHours,
    /// Which fields are sent.
    pub mask: Mask,
    /// Exactly this snapshot.
    pub snapshot: Option<SnapshotId>,
    /// What to do about bars that are not held.
    pub policy: DataPolicy,
}

impl Default for BarsAsk {
    fn default() -> Self {
        Self {
            timeframe: Timeframe::Day,
            range: BarRange::default(),
            adjustment: Adjustment::default(),
            bars: BarSelection::default(),
            session: SessionHours::default(),
            mask: Mask::default(),
            snapshot: None,
            policy: DataPolicy::default(),
        }
    }
}

macro_rules! ask {
    ($found:ident, $wire:ident) => {
        BarsAsk {
            timeframe: timeframe(&mut $found, "timeframe", &$wire.timeframe),
            range: range(&mut $found, $wire.range.as_ref()),
            adjustment: word(&mut $found, "adjustment", $wire.adjustment),
            bars: word(&mut $found, "bars", $wire.bars),
            session: word(&mut $found, "session", $wire.session),
            mask: Mask::read(&mut $found, $wire.read_mask.as_ref(), BARS_FIELDS),
            snapshot: snapshot(&mut $found, &$wire.snapshot_id),
            policy: word(&mut $found, "data_policy", $wire.data_policy),
        }
    };
}

/// One call of `GetBars`.
#[derive(Debug, Clone, PartialEq)]
pub struct BarsRequest {
    /// Whose bars.
    pub symbol: Symbol,
    /// Which bars.
    pub ask: BarsAsk,
    /// Bars of a page.
    pub page_size: usize,
    /// Continues an earlier call; empty: from the first bar.
    pub page_token: String,
}

impl TryFrom<&v1::GetBarsRequest> for BarsRequest {
    type Error = Violations;

    fn try_from(wire: &v1::GetBarsRequest) -> Result<Self, Violations> {
        let mut found = Violations::default();
        ticker(&mut found, "symbol", &wire.symbol);
        let ask = ask!(found, wire);
        let page_size = page_size(&mut found, wire.page_size, BARS_DEFAULT, BARS_MAX);
        match Symbol::new(&wire.symbol) {
            Ok(symbol) => found.or(Self { symbol, ask, page_size, page_token: wire.page_token.clone() }),
            Err(_) => Err(found),
        }
    }
}

impl From<&BarsRequest> for v1::GetBarsRequest {
    fn from(request: &BarsRequest) -> Self {
        let ask = &request.ask;
        Self {
            symbol: request.symbol.to_string(),
            timeframe: ask.timeframe.to_string(),
            range: Some(ask.range.into()),
            adjustment: ask.adjustment.number(),
            bars: ask.bars.number(),
            session: ask.session.number(),
            read_mask: wire_mask(&ask.mask),
            page_size: saturated(request.page_size as u64),
            page_token: request.page_token.clone(),
            snapshot_id: ask.snapshot.as_ref().map(ToString::to_string).unwrap_or_default(),
            data_policy: ask.policy.number(),
        }
    }
}

/// One call of `BatchGetBars`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BatchBarsRequest {
    /// Whose bars, as they were asked for.
    pub symbols: Vec<String>,
    /// And those of these symbols.
    pub universe: Option<UniverseSelector>,
    /// Which bars.
    pub ask: BarsAsk,
    /// Bars of a symbol at most; the newest are kept. 0 is the default.
    pub limit: usize,
    /// Symbols come in the order asked for.
    pub ordered: bool,
}

impl TryFrom<&v1::BatchGetBarsRequest> for BatchBarsRequest {
    type Error = Violations;

    fn try_from(wire: &v1::BatchGetBarsRequest) -> Result<Self, Violations> {
        let mut found = Violations::default();
        let request = Self {
            symbols: tickers(&mut found, "symbols", &wire.symbols),
            universe: wire.universe.as_ref().map(|u| selector(&mut found, "universe", u)),
            ask: ask!(found, wire),
            limit: count(&mut found, "limit", wire.limit, BARS_DEFAULT, BARS_MAX),
            ordered: wire.ordered,
        };
        if wire.symbols.is_empty() && wire.universe.is_none() {
            let message = format!("is empty; name up to {SYMBOLS_MAX} symbols, or set universe");
            found.push("symbols", "MISSING", message);
        }
        found.or(request)
    }
}

impl From<&BatchBarsRequest> for v1::BatchGetBarsRequest {
    fn from(request: &BatchBarsRequest) -> Self {
        let ask = &request.ask;
        Self {
            symbols: request.symbols.clone(),
            universe: request.universe.as_ref().map(Into::into),
            timeframe: ask.timeframe.to_string(),
            range: Some(ask.range.into()),
            adjustment: ask.adjustment.number(),
            bars: ask.bars.number(),
            session: ask.session.number(),
            read_mask: wire_mask(&ask.mask),
            limit: saturated(request.limit as u64),
            ordered: request.ordered,
            snapshot_id: ask.snapshot.as_ref().map(ToString::to_string).unwrap_or_default(),
            data_policy: ask.policy.number(),
        }
    }
}

fn wire_mask(mask: &Mask) -> Option<prost_types::FieldMask> {
    let paths: Vec<String> = BARS_FIELDS.iter().filter(|f| mask.has(f)).map(|f| (*f).to_owned()).collect();
    (paths.len() < BARS_FIELDS.len()).then_some(prost_types::FieldMask { paths })
}

/// Where a message's bars come from.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// Whose bars.
    pub symbol: &'a str,
    /// Of which interval.
    pub timeframe: Timeframe,
    /// How prices are adjusted.
    pub adjustment: Adjustment,
    /// The provider, e.g. `polygon`.
    pub provider: &'a str,
    /// When they were fetched, where that is known.
    pub fetched: Option<Timestamp>,
}

/// One symbol's bars as a message, cut by `mask`.
///
/// A missing vwap is 0 with its validity bit off, and an unknown number of trades is 0.
#[must_use]
pub fn bars(origin: Origin<'_>, series: &Series, mask: &Mask) -> v1::Bars {
    let column = |field: Field| &series.columns[field.index()];
    let filled =
        |field: Field| if mask.has(field.name()) { packed(column(field), |v| v).0 } else { Vec::new() };
    let (vwap, vwap_validity) = packed(column(Field::Vwap), |v| v);
    let mut bars = v1::Bars {
        symbol: origin.symbol.to_owned(),
        timeframe: origin.timeframe.to_string(),
        adjustment: origin.adjustment.number(),
        start_time_ms: series.start.iter().map(|at| at.as_millis()).collect(),
        open: filled(Field::Open),
        high: filled(Field::High),
        low: filled(Field::Low),
        close: filled(Field::Close),
        volume: filled(Field::Volume),
        vwap,
        vwap_validity,
        trades: packed(column(Field::Trades), |v| v as i64).0,
        forming: series.forming,
        provider: origin.provider.to_owned(),
        fetch_time: origin.fetched.map(wire_timestamp),
    };
    bars.apply(mask);
    bars
}

/// One symbol's bars as a client reads them: columns of equal length, ascending by time, except those that the
/// mask left out, which are empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Bars {
    /// Whose bars.
    pub symbol: String,
    /// Interval, e.g. `1d`.
    pub timeframe: String,
    /// Start of each bar.
    pub start: Vec<Timestamp>,
    /// First price, USD.
    pub open: Vec<f64>,
    /// Highest price, USD.
    pub high: Vec<f64>,
    /// Lowest price, USD.
    pub low: Vec<f64>,
    /// Last price, USD.
    pub close: Vec<f64>,
    /// Shares traded.
    pub volume: Vec<f64>,
    /// Volume-weighted average price, USD; NaN where the provider sent none.
    pub vwap: Vec<f64>,
    /// Number of trades; 0 where it is not known.
    pub trades: Vec<u64>,
    /// The last bar is still forming.
    pub forming: bool,
    /// Where they come from.
    pub provider: String,
    /// When they were fetched.
    pub fetched: Option<Timestamp>,
}

impl TryFrom<v1::Bars> for Bars {
    type Error = Error;

    fn try_from(wire: v1::Bars) -> Result<Self, Error> {
        let malformed = |message: &str| Error::malformed("bars", format!("{}: {message}", wire.symbol));
        let lengths =
            [&wire.open, &wire.high, &wire.low, &wire.close, &wire.volume, &wire.vwap].map(Vec::len);
        let all = lengths.into_iter().chain([wire.start_time_ms.len(), wire.trades.len()]);
        let rows = all.clone().max().unwrap_or(0);
        if all.clone().any(|n| n != 0 && n != rows) {
            return Err(malformed("columns of different length"));
        }
        let validity = &wire.vwap_validity;
        if !validity.is_empty() && validity.len() < wire.vwap.len().div_ceil(8) {
            return Err(malformed("too few validity bits"));
        }
        let present = |i: usize| validity.is_empty() || (validity[i / 8] >> (i % 8)) & 1 == 1;
        let vwap = wire.vwap.iter().enumerate().map(|(i, v)| if present(i) { *v } else { f64::NAN });
        Ok(Self {
            vwap: vwap.collect(),
            symbol: wire.symbol,
            timeframe: wire.timeframe,
            start: wire.start_time_ms.into_iter().map(Timestamp::from_millis).collect(),
            open: wire.open,
            high: wire.high,
            low: wire.low,
            close: wire.close,
            volume: wire.volume,
            trades: wire.trades.into_iter().map(unsigned).collect(),
            forming: wire.forming,
            provider: wire.provider,
            fetched: wire.fetch_time.as_ref().and_then(read_timestamp),
        })
    }
}

/// The first message of many symbols' bars.
#[must_use]
pub fn bars_header(snapshot: &Snapshot, symbols: usize, cost: &Cost) -> v1::BarsHeader {
    v1::BarsHeader {
        snapshot_id: snapshot.id.to_string(),
        as_of: Some(wire_timestamp(snapshot.as_of)),
        symbols: saturated(symbols as u64),
        cost: Some(cost.into()),
    }
}

/// The last message of many symbols' bars.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BarsSummary {
    /// Symbols whose bars were sent.
    pub symbols_returned: u64,
    /// Symbols without; each is in a diagnostic.
    pub symbols_failed: u64,
    /// Bars sent.
    pub bars: u64,
    /// Provider calls made for this answer.
    pub provider_calls: u64,
    /// Nothing that was asked for is missing.
    pub complete: bool,
    /// Time from the request to the summary.
    pub total_time: Duration,
    /// Cells by where they came from.
    pub cells_by_tier: BTreeMap<String, u64>,
}

impl From<&BarsSummary> for v1::BarsSummary {
    fn from(summary: &BarsSummary) -> Self {
        Self {
            symbols_returned: saturated(summary.symbols_returned),
            symbols_failed: saturated(summary.symbols_failed),
            bars: signed(summary.bars),
            provider_calls: signed(summary.provider_calls),
            complete: summary.complete,
            total_time: Some(wire_duration(summary.total_time)),
            cells_by_tier: summary.cells_by_tier.iter().map(|(k, n)| (k.clone(), signed(*n))).collect(),
        }
    }
}

impl From<v1::BarsSummary> for BarsSummary {
    fn from(wire: v1::BarsSummary) -> Self {
        Self {
            symbols_returned: unsigned(wire.symbols_returned.into()),
            symbols_failed: unsigned(wire.symbols_failed.into()),
            bars: unsigned(wire.bars),
            provider_calls: unsigned(wire.provider_calls),
            complete: wire.complete,
            total_time: elapsed(wire.total_time.as_ref()),
            cells_by_tier: wire.cells_by_tier.into_iter().map(|(k, n)| (k, unsigned(n))).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use panscan_core::calendar::Calendar;
    use panscan_core::panel::SeriesBars;

    use super::*;

    fn range(wire: &v1::BarRange) -> Result<BarRange, Violations> {
        let mut found = Violations::default();
        let range = super::range(&mut found, Some(wire));
        found.or(range)
    }

    fn date(text: &str) -> SessionDate {
        text.parse().unwrap()
    }

    #[test]
    fn a_range_has_one_form() {
        let sessions = BarRange::Sessions(Some(date("2016-01-04")), None);
        let instants = BarRange::Instants(Some(Timestamp::from_seconds(1)), Some(Timestamp::from_seconds(2)));
        for form in [BarRange::Last(7), sessions, instants] {
            assert_eq!(range(&form.into()).unwrap(), form);
        }
        assert_eq!(range(&v1::BarRange::default()).unwrap(), BarRange::Last(500));
        let wire = v1::BarRange {
            start_date: "2016-13-01".into(),
            end_date: "x".into(),
            start_time: Some(prost_types::Timestamp { seconds: 9, nanos: 0 }),
            end_time: Some(prost_types::Timestamp { seconds: 3, nanos: 0 }),
            last: -1,
        };
        let violations = range(&wire).unwrap_err();
        let fields: Vec<&str> = violations.as_slice().iter().map(|v| v.field.as_str()).collect();
        let expected = ["range", "range.start_date", "range.end_date", "range.end_time", "range.last"];
        assert_eq!(fields, expected);
        let backwards = v1::BarRange {
            start_date: "2016-01-05".into(),
            end_date: "2016-01-04".into(),
            ..Default::default()
        };
        assert_eq!(range(&backwards).unwrap_err().reason(), "OUT_OF_RANGE");
    }

    #[test]
    fn instants_choose_bars_by_their_start() {
        let calendar = Calendar::us_equities();
        let (monday, tuesday) = (date("2016-01-04"), date("2016-01-05"));
        let midnight = calendar.midnight(monday);
        let later = midnight.after(Duration::from_nanos(1));
        let to = Some(calendar.midnight(tuesday));
        assert_eq!(BarRange::Instants(Some(midnight), to).sessions(), (Some(monday), Some(monday)));
        assert_eq!(BarRange::Instants(Some(later), to).sessions(), (Some(tuesday), Some(monday)));
        assert_eq!(BarRange::Instants(None, Some(later)).sessions(), (None, Some(monday)));
    }

    fn series() -> Series {
        let mut series =
            SeriesBars { sessions: vec![date("2016-01-04"), date("2016-07-05")], ..Default::default() };
        for field in Field::ALL {
            series.columns[field.index()] = vec![field.index() as f64 + 1.0, 2.5];
        }
        series.columns[Field::Vwap.index()][1] = f64::NAN;
        series.columns[Field::Trades.index()] = vec![f64::NAN, 12.0];
        Series::of_days(series)
    }

    const ORIGIN: Origin<'static> = Origin {
        symbol: "SPY",
        timeframe: Timeframe::Day,
        adjustment: Adjustment::Splits,
        provider: "polygon",
        fetched: None,
    };

    #[test]
    fn bars_start_at_midnight_in_new_york_and_hold_no_nan() {
        let wire = super::bars(ORIGIN, &series(), &Mask::default());
        // 05:00 UTC in winter, 04:00 in summer.
        assert_eq!(wire.start_time_ms, [1_451_883_600_000, 1_467_691_200_000]);
        assert_eq!(
            (wire.vwap.as_slice(), wire.vwap_validity.as_ref()),
            ([6.0, 0.0].as_slice(), [1_u8].as_slice())
        );
        assert_eq!(wire.trades, [0, 12]);
        let bars = Bars::try_from(wire.clone()).unwrap();
        assert_eq!((bars.close[0], bars.vwap[0], bars.vwap[1].is_nan()), (4.0, 6.0, true));
        let mut broken = wire.clone();
        broken.close.pop();
        assert!(Bars::try_from(broken).is_err());
        let mut broken = wire;
        broken.vwap = vec![1.0; 9];
        assert!(Bars::try_from(broken).is_err());
    }

    #[test]
    fn a_mask_keeps_what_it_names() {
        let wire = v1::GetBarsRequest {
            symbol: "SPY".into(),
            read_mask: Some(prost_types::FieldMask { paths: vec!["close".into()] }),
            page_size: 90_000,
            ..Default::default()
        };
        let request = BarsRequest::try_from(&wire).unwrap();
        assert_eq!((request.page_size, request.ask.range), (BARS_MAX, BarRange::Last(500)));
        let cut = super::bars(ORIGIN, &series(), &request.ask.mask);
        let only_close = v1::Bars { close: vec![4.0, 2.5], ..Default::default() };
        assert_eq!(cut, only_close);
        assert_eq!(Bars::try_from(cut).unwrap().close, [4.0, 2.5]);
        assert_eq!(BarsRequest::try_from(&v1::GetBarsRequest::from(&request)).unwrap(), request);
    }

    #[test]
    fn a_batch_names_its_symbols_and_every_fault() {
        let wire = v1::BatchGetBarsRequest {
            symbols: vec!["A".into(), "no way".into()],
            timeframe: "1y".into(),
            limit: 50_001,
            data_policy: 4,
            ..Default::default()
        };
        assert_eq!(BatchBarsRequest::try_from(&wire).unwrap_err().as_slice().len(), 4);
        let none = BatchBarsRequest::try_from(&v1::BatchGetBarsRequest::default()).unwrap_err();
        assert_eq!(none.as_slice()[0].reason, "MISSING");
        let mut right = wire;
        right.symbols.pop();
        (right.timeframe, right.limit, right.data_policy) = (String::new(), 9, 2);
        let request = BatchBarsRequest::try_from(&right).unwrap();
        assert_eq!(BatchBarsRequest::try_from(&v1::BatchGetBarsRequest::from(&request)).unwrap(), request);
        assert!(
            matches!(BarsRequest::try_from(&v1::GetBarsRequest::default()), Err(v) if v.as_slice().len() == 1)
        );
    }
}
