//! A resident market to measure on, made without files or sockets.

use std::sync::Arc;

use panscan_core::bar::Field;
use panscan_core::block::{BarKey, Block, Provenance, WIDTH};
use panscan_core::calendar::Calendar;
use panscan_core::panel::{Panel, Splits};
use panscan_core::port::BlockKey;
use panscan_core::slab::Aligned;
use panscan_core::snapshot::{Held, MarketId, Snapshot, SnapshotId};
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timeframe, Timestamp};
use panscan_core::universe::{Listing, TextAttribute, Universe};

use super::BenchError;

/// Sectors in turn; a symbol in twelve is in none.
const SECTORS: [&str; 11] = [
    "Communication Services",
    "Consumer Discretionary",
    "Consumer Staples",
    "Energy",
    "Financials",
    "Health Care",
    "Industrials",
    "Information Technology",
    "Materials",
    "Real Estate",
    "Utilities",
];

/// The `bars` sessions before 2026.
fn sessions(bars: usize) -> &'static [SessionDate] {
    let calendar = Calendar::us_equities();
    let newest = SessionDate::from_ymd(2025, 12, 31).unwrap_or_default();
    let first = calendar.back(newest, bars.saturating_sub(1)).unwrap_or_else(|| calendar.first());
    calendar.sessions(first, newest)
}

/// Random walks in whole cents of `symbols` symbols over the `bars` sessions before 2026.
pub(super) fn block(symbols: usize, bars: usize) -> Result<Block, BenchError> {
    walks(symbols, bars, true)
}

fn walks(symbols: usize, bars: usize, gaps: bool) -> Result<Block, BenchError> {
    let failed = BenchError::of("the market to measure on");
    let names: Result<Vec<Symbol>, _> = (0..symbols).map(|i| Symbol::new(&format!("S{i:06}"))).collect();
    let names: Arc<[Symbol]> = names.map_err(|e| failed(&e))?.into();
    let rows: Arc<[BarKey]> = sessions(bars).iter().map(|d| BarKey::session(*d)).collect();
    let mut slab = Aligned::filled(Block::floats(symbols, rows.len(), WIDTH), f64::NAN);
    let stride = Block::stride(rows.len(), WIDTH);
    for symbol in 0..symbols {
        walk(slab.as_mut_slice(), symbol, rows.len(), stride, gaps);
    }
    Block::from_parts(Timeframe::Day, names, rows, WIDTH, Arc::new(slab), provenance())
        .map_err(|e| failed(&e))
}

fn provenance() -> Provenance {
    Provenance { provider: "bench".into(), fetched_at: Timestamp::default() }
}

/// The same as a store keeps it: one block for each session.
pub(super) fn days(symbols: usize, bars: usize) -> Result<Vec<(BlockKey, Block)>, BenchError> {
    let whole = block(symbols, bars)?;
    let day = |(row, key): (usize, &BarKey)| {
        let mut slab = Aligned::filled(Block::floats(symbols, 1, WIDTH), f64::NAN);
        for (at, line) in slab.as_mut_slice().chunks_exact_mut(WIDTH).enumerate() {
            let (tile, field) = (at / Field::COUNT, at % Field::COUNT);
            let Some(field) = Field::ALL.get(field) else { continue };
            let (column, _) = whole.column(tile * WIDTH, *field);
            line.copy_from_slice(&column[row * WIDTH..][..WIDTH]);
        }
        let (names, key) = (whole.symbols().clone(), *key);
        let slab = Arc::new(slab);
        let block = Block::from_parts(Timeframe::Day, names, Arc::from([key]), WIDTH, slab, provenance());
        let block = block.map_err(|e| BenchError::of("the market to measure on")(&e))?;
        Ok((BlockKey::Day(key.as_session()), block))
    };
    whole.rows().iter().enumerate().map(day).collect()
}

/// A snapshot of such a market.
pub(super) fn snapshot(symbols: usize, bars: usize, threads: usize) -> Result<Snapshot, BenchError> {
    of_block(block(symbols, bars)?, bars, threads)
}

/// The same without gaps and late listings: every symbol has every bar.
pub(super) fn dense(symbols: usize, bars: usize, threads: usize) -> Result<Snapshot, BenchError> {
    of_block(walks(symbols, bars, false)?, bars, threads)
}

fn of_block(block: Block, bars: usize, threads: usize) -> Result<Snapshot, BenchError> {
    let calendar = Calendar::us_equities();
    let sessions = sessions(bars);
    let (first, newest) = (sessions.first().copied(), sessions.last().copied());
    let (first, newest) = (first.unwrap_or_default(), newest.unwrap_or_default());
    let listings = block.symbols().iter().enumerate().map(|(i, name)| {
        let mut listing = Listing::new(name.clone());
        listing.text[TextAttribute::Sector as usize] =
            SECTORS.get(i * 7 % (SECTORS.len() + 1)).map(|s| (*s).into());
        listing
    });
    let universe = Universe::new("default", 1, Timestamp::default(), listings);
    let (daily, raw) = Panel::build(&universe, sessions, &[block], &Splits::default(), threads);
    Ok(Snapshot {
        id: SnapshotId("bench".into()),
        epoch: 1,
        market: MarketId::new("bench"),
        as_of: calendar.close(newest),
        created: calendar.close(newest),
        history_start: first,
        point_in_time: true,
        universe: Arc::new(universe),
        held: Arc::new(Held { market: vec![true; sessions.len()], ..Held::default() }),
        daily: Arc::new(daily),
        daily_raw: Arc::new(raw),
        named: Arc::default(),
        daily_paid: Arc::default(),
        provider: "bench".into(),
    })
}

/// One symbol, with the habits of a real market: one bar in a hundred comes without a vwap, and with `gaps` one symbol
/// in eight has gaps and one in fifty was listed late.
fn walk(floats: &mut [f64], symbol: usize, rows: usize, stride: usize, gaps: bool) {
    let mut random = uniform(symbol as u64);
    let mut close = 1_000.0 + (random() * 40_000.0).floor();
    let listed = if gaps && symbol % 50 == 7 { rows / 2 } else { 0 };
    for row in 0..rows {
        let open = close;
        close = (close * (1.0 + (random() - 0.5) * 0.04)).round().max(10.0);
        let high = open.max(close) + (random() * 50.0).floor();
        let low = (open.min(close) - (random() * 9.0).floor()).max(1.0);
        let volume = 1_000.0 + (random() * 1e6).floor();
        let vwap = if random() < 0.01 { f64::NAN } else { ((open + close) * 50.0).floor() / 10_000.0 };
        let gap = gaps && symbol % 8 == 3 && random() < 0.01;
        if row < listed || gap {
            continue;
        }
        let values = [open / 100.0, high / 100.0, low / 100.0, close / 100.0, volume, vwap, f64::NAN];
        let at =
            |field: usize| (symbol / WIDTH * Field::COUNT + field) * stride + row * WIDTH + symbol % WIDTH;
        values.iter().enumerate().for_each(|(field, value)| floats[at(field)] = *value);
    }
}

/// Numbers in [0, 1) by splitmix64: the same market at every run.
fn uniform(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}
