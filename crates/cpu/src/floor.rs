//! How fast the bytes that a scan needs can be read at all: the floor under every scan time.

use std::sync::{Arc, Mutex, PoisonError};

use panscan_core::bar::Field;
use panscan_core::panel::Panel;
use panscan_core::plan::Tail;

use crate::crew::Work;
use crate::lanes::{EIGHTS, Row};
use crate::simd::{Isa, Kernel, Vector};
use crate::tile::Scratch;

/// Sums rows with as many independent sums as the registers hold.
struct Sum<'a>(&'a [Row]);

impl Kernel for Sum<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<V: Vector, const BLOCKS: usize>(self) -> f64 {
        let mut sums = [V::splat(0.0); EIGHTS];
        for row in self.0 {
            for (at, sum) in sums.iter_mut().enumerate() {
                *sum = sum.add(V::load(row, at));
            }
        }
        let mut row: Row = [0.0; _];
        for (at, sum) in sums.into_iter().enumerate() {
            sum.store(&mut row, at);
        }
        row.iter().sum()
    }
}

/// The last rows of some fields of all tiles.
pub(crate) struct Read {
    isa: Isa,
    panel: Arc<Panel>,
    fields: Vec<(Field, usize)>,
    size: usize,
    sum: Mutex<f64>,
}

impl Read {
    pub(crate) fn new(isa: Isa, panel: Arc<Panel>, fields: &[(Field, Tail)], size: usize) -> Self {
        let rows = |tail: &Tail| match tail {
            Tail::All => usize::MAX,
            Tail::Rows(rows) => *rows as usize,
        };
        let fields = fields.iter().map(|(field, tail)| (*field, rows(tail))).collect();
        Self { isa, panel, fields, size, sum: Mutex::new(0.0) }
    }

    pub(crate) fn sum(&self) -> f64 {
        *self.sum.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work for Read {
    fn part(&self, part: usize, _: &mut Scratch) {
        let mut sum = 0.0;
        for tile in self.panel.tiles().iter().skip(part * self.size).take(self.size) {
            for (field, rows) in &self.fields {
                let all = tile.field(*field).as_chunks().0;
                sum += self.isa.run(Sum(&all[all.len() - all.len().min(*rows)..]));
            }
        }
        *self.sum.lock().unwrap_or_else(PoisonError::into_inner) += sum;
    }
}
