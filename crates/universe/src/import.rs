//! Reading a universe file, whatever its format. Not here: the formats themselves.

use std::fs::File;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use panscan_core::universe::Listing;

use crate::column::{Cell, Column, listing};
use crate::error::UniverseError;

/// Rows that a file may have.
pub const LISTINGS_MAX: usize = 500_000;
/// Refusals that are listed; further ones are only counted.
pub const REJECTED_MAX: usize = 1000;

/// What a universe file held.
#[derive(Debug, Clone, Default)]
pub struct Import {
    /// The symbols, in the file's order.
    pub listings: Vec<Listing>,
    /// Columns that were ignored, each once, in the file's order.
    pub unknown_columns: Vec<String>,
    /// Rows without a usable symbol, and cells that could not be read, up to [`REJECTED_MAX`].
    pub rejected: Vec<Rejected>,
    /// How many of those there were.
    pub rejected_count: u64,
}

/// A row or a cell that was not taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Line of the file, from 1, or row of a Parquet file, from 1.
    pub line: u64,
    /// Why.
    pub reason: String,
}

/// Reads a universe file; its ending, in any case, says what it is: `.csv`, `.csv.gz` or `.parquet`.
///
/// Needed is the column `symbol`; known are also name, exchange, type, sector, industry, country, currency,
/// market_cap, shares_outstanding, list_date, delist_date and active, in any case and order. No text stands for
/// "missing" (NA and NAN are tickers): only an empty cell does, and 0 in market_cap and shares_outstanding.
/// The exchange names NASDAQ, NYSE, AMEX and NYSE ARCA become market identifier codes, others are kept.
///
/// # Errors
///
/// When the file cannot be opened or read to its end, has no column `symbol`, has a known column twice, or has
/// more than [`LISTINGS_MAX`] rows. A bad row or cell is no error: [`Import::rejected`] names it.
pub fn read_universe_file(path: &Path) -> Result<Import, UniverseError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let open = || File::open(path).map_err(|source| UniverseError::Open { path: path.to_owned(), source });
    if name.ends_with(".csv") {
        crate::text::read(path, open()?, "CSV with a header")
    } else if name.ends_with(".csv.gz") {
        crate::text::read(path, MultiGzDecoder::new(open()?), "gzipped CSV with a header")
    } else if name.ends_with(".parquet") {
        crate::parquet::read(path, open()?)
    } else {
        Err(UniverseError::Ending { path: path.to_owned() })
    }
}

/// The columns of a file.
pub(crate) struct Columns {
    /// Those that are read, with their places, ascending.
    pub(crate) known: Vec<(usize, Column)>,
    /// Names of the others.
    pub(crate) unknown: Vec<String>,
}

/// Sorts the columns of a file.
pub(crate) fn known_columns<'a>(
    path: &Path,
    names: impl Iterator<Item = &'a str>,
) -> Result<Columns, UniverseError> {
    let mut known: Vec<(usize, Column)> = Vec::new();
    let mut unknown: Vec<String> = Vec::new();
    for (place, name) in names.enumerate() {
        match Column::of(name) {
            Some(column) if known.iter().any(|(_, k)| *k == column) => {
                return Err(UniverseError::RepeatedColumn { path: path.to_owned(), column: column.name() });
            }
            Some(column) => known.push((place, column)),
            None if unknown.iter().any(|u| u == name) => {}
            None => unknown.push(name.to_owned()),
        }
    }
    if known.iter().any(|(_, column)| *column == Column::Symbol) {
        return Ok(Columns { known, unknown });
    }
    let names = known.iter().map(|(_, column)| column.name()).chain(unknown.iter().map(String::as_str));
    let found: Vec<String> = names.take(20).map(panscan_core::error::shortened).collect();
    let found = if found.is_empty() { "an empty header".to_owned() } else { found.join(", ") };
    Err(UniverseError::NoSymbolColumn { path: path.to_owned(), found })
}

impl Import {
    /// Takes over one row.
    pub(crate) fn push<'a>(
        &mut self,
        path: &Path,
        line: u64,
        cells: impl Iterator<Item = (Column, Option<Cell<'a>>)>,
    ) -> Result<(), UniverseError> {
        let mut faults = Vec::new();
        let listing = listing(cells, &mut faults);
        for reason in faults {
            self.reject(line, reason);
        }
        if self.listings.len() as u64 + self.rejected_count >= LISTINGS_MAX as u64 {
            return Err(UniverseError::TooLarge { path: path.to_owned(), max: LISTINGS_MAX });
        }
        self.listings.extend(listing);
        Ok(())
    }

    /// Takes note of a row or cell that is not taken over.
    pub(crate) fn reject(&mut self, line: u64, reason: String) {
        self.rejected_count += 1;
        if self.rejected.len() < REJECTED_MAX {
            self.rejected.push(Rejected { line, reason });
        }
    }
}
