//! The panel: every symbol's bars of one timeframe side by side, adjusted and ready to compute on.
//!
//! A tile holds [`WIDTH`] symbols as `[field][row][lane]`. Each lane's bars are packed without holes and end at
//! the last row, so that "the last n bars that the symbol has" is the last n rows for every lane at once: missing
//! sessions are skipped, not filled, and no kernel has to look for them. Rows above a lane's first bar are NaN.

use std::sync::{Arc, OnceLock};

use crate::bar::Field;
use crate::block::{BarKey, Block, WIDTH};
use crate::calendar::Calendar;
use crate::resample::period;
use crate::slab::Aligned;
use crate::symbol::{Symbol, SymbolId};
use crate::time::{SessionDate, Timeframe};
use crate::universe::Universe;

/// A share split: prices before `execution` are multiplied by `from / to`, volumes by `to / from`.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    /// The ticker it applies to.
    pub symbol: Symbol,
    /// First session at the new price level.
    pub execution: SessionDate,
    /// Shares before.
    pub from: f64,
    /// Shares after.
    pub to: f64,
}

/// The splits that are applied, by symbol. Equal repeats count once; of two that differ on one date neither is
/// applied, nor is a factor that is not finite and positive: those are kept as suspicious.
#[derive(Debug, Clone, Default)]
pub struct Splits {
    applied: std::collections::BTreeMap<Symbol, Vec<(SessionDate, f64)>>,
    suspicious: Vec<Split>,
}

impl Splits {
    /// Sorts out what a provider listed.
    #[must_use]
    pub fn new(listed: &[Split]) -> Self {
        let mut by_cell: std::collections::BTreeMap<(Symbol, SessionDate), Vec<&Split>> = Default::default();
        for split in listed {
            by_cell.entry((split.symbol.clone(), split.execution)).or_default().push(split);
        }
        let mut splits = Self::default();
        for ((symbol, execution), rows) in by_cell {
            let factor = rows[0].from / rows[0].to;
            let sound = rows.iter().all(|s| {
                s.from > 0.0
                    && s.to > 0.0
                    && s.from.is_finite()
                    && s.to.is_finite()
                    && s.from / s.to == factor
            });
            if !sound {
                splits.suspicious.extend(rows.into_iter().cloned());
            } else if factor != 1.0 {
                splits.applied.entry(symbol).or_default().push((execution, factor));
            }
        }
        splits
    }

    /// Price factors by execution date, ascending.
    #[must_use]
    pub fn of(&self, symbol: &str) -> &[(SessionDate, f64)] {
        self.applied.get(symbol).map_or(&[], Vec::as_slice)
    }

    /// What was listed and not applied.
    #[must_use]
    pub fn suspicious(&self) -> &[Split] {
        &self.suspicious
    }
}

/// Up to [`WIDTH`] symbols of a panel.
#[derive(Debug, Clone)]
pub struct Tile {
    rows: usize,
    bars: [u32; WIDTH],
    data: Aligned,
    session: Vec<u16>,
}

impl Tile {
    /// Rows: bars of its longest lane.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bars of each lane; they end at the last row.
    #[must_use]
    pub fn bars(&self) -> &[u32; WIDTH] {
        &self.bars
    }

    /// One field: `rows x WIDTH`, 64-byte aligned.
    #[must_use]
    pub fn field(&self, field: Field) -> &[f64] {
        let size = self.rows * WIDTH;
        &self.data.as_slice()[field.index() * size..][..size]
    }

    /// For each row and lane, the index of its session in [`Panel::sessions`]; meaningless above a lane's bars.
    #[must_use]
    pub fn session(&self) -> &[u16] {
        &self.session
    }
}

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
        let joined: Vec<Joined<'_>> =
            blocks.iter().filter_map(|b| Joined::new(b, universe, sessions)).collect();
        let count = universe.len().div_ceil(WIDTH);
        let make = |tile: usize| Tile::build(tile, universe, sessions, &joined, splits);
        let mut tiles: Vec<Option<(Arc<Tile>, Arc<Tile>)>> = vec![None; count];
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
        let (adjusted, raw) = tiles.into_iter().flatten().unzip();
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

