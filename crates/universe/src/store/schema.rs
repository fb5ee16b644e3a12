//! The tables and how they came to be: each layout is the one before with some statements more, and is never changed
//! again. Not here: what stands in the tables.

use panscan_core::catalog::CatalogError;
use sqlx::Row;

use super::{Dialect, Store, statement, unavailable};

/// The newest layout.
pub const LAYOUT: i64 = LAYOUTS.len() as i64;

/// The statements that lead to each layout from the one before. `{bytes}` is the database's type for bytes,
/// `{word}` the one for texts that are ordered byte by byte.
const LAYOUTS: [&[&str]; 2] = [
    // Who is listed, who was, and universes that have a name. The market '' holds what came from a file.
    &[
        "CREATE TABLE listing (market TEXT NOT NULL, symbol {word} NOT NULL, name TEXT, exchange TEXT, type TEXT, \
         sector TEXT, industry TEXT, country TEXT, currency TEXT, market_cap DOUBLE PRECISION, \
         shares_outstanding DOUBLE PRECISION, list_date TEXT, delist_date TEXT, active BIGINT, \
         updated BIGINT NOT NULL, PRIMARY KEY (market, symbol))",
        "CREATE INDEX listing_sector ON listing (market, sector, industry)",
        "CREATE INDEX listing_exchange ON listing (market, exchange)",
        "CREATE INDEX listing_market_cap ON listing (market, market_cap)",
        "CREATE INDEX listing_active ON listing (market, active)",
        "CREATE TABLE member (market TEXT NOT NULL, universe TEXT NOT NULL, symbol {word} NOT NULL, \
         since TEXT NOT NULL, until TEXT, PRIMARY KEY (market, universe, symbol, since))",
        "CREATE INDEX member_universe ON member (market, universe, until)",
        "CREATE TABLE recorded (market TEXT NOT NULL PRIMARY KEY, since TEXT NOT NULL)",
        "CREATE TABLE universe (id {word} NOT NULL PRIMARY KEY, description TEXT NOT NULL, filter TEXT, \
         revision BIGINT NOT NULL, created BIGINT NOT NULL, updated BIGINT NOT NULL)",
    ],
    // Scans that callers save.
    &[
        "CREATE TABLE saved_scan (id {word} NOT NULL PRIMARY KEY, description TEXT NOT NULL, scan {bytes} NOT NULL, \
       owner TEXT NOT NULL, revision BIGINT NOT NULL, created BIGINT NOT NULL, updated BIGINT NOT NULL)",
    ],
];

/// Number under which servers wait for each other while one of them changes tables.
const CHANGING: &str = "SELECT pg_advisory_xact_lock(7210834411)";

impl Store {
    /// Makes the tables, or adds what a layout up to `known` has more than theirs.
    pub(super) async fn bring_up(&self, known: i64) -> Result<(), CatalogError> {
        let mut change = self.begin().await?;
        if self.dialect == Dialect::Postgres {
            sqlx::query(CHANGING).execute(&mut *change).await.map_err(unavailable)?;
        }
        sqlx::query("CREATE TABLE IF NOT EXISTS layout (version BIGINT NOT NULL)")
            .execute(&mut *change)
            .await
            .map_err(unavailable)?;
        let rows = sqlx::query("SELECT version FROM layout ORDER BY version DESC LIMIT 1")
            .fetch_all(&mut *change)
            .await
            .map_err(unavailable)?;
        let found: i64 = match rows.first() {
            Some(row) => row.try_get(0).map_err(unavailable)?,
            None => 0,
        };
        if found > known {
            return Err(CatalogError::Newer { found, known });
        }
        let (bytes, word) = match self.dialect {
            Dialect::Sqlite => ("BLOB", "TEXT"),
            Dialect::Postgres => ("BYTEA", "TEXT COLLATE \"C\""),
        };
        for (layout, statements) in (1..=known).zip(LAYOUTS).skip(usize::try_from(found).unwrap_or(0)) {
            for text in statements {
                let text = text.replace("{bytes}", bytes).replace("{word}", word);
                statement(text).execute(&mut *change).await.map_err(unavailable)?;
            }
            sqlx::query("INSERT INTO layout (version) VALUES ($1)")
                .bind(layout)
                .execute(&mut *change)
                .await
                .map_err(unavailable)?;
            tracing::info!(layout, database = ?self.dialect, "the catalog's tables are brought up to date");
        }
        change.commit().await.map_err(unavailable)
    }
}
