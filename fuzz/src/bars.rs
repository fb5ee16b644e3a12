//! Bars of every provider: pages, charts, series, flat files.

use std::sync::Arc;

use bytes::Bytes;
use panscan_core::block::{Block, Provenance};
use panscan_core::calendar::Calendar;
use panscan_core::time::{SessionDate, Timeframe, Timestamp};
use panscan_fetch::decode::{self, Aggregates, FlatFile};
use panscan_fetch::doors;

use crate::tree::{Tree, number, same, spaced};

fn equal(a: &Aggregates, b: &Aggregates) {
    assert_eq!(a.rows.len(), b.rows.len(), "rows");
    for (a, b) in a.rows.iter().zip(b.rows.iter()) {
        assert_eq!((a.ticker, a.stamp_ms), (b.ticker, b.stamp_ms));
        assert!(same(&a.values, &b.values), "{:?} {:?}", a.values, b.values);
    }
    assert_eq!((&a.ticker, a.adjusted), (&b.ticker, b.adjusted));
    assert_eq!((&a.status, &a.next_url), (&b.status, &b.next_url));
}

/// The scanner and the general decoder agree bit for bit on whatever both take, and spaces do not matter.
pub(crate) fn aggregates(input: &[u8]) {
    let (scanned, general) = (decode::aggregates(input), decode::aggregates_serde(input));
    match (scanned, general) {
        (Ok(scanned), Ok(general)) => {
            equal(&scanned, &general);
            equal(&general, &decode::aggregates(&spaced(input)).expect("spaces do not matter"));
            let Some(tree) = Tree::read(input) else { return };
            let sent = tree.get("results").map(Tree::items).unwrap_or_default();
            assert_eq!(sent.len(), general.rows.len());
            for (sent, read) in sent.iter().zip(general.rows.iter()) {
                let numbers = ["o", "h", "l", "c", "v", "vw", "n"].map(|name| number(sent.get(name)));
                assert!(same(&numbers, &read.values), "{numbers:?} {:?}", read.values);
            }
        }
        // The scanner passes over what it does not need, and so may take a page that is wrong elsewhere.
        (Ok(_), Err(_)) | (Err(_), Err(_)) => {}
        (Err(error), Ok(_)) => panic!("the scanner's way refuses what the general one reads: {error}"),
    }
}

/// Every row of every symbol is there, with its numbers.
pub(crate) fn alpaca_bars(input: &[u8]) {
    let _ = decode::alpaca_words(input);
    let (Ok(page), Some(tree)) = (decode::alpaca_bars(input), Tree::read(input)) else { return };
    let symbols = tree.get("bars").map(Tree::entries).unwrap_or_default();
    let sent = symbols.iter().flat_map(|(symbol, rows)| rows.items().iter().map(move |row| (symbol, row)));
    assert_eq!(page.rows.len(), sent.clone().count());
    for (read, (symbol, row)) in page.rows.iter().zip(sent) {
        let numbers = ["o", "h", "l", "c", "v", "vw", "n"].map(|name| number(row.get(name)));
        assert_eq!(read.ticker, symbol);
        assert!(same(&numbers, &read.values), "{numbers:?} {:?}", read.values);
        let stamp = row.get("t").and_then(Tree::text).and_then(|text| text.parse::<Timestamp>().ok());
        assert_eq!(read.stamp_ms, stamp.map(Timestamp::as_millis));
    }
    let token = tree.get("next_page_token").and_then(Tree::text).filter(|token| !token.is_empty());
    assert_eq!(page.next_token.as_deref(), token);
}

/// Columns stay in step whatever is missing in them, and every row is a row or a hole.
pub(crate) fn yahoo_chart(input: &[u8]) {
    let _ = decode::yahoo_words(input);
    let (Ok(chart), Some(tree)) = (decode::yahoo_chart(input), Tree::read(input)) else { return };
    let result = tree.get("chart").and_then(|chart| chart.get("result")).map(Tree::items);
    let Some(result) = result.and_then(<[Tree]>::first) else { panic!("a chart without a result") };
    let stamps = result.get("timestamp").map(Tree::items).unwrap_or_default();
    let quote = result.get("indicators").and_then(|all| all.get("quote")).map(Tree::items);
    let quote = quote.and_then(<[Tree]>::first);
    let column = |name| quote.and_then(|quote| quote.get(name)).map(Tree::items).unwrap_or_default();
    let columns = ["open", "high", "low", "close", "volume"].map(column);
    assert_eq!(chart.rows.len() + chart.holes, stamps.len());
    let mut rows = chart.rows.iter();
    for (at, stamp) in stamps.iter().enumerate() {
        let numbers = columns.map(|column| number(column.get(at)));
        if numbers[3].is_nan() {
            continue;
        }
        let Some(row) = rows.next() else { panic!("a row less than there are closes") };
        assert!(same(&numbers, &row.values[..5]), "{numbers:?} {:?}", row.values);
        assert!(row.values[5..].iter().all(|value| value.is_nan()));
        if let Some(seconds) = stamp.whole() {
            assert_eq!(row.stamp_ms, seconds.checked_mul(1_000));
        }
    }
    assert!(rows.next().is_none());
}

