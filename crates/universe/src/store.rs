//! The catalog in a database: SQLite in the store's folder, or PostgreSQL that several servers share.
//!
//! Every statement is the same for both. Here are opening and what statements have in common; the tables are in
//! [`schema`], and what is read from and written to them in the file of its noun.

mod listing;
mod named;
mod saved;
mod schema;

use std::path::Path;
use std::time::Duration;

use panscan_core::catalog::{Catalog, CatalogError, Filed, Membership, NamedUniverse, Recorded, SavedScan};
use panscan_core::snapshot::MarketId;
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timestamp};
use panscan_core::universe::Listing;
use sqlx::any::{Any, AnyPoolOptions, AnyRow};
use sqlx::query::Query;
use sqlx::{AnyPool, AssertSqlSafe, Decode, Row, Transaction, Type};
use tokio::sync::Mutex;

pub use schema::LAYOUT;

/// Name of the database in the store's folder.
pub const FILE: &str = "catalog.db";
/// Connections at once.
const CONNECTIONS_MAX: u32 = 4;
/// Longest wait for a connection.
const ACQUIRE_MAX: Duration = Duration::from_secs(5);
/// How long SQLite waits for another process that writes.
const BUSY: &str = "PRAGMA busy_timeout = 5000";
/// Values that one statement binds at most; SQLite's own bound is 32,766.
const BOUND_MAX: usize = 16_000;

/// What a statement binds.
pub(crate) type Arguments = <Any as sqlx::Database>::Arguments;

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

/// The catalog.
pub struct Store {
    pool: AnyPool,
    dialect: Dialect,
    /// Held while something is written: SQLite has one writer, and it should not be found busy by this process.
    writing: Mutex<()>,
}

impl Store {
    /// The URL of the database in a store's folder.
    #[must_use]
    pub fn url_in(folder: &Path) -> String {
        let path = std::path::absolute(folder.join(FILE)).unwrap_or_else(|_| folder.join(FILE));
        let escape = |c: char| match c {
            '%' | '?' | '#' | ' ' => format!("%{:02X}", u32::from(c)),
            other => other.to_string(),
        };
        let path: String = path.to_string_lossy().chars().map(escape).collect();
        format!("sqlite://{path}?mode=rwc")
    }

    /// Opens a database and brings its tables up to date.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Unavailable`] when it cannot be reached or opened, [`CatalogError::Newer`] when a later version
    /// of panscan has changed its tables.
    pub async fn open(url: &str) -> Result<Self, CatalogError> {
        Self::open_at(url, LAYOUT).await
    }

    /// The same as a version did that knew only the layouts up to `layout`.
    ///
    /// # Errors
    ///
    /// As [`Store::open`].
    #[doc(hidden)]
    pub async fn open_at(url: &str, layout: i64) -> Result<Self, CatalogError> {
        sqlx::any::install_default_drivers();
        let dialect = if url.starts_with("sqlite:") { Dialect::Sqlite } else { Dialect::Postgres };
        // In memory every connection would have a database of its own.
        let memory = dialect == Dialect::Sqlite && url.contains(":memory:");
        let mut options = AnyPoolOptions::new()
            .max_connections(if memory { 1 } else { CONNECTIONS_MAX })
            .acquire_timeout(ACQUIRE_MAX);
        if memory {
            options = options.min_connections(1).idle_timeout(None).max_lifetime(None);
        }
        if dialect == Dialect::Sqlite {
            options = options.after_connect(|connection, _| {
                Box::pin(async move {
                    for pragma in [BUSY, "PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL"] {
                        sqlx::query(pragma).execute(&mut *connection).await?;
                    }
                    Ok(())
                })
            });
        }
        let pool = options.connect(url).await.map_err(unavailable)?;
        let store = Self { pool, dialect, writing: Mutex::new(()) };
        store.bring_up(layout).await?;
        Ok(store)
    }

    /// Closes every connection; what waits for one fails.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Begins a change that is whole or not made at all. For SQLite it waits for other writers now: a change that has
    /// read first could not wait any more.
    async fn begin(&self) -> Result<Transaction<'static, Any>, CatalogError> {
        let begun = match self.dialect {
            Dialect::Sqlite => self.pool.begin_with("BEGIN IMMEDIATE").await,
            Dialect::Postgres => self.pool.begin().await,
        };
        begun.map_err(unavailable)
    }
}

/// A statement that is put together from parts of this crate's own; values are bound and never part of it.
fn statement<'q>(text: String) -> Query<'q, Any, Arguments> {
    sqlx::query(AssertSqlSafe(text))
}

