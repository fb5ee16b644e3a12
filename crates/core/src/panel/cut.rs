//! Part of a panel: the bars between two of its sessions, packed as a panel of those sessions alone holds them, so
//! that what is computed on them is to the bit what was computed when the later one was the newest.
//!
//! Not here: which sessions, and what is computed.

use std::sync::Arc;

use super::{Panel, Tile, each, split_adjusted};
use crate::bar::Field;
use crate::block::WIDTH;
use crate::slab::Aligned;
use crate::split::Splits;
use crate::symbol::SymbolId;
use crate::time::SessionDate;
use crate::universe::Universe;

/// The rows of a tile that lie between two sessions, lane by lane.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bounds {
    /// First row of each lane.
    from: [u32; WIDTH],
    /// The row after the last of each lane.
    until: [u32; WIDTH],
}

impl Bounds {
    /// The row after the last of a lane.
    #[must_use]
    pub fn until(&self, lane: usize) -> usize {
        self.until[lane] as usize
    }

    /// Bars of a lane.
    #[must_use]
    pub fn bars(&self, lane: usize) -> usize {
        (self.until[lane] - self.from[lane]) as usize
    }
}

/// How many of the last rows are read of each field, and of the sessions that the rows are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reads {
    /// By [`Field`].
    pub fields: [usize; Field::COUNT],
    /// Of the sessions.
    pub sessions: usize,
}

impl Reads {
    /// Every row of everything.
    pub const ALL: Self = Self { fields: [usize::MAX; Field::COUNT], sessions: usize::MAX };
    /// Nothing.
    pub const NONE: Self = Self { fields: [0; Field::COUNT], sessions: 0 };
}

impl Default for Tile {
    /// A tile without a bar: room for [`Tile::cut`].
    fn default() -> Self {
        Self { rows: 0, bars: [0; WIDTH], data: Aligned::filled(0, f64::NAN), session: Vec::new() }
    }
}

impl Tile {
    /// Session of a row, as an index.
    fn at(&self, row: usize, lane: usize) -> usize {
        usize::from(self.session[row * WIDTH + lane])
    }

    /// First row of a lane.
    fn first(&self, lane: usize) -> usize {
        self.rows - self.bars[lane] as usize
    }

