//! Runs a program on one tile: node after node over 32 symbols at once, rows in scratch that is kept from tile to
//! tile. Nothing is allocated per symbol, and per tile only when a tile has more rows than any before it.

use panscan_core::bar::Field;
use panscan_core::block::WIDTH;
use panscan_core::panel::Tile;
use panscan_core::plan::Binary;

use crate::lanes::{Line, Row, View, grow, rows, rows_mut};
use crate::program::{Action, Program, Step};
use crate::simd::{Isa, prefetch};
use crate::{beside, element, recursive, window};

/// Rows that are asked for ahead of their tile.
const AHEAD: usize = 32;

/// Where the rows of a node lie; the last of them belongs to the tile's last row.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    base: Base,
    start: usize,
    len: usize,
    /// 0 where the one row stands for all.
    step: usize,
    /// Whether it holds no null from a lane's first bar on.
    dense: bool,
}

#[derive(Debug, Clone, Copy, Default)]
enum Base {
    #[default]
    Nothing,
    Constant(usize),
    Attribute(usize),
    Field(Field),
    Slot(usize),
}

/// What a thread keeps between tiles and scans.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    slots: Vec<Vec<Line>>,
    places: Vec<Place>,
    /// Per node that is a `coalesce`, whether its second input is needed on this tile; unknown at first.
    needed: Vec<Option<bool>>,
    /// Room for part of a tile.
    pub(crate) cut: Tile,
}

/// A tile with the program that runs on it.
struct Run<'a> {
    isa: Isa,
    program: &'a Program,
    tile: &'a Tile,
    /// Its place in the panel.
    index: usize,
    /// Bars of its shortest lane.
    shortest: usize,
}

/// Computes every root's last rows on a tile; `out` gets them by root, some of which may not be finite. A tile without
/// a bar gives nulls.
pub(crate) fn run(
    isa: Isa,
    program: &Program,
    tile: &Tile,
    index: usize,
    scratch: &mut Scratch,
    mut out: impl FnMut(usize, &[Row]),
) {
    if tile.rows() == 0 {
        for root in 0..program.roots {
            out(root, &[[f64::NAN; WIDTH]]);
        }
        return;
    }
    let shortest = tile.bars().iter().copied().min().unwrap_or(0) as usize;
    let run = Run { isa, program, tile, index, shortest };
    scratch.prepare(program, tile.rows());
    for step in &program.steps {
        if step.guard.is_some_and(|guard| !run.is_needed(guard, scratch)) {
            continue;
        }
        run.step(step, scratch);
        if let Some(root) = step.root {
            let place = scratch.places[step.node];
            out(root, run.rows(place, &scratch.slots));
        }
    }
}

/// Asks for the rows of a tile that a program will read. Whole columns are long enough for the processor to see
/// where they go after their first rows.
pub(crate) fn announce(program: &Program, tile: &Tile) {
    let rows = tile.rows();
    for step in &program.steps {
        if let Action::Field(field) = step.action
            && step.guard.is_none()
        {
            let all = tile.field(field).as_chunks::<WIDTH>().0;
            let from = rows - step.need.min(rows);
            let to = rows.min(from.saturating_add(AHEAD));
            prefetch(&all[from..to]);
        }
    }
}

impl Scratch {
    fn prepare(&mut self, program: &Program, rows: usize) {
        self.places.clear();
        self.places.resize(program.at.len(), Place::default());
        self.needed.clear();
        self.needed.resize(program.at.len(), None);
        if self.slots.len() < program.slots.len() {
            self.slots.resize_with(program.slots.len(), Vec::new);
        }
        for (slot, need) in self.slots.iter_mut().zip(&program.slots) {
            grow(slot, rows.min(*need));
        }
    }
}

