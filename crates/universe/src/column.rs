//! The columns of a universe file and what their cells mean, whatever the file's format.

use std::borrow::Cow;
use std::sync::Arc;

use panscan_core::error::shortened;
use panscan_core::symbol::Symbol;
use panscan_core::time::SessionDate;
use panscan_core::universe::{Listing, TextAttribute};

/// The accepted names.
pub(crate) const NAMES: &str = "symbol, name, exchange, type, sector, industry, country, currency, market_cap, \
                                shares_outstanding, list_date, delist_date, active";

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    Symbol,
    Text(TextAttribute),
    MarketCap,
    SharesOutstanding,
    ListDate,
    DelistDate,
    Active,
}

impl Column {
    /// The column of a name, which may be written in any case.
    pub(crate) fn of(name: &str) -> Option<Self> {
        let name = name.trim_start_matches('\u{feff}').trim().to_ascii_lowercase();
        let others = [
            Self::Symbol,
            Self::MarketCap,
            Self::SharesOutstanding,
            Self::ListDate,
            Self::DelistDate,
            Self::Active,
        ];
        let all = TextAttribute::ALL.into_iter().map(Self::Text).chain(others);
        all.into_iter().find(|column| column.name() == name)
    }

    /// Its name in files and messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Symbol => "symbol",
            Self::Text(attribute) => attribute.name(),
            Self::MarketCap => "market_cap",
            Self::SharesOutstanding => "shares_outstanding",
            Self::ListDate => "list_date",
            Self::DelistDate => "delist_date",
            Self::Active => "active",
        }
    }
}

/// A value as a file holds it; no cell at all is "not known".
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell<'a> {
    Text(&'a str),
    Number(f64),
    Flag(bool),
    Date(SessionDate),
}

/// Builds the listing of one row. A cell that cannot be read leaves its attribute unknown and adds a reason to
/// `faults`; without a symbol there is no listing.
pub(crate) fn listing<'a>(
    cells: impl Iterator<Item = (Column, Option<Cell<'a>>)>,
    faults: &mut Vec<String>,
) -> Option<Listing> {
    let mut symbol = None;
    let mut rest = Vec::with_capacity(12);
    for (column, cell) in cells {
        let known = cell.filter(|cell| !matches!(cell, Cell::Text(text) if text.trim().is_empty()));
        match (column, known) {
            (_, None) => {}
            (Column::Symbol, Some(Cell::Text(text))) => match Symbol::new(text.trim()) {
                Ok(read) => symbol = Some(read),
                Err(error) => {
                    faults.push(error.to_string());
                    return None;
                }
            },
            (column, Some(cell)) => rest.push((column, cell)),
        }
    }
    let Some(symbol) = symbol else {
        faults.push("symbol is empty".to_owned());
        return None;
    };
    let mut listing = Listing::new(symbol);
    for (column, cell) in rest {
        if let Err(expected) = assign(&mut listing, column, &cell) {
            let name = column.name();
            faults.push(format!("{name} {} is no {expected}; it is taken as not known", shown(&cell)));
        }
    }
    Some(listing)
}

fn assign(listing: &mut Listing, column: Column, cell: &Cell<'_>) -> Result<(), &'static str> {
    match column {
        Column::Symbol => return Err("text"),
        Column::Text(attribute) => {
            let Cell::Text(text) = cell else { return Err("text") };
            let text = text.trim();
            let text = if attribute == TextAttribute::Exchange { exchange_code(text) } else { text.into() };
            listing.text[attribute as usize] = Some(Arc::from(&*text));
        }
        Column::MarketCap => listing.market_cap = amount(cell)?,
        Column::SharesOutstanding => listing.shares_outstanding = amount(cell)?,
        Column::ListDate => listing.list_date = Some(date(cell)?),
        Column::DelistDate => listing.delist_date = Some(date(cell)?),
        Column::Active => listing.active = Some(flag(cell)?),
    }
    Ok(())
}

/// The market identifier code of an exchange that is named in the plain way; others stay as they are.
fn exchange_code(name: &str) -> Cow<'_, str> {
    match name.to_ascii_uppercase().as_str() {
        "NASDAQ" => "XNAS".into(),
        "NYSE" => "XNYS".into(),
        "AMEX" => "XASE".into(),
        "NYSE ARCA" => "ARCX".into(),
        _ => name.into(),
    }
}

