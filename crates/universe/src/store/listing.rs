//! Who is listed, what is known of them, and who was listed when.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use panscan_core::catalog::{CatalogError, Membership, Recorded};
use panscan_core::snapshot::MarketId;
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timestamp};
use panscan_core::universe::{Listing, TextAttribute};
use sqlx::any::{Any, AnyRow};
use sqlx::{AssertSqlSafe, Transaction};

use super::{BOUND_MAX, Store, date, places, statement, symbol, unavailable, value};

/// Stands where a market does for what came from a file: it is true in every market.
pub(super) const FILE_MARKET: &str = "";
/// The universe that the provider lists.
pub(super) const DEFAULT: &str = "default";
/// Stands for "always before" in the column that tells two memberships of a symbol apart.
const ALWAYS: &str = "";

/// The columns of a listing in the order in which they are written.
const COLUMNS: &str = "market, symbol, name, exchange, type, sector, industry, country, currency, market_cap, \
                       shares_outstanding, list_date, delist_date, active, updated";
/// How many these are.
const WIDTH: usize = 15;

impl Store {
    pub(super) async fn read_listings(&self, market: &str) -> Result<Vec<Listing>, CatalogError> {
        let rows = sqlx::query(AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM listing WHERE market = $1 ORDER BY symbol"
        )))
        .bind(market.to_owned())
        .fetch_all(&self.pool)
        .await
        .map_err(unavailable)?;
        rows.iter().map(listing).collect()
    }

    pub(super) async fn read_members(
        &self,
        market: &str,
        universe: &str,
    ) -> Result<Vec<Membership>, CatalogError> {
        let text = "SELECT symbol, since, until FROM member WHERE market = $1 AND universe = $2 \
                    ORDER BY symbol, since";
        let rows = sqlx::query(text)
            .bind(market.to_owned())
            .bind(universe.to_owned())
            .fetch_all(&self.pool)
            .await
            .map_err(unavailable)?;
        rows.iter().map(membership).collect()
    }

    pub(super) async fn read_recorded_since(
        &self,
        market: MarketId,
    ) -> Result<Option<SessionDate>, CatalogError> {
        let row = sqlx::query("SELECT since FROM recorded WHERE market = $1")
            .bind(market.to_string())
            .fetch_optional(&self.pool)
            .await
            .map_err(unavailable)?;
        row.as_ref().map_or(Ok(None), |row| date(row, 0))
    }

    pub(super) async fn write_import(
        &self,
        listings: Vec<Listing>,
        at: Timestamp,
    ) -> Result<(), CatalogError> {
        let _one = self.writing.lock().await;
        let mut change = self.begin().await?;
        sqlx::query("DELETE FROM listing WHERE market = $1")
            .bind(FILE_MARKET.to_owned())
            .execute(&mut *change)
            .await
            .map_err(unavailable)?;
        put_listings(&mut change, FILE_MARKET, &latest(listings), at).await?;
        change.commit().await.map_err(unavailable)
    }

    pub(super) async fn write_record(
        &self,
        market: MarketId,
        on: SessionDate,
        listings: Vec<Listing>,
        at: Timestamp,
    ) -> Result<Recorded, CatalogError> {
        let _one = self.writing.lock().await;
        let mut listings = latest(listings);
        let known: HashMap<Symbol, Listing> =
            self.read_listings(market.as_str()).await?.into_iter().map(|l| (l.symbol.clone(), l)).collect();
        let members = self.read_members(market.as_str(), DEFAULT).await?;
        let open: HashSet<&Symbol> =
            members.iter().filter(|m| m.until.is_none()).map(|m| &m.symbol).collect();
        let first = self.read_recorded_since(market.clone()).await?.is_none();
        let active: HashSet<Symbol> =
            listings.iter().filter(|l| l.active.unwrap_or(true)).map(|l| l.symbol.clone()).collect();
        // Whoever was there when a market was first seen was there since it was listed; later ones since then.
        let since = |l: &Listing| match (first, l.list_date) {
            (true, date) => date.map_or_else(|| ALWAYS.to_owned(), |date| date.min(on).to_string()),
            (false, _) => on.to_string(),
        };
        let joined: Vec<(String, String)> = listings
            .iter()
            .filter(|l| active.contains(&l.symbol) && !open.contains(&l.symbol))
            .map(|l| (l.symbol.to_string(), since(l)))
            .collect();
        let left: Vec<Symbol> = open.into_iter().filter(|s| !active.contains(*s)).cloned().collect();
        // One that is listed no more stays known, as gone.
        let listed: HashSet<&Symbol> = listings.iter().map(|l| &l.symbol).collect();
        let gone: Vec<Listing> = left
            .iter()
            .filter(|s| !listed.contains(s))
            .filter_map(|s| known.get(s))
            .map(|l| Listing { active: Some(false), delist_date: l.delist_date.or(Some(on)), ..l.clone() })
            .collect();
        listings.extend(gone);
        let differs = |l: &Listing| known.get(&l.symbol) != Some(l);
        let fresh: Vec<Listing> = listings.into_iter().filter(differs).collect();
        let counts = (joined.len(), left.len());
        let changed = fresh.iter().filter(|l| known.contains_key(&l.symbol)).count();
        if joined.is_empty() && left.is_empty() && fresh.is_empty() && !first {
            return Ok(Recorded::default());
        }
        let mut change = self.begin().await?;
        put_listings(&mut change, market.as_str(), &fresh, at).await?;
        put_members(&mut change, market.as_str(), DEFAULT, &joined).await?;
        end_members(&mut change, market.as_str(), DEFAULT, &left, on).await?;
        sqlx::query("INSERT INTO recorded (market, since) VALUES ($1, $2) ON CONFLICT (market) DO NOTHING")
            .bind(market.to_string())
            .bind(on.to_string())
            .execute(&mut *change)
            .await
            .map_err(unavailable)?;
        change.commit().await.map_err(unavailable)?;
        Ok(Recorded { joined: counts.0, left: counts.1, changed: changed.saturating_sub(counts.1) })
    }
}

