//! Small documents that outlive the process: listings, splits, dividends, the provider's first session, refused bars.

use std::collections::BTreeMap;
use std::sync::Arc;

use panscan_core::panel::Split;
use panscan_core::port::Rename;
use panscan_core::symbol::Symbol;
use panscan_core::universe::{Listing, TextAttribute};
use serde::{Deserialize, Serialize};

/// Name of the note with the provider's listings.
pub(crate) const LISTINGS: &str = "listings.json";
/// Name of the note with the tickers that ceased to trade.
pub(crate) const GONE: &str = "gone.json";
/// Name of the note with what was told of companies' tickers.
pub(crate) const RENAMES: &str = "renames.json";
/// Name of the note with the splits.
pub const SPLITS: &str = "splits.json";
/// Name of the note with the dividends.
pub(crate) const DIVIDENDS: &str = "dividends.json";
/// Name of the note with the provider's first session.
pub(crate) const FIRST_SESSION: &str = "first-session.json";
/// Name of the note with refused bars.
pub(crate) const QUARANTINE: &str = "quarantine.json";
/// Name of the note with what is usually asked for.
pub(crate) const HABITS: &str = "habits.json";
/// Name of the note, in the market `last`, with the market that was served last.
pub(crate) const MARKET: &str = "market.json";

/// How the names begin of the notes with reference data: listings, splits, dividends, details of symbols. What keeps
/// notes for a time keeps these for as long as reference data is good.
pub const REFERENCE_NOTES: [&str; 4] = ["listings", "splits", "dividends", "details-"];

/// Refused bars that are remembered.
pub(crate) const QUARANTINED_MAX: usize = 10_000;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ListingNote {
    symbol: String,
    text: Vec<Option<String>>,
    market_cap: Option<f64>,
    shares_outstanding: Option<f64>,
    list_date: Option<String>,
    delist_date: Option<String>,
    active: Option<bool>,
    #[serde(default)]
    figi: Option<String>,
}

/// A ticker, its first day, the company's figi.
type RenameNote = (String, String, Option<String>);

#[derive(Serialize, Deserialize)]
struct SplitNote {
    symbol: String,
    execution: String,
    from: f64,
    to: f64,
}

/// Dividends with an ex-date from `from` on, as of `at`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DividendsNote {
    pub(crate) from: String,
    pub(crate) at: i64,
    /// Symbol, ex-date, cash, currency.
    pub(crate) rows: Vec<(String, String, f64, Option<String>)>,
}

/// A bar that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RefusedNote {
    pub(crate) symbol: String,
    pub(crate) session: String,
    pub(crate) why: String,
}

pub(crate) fn listings_to_bytes(listings: &[Listing]) -> Vec<u8> {
    to_bytes(&listings.iter().map(listing_note).collect::<Vec<_>>())
}

pub(crate) fn listing_note(l: &Listing) -> ListingNote {
    ListingNote {
        symbol: l.symbol.to_string(),
        text: l.text.iter().map(|t| t.as_ref().map(ToString::to_string)).collect(),
        market_cap: l.market_cap,
        shares_outstanding: l.shares_outstanding,
        list_date: l.list_date.map(|d| d.to_string()),
        delist_date: l.delist_date.map(|d| d.to_string()),
        active: l.active,
        figi: l.figi.as_ref().map(ToString::to_string),
    }
}

pub(crate) fn listings_from_bytes(bytes: &[u8]) -> Option<Vec<Listing>> {
    let notes: Vec<ListingNote> = serde_json::from_slice(bytes).ok()?;
    notes.into_iter().map(listing).collect()
}

pub(crate) fn listing(note: ListingNote) -> Option<Listing> {
    let mut listing = Listing::new(Symbol::new(&note.symbol).ok()?);
    for (attribute, value) in TextAttribute::ALL.into_iter().zip(note.text) {
        listing.text[attribute as usize] = value.map(Arc::from);
    }
    listing.market_cap = note.market_cap;
    listing.shares_outstanding = note.shares_outstanding;
    listing.list_date = note.list_date.and_then(|d| d.parse().ok());
    listing.delist_date = note.delist_date.and_then(|d| d.parse().ok());
    listing.active = note.active;
    listing.figi = note.figi.map(Arc::from);
    Some(listing)
}

