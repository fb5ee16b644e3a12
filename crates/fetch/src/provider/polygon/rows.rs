//! From the rows of an answer to a block, listings and splits: what may stand where, and which row is
//! foreign.

use std::sync::Arc;

use panscan_core::bar::BarFault;
use panscan_core::block::{BarKey, Block, BlockBuilder, Provenance, Quarantined};
use panscan_core::calendar::Calendar;
use panscan_core::panel::Split;
use panscan_core::port::{BarAsk, Dividend};
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timeframe, Timestamp};
use panscan_core::universe::{Listing, TextAttribute};

use crate::decode::{DividendRow, Row, Rows, SplitRow, TickerRow};

/// The key of a row whose stamp cannot be read.
const NO_KEY: BarKey = BarKey(i64::MIN);

/// What bars were asked for, and thus which may come.
#[derive(Debug, Clone)]
pub(super) enum Asked {
    /// The whole market of one session.
    Day(SessionDate),
    /// One symbol.
    Range { symbol: Symbol, timeframe: Timeframe, from: SessionDate, to: SessionDate },
}

impl Asked {
    /// `None` for what this interface does not have.
    pub(super) fn new(ask: &BarAsk) -> Option<Self> {
        match ask {
            BarAsk::Day(session) => Some(Self::Day(*session)),
            BarAsk::FlatFile { .. } => None,
            BarAsk::Range { symbol, timeframe, from, to } => {
                Some(Self::Range { symbol: symbol.clone(), timeframe: *timeframe, from: *from, to: *to })
            }
        }
    }

    /// The one symbol that was asked for.
    pub(super) fn symbol(&self) -> Option<&Symbol> {
        match self {
            Self::Day(_) => None,
            Self::Range { symbol, .. } => Some(symbol),
        }
    }

    /// Lays the rows of all pages out, and says which were refused.
    pub(super) fn block(&self, pages: &[Rows], provenance: Provenance) -> (Block, Vec<Quarantined>) {
        let calendar = Calendar::us_equities();
        let rows = pages.iter().flat_map(Rows::iter);
        let count = pages.iter().map(Rows::len).sum();
        match self {
            Self::Day(session) => {
                let key = BarKey::session(*session);
                let mut builder = BlockBuilder::new(Timeframe::Day);
                builder.reserve(count);
                for row in rows {
                    if is_of_day(calendar, *session, &row) && !is_of_another_market(row.ticker) {
                        builder.push(row.ticker, key, row.values);
                    } else {
                        builder.quarantine(row.ticker, key, BarFault::Foreign);
                    }
                }
                builder.finish(None, Some(&[key]), provenance)
            }
            Self::Range { symbol, timeframe, from, to } => {
                let mut builder = BlockBuilder::new(*timeframe);
                builder.reserve(count);
                for row in rows {
                    let stamp = row.stamp_ms.map(Timestamp::from_millis);
                    let session = stamp.map(|at| calendar.session_of(at));
                    let key = match (stamp, session) {
                        (Some(_), Some(session)) if *timeframe == Timeframe::Day => BarKey::session(session),
                        (Some(at), _) => BarKey::start(at),
                        (None, _) => NO_KEY,
                    };
                    let named = row.ticker.is_empty() || row.ticker == symbol.as_str();
                    if named && session.is_some_and(|session| *from <= session && session <= *to) {
                        builder.push(symbol.as_str(), key, row.values);
                    } else {
                        let name = if row.ticker.is_empty() { symbol.as_str() } else { row.ticker };
                        builder.quarantine(name, key, BarFault::Foreign);
                    }
                }
                let only = std::slice::from_ref(symbol);
                if *timeframe == Timeframe::Day {
                    let keys: Vec<BarKey> =
                        calendar.sessions(*from, *to).iter().copied().map(BarKey::session).collect();
                    builder.finish(Some(only), Some(&keys), provenance)
                } else {
                    builder.finish(Some(only), None, provenance)
                }
            }
        }
    }
}

