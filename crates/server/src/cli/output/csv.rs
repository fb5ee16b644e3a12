//! CSV as RFC 4180 has it: a header line, CRLF, quotes only where they are needed, null empty.

use std::io::{self, Write};

use serde_json::Value;

use super::{Cell, Head, RowWriter, exact};

/// Writes CSV.
pub(super) struct Csv<W> {
    out: W,
}

impl<W: Write> Csv<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out }
    }

    fn field(&mut self, first: bool, text: &str) -> io::Result<()> {
        if !first {
            self.out.write_all(b",")?;
        }
        if text.contains(['"', ',', '\r', '\n']) {
            write!(self.out, "\"{}\"", text.replace('"', "\"\""))
        } else {
            self.out.write_all(text.as_bytes())
        }
    }
}

impl<W: Write> RowWriter for Csv<W> {
    fn head(&mut self, head: &Head) -> io::Result<()> {
        for (i, column) in head.columns.iter().enumerate() {
            self.field(i == 0, &column.name)?;
        }
        self.out.write_all(b"\r\n")
    }

    fn row(&mut self, cells: &[Cell]) -> io::Result<()> {
        for (i, cell) in cells.iter().enumerate() {
            let text = match cell {
                Cell::Null => String::new(),
                Cell::Number(value) => exact(*value),
                Cell::Integer(value) => value.to_string(),
                Cell::Bool(value) => value.to_string(),
                Cell::Text(text) => text.to_string(),
                Cell::Instant(at) => at.to_string(),
            };
            self.field(i == 0, &text)?;
        }
        self.out.write_all(b"\r\n")
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn finish(&mut self, _: Vec<Value>, _: Value) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::written;
    use crate::cli::args::Format;

    #[test]
    fn csv_is_quoted_where_needed() {
        let text = String::from_utf8(written(Format::Csv)).unwrap();
        assert_eq!(
            text,
            "rank,symbol,close,volume,\"up, \"\"now\"\"\",sector,at\r\n\
             1,BRK.B,0.30000000000000004,1152921504606846976,true,\"a \"\"b\"\", c\nd\",2025-12-31T21:00:00Z\r\n\
             2,A,,,,,\r\n"
        );
    }
}
