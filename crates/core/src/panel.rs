//! The panel: every symbol's bars of one timeframe side by side, adjusted and ready to compute on.
//!
//! A tile holds [`WIDTH`] symbols as `[field][row][lane]`. Each lane's bars are packed without holes and end at
//! the last row, so that "the last n bars that the symbol has" is the last n rows for every lane at once: missing
//! sessions are skipped, not filled, and no kernel has to look for them. Rows above a lane's first bar are NaN.

mod cut;
mod joined;
mod tile;

use std::sync::{Arc, OnceLock};

pub use self::cut::{Bounds, Reads};
use self::joined::Joined;
pub use self::tile::Tile;
use crate::bar::Field;
use crate::block::{Block, WIDTH};
use crate::calendar::Calendar;
use crate::dividend::{Dividends, factors};
use crate::life::Histories;
use crate::resample::period;
pub use crate::split::{Split, Splits};
use crate::symbol::{Symbol, SymbolId};
use crate::time::{SessionDate, Timeframe};
use crate::universe::Universe;

/// All symbols of a universe version over the sessions from history start to the newest.
#[derive(Debug, Clone)]
pub struct Panel {
    timeframe: Timeframe,
    sessions: Arc<[SessionDate]>,
    /// Bars of each symbol, side by side: asked for every symbol of every scan.
    bars: Vec<u32>,
    tiles: Vec<Arc<Tile>>,
    /// Weeks and months of these bars, each with its unfinished bar and without, made when first asked for.
    longer: Arc<[OnceLock<Arc<Panel>>; 4]>,
}

/// One symbol's bars, ascending, copied out of a panel.
#[derive(Debug, Clone, Default)]
pub struct SeriesBars {
    /// Session of each bar.
    pub sessions: Vec<SessionDate>,
    /// Columns in [`Field`] order.
    pub columns: [Vec<f64>; Field::COUNT],
}

impl Panel {
    /// Joins `blocks` (a later one wins where two hold the same cell) over ascending `sessions` and packs the
    /// tiles on `threads` threads. The first panel has the splits applied that were executed by the last
    /// session, the second is raw; they share every tile in which no split applies.
    #[must_use]
    pub fn build(
        universe: &Universe,
        sessions: &[SessionDate],
        blocks: &[Block],
        splits: &Splits,
        threads: usize,
    ) -> (Self, Self) {
        Self::build_across(universe, sessions, blocks, splits, &Histories::default(), threads)
    }

    /// The same where some symbols traded under other tickers.
    #[must_use]
    pub fn build_across(
        universe: &Universe,
        sessions: &[SessionDate],
        blocks: &[Block],
        splits: &Splits,
        histories: &Histories,
        threads: usize,
    ) -> (Self, Self) {
        let joined: Vec<Joined<'_>> =
            blocks.iter().filter_map(|b| Joined::new(b, universe, sessions, histories)).collect();
        let count = universe.len().div_ceil(WIDTH);
        let make = |tile: usize| {
            let raw = Arc::new(Tile::build(tile, universe, sessions, &joined, histories));
            (split_adjusted(&raw, tile, universe, sessions, splits), raw)
        };
        let (adjusted, raw) = each(count, threads, make).into_iter().unzip();
        let sessions: Arc<[SessionDate]> = sessions.into();
        let panel = |tiles: Vec<Arc<Tile>>| {
            let mut bars: Vec<u32> = tiles.iter().flat_map(|tile| tile.bars).collect();
            bars.truncate(universe.len());
            let longer = Arc::default();
            Self { timeframe: Timeframe::Day, sessions: sessions.clone(), bars, tiles, longer }
        };
        (panel(adjusted), panel(raw))
    }

    /// Its bars joined to those of a longer interval, labelled by the first day of each; `closed` leaves out the
    /// newest where it has sessions to come. `None` for an interval that days do not make.
    #[must_use]
    pub fn longer(&self, timeframe: Timeframe, closed: bool) -> Option<&Arc<Self>> {
        let at = match timeframe {
            Timeframe::Week => 0,
            Timeframe::Month => 2,
            Timeframe::Day | Timeframe::Minutes(_) => return None,
        };
        Some(self.longer[at + usize::from(closed)].get_or_init(|| Arc::new(self.joined(timeframe, closed))))
    }

