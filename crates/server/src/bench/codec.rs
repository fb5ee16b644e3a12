//! The codec suite: bars of the recorded files to few bytes and back, the product's own codec against general ones
//! on the same blocks. A block is one symbol's columns, one after the other. Not here: generated bars; without the
//! recorded files the suite says that it needs them.

use std::fs::File;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int32Type, Int64Type, UInt32Type, UInt64Type};
use arrow_array::{Array, RecordBatch};
use panscan_cache::codec;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{BenchError, Case, Options};

/// The files, and the columns of each.
const FILES: [&str; 2] = ["daily/us_universe_daily_2016.parquet", "daily/sp500_daily_2013_2018.parquet"];
const COLUMNS: [&str; 5] = ["open", "high", "low", "close", "volume"];
/// Bytes of numbers that are measured with, spread over all symbols of the files.
const SAMPLE_BYTES: usize = 24 << 20;

/// One symbol's columns.
type Bars = Vec<Vec<f64>>;

pub(super) fn run(
    folder: &Path,
    options: &Options,
    progress: &dyn Fn(&Case),
) -> Result<Vec<Case>, BenchError> {
    let rounds = options.iterations.unwrap_or(5);
    let mut blocks: Vec<Bars> = Vec::new();
    for file in FILES {
        blocks.extend(read(&folder.join(file))?);
    }
    let bytes: usize = blocks.iter().map(|block| block[0].len() * block.len() * 8).sum();
    let every = bytes.div_ceil(SAMPLE_BYTES).max(1);
    let blocks: Vec<Bars> = blocks.into_iter().step_by(every).collect();
    let mut cases = Vec::new();
    let mut tell = |case: Case| {
        progress(&case);
        cases.push(case);
    };
    for (bytes, decode) in measure("panscan", &blocks, rounds)? {
        tell(bytes);
        tell(decode);
    }
    for (column, name) in COLUMNS.iter().enumerate() {
        let one: Vec<Bars> = blocks.iter().map(|block| vec![block[column].clone()]).collect();
        for (bytes, decode) in measure(name, &one, rounds)? {
            tell(bytes);
            tell(decode);
        }
    }
    Ok(cases)
}

