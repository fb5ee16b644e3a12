//! Expressions at every bar: the request with the bars that may come along, and the messages of the answer.

use panscan_core::bar::Field;
use panscan_core::error::shortened;
use panscan_core::range::BarRange;
use panscan_core::resample::Series;
use panscan_core::scan::{Adjustment, Backend, DataPolicy, Precision, SYMBOLS_MAX};
use panscan_core::snapshot::SnapshotId;
use panscan_core::symbol::Symbol;
use panscan_core::time::{Timeframe, Timestamp};

use super::answer::{Column, Diagnostic, Header};
use super::bars::{self, BarsSummary, Origin};
use super::batch::{self, Values};
use super::mask::Mask;
use super::request::snapshot;
use super::spec::{LIST_MAX, ticker, tickers, timeframe};
use super::table::{MESSAGE_BYTES_MAX, numbers};
use super::word::{Word, word};
use crate::error::{Error, Violations};
use crate::v1::{self, compute_indicators_response::Frame};

/// Bars that may come along with a request, all together.
pub const GIVEN_BARS_MAX: usize = 5_000_000;
/// Milliseconds since 1970 that an instant can be from it.
const MILLIS_MAX: u64 = i64::MAX as u64 / 1_000_000;

/// Bars that come along with a request.
#[derive(Debug, Clone, Default)]
pub struct GivenBars {
    /// Whose; may be empty.
    pub symbol: String,
    /// The bars.
    pub bars: Series,
}

/// One call of `ComputeIndicators`.
#[derive(Debug, Clone)]
pub struct IndicatorsAsk {
    /// The expressions; none: the default four.
    pub columns: Vec<String>,
    /// Whose held bars.
    pub symbols: Vec<String>,
    /// Bars to compute on instead.
    pub given: Vec<GivenBars>,
    /// Interval of the bars.
    pub timeframe: Timeframe,
    /// Bars for which values are returned; none: the newest 500, or all that came along.
    pub range: Option<BarRange>,
    /// How prices are adjusted.
    pub adjustment: Adjustment,
    /// What runs it; `None`: the server's choice.
    pub backend: Option<Backend>,
    /// Width of the arithmetic.
    pub precision: Precision,
    /// The symbol that benchmarks mean.
    pub benchmark: String,
    /// Exactly this snapshot.
    pub snapshot: Option<SnapshotId>,
    /// What to do about bars that are not held.
    pub policy: DataPolicy,
}

impl Default for IndicatorsAsk {
    fn default() -> Self {
        Self {
            columns: Vec::new(),
            symbols: Vec::new(),
            given: Vec::new(),
            timeframe: Timeframe::Day,
            range: None,
            adjustment: Adjustment::default(),
            backend: None,
            precision: Precision::default(),
            benchmark: "SPY".to_owned(),
            snapshot: None,
            policy: DataPolicy::default(),
        }
    }
}

impl TryFrom<v1::ComputeIndicatorsRequest> for IndicatorsAsk {
    type Error = Violations;

