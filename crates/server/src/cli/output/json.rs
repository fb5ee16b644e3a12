//! NDJSON and JSON: cells in the order of the columns.

use std::io::{self, Write};

use serde_json::Value;

use super::{Cell, Head, RowWriter};

/// One object a line, then nothing else.
pub(super) struct Lines<W> {
    out: W,
    keys: Keys,
}

impl<W: Write> Lines<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, keys: Keys::default() }
    }
}

impl<W: Write> RowWriter for Lines<W> {
    fn head(&mut self, head: &Head) -> io::Result<()> {
        self.keys = Keys::new(head);
        Ok(())
    }

    fn row(&mut self, cells: &[Cell]) -> io::Result<()> {
        self.keys.write(&mut self.out, cells)?;
        self.out.write_all(b"\n")
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn finish(&mut self, _: Vec<Value>, _: Value) -> io::Result<()> {
        self.out.flush()
    }
}

/// One document: header, rows, diagnostics, summary.
pub(super) struct Document<W> {
    out: W,
    keys: Keys,
    rows: usize,
}

impl<W: Write> Document<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, keys: Keys::default(), rows: 0 }
    }
}

impl<W: Write> RowWriter for Document<W> {
    fn head(&mut self, head: &Head) -> io::Result<()> {
        self.keys = Keys::new(head);
        write!(self.out, "{{\"header\":{},\"rows\":[", head.info)
    }

    fn row(&mut self, cells: &[Cell]) -> io::Result<()> {
        self.out.write_all(if self.rows == 0 { b"\n" } else { b",\n" })?;
        self.rows += 1;
        self.keys.write(&mut self.out, cells)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn finish(&mut self, diagnostics: Vec<Value>, summary: Value) -> io::Result<()> {
        let diagnostics = Value::Array(diagnostics);
        write!(self.out, "],\n\"diagnostics\":{diagnostics},\n\"summary\":{summary}}}\n")?;
        self.out.flush()
    }
}

/// The keys of a row's object as they are written, each with its quotes and colon.
#[derive(Default)]
struct Keys(Vec<String>);

impl Keys {
    fn new(head: &Head) -> Self {
        Self(head.columns.iter().map(|column| format!("{}:", Value::from(column.name.as_str()))).collect())
    }

    fn write(&self, out: &mut impl Write, cells: &[Cell]) -> io::Result<()> {
        out.write_all(b"{")?;
        for (i, (key, cell)) in self.0.iter().zip(cells).enumerate() {
            if i > 0 {
                out.write_all(b",")?;
            }
            out.write_all(key.as_bytes())?;
            match cell {
                Cell::Null => out.write_all(b"null")?,
                Cell::Bool(value) => write!(out, "{value}")?,
                Cell::Integer(value) => write!(out, "{value}")?,
                // Written as JSON's own numbers are: `1.0`, `1e300`.
                Cell::Number(value) => serde_json::to_writer(&mut *out, value)?,
                Cell::Text(text) => serde_json::to_writer(&mut *out, &**text)?,
                Cell::Instant(at) => write!(out, "\"{at}\"")?,
            }
        }
        out.write_all(b"}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::written;
    use super::*;
    use crate::cli::args::Format;

    #[test]
    fn lines_are_objects_in_order_and_nothing_else() {
        let text = String::from_utf8(written(Format::Ndjson)).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with(
            r#"{"rank":1,"symbol":"BRK.B","close":0.30000000000000004,"volume":1152921504606846976,"#
        ));
        let row: Value = serde_json::from_str(lines[0]).unwrap();
        assert_eq!(row["sector"], "a \"b\", c\nd");
        assert_eq!(row["close"].as_f64(), Some(0.1 + 0.2));
        assert_eq!(row["at"], "2025-12-31T21:00:00Z");
        let row: Value = serde_json::from_str(lines[1]).unwrap();
        assert!(row["close"].is_null() && row["up, \"now\""].is_null());
    }

    #[test]
    fn a_document_has_its_four_parts() {
        let document: Value = serde_json::from_slice(&written(Format::Json)).unwrap();
        assert_eq!(document["header"]["snapshot_id"], "s");
        assert_eq!(document["rows"].as_array().unwrap().len(), 2);
        assert_eq!(document["diagnostics"][0]["reason"], "GAPS");
        assert_eq!(document["summary"]["returned"], 2);
    }
}
