//! An Arrow IPC stream: the schema first, texts dictionary-encoded.

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

/// Rows of a record batch at most: a scan is one, a long range of sessions several.
const BATCH_ROWS: usize = 65_536;

/// Writes a stream batch by batch.
pub(super) struct Arrow<W: Write> {
    out: Out<W>,
    head: Option<Head>,
    rows: Vec<Vec<Cell>>,
}

/// Where the bytes go: the stream takes the output over with the first batch.
enum Out<W: Write> {
    Closed(Option<W>),
    Open(Box<StreamWriter<W>>),
}

impl<W: Write> Arrow<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out: Out::Closed(Some(out)), head: None, rows: Vec::new() }
    }

    /// Writes the rows so far as a batch.
    fn batch(&mut self) -> io::Result<()> {
        let Some(head) = &self.head else { return Ok(()) };
        if let Out::Closed(out) = &mut self.out
            && let Some(out) = out.take()
        {
            let stream = StreamWriter::try_new(out, &schema(head)).map_err(wrong)?;
            self.out = Out::Open(Box::new(stream));
        }
        let Out::Open(stream) = &mut self.out else { return Ok(()) };
        let columns =
            head.columns.iter().enumerate().map(|(i, column)| array(&self.rows, i, column.kind)).collect();
        let batch = RecordBatch::try_new(Arc::new(schema(head)), columns).map_err(wrong)?;
        self.rows.clear();
        stream.write(&batch).map_err(wrong)
    }
}

impl<W: Write> RowWriter for Arrow<W> {
    fn head(&mut self, head: &Head) -> io::Result<()> {
        self.head = Some(head.clone());
        Ok(())
    }

    fn row(&mut self, cells: &[Cell]) -> io::Result<()> {
        self.rows.push(cells.to_vec());
        if self.rows.len() < BATCH_ROWS { Ok(()) } else { self.batch() }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self, _: Vec<Value>, _: Value) -> io::Result<()> {
        if !self.rows.is_empty() || matches!(self.out, Out::Closed(_)) {
            self.batch()?;
        }
        let Out::Open(stream) = &mut self.out else { return Ok(()) };
        stream.finish().map_err(wrong)?;
        stream.get_mut().flush()
    }
}

fn schema(head: &Head) -> Schema {
    let fields = head.columns.iter().map(|column| {
        let field = Field::new(&column.name, data_type(column.kind), column.kind != CellKind::Rank);
        match column.unit.as_str() {
            "" => field,
            unit => field.with_metadata(HashMap::from([("unit".to_owned(), unit.to_owned())])),
        }
    });
    let metadata = head.metadata.iter().cloned().collect::<HashMap<_, _>>();
    Schema::new(fields.collect::<Vec<_>>()).with_metadata(metadata)
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