    fn try_from(wire: v1::ComputeIndicatorsRequest) -> Result<Self, Violations> {
        let mut found = Violations::default();
        if wire.columns.len() > LIST_MAX {
            let message = format!("has {} entries; at most {LIST_MAX} are accepted", wire.columns.len());
            found.push("columns", "TOO_MANY", message);
        }
        let benchmark = if wire.benchmark.is_empty() { "SPY".to_owned() } else { wire.benchmark };
        ticker(&mut found, "benchmark", &benchmark);
        let own = wire.inline_bars.first().map_or("", |bars| bars.timeframe.as_str());
        let interval = if wire.timeframe.is_empty() { own } else { &wire.timeframe };
        let interval = timeframe(&mut found, "timeframe", interval);
        match (wire.symbols.is_empty(), wire.inline_bars.is_empty()) {
            (true, true) => {
                let message = format!("is empty; name up to {SYMBOLS_MAX} symbols, or send inline_bars");
                found.push("symbols", "MISSING", message);
            }
            (false, false) => {
                let message = "cannot stand together with symbols; leave one of them out";
                found.push("inline_bars", "CONTRADICTION", message);
            }
            _ => {}
        }
        let bars: usize = wire.inline_bars.iter().map(|bars| bars.start_time_ms.len()).sum();
        let mut given = Vec::with_capacity(wire.inline_bars.len());
        if bars > GIVEN_BARS_MAX {
            let message = format!("holds {bars} bars; at most {GIVEN_BARS_MAX} are accepted");
            found.push("inline_bars", "TOO_MANY", message);
        } else {
            for (i, bars) in wire.inline_bars.into_iter().enumerate() {
                given.push(given_bars(&mut found, &format!("inline_bars[{i}]"), bars, interval));
            }
        }
        let ask = Self {
            symbols: tickers(&mut found, "symbols", &wire.symbols),
            columns: wire.columns,
            given,
            timeframe: interval,
            range: wire.range.as_ref().map(|range| bars::range(&mut found, Some(range))),
            adjustment: word(&mut found, "adjustment", wire.adjustment),
            backend: word(&mut found, "backend", wire.backend),
            precision: word(&mut found, "precision", wire.precision),
            benchmark,
            snapshot: snapshot(&mut found, &wire.snapshot_id),
            policy: word(&mut found, "data_policy", wire.data_policy),
        };
        found.or(ask)
    }
}

/// Checks bars that came along and takes them over.
fn given_bars(found: &mut Violations, at: &str, wire: v1::Bars, interval: Timeframe) -> GivenBars {
    let path = |field: &str| format!("{at}.{field}");
    if !wire.symbol.is_empty() && Symbol::fault(&wire.symbol).is_some() {
        ticker(found, &path("symbol"), &wire.symbol);
    }
    if !wire.timeframe.is_empty() && wire.timeframe.parse() != Ok(interval) {
        let message = format!("is {:?}; the request is about {interval}", shortened(&wire.timeframe));
        found.push(path("timeframe"), "CONTRADICTION", message);
    }
    let rows = wire.start_time_ms.len();
    if let Some(row) = wire.start_time_ms.windows(2).position(|pair| pair[0] >= pair[1]) {
        let message = format!("does not ascend at [{}]; sort the bars and leave out doubles", row + 1);
        found.push(path("start_time_ms"), "NOT_ASCENDING", message);
    }
    if wire.start_time_ms.iter().any(|at| at.unsigned_abs() > MILLIS_MAX) {
        found.push(path("start_time_ms"), "OUT_OF_RANGE", "lies outside the years 1678 to 2262");
    }
    let validity = wire.vwap_validity;
    if !validity.is_empty() && validity.len() < wire.vwap.len().div_ceil(8) {
        found.push(path("vwap_validity"), "WRONG_LENGTH", "has fewer bits than vwap has values");
    }
    let present =
        |i: usize| validity.is_empty() || validity.get(i / 8).is_some_and(|bits| (bits >> (i % 8)) & 1 == 1);
    let vwap: Vec<f64> =
        wire.vwap.iter().enumerate().map(|(i, v)| if present(i) { *v } else { f64::NAN }).collect();
    let mut column = |field: Field, values: Vec<f64>, optional: bool| {
        if optional && values.is_empty() {
            return vec![f64::NAN; rows];
        }
        if values.len() != rows {
            let message = format!("has {} values for {rows} start times", values.len());
            found.push(path(field.name()), "WRONG_LENGTH", message);
        }
        let absent = |i: usize| field == Field::Vwap && !present(i);
        if let Some(row) = (0..values.len()).find(|i| !values[*i].is_finite() && !absent(*i)) {
            found.push(path(field.name()), "NOT_FINITE", format!("is no finite number at [{row}]"));
        }
        values
    };
    let columns = [
        column(Field::Open, wire.open, false),
        column(Field::High, wire.high, false),
        column(Field::Low, wire.low, false),
        column(Field::Close, wire.close, false),
        column(Field::Volume, wire.volume, false),
        column(Field::Vwap, vwap, true),
        column(Field::Trades, wire.trades.iter().map(|n| *n as f64).collect(), true),
    ];
    let start = wire.start_time_ms.iter().filter(|at| at.unsigned_abs() <= MILLIS_MAX);
    let start = start.map(|at| Timestamp::from_millis(*at)).collect();
    GivenBars { symbol: wire.symbol, bars: Series { start, columns, forming: wire.forming } }
}

