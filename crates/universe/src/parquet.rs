//! Parquet: one row per symbol, columns as any writer types them. Not here: what the cells mean.

use std::fs::File;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};
use panscan_core::time::{SessionDate, Timestamp};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::column::{Cell, Column};
use crate::error::UniverseError;
use crate::import::{Columns, Import, known_columns};

/// Reads Parquet from `file`.
pub(crate) fn read(path: &Path, file: File) -> Result<Import, UniverseError> {
    let unreadable = |message: String| UniverseError::Content {
        path: path.to_owned(),
        message,
        expected: "Parquet, uncompressed or with snappy or zstd",
    };
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| unreadable(e.to_string()))?;
    let schema = builder.schema().clone();
    let names = schema.fields().iter().map(|field| field.name().as_str());
    let Columns { known: columns, unknown: unknown_columns } = known_columns(path, names)?;
    for (place, column) in &columns {
        let kind = schema.field(*place).data_type();
        if !readable(*column, kind) {
            return Err(unreadable(format!("the column {} has the type {kind}", column.name())));
        }
    }
    let mask = ProjectionMask::roots(builder.parquet_schema(), columns.iter().map(|(place, _)| *place));
    let reader = builder.with_projection(mask).build().map_err(|e| unreadable(e.to_string()))?;
    let mut import = Import { unknown_columns, ..Import::default() };
    let mut line = 0;
    for batch in reader {
        let batch = batch.map_err(|e| unreadable(e.to_string()))?;
        // A projection keeps the order of the file, and so does `columns`.
        let arrays: Vec<(Column, Values)> = columns
            .iter()
            .zip(batch.columns())
            .map(|((_, column), array)| (*column, Values::of(array)))
            .collect();
        for row in 0..batch.num_rows() {
            line += 1;
            import.push(path, line, arrays.iter().map(|(column, values)| (*column, values.cell(row))))?;
        }
    }
    Ok(import)
}

/// A column, with the keys of a dictionary taken apart.
struct Values {
    array: ArrayRef,
    keys: Option<Vec<Option<usize>>>,
}

impl Values {
    fn of(array: &ArrayRef) -> Self {
        let Some(dictionary) = array.as_any_dictionary_opt() else {
            return Self { array: array.clone(), keys: None };
        };
        let keys = if dictionary.values().is_empty() {
            vec![None; array.len()]
        } else {
            let places = dictionary.normalized_keys().into_iter().enumerate();
            places.map(|(row, key)| (!dictionary.keys().is_null(row)).then_some(key)).collect()
        };
        Self { array: dictionary.values().clone(), keys: Some(keys) }
    }

    fn cell(&self, row: usize) -> Option<Cell<'_>> {
        let at = match &self.keys {
            Some(keys) => keys[row]?,
            None => row,
        };
        let array = &*self.array;
        if array.is_null(at) {
            return None;
        }
        let instant = |nanos: Timestamp| {
            Cell::Date(SessionDate::from_days(
                i32::try_from(nanos.as_seconds().div_euclid(86_400)).unwrap_or(i32::MAX),
            ))
        };
        Some(match array.data_type() {
            DataType::Utf8 => Cell::Text(array.as_string::<i32>().value(at)),
            DataType::LargeUtf8 => Cell::Text(array.as_string::<i64>().value(at)),
            DataType::Utf8View => Cell::Text(array.as_string_view().value(at)),
            DataType::Boolean => Cell::Flag(array.as_boolean().value(at)),
            DataType::Float64 => return number(array.as_primitive::<Float64Type>().value(at)),
            DataType::Float32 => return number(array.as_primitive::<Float32Type>().value(at).into()),
            DataType::Int64 => Cell::Number(array.as_primitive::<Int64Type>().value(at) as f64),
            DataType::Int32 => Cell::Number(array.as_primitive::<Int32Type>().value(at).into()),
            DataType::UInt64 => Cell::Number(array.as_primitive::<UInt64Type>().value(at) as f64),
            DataType::UInt32 => Cell::Number(array.as_primitive::<UInt32Type>().value(at).into()),
            DataType::Date32 => {
                Cell::Date(SessionDate::from_days(array.as_primitive::<Date32Type>().value(at)))
            }
            DataType::Timestamp(TimeUnit::Second, _) => {
                instant(Timestamp::from_seconds(array.as_primitive::<TimestampSecondType>().value(at)))
            }
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                instant(Timestamp::from_millis(array.as_primitive::<TimestampMillisecondType>().value(at)))
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => instant(Timestamp::from_nanos(
                array.as_primitive::<TimestampMicrosecondType>().value(at).saturating_mul(1000),
            )),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                instant(Timestamp::from_nanos(array.as_primitive::<TimestampNanosecondType>().value(at)))
            }
            _ => return None,
        })
    }
}

/// Writers that have no null for floats write NaN.
fn number(value: f64) -> Option<Cell<'static>> {
    (!value.is_nan()).then_some(Cell::Number(value))
}

/// Whether cells of this type can be read for `column`.
fn readable(column: Column, kind: &DataType) -> bool {
    let kind = if let DataType::Dictionary(_, values) = kind { values } else { kind };
    let text = matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let number = matches!(
        kind,
        DataType::Float64
            | DataType::Float32
            | DataType::Int64
            | DataType::Int32
            | DataType::UInt64
            | DataType::UInt32
    );
    match column {
        Column::Symbol | Column::Text(_) => text || matches!(kind, DataType::Null),
        Column::MarketCap | Column::SharesOutstanding => text || number || matches!(kind, DataType::Null),
        Column::ListDate | Column::DelistDate => {
            text || matches!(kind, DataType::Date32 | DataType::Timestamp(_, _) | DataType::Null)
        }
        Column::Active => text || number || matches!(kind, DataType::Boolean | DataType::Null),
    }
}
