//! CSV: a header, then one row per symbol. Not here: what the cells mean.

use std::io::Read;
use std::path::Path;

use csv::{ByteRecord, ReaderBuilder};

use crate::column::Cell;
use crate::error::UniverseError;
use crate::import::{Columns, Import, known_columns};

/// Bytes read of a file at most, after decompression.
const BYTES_MAX: u64 = 1 << 30;

/// Reads CSV from `source`.
pub(crate) fn read(path: &Path, source: impl Read, expected: &'static str) -> Result<Import, UniverseError> {
    let unreadable = |message: String| UniverseError::Content { path: path.to_owned(), message, expected };
    let mut reader = ReaderBuilder::new().flexible(true).from_reader(source.take(BYTES_MAX));
    let header = reader.byte_headers().map_err(|e| unreadable(e.to_string()))?.clone();
    let names: Vec<_> = header.iter().map(String::from_utf8_lossy).collect();
    let Columns { known: columns, unknown: unknown_columns } =
        known_columns(path, names.iter().map(|name| &**name))?;
    let mut import = Import { unknown_columns, ..Import::default() };
    let mut record = ByteRecord::new();
    while reader.read_byte_record(&mut record).map_err(|e| unreadable(e.to_string()))? {
        let line = record.position().map_or(0, csv::Position::line);
        if record.len() != header.len() {
            let (has, needs) = (record.len(), header.len());
            import.reject(line, format!("the row has {has} cells and the header {needs}"));
            continue;
        }
        let texts: Result<Vec<_>, _> = columns
            .iter()
            .map(|(place, column)| std::str::from_utf8(&record[*place]).map(|text| (*column, text)))
            .collect();
        match texts {
            Ok(texts) => {
                let cells = texts.into_iter().map(|(column, text)| (column, Some(Cell::Text(text))));
                import.push(path, line, cells)?;
            }
            Err(_) => import.reject(line, "the row is no UTF-8 text".to_owned()),
        }
    }
    if reader.position().byte() >= BYTES_MAX {
        return Err(unreadable(format!("it is longer than {BYTES_MAX} bytes")));
    }
    Ok(import)
}