impl From<&IndicatorsAsk> for v1::ComputeIndicatorsRequest {
    fn from(ask: &IndicatorsAsk) -> Self {
        let given = |given: &GivenBars| {
            let origin = Origin {
                symbol: &given.symbol,
                timeframe: ask.timeframe,
                adjustment: ask.adjustment,
                provider: "",
                fetched: None,
            };
            bars::bars(origin, &given.bars, &Mask::default())
        };
        Self {
            columns: ask.columns.clone(),
            symbols: ask.symbols.clone(),
            inline_bars: ask.given.iter().map(given).collect(),
            timeframe: ask.timeframe.to_string(),
            range: ask.range.map(Into::into),
            adjustment: ask.adjustment.number(),
            backend: ask.backend.number(),
            precision: ask.precision.number(),
            benchmark: ask.benchmark.clone(),
            snapshot_id: ask.snapshot.as_ref().map(ToString::to_string).unwrap_or_default(),
            data_policy: ask.policy.number(),
        }
    }
}

/// One symbol's values as messages of which none is larger than a mebibyte, unless one bar alone is.
#[must_use]
pub fn frames(symbol: &str, start: &[Timestamp], values: &[Vec<f64>], columns: &[Column]) -> Vec<Frame> {
    // A varint takes ten bytes at most, a number eight; a validity bit each.
    let row = 10 + 11 * columns.len();
    let rows = ((MESSAGE_BYTES_MAX - 4096) / row).max(1);
    let cut = |first: usize| {
        let part = first..(first + rows).min(start.len());
        Frame::Series(v1::IndicatorSeries {
            symbol: symbol.to_owned(),
            start_time_ms: start[part.clone()].iter().map(|at| at.as_millis()).collect(),
            data: columns.iter().zip(values).map(|(c, v)| numbers(c.kind, &v[part.clone()])).collect(),
        })
    };
    // A known symbol without bars has its message too.
    (0..start.len().max(1)).step_by(rows).map(cut).collect()
}

/// Values of one symbol as a client reads them; a long series may come in several parts, in time order.
#[derive(Debug, Clone, PartialEq)]
pub struct IndicatorPart {
    /// Whose.
    pub symbol: String,
    /// Start of each bar.
    pub start: Vec<Timestamp>,
    /// In the order of the header's columns, one value per bar.
    pub columns: Vec<Values>,
}

/// A message of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum IndicatorsFrame {
    /// The first one.
    Header(Box<Header>),
    /// Values of one symbol.
    Series(IndicatorPart),
    /// Something to know.
    Diagnostic(Diagnostic),
    /// The last one.
    Summary(BarsSummary),
}

