//! A block: bars as they were fetched and as they are stored, raw and immutable.
//!
//! Layout, in memory and on disk: `[tile][field][row][width]` of f64, little-endian on disk, every tile's field
//! starting on a 64-byte line. A tile holds `width` symbols side by side: [`WIDTH`] in a block of many symbols,
//! 1 in a block of one. A NaN close says "asked for, and no bar".

use std::collections::HashMap;
use std::sync::Arc;

use crate::bar::{Bar, BarFault, Field};
use crate::error::Error;
use crate::slab::{Aligned, SharedSlab};
use crate::symbol::Symbol;
use crate::time::{SessionDate, Timeframe, Timestamp};

/// Symbols side by side in a tile: four AVX-512 registers of f64, one warp of a GPU.
pub const WIDTH: usize = 32;

/// The row key of a bar: a session's day number for daily and longer bars, the start in milliseconds UTC for
/// intraday ones. A provider's own stamp is never a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BarKey(pub i64);

impl BarKey {
    /// The key of a daily bar.
    #[must_use]
    pub fn session(date: SessionDate) -> Self {
        Self(i64::from(date.days()))
    }

    /// The key of an intraday bar.
    #[must_use]
    pub fn start(at: Timestamp) -> Self {
        Self(at.as_millis())
    }

    /// The session of a daily key.
    #[must_use]
    pub fn as_session(self) -> SessionDate {
        SessionDate::from_days(i32::try_from(self.0).unwrap_or(i32::MAX))
    }

    /// The start of an intraday key.
    #[must_use]
    pub fn as_start(self) -> Timestamp {
        Timestamp::from_millis(self.0)
    }
}

/// Where bars came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// The provider's name, e.g. `polygon`.
    pub provider: Arc<str>,
    /// When the last of the calls was answered.
    pub fetched_at: Timestamp,
}

/// Raw bars of some symbols over some rows.
#[derive(Debug, Clone)]
pub struct Block {
    timeframe: Timeframe,
    symbols: Arc<[Symbol]>,
    rows: Arc<[BarKey]>,
    width: usize,
    data: SharedSlab,
    provenance: Provenance,
}

impl Block {
    /// Puts a block together from its parts, as a store does with a mapped file.
    ///
    /// # Errors
    ///
    /// [`Error::Inconsistent`] when symbols or rows are not ascending and distinct, when there are too many for
    /// the width, or when the slab has not exactly [`Block::floats`] numbers.
    pub fn from_parts(
        timeframe: Timeframe,
        symbols: Arc<[Symbol]>,
        rows: Arc<[BarKey]>,
        width: usize,
        data: SharedSlab,
        provenance: Provenance,
    ) -> Result<Self, Error> {
        if !symbols.windows(2).all(|w| w[0] < w[1]) {
            return Err(Error::inconsistent("the symbols of a block are not ascending and distinct"));
        }
        if !rows.windows(2).all(|w| w[0] < w[1]) {
            return Err(Error::inconsistent("the rows of a block are not ascending and distinct"));
        }
        if width != 1 && width != WIDTH {
            return Err(Error::inconsistent(format!("a block is {width} symbols wide; 1 and {WIDTH} exist")));
        }
        let expected = Self::floats(symbols.len(), rows.len(), width);
        if data.floats().len() != expected {
            return Err(Error::inconsistent(format!(
                "a block of {} symbols x {} rows needs {expected} numbers and has {}",
                symbols.len(),
                rows.len(),
                data.floats().len()
            )));
        }
        Ok(Self { timeframe, symbols, rows, width, data, provenance })
    }

    /// Numbers that a block of this shape has. The row count of a one-symbol block is rounded up to a full line
    /// so that each field starts on one.
    #[must_use]
    pub fn floats(symbols: usize, rows: usize, width: usize) -> usize {
        symbols.div_ceil(width.max(1)) * Field::COUNT * Self::stride(rows, width)
    }

    /// Numbers from one field of a tile to the next.
    #[must_use]
    pub fn stride(rows: usize, width: usize) -> usize {
        (rows * width).next_multiple_of(8)
    }

    /// The interval of its bars.
    #[must_use]
    pub fn timeframe(&self) -> Timeframe {
        self.timeframe
    }

    /// Its symbols, ascending.
    #[must_use]
    pub fn symbols(&self) -> &Arc<[Symbol]> {
        &self.symbols
    }

    /// Its row keys, ascending.
    #[must_use]
    pub fn rows(&self) -> &Arc<[BarKey]> {
        &self.rows
    }

    /// Symbols per tile: 1 or [`WIDTH`].
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Where it came from.
    #[must_use]
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// All numbers, in layout order.
    #[must_use]
    pub fn data(&self) -> &[f64] {
        self.data.floats()
    }

