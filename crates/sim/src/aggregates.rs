//! The aggregate endpoints: ranges of one symbol with paging, one day of all symbols, the previous close.
//!
//! The odd rules here are the provider's: a limit counts base bars and not results, the cursor forgets
//! `adjusted`, and the stamp of a day depends on the endpoint.

use panscan_core::calendar::Calendar;
use panscan_core::time::{SessionDate, Timestamp};

use crate::ask::{Answer, Ask, cursor, encode, find, params, uncursor};
use crate::config::Plan;
use crate::fault::FaultName;
use crate::market::{HOUR_MS, MINUTE_MS, Ohlcv, View};
use crate::minute;
use crate::number::{Spelling, integer, number, text};
use crate::rng::mix;

const LIMIT_DEFAULT: usize = 5_000;
const LIMIT_MAX: usize = 50_000;
/// Base bars that one window can have at most: a year of days is far less, a 1000-hour window more than a
/// page.
pub(crate) const WINDOW_MAX: usize = 1_000_000;

/// One row of an answer.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    /// Grouped rows name their ticker.
    pub(crate) ticker: Option<&'a str>,
    pub(crate) t: i64,
    pub(crate) bar: Ohlcv,
    /// Random bits that choose how its numbers are spelled.
    pub(crate) style: u64,
}

/// The unit of a range's windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Span {
    Second,
    Minute,
    Hour,
    Day,
    Week,
    /// Month, quarter and year, in months.
    Months(i64),
}

impl Span {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "second" => Self::Second,
            "minute" => Self::Minute,
            "hour" => Self::Hour,
            "day" => Self::Day,
            "week" => Self::Week,
            "month" => Self::Months(1),
            "quarter" => Self::Months(3),
            "year" => Self::Months(12),
            _ => return None,
        })
    }

    /// Whether its base bars are minutes; else they are days.
    fn of_minutes(self) -> bool {
        matches!(self, Self::Second | Self::Minute | Self::Hour)
    }

    /// Where the window starts that holds the base bar at `t`.
    fn start(self, multiplier: i64, t: i64) -> i64 {
        let calendar = Calendar::us_equities();
        let date = calendar.session_of(Timestamp::from_millis(t));
        let midnight = |date: SessionDate| calendar.midnight(date).as_millis();
        let whole = |days: i64| midnight(SessionDate::from_days(i32::try_from(days).unwrap_or(0)));
        let days = i64::from(date.days());
        match self {
            Self::Second | Self::Minute | Self::Hour => {
                let unit = multiplier
                    * match self {
                        Self::Second => 1_000,
                        Self::Minute => MINUTE_MS,
                        _ => HOUR_MS,
                    };
                let start = midnight(date);
                start + (t - start).div_euclid(unit) * unit
            }
            Self::Day => whole(days.div_euclid(multiplier) * multiplier),
            // 1969-12-28, four days before the epoch, was a Sunday
            Self::Week => whole((days + 4).div_euclid(7 * multiplier) * 7 * multiplier - 4),
            Self::Months(months) => {
                let (year, month, _) = date.ymd();
                let unit = months * multiplier;
                let first = (i64::from(year) * 12 + i64::from(month) - 1).div_euclid(unit) * unit;
                let (year, month) = (first.div_euclid(12), first.rem_euclid(12) + 1);
                let first = i16::try_from(year).ok().zip(i8::try_from(month).ok());
                midnight(
                    first.and_then(|(year, month)| SessionDate::from_ymd(year, month, 1)).unwrap_or(date),
                )
            }
        }
    }
}

