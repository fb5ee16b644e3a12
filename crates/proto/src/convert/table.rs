//! Ranked rows to messages: by row, or by column in packed arrays. Null where a value is missing; a number that
//! is not finite never leaves, and costs one check here.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use panscan_core::plan::{NodeId, Op, Plan, TextSource, ValueKind};
use panscan_core::rank::{Cells, RankedRows};
use panscan_core::snapshot::Snapshot;
use panscan_core::symbol::{SYMBOL_BYTES_MAX, SymbolId};
use prost::Message;
use prost::bytes::Bytes;
use prost_types::{Struct, Value, value};

use super::request::Format;
use crate::v1::{self, column_data, scan_universe_response::Frame};

/// Bytes of a message at most, unless one row alone is larger.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// The rows of `range` as frames of a scan stream, split so that none is larger than [`MESSAGE_BYTES_MAX`].
///
/// `first_rank` is the rank of the page's first row, which need not be in `range`. Arrow is written elsewhere
/// and comes as rows from here.
#[must_use]
pub fn frames(
    format: Format,
    page: &RankedRows,
    plan: &Plan,
    snapshot: &Snapshot,
    range: Range<usize>,
    first_rank: usize,
) -> Vec<v1::ScanUniverseResponse> {
    let mut frames = Vec::with_capacity(1);
    let mut pending = vec![range];
    while let Some(range) = pending.pop() {
        let frame = match format {
            Format::Columns => Frame::Columns(columns(page, plan, snapshot, range.clone(), first_rank)),
            Format::Rows | Format::Arrow => {
                Frame::Rows(rows(page, plan, snapshot, range.clone(), first_rank))
            }
        };
        let message = v1::ScanUniverseResponse { frame: Some(frame) };
        if range.len() > 1
            && may_be_large(format, page, range.len())
            && message.encoded_len() > MESSAGE_BYTES_MAX
        {
            let middle = range.start + range.len() / 2;
            pending.push(middle..range.end);
            pending.push(range.start..middle);
        } else {
            frames.push(message);
        }
    }
    frames
}

/// Whether so many rows have to be measured: packed numbers are far below the bound at any usual batch.
fn may_be_large(format: Format, page: &RankedRows, rows: usize) -> bool {
    let numbers = page.columns.iter().all(|cells| matches!(cells, Cells::Numbers(_)));
    let row = SYMBOL_BYTES_MAX + 2 + page.columns.len() * (size_of::<f64>() + 1);
    format != Format::Columns || !numbers || rows * row > MESSAGE_BYTES_MAX / 2
}

/// The rows of `range`, by name.
#[must_use]
pub fn rows(
    page: &RankedRows,
    plan: &Plan,
    snapshot: &Snapshot,
    range: Range<usize>,
    first_rank: usize,
) -> v1::RowBatch {
    let row = |i: usize| {
        let values: BTreeMap<String, Value> = plan
            .outputs
            .iter()
            .zip(&page.columns)
            .map(|(output, cells)| {
                let kind = match cells {
                    Cells::Numbers(values) => number(plan.node(output.node).kind, values[i]),
                    Cells::Texts(texts) => {
                        texts[i].as_deref().map(|t| value::Kind::StringValue(t.to_owned()))
                    }
                };
                let kind = kind.unwrap_or(value::Kind::NullValue(0));
                (output.name.clone(), Value { kind: Some(kind) })
            })
            .collect();
        v1::Row {
            rank: rank(first_rank, i),
            symbol: snapshot.universe.symbol(page.symbols[i]).as_str().to_owned(),
            values: Some(Struct { fields: values }),
        }
    };
    v1::RowBatch { rows: range.map(row).collect() }
}

/// The rows of `range`, by column in output order.
#[must_use]
pub fn columns(
    page: &RankedRows,
    plan: &Plan,
    snapshot: &Snapshot,
    range: Range<usize>,
    first_rank: usize,
) -> v1::ColumnBatch {
    let symbols = &page.symbols[range.clone()];
    let data = plan
        .outputs
        .iter()
        .zip(&page.columns)
        .map(|(output, cells)| match cells {
            Cells::Numbers(values) => numbers(plan.node(output.node).kind, &values[range.clone()]),
            Cells::Texts(texts) => texts_of(plan, snapshot, output.node, symbols, &texts[range.clone()]),
        })
        .collect();
    v1::ColumnBatch {
        first_rank: rank(first_rank, range.start),
        symbols: symbols.iter().map(|id| snapshot.universe.symbol(*id).as_str().to_owned()).collect(),
        data,
    }
}

