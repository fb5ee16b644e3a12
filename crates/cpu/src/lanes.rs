//! Rows of 32 lanes: how tiles and scratch are cut up for the kernels.

use panscan_core::block::WIDTH;

/// One number of every lane of a tile.
pub(crate) type Row = [f64; WIDTH];

/// Vectors of eight in a row.
pub(crate) const EIGHTS: usize = WIDTH / 8;

/// A row that starts on a cache line, as scratch is kept.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Line(Row);

/// Scratch as rows.
pub(crate) fn rows(lines: &[Line]) -> &[Row] {
    bytemuck::cast_slice(lines)
}

/// Scratch as rows, to be written.
pub(crate) fn rows_mut(lines: &mut [Line]) -> &mut [Row] {
    bytemuck::cast_slice_mut(lines)
}

/// Grows scratch to at least `len` rows.
pub(crate) fn grow(lines: &mut Vec<Line>, len: usize) {
    if lines.len() < len {
        lines.resize(len, Line([f64::NAN; WIDTH]));
    }
}

/// Rows to read, one per row of the result (`step` 1), or the same one for each (`step` 0).
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) rows: &'a [Row],
    pub(crate) step: usize,
}

impl<'a> View<'a> {
    #[inline(always)]
    pub(crate) fn row(self, at: usize) -> &'a Row {
        &self.rows[at * self.step]
    }
}

/// The value, or null where it is not finite.
#[inline(always)]
pub(crate) fn finite(value: f64) -> f64 {
    if value.abs() < f64::INFINITY { value } else { f64::NAN }
}
