//! A market from recorded bars in Parquet files, served with the defects they have.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use panscan_core::calendar::Calendar;
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timestamp};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::error::SimError;
use crate::listing::{self, Listing};
use crate::market::{Days, MINUTE_MS, Market, Minutes, Ohlcv, Session};
use crate::rng::hash;

const REMEDY: &str = "the columns symbol, date or ts, open, high, low, close, volume are needed, \
                      vwap and trades may be there";

/// Daily and minute rows by symbol, as read.
#[derive(Default)]
struct Rows {
    days: BTreeMap<Symbol, Vec<(SessionDate, Ohlcv)>>,
    minutes: BTreeMap<Symbol, Vec<(i64, Ohlcv)>>,
}

/// Reads the market.
pub(crate) fn market(files: &[PathBuf], universe: Option<&Path>) -> Result<Market, SimError> {
    if files.is_empty() {
        return Err(SimError::setting("data", "names no file; give at least one Parquet file of bars"));
    }
    let mut rows = Rows::default();
    let mut identity = String::new();
    for path in files {
        let count = read(path, &mut rows)?;
        let size = std::fs::metadata(path).map_err(|source| SimError::file("read", path, source))?.len();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        identity.push_str(&format!("{name}|{size}|{count};"));
    }
    let attributes = universe.map(listing::read).transpose()?.unwrap_or_default();
    let id = format!("rec-{:016x}", hash(identity.as_bytes(), 0));
    assemble(rows, &attributes, id, &files[0])
}

fn assemble(
    mut rows: Rows,
    attributes: &HashMap<Symbol, Listing>,
    id: String,
    first: &Path,
) -> Result<Market, SimError> {
    days_of_minutes(&mut rows);
    let dates: BTreeSet<SessionDate> = rows.days.values().flatten().map(|row| row.0).collect();
    if dates.is_empty() {
        return Err(SimError::data(first, "holds no bars", REMEDY));
    }
    let sessions: Vec<Session> = dates.into_iter().map(Session::new).collect();
    let place: HashMap<SessionDate, usize> =
        sessions.iter().enumerate().map(|(at, session)| (session.date, at)).collect();
    let names: BTreeSet<Symbol> = rows.days.keys().chain(rows.minutes.keys()).cloned().collect();

    let mut days = vec![None; names.len() * sessions.len()];
    let mut minutes = Vec::with_capacity(names.len());
    let mut listings = Vec::with_capacity(names.len());
    let mut index = HashMap::with_capacity(names.len());
    for (at, name) in names.into_iter().enumerate() {
        let own_days = rows.days.remove(&name).unwrap_or_default();
        let first = own_days.iter().map(|row| row.0).min();
        for (date, bar) in own_days {
            days[at * sessions.len() + place[&date]] = Some(bar);
        }
        let mut own = rows.minutes.remove(&name).unwrap_or_default();
        own.sort_by_key(|row| row.0);
        minutes.push(own);
        let mut listing = attributes.get(&name).cloned().unwrap_or_else(|| Listing::bare(name.clone()));
        // a ticker that was listed again later is another company's date, and would hide the bars at hand
        listing.list_date = listing.list_date.filter(|listed| first.is_some_and(|first| *listed <= first));
        listings.push(listing);
        index.insert(name, u32::try_from(at).unwrap_or(u32::MAX));
    }
    Ok(Market {
        id,
        sessions,
        listings,
        index,
        days: Days::Recorded(days),
        minutes: Minutes::Recorded(minutes),
        splits: Vec::new(),
    })
}

/// A day that only minutes were recorded of is the join of its regular hours.
fn days_of_minutes(rows: &mut Rows) {
    let calendar = Calendar::us_equities();
    for (name, minutes) in &rows.minutes {
        let mut parts: BTreeMap<SessionDate, Vec<Ohlcv>> = BTreeMap::new();
        for (start, bar) in minutes {
            let at = Timestamp::from_millis(*start);
            let date = calendar.session_of(at);
            let all = parts.entry(date).or_default();
            if calendar.open(date) <= at && at < calendar.close(date) {
                all.push(*bar);
            }
        }
        let known: BTreeSet<SessionDate> =
            rows.days.get(name).into_iter().flatten().map(|row| row.0).collect();
        let missing = parts.into_iter().filter(|part| !known.contains(&part.0));
        let days: Vec<_> = missing.filter_map(|(date, bars)| Some((date, Ohlcv::joined(bars)?))).collect();
        if !days.is_empty() {
            rows.days.entry(name.clone()).or_default().extend(days);
        }
    }
}

/// Reads one file into `rows` and says how many rows it has.
fn read(path: &Path, rows: &mut Rows) -> Result<usize, SimError> {
    let file = File::open(path).map_err(|source| SimError::file("read", path, source))?;
    let wrong = |fault: String| SimError::data(path, format!("is no readable Parquet file: {fault}"), REMEDY);
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|fault| wrong(fault.to_string()))?;
    let reader = builder.with_batch_size(65_536).build().map_err(|fault| wrong(fault.to_string()))?;
    let mut count = 0;
    for batch in reader {
        let batch = batch.map_err(|fault| wrong(fault.to_string()))?;
        take(path, &batch, rows, count)?;
        count += batch.num_rows();
    }
    Ok(count)
}

