//! What is known about a symbol besides its bars, and the file form of a list of them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use panscan_core::symbol::Symbol;
use panscan_core::time::SessionDate;

use crate::error::SimError;
use crate::sector::mic;

/// The columns that are written, and those of them that are read.
const COLUMNS: [&str; 11] = [
    "symbol",
    "name",
    "exchange",
    "type",
    "sector",
    "industry",
    "country",
    "currency",
    "market_cap",
    "shares_outstanding",
    "list_date",
];

/// One symbol's attributes; an empty text or NaN is unknown.
#[derive(Debug, Clone)]
pub(crate) struct Listing {
    pub(crate) symbol: Symbol,
    pub(crate) name: String,
    /// Market identifier code.
    pub(crate) exchange: Cow<'static, str>,
    /// The provider's code of the type: CS, ETF, ADRC, …
    pub(crate) kind: Cow<'static, str>,
    pub(crate) sector: Cow<'static, str>,
    pub(crate) industry: Cow<'static, str>,
    pub(crate) country: Cow<'static, str>,
    pub(crate) currency: Cow<'static, str>,
    /// In the currency.
    pub(crate) market_cap: f64,
    pub(crate) shares: f64,
    pub(crate) list_date: Option<SessionDate>,
}

impl Listing {
    /// A symbol of which nothing else is known.
    pub(crate) fn bare(symbol: Symbol) -> Self {
        Self {
            symbol,
            name: String::new(),
            exchange: Cow::Borrowed(""),
            kind: Cow::Borrowed("CS"),
            sector: Cow::Borrowed(""),
            industry: Cow::Borrowed(""),
            country: Cow::Borrowed(""),
            currency: Cow::Borrowed("USD"),
            market_cap: f64::NAN,
            shares: f64::NAN,
            list_date: None,
        }
    }
}

/// Reads a universe file, CSV or `.csv.gz`; unknown columns are ignored, a row without a readable symbol is
/// an error that names its line.
pub(crate) fn read(path: &Path) -> Result<HashMap<Symbol, Listing>, SimError> {
    let file = File::open(path).map_err(|source| SimError::file("read", path, source))?;
    let packed = path.extension().is_some_and(|ending| ending == "gz");
    let text: Box<dyn Read> = if packed {
        Box::new(flate2::read::MultiGzDecoder::new(BufReader::new(file)))
    } else {
        Box::new(file)
    };
    let unreadable = |fault: csv::Error| {
        SimError::data(path, fault.to_string(), "it must be CSV or .csv.gz with a header line")
    };
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(BufReader::new(text));
    let header = reader.headers().map_err(unreadable)?.clone();
    let column = COLUMNS.map(|name| header.iter().position(|title| title.trim() == name));
    let known = |title: &str| COLUMNS.contains(&title) || matches!(title, "delist_date" | "active");
    let unknown: Vec<&str> = header.iter().map(str::trim).filter(|title| !known(title)).collect();
    if !unknown.is_empty() {
        tracing::info!(path = %path.display(), columns = unknown.join(", "), "unknown columns are ignored");
    }
    let [Some(symbol_at), rest @ ..] = column else {
        return Err(SimError::data(path, "has no column `symbol`", "add one; other columns are optional"));
    };
    let mut listings = HashMap::new();
    let mut row = csv::StringRecord::new();
    while reader.read_record(&mut row).map_err(unreadable)? {
        let line = row.position().map_or(0, csv::Position::line);
        let symbol = Symbol::new(row.get(symbol_at).unwrap_or_default().trim()).map_err(|fault| {
            SimError::data(path, format!("line {line}: {fault}"), "correct or remove the line")
        })?;
        let text = |at: usize| rest[at].and_then(|at| row.get(at)).unwrap_or_default().trim();
        let number = |at: usize| text(at).parse().ok().filter(|x: &f64| x.is_finite() && *x > 0.0);
        let owned = |at: usize| Cow::Owned(text(at).to_owned());
        let bare = Listing::bare(symbol.clone());
        let listing = Listing {
            name: text(0).to_owned(),
            exchange: Cow::Owned(mic(text(1)).to_owned()),
            kind: if text(2).is_empty() { bare.kind.clone() } else { owned(2) },
            sector: owned(3),
            industry: owned(4),
            country: owned(5),
            currency: if text(6).is_empty() { bare.currency.clone() } else { owned(6) },
            market_cap: number(7).unwrap_or(f64::NAN),
            shares: number(8).unwrap_or(f64::NAN),
            list_date: text(9).parse().ok(),
            ..bare
        };
        listings.insert(symbol, listing);
    }
    Ok(listings)
}

/// Writes a universe file as CSV.
pub(crate) fn write(path: &Path, listings: &[Listing]) -> Result<(), SimError> {
    let failed = |source| SimError::file("write", path, source);
    let file = File::create(path).map_err(failed)?;
    let mut writer = csv::Writer::from_writer(BufWriter::new(file));
    let number = |x: f64| if x.is_nan() { String::new() } else { x.to_string() };
    let wrong = |fault: csv::Error| failed(std::io::Error::other(fault));
    writer.write_record(COLUMNS).map_err(wrong)?;
    for listing in listings {
        let date = listing.list_date.map(|date| date.to_string()).unwrap_or_default();
        writer
            .write_record([
                listing.symbol.as_str(),
                &listing.name,
                &listing.exchange,
                &listing.kind,
                &listing.sector,
                &listing.industry,
                &listing.country,
                &listing.currency,
                &number(listing.market_cap),
                &number(listing.shares),
                &date,
            ])
            .map_err(wrong)?;
    }
    let mut file = writer.into_inner().map_err(|fault| failed(fault.into_error()))?;
    file.flush().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_keeps_awkward_symbols() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("universe.csv");
        let mut one = Listing::bare(Symbol::new("NA").unwrap());
        one.name = "Comma, \"quoted\" Inc.".into();
        one.market_cap = 1.5e9;
        one.list_date = "2001-02-03".parse().ok();
        let two = Listing::bare(Symbol::new("NAN").unwrap());
        write(&path, &[one, two]).unwrap();
        let back = read(&path).unwrap();
        assert_eq!(back.len(), 2);
        let na = &back["NA"];
        assert_eq!((na.name.as_str(), na.market_cap), ("Comma, \"quoted\" Inc.", 1.5e9));
        assert_eq!(na.list_date.unwrap().to_string(), "2001-02-03");
        assert!(back["NAN"].market_cap.is_nan());
    }

    #[test]
    fn a_file_without_symbols_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("u.csv");
        std::fs::write(&path, "ticker,name\nA,B\n").unwrap();
        let fault = read(&path).unwrap_err().to_string();
        assert!(fault.contains("u.csv") && fault.contains("symbol"), "{fault}");
    }
}