/// Every codec on the same blocks: a pair of cases for each general one.
fn measure(name: &str, blocks: &[Bars], rounds: usize) -> Result<Vec<(Case, Case)>, BenchError> {
    let raw: f64 = blocks.iter().map(|block| (block[0].len() * block.len() * 8) as f64).sum();
    let coders: [(&'static str, &dyn Coder); 5] =
        [("panscan", &Own), ("lzma", &Lzma), ("pco", &Pco), ("zstd", &Zstd), ("lz4", &Lz4)];
    let mut packed: Vec<Vec<Vec<Vec<u8>>>> = Vec::new();
    for (coder_name, coder) in coders {
        let all: Result<Vec<_>, _> = blocks.iter().map(|block| coder.pack(block)).collect();
        let all = all.map_err(|message| BenchError::Failed { what: coder_name, message })?;
        for (block, bytes) in blocks.iter().zip(&all) {
            let mut back = vec![0.0; block[0].len() * block.len()];
            coder
                .unpack(bytes, block[0].len(), &mut back)
                .map_err(|message| BenchError::Failed { what: coder_name, message })?;
            let same = block.iter().flatten().zip(&back).all(|(a, b)| a.to_bits() == b.to_bits());
            if !same {
                let message = "a block came back with other bits".to_owned();
                return Err(BenchError::Failed { what: coder_name, message });
            }
        }
        packed.push(all);
    }
    let room = blocks.iter().map(|block| block[0].len() * block.len()).max().unwrap_or(0);
    let mut taken: Vec<Vec<Duration>> = vec![Vec::new(); coders.len()];
    let mut out = vec![0.0; room];
    for _ in 0..rounds {
        for (((_, coder), packed), taken) in coders.iter().zip(&packed).zip(&mut taken) {
            let started = Instant::now();
            for (block, bytes) in blocks.iter().zip(packed) {
                let n = block[0].len();
                // Unpacking these bytes worked a moment ago.
                let _ = black_box(coder.unpack(black_box(bytes), n, &mut out[..n * block.len()]));
            }
            taken.push(started.elapsed());
        }
    }
    let speeds: Vec<f64> = taken.iter_mut().map(|t| raw / 1e6 / super::median(t).as_secs_f64()).collect();
    let sizes: Vec<f64> =
        packed.iter().map(|all| all.iter().flatten().map(|bytes| bytes.len() as f64).sum()).collect();
    let case = |what: &str, value: f64, unit, baseline: (&'static str, f64), ratio| {
        let mut case = Case::rate(format!("{name}_{what}"), value, unit, rounds, baseline);
        case.ratio = ratio;
        case
    };
    let pairs = coders.iter().enumerate().skip(1).map(|(i, (peer, _))| {
        let mut bytes = case("bytes", sizes[0], "bytes", (*peer, sizes[i]), sizes[i] / sizes[0]);
        let mut decode = case("decode", speeds[0], "MB/s", (*peer, speeds[i]), speeds[0] / speeds[i]);
        if name == "panscan" && *peer == "lzma" {
            (bytes, decode) = (bytes.at_least(1.5), decode.at_least(40.0));
        } else if name == "panscan" && *peer == "pco" {
            (bytes, decode) = (bytes.at_least(0.9), decode.at_least(4.0));
        }
        (bytes, decode)
    });
    Ok(pairs.collect())
}

/// A codec: a block's columns to one or several runs of bytes, and back into one run of numbers.
trait Coder {
    fn pack(&self, block: &Bars) -> Result<Vec<Vec<u8>>, String>;
    fn unpack(&self, packed: &[Vec<u8>], rows: usize, out: &mut [f64]) -> Result<(), String>;
}

struct Own;

impl Coder for Own {
    fn pack(&self, block: &Bars) -> Result<Vec<Vec<u8>>, String> {
        let columns: Vec<&[f64]> = block.iter().map(Vec::as_slice).collect();
        // A column alone is measured as a close: prices and volumes are told apart by their place only.
        Ok(vec![codec::pack(&columns, 1)])
    }

    fn unpack(&self, packed: &[Vec<u8>], rows: usize, out: &mut [f64]) -> Result<(), String> {
        let columns = out.len() / rows.max(1);
        let bytes = packed.first().map_or(&[][..], Vec::as_slice);
        codec::unpack(bytes, columns, rows, 1, |column, at, values| {
            out[column * rows + at..][..values.len()].copy_from_slice(values);
        })
        .map_err(|e| e.to_string())
    }
}

/// The numbers of a block as bytes, column after column.
fn bytes_of(block: &Bars) -> Vec<u8> {
    block.iter().flatten().flat_map(|v| v.to_le_bytes()).collect()
}

fn numbers_of(bytes: &[u8], out: &mut [f64]) {
    for (out, bytes) in out.iter_mut().zip(bytes.chunks_exact(8)) {
        *out = f64::from_le_bytes(bytes.try_into().unwrap_or_default());
    }
}

struct Lzma;

impl Coder for Lzma {
    fn pack(&self, block: &Bars) -> Result<Vec<Vec<u8>>, String> {
        liblzma::encode_all(&bytes_of(block)[..], 6).map(|bytes| vec![bytes]).map_err(|e| e.to_string())
    }

    fn unpack(&self, packed: &[Vec<u8>], _rows: usize, out: &mut [f64]) -> Result<(), String> {
        let mut bytes = Vec::with_capacity(size_of_val(out));
        for part in packed {
            liblzma::copy_decode(&part[..], &mut bytes).map_err(|e| e.to_string())?;
        }
        numbers_of(&bytes, out);
        Ok(())
    }
}

struct Pco;

impl Coder for Pco {
    fn pack(&self, block: &Bars) -> Result<Vec<Vec<u8>>, String> {
        let config = pco::ChunkConfig::default();
        let packed = block.iter().map(|column| pco::standalone::simple_compress(column, &config));
        packed.collect::<Result<_, _>>().map_err(|e| e.to_string())
    }

    fn unpack(&self, packed: &[Vec<u8>], rows: usize, out: &mut [f64]) -> Result<(), String> {
        for (part, out) in packed.iter().zip(out.chunks_exact_mut(rows)) {
            pco::standalone::simple_decompress_into(part, out).map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}

struct Zstd;

impl Coder for Zstd {
    fn pack(&self, block: &Bars) -> Result<Vec<Vec<u8>>, String> {
        zstd::bulk::compress(&bytes_of(block), 3).map(|bytes| vec![bytes]).map_err(|e| e.to_string())
    }

    fn unpack(&self, packed: &[Vec<u8>], _rows: usize, out: &mut [f64]) -> Result<(), String> {
        for part in packed {
            let bytes = zstd::bulk::decompress(part, size_of_val(out)).map_err(|e| e.to_string())?;
            numbers_of(&bytes, out);
        }
        Ok(())
    }
}

struct Lz4;

impl Coder for Lz4 {
    fn pack(&self, block: &Bars) -> Result<Vec<Vec<u8>>, String> {
        Ok(vec![lz4_flex::compress_prepend_size(&bytes_of(block))])
    }

    fn unpack(&self, packed: &[Vec<u8>], _rows: usize, out: &mut [f64]) -> Result<(), String> {
        for part in packed {
            let bytes = lz4_flex::decompress_size_prepended(part).map_err(|e| e.to_string())?;
            numbers_of(&bytes, out);
        }
        Ok(())
    }
}

/// The columns of every symbol of a file; its rows are in the order of symbols and sessions.
fn read(path: &Path) -> Result<Vec<Bars>, BenchError> {
    let failed = |message: String| BenchError::Failed {
        what: "the recorded bars",
        message: format!(
            "{}: {message}; set PANSCAN_TEST_DATA to the folder of recorded data",
            path.display()
        ),
    };
    let file = File::open(path).map_err(|e| failed(e.to_string()))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| failed(e.to_string()))?;
    let reader = builder.with_batch_size(65_536).build().map_err(|e| failed(e.to_string()))?;
    let mut blocks: Vec<Bars> = Vec::new();
    let mut last = String::new();
    for batch in reader {
        let batch = batch.map_err(|e| failed(e.to_string()))?;
        take(&batch, &mut last, &mut blocks).ok_or_else(|| failed("it has other columns".to_owned()))?;
    }
    if blocks.is_empty() { Err(failed("it holds no bars".to_owned())) } else { Ok(blocks) }
}

fn take(batch: &RecordBatch, last: &mut String, blocks: &mut Vec<Bars>) -> Option<()> {
    let names = names(batch.column_by_name("symbol")?)?;
    let columns: Option<Vec<Vec<f64>>> =
        COLUMNS.iter().map(|name| numbers(batch.column_by_name(name)?)).collect();
    let columns = columns?;
    for (row, name) in names.into_iter().enumerate() {
        if blocks.is_empty() || name != last {
            name.clone_into(last);
            blocks.push(vec![Vec::new(); COLUMNS.len()]);
        }
        for (column, values) in blocks.last_mut()?.iter_mut().zip(&columns) {
            column.push(values[row]);
        }
    }
    Some(())
}

/// The text of every row, whichever way it is laid out.
fn names(array: &dyn Array) -> Option<Vec<&str>> {
    let (values, rows): (&dyn Array, Vec<usize>) = match array.as_any_dictionary_opt() {
        Some(dictionary) => (dictionary.values(), dictionary.normalized_keys()),
        None => (array, (0..array.len()).collect()),
    };
    if let Some(text) = values.as_string_opt::<i32>() {
        return Some(rows.into_iter().map(|row| text.value(row)).collect());
    }
    let text = values.as_string_opt::<i64>()?;
    Some(rows.into_iter().map(|row| text.value(row)).collect())
}

/// The numbers of a column; null is NaN.
fn numbers(array: &dyn Array) -> Option<Vec<f64>> {
    macro_rules! column {
        ($($kind:ty),*) => {
            $(if let Some(values) = array.as_primitive_opt::<$kind>() {
                return Some(values.iter().map(|value| value.map_or(f64::NAN, |value| value as f64)).collect());
            })*
        };
    }
    column!(Float64Type, Float32Type, Int64Type, Int32Type, UInt64Type, UInt32Type);
    None
}