    fn joined(&self, timeframe: Timeframe, closed: bool) -> Self {
        let mut labels: Vec<SessionDate> = Vec::new();
        let mut places: Vec<usize> = Vec::with_capacity(self.sessions.len());
        for session in self.sessions.iter() {
            let (first, _) = period(timeframe, *session);
            if labels.last() != Some(&first) {
                labels.push(first);
            }
            places.push(labels.len() - 1);
        }
        if let Some(newest) = self.sessions.last().filter(|_| closed) {
            let (_, last) = period(timeframe, *newest);
            if Calendar::us_equities().at_or_before(last).is_some_and(|session| session > *newest) {
                labels.pop();
            }
        }
        let tiles: Vec<Arc<Tile>> =
            self.tiles.iter().map(|tile| Arc::new(tile.joined(&places, labels.len()))).collect();
        let mut bars: Vec<u32> = tiles.iter().flat_map(|tile| tile.bars).collect();
        bars.truncate(self.bars.len());
        Self { timeframe, sessions: labels.into(), bars, tiles, longer: Arc::default() }
    }

    /// What `self`, which was adjusted for the splits `before`, is under the splits `after`; `raw` are its bars as
    /// they traded. Only tiles of symbols whose splits differ are made again, all others are shared.
    #[must_use]
    pub fn resplit(&self, raw: &Self, universe: &Universe, before: &Splits, after: &Splits) -> Self {
        let Some(last) = self.sessions.last() else { return self.clone() };
        let tile = |(index, tile): (usize, &Arc<Tile>)| {
            let differs = lanes(universe, index).any(|s| before.until(s, *last) != after.until(s, *last));
            match differs {
                true => split_adjusted(&raw.tiles[index], index, universe, &self.sessions, after),
                false => tile.clone(),
            }
        };
        self.with(self.tiles.iter().enumerate().map(tile).collect())
    }

    /// What `self`, which is adjusted for `splits`, is with the dividends applied too that were paid by its last
    /// session; `raw` are its bars as they traded. Tiles without a dividend are shared.
    #[must_use]
    pub fn paid(
        &self,
        raw: &Self,
        universe: &Universe,
        splits: &Splits,
        dividends: &Dividends,
        threads: usize,
    ) -> Self {
        let Some(last) = self.sessions.last() else { return self.clone() };
        let tile = |index: usize| {
            let factors = |lane: usize| {
                let symbol = universe.symbols()[index * WIDTH + lane].as_str();
                let cash = dividends.of(symbol);
                if cash.is_empty() {
                    return Vec::new().into();
                }
                let closes: Vec<_> = raw.tiles[index].lane(&self.sessions, lane, Field::Close).collect();
                factors(cash, splits.of(symbol), &closes, *last).into()
            };
            self.tiles[index].scaled(&self.sessions, false, factors)
        };
        self.with(each(self.tiles.len(), threads, tile))
    }

    /// The same bars in other tiles. What was made of the old ones stays with them.
    fn with(&self, tiles: Vec<Arc<Tile>>) -> Self {
        Self { tiles, longer: Arc::default(), ..self.clone() }
    }

    /// The interval of its bars.
    #[must_use]
    pub fn timeframe(&self) -> Timeframe {
        self.timeframe
    }

    /// Sessions from history start to the newest.
    #[must_use]
    pub fn sessions(&self) -> &Arc<[SessionDate]> {
        &self.sessions
    }

    /// Symbols; equals the universe's.
    #[must_use]
    pub fn symbols(&self) -> usize {
        self.bars.len()
    }

    /// The tiles; symbol `i` is lane `i % WIDTH` of tile `i / WIDTH`.
    #[must_use]
    pub fn tiles(&self) -> &[Arc<Tile>] {
        &self.tiles
    }

    /// Bars of one symbol.
    #[must_use]
    pub fn bars(&self, id: SymbolId) -> usize {
        self.bars.get(id.index()).map_or(0, |bars| *bars as usize)
    }

    /// Bars of all symbols.
    #[must_use]
    pub fn total_bars(&self) -> u64 {
        self.bars.iter().copied().map(u64::from).sum()
    }

    /// Session of a symbol's newest bar.
    #[must_use]
    pub fn newest(&self, id: SymbolId) -> Option<SessionDate> {
        let tile = self.tiles.get(id.index() / WIDTH)?;
        let lane = id.index() % WIDTH;
        (tile.bars[lane] > 0)
            .then(|| self.sessions[usize::from(tile.session[(tile.rows - 1) * WIDTH + lane])])
    }

    /// Session of a symbol's oldest bar.
    #[must_use]
    pub fn oldest(&self, id: SymbolId) -> Option<SessionDate> {
        let tile = self.tiles.get(id.index() / WIDTH)?;
        let lane = id.index() % WIDTH;
        let first = tile.rows - tile.bars[lane] as usize;
        (first < tile.rows).then(|| self.sessions[usize::from(tile.session[first * WIDTH + lane])])
    }

