//! A tile: the bars of [`WIDTH`] symbols, packed, and the same bars under an adjustment.
//!
//! Not here: by which factors they are adjusted.

use std::borrow::Cow;
use std::sync::Arc;

use super::joined::Joined;
use crate::bar::Field;
use crate::block::WIDTH;
use crate::life::Histories;
use crate::slab::Aligned;
use crate::time::SessionDate;
use crate::universe::Universe;

/// Up to [`WIDTH`] symbols of a panel.
#[derive(Debug, Clone)]
pub struct Tile {
    pub(super) rows: usize,
    pub(super) bars: [u32; WIDTH],
    pub(super) data: Aligned,
    pub(super) session: Vec<u16>,
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

    /// For each row and lane, the index of its session in [`Panel::sessions`](super::Panel::sessions); meaningless above a lane's bars.
    #[must_use]
    pub fn session(&self) -> &[u16] {
        &self.session
    }
}

impl Tile {
    pub(super) fn build(
        tile: usize,
        universe: &Universe,
        sessions: &[SessionDate],
        joined: &[Joined<'_>],
        histories: &Histories,
    ) -> Self {
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
        for id in histories.ids().filter(|id| (first..first + lanes).contains(&id.index())) {
            let lane = id.index() - first;
            for (stretch, part) in histories.laid(id).flat_map(|s| joined.iter().map(move |part| (s, part))) {
                let Some((theirs, rows)) = part.within(stretch, sessions) else { continue };
                for (row, session) in rows {
                    let Some(bar) = part.block.bar(theirs, row) else { continue };
                    for (field, value) in bar.values().iter().enumerate() {
                        grid.as_mut_slice()[field * size + session * WIDTH + lane] = *value;
                    }
                }
            }
        }
        Self::packed(&grid, sessions.len(), lanes)
    }

    /// The same with each lane's bars before a date multiplied by the date's factor; itself where there is none.
    /// With `shares`, volumes are divided by it.
    pub(super) fn scaled<'a>(
        self: &Arc<Self>,
        sessions: &[SessionDate],
        shares: bool,
        factors: impl Fn(usize) -> Cow<'a, [(SessionDate, f64)]>,
    ) -> Arc<Self> {
        let mut scaled: Option<Self> = None;
        for lane in (0..WIDTH).filter(|lane| self.bars[*lane] > 0) {
            let factors = factors(lane);
            if !factors.is_empty() {
                scaled.get_or_insert_with(|| Self::clone(self)).scale(sessions, lane, shares, &factors);
            }
        }
        scaled.map_or_else(|| self.clone(), Arc::new)
    }

    fn scale(&mut self, sessions: &[SessionDate], lane: usize, shares: bool, factors: &[(SessionDate, f64)]) {
        self.scale_rows(sessions, lane, shares, factors, &[usize::MAX; Field::COUNT]);
    }

    /// The same for the last `rows` of each field.
    pub(super) fn scale_rows(
        &mut self,
        sessions: &[SessionDate],
        lane: usize,
        shares: bool,
        factors: &[(SessionDate, f64)],
        rows: &[usize; Field::COUNT],
    ) {
        let size = self.rows * WIDTH;
        let mut pending = factors;
        let mut factor = 1.0;
        let data = self.data.as_mut_slice();
        let most = rows.iter().copied().max().unwrap_or(0);
        for row in (self.rows - self.bars[lane] as usize..self.rows).rev().take(most) {
            let session = sessions[usize::from(self.session[row * WIDTH + lane])];
            while let Some(((at, next), rest)) = pending.split_last()
                && *at > session
            {
                factor *= next;
                pending = rest;
            }
            if factor == 1.0 {
                continue;
            }
            for field in Field::ALL {
                if self.rows - row > rows[field.index()] {
                    continue;
                }
                let at = field.index() * size + row * WIDTH + lane;
                if field.is_price() {
                    data[at] *= factor;
                } else if shares && field == Field::Volume {
                    data[at] /= factor;
                }
            }
        }
    }

    /// Session and value of a lane's bars in one field, ascending.
    pub fn lane<'a>(
        &'a self,
        sessions: &'a [SessionDate],
        lane: usize,
        field: Field,
    ) -> impl Iterator<Item = (SessionDate, f64)> + 'a {
        let values = self.field(field);
        (self.rows - self.bars[lane] as usize..self.rows).map(move |row| {
            let at = row * WIDTH + lane;
            (sessions[usize::from(self.session[at])], values[at])
        })
    }

    /// The bars of each lane that lie at one place joined to one; places from `count` on are left out.
    pub(super) fn joined(&self, places: &[usize], count: usize) -> Self {
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