/// Each symbol once; of two for one symbol the later one updates the earlier.
fn latest(listings: Vec<Listing>) -> Vec<Listing> {
    let mut merged: std::collections::BTreeMap<Symbol, Listing> = std::collections::BTreeMap::new();
    for listing in listings {
        match merged.get_mut(&listing.symbol) {
            Some(known) => known.update(&listing),
            None => drop(merged.insert(listing.symbol.clone(), listing)),
        }
    }
    merged.into_values().collect()
}

async fn put_listings(
    change: &mut Transaction<'static, Any>,
    market: &str,
    listings: &[Listing],
    at: Timestamp,
) -> Result<(), CatalogError> {
    let names = COLUMNS.split(", ").skip(2).map(str::trim);
    let set: Vec<String> = names.map(|name| format!("{name} = excluded.{name}")).collect();
    for some in listings.chunks(BOUND_MAX / WIDTH) {
        let mut query = statement(format!(
            "INSERT INTO listing ({COLUMNS}) VALUES {} ON CONFLICT (market, symbol) DO UPDATE SET {}",
            places(some.len(), WIDTH),
            set.join(", ")
        ));
        for listing in some {
            query = query.bind(market.to_owned()).bind(listing.symbol.to_string());
            for text in &listing.text {
                query = query.bind(text.as_ref().map(ToString::to_string));
            }
            query = query
                .bind(listing.market_cap)
                .bind(listing.shares_outstanding)
                .bind(listing.list_date.map(|date| date.to_string()))
                .bind(listing.delist_date.map(|date| date.to_string()))
                .bind(listing.active.map(i64::from))
                .bind(at.as_nanos());
        }
        query.execute(&mut **change).await.map_err(unavailable)?;
    }
    Ok(())
}

/// Adds memberships: symbols, and since when each belongs.
pub(super) async fn put_members(
    change: &mut Transaction<'static, Any>,
    market: &str,
    universe: &str,
    members: &[(String, String)],
) -> Result<(), CatalogError> {
    for some in members.chunks(BOUND_MAX / 4) {
        // One that left and came back on one session never left.
        let mut query = statement(format!(
            "INSERT INTO member (market, universe, symbol, since) VALUES {} \
             ON CONFLICT (market, universe, symbol, since) DO UPDATE SET until = NULL",
            places(some.len(), 4)
        ));
        for (symbol, since) in some {
            query = query
                .bind(market.to_owned())
                .bind(universe.to_owned())
                .bind(symbol.clone())
                .bind(since.clone());
        }
        query.execute(&mut **change).await.map_err(unavailable)?;
    }
    Ok(())
}

/// Ends the memberships of symbols that belong now.
pub(super) async fn end_members(
    change: &mut Transaction<'static, Any>,
    market: &str,
    universe: &str,
    symbols: &[Symbol],
    on: SessionDate,
) -> Result<(), CatalogError> {
    for some in symbols.chunks(BOUND_MAX) {
        let marks: Vec<String> = (0..some.len()).map(|i| format!("${}", i + 4)).collect();
        let mut query = statement(format!(
            "UPDATE member SET until = $1 WHERE market = $2 AND universe = $3 AND until IS NULL AND symbol IN ({})",
            marks.join(", ")
        ))
        .bind(on.to_string())
        .bind(market.to_owned())
        .bind(universe.to_owned());
        for symbol in some {
            query = query.bind(symbol.to_string());
        }
        query.execute(&mut **change).await.map_err(unavailable)?;
    }
    Ok(())
}

/// When a membership begins, as it is written.
pub(super) fn since(member: &Membership) -> String {
    member.since.map_or_else(|| ALWAYS.to_owned(), |since| since.to_string())
}

fn membership(row: &AnyRow) -> Result<Membership, CatalogError> {
    let since: String = value(row, 1)?;
    Ok(Membership {
        symbol: symbol(row, 0)?,
        since: if since == ALWAYS { None } else { date(row, 1)? },
        until: date(row, 2)?,
    })
}

fn listing(row: &AnyRow) -> Result<Listing, CatalogError> {
    let mut listing = Listing::new(symbol(row, 1)?);
    for attribute in TextAttribute::ALL {
        let text: Option<String> = value(row, 2 + attribute as usize)?;
        listing.text[attribute as usize] = text.map(Arc::from);
    }
    listing.market_cap = value(row, 9)?;
    listing.shares_outstanding = value(row, 10)?;
    listing.list_date = date(row, 11)?;
    listing.delist_date = date(row, 12)?;
    listing.active = value::<Option<i64>>(row, 13)?.map(|active| active != 0);
    Ok(listing)
}