    /// Says that its numbers are not needed for now. Mapped ones are given back to the system and read again when they
    /// are needed; others stay.
    pub fn release(&self) {
        self.data.release();
    }

    /// Bytes of its numbers.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(self.data())
    }

    /// One field of one symbol's tile: `rows x width` numbers, row after row, and the symbol's lane in it.
    #[must_use]
    pub fn column(&self, symbol: usize, field: Field) -> (&[f64], usize) {
        let stride = Self::stride(self.rows.len(), self.width);
        let at = (symbol / self.width * Field::COUNT + field.index()) * stride;
        (&self.data()[at..at + self.rows.len() * self.width], symbol % self.width)
    }

    /// One number.
    #[must_use]
    pub fn get(&self, symbol: usize, row: usize, field: Field) -> f64 {
        let (column, lane) = self.column(symbol, field);
        column[row * self.width + lane]
    }

    /// The bar of a symbol at a row, if there was one.
    #[must_use]
    pub fn bar(&self, symbol: usize, row: usize) -> Option<Bar> {
        Bar::new(Field::ALL.map(|field| self.get(symbol, row, field))).ok()
    }

    /// Bars in it.
    #[must_use]
    pub fn count_bars(&self) -> usize {
        (0..self.symbols.len())
            .map(|symbol| {
                let (close, lane) = self.column(symbol, Field::Close);
                close.iter().skip(lane).step_by(self.width).filter(|v| !v.is_nan()).count()
            })
            .sum()
    }
}

/// A bar that was refused, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// The symbol as text; a bad one is shortened and escaped.
    pub symbol: String,
    /// Its row.
    pub key: BarKey,
    /// What is wrong.
    pub fault: BarFault,
}

/// Collects decoded bars in any order and lays them out as a [`Block`]. Equal repeats are kept once; two
/// different bars for one cell are both quarantined.
#[derive(Debug)]
pub struct BlockBuilder {
    timeframe: Timeframe,
    symbols: Vec<Symbol>,
    by_symbol: HashMap<Symbol, u32>,
    cells: Vec<(u32, BarKey, Bar)>,
    quarantined: Vec<Quarantined>,
}

impl BlockBuilder {
    /// An empty one.
    #[must_use]
    pub fn new(timeframe: Timeframe) -> Self {
        Self {
            timeframe,
            symbols: Vec::new(),
            by_symbol: HashMap::new(),
            cells: Vec::new(),
            quarantined: Vec::new(),
        }
    }

    /// Makes room for so many more bars.
    pub fn reserve(&mut self, bars: usize) {
        self.cells.reserve(bars);
    }

    /// Adds the bar of `symbol` at `key`.
    pub fn push(&mut self, symbol: &str, key: BarKey, values: [f64; Field::COUNT]) {
        let bar = match Bar::new(values) {
            Ok(bar) => bar,
            Err(fault) => return self.quarantine(symbol, key, fault),
        };
        // Files come sorted by symbol, so that the symbol of the row before is the likely one.
        let before = self.cells.last().map(|(id, _, _)| *id);
        let id = match before.filter(|id| self.symbols[*id as usize].as_str() == symbol) {
            Some(id) => Some(id),
            None => self.by_symbol.get(symbol).copied(),
        };
        let id = match id {
            Some(id) => id,
            None => match Symbol::new(symbol) {
                Ok(new) => {
                    let id = u32::try_from(self.symbols.len()).unwrap_or(u32::MAX);
                    self.symbols.push(new.clone());
                    self.by_symbol.insert(new, id);
                    id
                }
                Err(_) => return self.quarantine(symbol, key, BarFault::BadSymbol),
            },
        };
        self.cells.push((id, key, bar));
    }

    /// Records a row that cannot be a bar.
    pub fn quarantine(&mut self, symbol: &str, key: BarKey, fault: BarFault) {
        self.quarantined.push(Quarantined { symbol: crate::error::shortened(symbol), key, fault });
    }

    /// Distinct symbols so far.
    #[must_use]
    pub fn symbols(&self) -> usize {
        self.symbols.len()
    }