/// A number above zero. Files write 0 where they do not know: no listed company is worth or has issued nothing.
fn amount(cell: &Cell<'_>) -> Result<Option<f64>, &'static str> {
    let number = match cell {
        Cell::Number(number) => *number,
        Cell::Text(text) => text.trim().parse().unwrap_or(f64::NAN),
        _ => f64::NAN,
    };
    if number.is_finite() && number >= 0.0 {
        Ok((number > 0.0).then_some(number))
    } else {
        Err("number from 0 up")
    }
}

fn date(cell: &Cell<'_>) -> Result<SessionDate, &'static str> {
    let date = match cell {
        Cell::Date(date) => Some(*date),
        Cell::Text(text) => text.trim().parse().ok(),
        _ => None,
    };
    date.ok_or("date such as 2025-12-31")
}

fn flag(cell: &Cell<'_>) -> Result<bool, &'static str> {
    match cell {
        Cell::Flag(flag) => Ok(*flag),
        Cell::Number(1.0) => Ok(true),
        Cell::Number(0.0) => Ok(false),
        Cell::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "1" => Ok(true),
            "false" | "f" | "no" | "n" | "0" => Ok(false),
            _ => Err("true or false"),
        },
        _ => Err("true or false"),
    }
}

fn shown(cell: &Cell<'_>) -> String {
    match cell {
        Cell::Text(text) => format!("{:?}", shortened(text)),
        Cell::Number(number) => number.to_string(),
        Cell::Flag(flag) => flag.to_string(),
        Cell::Date(date) => date.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_accepted_name_is_a_column_in_any_case() {
        for name in NAMES.split(',').map(str::trim) {
            let column = Column::of(name).unwrap();
            assert_eq!(column.name(), name);
            assert_eq!(Column::of(&format!(" {} ", name.to_uppercase())), Some(column));
        }
        assert_eq!(NAMES.split(',').count(), TextAttribute::COUNT + 6);
        assert_eq!(Column::of("\u{feff}symbol"), Some(Column::Symbol));
        assert_eq!(Column::of("GICS Sector"), None);
    }

    fn one(column: Column, cell: Cell<'_>) -> (Listing, Vec<String>) {
        let mut faults = Vec::new();
        let cells = [(column, Some(cell)), (Column::Symbol, Some(Cell::Text(" NA ")))];
        (listing(cells.into_iter(), &mut faults).unwrap(), faults)
    }

    #[test]
    fn exchanges_become_codes() {
        for (name, code) in [
            ("NASDAQ", "XNAS"),
            ("nyse", "XNYS"),
            ("AMEX", "XASE"),
            ("NYSE ARCA", "ARCX"),
            ("XNAS", "XNAS"),
            ("Cboe BZX", "Cboe BZX"),
        ] {
            let (listing, faults) = one(Column::Text(TextAttribute::Exchange), Cell::Text(name));
            assert_eq!(listing.text[TextAttribute::Exchange as usize].as_deref(), Some(code));
            assert!(faults.is_empty());
        }
        let (listing, _) = one(Column::Text(TextAttribute::Name), Cell::Text("NASDAQ"));
        assert_eq!(listing.text[TextAttribute::Name as usize].as_deref(), Some("NASDAQ"));
    }

    #[test]
    fn amounts_dates_and_flags() {
        assert_eq!(one(Column::MarketCap, Cell::Text(" 1.5e9 ")).0.market_cap, Some(1.5e9));
        for zero in [Cell::Text("0"), Cell::Text("0.00"), Cell::Number(0.0)] {
            assert_eq!(one(Column::MarketCap, zero).0.market_cap, None);
        }
        for bad in
            [Cell::Text("$5"), Cell::Text("NaN"), Cell::Text("inf"), Cell::Number(-1.0), Cell::Flag(true)]
        {
            let (listing, faults) = one(Column::SharesOutstanding, bad);
            assert_eq!((listing.shares_outstanding, faults.len()), (None, 1));
        }
        let (listing, _) = one(Column::ListDate, Cell::Text("2020-02-29"));
        assert_eq!(listing.list_date.unwrap().to_string(), "2020-02-29");
        let (listing, faults) = one(Column::DelistDate, Cell::Text("31/12/2020"));
        assert_eq!(listing.delist_date, None);
        assert!(faults[0].contains("delist_date") && faults[0].contains("2025-12-31"), "{faults:?}");
        assert_eq!(one(Column::Active, Cell::Text("No")).0.active, Some(false));
        assert_eq!(one(Column::Active, Cell::Number(1.0)).0.active, Some(true));
        assert_eq!(one(Column::Active, Cell::Text("maybe")).1.len(), 1);
    }

    #[test]
    fn text_is_never_taken_for_missing_and_blank_is() {
        for text in ["NA", "NAN", "null", "None", "N/A"] {
            let (listing, _) = one(Column::Text(TextAttribute::Sector), Cell::Text(text));
            assert_eq!(listing.text[TextAttribute::Sector as usize].as_deref(), Some(text));
            assert_eq!(listing.symbol.as_str(), "NA");
        }
        let (listing, faults) = one(Column::Text(TextAttribute::Sector), Cell::Text("  "));
        assert!(listing.text[TextAttribute::Sector as usize].is_none() && faults.is_empty());
    }
}
