//! A file of bars for other programs: Parquet, Arrow or CSV, with the same columns. It gets its name when it is whole. Not
//! here: which bars.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::{ArrayRef, Date32Array, Float64Array, RecordBatch, TimestampMillisecondArray};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, DataType, Field as Column, Schema, SchemaRef, TimeUnit};
use panscan_core::bar::Field;
use panscan_core::time::{SessionDate, Timestamp};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::super::args::ExportFormat;
use super::super::failure::Failure;
use super::super::output::exact;

/// Rows in one batch, and in one group of a Parquet file at most sixteen times as many.
const ROWS: usize = 65_536;

/// What the time column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Times {
    /// Sessions: the column `date`.
    Sessions,
    /// Instants in milliseconds: the column `ts`.
    Starts,
}

/// A file that is being written.
pub(super) struct Sheet {
    path: PathBuf,
    times: Times,
    schema: SchemaRef,
    out: Out,
    symbols: StringBuilder,
    keys: Vec<i64>,
    columns: [Vec<f64>; Field::COUNT],
    rows: u64,
}

enum Out {
    Parquet(Box<ArrowWriter<tempfile::NamedTempFile>>),
    Arrow(Box<FileWriter<BufWriter<tempfile::NamedTempFile>>>),
    Csv(BufWriter<tempfile::NamedTempFile>),
}

impl Sheet {
    /// Starts the file beside its place.
    pub(super) fn create(path: &Path, format: ExportFormat, times: Times) -> Result<Self, Failure> {
        let refused = |error| Failure::file("write", path, error);
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file =
            tempfile::Builder::new().prefix(".panscan-export-").tempfile_in(folder).map_err(refused)?;
        let time = match times {
            Times::Sessions => Column::new("date", DataType::Date32, false),
            Times::Starts => {
                Column::new("ts", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), false)
            }
        };
        let mut columns = vec![Column::new("symbol", DataType::Utf8, false), time];
        columns
            .extend(Field::ALL.map(|field| Column::new(field.name(), DataType::Float64, is_optional(field))));
        let schema = Arc::new(Schema::new(columns));
        let out = match format {
            ExportFormat::Parquet => {
                let level = ZstdLevel::try_new(3).map_err(|e| refused(of_parquet(e)))?;
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(level))
                    .set_max_row_group_row_count(Some(16 * ROWS))
                    .build();
                let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties));
                Out::Parquet(Box::new(writer.map_err(|e| refused(of_parquet(e)))?))
            }
            ExportFormat::Arrow => {
                let writer = FileWriter::try_new(BufWriter::new(file), &schema);
                Out::Arrow(Box::new(writer.map_err(|e| refused(of_arrow(e)))?))
            }
            ExportFormat::Csv => {
                let mut out = BufWriter::with_capacity(1 << 20, file);
                let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
                write!(out, "{}\r\n", names.join(",")).map_err(refused)?;
                Out::Csv(out)
            }
        };
        Ok(Self {
            path: path.to_owned(),
            times,
            schema,
            out,
            symbols: StringBuilder::new(),
            keys: Vec::with_capacity(ROWS),
            columns: std::array::from_fn(|_| Vec::with_capacity(ROWS)),
            rows: 0,
        })
    }

    /// One bar; `key` is days or milliseconds since 1970, as the time column has it.
    pub(super) fn push(
        &mut self,
        symbol: &str,
        key: i64,
        values: &[f64; Field::COUNT],
    ) -> Result<(), Failure> {
        self.symbols.append_value(symbol);
        self.keys.push(key);
        for (column, value) in self.columns.iter_mut().zip(values) {
            column.push(*value);
        }
        self.rows += 1;
        if self.keys.len() == ROWS { self.flush() } else { Ok(()) }
    }

    /// Writes the rest, waits until it is on disk and gives the file its name. Answers rows and bytes.
    pub(super) fn finish(mut self) -> Result<(u64, u64), Failure> {
        self.flush()?;
        let refused = |error| Failure::file("write", &self.path, error);
        let file = match self.out {
            Out::Parquet(writer) => writer.into_inner().map_err(of_parquet),
            Out::Arrow(mut writer) => {
                writer.finish().and_then(|()| writer.into_inner()).map_err(of_arrow).and_then(into_file)
            }
            Out::Csv(out) => into_file(out),
        };
        let file = file.map_err(refused)?;
        file.as_file().sync_all().map_err(refused)?;
        let bytes = file.as_file().metadata().map_err(refused)?.len();
        readable(file.as_file()).map_err(refused)?;
        file.persist(&self.path).map_err(|error| refused(error.error))?;
        Ok((self.rows, bytes))
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if self.keys.is_empty() {
            return Ok(());
        }
        let written = match &mut self.out {
            Out::Csv(out) => {
                let symbols = self.symbols.finish();
                let rows = symbols.iter().flatten().zip(&self.keys).enumerate();
                let mut written = Ok(());
                for (row, (symbol, key)) in rows {
                    let values = self.columns.each_ref().map(|column| column[row]);
                    written = line(out, symbol, self.times, *key, &values);
                    if written.is_err() {
                        break;
                    }
                }
                written
            }
            Out::Parquet(writer) => {
                batch(&self.schema, self.times, &mut self.symbols, &self.keys, &self.columns)
                    .map_err(of_arrow)
                    .and_then(|batch| writer.write(&batch).map_err(of_parquet))
            }
            Out::Arrow(writer) => {
                batch(&self.schema, self.times, &mut self.symbols, &self.keys, &self.columns)
                    .and_then(|batch| writer.write(&batch))
                    .map_err(of_arrow)
            }
        };
        self.keys.clear();
        self.columns.iter_mut().for_each(Vec::clear);
        written.map_err(|error| Failure::file("write", &self.path, error))
    }
}