    /// Sessions from a symbol's first bar to its newest, both included; more than its bars where it has gaps.
    #[must_use]
    pub fn span(&self, id: SymbolId) -> usize {
        let Some(tile) = self.tiles.get(id.index() / WIDTH) else { return 0 };
        let lane = id.index() % WIDTH;
        let bars = tile.bars[lane] as usize;
        if bars == 0 {
            return 0;
        }
        let session = |row: usize| usize::from(tile.session[row * WIDTH + lane]);
        session(tile.rows - 1) - session(tile.rows - bars) + 1
    }

    /// The close of a symbol's newest bar; NaN where it has none.
    #[must_use]
    pub fn last_close(&self, id: SymbolId) -> f64 {
        let Some(tile) = self.tiles.get(id.index() / WIDTH) else { return f64::NAN };
        if tile.rows == 0 {
            return f64::NAN;
        }
        tile.field(Field::Close)[(tile.rows - 1) * WIDTH + id.index() % WIDTH]
    }

    /// A symbol's bars from `from` to `to`, both included.
    #[must_use]
    pub fn series(&self, id: SymbolId, from: SessionDate, to: SessionDate) -> SeriesBars {
        let mut series = SeriesBars::default();
        let Some(tile) = self.tiles.get(id.index() / WIDTH) else { return series };
        let lane = id.index() % WIDTH;
        for row in tile.rows - tile.bars[lane] as usize..tile.rows {
            let at = row * WIDTH + lane;
            let session = self.sessions[usize::from(tile.session[at])];
            if session < from || session > to {
                continue;
            }
            series.sessions.push(session);
            for field in Field::ALL {
                series.columns[field.index()].push(tile.field(field)[at]);
            }
        }
        series
    }

    /// Bytes that it keeps in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.tiles.iter().map(|t| size_of_val(t.data.as_slice()) + t.session.len() * 2).sum()
    }
}

/// Makes tiles on so many threads.
fn each<T: Send>(count: usize, threads: usize, make: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let mut tiles: Vec<Option<T>> = std::iter::repeat_with(|| None).take(count).collect();
    let share = count.div_ceil(threads.max(1)).max(1);
    std::thread::scope(|scope| {
        for (part, slots) in tiles.chunks_mut(share).enumerate() {
            let make = &make;
            scope.spawn(move || {
                for (i, slot) in slots.iter_mut().enumerate() {
                    *slot = Some(make(part * share + i));
                }
            });
        }
    });
    tiles.into_iter().flatten().collect()
}

/// Tickers of a tile's lanes.
fn lanes(universe: &Universe, tile: usize) -> impl Iterator<Item = &str> {
    universe.symbols()[tile * WIDTH..].iter().take(WIDTH).map(Symbol::as_str)
}