/// Whether a row of a grouped day can be of that day. Its stamp is the end of the session, and never its
/// key; it only tells rows of another day apart, so that whatever convention a stamp follows within the day
/// passes.
fn is_of_day(calendar: &Calendar, session: SessionDate, row: &Row<'_>) -> bool {
    let Some(stamp) = row.stamp_ms.map(Timestamp::from_millis) else { return true };
    let begin = Timestamp::from_seconds(i64::from(session.days()) * 86_400);
    begin <= stamp && stamp <= calendar.midnight(session.plus(1))
}

/// Whether a ticker carries the prefix of options, currencies, crypto or indices.
fn is_of_another_market(ticker: &str) -> bool {
    matches!(ticker.as_bytes(), [b'O' | b'C' | b'X' | b'I', b':', ..])
}

/// The listings of the rows whose ticker is a symbol.
pub(super) fn listings(rows: Vec<TickerRow>) -> Vec<Listing> {
    let count = rows.len();
    let listings: Vec<Listing> = rows.into_iter().filter_map(listing).collect();
    if listings.len() < count {
        tracing::warn!(rows = count - listings.len(), "listed tickers that are no symbols");
    }
    listings
}

fn listing(row: TickerRow) -> Option<Listing> {
    let mut listing = Listing::new(Symbol::new(&row.ticker).ok()?);
    let present = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
    let mut set = |attribute: TextAttribute, text: Option<String>| {
        listing.text[attribute as usize] = present(text).map(Arc::from);
    };
    set(TextAttribute::Name, row.name);
    set(TextAttribute::Exchange, row.primary_exchange);
    set(TextAttribute::Type, row.kind);
    set(TextAttribute::Currency, row.currency.map(|code| code.to_ascii_uppercase()));
    listing.active = row.active;
    listing.figi = row.figi.map(Arc::from);
    listing.delist_date = row.delisted.and_then(|text| text.get(..10)?.parse().ok());
    Some(listing)
}

/// The splits of the rows that name a symbol and a date; unsound factors are passed on for the panel to
/// refuse.
pub(super) fn splits(rows: Vec<SplitRow>) -> Vec<Split> {
    let count = rows.len();
    let read = |row: SplitRow| {
        Some(Split {
            symbol: Symbol::new(&row.ticker).ok()?,
            execution: row.execution_date.parse().ok()?,
            from: row.from,
            to: row.to,
        })
    };
    let splits: Vec<Split> = rows.into_iter().filter_map(read).collect();
    if splits.len() < count {
        tracing::warn!(rows = count - splits.len(), "splits without a symbol or a date");
    }
    splits
}

