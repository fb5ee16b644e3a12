//! Messages to cells, for clients: a batch of rows in either form becomes the same typed columns.

use std::sync::Arc;

use panscan_core::plan::ValueKind;
use prost_types::value::Kind;

use super::answer::Column;
use crate::error::Error;
use crate::v1::{self, column_data};

/// One value of an answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    /// Missing.
    Null,
    /// A finite number.
    Number(f64),
    /// A whole number.
    Integer(i64),
    /// True or false.
    Bool(bool),
    /// Text.
    Text(&'a str),
}

/// A column of a batch.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Numbers; NaN where missing.
    Numbers(Vec<f64>),
    /// Whole numbers.
    Integers(Vec<Option<i64>>),
    /// True and false.
    Bools(Vec<Option<bool>>),
    /// Texts.
    Texts(Vec<Option<Arc<str>>>),
}

impl Values {
    /// How many values.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Numbers(values) => values.len(),
            Self::Integers(values) => values.len(),
            Self::Bools(values) => values.len(),
            Self::Texts(values) => values.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One value; null beyond the end.
    #[must_use]
    pub fn cell(&self, row: usize) -> Cell<'_> {
        match self {
            Self::Numbers(values) => {
                values.get(row).filter(|v| !v.is_nan()).map_or(Cell::Null, |v| Cell::Number(*v))
            }
            Self::Integers(values) => values.get(row).copied().flatten().map_or(Cell::Null, Cell::Integer),
            Self::Bools(values) => values.get(row).copied().flatten().map_or(Cell::Null, Cell::Bool),
            Self::Texts(values) => values.get(row).and_then(Option::as_deref).map_or(Cell::Null, Cell::Text),
        }
    }

    fn with_capacity(kind: ValueKind, rows: usize) -> Self {
        match kind {
            ValueKind::Number => Self::Numbers(Vec::with_capacity(rows)),
            ValueKind::Integer => Self::Integers(Vec::with_capacity(rows)),
            ValueKind::Bool => Self::Bools(Vec::with_capacity(rows)),
            ValueKind::Text => Self::Texts(Vec::with_capacity(rows)),
        }
    }
}

/// Rows of consecutive ranks, by column.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Rank of the first row, from 1.
    pub first_rank: usize,
    /// Symbols in rank order.
    pub symbols: Vec<String>,
    /// In the order of the header's columns, each as long as `symbols`.
    pub columns: Vec<Values>,
}

impl Batch {
    /// Reads rows by name.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] when ranks have a hole or a value is not of its column's type.
    pub fn from_rows(batch: v1::RowBatch, header: &[Column]) -> Result<Self, Error> {
        let malformed = |message: String| Error::malformed("row batch", message);
        let first_rank = batch.rows.first().map_or(1, |r| r.rank);
        let rows = batch.rows.len();
        let mut read = Self {
            first_rank: usize::try_from(first_rank).unwrap_or(0),
            symbols: Vec::with_capacity(rows),
            columns: header.iter().map(|c| Values::with_capacity(c.kind, rows)).collect(),
        };
        for (i, row) in batch.rows.into_iter().enumerate() {
            if usize::try_from(row.rank).ok() != Some(read.first_rank + i) || row.rank < 1 {
                return Err(malformed(format!("rank {} follows row {i} of rank {first_rank}", row.rank)));
            }
            let mut fields = row.values.map(|s| s.fields).unwrap_or_default();
            for (column, values) in header.iter().zip(&mut read.columns) {
                let value = fields.remove(&column.name).and_then(|v| v.kind);
                let value = value.filter(|kind| !matches!(kind, Kind::NullValue(_)));
                let right = match (values, value) {
                    (Values::Numbers(values), value) => match value {
                        None => push(values, f64::NAN),
                        Some(Kind::NumberValue(v)) if v.is_finite() => push(values, v),
                        _ => false,
                    },
                    (Values::Integers(values), value) => match value {
                        None => push(values, None),
                        Some(Kind::NumberValue(v)) if v.is_finite() && v.trunc() == v => {
                            push(values, Some(v as i64))
                        }
                        _ => false,
                    },
                    (Values::Bools(values), value) => match value {
                        None => push(values, None),
                        Some(Kind::BoolValue(v)) => push(values, Some(v)),
                        _ => false,
                    },
                    (Values::Texts(values), value) => match value {
                        None => push(values, None),
                        Some(Kind::StringValue(v)) => push(values, Some(v.into())),
                        _ => false,
                    },
                };
                if !right {
                    return Err(malformed(format!(
                        "column {} of rank {} is not of its type",
                        column.name, row.rank
                    )));
                }
            }
            read.symbols.push(row.symbol);
        }
        Ok(read)
    }

