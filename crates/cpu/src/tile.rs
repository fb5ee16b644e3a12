//! Runs a program on one tile: node after node over 32 symbols at once, rows in scratch that is kept from tile to
//! tile. Nothing is allocated per symbol, and per tile only when a tile has more rows than any before it.

use panscan_core::bar::Field;
use panscan_core::block::WIDTH;
use panscan_core::panel::Tile;
use panscan_core::plan::Binary;

use crate::lanes::{Line, Row, View, grow, rows, rows_mut};
use crate::program::{Action, Program, Step};
use crate::simd::Isa;
use crate::{beside, element, recursive, window};

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
    patch: Patch,
    /// Per node that is a `coalesce`, whether its second input is needed on this tile; unknown at first.
    needed: Vec<Option<bool>>,
    /// Room for part of a tile.
    pub(crate) cut: Tile,
}

/// What works out single rows of a tile.
#[derive(Debug, Default)]
struct Patch {
    /// Rows that lack a value, counted among those that are read.
    rows: Vec<usize>,
    /// Of each step the same rows, one below the other.
    steps: Vec<Vec<Line>>,
    /// Such rows of what is read.
    read: [Vec<Line>; 3],
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
        let is_idle = step.left || matches!(step.action, Action::Fused);
        if is_idle || step.guard.is_some_and(|guard| !run.is_needed(guard, scratch)) {
            continue;
        }
        run.step(step, scratch);
        if let Some(root) = step.root {
            let place = scratch.places[step.node];
            out(root, run.rows(place, &scratch.slots));
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
            Action::Binary(Binary::Coalesce, a, b) if !step.patch.is_empty() => {
                self.patched(step, a, b, want, scratch)
            }
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
                    let mut found = std::mem::take(&mut scratch.patch.rows);
                    element::nulls(self.isa, self.view(a, want, scratch), want, &mut found);
                    scratch.patch.rows = found;
                    !scratch.patch.rows.is_empty()
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
                let input = self.rows(place, &scratch.slots);
                recursive::recursive(self.isa, op, n, input, values, out);
            }
            // Read where they lie.
            Action::Constant(_)
            | Action::Attribute(_)
            | Action::Field(_)
            | Action::Lag(..)
            | Action::Fused => {}
            Action::Products(n, a, b) => {
                let rows = |node: usize| self.rows(scratch.places[node], &scratch.slots);
                if let [out] = out {
                    window::products(self.isa, n, rows(a), rows(b), out);
                }
            }
        }
    }

    /// A `coalesce` whose second input is worked out for the rows only in which the first has a null.
    fn patched(&self, step: &Step, a: usize, b: usize, want: usize, scratch: &mut Scratch) -> Place {
        let first = scratch.places[a];
        let mut patch = std::mem::take(&mut scratch.patch);
        element::nulls(self.isa, self.view(a, want, scratch), want, &mut patch.rows);
        if patch.rows.is_empty() {
            scratch.patch = patch;
            return Place { start: first.start + first.len - want, len: want, ..first };
        }
        let mut lines = std::mem::take(&mut scratch.slots[step.slot]);
        let out = &mut rows_mut(&mut lines)[..want];
        out.copy_from_slice(self.view(a, want, scratch).rows);
        let count = patch.rows.len();
        if patch.steps.len() < step.patch.len() {
            patch.steps.resize_with(step.patch.len(), Vec::new);
        }
        for (place, at) in step.patch.iter().enumerate() {
            let mut result = std::mem::take(&mut patch.steps[place]);
            grow(&mut result, count);
            self.patch(
                &self.program.steps[*at],
                step,
                want,
                &mut patch,
                scratch,
                &mut rows_mut(&mut result)[..count],
            );
            patch.steps[place] = result;
        }
        let Patch { rows: missing, steps, read } = &mut patch;
        let second = self.picked(b, step, want, missing, steps, scratch, &mut read[0]);
        for (i, row) in missing.iter().enumerate() {
            let known = out[*row];
            let (a, b) = (View { rows: std::slice::from_ref(&known), step: 0 }, second.row(i));
            let b = View { rows: std::slice::from_ref(b), step: 0 };
            element::binary(self.isa, Binary::Coalesce, a, b, &mut out[*row..=*row]);
        }
        if step.fills && self.shortest < want {
            self.clear_above_first_bar(out);
        }
        scratch.slots[step.slot] = lines;
        scratch.patch = patch;
        Place { base: Base::Slot(step.slot), start: 0, len: want, step: 1, dense: false }
    }

    /// One step that was left to a `coalesce`, for the rows that it needs.
    fn patch(
        &self,
        step: &Step,
        reader: &Step,
        want: usize,
        patch: &mut Patch,
        scratch: &Scratch,
        out: &mut [Row],
    ) {
        let Patch { rows, steps, read: [one, two, three] } = patch;
        let (rows, steps) = (&*rows, &*steps);
        let view = |node: usize, to| self.picked(node, reader, want, rows, steps, scratch, to);
        match step.action {
            Action::Unary(op, a) => element::unary(self.isa, op, view(a, one), out),
            Action::Binary(op, a, b) => element::binary(self.isa, op, view(a, one), view(b, two), out),
            Action::Round(digits, a) => element::round(self.isa, digits, view(a, one), out),
            Action::Choose(a, b, c) => {
                element::choose(self.isa, view(a, one), view(b, two), view(c, three), out);
            }
            // Read where they lie.
            _ => {}
        }
    }

    /// The rows that a `coalesce` needs of one of the steps that were left to it, or of what these read.
    #[expect(clippy::too_many_arguments, reason = "parts of two structs of which one is being written")]
    fn picked<'s>(
        &'s self,
        node: usize,
        reader: &Step,
        want: usize,
        missing: &[usize],
        steps: &'s [Vec<Line>],
        scratch: &'s Scratch,
        to: &'s mut Vec<Line>,
    ) -> View<'s> {
        let at = self.program.at[node];
        let source = match self.program.steps[at].action {
            Action::Constant(at) => View { rows: std::slice::from_ref(&self.program.constants[at]), step: 0 },
            Action::Attribute(at) => {
                let row = &self.program.attributes[at][self.index * WIDTH..][..WIDTH];
                View { rows: row.as_chunks::<WIDTH>().0, step: 0 }
            }
            Action::Field(field) => {
                let all = self.tile.field(field).as_chunks::<WIDTH>().0;
                View { rows: &all[all.len() - want..], step: 1 }
            }
            _ => match reader.patch.iter().position(|left| *left == at) {
                Some(place) => return View { rows: &rows(&steps[place])[..missing.len()], step: 1 },
                None => self.view(node, want, scratch),
            },
        };
        if source.step == 0 {
            return source;
        }
        grow(to, missing.len());
        let picked = &mut rows_mut(to)[..missing.len()];
        for (picked, row) in picked.iter_mut().zip(missing) {
            *picked = *source.row(*row);
        }
        View { rows: picked, step: 1 }
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
