//! The targets of fuzzing: one function a reader of bytes from outside, each panicking where a promise breaks.
//!
//! Every target also runs over its committed corpus in the ordinary tests. Not here: making inputs ([`mutate`])
//! and knowing which of them are new ([`coverage`]).

pub mod coverage;
pub mod mutate;

use std::sync::Arc;

use panscan_core::block::Provenance;
use panscan_core::scan::ScanSpec;
use panscan_core::time::{SessionDate, Timeframe, Timestamp};
use panscan_fetch::decode::{self, FlatFile};

/// A reader under test.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, and that of the folder of its corpus.
    pub name: &'static str,
    /// Reads one input.
    pub run: fn(&[u8]),
    /// Words that its inputs are made of.
    pub words: &'static [&'static str],
}

const AGGREGATE: &[&str] = &[
    "\"results\":[",
    "\"ticker\":",
    "\"next_url\":",
    "\"queryCount\":",
    "\"resultsCount\":",
    "\"adjusted\":true",
    "\"status\":\"OK\"",
    "{\"T\":\"A\",",
    "\"t\":1651003200000",
    "\"v\":",
    "\"vw\":",
    "\"o\":",
    "\"c\":",
    "\"h\":",
    "\"l\":",
    "\"n\":",
    "null",
    "1e400",
    "-0",
    "2.5e+06",
    "9007199254740993",
    "\\u0000",
    "\"otc\":true",
    "[]",
    "{}",
];
const REFERENCE: &[&str] = &[
    "\"results\":[",
    "\"results\":{",
    "\"ticker\":\"A\"",
    "\"execution_date\":\"2020-01-02\"",
    "\"split_from\":1",
    "\"split_to\":4",
    "\"cash_amount\":0.22",
    "\"ex_dividend_date\":",
    "\"active\":true",
    "\"sic_code\":\"3571\"",
    "\"market_cap\":1e12",
    "\"events\":[",
    "\"date\":\"2022-06-09\"",
    "\"type\":\"ticker_change\"",
    "\"exchange\":",
    "\"open\":\"2025-11-28T14:30:00.000Z\"",
    "\"serverTime\":",
    "\"tickers\":[",
    "\"day\":{",
    "\"prevDay\":{",
    "\"lastTrade\":{",
    "\"min\":{",
    "null",
    "\"next_url\":\"",
    "\\ud800",
    "[]",
    "{}",
];
const CSV: &[&str] = &[
    "ticker,volume,open,close,high,low,window_start,transactions\n",
    "1744792500000000000",
    "1744776000000000000",
    "AAPL,4930,200.29,200.5,200.63,200.29,1744792500000000000,129\n",
    "\"",
    ",",
    "\r\n",
    "\n",
    "1e308",
    "0.1",
];
const EXPRESSION: &[&str] = &[
    "close",
    "volume",
    "sma(close, 20)",
    "rsi(14)",
    "macd(12, 26, 9).signal",
    "rank(",
    "crosses_above",
    "between",
    " and ",
    " or ",
    "not ",
    "in [\"a\", \"b\"]",
    "if(",
    "null",
    "true",
    "@1d",
    "[-1]",
    "(",
    ")",
    ",",
    ">=",
    "=",
    "1e9",
];

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "aggregates", run: aggregates, words: AGGREGATE },
    Target { name: "reference", run: reference, words: REFERENCE },
    Target { name: "snapshots", run: snapshots, words: REFERENCE },
    Target { name: "flatfile", run: flatfile, words: CSV },
    Target { name: "expression", run: expression, words: EXPRESSION },
];

/// The scanner and the general decoder agree bit for bit on whatever both take.
fn aggregates(input: &[u8]) {
    let (scanned, general) = (decode::aggregates(input), decode::aggregates_serde(input));
    match (scanned, general) {
        (Ok(a), Ok(b)) => {
            assert_eq!(a.rows.len(), b.rows.len(), "rows");
            for (a, b) in a.rows.iter().zip(b.rows.iter()) {
                assert_eq!((a.ticker, a.stamp_ms), (b.ticker, b.stamp_ms));
                assert_eq!(a.values.map(f64::to_bits), b.values.map(f64::to_bits));
            }
            assert_eq!(
                (a.ticker, a.adjusted, a.status, a.next_url),
                (b.ticker, b.adjusted, b.status, b.next_url)
            );
        }
        // The scanner passes over what it does not need, and so may take a page that is wrong elsewhere.
        (Ok(_), Err(_)) => {}
        (Err(error), Ok(_)) => panic!("the scanner's way refuses what the general one reads: {error}"),
        (Err(_), Err(_)) => {}
    }
}

fn reference(input: &[u8]) {
    let _ = decode::tickers_page(input);
    let _ = decode::splits_page(input);
    let _ = decode::dividends_page(input);
    let _ = decode::ticker_details(input);
    let _ = decode::ticker_events(input);
    let _ = decode::open_close(input);
    let _ = decode::market_status(input);
    let _ = decode::holidays(input);
    let _ = decode::provider_words(input);
}

fn snapshots(input: &[u8]) {
    if let Ok(read) = decode::snapshots(input) {
        let _ = format!("{read:?}");
    }
}

/// The pieces of a file do not matter, and what is taken is a bar.
fn flatfile(input: &[u8]) {
    let session: SessionDate = SessionDate::from_days(20_194);
    let provenance = || Provenance { provider: Arc::from("fuzz"), fetched_at: Timestamp::from_seconds(0) };
    for timeframe in [Timeframe::Day, Timeframe::Minutes(1)] {
        let read = |piece: usize| {
            let mut file = FlatFile::new(timeframe, session);
            input.chunks(piece).try_for_each(|piece| file.feed(piece)).ok()?;
            file.finish(provenance()).ok()
        };
        let (whole, cut) = (read(usize::MAX), read(7));
        let (Some((whole, refused)), Some((cut, refused_too))) = (whole, cut) else { continue };
        assert_eq!(refused, refused_too);
        assert_eq!((whole.symbols(), whole.rows()), (cut.symbols(), cut.rows()));
        assert!(whole.data().iter().zip(cut.data()).all(|(a, b)| a.to_bits() == b.to_bits()));
        assert!(whole.data().iter().all(|number| !number.is_infinite()));
    }
}

/// Planning ends, and says where it is wrong within the text.
fn expression(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let spec = ScanSpec { filter: text.to_owned(), columns: vec![text.to_owned()], ..ScanSpec::default() };
    match panscan_core::expr::plan(&spec) {
        Ok(plan) => {
            assert!(
                plan.nodes.iter().enumerate().all(|(at, node)| node.inputs.iter().all(|x| x.index() < at))
            );
        }
        Err(error) => assert!(error.errors.iter().all(|error| error.start <= error.end)),
    }
}
