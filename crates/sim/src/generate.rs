//! A market from a seed: the same seed, symbols, sessions and end give the same bytes on every machine.
//!
//! Each symbol is walked from a stream of its own, so symbols can be made in parallel and in any order.

use std::borrow::Cow;
use std::collections::HashMap;

use panscan_core::calendar::Calendar;
use panscan_core::symbol::Symbol;
use panscan_core::time::SessionDate;

use crate::config::{SESSIONS_MAX, SYMBOLS_MAX};
use crate::error::SimError;
use crate::listing::Listing;
use crate::market::{Days, Market, Minutes, Packed, Session, Split};
use crate::rng::{Rng, exp, hash, mix};
use crate::sector::INDUSTRIES;

/// Makes the market.
pub(crate) fn market(
    symbols: usize,
    sessions: usize,
    seed: u64,
    end: SessionDate,
) -> Result<Market, SimError> {
    if symbols == 0 || symbols > SYMBOLS_MAX {
        return Err(SimError::setting("symbols", format!("is {symbols}; it must be 1 to {SYMBOLS_MAX}")));
    }
    if sessions == 0 || sessions > SESSIONS_MAX {
        return Err(SimError::setting("sessions", format!("is {sessions}; it must be 1 to {SESSIONS_MAX}")));
    }
    let calendar = Calendar::us_equities();
    let span = calendar.back(end, sessions - 1).map(|start| calendar.sessions(start, end));
    let dates = span.filter(|dates| dates.len() == sessions).ok_or_else(|| {
        let (first, last) = (calendar.first(), calendar.last());
        SimError::setting(
            "end",
            format!("{end} does not have {sessions} sessions before it; the calendar is {first} to {last}"),
        )
    })?;
    let sessions: Vec<Session> = dates.iter().map(|&date| Session::new(date)).collect();

    let mut names = tickers(symbols)?;
    names.sort_unstable();
    let tide: Vec<f64> =
        dates.iter().map(|date| 0.009 * Rng::new(seed, 0x7469_6465 ^ date.days() as u64).normal()).collect();
    let mut rows = vec![Packed::default(); names.len() * dates.len()];
    let walked = walk_all(seed, &names, dates, &tide, &mut rows);

    let mut listings = Vec::with_capacity(names.len());
    let mut splits = Vec::new();
    for (position, (listing, split)) in walked.into_iter().enumerate() {
        let symbol = u32::try_from(position).unwrap_or(u32::MAX);
        splits.extend(split.map(|(date, from, to)| Split { symbol, date, from, to }));
        listings.push(listing);
    }
    let index: HashMap<Symbol, u32> = names.into_iter().zip(0..).collect();
    let id = hash(format!("1|{seed}|{symbols}|{}|{end}", dates.len()).as_bytes(), 0);
    Ok(Market {
        id: format!("gen-{id:016x}"),
        sessions,
        listings,
        index,
        days: Days::Generated(rows),
        minutes: Minutes::Derived { seed },
        splits,
    })
}

type Walked = (Listing, Option<(SessionDate, f64, f64)>);

