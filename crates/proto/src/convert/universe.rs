//! Symbols and their attributes.

use panscan_core::error::shortened;
use panscan_core::scan::Order;
use panscan_core::time::Timestamp;
use panscan_core::universe::{Listing, TextAttribute};

use super::mask::{Mask, Masked, masked};
use super::{instant, page_size, resource, wire_timestamp};
use crate::error::Violations;
use crate::v1;

/// Symbols of a page that does not say how many.
pub const PAGE_DEFAULT: usize = 1000;
/// Symbols of a page at most.
pub const PAGE_MAX: usize = 10_000;
/// Keys of an order at most.
pub const KEYS_MAX: usize = 8;

masked!(v1::Symbol, SYMBOL_FIELDS, "Paths that a mask of symbols may have.", [
    symbol "symbol",
    name "name",
    exchange "exchange",
    r#type "type",
    sector "sector",
    industry "industry",
    country "country",
    currency "currency",
    market_cap "market_cap",
    shares_outstanding "shares_outstanding",
    list_date "list_date",
    delist_date "delist_date",
    active "active",
    coverage "coverage",
]);

/// The bars held of a symbol in one timeframe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coverage {
    /// Start of the oldest bar.
    pub first: Option<Timestamp>,
    /// Start of the newest bar.
    pub last: Option<Timestamp>,
    /// How many bars.
    pub bars: u64,
    /// Sessions between them without one.
    pub gaps: u64,
}

/// A symbol as a message, cut by `mask`; `daily` is what is held of its daily bars.
#[must_use]
pub fn symbol(listing: &Listing, daily: Option<Coverage>, mask: &Mask) -> v1::Symbol {
    let text = |a: TextAttribute| listing.text[a as usize].as_deref().unwrap_or_default().to_owned();
    let coverage = daily.map(|held| {
        let held = v1::Coverage {
            first_bar: held.first.map(wire_timestamp),
            last_bar: held.last.map(wire_timestamp),
            bars: super::answer::signed(held.bars),
            gaps: super::answer::signed(held.gaps),
        };
        ("1d".to_owned(), held)
    });
    let mut symbol = v1::Symbol {
        symbol: listing.symbol.as_str().to_owned(),
        name: text(TextAttribute::Name),
        exchange: text(TextAttribute::Exchange),
        r#type: text(TextAttribute::Type),
        sector: text(TextAttribute::Sector),
        industry: text(TextAttribute::Industry),
        country: text(TextAttribute::Country),
        currency: text(TextAttribute::Currency),
        market_cap: listing.market_cap.filter(|v| v.is_finite()),
        shares_outstanding: listing.shares_outstanding.filter(|v| v.is_finite()),
        list_date: listing.list_date.map(|d| d.to_string()).unwrap_or_default(),
        delist_date: listing.delist_date.map(|d| d.to_string()).unwrap_or_default(),
        active: listing.active.unwrap_or(true),
        coverage: coverage.into_iter().collect(),
    };
    symbol.apply(mask);
    symbol
}

/// A symbol off the wire; `None` when its ticker is none, as with a mask that leaves it out.
#[must_use]
pub fn listing(wire: &v1::Symbol) -> Option<Listing> {
    let mut listing = Listing::new(panscan_core::symbol::Symbol::new(&wire.symbol).ok()?);
    for (attribute, text) in [
        (TextAttribute::Name, &wire.name),
        (TextAttribute::Exchange, &wire.exchange),
        (TextAttribute::Type, &wire.r#type),
        (TextAttribute::Sector, &wire.sector),
        (TextAttribute::Industry, &wire.industry),
        (TextAttribute::Country, &wire.country),
        (TextAttribute::Currency, &wire.currency),
    ] {
        listing.text[attribute as usize] = Some(text.as_str()).filter(|t| !t.is_empty()).map(Into::into);
    }
    listing.market_cap = wire.market_cap;
    listing.shares_outstanding = wire.shares_outstanding;
    listing.list_date = wire.list_date.parse().ok();
    listing.delist_date = wire.delist_date.parse().ok();
    listing.active = Some(wire.active);
    Some(listing)
}

/// One call of `ListSymbols`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SymbolsRequest {
    /// Id of the universe; empty is the default one.
    pub universe: String,
    /// Expression over attributes; empty keeps all.
    pub filter: String,
    /// Attributes to order by, first key first; empty: by symbol.
    pub order_by: Vec<(String, Order)>,
    /// Which fields are sent.
    pub mask: Mask,
    /// Symbols of a page.
    pub page_size: usize,
    /// Continues an earlier call; empty: from the first symbol.
    pub page_token: String,
    /// Attributes as known at this instant.
    pub as_of: Option<Timestamp>,
}

impl TryFrom<&v1::ListSymbolsRequest> for SymbolsRequest {
    type Error = Violations;