/// Answers `/v2/aggs/ticker/{ticker}/range/{multiplier}/{timespan}/{from}/{to}`.
pub(crate) fn range(ask: &Ask, plan: Plan) -> Result<Answer, Answer> {
    let [ticker, multiplier, timespan, from_text, to_text] =
        [3, 5, 6, 7, 8].map(|at| ask.segments[at].as_str());
    let multiplier: i64 = multiplier
        .parse()
        .ok()
        .filter(|multiplier| (1..=100_000).contains(multiplier))
        .ok_or_else(|| ask.bad("Could not parse 'multiplier': expected an integer of at least 1"))?;
    let span = Span::parse(timespan).ok_or_else(|| ask.bad("Could not parse 'timespan'"))?;
    let from =
        instant(from_text, false).ok_or_else(|| ask.bad("Could not parse the time parameter: 'from'"))?;
    let to = instant(to_text, true).ok_or_else(|| ask.bad("Could not parse the time parameter: 'to'"))?;
    if from > to {
        return Err(ask.bad("'from' must not be after 'to'"));
    }
    let held = match ask.param("cursor") {
        Some(text) => params(&uncursor(text).ok_or_else(|| ask.bad("Could not parse 'cursor'"))?),
        None => Vec::new(),
    };
    let either = |name| find(&held, name).or_else(|| ask.param(name));
    let limit = ask.limit(either("limit"), LIMIT_DEFAULT, LIMIT_MAX)?;
    let descending = match either("sort") {
        None | Some("asc") => false,
        Some("desc") => true,
        Some(_) => return Err(ask.bad("Could not parse 'sort': expected asc or desc")),
    };
    let adjusted = ask.flag("adjusted", true)?;
    too_old(ask, plan, from)?;

    if plan == Plan::Free
        && Calendar::us_equities().session_of(Timestamp::from_millis(from)) == ask.view.today()
    {
        too_early(ask, plan, ask.view.today())?;
    }
    // bars from before a change of name stay under the old one
    let tenure = ask.view.tenure(ticker, from, to);
    let symbol = tenure.map(|(symbol, ..)| symbol);
    let page = tenure
        .map(|(symbol, from, to)| {
            let query = Query { span, multiplier, from, to, descending, adjusted, limit };
            page(&ask.view, symbol, &query)
        })
        .unwrap_or_default();
    let next = page.next.map(|next| {
        let from = if descending { from_text.to_owned() } else { next.to_string() };
        let to = if descending { next.to_string() } else { to_text.to_owned() };
        let sort = if descending { "desc" } else { "asc" };
        format!(
            "{}/v2/aggs/ticker/{}/range/{multiplier}/{timespan}/{from}/{to}?cursor={}",
            ask.origin,
            encode(ticker),
            cursor(&format!("limit={limit}&sort={sort}"))
        )
    });
    let seed = symbol.unwrap_or_default() as u64;
    let rows = page
        .rows
        .into_iter()
        .map(|(t, bar)| Row { ticker: None, t, bar, style: mix(seed << 40 ^ t.unsigned_abs()) })
        .collect();
    Ok(render(ask, Some(ticker), adjusted, page.read, rows, next))
}

/// A range as asked for, in milliseconds, both ends included.
pub(crate) struct Query {
    pub(crate) span: Span,
    pub(crate) multiplier: i64,
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) descending: bool,
    pub(crate) adjusted: bool,
    pub(crate) limit: usize,
}

/// Rows of one symbol, as far as the limit allows.
#[derive(Default)]
pub(crate) struct Page {
    pub(crate) rows: Vec<(i64, Ohlcv)>,
    /// Base bars read.
    read: usize,
    /// Where the next page starts.
    next: Option<i64>,
}

/// Reads a range of one symbol.
pub(crate) fn page(view: &View, symbol: usize, query: &Query) -> Page {
    let start = |t: i64| query.span.start(query.multiplier, t);
    let single = query.multiplier == 1 && matches!(query.span, Span::Day | Span::Minute | Span::Second);
    let mut base = base(view, symbol, query, query.limit + 1);
    let mut next = None;
    if base.len() > query.limit {
        if single {
            next = Some(base[query.limit].0);
            base.truncate(query.limit);
        } else {
            // the window that the limit cuts through is left to the next page
            let cut = start(base[query.limit].0);
            let mut whole = base.iter().position(|row| start(row.0) == cut).unwrap_or_default();
            if whole == 0 {
                // a limit smaller than one window would never get on: that window is read to its end
                base = self::base(view, symbol, query, WINDOW_MAX);
                whole = base.iter().position(|row| start(row.0) != cut).unwrap_or(base.len());
            }
            next = base.get(whole).map(|row| if query.descending { row.0 } else { start(row.0) });
            base.truncate(whole);
        }
    }
    let read = base.len();
    if single {
        return Page { rows: base, read, next };
    }
    let rows = base
        .chunk_by(|a, b| start(a.0) == start(b.0))
        .filter_map(|window| {
            let bars = window.iter().map(|row| row.1);
            let bar = if query.descending { Ohlcv::joined(bars.rev()) } else { Ohlcv::joined(bars) };
            Some((start(window.first()?.0), bar?))
        })
        .collect();
    Page { rows, read, next }
}