/// Walks every symbol, on as many threads as there are cores.
fn walk_all(
    seed: u64,
    names: &[Symbol],
    dates: &[SessionDate],
    tide: &[f64],
    rows: &mut [Packed],
) -> Vec<Walked> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(16);
    let share = names.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let parts: Vec<_> = names
            .chunks(share)
            .zip(rows.chunks_mut(share * dates.len()))
            .map(|(names, rows)| {
                scope.spawn(move || {
                    names
                        .iter()
                        .zip(rows.chunks_mut(dates.len()))
                        .map(|(name, rows)| walk(seed, name, dates, tide, rows))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        parts.into_iter().flat_map(|part| part.join().unwrap_or_default()).collect()
    })
}

/// What a symbol is, drawn once.
struct Character {
    kind: &'static str,
    exchange: &'static str,
    industry: usize,
    beta: f64,
    /// Deviation of a day's own return.
    swing: f64,
    /// Shares of an ordinary day.
    shares: f64,
    /// Price at the start, in cents.
    start: f64,
    /// Sessions without bars: before the listing, and a halt.
    listed: usize,
    halt: std::ops::Range<usize>,
    split: Option<(usize, f64, f64)>,
}

fn character(rng: &mut Rng, name: &Symbol, len: usize) -> Character {
    let fund = matches!(name.as_str(), "SPY" | "QQQ");
    let draw = rng.unit();
    let kind = match draw {
        _ if fund => "ETF",
        d if d < 0.76 || name.as_str().contains('.') => "CS",
        d if d < 0.90 => "ETF",
        d if d < 0.95 => "ADRC",
        d if d < 0.98 => "PFD",
        _ => "FUND",
    };
    let venue = rng.unit();
    let exchange = match kind {
        _ if name.as_str() == "SPY" => "ARCX",
        _ if name.as_str() == "QQQ" => "XNAS",
        "ETF" => {
            if venue < 0.7 {
                "ARCX"
            } else {
                "XNAS"
            }
        }
        _ if venue < 0.55 => "XNAS",
        _ if venue < 0.93 => "XNYS",
        _ => "XASE",
    };
    let industry = rng.below(INDUSTRIES.len() as u64) as usize;
    let wide = rng.unit();
    let mut drawn = Character {
        kind,
        exchange,
        industry,
        beta: 0.3 + 1.4 * rng.unit(),
        swing: 0.007 + 0.03 * wide * wide,
        shares: exp(12.5 + 1.6 * rng.normal()),
        start: (100.0 * exp(3.4 + 0.9 * rng.normal())).clamp(150.0, 60_000.0),
        listed: 0,
        halt: 0..0,
        split: None,
    };
    let (late, halted, divided) = (rng.unit(), rng.unit(), rng.unit());
    let (when, pause, ratio) = (rng.below(len as u64) as usize, rng.below(len as u64) as usize, rng.below(6));
    let days = 1 + rng.below(15) as usize;
    let split_at = rng.below(len as u64) as usize;
    if fund {
        return Character { beta: 1.0, swing: 0.002, shares: 6.0e7, start: 45_000.0, ..drawn };
    }
    if late < 0.03 {
        drawn.listed = when;
    }
    if halted < 0.02 {
        drawn.halt = pause..pause + days;
    }
    if divided < 0.03 && split_at > 0 {
        let (from, to) =
            [(1.0, 2.0), (1.0, 4.0), (1.0, 3.0), (2.0, 3.0), (10.0, 1.0), (1.0, 10.0)][ratio as usize];
        drawn.split = Some((split_at, from, to));
    }
    drawn
}

/// Fills one symbol's row of sessions and says what it is.
fn walk(seed: u64, name: &Symbol, dates: &[SessionDate], tide: &[f64], rows: &mut [Packed]) -> Walked {
    let mut rng = Rng::new(seed, hash(name.as_str().as_bytes(), 1));
    let own = character(&mut rng, name, dates.len());
    let steady = own.swing < 0.003;
    let mut price = own.start;
    let mut shares = own.shares;
    for (at, row) in rows.iter_mut().enumerate() {
        if let Some((_, from, to)) = own.split.filter(|split| split.0 == at) {
            price *= from / to;
            shares *= to / from;
        }
        let gap = 0.3 * own.swing * rng.normal();
        let mut change = (own.beta * tide[at] + own.swing * rng.normal()).clamp(-0.35, 0.35);
        if price < 100.0 {
            change = change.abs();
        } else if price > 5.0e6 {
            change = -change.abs();
        }
        let open = (price * (1.0 + gap)).round().max(1.0);
        let close = (open * (1.0 + change)).round().max(1.0);
        let high = (open.max(close) * (1.0 + 0.5 * own.swing * rng.normal().abs())).round();
        let low = (open.min(close) * (1.0 - 0.5 * own.swing * rng.normal().abs())).round().max(1.0);
        price = close;
        let traded = (shares * (0.4 + rng.unit() + 15.0 * change.abs())).floor().clamp(1.0, 4.0e9);
        let oddities = rng.bits();
        let quiet = at < own.listed || own.halt.contains(&at) || (!steady && oddities & 0x7ff == 0);
        if quiet {
            continue;
        }
        *row = Packed {
            v: fraction(traded, oddities >> 11),
            o: open as u32,
            h: high as u32,
            l: low as u32,
            c: close as u32,
            vw: average(high, low, close, oddities >> 25),
            n: trades(traded, oddities >> 40),
        };
    }
    let last = rows.iter().rev().find(|row| row.c != 0).map_or(own.start, |row| f64::from(row.c));
    let split = own.split.map(|(at, from, to)| (dates[at], from, to));
    (listing(&mut rng, name, &own, dates, last / 100.0), split)
}

/// Most volumes are whole; a few carry one decimal, a few six.
fn fraction(shares: f64, bits: u64) -> f64 {
    match bits & 0x3f {
        0 => (shares * 10.0 + (bits >> 6 & 7) as f64 + 1.0) / 10.0,
        1 if shares < 1.0e6 => (shares * 1.0e6 + (bits >> 6 & 0xff) as f64 * 3_907.0 + 1.0) / 1.0e6,
        _ => shares,
    }
}

/// Average price in 1/10,000: mostly between the extremes, sometimes beyond one, sometimes lacking.
fn average(high: f64, low: f64, close: f64, bits: u64) -> u32 {
    let middle = (high + low + 2.0 * close) * 25.0 + (bits >> 8 & 0x3f) as f64;
    let value = match bits & 0xff {
        0 => 0.0,
        1 | 2 => high * 100.0 + 137.0,
        3 | 4 => (low * 100.0 - 61.0).max(1.0),
        _ => middle,
    };
    value as u32
}

/// Number of trades; 0, which stands for lacking, about once in 256.
fn trades(shares: f64, bits: u64) -> u32 {
    if bits & 0xff == 0 {
        return 0;
    }
    (shares / (60.0 + (bits >> 8 & 0xff) as f64)).clamp(1.0, 4.0e9) as u32
}

const STEMS: [&str; 24] = [
    "Alder", "Bright", "Cobalt", "Delta", "Ember", "Falcon", "Granite", "Harbor", "Indigo", "Juniper",
    "Kestrel", "Lumen", "Meridian", "North", "Opal", "Prairie", "Quartz", "River", "Summit", "Timber",
    "Union", "Vector", "West", "Zenith",
];
const TAILS: [&str; 12] =
    ["field", "bridge", "stone", "gate", "wave", "line", "point", "crest", "works", "land", "view", "mark"];
const COUNTRIES: [&str; 8] =
    ["Brazil", "Canada", "China", "Germany", "Israel", "Japan", "Netherlands", "United Kingdom"];

fn listing(rng: &mut Rng, name: &Symbol, own: &Character, dates: &[SessionDate], last: f64) -> Listing {
    let industry = &INDUSTRIES[own.industry];
    let company = matches!(own.kind, "CS" | "ADRC");
    let word = format!(
        "{}{}",
        STEMS[rng.below(STEMS.len() as u64) as usize],
        TAILS[rng.below(TAILS.len() as u64) as usize]
    );
    let title = match own.kind {
        "CS" => format!("{word} {} Inc.", industry.name),
        "ADRC" => format!("{word} {} plc American Depositary Shares", industry.name),
        "PFD" => format!("{word} {} Preferred Stock", industry.name),
        "ETF" => format!("{word} {} ETF", industry.sector),
        _ => format!("{word} {} Income Fund", industry.sector),
    };
    let worth = exp(20.7 + 2.0 * rng.normal()).clamp(2.0e6, 3.0e12);
    let shares = (worth / last).round().max(1.0);
    let country = COUNTRIES[rng.below(COUNTRIES.len() as u64) as usize];
    let start = dates.first().copied().unwrap_or_default();
    let age = 30 + rng.below(14_000) as i32;
    Listing {
        symbol: name.clone(),
        name: title,
        exchange: Cow::Borrowed(own.exchange),
        kind: Cow::Borrowed(own.kind),
        sector: Cow::Borrowed(if company { industry.sector } else { "" }),
        industry: Cow::Borrowed(if company { industry.name } else { "" }),
        country: Cow::Borrowed(if own.kind == "ADRC" { country } else { "United States" }),
        currency: Cow::Borrowed("USD"),
        market_cap: if company { (shares * last).round() } else { f64::NAN },
        shares: if company { shares } else { f64::NAN },
        list_date: Some(if own.listed > 0 { dates[own.listed] } else { start.plus(-age) }),
    }
}

/// Distinct tickers of one to five letters and a few share classes; a longer list starts with the shorter
/// one.
fn tickers(count: usize) -> Result<Vec<Symbol>, SimError> {
    let mut names = Vec::with_capacity(count);
    for at in 0..count {
        let text = match at {
            0 => "SPY".to_owned(),
            1 => "QQQ".to_owned(),
            // the one before is never a share class itself, so that no ticker repeats
            _ if at % 97 == 50 => {
                format!("{}.{}", root(at - 1), if mix(at as u64) & 1 == 0 { 'A' } else { 'B' })
            }
            _ => root(at),
        };
        names.push(Symbol::new(&text).map_err(|source| SimError::setting("symbols", source.to_string()))?);
    }
    Ok(names)
}

/// The letters of ticker `at`: a walk over all three- and four-letter words with a step that shares no factor
/// with their number, so that none repeats.
fn root(at: usize) -> String {
    let (letters, code) = if at.is_multiple_of(4) && at / 4 < 17_576 {
        (3, (at / 4 * 7_919 + 4_321) % 17_576)
    } else {
        (4, (at * 177_787 + 98_765) % 456_976)
    };
    let mut text = vec![b'A'; letters];
    let mut rest = code;
    for letter in text.iter_mut().rev() {
        *letter += (rest % 26) as u8;
        rest /= 26;
    }
    let text: String = text.into_iter().map(char::from).collect();
    // the fixed two keep their names to themselves
    if matches!(text.as_str(), "SPY" | "QQQ") { format!("{text}XX") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickers_are_unique_and_a_longer_list_extends_a_shorter() {
        let many = tickers(60_000).unwrap();
        let unique: std::collections::HashSet<_> = many.iter().collect();
        assert_eq!(unique.len(), many.len());
        assert_eq!(tickers(500).unwrap()[..], many[..500]);
        assert!(many.iter().take(500).any(|name| name.as_str().contains('.')));
    }

    #[test]
    fn a_symbol_does_not_depend_on_how_many_there_are() {
        let end: SessionDate = "2025-12-31".parse().unwrap();
        let (small, large) = (market(50, 40, 9, end).unwrap(), market(300, 40, 9, end).unwrap());
        let rows = |market: &Market, name: &str| {
            let at = market.find(name).unwrap();
            let Days::Generated(rows) = &market.days else { panic!("generated") };
            rows[at * 40..(at + 1) * 40]
                .iter()
                .map(|row| (row.c, row.v.to_bits(), row.vw))
                .collect::<Vec<_>>()
        };
        for listing in &small.listings {
            assert_eq!(rows(&small, listing.symbol.as_str()), rows(&large, listing.symbol.as_str()));
        }
        assert_ne!(small.id, large.id);
    }

    #[test]
    fn bars_hold_together_and_oddities_occur() {
        let market = market(2_000, 120, 3, "2025-12-31".parse().unwrap()).unwrap();
        let Days::Generated(rows) = &market.days else { panic!("generated") };
        let (mut bare, mut outside, mut missing, mut fractional) = (0, 0, 0, 0);
        for row in rows {
            if row.c == 0 {
                missing += 1;
                continue;
            }
            assert!(row.h >= row.o.max(row.c) && row.l <= row.o.min(row.c) && row.l > 0 && row.v > 0.0);
            bare += usize::from(row.vw == 0 || row.n == 0);
            outside += usize::from(row.vw > row.h * 100 || (row.vw != 0 && row.vw < row.l * 100));
            fractional += usize::from(row.v.fract() != 0.0);
        }
        assert!(bare > 500 && outside > 500 && missing > 500 && fractional > 500);
        assert!(market.splits.len() > 20);
        let sectors: std::collections::HashSet<_> =
            market.listings.iter().map(|l| l.sector.as_ref()).collect();
        assert_eq!(sectors.len(), 12);
    }
}