impl<'a> Run<'a> {
    fn rows<'s>(&self, place: Place, slots: &'s [Vec<Line>]) -> &'s [Row]
    where
        'a: 's,
    {
        let all = match place.base {
            Base::Nothing => &[],
            Base::Constant(at) => std::slice::from_ref(&self.program.constants[at]),
            Base::Attribute(at) => {
                self.program.attributes[at][self.index * WIDTH..][..WIDTH].as_chunks::<WIDTH>().0
            }
            Base::Field(field) => self.tile.field(field).as_chunks::<WIDTH>().0,
            Base::Slot(slot) => rows(&slots[slot]),
        };
        &all[place.start..place.start + place.len]
    }

    /// The last `want` rows of an element-wise input.
    fn view<'s>(&self, node: usize, want: usize, scratch: &'s Scratch) -> View<'s>
    where
        'a: 's,
    {
        let place = scratch.places[node];
        let rows = self.rows(place, &scratch.slots);
        if place.step == 0 {
            View { rows, step: 0 }
        } else {
            View { rows: &rows[rows.len() - want..], step: 1 }
        }
    }

    fn step(&self, step: &Step, scratch: &mut Scratch) {
        let count = self.tile.rows();
        let want = step.need.min(count);
        let single = |base| Place { base, start: 0, len: 1, step: 0, dense: false };
        scratch.places[step.node] = match step.action {
            Action::Constant(at) => single(Base::Constant(at)),
            Action::Attribute(at) => single(Base::Attribute(at)),
            Action::Field(field) => {
                let dense = !matches!(field, Field::Vwap | Field::Trades);
                Place { base: Base::Field(field), start: count - want, len: want, step: 1, dense }
            }
            Action::Lag(k, input) => self.lag(step, k, scratch.places[input], want, scratch),
            Action::Binary(Binary::Coalesce, a, _) if !self.is_needed(step.node, scratch) => {
                let place = scratch.places[a];
                Place { start: place.start + place.len - want, len: want, ..place }
            }
            _ => {
                let mut lines = std::mem::take(&mut scratch.slots[step.slot]);
                let out = &mut rows_mut(&mut lines)[..want];
                self.compute(step, out, scratch);
                if step.fills && self.shortest < want {
                    self.clear_above_first_bar(out);
                }
                scratch.slots[step.slot] = lines;
                let repeat = usize::from(!step.single);
                Place { base: Base::Slot(step.slot), start: 0, len: want, step: repeat, dense: false }
            }
        };
    }

    /// Whether the `coalesce` at `node` has to look at its second input: where its first input has a null among the
    /// rows that are read. Without one it is its first input.
    fn is_needed(&self, node: usize, scratch: &mut Scratch) -> bool {
        if let Some(needed) = scratch.needed[node] {
            return needed;
        }
        let step = &self.program.steps[self.program.at[node]];
        let read = step.guard.is_none_or(|guard| self.is_needed(guard, scratch));
        let needed = read
            && match step.action {
                Action::Binary(_, a, _) if scratch.places[a].step == 1 => {
                    let want = step.need.min(self.tile.rows());
                    element::has_null(self.isa, self.view(a, want, scratch), want)
                }
                _ => true,
            };
        scratch.needed[node] = Some(needed);
        needed
    }

    fn compute(&self, step: &Step, out: &mut [Row], scratch: &Scratch) {
        let want = out.len();
        match step.action {
            Action::Unary(op, a) => element::unary(self.isa, op, self.view(a, want, scratch), out),
            Action::Binary(op, a, b) => {
                let (a, b) = (self.view(a, want, scratch), self.view(b, want, scratch));
                element::binary(self.isa, op, a, b, out);
            }
            Action::Round(digits, a) => {
                element::round(self.isa, digits, self.view(a, want, scratch), out);
            }
            Action::Choose(a, b, c) => {
                let condition = self.view(a, want, scratch);
                let (then, otherwise) = (self.view(b, want, scratch), self.view(c, want, scratch));
                element::choose(self.isa, condition, then, otherwise, out);
            }
            Action::Window(op, n, input) => {
                window::window(self.isa, op, n, self.rows(scratch.places[input], &scratch.slots), out);
            }
            Action::Quantile(q, n, input) => {
                window::quantile(q, n, self.rows(scratch.places[input], &scratch.slots), out);
            }
            Action::Pair(op, n, a, b) => {
                let rows = |node: usize| self.rows(scratch.places[node], &scratch.slots);
                window::pair(self.isa, op, n, rows(a), rows(b), out);
            }
            Action::Benchmark(at) => beside::align(self.tile, &self.program.benchmarks[at], out),
            Action::Against(op, n, a, b) => {
                let rows = |node: usize| self.rows(scratch.places[node], &scratch.slots);
                beside::against(op, n, rows(a), rows(b), out);
            }
            Action::Recursive(op, n, input) => {
                let place = scratch.places[input];
                let values = place.dense.then(|| self.tile.bars());
                recursive::recursive(self.isa, op, n, self.rows(place, &scratch.slots), values, out);
            }
            // Read where they lie.
            Action::Constant(_) | Action::Attribute(_) | Action::Field(_) | Action::Lag(..) => {}
        }
    }

    /// The rows of the input `k` rows up: in place where the tile has them all, else a copy below null rows.
    fn lag(&self, step: &Step, k: usize, input: Place, want: usize, scratch: &mut Scratch) -> Place {
        if let Some(start) = input.len.checked_sub(want + k) {
            return Place { start: input.start + start, len: want, dense: false, ..input };
        }
        let mut lines = std::mem::take(&mut scratch.slots[step.slot]);
        let out = &mut rows_mut(&mut lines)[..want];
        let source = self.rows(input, &scratch.slots);
        let kept = &source[..source.len().saturating_sub(k)];
        let (above, below) = out.split_at_mut(want - kept.len());
        above.fill([f64::NAN; WIDTH]);
        below.copy_from_slice(kept);
        scratch.slots[step.slot] = lines;
        Place { base: Base::Slot(step.slot), start: 0, len: want, step: 1, dense: false }
    }

    /// A lane's series starts at its first bar, whatever an operation makes of the rows above.
    fn clear_above_first_bar(&self, out: &mut [Row]) {
        let want = out.len();
        for (lane, bars) in self.tile.bars().iter().enumerate() {
            for row in &mut out[..want.saturating_sub(*bars as usize)] {
                row[lane] = f64::NAN;
            }
        }
    }
}