    fn try_from(wire: &v1::ListSymbolsRequest) -> Result<Self, Violations> {
        let mut found = Violations::default();
        let request = Self {
            universe: resource(&mut found, "parent", "universes/", &wire.parent),
            filter: wire.filter.clone(),
            order_by: order_by(&mut found, &wire.order_by),
            mask: Mask::read(&mut found, wire.read_mask.as_ref(), SYMBOL_FIELDS),
            page_size: page_size(&mut found, wire.page_size, PAGE_DEFAULT, PAGE_MAX),
            page_token: wire.page_token.clone(),
            as_of: instant(&mut found, "as_of", wire.as_of.as_ref()),
        };
        found.or(request)
    }
}

impl From<&SymbolsRequest> for v1::ListSymbolsRequest {
    fn from(request: &SymbolsRequest) -> Self {
        let key = |(name, order): &(String, Order)| match order {
            Order::Ascending => name.clone(),
            Order::Descending => format!("{name} desc"),
        };
        let universe = if request.universe.is_empty() { "default" } else { &request.universe };
        let paths: Vec<String> =
            SYMBOL_FIELDS.iter().filter(|f| request.mask.has(f)).map(|f| (*f).to_owned()).collect();
        let read_mask = (paths.len() < SYMBOL_FIELDS.len()).then_some(prost_types::FieldMask { paths });
        Self {
            parent: format!("universes/{universe}"),
            filter: request.filter.clone(),
            order_by: request.order_by.iter().map(key).collect::<Vec<_>>().join(", "),
            read_mask,
            page_size: super::answer::saturated(request.page_size as u64),
            page_token: request.page_token.clone(),
            as_of: request.as_of.map(wire_timestamp),
        }
    }
}

/// Reads `market_cap desc, symbol`.
fn order_by(found: &mut Violations, text: &str) -> Vec<(String, Order)> {
    let mut keys = Vec::new();
    if text.trim().is_empty() {
        return keys;
    }
    for part in text.split(',').take(KEYS_MAX + 1) {
        let words: Vec<&str> = part.split_whitespace().collect();
        let order = match words.get(1).map(|w| w.to_ascii_lowercase()).as_deref() {
            None | Some("asc") => Some(Order::Ascending),
            Some("desc") => Some(Order::Descending),
            Some(_) => None,
        };
        let name = words.first().copied().unwrap_or_default();
        let known = SYMBOL_FIELDS.contains(&name) && name != "coverage";
        match order.filter(|_| known && words.len() <= 2) {
            Some(order) => keys.push((name.to_owned(), order)),
            None => {
                let shown = shortened(part.trim());
                let message = format!("{shown:?} is no key; expected an attribute and asc or desc");
                found.push("order_by", "UNKNOWN_NAME", message);
            }
        }
    }
    if keys.len() > KEYS_MAX {
        found.push("order_by", "TOO_MANY", format!("has more than {KEYS_MAX} keys"));
    }
    keys
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use panscan_core::symbol::Symbol;

    use super::*;

    #[test]
    fn a_listing_comes_back() {
        let mut sent = Listing::new(Symbol::new("BRK.B").unwrap());
        sent.text = std::array::from_fn(|i| Some(Arc::from(format!("text {i}"))));
        sent.text[TextAttribute::Industry as usize] = None;
        sent.market_cap = Some(1e12);
        sent.list_date = Some("1996-05-09".parse().unwrap());
        sent.active = Some(true);
        let held = Coverage { first: Some(Timestamp::from_seconds(1)), last: None, bars: 252, gaps: 1 };
        let wire = symbol(&sent, Some(held), &Mask::default());
        assert_eq!(wire.coverage["1d"].bars, 252);
        assert_eq!(listing(&wire), Some(sent));
    }

    #[test]
    fn a_mask_cuts_and_what_is_unknown_is_named() {
        let mut wire = v1::ListSymbolsRequest {
            parent: "universes/default".into(),
            order_by: "market_cap desc, symbol".into(),
            read_mask: Some(prost_types::FieldMask { paths: vec!["symbol".into(), "type".into()] }),
            page_size: 20_000,
            ..Default::default()
        };
        let request = SymbolsRequest::try_from(&wire).unwrap();
        assert_eq!((request.universe.as_str(), request.page_size), ("default", PAGE_MAX));
        assert_eq!(request.order_by[0], ("market_cap".to_owned(), Order::Descending));
        let mut listing = Listing::new(Symbol::new("A").unwrap());
        listing.text = std::array::from_fn(|_| Some(Arc::from("x")));
        let cut = symbol(&listing, None, &request.mask);
        assert_eq!((cut.symbol.as_str(), cut.r#type.as_str(), cut.sector.as_str()), ("A", "x", ""));
        assert!(!cut.active);
        assert_eq!(SymbolsRequest::try_from(&v1::ListSymbolsRequest::from(&request)).unwrap(), request);
        wire.order_by = "cap desc, symbol sideways".into();
        wire.page_size = -1;
        wire.read_mask = Some(prost_types::FieldMask { paths: vec!["caps".into()] });
        assert_eq!(SymbolsRequest::try_from(&wire).unwrap_err().as_slice().len(), 4);
    }
}