/// A tile with the splits applied that were executed by the last session.
fn split_adjusted(
    raw: &Arc<Tile>,
    tile: usize,
    universe: &Universe,
    sessions: &[SessionDate],
    splits: &Splits,
) -> Arc<Tile> {
    let Some(last) = sessions.last() else { return raw.clone() };
    let symbols = &universe.symbols()[tile * WIDTH..];
    raw.scaled(sessions, true, |lane| splits.until(symbols[lane].as_str(), *last).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{BarKey, BlockBuilder, Provenance};
    use crate::port::Dividend;
    use crate::time::Timestamp;
    use crate::universe::Listing;

    fn universe(n: usize) -> Universe {
        let listings = (0..n).map(|i| Listing::new(Symbol::new(&format!("S{i:03}")).unwrap()));
        Universe::new("default", 1, Timestamp::default(), listings)
    }

    fn day(session: i32, prices: &[(usize, f64)]) -> Block {
        let mut builder = BlockBuilder::new(Timeframe::Day);
        for (symbol, p) in prices {
            builder.push(&format!("S{symbol:03}"), BarKey(session.into()), [*p, *p, *p, *p, 100.0, *p, 1.0]);
        }
        let provenance = Provenance { provider: "test".into(), fetched_at: Timestamp::default() };
        builder.finish(None, None, provenance).0
    }

    #[test]
    fn lanes_end_at_the_last_row_whatever_they_miss() {
        let sessions: Vec<_> = (10..14).map(SessionDate::from_days).collect();
        let blocks =
            [day(10, &[(0, 1.0), (40, 9.0)]), day(11, &[(0, 2.0), (1, 5.0)]), day(13, &[(0, 3.0), (1, 6.0)])];
        for threads in [1, 2, 7] {
            let (panel, raw) = Panel::build(&universe(41), &sessions, &blocks, &Splits::default(), threads);
            assert!(Arc::ptr_eq(&panel.tiles()[1], &raw.tiles()[1]), "no split, no second copy");
            let tile = &panel.tiles()[0];
            assert_eq!((tile.rows(), tile.bars()[0], tile.bars()[1], tile.bars()[2]), (3, 3, 2, 0));
            let close = tile.field(Field::Close);
            assert_eq!([close[0], close[32], close[64]], [1.0, 2.0, 3.0]);
            assert!(close[1].is_nan());
            assert_eq!([close[33], close[65]], [5.0, 6.0]);
            assert_eq!(panel.newest(SymbolId(0)), Some(SessionDate::from_days(13)));
            assert_eq!(panel.newest(SymbolId(40)), Some(SessionDate::from_days(10)));
            assert_eq!(panel.newest(SymbolId(2)), None);
            assert_eq!([0, 1, 2].map(|i| panel.span(SymbolId(i))), [4, 3, 0]);
            let series = panel.series(SymbolId(0), sessions[1], sessions[3]);
            assert_eq!(series.columns[Field::Close.index()], [2.0, 3.0]);
            assert_eq!(panel.total_bars(), 6);
        }
    }

    #[test]
    fn splits_apply_before_their_date_and_only_once_executed() {
        let sessions: Vec<_> = (10..13).map(SessionDate::from_days).collect();
        let blocks = [day(10, &[(0, 8.0)]), day(11, &[(0, 8.0)]), day(12, &[(0, 2.0)])];
        let symbol = Symbol::new("S000").unwrap();
        let split = |day, from, to| Split {
            symbol: symbol.clone(),
            execution: SessionDate::from_days(day),
            from,
            to,
        };
        let splits = Splits::new(&[split(12, 1.0, 4.0), split(12, 1.0, 4.0), split(99, 1.0, 2.0)]);
        let (panel, raw) = Panel::build(&universe(1), &sessions, &blocks, &splits, 1);
        let traded = raw.series(SymbolId(0), sessions[0], sessions[2]);
        assert_eq!(traded.columns[Field::Close.index()], [8.0, 8.0, 2.0]);
        let series = panel.series(SymbolId(0), sessions[0], sessions[2]);
        assert_eq!(series.columns[Field::Close.index()], [2.0, 2.0, 2.0]);
        assert_eq!(series.columns[Field::Volume.index()], [400.0, 400.0, 100.0]);
        let unsure = Splits::new(&[split(12, 1.0, 4.0), split(12, 1.0, 5.0)]);
        assert!(unsure.of("S000").is_empty());
        assert_eq!(unsure.suspicious().len(), 2);
    }

    #[test]
    fn a_new_split_changes_exactly_the_tiles_of_its_symbols() {
        let sessions: Vec<_> = (10..13).map(SessionDate::from_days).collect();
        let everyone: Vec<(usize, f64)> = (0..100).map(|i| (i, 8.0)).collect();
        let (blocks, universe) =
            ([day(10, &everyone), day(11, &everyone), day(12, &everyone)], universe(100));
        let split = |symbol: &str, day| Split {
            symbol: Symbol::new(symbol).unwrap(),
            execution: SessionDate::from_days(day),
            from: 1.0,
            to: 2.0,
        };
        let before = Splits::new(&[split("S001", 11)]);
        let after = Splits::new(&[split("S001", 11), split("S070", 12), split("S099", 13)]);
        let (panel, raw) = Panel::build(&universe, &sessions, &blocks, &before, 1);
        let moved = panel.resplit(&raw, &universe, &before, &after);
        let changed = |a: &Panel, b: &Panel| {
            let pairs = a.tiles().iter().zip(b.tiles());
            pairs.map(|(a, b)| !Arc::ptr_eq(a, b)).collect::<Vec<_>>()
        };
        assert_eq!(changed(&panel, &moved), [false, false, true, false], "S099 is not split yet");
        let (whole, _) = Panel::build(&universe, &sessions, &blocks, &after, 1);
        for id in universe.ids() {
            let closes =
                |p: &Panel| p.series(id, sessions[0], sessions[2]).columns[Field::Close.index()].clone();
            assert_eq!(closes(&moved), closes(&whole));
        }
        let paid = Dividend {
            symbol: Symbol::new("S001").unwrap(),
            ex_date: SessionDate::from_days(12),
            cash: 2.0,
            currency: None,
        };
        let total = moved.paid(&raw, &universe, &after, &Dividends::new(&[paid]), 2);
        assert_eq!(changed(&moved, &total), [true, false, false, false]);
        // 8 before the split of the 11th, 8 since; 2 of 8 paid on the 12th.
        let series = total.series(SymbolId(1), sessions[0], sessions[2]);
        assert_eq!(series.columns[Field::Close.index()], [3.0, 6.0, 8.0]);
        assert_eq!(series.columns[Field::Volume.index()], [200.0, 100.0, 100.0]);
    }
}