pub(crate) fn renames_to_bytes(told: &BTreeMap<Symbol, Vec<Rename>>) -> Vec<u8> {
    let note =
        |r: &Rename| (r.symbol.to_string(), r.from.to_string(), r.figi.as_ref().map(ToString::to_string));
    let rows = told
        .iter()
        .map(|(symbol, renames)| (symbol.to_string(), renames.iter().map(note).collect::<Vec<RenameNote>>()));
    to_bytes(&rows.collect::<Vec<_>>())
}

pub(crate) fn renames_from_bytes(bytes: &[u8]) -> Option<BTreeMap<Symbol, Vec<Rename>>> {
    let rows: Vec<(String, Vec<RenameNote>)> = serde_json::from_slice(bytes).ok()?;
    let rename = |(symbol, from, figi): RenameNote| {
        Some(Rename {
            symbol: Symbol::new(&symbol).ok()?,
            from: from.parse().ok()?,
            figi: figi.map(Arc::from),
        })
    };
    let told = |(symbol, renames): (String, Vec<RenameNote>)| {
        Some((Symbol::new(&symbol).ok()?, renames.into_iter().map(rename).collect::<Option<_>>()?))
    };
    rows.into_iter().map(told).collect()
}

pub(crate) fn splits_to_bytes(splits: &[Split]) -> Vec<u8> {
    let note = |s: &Split| SplitNote {
        symbol: s.symbol.to_string(),
        execution: s.execution.to_string(),
        from: s.from,
        to: s.to,
    };
    to_bytes(&splits.iter().map(note).collect::<Vec<_>>())
}

/// Reads the splits that the note [`SPLITS`] of a market keeps; nothing where they cannot be read.
#[must_use]
pub fn splits_from_bytes(bytes: &[u8]) -> Option<Vec<Split>> {
    let notes: Vec<SplitNote> = serde_json::from_slice(bytes).ok()?;
    let split = |n: SplitNote| {
        let (symbol, execution) = (Symbol::new(&n.symbol).ok()?, n.execution.parse().ok()?);
        Some(Split { symbol, execution, from: n.from, to: n.to })
    };
    notes.into_iter().map(split).collect()
}

pub(crate) fn to_bytes<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

pub(crate) fn from_bytes<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_read_back_as_written() {
        let mut listing = Listing::new(Symbol::new("BRK.B").unwrap());
        listing.text[TextAttribute::Sector as usize] = Some(Arc::from("Finance"));
        listing.market_cap = Some(1.25e12);
        listing.list_date = "1996-05-09".parse().ok();
        listing.active = Some(true);
        listing.figi = Some(Arc::from("BBG1"));
        let all = vec![listing, Listing::new(Symbol::new("NA").unwrap())];
        assert_eq!(listings_from_bytes(&listings_to_bytes(&all)), Some(all));
        let splits = vec![Split {
            symbol: Symbol::new("A").unwrap(),
            execution: "2020-08-31".parse().unwrap(),
            from: 1.0,
            to: 4.0,
        }];
        assert_eq!(splits_from_bytes(&splits_to_bytes(&splits)), Some(splits));
        let change = |figi: Option<&str>| Rename {
            symbol: Symbol::new("B").unwrap(),
            from: "2020-08-31".parse().unwrap(),
            figi: figi.map(Arc::from),
        };
        let told = BTreeMap::from([(Symbol::new("A").unwrap(), vec![change(None), change(Some("F"))])]);
        assert_eq!(renames_from_bytes(&renames_to_bytes(&told)), Some(told));
        assert_eq!(listings_from_bytes(b"{"), None);
    }
}