    /// Bars so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether there is no bar yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Lays the block out over `rows` (the keys that were asked for; `None`: the keys that came) and `symbols`
    /// (those asked for; `None`: those that came). Bars outside of either are quarantined as foreign.
    #[must_use]
    pub fn finish(
        mut self,
        symbols: Option<&[Symbol]>,
        rows: Option<&[BarKey]>,
        provenance: Provenance,
    ) -> (Block, Vec<Quarantined>) {
        let order: Arc<[Symbol]> = {
            let mut order = symbols.map_or_else(|| self.symbols.clone(), <[Symbol]>::to_vec);
            order.sort_unstable();
            order.dedup();
            order.into()
        };
        let keys: Arc<[BarKey]> = {
            let mut keys =
                rows.map_or_else(|| self.cells.iter().map(|(_, key, _)| *key).collect(), <[BarKey]>::to_vec);
            keys.sort_unstable();
            keys.dedup();
            keys.into()
        };
        let place: Vec<Option<usize>> = self.symbols.iter().map(|s| order.binary_search(s).ok()).collect();
        let width = if order.len() == 1 { 1 } else { WIDTH };
        let stride = Block::stride(keys.len(), width);
        let mut data = Aligned::filled(Block::floats(order.len(), keys.len(), width), f64::NAN);
        let floats = data.as_mut_slice();
        let cells = std::mem::take(&mut self.cells);
        let mut conflicts: Vec<(usize, usize, u32, BarKey)> = Vec::new();
        // Bars come in order as a rule, so that the row behind the one before is the likely one.
        let mut likely = 0;
        for (id, key, bar) in cells {
            let row = if keys.get(likely) == Some(&key) { Ok(likely) } else { keys.binary_search(&key) };
            let (Some(symbol), Ok(row)) = (place[id as usize], row) else {
                let name = self.symbols[id as usize].clone();
                self.quarantine(name.as_str(), key, BarFault::Foreign);
                continue;
            };
            likely = row + 1;
            let at = |field: Field| {
                (symbol / width * Field::COUNT + field.index()) * stride + row * width + symbol % width
            };
            if floats[at(Field::Close)].is_nan() {
                for field in Field::ALL {
                    floats[at(field)] = bar.get(field);
                }
            } else if Field::ALL.iter().any(|f| floats[at(*f)].to_bits() != bar.get(*f).to_bits()) {
                conflicts.push((symbol, row, id, key));
            }
        }
        for (symbol, row, id, key) in conflicts {
            for field in Field::ALL {
                let at =
                    (symbol / width * Field::COUNT + field.index()) * stride + row * width + symbol % width;
                floats[at] = f64::NAN;
            }
            let name = self.symbols[id as usize].clone();
            self.quarantine(name.as_str(), key, BarFault::Conflicting);
        }
        let block = Block {
            timeframe: self.timeframe,
            symbols: order,
            rows: keys,
            width,
            data: Arc::new(data),
            provenance,
        };
        (block, self.quarantined)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provenance() -> Provenance {
        Provenance { provider: Arc::from("test"), fetched_at: Timestamp::from_seconds(0) }
    }

    fn bar(price: f64) -> [f64; 7] {
        [price, price, price, price, 100.0, f64::NAN, 3.0]
    }

    #[test]
    fn lays_out_many_symbols_in_tiles() {
        let mut builder = BlockBuilder::new(Timeframe::Day);
        for i in (0..70).rev() {
            builder.push(&format!("S{i:03}"), BarKey(5), bar(f64::from(i) + 1.0));
        }
        let (block, bad) = builder.finish(None, None, provenance());
        assert!(bad.is_empty());
        assert_eq!((block.width(), block.symbols().len(), block.count_bars()), (WIDTH, 70, 70));
        assert_eq!(block.data().len(), 3 * Field::COUNT * WIDTH);
        for i in 0..70 {
            assert_eq!(block.get(i, 0, Field::Close), i as f64 + 1.0);
            assert!(block.get(i, 0, Field::Vwap).is_nan());
        }
    }

    #[test]
    fn repeats_are_kept_once_and_conflicts_not_at_all() {
        let mut builder = BlockBuilder::new(Timeframe::Day);
        builder.push("A", BarKey(1), bar(1.0));
        builder.push("A", BarKey(1), bar(1.0));
        builder.push("A", BarKey(2), bar(1.0));
        builder.push("A", BarKey(2), bar(2.0));
        builder.push("B", BarKey(1), bar(1.0));
        builder.push("A", BarKey(9), bar(1.0));
        builder.push("A\0", BarKey(1), bar(1.0));
        let rows: Vec<BarKey> = (1..=3).map(BarKey).collect();
        let only = [Symbol::new("A").unwrap()];
        let (block, bad) = builder.finish(Some(&only), Some(&rows), provenance());
        assert_eq!((block.width(), block.count_bars()), (1, 1));
        assert!(block.bar(0, 0).is_some() && block.bar(0, 1).is_none() && block.bar(0, 2).is_none());
        let faults: Vec<BarFault> = bad.iter().map(|q| q.fault).collect();
        assert_eq!(
            faults,
            [BarFault::BadSymbol, BarFault::Foreign, BarFault::Foreign, BarFault::Conflicting]
        );
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let symbols: Arc<[Symbol]> = Arc::from([Symbol::new("A").unwrap()]);
        let rows: Arc<[BarKey]> = Arc::from([BarKey(1)]);
        let wrong = Arc::new(Aligned::filled(3, 0.0));
        assert!(Block::from_parts(Timeframe::Day, symbols, rows, 1, wrong, provenance()).is_err());
    }
}