fn batch(
    schema: &SchemaRef,
    times: Times,
    symbols: &mut StringBuilder,
    keys: &[i64],
    columns: &[Vec<f64>; Field::COUNT],
) -> Result<RecordBatch, ArrowError> {
    let time: ArrayRef = match times {
        Times::Sessions => {
            let days = keys.iter().map(|days| i32::try_from(*days).unwrap_or(i32::MAX));
            Arc::new(Date32Array::from_iter_values(days))
        }
        Times::Starts => Arc::new(TimestampMillisecondArray::from(keys.to_vec()).with_timezone("UTC")),
    };
    let mut arrays: Vec<ArrayRef> = vec![Arc::new(symbols.finish()), time];
    for (field, values) in Field::ALL.into_iter().zip(columns) {
        arrays.push(if is_optional(field) {
            Arc::new(values.iter().map(|value| (!value.is_nan()).then_some(*value)).collect::<Float64Array>())
        } else {
            Arc::new(Float64Array::from(values.clone()))
        });
    }
    RecordBatch::try_new(schema.clone(), arrays)
}

fn line(
    out: &mut impl io::Write,
    symbol: &str,
    times: Times,
    key: i64,
    values: &[f64; Field::COUNT],
) -> io::Result<()> {
    // No character of a symbol needs quotes.
    match times {
        Times::Sessions => {
            let day = SessionDate::from_days(i32::try_from(key).unwrap_or(i32::MAX));
            write!(out, "{symbol},{day}")?;
        }
        Times::Starts => write!(out, "{symbol},{}", Timestamp::from_millis(key))?,
    }
    for value in values {
        out.write_all(b",")?;
        if !value.is_nan() {
            out.write_all(exact(*value).as_bytes())?;
        }
    }
    out.write_all(b"\r\n")
}

/// Fields that a provider may leave out.
fn is_optional(field: Field) -> bool {
    matches!(field, Field::Vwap | Field::Trades)
}

fn into_file(out: BufWriter<tempfile::NamedTempFile>) -> io::Result<tempfile::NamedTempFile> {
    out.into_inner().map_err(io::IntoInnerError::into_error)
}

/// Temporary files are their owner's alone; this one is to be read by whoever may read what lies beside it.
#[cfg(unix)]
fn readable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable(_: &File) -> io::Result<()> {
    Ok(())
}

fn of_arrow(error: ArrowError) -> io::Error {
    match error {
        ArrowError::IoError(_, error) => error,
        other => io::Error::other(other),
    }
}

fn of_parquet(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(error) => match error.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(error) => io::Error::other(error),
        },
        other => io::Error::other(other),
    }
}
