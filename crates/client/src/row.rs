//! Rows of an answer, read by the names of its columns.

use std::sync::Arc;

use panscan_proto::convert::answer::{Diagnostic, Header, Summary};
use panscan_proto::convert::batch::{Batch, Cell};

/// One ranked row. It shares its batch with its neighbours: to keep one is cheap, and keeps them all.
#[derive(Debug, Clone)]
pub struct Row {
    pub(crate) header: Arc<Header>,
    pub(crate) batch: Arc<Batch>,
    pub(crate) at: usize,
}

impl Row {
    /// Its rank, from 1; it continues over pages.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.batch.first_rank + self.at
    }

    /// Its symbol.
    #[must_use]
    pub fn symbol(&self) -> &str {
        self.batch.symbols.get(self.at).map_or("", String::as_str)
    }

    /// The value of a column; `None` when there is no such column.
    #[must_use]
    pub fn cell(&self, column: &str) -> Option<Cell<'_>> {
        let index = self.header.columns.iter().position(|c| c.name == column)?;
        Some(self.batch.columns.get(index)?.cell(self.at))
    }

    /// All values with their columns' names, in output order.
    pub fn cells(&self) -> impl Iterator<Item = (&str, Cell<'_>)> {
        let names = self.header.columns.iter().map(|c| c.name.as_str());
        names.zip(self.batch.columns.iter().map(|values| values.cell(self.at)))
    }

    /// The number in a column, whole or not; `None` when it is missing, no number, or there is no such column.
    #[must_use]
    pub fn number(&self, column: &str) -> Option<f64> {
        match self.cell(column)? {
            Cell::Number(value) => Some(value),
            Cell::Integer(value) => Some(value as f64),
            _ => None,
        }
    }

    /// The whole number in a column, likewise.
    #[must_use]
    pub fn integer(&self, column: &str) -> Option<i64> {
        match self.cell(column)? {
            Cell::Integer(value) => Some(value),
            _ => None,
        }
    }

    /// The truth in a column, likewise.
    #[must_use]
    pub fn boolean(&self, column: &str) -> Option<bool> {
        match self.cell(column)? {
            Cell::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// The text in a column, likewise.
    #[must_use]
    pub fn text(&self, column: &str) -> Option<&str> {
        match self.cell(column)? {
            Cell::Text(value) => Some(value),
            _ => None,
        }
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct ScanResult {
    /// What ran, on which snapshot, and the columns.
    pub header: Arc<Header>,
    /// The rows, best first.
    pub rows: Vec<Row>,
    /// What the answer lacks, and why.
    pub diagnostics: Vec<Diagnostic>,
    /// Counts and times.
    pub summary: Summary,
}

impl ScanResult {
    /// The row of a symbol.
    #[must_use]
    pub fn row(&self, symbol: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.symbol() == symbol)
    }
}