/// At most `max` base bars in the order asked for.
fn base(view: &View, symbol: usize, query: &Query, max: usize) -> Vec<(i64, Ohlcv)> {
    let market = &view.market;
    let factor = |date| if query.adjusted { view.factor(symbol, date) } else { 1.0 };
    let mut rows = Vec::new();
    let minutes = query.span.of_minutes();
    let reach = if minutes { 24 * HOUR_MS } else { 0 };
    let sessions = market.sessions_between(query.from.saturating_sub(reach), query.to);
    let order: Box<dyn Iterator<Item = usize>> =
        if query.descending { Box::new(sessions.rev()) } else { Box::new(sessions) };
    for at in order {
        let session = &market.sessions[at];
        if minutes {
            let mut part = view.minutes(symbol, at);
            if query.span == Span::Second {
                part = part.into_iter().flat_map(|(t, bar)| minute::seconds(t, bar)).collect();
            }
            part.retain(|row| (query.from..=query.to).contains(&row.0));
            if query.descending {
                part.reverse();
            }
            let factor = factor(session.date);
            rows.extend(part.into_iter().map(|(t, bar)| (t, bar.scaled(factor))));
        } else if let Some(bar) = view.day(symbol, at) {
            rows.push((session.midnight, bar.scaled(factor(session.date))));
        }
        if rows.len() >= max {
            break;
        }
    }
    rows.truncate(max);
    rows
}

/// Answers `/v2/aggs/grouped/locale/us/market/stocks/{date}`.
pub(crate) fn grouped(ask: &Ask, plan: Plan) -> Result<Answer, Answer> {
    let date: SessionDate =
        ask.segments[7].parse().map_err(|_| ask.bad("Could not parse the time parameter: 'date'"))?;
    let adjusted = ask.flag("adjusted", true)?;
    ask.flag("include_otc", false)?;
    too_old(ask, plan, Calendar::us_equities().midnight(date).as_millis())?;
    let view = &ask.view;
    too_early(ask, plan, date)?;
    let mut rows = Vec::new();
    if let Some(session) = view.market.session(date).filter(|&session| view.ended(session)) {
        rows.reserve(view.market.listings.len() + 2);
        rows.extend(
            (0..view.market.listings.len()).filter_map(|symbol| daily_row(view, symbol, session, adjusted)),
        );
    }
    let read = rows.len();
    Ok(render(ask, None, adjusted, read, rows, None))
}

/// Answers `/v2/aggs/ticker/{ticker}/prev`.
pub(crate) fn previous(ask: &Ask) -> Result<Answer, Answer> {
    let ticker = ask.segments[3].as_str();
    let adjusted = ask.flag("adjusted", true)?;
    let view = &ask.view;
    let newest = (0..view.market.sessions.len()).rev().find(|&session| view.ended(session));
    let row = view.bearer(ticker, view.today()).zip(newest);
    let row = row.and_then(|(symbol, session)| daily_row(view, symbol, session, adjusted));
    let rows: Vec<_> = row.into_iter().collect();
    let read = rows.len();
    Ok(render(ask, Some(ticker), adjusted, read, rows, None))
}

fn daily_row(view: &View, symbol: usize, session: usize, adjusted: bool) -> Option<Row<'_>> {
    let bar = view.day(symbol, session)?;
    let at = &view.market.sessions[session];
    let factor = if adjusted { view.factor(symbol, at.date) } else { 1.0 };
    Some(Row {
        ticker: Some(view.name(symbol, at.date)),
        t: at.four_pm(),
        bar: bar.scaled(factor),
        style: mix((symbol as u64) << 40 ^ at.midnight.unsigned_abs()),
    })
}

/// Refuses a day that is not over, on a plan of ended days.
pub(crate) fn too_early(ask: &Ask, plan: Plan, date: SessionDate) -> Result<(), Answer> {
    if plan != Plan::Free || Calendar::us_equities().close(date) <= ask.view.visible {
        return Ok(());
    }
    let text = if date == ask.view.today() {
        "Attempted to request today's data before end of day. Please upgrade your plan."
    } else {
        "Your plan doesn't include this data timeframe. Please upgrade your plan."
    };
    Err(Answer::not_authorized(403, &ask.request_id, text))
}

/// Refuses what lies before a plan's history.
pub(crate) fn too_old(ask: &Ask, plan: Plan, from: i64) -> Result<(), Answer> {
    let years = match plan {
        Plan::Free => 2,
        Plan::Delayed => 5,
        Plan::Realtime => return Ok(()),
    };
    // a few days of grace, as a year is not a whole number of weeks
    let oldest = Calendar::us_equities().midnight(ask.view.today().plus(-366 * years - 7)).as_millis();
    if from < oldest {
        let text = "Your plan doesn't include this data timeframe. Please upgrade your plan.";
        return Err(Answer::not_authorized(403, &ask.request_id, text));
    }
    Ok(())
}

/// A date or Unix milliseconds; as the end of a range a date means its last millisecond.
fn instant(text: &str, end: bool) -> Option<i64> {
    if let Ok(date) = text.parse::<SessionDate>() {
        let calendar = Calendar::us_equities();
        return Some(if end {
            calendar.midnight(date.plus(1)).as_millis() - 1
        } else {
            calendar.midnight(date).as_millis()
        });
    }
    // beyond the years 1678 to 2262 the calendar's nanoseconds would saturate
    text.parse().ok().filter(|ms: &i64| ms.abs() < 9_000_000_000_000)
}

