//! Universe files as people have them, the recorded ones included.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, also in what its cases share")]

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, DictionaryArray, Float64Array, Int64Array, RecordBatch, StringArray,
};
use panscan_core::universe::{Listing, TextAttribute, Universe};
use panscan_universe::{REJECTED_MAX, UniverseError, read_universe_file};
use tempfile::TempDir;

fn written(name: &str, body: &[u8]) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, body).unwrap();
    (dir, path)
}

fn gzipped(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn text(listing: &Listing, attribute: TextAttribute) -> Option<&str> {
    listing.text[attribute as usize].as_deref()
}

const SMALL: &str = "\u{feff}Symbol,NAME,exchange,sector,market_cap,active,list_date,ipo_year,ipo_year\r\n\
    NA,\"Nano, Labs\",NASDAQ,Technology,46428180,true,2022-07-12,2022,x\r\n\
    NAN,,NYSE,,0,,,,\r\n\
    BRK/B,Berkshire,NYSE ARCA,Finance,,0,,,\r\n";

#[test]
fn csv_and_gzipped_csv_read_alike() {
    for (name, body) in [
        ("a.csv", SMALL.as_bytes().to_vec()),
        ("A.CSV", SMALL.as_bytes().to_vec()),
        ("a.csv.gz", gzipped(SMALL.as_bytes())),
        ("two.csv.GZ", [gzipped(&SMALL.as_bytes()[..50]), gzipped(&SMALL.as_bytes()[50..])].concat()),
    ] {
        let (_dir, path) = written(name, &body);
        let import = read_universe_file(&path).unwrap();
        assert_eq!(import.unknown_columns, ["ipo_year"]);
        assert!(import.rejected.is_empty(), "{:?}", import.rejected);
        let [na, nan, brk] = &import.listings[..] else { panic!("{:?}", import.listings) };
        assert_eq!((na.symbol.as_str(), nan.symbol.as_str(), brk.symbol.as_str()), ("NA", "NAN", "BRK/B"));
        assert_eq!(text(na, TextAttribute::Name), Some("Nano, Labs"));
        assert_eq!(text(na, TextAttribute::Exchange), Some("XNAS"));
        assert_eq!((na.market_cap, na.active), (Some(46_428_180.0), Some(true)));
        assert_eq!(na.list_date.unwrap().to_string(), "2022-07-12");
        assert_eq!((text(nan, TextAttribute::Sector), nan.market_cap, nan.active), (None, None, None));
        assert_eq!((text(brk, TextAttribute::Exchange), brk.active), (Some("ARCX"), Some(false)));
    }
}

#[test]
fn bad_rows_and_cells_are_named_and_the_rest_is_taken() {
    let body =
        b"symbol,sector,market_cap,delist_date\nA,x,1,\n,x,1,\nB B,x,1,\nC,x\nD,\xff\xfe,1,\nE,x,lots,soon\n";
    let (_dir, path) = written("a.csv", body);
    let import = read_universe_file(&path).unwrap();
    let symbols: Vec<&str> = import.listings.iter().map(|l| l.symbol.as_str()).collect();
    assert_eq!(symbols, ["A", "E"]);
    let lines: Vec<u64> = import.rejected.iter().map(|r| r.line).collect();
    assert_eq!((lines, import.rejected_count), (vec![3, 4, 5, 6, 7, 7], 6));
    let reasons: Vec<&str> = import.rejected.iter().map(|r| r.reason.as_str()).collect();
    for (reason, part) in
        reasons.iter().zip(["empty", "\"B B\"", "2 cells", "UTF-8", "market_cap \"lots\"", "delist_date"])
    {
        assert!(reason.contains(part), "{reason}");
    }
    assert_eq!((import.listings[1].market_cap, import.listings[1].delist_date), (None, None));

    let many = format!("symbol\n{}", "A B\n".repeat(REJECTED_MAX + 500));
    let (_dir, path) = written("b.csv", many.as_bytes());
    let import = read_universe_file(&path).unwrap();
    assert_eq!((import.rejected.len(), import.rejected_count), (REJECTED_MAX, REJECTED_MAX as u64 + 500));
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_remedy() {
    let cut = gzipped(SMALL.as_bytes());
    for (name, body, parts) in [
        ("a.csv", &b"ticker,Sector\nA,x\n"[..], ["no column symbol", "sector, ticker"]),
        ("a.csv", b"", ["no column symbol", "empty header"]),
        ("a.csv", b"symbol,name,Symbol\n", ["symbol twice", "remove one"]),
        ("a.csv.gz", b"symbol\nA\n", ["cannot read", "gzipped CSV"]),
        ("a.csv.gz", &cut[..cut.len() - 12], ["cannot read", "whole"]),
        ("a.parquet", b"PAR1 and no more", ["cannot read", "Parquet"]),
        ("a.xlsx", b"", ["no known ending", ".csv.gz"]),
    ] {
        let (_dir, path) = written(name, body);
        let message = read_universe_file(&path).unwrap_err().to_string();
        let shown = path.display().to_string();
        assert!(parts.iter().chain([&shown.as_str()]).all(|p| message.contains(p)), "{message}");
    }
    let error = read_universe_file(Path::new("/nowhere/a.csv")).unwrap_err();
    assert!(matches!(error, UniverseError::Open { .. }));
    assert_eq!(error.kind(), panscan_core::Kind::NotFound);
}

#[test]
fn parquet_reads_by_type() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("u.Parquet");
    let sectors: DictionaryArray<Int32Type> = [Some("Energy"), None, Some("Energy")].into_iter().collect();
    let columns: [(&str, ArrayRef); 8] = [
        ("ignored", Arc::new(Int64Array::from(vec![1, 2, 3]))),
        ("sector", Arc::new(sectors)),
        ("Symbol", Arc::new(StringArray::from(vec![Some("NA"), Some("B"), None]))),
        ("exchange", Arc::new(StringArray::from(vec!["NASDAQ", "NYSE", "AMEX"]))),
        ("market_cap", Arc::new(Float64Array::from(vec![5e9, f64::NAN, 0.0]))),
        ("shares_outstanding", Arc::new(Int64Array::from(vec![Some(7), None, Some(-1)]))),
        ("active", Arc::new(BooleanArray::from(vec![Some(false), None, None]))),
        ("list_date", Arc::new(Date32Array::from(vec![Some(0), None, None]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer =
        parquet::arrow::ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let import = read_universe_file(&path).unwrap();
    assert_eq!(import.unknown_columns, ["ignored"]);
    let [a, b] = &import.listings[..] else { panic!("{:?}", import.listings) };
    assert_eq!((a.symbol.as_str(), text(a, TextAttribute::Sector)), ("NA", Some("Energy")));
    assert_eq!((a.market_cap, a.shares_outstanding, a.active), (Some(5e9), Some(7.0), Some(false)));
    assert_eq!(a.list_date.unwrap().to_string(), "1970-01-01");
    assert_eq!((text(b, TextAttribute::Exchange), text(b, TextAttribute::Sector)), (Some("XNYS"), None));
    assert_eq!((b.market_cap, b.active), (None, None));
    assert_eq!((import.rejected[0].line, import.rejected[0].reason.as_str()), (3, "symbol is empty"));

    let wrong: [(&str, ArrayRef); 1] = [("symbol", Arc::new(Int64Array::from(vec![1])))];
    let batch = RecordBatch::try_from_iter(wrong).unwrap();
    let mut writer =
        parquet::arrow::ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let message = read_universe_file(&path).unwrap_err().to_string();
    assert!(message.contains("the column symbol has the type Int64"), "{message}");
}

/// The folder of recorded data, if this machine has it.
fn recorded() -> Option<PathBuf> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the tests' own switch; the product reads no such thing here"
    )]
    let set = std::env::var_os("PANSCAN_TEST_DATA").map(PathBuf::from);
    let dir = set.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"));
    dir.join("universe").is_dir().then(|| dir.join("universe"))
}

#[test]
fn the_recorded_universes_are_read_whole() {
    let Some(dir) = recorded() else {
        eprintln!("skipped the_recorded_universes_are_read_whole: no recorded data; set PANSCAN_TEST_DATA");
        return;
    };
    // File, rows, with a sector, with a market cap above zero, unknown columns.
    let files = [
        ("us_symbols_2026-08-22.csv.gz", 7182, 6464, 5834, 4),
        ("us_symbols_2021-01-30.csv.gz", 7297, 5805, 5646, 4),
        ("us_universe_2016_join.csv.gz", 6596, 3686, 4079, 6),
        ("sp500_constituents_2026-08-08.csv", 503, 0, 0, 7),
    ];
    for (name, rows, sectors, caps, unknown) in files {
        let import = read_universe_file(&dir.join(name)).unwrap();
        assert_eq!((import.rejected_count, import.unknown_columns.len()), (0, unknown), "{name}");
        let universe = Universe::new("default", 1, Default::default(), import.listings);
        assert_eq!(universe.len(), rows, "{name}: no ticker stands twice");
        let with = |attribute| universe.text(attribute).codes().iter().filter(|c| **c > 0).count();
        assert_eq!(with(TextAttribute::Sector), sectors, "{name}");
        let known = universe.market_cap().iter().filter(|v| !v.is_nan()).count();
        assert_eq!(known, caps, "{name}");
        if rows > 600 {
            assert!(universe.find("NAN").is_some());
            let exchanges = universe.text(TextAttribute::Exchange).dictionary();
            assert!(exchanges.iter().all(|e| ["", "XNAS", "XNYS", "XASE"].contains(&&**e)), "{exchanges:?}");
        }
    }
}
