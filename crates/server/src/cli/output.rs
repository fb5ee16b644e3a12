//! Rows on stdout: one writer per format, and the words on stderr that go with them.

mod arrow;
mod csv;
mod json;
mod notes;
mod table;

use std::io::{self, IsTerminal as _, Write};
use std::sync::Arc;

use panscan_core::time::Timestamp;
use serde_json::Value;

use super::args::Format;
use super::failure::Failure;

pub use self::notes::Notes;
pub use self::table::plain_table;

/// What the cells of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellKind {
    /// A rank: a small integer.
    Rank,
    /// A symbol or another text that repeats.
    Text,
    /// A number.
    Number,
    /// An integer.
    Integer,
    /// True or false.
    Bool,
    /// An instant.
    Instant,
}

/// A column of the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its unit; may be empty.
    pub unit: String,
    /// Its cells.
    pub kind: CellKind,
}

impl Column {
    /// A column without a unit.
    pub fn new(name: &str, kind: CellKind) -> Self {
        Self { name: name.to_owned(), unit: String::new(), kind }
    }
}

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// No value.
    Null,
    /// A number; finite.
    Number(f64),
    /// An integer.
    Integer(i64),
    /// True or false.
    Bool(bool),
    /// A text.
    Text(Arc<str>),
    /// An instant.
    Instant(Timestamp),
}

/// What stands before the rows.
#[derive(Debug, Clone)]
pub struct Head {
    /// The columns in order.
    pub columns: Vec<Column>,
    /// The header of a JSON document.
    pub info: Value,
    /// Metadata of an Arrow schema.
    pub metadata: Vec<(String, String)>,
}

/// Writes rows in one format.
pub trait RowWriter {
    /// Starts the output; called once, before any row.
    fn head(&mut self, head: &Head) -> io::Result<()>;
    /// One row, a cell for each column.
    fn row(&mut self, cells: &[Cell]) -> io::Result<()>;
    /// Makes the rows so far visible to the reader.
    fn flush(&mut self) -> io::Result<()>;
    /// Ends the output. The two values go into a JSON document and nowhere else.
    fn finish(&mut self, diagnostics: Vec<Value>, summary: Value) -> io::Result<()>;
}

/// The format to write in: as asked, else by where stdout goes.
///
/// # Errors
///
/// Arrow to a terminal.
pub fn chosen(asked: Option<Format>) -> Result<Format, Failure> {
    let terminal = io::stdout().is_terminal();
    match asked {
        Some(Format::Arrow) if terminal => Err(Failure::Usage(
            "-o arrow writes bytes, which a terminal cannot show; redirect stdout or choose another format"
                .to_owned(),
        )),
        Some(format) => Ok(format),
        None if terminal => Ok(Format::Table),
        None => Ok(Format::Ndjson),
    }
}

/// A writer of `format` to `out`.
pub fn writer<'a>(format: Format, out: impl Write + 'a) -> Box<dyn RowWriter + 'a> {
    let out = io::BufWriter::with_capacity(64 << 10, out);
    match format {
        Format::Table => Box::new(table::Table::new(out)),
        Format::Ndjson => Box::new(json::Lines::new(out)),
        Format::Json => Box::new(json::Document::new(out)),
        Format::Csv => Box::new(csv::Csv::new(out)),
        Format::Arrow => Box::new(arrow::Arrow::new(out)),
    }
}

/// A number in the shortest form that reads back to the same bits.
pub fn exact(value: f64) -> String {
    // Beyond these, `Display` writes hundreds of digits.
    if value == 0.0 || (1e-6..1e17).contains(&value.abs()) {
        format!("{value}")
    } else {
        format!("{value:e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes two rows of every kind of cell.
    pub(super) fn written(format: Format) -> Vec<u8> {
        let mut out = Vec::new();
        {
            let mut writer = writer(format, &mut out);
            let columns = vec![
                Column::new("rank", CellKind::Rank),
                Column::new("symbol", CellKind::Text),
                Column { name: "close".into(), unit: "USD".into(), kind: CellKind::Number },
                Column::new("volume", CellKind::Integer),
                Column::new("up, \"now\"", CellKind::Bool),
                Column::new("sector", CellKind::Text),
                Column::new("at", CellKind::Instant),
            ];
            let head = Head {
                columns,
                info: serde_json::json!({"snapshot_id": "s"}),
                metadata: vec![("snapshot_id".into(), "s".into())],
            };
            writer.head(&head).unwrap();
            let at = Timestamp::from_millis(1_767_214_800_000);
            writer
                .row(&[
                    Cell::Integer(1),
                    Cell::Text("BRK.B".into()),
                    Cell::Number(0.1 + 0.2),
                    Cell::Integer(1 << 60),
                    Cell::Bool(true),
                    Cell::Text("a \"b\", c\nd".into()),
                    Cell::Instant(at),
                ])
                .unwrap();
            writer
                .row(&[
                    Cell::Integer(2),
                    Cell::Text("A".into()),
                    Cell::Null,
                    Cell::Null,
                    Cell::Null,
                    Cell::Null,
                    Cell::Null,
                ])
                .unwrap();
            writer.flush().unwrap();
            writer
                .finish(vec![serde_json::json!({"reason": "GAPS"})], serde_json::json!({"returned": 2}))
                .unwrap();
        }
        out
    }

    #[test]
    fn exact_numbers_read_back() {
        let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..20_000 {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let value = f64::from_bits(bits);
            if value.is_finite() {
                assert_eq!(exact(value).parse::<f64>().unwrap().to_bits(), value.to_bits());
            }
        }
        assert_eq!(exact(0.1 + 0.2), "0.30000000000000004");
        assert_eq!(exact(-0.0), "-0");
        assert_eq!(exact(100.0), "100");
        assert!(exact(f64::MAX).len() < 30);
    }
}
