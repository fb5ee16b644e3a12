//! An Arrow IPC stream of one record batch: the schema first, texts dictionary-encoded.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Float64Builder, Int32Builder, Int64Builder, StringDictionaryBuilder,
    TimestampMillisecondBuilder,
};
use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema, TimeUnit};
use serde_json::Value;

use super::{Cell, CellKind, Head, RowWriter};

/// Writes one stream when all rows are known; a scan has 50,000 at most.
pub(super) struct Arrow<W: Write> {
    out: W,
    head: Option<Head>,
    rows: Vec<Vec<Cell>>,
}

impl<W: Write> Arrow<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, head: None, rows: Vec::new() }
    }
}

impl<W: Write> RowWriter for Arrow<W> {
    fn head(&mut self, head: &Head) -> io::Result<()> {
        self.head = Some(head.clone());
        Ok(())
    }

    fn row(&mut self, cells: &[Cell]) -> io::Result<()> {
        self.rows.push(cells.to_vec());
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self, _: Vec<Value>, _: Value) -> io::Result<()> {
        let Some(head) = &self.head else { return Ok(()) };
        let fields: Vec<Field> = head
            .columns
            .iter()
            .map(|column| {
                let field = Field::new(&column.name, data_type(column.kind), column.kind != CellKind::Rank);
                match column.unit.as_str() {
                    "" => field,
                    unit => field.with_metadata(HashMap::from([("unit".to_owned(), unit.to_owned())])),
                }
            })
            .collect();
        let schema =
            Schema::new(fields).with_metadata(head.metadata.iter().cloned().collect::<HashMap<_, _>>());
        let schema = Arc::new(schema);
        let columns =
            head.columns.iter().enumerate().map(|(i, column)| array(&self.rows, i, column.kind)).collect();
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).map_err(wrong)?;
        let mut stream = StreamWriter::try_new(&mut self.out, &schema).map_err(wrong)?;
        stream.write(&batch).map_err(wrong)?;
        stream.finish().map_err(wrong)?;
        drop(stream);
        self.out.flush()
    }
}

fn wrong(error: ArrowError) -> io::Error {
    match error {
        ArrowError::IoError(_, error) => error,
        other => io::Error::other(other),
    }
}

fn data_type(kind: CellKind) -> DataType {
    match kind {
        CellKind::Rank => DataType::Int32,
        CellKind::Text => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
        CellKind::Number => DataType::Float64,
        CellKind::Integer => DataType::Int64,
        CellKind::Bool => DataType::Boolean,
        CellKind::Instant => DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
    }
}

/// One column; a cell of another kind is null, which the callers' types rule out.
fn array(rows: &[Vec<Cell>], column: usize, kind: CellKind) -> ArrayRef {
    let cells = || rows.iter().map(|row| row.get(column).unwrap_or(&Cell::Null));
    match kind {
        CellKind::Rank => {
            let mut values = Int32Builder::with_capacity(rows.len());
            cells().for_each(|cell| match cell {
                Cell::Integer(value) => values.append_option(i32::try_from(*value).ok()),
                _ => values.append_null(),
            });
            Arc::new(values.finish())
        }
        CellKind::Text => {
            let mut values = StringDictionaryBuilder::<Int32Type>::new();
            cells().for_each(|cell| match cell {
                Cell::Text(text) => values.append_value(text),
                _ => values.append_null(),
            });
            Arc::new(values.finish())
        }
        CellKind::Number => {
            let mut values = Float64Builder::with_capacity(rows.len());
            cells().for_each(|cell| match cell {
                Cell::Number(value) => values.append_value(*value),
                _ => values.append_null(),
            });
            Arc::new(values.finish())
        }
        CellKind::Integer => {
            let mut values = Int64Builder::with_capacity(rows.len());
            cells().for_each(|cell| match cell {
                Cell::Integer(value) => values.append_value(*value),
                _ => values.append_null(),
            });
            Arc::new(values.finish())
        }
        CellKind::Bool => {
            let mut values = BooleanBuilder::with_capacity(rows.len());
            cells().for_each(|cell| match cell {
                Cell::Bool(value) => values.append_value(*value),
                _ => values.append_null(),
            });
            Arc::new(values.finish())
        }
        CellKind::Instant => {
            let mut values = TimestampMillisecondBuilder::with_capacity(rows.len()).with_timezone("UTC");
            cells().for_each(|cell| match cell {
                Cell::Instant(at) => values.append_value(at.as_millis()),
                _ => values.append_null(),
            });
            Arc::new(values.finish())
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::Array as _;
    use arrow_array::cast::AsArray as _;
    use arrow_array::types::{Float64Type, TimestampMillisecondType};
    use arrow_ipc::reader::StreamReader;

    use super::super::tests::written;
    use crate::cli::args::Format;

    #[test]
    fn a_stream_reads_back() {
        let bytes = written(Format::Arrow);
        let mut reader = StreamReader::try_new(bytes.as_slice(), None).unwrap();
        assert_eq!(reader.schema().metadata()["snapshot_id"], "s");
        let batch = reader.next().unwrap().unwrap();
        assert_eq!(batch.num_rows(), 2);
        let close = batch.column_by_name("close").unwrap().as_primitive::<Float64Type>();
        assert_eq!(close.value(0).to_bits(), (0.1_f64 + 0.2).to_bits());
        assert!(close.is_null(1));
        let at = batch.column_by_name("at").unwrap().as_primitive::<TimestampMillisecondType>();
        assert_eq!(at.value(0), 1_767_214_800_000);
        let symbol = batch.column_by_name("symbol").unwrap().as_dictionary::<arrow_array::types::Int32Type>();
        assert_eq!(symbol.values().as_string::<i32>().value(0), "BRK.B");
        assert!(reader.next().is_none());
    }
}