fn rank(first: usize, i: usize) -> i32 {
    i32::try_from(first + i).unwrap_or(i32::MAX)
}

fn number(kind: ValueKind, value: f64) -> Option<value::Kind> {
    value.is_finite().then_some(match kind {
        ValueKind::Bool => value::Kind::BoolValue(value != 0.0),
        _ => value::Kind::NumberValue(value),
    })
}

/// A column of numbers, whole numbers or bools; what is not finite is absent and stands as zero.
pub(super) fn numbers(kind: ValueKind, values: &[f64]) -> v1::ColumnData {
    let (values, validity) = match kind {
        ValueKind::Integer => {
            let (values, validity) = packed(values, |v| v as i64);
            (column_data::Values::Int64s(v1::Int64Column { values }), validity)
        }
        ValueKind::Bool => {
            let (values, validity) = packed(values, |v| v != 0.0);
            (column_data::Values::Bools(v1::BoolColumn { values }), validity)
        }
        ValueKind::Number | ValueKind::Text => {
            let (values, validity) = packed(values, |v| v);
            (column_data::Values::Doubles(v1::DoubleColumn { values }), validity)
        }
    };
    v1::ColumnData { values: Some(values), validity }
}

/// Finite values through `to`, zero for the others, and the validity bits, which are empty when all are there.
pub(super) fn packed<T>(values: &[f64], to: impl Fn(f64) -> T) -> (Vec<T>, Bytes) {
    let mut out = Vec::with_capacity(values.len());
    let mut bits = Vec::with_capacity(values.len().div_ceil(8));
    let mut present = 0;
    for chunk in values.chunks(8) {
        let mut byte = 0_u8;
        for (i, value) in chunk.iter().enumerate() {
            let finite = value.is_finite();
            byte |= u8::from(finite) << i;
            out.push(to(if finite { *value } else { 0.0 }));
        }
        present += byte.count_ones() as usize;
        bits.push(byte);
    }
    (out, if present == values.len() { Bytes::new() } else { bits.into() })
}

fn texts_of(
    plan: &Plan,
    snapshot: &Snapshot,
    node: NodeId,
    symbols: &[SymbolId],
    texts: &[Option<Arc<str>>],
) -> v1::ColumnData {
    let mut column =
        v1::DictionaryColumn { dictionary: Vec::new(), indices: Vec::with_capacity(texts.len()) };
    match plan.node(node).op {
        // Every ticker is a text of its own: there is nothing to look up.
        Op::Text(TextSource::Symbol) => {
            column.dictionary = texts.iter().map(|t| t.as_deref().unwrap_or_default().to_owned()).collect();
            column.indices = (0..u32::try_from(texts.len()).unwrap_or(u32::MAX)).collect();
        }
        // The universe has numbered the texts already.
        Op::Text(TextSource::Attribute(attribute)) => {
            let text = snapshot.universe.text(attribute);
            let mut local = vec![u32::MAX; text.dictionary().len()];
            for (id, value) in symbols.iter().zip(texts) {
                let code = text.codes().get(id.index()).map_or(0, |c| *c as usize);
                let index = match (value, local.get_mut(code)) {
                    (Some(value), Some(index)) => {
                        if *index == u32::MAX {
                            *index = column.dictionary.len() as u32;
                            column.dictionary.push(value.to_string());
                        }
                        *index
                    }
                    _ => 0,
                };
                column.indices.push(index);
            }
        }
        _ => {
            let mut seen: HashMap<&str, u32> = HashMap::new();
            for value in texts {
                let index = value.as_deref().map_or(0, |text| {
                    *seen.entry(text).or_insert_with(|| {
                        column.dictionary.push(text.to_owned());
                        column.dictionary.len() as u32 - 1
                    })
                });
                column.indices.push(index);
            }
        }
    }
    let present = |t: &Option<Arc<str>>| if t.is_some() { 1.0 } else { f64::NAN };
    let present: Vec<f64> = texts.iter().map(present).collect();
    let validity = packed(&present, |_| ()).1;
    v1::ColumnData { values: Some(column_data::Values::Strings(column)), validity }
}