/// Every row of the series is there, and its stamp lies within its own day of New York.
pub(crate) fn alpha_vantage_series(input: &[u8]) {
    let _ = decode::alpha_vantage_notice(input);
    let (Ok(rows), Some(tree)) = (decode::alpha_vantage_series(input), Tree::read(input)) else { return };
    let series = tree.entries().iter().rfind(|(name, _)| name.starts_with("Time Series ("));
    let Some((_, series)) = series else { panic!("rows without a series") };
    assert_eq!(rows.len(), series.entries().len());
    for (read, (time, row)) in rows.iter().zip(series.entries()) {
        let value = |name: &str| match row.get(name) {
            Some(Tree::Text(text)) => {
                text.trim().parse().ok().filter(|x: &f64| x.is_finite()).unwrap_or(f64::INFINITY)
            }
            other => number(other),
        };
        let numbers = ["1. open", "2. high", "3. low", "4. close", "5. volume"].map(value);
        assert!(same(&numbers, &read.values[..5]), "{numbers:?} {:?}", read.values);
        if let Some(stamp) = read.stamp_ms {
            let date = time.split(' ').next().and_then(|date| date.parse::<SessionDate>().ok());
            let Some(date) = date else { panic!("a stamp without a date: {time}") };
            let midnight = Calendar::us_equities().midnight(date).as_millis();
            assert!((midnight..midnight + 86_400_000).contains(&stamp), "{time}: {stamp}");
        }
    }
}

fn session() -> SessionDate {
    SessionDate::from_days(20_194)
}

fn laid(file: FlatFile) -> Option<(Block, usize)> {
    let provenance = Provenance { provider: Arc::from("fuzz"), fetched_at: Timestamp::from_seconds(0) };
    file.finish(provenance).ok().map(|(block, refused)| (block, refused.len()))
}

fn plain(input: &[u8], timeframe: Timeframe, piece: usize) -> Option<(Block, usize)> {
    let mut file = FlatFile::new(timeframe, session());
    input.chunks(piece).try_for_each(|piece| file.feed(piece)).ok()?;
    laid(file)
}

fn equal_files(a: &(Block, usize), b: &(Block, usize)) {
    assert_eq!(a.1, b.1, "refused");
    assert_eq!((a.0.symbols(), a.0.rows()), (b.0.symbols(), b.0.rows()));
    assert!(same(a.0.data(), b.0.data()));
}

/// The pieces of a file do not matter, and what is taken is a bar.
pub(crate) fn flatfile(input: &[u8]) {
    for timeframe in [Timeframe::Day, Timeframe::Minutes(1)] {
        let (whole, cut) = (plain(input, timeframe, usize::MAX), plain(input, timeframe, 7));
        let (Some(whole), Some(cut)) = (whole, cut) else { continue };
        equal_files(&whole, &cut);
        assert!(whole.0.data().iter().all(|number| !number.is_infinite()));
    }
}

/// A compressed file gives what its text gives; cut short or changed anywhere it is an error, or still the same.
pub(crate) fn flatfile_gz(input: &[u8]) {
    let read = |bytes: &[u8], piece: usize| {
        let pieces = bytes.chunks(piece).map(Bytes::copy_from_slice);
        doors::compressed_file(pieces, Timeframe::Minutes(1), session()).ok()
    };
    let _ = read(input, 64);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, input).expect("memory takes everything");
    let good = encoder.finish().expect("memory takes everything");
    let text = plain(input, Timeframe::Minutes(1), usize::MAX);
    let back = read(&good, 11).and_then(laid);
    match (&text, &back) {
        (Some(text), Some(back)) => equal_files(text, back),
        (None, None) => {}
        _ => panic!("compressed and plain are taken differently"),
    }
    let sum = crc32fast::hash(input) as usize;
    assert!(read(&good[..sum % good.len()], 16).is_none(), "a file that was cut short is no file");
    let mut bad = good.clone();
    bad[sum % good.len()] ^= 1 << (sum >> 16 & 7);
    // The name and time in the head of the compressed form mean nothing to its content.
    if let Some(read) = read(&bad, 16).and_then(laid) {
        let Some(text) = &text else { panic!("a wrong file is read, the right one is not") };
        equal_files(&read, text);
    }
}