impl IndicatorsFrame {
    /// Reads a message; `columns` are those of the header, none before it.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] when it breaks the contract.
    pub fn read(message: v1::ComputeIndicatorsResponse, columns: &[Column]) -> Result<Self, Error> {
        let malformed = |message: String| Error::malformed("indicator stream", message);
        let none = || malformed("a message without a known frame".to_owned());
        Ok(match message.frame.ok_or_else(none)? {
            Frame::Header(header) => Self::Header(Box::new(header.try_into()?)),
            Frame::Series(series) => {
                let rows = series.start_time_ms.len();
                if series.data.len() != columns.len() {
                    let message = format!("{} columns instead of {}", series.data.len(), columns.len());
                    return Err(malformed(message));
                }
                let read = |(column, data): (&Column, v1::ColumnData)| match batch::read(column.kind, data) {
                    Ok(values) if values.len() == rows => Ok(values),
                    Ok(_) => Err(malformed(format!("column {} has another length", column.name))),
                    Err(why) => Err(malformed(format!("column {}: {why}", column.name))),
                };
                Self::Series(IndicatorPart {
                    symbol: series.symbol,
                    start: series.start_time_ms.into_iter().map(Timestamp::from_millis).collect(),
                    columns: columns.iter().zip(series.data).map(read).collect::<Result<_, Error>>()?,
                })
            }
            Frame::Diagnostic(diagnostic) => Self::Diagnostic(diagnostic.into()),
            Frame::Summary(summary) => Self::Summary(summary.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use panscan_core::plan::ValueKind;
    use prost::Message;

    use super::*;

    fn wire(rows: usize) -> v1::Bars {
        v1::Bars {
            start_time_ms: (0..rows as i64).map(|i| i * 60_000).collect(),
            open: vec![1.0; rows],
            high: vec![2.0; rows],
            low: vec![0.5; rows],
            close: vec![1.5; rows],
            volume: vec![9.0; rows],
            ..Default::default()
        }
    }

    fn read(inline_bars: Vec<v1::Bars>) -> Result<IndicatorsAsk, Violations> {
        v1::ComputeIndicatorsRequest { inline_bars, timeframe: "1m".into(), ..Default::default() }.try_into()
    }

    #[test]
    fn bars_that_come_along_are_checked_field_by_field() {
        let ask = read(vec![wire(3)]).unwrap();
        let again = IndicatorsAsk::try_from(v1::ComputeIndicatorsRequest::from(&ask)).unwrap();
        assert_eq!(again.given[0].bars.start, ask.given[0].bars.start);
        assert_eq!((ask.given[0].bars.len(), ask.range, ask.timeframe), (3, None, Timeframe::Minutes(1)));
        assert!(ask.given[0].bars.column(Field::Vwap)[0].is_nan());
        let mut short = wire(3);
        short.high.pop();
        short.close[1] = f64::NAN;
        let mut twice = wire(2);
        twice.start_time_ms = vec![5, 5];
        twice.vwap = vec![f64::INFINITY, 1.0];
        twice.timeframe = "1d".into();
        let violations = read(vec![short, twice]).unwrap_err();
        let fields: Vec<_> =
            violations.as_slice().iter().map(|v| (v.field.as_str(), v.reason.as_str())).collect();
        let expected = [
            ("inline_bars[0].high", "WRONG_LENGTH"),
            ("inline_bars[0].close", "NOT_FINITE"),
            ("inline_bars[1].timeframe", "CONTRADICTION"),
            ("inline_bars[1].start_time_ms", "NOT_ASCENDING"),
            ("inline_bars[1].vwap", "NOT_FINITE"),
        ];
        assert_eq!(fields, expected);
        assert_eq!(read(Vec::new()).unwrap_err().reason(), "MISSING");
        assert_eq!(read(vec![wire(GIVEN_BARS_MAX + 1)]).unwrap_err().reason(), "TOO_MANY");
    }

    #[test]
    fn a_long_series_is_cut_into_messages_below_a_mebibyte_and_joins_again() {
        let column =
            |kind| Column { name: "x".into(), expr: "x".into(), kind, unit: String::new(), lookback: 0 };
        let columns = vec![column(ValueKind::Number), column(ValueKind::Integer), column(ValueKind::Bool)];
        let start: Vec<_> = (0..90_000).map(|i| Timestamp::from_seconds(1_700_000_000 + i * 60)).collect();
        let mut values = vec![vec![1.25; start.len()], vec![-7.0; start.len()], vec![1.0; start.len()]];
        values[0][89_999] = f64::NAN;
        let mut joined = Vec::new();
        let frames = frames("A", &start, &values, &columns);
        assert!(frames.len() > 1);
        for frame in frames {
            let message = v1::ComputeIndicatorsResponse { frame: Some(frame) };
            assert!(message.encoded_len() <= MESSAGE_BYTES_MAX);
            let IndicatorsFrame::Series(part) = IndicatorsFrame::read(message, &columns).unwrap() else {
                panic!("no series");
            };
            joined.extend(part.start);
            if joined.len() == start.len() {
                let Values::Numbers(last) = &part.columns[0] else { panic!("no numbers") };
                assert!(last.last().unwrap().is_nan());
            }
        }
        assert_eq!(joined, start);
        assert_eq!(super::frames("A", &[], &[vec![], vec![], vec![]], &columns).len(), 1);
    }
}