/// `($1, $2), ($3, $4)` for two rows of two values.
fn places(rows: usize, width: usize) -> String {
    let row = |at: usize| {
        let marks: Vec<String> = (1..=width).map(|i| format!("${}", at * width + i)).collect();
        format!("({})", marks.join(", "))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

fn unavailable(error: sqlx::Error) -> CatalogError {
    // The driver names what it was asked, never the password.
    CatalogError::Unavailable { why: error.to_string() }
}

fn broken(why: impl Into<String>) -> CatalogError {
    CatalogError::Unavailable { why: why.into() }
}

/// The value of a column.
fn value<'r, T: Decode<'r, Any> + Type<Any>>(row: &'r AnyRow, column: usize) -> Result<T, CatalogError> {
    row.try_get(column).map_err(unavailable)
}

fn symbol(row: &AnyRow, column: usize) -> Result<Symbol, CatalogError> {
    Symbol::new(&value::<String>(row, column)?).map_err(|error| broken(error.to_string()))
}

fn date(row: &AnyRow, column: usize) -> Result<Option<SessionDate>, CatalogError> {
    let text: Option<String> = value(row, column)?;
    text.map(|text| text.parse()).transpose().map_err(|error: panscan_core::Error| broken(error.to_string()))
}

fn instant(row: &AnyRow, column: usize) -> Result<Timestamp, CatalogError> {
    value::<i64>(row, column).map(Timestamp::from_nanos)
}

impl Catalog for Store {
    fn describe(&self) -> String {
        match self.dialect {
            Dialect::Sqlite => "SQLite".to_owned(),
            Dialect::Postgres => "PostgreSQL".to_owned(),
        }
    }

    fn import(&self, listings: Vec<Listing>, at: Timestamp) -> Filed<'_, ()> {
        Box::pin(self.write_import(listings, at))
    }

    fn imported(&self) -> Filed<'_, Vec<Listing>> {
        Box::pin(self.read_listings(listing::FILE_MARKET))
    }

    fn record(
        &self,
        market: MarketId,
        on: SessionDate,
        listings: Vec<Listing>,
        at: Timestamp,
    ) -> Filed<'_, Recorded> {
        Box::pin(self.write_record(market, on, listings, at))
    }

    fn listings(&self, market: MarketId) -> Filed<'_, Vec<Listing>> {
        Box::pin(async move { self.read_listings(market.as_str()).await })
    }

    fn history(&self, market: MarketId) -> Filed<'_, Vec<Membership>> {
        Box::pin(async move { self.read_members(market.as_str(), listing::DEFAULT).await })
    }

    fn recorded_since(&self, market: MarketId) -> Filed<'_, Option<SessionDate>> {
        Box::pin(self.read_recorded_since(market))
    }

    fn universes(&self) -> Filed<'_, Vec<NamedUniverse>> {
        Box::pin(self.read_universes())
    }

    fn create_universe(&self, universe: NamedUniverse, at: Timestamp) -> Filed<'_, NamedUniverse> {
        Box::pin(self.insert_universe(universe, at))
    }

    fn update_universe(
        &self,
        universe: NamedUniverse,
        on: SessionDate,
        at: Timestamp,
    ) -> Filed<'_, NamedUniverse> {
        Box::pin(self.write_universe(universe, on, at))
    }

    fn delete_universe(&self, id: String, revision: Option<i64>) -> Filed<'_, ()> {
        Box::pin(self.remove_universe(id, revision))
    }

    fn saved_scans(&self, after: String, limit: usize) -> Filed<'_, Vec<SavedScan>> {
        Box::pin(self.read_saved(after, limit))
    }

    fn saved_scan(&self, id: String) -> Filed<'_, SavedScan> {
        Box::pin(self.read_one_saved(id))
    }

    fn create_saved_scan(&self, scan: SavedScan, at: Timestamp) -> Filed<'_, SavedScan> {
        Box::pin(self.insert_saved(scan, at))
    }

    fn update_saved_scan(&self, scan: SavedScan, at: Timestamp) -> Filed<'_, SavedScan> {
        Box::pin(self.write_saved(scan, at))
    }

    fn delete_saved_scan(&self, id: String, revision: Option<i64>) -> Filed<'_, ()> {
        Box::pin(self.remove_saved(id, revision))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_through_the_rows() {
        assert_eq!(places(2, 3), "($1, $2, $3), ($4, $5, $6)");
    }

    #[test]
    fn a_folder_with_odd_letters_is_one_url() {
        let url = Store::url_in(Path::new("/a b/c?d%"));
        assert_eq!(url, "sqlite:///a%20b/c%3Fd%25/catalog.db?mode=rwc");
    }
}