fn take(path: &Path, batch: &RecordBatch, rows: &mut Rows, before: usize) -> Result<(), SimError> {
    let need = |name: &str| {
        batch
            .column_by_name(name)
            .ok_or_else(|| SimError::data(path, format!("has no column `{name}`"), REMEDY))
    };
    let odd = |name: &str, array: &ArrayRef| {
        SimError::data(path, format!("column `{name}` has the type {}", array.data_type()), REMEDY)
    };
    let symbols = texts(need("symbol")?).ok_or_else(|| odd("symbol", &batch.columns()[0]))?;
    let symbols: Vec<Option<Symbol>> = symbols
        .distinct
        .iter()
        .map(|text| text.as_deref().map(Symbol::new).transpose())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|fault| SimError::data(path, fault.to_string(), "correct or remove its rows"))
        .map(|distinct| symbols.keys.iter().map(|&key| distinct.get(key).cloned().flatten()).collect())?;
    let column =
        |name: &'static str| need(name).and_then(|array| numbers(array).ok_or_else(|| odd(name, array)));
    let optional = |name: &'static str| match batch.column_by_name(name) {
        Some(array) => numbers(array).ok_or_else(|| odd(name, array)),
        None => Ok(vec![f64::NAN; batch.num_rows()]),
    };
    let (o, h, l, c, v) =
        (column("open")?, column("high")?, column("low")?, column("close")?, column("volume")?);
    let (vw, n) = (optional("vwap")?, optional("trades")?);
    let bar = |at: usize| Ohlcv { o: o[at], h: h[at], l: l[at], c: c[at], v: v[at], vw: vw[at], n: n[at] };
    let line =
        |at: usize, what: &str| SimError::data(path, format!("row {}: {what}", before + at + 1), REMEDY);
    let name = |at: usize| symbols[at].clone().ok_or_else(|| line(at, "the symbol is null"));

    if let Some(array) = batch.column_by_name("date") {
        let dates = dates(array).ok_or_else(|| odd("date", array))?;
        for (at, date) in dates.into_iter().enumerate() {
            let date = date.ok_or_else(|| line(at, "the date is null"))?;
            push(&mut rows.days, name(at)?, (date, bar(at)));
        }
        return Ok(());
    }
    let array = batch
        .column_by_name("ts")
        .ok_or_else(|| SimError::data(path, "has neither `date` nor `ts`", REMEDY))?;
    let starts = millis(array).ok_or_else(|| odd("ts", array))?;
    for (at, start) in starts.into_iter().enumerate() {
        let start = start.ok_or_else(|| line(at, "the ts is null"))?;
        if start % MINUTE_MS != 0 {
            return Err(line(at, "the ts is no whole minute; only daily and minute bars are served"));
        }
        push(&mut rows.minutes, name(at)?, (start, bar(at)));
    }
    Ok(())
}

fn push<T>(into: &mut BTreeMap<Symbol, Vec<T>>, name: Symbol, row: T) {
    into.entry(name).or_default().push(row);
}

/// A column of texts: each distinct one once, and which of them each row has.
struct Texts {
    distinct: Vec<Option<String>>,
    keys: Vec<usize>,
}

fn texts(array: &ArrayRef) -> Option<Texts> {
    if let Some(dictionary) = array.as_any_dictionary_opt() {
        let mut distinct = plain_texts(dictionary.values())?;
        // a null row points behind the last text
        let null = distinct.len();
        distinct.push(None);
        let keys = dictionary.keys();
        let keys = dictionary
            .normalized_keys()
            .into_iter()
            .enumerate()
            .map(|(at, key)| if keys.is_null(at) { null } else { key })
            .collect();
        return Some(Texts { distinct, keys });
    }
    let distinct = plain_texts(array)?;
    Some(Texts { keys: (0..distinct.len()).collect(), distinct })
}

fn plain_texts(array: &ArrayRef) -> Option<Vec<Option<String>>> {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    match array.data_type() {
        DataType::Utf8 => Some(array.as_string::<i32>().iter().map(owned).collect()),
        DataType::LargeUtf8 => Some(array.as_string::<i64>().iter().map(owned).collect()),
        DataType::Utf8View => Some(array.as_string_view().iter().map(owned).collect()),
        _ => None,
    }
}

fn numbers(array: &ArrayRef) -> Option<Vec<f64>> {
    macro_rules! column {
        ($kind:ty) => {
            array.as_primitive::<$kind>().iter().map(|x| x.map_or(f64::NAN, |x| x as f64)).collect()
        };
    }
    Some(match array.data_type() {
        DataType::Float64 => column!(Float64Type),
        DataType::Float32 => column!(Float32Type),
        DataType::Int64 => column!(Int64Type),
        DataType::Int32 => column!(Int32Type),
        DataType::UInt64 => column!(UInt64Type),
        DataType::UInt32 => column!(UInt32Type),
        _ => return None,
    })
}

fn dates(array: &ArrayRef) -> Option<Vec<Option<SessionDate>>> {
    match array.data_type() {
        DataType::Date32 => Some(
            array.as_primitive::<Date32Type>().iter().map(|day| day.map(SessionDate::from_days)).collect(),
        ),
        DataType::Utf8 => Some(array.as_string::<i32>().iter().map(|text| text?.parse().ok()).collect()),
        _ => None,
    }
}

fn millis(array: &ArrayRef) -> Option<Vec<Option<i64>>> {
    macro_rules! column {
        ($kind:ty, $scale:expr) => {
            array.as_primitive::<$kind>().iter().map(|x| x.map($scale)).collect()
        };
    }
    Some(match array.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => column!(TimestampSecondType, |x| x.saturating_mul(1_000)),
        DataType::Timestamp(TimeUnit::Millisecond, _) => column!(TimestampMillisecondType, |x| x),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            column!(TimestampMicrosecondType, |x| x.div_euclid(1_000))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            column!(TimestampNanosecondType, |x| x.div_euclid(1_000_000))
        }
        DataType::Int64 => column!(Int64Type, |x| x),
        _ => return None,
    })
}