/// The dividends of the rows that name a symbol, a date and an amount.
pub(super) fn dividends(rows: Vec<DividendRow>) -> Vec<Dividend> {
    let count = rows.len();
    let read = |row: DividendRow| {
        Some(Dividend {
            symbol: Symbol::new(&row.ticker).ok()?,
            ex_date: row.ex_date.parse().ok()?,
            cash: Some(row.cash).filter(|cash| cash.is_finite() && *cash > 0.0)?,
            currency: row.currency.map(Arc::from),
        })
    };
    let dividends: Vec<Dividend> = rows.into_iter().filter_map(read).collect();
    if dividends.len() < count {
        tracing::warn!(rows = count - dividends.len(), "dividends without a symbol, a date or an amount");
    }
    dividends
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::aggregates;

    fn provenance() -> Provenance {
        Provenance { provider: Arc::from("polygon"), fetched_at: Timestamp::from_seconds(0) }
    }

    fn lay_out(asked: &Asked, results: &str) -> (Block, Vec<(String, BarFault)>) {
        let page = aggregates(format!("{{\"results\":[{results}]}}").as_bytes()).unwrap();
        let (block, refused) = asked.block(&[page.rows], provenance());
        (block, refused.into_iter().map(|q| (q.symbol, q.fault)).collect())
    }

    fn date(text: &str) -> SessionDate {
        text.parse().unwrap()
    }

    #[test]
    fn a_grouped_day_is_keyed_by_the_session_asked_for() {
        let asked = Asked::Day(date("2020-10-14"));
        let bar = "\"o\":1,\"h\":1,\"l\":1,\"c\":1,\"v\":1";
        let rows = [
            format!("{{\"T\":\"GIK\",\"t\":1602705600000,{bar}}}"),
            format!("{{\"T\":\"NEXT\",\"t\":1602792000000,{bar}}}"),
            format!("{{\"T\":\"X:BTCUSD\",\"t\":1602705600000,{bar}}}"),
            format!("{{\"T\":\"A\\u0000B\",\"t\":1602705600000,{bar}}}"),
            format!("{{\"T\":\"BFp\",{bar}}}"),
        ];
        let (block, refused) = lay_out(&asked, &rows.join(","));
        let names: Vec<&str> = block.symbols().iter().map(Symbol::as_str).collect();
        assert_eq!(names, ["BFp", "GIK"]);
        assert_eq!(block.rows().as_ref(), [BarKey::session(date("2020-10-14"))]);
        let faults: Vec<BarFault> = refused.iter().map(|(_, fault)| *fault).collect();
        assert_eq!(faults, [BarFault::Foreign, BarFault::Foreign, BarFault::BadSymbol]);
        let (empty, _) = lay_out(&asked, "");
        assert_eq!((empty.symbols().len(), empty.rows().len()), (0, 1));
    }

    #[test]
    fn a_daily_range_has_a_row_for_each_session_asked_for() {
        let (from, to) = (date("2020-01-02"), date("2020-01-07"));
        let asked =
            Asked::Range { symbol: Symbol::new("AAPL").unwrap(), timeframe: Timeframe::Day, from, to };
        let bar = "\"o\":1,\"h\":1,\"l\":1,\"c\":1,\"v\":1";
        let rows = [
            // 2020-01-02 and -03 at 00:00 Eastern, then the day before, another ticker, a Saturday, no stamp.
            format!("{{\"t\":1577941200000,{bar}}}"),
            format!("{{\"t\":1578027600000,{bar}}}"),
            format!("{{\"t\":1577854800000,{bar}}}"),
            format!("{{\"T\":\"TSLA\",\"t\":1577941200000,{bar}}}"),
            format!("{{\"t\":1578114000000,{bar}}}"),
            format!("{{{bar}}}"),
        ];
        let (block, refused) = lay_out(&asked, &rows.join(","));
        let sessions: Vec<String> = block.rows().iter().map(|key| key.as_session().to_string()).collect();
        assert_eq!(sessions, ["2020-01-02", "2020-01-03", "2020-01-06", "2020-01-07"]);
        assert_eq!((block.width(), block.count_bars()), (1, 2));
        assert_eq!(refused.len(), 4);
        assert!(refused.iter().all(|(_, fault)| *fault == BarFault::Foreign));
    }

    #[test]
    fn minutes_are_keyed_by_their_start() {
        let day = date("2020-01-02");
        let asked = Asked::Range {
            symbol: Symbol::new("AAPL").unwrap(),
            timeframe: Timeframe::Minutes(1),
            from: day,
            to: day,
        };
        let bar = "\"o\":1,\"h\":1,\"l\":1,\"c\":1,\"v\":1";
        let (block, refused) = lay_out(
            &asked,
            &format!(
                "{{\"t\":1577975400000,{bar}}},{{\"t\":1577975460000,{bar}}},{{\"t\":1578061800000,{bar}}}"
            ),
        );
        assert_eq!(block.rows().as_ref(), [BarKey(1_577_975_400_000), BarKey(1_577_975_460_000)]);
        assert_eq!(refused, [("AAPL".to_owned(), BarFault::Foreign)]);
    }
}