/// A block with its symbols and rows placed on the panel's axes.
struct Joined<'a> {
    block: &'a Block,
    /// Symbol of the universe to symbol of the block; `u32::MAX` where the block has none.
    symbol: Vec<u32>,
    /// Row of the block, session of the panel.
    rows: Vec<(usize, usize)>,
    /// Universe ids that it holds, first and last.
    span: (usize, usize),
}

impl<'a> Joined<'a> {
    fn new(block: &'a Block, universe: &Universe, sessions: &[SessionDate]) -> Option<Self> {
        let row = |(r, key): (usize, &BarKey)| sessions.binary_search(&key.as_session()).ok().map(|s| (r, s));
        let rows: Vec<_> = block.rows().iter().enumerate().filter_map(row).collect();
        let mut symbol = vec![u32::MAX; universe.len()];
        let mut span = (usize::MAX, 0);
        let mut place = |theirs: usize, ours: usize| {
            symbol[ours] = u32::try_from(theirs).unwrap_or(u32::MAX);
            span = (span.0.min(ours), span.1.max(ours));
        };
        if block.symbols().len() * 16 < universe.len() {
            for (theirs, name) in block.symbols().iter().enumerate() {
                if let Some(ours) = universe.find(name.as_str()) {
                    place(theirs, ours.index());
                }
            }
        } else {
            let mut ours = universe.symbols().iter().enumerate().peekable();
            for (theirs, name) in block.symbols().iter().enumerate() {
                while ours.next_if(|(_, s)| *s < name).is_some() {}
                if let Some((id, _)) = ours.next_if(|(_, s)| *s == name) {
                    place(theirs, id);
                }
            }
        }
        (!rows.is_empty() && span.0 <= span.1).then_some(Self { block, symbol, rows, span })
    }
}

