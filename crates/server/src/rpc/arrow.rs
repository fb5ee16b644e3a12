//! Ranked rows as messages of the Arrow IPC streaming format, one encapsulated message a frame.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::builder::StringDictionaryBuilder;
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
};
use arrow_ipc::writer::{
    DictionaryTracker, EncodedData, IpcDataGenerator, IpcWriteContext, IpcWriteOptions, write_message,
};
use arrow_schema::{ArrowError, DataType, Field, Schema};
use panscan_core::plan::{Plan, ValueKind};
use panscan_core::rank::{Cells, RankedRows};
use panscan_core::snapshot::Snapshot;
use panscan_engine::ScanAnswer;

/// Encodes the frames of one answer.
pub(super) struct ArrowFrames {
    schema: Arc<Schema>,
    symbols: ArrayRef,
    generator: IpcDataGenerator,
    tracker: DictionaryTracker,
    options: IpcWriteOptions,
    context: IpcWriteContext,
}

impl ArrowFrames {
    pub(super) fn new(answer: &ScanAnswer) -> Self {
        Self::of(&answer.plan, &answer.published.snapshot, Some(&answer.rows))
    }

    /// For rows of a plan on a snapshot; without `rows` every symbol of the universe is in the dictionary.
    pub(super) fn of(plan: &Plan, snapshot: &Snapshot, rows: Option<&RankedRows>) -> Self {
        let text = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let mut fields =
            vec![Field::new("rank", DataType::Int32, false), Field::new("symbol", text.clone(), false)];
        for output in &plan.outputs {
            let kind = match plan.node(output.node).kind {
                ValueKind::Number => DataType::Float64,
                ValueKind::Integer => DataType::Int64,
                ValueKind::Bool => DataType::Boolean,
                ValueKind::Text => text.clone(),
            };
            fields.push(Field::new(&output.name, kind, true));
        }
        let metadata = HashMap::from([
            ("snapshot_id".to_owned(), snapshot.id.to_string()),
            ("fingerprint".to_owned(), plan.fingerprint.to_string()),
        ]);
        let universe = &snapshot.universe;
        let symbols: StringArray = match rows {
            Some(rows) => rows.symbols.iter().map(|id| Some(universe.symbol(*id).as_str())).collect(),
            None => universe.symbols().iter().map(|symbol| Some(symbol.as_str())).collect(),
        };
        Self {
            schema: Arc::new(Schema::new_with_metadata(fields, metadata)),
            symbols: Arc::new(symbols),
            generator: IpcDataGenerator::default(),
            tracker: DictionaryTracker::new(false),
            options: IpcWriteOptions::default(),
            context: IpcWriteContext::default(),
        }
    }

    /// The first message.
    pub(super) fn schema(&mut self) -> Result<Vec<u8>, ArrowError> {
        let encoded = self.generator.schema_to_bytes_with_dictionary_tracker(
            &self.schema,
            &mut self.tracker,
            &self.options,
        );
        self.message(encoded)
    }

    /// Rows of a range: the dictionaries that are new, then the batch.
    pub(super) fn batch(
        &mut self,
        answer: &ScanAnswer,
        range: Range<usize>,
        first_rank: usize,
    ) -> Result<Vec<Vec<u8>>, ArrowError> {
        let keys = Int32Array::from_iter_values(range.clone().map(number));
        self.encoded(&answer.plan, &answer.rows, keys, range, first_rank)
    }

    /// The same of rows whose symbols are named by their place in the universe.
    pub(super) fn session(
        &mut self,
        plan: &Plan,
        rows: &RankedRows,
        range: Range<usize>,
    ) -> Result<Vec<Vec<u8>>, ArrowError> {
        let ids = rows.symbols[range.clone()].iter().map(|id| number(id.index()));
        let keys = Int32Array::from_iter_values(ids);
        let first_rank = range.start + 1;
        self.encoded(plan, rows, keys, range, first_rank)
    }

    fn encoded(
        &mut self,
        plan: &Plan,
        rows: &RankedRows,
        keys: Int32Array,
        range: Range<usize>,
        first_rank: usize,
    ) -> Result<Vec<Vec<u8>>, ArrowError> {
        let ranks = Int32Array::from_iter_values((0..range.len()).map(|i| number(first_rank + i)));
        // All symbols of the answer are one dictionary, so it is sent once.
        let symbols = DictionaryArray::<Int32Type>::try_new(keys, self.symbols.clone())?;
        let mut columns: Vec<ArrayRef> = vec![Arc::new(ranks), Arc::new(symbols)];
        for (output, cells) in plan.outputs.iter().zip(&rows.columns) {
            columns.push(column(plan.node(output.node).kind, cells, range.clone()));
        }
        let batch = RecordBatch::try_new(self.schema.clone(), columns)?;
        let (dictionaries, rows) =
            self.generator.encode(&batch, &mut self.tracker, &self.options, &mut self.context)?;
        dictionaries.into_iter().chain([rows]).map(|encoded| self.message(encoded)).collect()
    }

    fn message(&self, encoded: EncodedData) -> Result<Vec<u8>, ArrowError> {
        let mut bytes = Vec::with_capacity(encoded.ipc_message.len() + encoded.arrow_data.len() + 64);
        write_message(&mut bytes, encoded, &self.options)?;
        Ok(bytes)
    }
}

fn number(i: usize) -> i32 {
    i32::try_from(i).unwrap_or(i32::MAX)
}

fn column(kind: ValueKind, cells: &Cells, range: Range<usize>) -> ArrayRef {
    let values = match cells {
        Cells::Texts(texts) => {
            let mut builder = StringDictionaryBuilder::<Int32Type>::new();
            builder.extend(texts[range].iter().map(|t| t.as_deref()));
            return Arc::new(builder.finish());
        }
        Cells::Numbers(values) => values[range].iter().map(|v| (!v.is_nan()).then_some(*v)),
    };
    match kind {
        ValueKind::Integer => Arc::new(values.map(|v| v.map(|v| v as i64)).collect::<Int64Array>()),
        ValueKind::Bool => Arc::new(values.map(|v| v.map(|v| v != 0.0)).collect::<BooleanArray>()),
        ValueKind::Number | ValueKind::Text => Arc::new(values.collect::<Float64Array>()),
    }
}