    /// The row of a lane's first bar at session `session` or later.
    fn row_at(&self, lane: usize, session: usize, guess: Option<usize>) -> usize {
        let first = self.first(lane);
        // Without a gap the row follows from another one, and sessions only ascend.
        if let Some(row) = guess.filter(|row| *row >= first && *row < self.rows)
            && self.at(row, lane) == session
        {
            return row;
        }
        let (mut low, mut high) = (first, self.rows);
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.at(middle, lane) < session {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The rows between the sessions `from` and `to`, both included, of a panel of `sessions` sessions.
    #[must_use]
    pub fn bounds(&self, from: usize, to: usize, sessions: usize) -> Bounds {
        let mut bounds = Bounds::default();
        for lane in 0..WIDTH {
            let until = match to + 1 >= sessions {
                true => self.rows,
                false => self.row_at(lane, to + 1, (self.rows + to + 1).checked_sub(sessions)),
            };
            let start = self.row_at(lane, from, (until + from).checked_sub(to + 1)).min(until);
            bounds.from[lane] = u32::try_from(start).unwrap_or(u32::MAX);
            bounds.until[lane] = u32::try_from(until).unwrap_or(u32::MAX);
        }
        bounds
    }

    /// For each session from `first` to `to` how many of a lane's bars before `until` lie after it; `to` is the
    /// session that `until` was found for.
    pub fn later(
        &self,
        lane: usize,
        until: usize,
        first: usize,
        to: usize,
        mut each: impl FnMut(usize, usize),
    ) {
        let start = self.first(lane);
        let mut row = until;
        for session in (first..=to).rev() {
            while row > start && self.at(row - 1, lane) > session {
                row -= 1;
            }
            each(session, until - row);
        }
    }

    /// Whether a lane has a bar at every session from `first` to `to`; `until` is the row after that of `to`.
    #[must_use]
    pub fn is_unbroken(&self, lane: usize, until: usize, first: usize, to: usize) -> bool {
        let there = |row: usize, session| row >= self.first(lane) && self.at(row, lane) == session;
        let last = until.checked_sub(1).is_some_and(|row| there(row, to));
        last && (until + first).checked_sub(to + 1).is_some_and(|row| there(row, first))
    }

    /// Copies the rows within `bounds` into `into`, with the session `base` as the first. Of what `reads` leaves out
    /// there is room and no value.
    pub fn cut(&self, bounds: &Bounds, base: usize, reads: &Reads, into: &mut Self) {
        let fullest = (0..WIDTH).max_by_key(|lane| bounds.bars(*lane)).unwrap_or(0);
        let (rows, common) = (bounds.bars(fullest), bounds.until(fullest));
        into.rows = rows;
        into.bars = std::array::from_fn(|lane| bounds.until[lane] - bounds.from[lane]);
        if into.data.as_slice().len() < Field::COUNT * rows * WIDTH {
            into.data = Aligned::filled(Field::COUNT * rows * WIDTH, f64::NAN);
        }
        for field in Field::ALL {
            let count = reads.fields[field.index()].min(rows);
            if count == 0 {
                continue;
            }
            let source = self.field(field);
            let size = rows * WIDTH;
            let out = &mut into.data.as_mut_slice()[field.index() * size..][..size][(rows - count) * WIDTH..];
            out.copy_from_slice(&source[(common - count) * WIDTH..common * WIDTH]);
            for lane in (0..WIDTH).filter(|lane| self.bars[*lane] > 0) {
                let (bars, until) = (bounds.bars(lane), bounds.until(lane));
                let kept = bars.min(count);
                if until != common {
                    let from = source[(until - kept) * WIDTH..].iter().skip(lane).step_by(WIDTH);
                    let to = out[(count - kept) * WIDTH..].iter_mut().skip(lane).step_by(WIDTH);
                    to.zip(from).for_each(|(to, from)| *to = *from);
                } else if bounds.from[lane] as usize == self.first(lane) {
                    // Nothing stands above its first bar.
                    continue;
                }
                let above = out[..(count - kept) * WIDTH].iter_mut().skip(lane).step_by(WIDTH);
                above.for_each(|value| *value = f64::NAN);
            }
        }
        let count = reads.sessions.min(rows);
        into.session.clear();
        into.session.resize(rows * WIDTH, 0);
        if count > 0 {
            let base = u16::try_from(base).unwrap_or(u16::MAX);
            for lane in 0..WIDTH {
                let (until, kept) = (bounds.until(lane), bounds.bars(lane).min(count));
                let from = self.session[(until - kept) * WIDTH..].iter().skip(lane).step_by(WIDTH);
                let to = into.session[(rows - kept) * WIDTH..].iter_mut().skip(lane).step_by(WIDTH);
                to.zip(from).for_each(|(to, from)| *to = from - base);
            }
        }
    }

    /// Multiplies a cut lane's prices before each date by its factor, in the rows that were read; with `shares` its
    /// volumes are divided by it. `sessions` begin with the cut's base.
    pub fn adjust(
        &mut self,
        sessions: &[SessionDate],
        lane: usize,
        shares: bool,
        factors: &[(SessionDate, f64)],
        reads: &Reads,
    ) {
        self.scale_rows(sessions, lane, shares, factors, &reads.fields);
    }
}

impl Panel {
    /// The bars of `self`, which are as they traded, between two of its sessions, both included: adjusted for the
    /// splits executed by the last of them, and raw.
    #[must_use]
    pub fn between(
        &self,
        from: usize,
        to: usize,
        universe: &Universe,
        splits: &Splits,
        threads: usize,
    ) -> (Self, Self) {
        let sessions: Arc<[SessionDate]> = self.sessions[from..=to].into();
        let make = |index: usize| {
            let tile = &self.tiles[index];
            let mut raw = Tile::default();
            tile.cut(&tile.bounds(from, to, self.sessions.len()), from, &Reads::ALL, &mut raw);
            let raw = Arc::new(raw);
            (split_adjusted(&raw, index, universe, &sessions, splits), raw)
        };
        let (adjusted, raw) = each(self.tiles.len(), threads, make).into_iter().unzip();
        let panel = |tiles: Vec<Arc<Tile>>| {
            let mut bars: Vec<u32> = tiles.iter().flat_map(|tile| tile.bars).collect();
            bars.truncate(self.bars.len());
            Self {
                timeframe: self.timeframe,
                sessions: sessions.clone(),
                bars,
                tiles,
                longer: Arc::default(),
            }
        };
        (panel(adjusted), panel(raw))
    }

    /// A panel of which only its newest session and the count of each symbol's bars is known: enough for what comes
    /// after the bars.
    #[must_use]
    pub fn outline(newest: SessionDate, bars: Vec<u32>) -> Self {
        Self {
            timeframe: crate::time::Timeframe::Day,
            sessions: Arc::new([newest]),
            bars,
            tiles: Vec::new(),
            longer: Arc::default(),
        }
    }

    /// Where a symbol's bars lie: its tile and its lane there.
    #[must_use]
    pub fn place(&self, id: SymbolId) -> Option<(&Arc<Tile>, usize)> {
        Some((self.tiles.get(id.index() / WIDTH)?, id.index() % WIDTH))
    }
}