impl Tile {
    fn build(
        tile: usize,
        universe: &Universe,
        sessions: &[SessionDate],
        joined: &[Joined<'_>],
        splits: &Splits,
    ) -> (Arc<Self>, Arc<Self>) {
        let first = tile * WIDTH;
        let lanes = WIDTH.min(universe.len() - first);
        let mut grid = Aligned::filled(Field::COUNT * sessions.len() * WIDTH, f64::NAN);
        let size = sessions.len() * WIDTH;
        {
            let grid = grid.as_mut_slice();
            for part in joined.iter().filter(|p| p.span.0 < first + lanes && p.span.1 >= first) {
                let width = part.block.width();
                for lane in 0..lanes {
                    let theirs = part.symbol[first + lane];
                    if theirs == u32::MAX {
                        continue;
                    }
                    let columns = Field::ALL.map(|field| part.block.column(theirs as usize, field));
                    for (row, session) in &part.rows {
                        let from = row * width + columns[0].1;
                        if columns[Field::Close.index()].0[from].is_nan() {
                            continue;
                        }
                        for (field, column) in columns.iter().enumerate() {
                            grid[field * size + session * WIDTH + lane] = column.0[from];
                        }
                    }
                }
            }
        }
        let raw = Arc::new(Self::packed(&grid, sessions.len(), lanes));
        let Some(last) = sessions.last() else { return (raw.clone(), raw) };
        let mut adjusted = false;
        for lane in 0..lanes {
            let factors = splits.of(universe.symbols()[first + lane].as_str());
            if factors.iter().any(|(at, _)| at <= last) {
                adjust(grid.as_mut_slice(), sessions, lane, factors);
                adjusted = true;
            }
        }
        if adjusted {
            (Arc::new(Self::packed(&grid, sessions.len(), lanes)), raw)
        } else {
            (raw.clone(), raw)
        }
    }

    /// The bars of each lane that lie at one place joined to one; places from `count` on are left out.
    fn joined(&self, places: &[usize], count: usize) -> Self {
        let mut grid = Aligned::filled(Field::COUNT * count * WIDTH, f64::NAN);
        let out = grid.as_mut_slice();
        let mut put = |place: usize, lane: usize, values: &[f64; Field::COUNT]| {
            for (field, value) in values.iter().enumerate() {
                out[(field * count + place) * WIDTH + lane] = *value;
            }
        };
        for lane in 0..WIDTH {
            let mut at = usize::MAX;
            let mut bar = [f64::NAN; Field::COUNT];
            let mut weighted = f64::NAN;
            for row in self.rows - self.bars[lane] as usize..self.rows {
                let place = places[usize::from(self.session[row * WIDTH + lane])];
                if place >= count {
                    break;
                }
                let day: [f64; Field::COUNT] =
                    std::array::from_fn(|f| self.data.as_slice()[(f * self.rows + row) * WIDTH + lane]);
                let of = |field: Field| day[field.index()];
                if place == at {
                    let [high, low] = [Field::High, Field::Low].map(Field::index);
                    bar[high] = bar[high].max(day[high]);
                    bar[low] = bar[low].min(day[low]);
                    bar[Field::Close.index()] = of(Field::Close);
                    bar[Field::Volume.index()] += of(Field::Volume);
                    bar[Field::Trades.index()] += of(Field::Trades);
                    weighted += of(Field::Vwap) * of(Field::Volume);
                    let vwap = weighted / bar[Field::Volume.index()];
                    bar[Field::Vwap.index()] = if vwap.is_finite() { vwap } else { f64::NAN };
                } else {
                    at = place;
                    bar = day;
                    weighted = of(Field::Vwap) * of(Field::Volume);
                }
                put(place, lane, &bar);
            }
        }
        Self::packed(&grid, count, WIDTH)
    }

    /// Moves each lane's bars down to the last row, without holes.
    fn packed(grid: &Aligned, sessions: usize, lanes: usize) -> Self {
        let source = grid.as_slice();
        let size = sessions * WIDTH;
        let close = &source[Field::Close.index() * size..][..size];
        let mut bars = [0_u32; WIDTH];
        for row in close.chunks_exact(WIDTH) {
            for (count, value) in bars.iter_mut().zip(row).take(lanes) {
                *count += u32::from(!value.is_nan());
            }
        }
        let rows = bars.iter().copied().max().unwrap_or(0) as usize;
        let mut data = Aligned::filled(Field::COUNT * rows * WIDTH, f64::NAN);
        let mut session = vec![0_u16; rows * WIDTH];
        let out = data.as_mut_slice();
        for lane in 0..lanes {
            let mut to = rows - bars[lane] as usize;
            for from in 0..sessions {
                if close[from * WIDTH + lane].is_nan() {
                    continue;
                }
                session[to * WIDTH + lane] = u16::try_from(from).unwrap_or(u16::MAX);
                for field in 0..Field::COUNT {
                    out[(field * rows + to) * WIDTH + lane] = source[field * size + from * WIDTH + lane];
                }
                to += 1;
            }
        }
        Self { rows, bars, data, session }
    }
}

/// Applies to one lane of a grid the splits executed by its last session.
fn adjust(grid: &mut [f64], sessions: &[SessionDate], lane: usize, factors: &[(SessionDate, f64)]) {
    let Some(last) = sessions.last() else { return };
    let size = sessions.len() * WIDTH;
    let mut pending: Vec<&(SessionDate, f64)> = factors.iter().filter(|(at, _)| at <= last).collect();
    let mut factor = 1.0;
    for (row, session) in sessions.iter().enumerate().rev() {
        while let Some((at, f)) = pending.last()
            && at > session
        {
            factor *= f;
            pending.pop();
        }
        if factor != 1.0 {
            for field in Field::ALL {
                let at = field.index() * size + row * WIDTH + lane;
                if field.is_price() {
                    grid[at] *= factor;
                } else if field == Field::Volume {
                    grid[at] /= factor;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{BlockBuilder, Provenance};
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
}