    /// Reads packed columns.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] when columns are missing, of another type or another length than they should be, or
    /// an index points outside its dictionary.
    pub fn from_columns(batch: v1::ColumnBatch, header: &[Column]) -> Result<Self, Error> {
        let malformed = |message: String| Error::malformed("column batch", message);
        if batch.data.len() != header.len() {
            return Err(malformed(format!("{} columns instead of {}", batch.data.len(), header.len())));
        }
        let rows = batch.symbols.len();
        let columns = header.iter().zip(batch.data).map(|(column, data)| {
            let values =
                read(column.kind, data).map_err(|why| malformed(format!("column {}: {why}", column.name)))?;
            if values.len() == rows {
                Ok(values)
            } else {
                Err(malformed(format!("column {} has {} of {rows} values", column.name, values.len())))
            }
        });
        Ok(Self {
            columns: columns.collect::<Result<_, Error>>()?,
            first_rank: usize::try_from(batch.first_rank)
                .ok()
                .filter(|r| *r > 0)
                .ok_or_else(|| malformed(format!("first rank {}", batch.first_rank)))?,
            symbols: batch.symbols,
        })
    }
}

fn push<T>(values: &mut Vec<T>, value: T) -> bool {
    values.push(value);
    true
}

pub(super) fn read(kind: ValueKind, data: v1::ColumnData) -> Result<Values, &'static str> {
    let validity = data.validity;
    let enough = |n: usize| validity.is_empty() || validity.len() >= n.div_ceil(8);
    let present = |i: usize| validity.is_empty() || (validity[i / 8] >> (i % 8)) & 1 == 1;
    const SHORT: &str = "too few validity bits";
    match (kind, data.values) {
        (ValueKind::Number, Some(column_data::Values::Doubles(v1::DoubleColumn { mut values }))) => {
            if !enough(values.len()) {
                return Err(SHORT);
            }
            for (i, value) in values.iter_mut().enumerate() {
                if !value.is_finite() {
                    return Err("a number that is not finite");
                }
                if !present(i) {
                    *value = f64::NAN;
                }
            }
            Ok(Values::Numbers(values))
        }
        (ValueKind::Integer, Some(column_data::Values::Int64s(column))) if enough(column.values.len()) => {
            let values = column.values.into_iter().enumerate();
            Ok(Values::Integers(values.map(|(i, v)| present(i).then_some(v)).collect()))
        }
        (ValueKind::Bool, Some(column_data::Values::Bools(column))) if enough(column.values.len()) => {
            let values = column.values.into_iter().enumerate();
            Ok(Values::Bools(values.map(|(i, v)| present(i).then_some(v)).collect()))
        }
        (ValueKind::Text, Some(column_data::Values::Strings(column))) if enough(column.indices.len()) => {
            let dictionary: Vec<Arc<str>> = column.dictionary.into_iter().map(Into::into).collect();
            let text = |(i, index): (usize, u32)| {
                if !present(i) {
                    return Ok(None);
                }
                dictionary.get(index as usize).cloned().map(Some).ok_or("an index outside the dictionary")
            };
            let texts = column.indices.into_iter().enumerate().map(text);
            Ok(Values::Texts(texts.collect::<Result<_, _>>()?))
        }
        (_, None) => Err("no values"),
        (_, Some(_)) => Err("another type than the header's, or too few validity bits"),
    }
}
