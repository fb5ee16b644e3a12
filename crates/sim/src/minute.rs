//! Minute bars of a generated market, derived from the daily bar when they are asked for: nothing is kept,
//! and the same (seed, symbol, session) gives the same minutes. They agree with their day: the first opens at
//! its open, the last closes at its close, the extremes are touched, the volumes add up.

use panscan_core::symbol::Symbol;

use crate::market::{MINUTE_MS, Ohlcv, Session};
use crate::rng::{Rng, hash};

/// The minutes of one symbol's session with their starts in milliseconds, ascending.
pub(crate) fn derive(seed: u64, symbol: &Symbol, session: &Session, day: &Ohlcv) -> Vec<(i64, Ohlcv)> {
    let count = usize::try_from((session.close - session.open) / MINUTE_MS).unwrap_or(0);
    let stream = hash(symbol.as_str().as_bytes(), 0x006d_696e) ^ session.date.days() as u64;
    let mut rng = Rng::new(seed, stream);
    let traded = if day.v > 200_000.0 { 0.995 } else { 0.8 };
    let (top, bottom) = (rng.below(count as u64) as usize, rng.below(count as u64) as usize);
    let kept: Vec<usize> = (0..count).filter(|&at| rng.chance(traded) || at == top || at == bottom).collect();
    let (Some(&first), Some(&last)) = (kept.first(), kept.last()) else { return Vec::new() };

    let cents = |x: f64| (x * 100.0).round() / 100.0;
    let mut prices: Vec<f64> = path(&mut rng, kept.len(), day).into_iter().map(cents).collect();
    if let Some(end) = prices.last_mut() {
        *end = day.c;
    }
    let shares = shares(&mut rng, kept.len(), day.v);
    let trades = if day.n.is_nan() { f64::NAN } else { (day.n / kept.len() as f64).max(1.0).floor() };
    let spread = (day.h - day.l) * 0.02;
    let mut before = day.o;
    let mut rows = Vec::with_capacity(kept.len());
    for (position, &at) in kept.iter().enumerate() {
        let (o, c) = (if at == first { day.o } else { before }, prices[position]);
        let mut h = cents(o.max(c) + spread * rng.unit()).min(day.h).max(o.max(c));
        let mut l = cents(o.min(c) - spread * rng.unit()).max(day.l).min(o.min(c));
        if at == top {
            h = day.h;
        }
        if at == bottom {
            l = day.l;
        }
        debug_assert!(at <= last);
        before = c;
        let v = shares[position];
        let vw = ((h + l + c) / 3.0 * 10_000.0).round() / 10_000.0;
        rows.push((session.open + at as i64 * MINUTE_MS, Ohlcv { o, h, l, c, v, vw, n: trades }));
    }
    rows
}

/// The seconds of a minute in which something was traded: a few that agree with it in open, close and volume. Its
/// extremes are not among them, as those of real seconds often are not.
pub(crate) fn seconds(start: i64, minute: Ohlcv) -> Vec<(i64, Ohlcv)> {
    let part = (minute.v / 4.0).floor();
    let trades = if minute.n.is_nan() { f64::NAN } else { (minute.n / 4.0).max(1.0).floor() };
    let middle = ((minute.h + minute.l) * 50.0).round() / 100.0;
    let middle = middle.clamp(minute.l, minute.h);
    let prices =
        [(0, minute.o, middle), (17, middle, middle), (38, middle, minute.c), (59, minute.c, minute.c)];
    let second = |(at, o, c): (i64, f64, f64)| {
        let v = if at == 59 { minute.v - 3.0 * part } else { part };
        (start + at * 1_000, Ohlcv { o, h: o.max(c), l: o.min(c), c, v, vw: (o + c) / 2.0, n: trades })
    };
    prices.map(second).into_iter().filter(|second| second.1.v > 0.0).collect()
}

/// A wandering line from open to close that stays within the day's range.
fn path(rng: &mut Rng, len: usize, day: &Ohlcv) -> Vec<f64> {
    let (low, high) = (day.l.min(day.o).min(day.c), day.h.max(day.o).max(day.c));
    let step = (high - low) / (len as f64).sqrt().max(1.0);
    let mut price = day.o;
    (0..len)
        .map(|at| {
            let left = (len - at) as f64;
            price += (day.c - price) / left + step * rng.normal();
            price = price.clamp(low, high);
            price
        })
        .collect()
}

/// Whole shares per minute that add up to the day's, fractions in the last one.
fn shares(rng: &mut Rng, len: usize, total: f64) -> Vec<f64> {
    let weights: Vec<f64> = (0..len).map(|_| 0.2 + rng.unit()).collect();
    let sum: f64 = weights.iter().sum();
    let mut left = total;
    let mut shares: Vec<f64> = weights
        .iter()
        .map(|weight| {
            let part = (total * weight / sum).floor().min(left);
            left -= part;
            part
        })
        .collect();
    if let Some(end) = shares.last_mut() {
        *end += left;
    }
    shares
}