/// Writes the body that the three endpoints share.
fn render(
    ask: &Ask,
    ticker: Option<&str>,
    adjusted: bool,
    read: usize,
    mut rows: Vec<Row<'_>>,
    mut next: Option<String>,
) -> Answer {
    let before = (rows.len(), next.clone());
    let damaged = crate::damage::rows(ask, ticker.is_none(), &mut rows, &mut next);
    let null = ask.tweaked(FaultName::NullResults) && before.0 > 0;
    let flip = ask.tweaked(FaultName::AdjustedFlip);
    if null {
        rows.clear();
    }
    if ask.csv {
        return csv(&rows, ticker.is_none());
    }
    let mut out = Vec::with_capacity(rows.len() * 128 + 512);
    out.push(b'{');
    if let Some(ticker) = ticker {
        out.extend_from_slice(b"\"ticker\":");
        text(&mut out, ticker);
        out.push(b',');
    }
    out.extend_from_slice(b"\"queryCount\":");
    integer(&mut out, read as i64);
    out.extend_from_slice(b",\"resultsCount\":");
    integer(&mut out, rows.len() as i64);
    out.extend_from_slice(if adjusted != flip { b",\"adjusted\":true" } else { b",\"adjusted\":false" });
    if null {
        out.extend_from_slice(b",\"results\":null");
    } else if !rows.is_empty() {
        out.extend_from_slice(b",\"results\":[");
        for (at, row) in rows.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write_row(&mut out, row);
        }
        out.push(b']');
    }
    out.extend_from_slice(b",\"status\":");
    text(&mut out, ask.status);
    out.extend_from_slice(b",\"request_id\":");
    text(&mut out, &ask.request_id);
    if !rows.is_empty() {
        out.extend_from_slice(b",\"count\":");
        integer(&mut out, rows.len() as i64);
    }
    if let Some(next) = next {
        out.extend_from_slice(b",\"next_url\":");
        text(&mut out, &next);
    }
    out.push(b'}');
    Answer { rows: rows.len() as u64, tweaked: damaged || null || flip, ..Answer::new(200, out) }
}

/// Writes a row in the provider's field names; what is NaN is left out.
pub(crate) fn write_row(out: &mut Vec<u8>, row: &Row<'_>) {
    let (bar, style) = (&row.bar, row.style);
    out.push(b'{');
    if let Some(ticker) = row.ticker {
        out.extend_from_slice(b"\"T\":");
        text(out, ticker);
        out.push(b',');
    }
    field(out, b"v", bar.v, Spelling::of_volume(style));
    field(out, b"vw", bar.vw, Spelling::Plain);
    field(out, b"o", bar.o, Spelling::of_price(style >> 4));
    field(out, b"c", bar.c, Spelling::of_price(style >> 6));
    field(out, b"h", bar.h, Spelling::of_price(style >> 8));
    field(out, b"l", bar.l, Spelling::of_price(style >> 10));
    field(out, b"n", bar.n, Spelling::Plain);
    if style >> 12 & 0xff == 0 {
        // the provider adds fields without notice; nobody may depend on their absence
        field(out, b"op", bar.o, Spelling::Plain);
    }
    out.extend_from_slice(b"\"t\":");
    integer(out, row.t);
    out.push(b'}');
}

/// Appends `"name":value,` unless the value is lacking, or is none that JSON can hold.
fn field(out: &mut Vec<u8>, name: &[u8], value: f64, spelling: Spelling) {
    if !value.is_finite() {
        return;
    }
    out.push(b'"');
    out.extend_from_slice(name);
    out.extend_from_slice(b"\":");
    number(out, value, spelling);
    out.push(b',');
}

/// The same rows with the provider's CSV columns.
fn csv(rows: &[Row<'_>], tickers: bool) -> Answer {
    let mut out = Vec::with_capacity(rows.len() * 64 + 64);
    out.extend_from_slice(if tickers { b"T,c,h,l,n,o,t,v,vw\n" } else { b"c,h,l,n,o,t,v,vw\n" });
    for row in rows {
        if tickers {
            out.extend_from_slice(row.ticker.unwrap_or_default().as_bytes());
            out.push(b',');
        }
        let bar = &row.bar;
        for value in [bar.c, bar.h, bar.l, bar.n, bar.o] {
            cell(&mut out, value);
        }
        integer(&mut out, row.t);
        out.push(b',');
        cell(&mut out, bar.v);
        cell(&mut out, bar.vw);
        out.pop();
        out.push(b'\n');
    }
    Answer { rows: rows.len() as u64, content_type: "text/csv", ..Answer::new(200, out) }
}

fn cell(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        number(out, value, Spelling::Plain);
    }
    out.push(b',');
}
