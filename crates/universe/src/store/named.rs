//! Universes that have a name: what they are, and the history of those that list their symbols.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use panscan_core::catalog::{CatalogError, Membership, NamedUniverse, Rule, UNIVERSES_MAX};
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timestamp};
use sqlx::Row;

use super::listing::{end_members, put_members, since};
use super::{Store, instant, unavailable, value};

/// Stands where a market does: a named universe is the same in every market.
const EVERY_MARKET: &str = "";
/// What such a thing is called in messages.
const WHAT: &str = "universe";

impl Store {
    pub(super) async fn read_universes(&self) -> Result<Vec<NamedUniverse>, CatalogError> {
        let rows = sqlx::query(
            "SELECT id, description, filter, revision, created, updated FROM universe ORDER BY id",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(unavailable)?;
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            let id: String = value(row, 0)?;
            let rule = match value::<Option<String>>(row, 2)? {
                Some(filter) => Rule::Filter(filter),
                None => Rule::Symbols(self.read_members(EVERY_MARKET, &id).await?.into()),
            };
            found.push(NamedUniverse {
                id,
                description: value(row, 1)?,
                rule,
                revision: value(row, 3)?,
                created: instant(row, 4)?,
                updated: instant(row, 5)?,
            });
        }
        Ok(found)
    }

    pub(super) async fn insert_universe(
        &self,
        universe: NamedUniverse,
        at: Timestamp,
    ) -> Result<NamedUniverse, CatalogError> {
        let _one = self.writing.lock().await;
        let mut change = self.begin().await?;
        let row = sqlx::query("SELECT COUNT(*) FROM universe").fetch_one(&mut *change).await;
        let count: i64 = row.and_then(|row| row.try_get(0)).map_err(unavailable)?;
        if count >= UNIVERSES_MAX as i64 {
            return Err(CatalogError::Full { what: WHAT, max: UNIVERSES_MAX });
        }
        let (filter, members) = match &universe.rule {
            Rule::Filter(filter) => (Some(filter.clone()), Vec::new()),
            Rule::Symbols(members) => (None, starts(members)),
        };
        let made = sqlx::query(
            "INSERT INTO universe (id, description, filter, revision, created, updated) \
             VALUES ($1, $2, $3, 1, $4, $4) ON CONFLICT (id) DO NOTHING",
        )
        .bind(universe.id.clone())
        .bind(universe.description.clone())
        .bind(filter)
        .bind(at.as_nanos())
        .execute(&mut *change)
        .await
        .map_err(unavailable)?;
        if made.rows_affected() == 0 {
            return Err(CatalogError::Exists { what: WHAT, name: universe.id });
        }
        put_members(&mut change, EVERY_MARKET, &universe.id, &members).await?;
        change.commit().await.map_err(unavailable)?;
        Ok(NamedUniverse { revision: 1, created: at, updated: at, ..universe })
    }

    pub(super) async fn write_universe(
        &self,
        universe: NamedUniverse,
        on: SessionDate,
        at: Timestamp,
    ) -> Result<NamedUniverse, CatalogError> {
        let _one = self.writing.lock().await;
        let mut change = self.begin().await?;
        let filter = match &universe.rule {
            Rule::Filter(filter) => Some(filter.clone()),
            Rule::Symbols(_) => None,
        };
        let written = sqlx::query(
            "UPDATE universe SET description = $1, filter = $2, revision = revision + 1, updated = $3 \
             WHERE id = $4 AND revision = $5",
        )
        .bind(universe.description.clone())
        .bind(filter)
        .bind(at.as_nanos())
        .bind(universe.id.clone())
        .bind(universe.revision)
        .execute(&mut *change)
        .await
        .map_err(unavailable)?;
        if written.rows_affected() == 0 {
            drop(change);
            return Err(self.lacks(WHAT, "SELECT 1 FROM universe WHERE id = $1", universe.id).await);
        }
        // Read under the change: whoever changed it before has ended.
        let rows = sqlx::query(
            "SELECT symbol FROM member WHERE market = $1 AND universe = $2 AND until IS NULL ORDER BY symbol",
        )
        .bind(EVERY_MARKET.to_owned())
        .bind(universe.id.clone())
        .fetch_all(&mut *change)
        .await
        .map_err(unavailable)?;
        let before: BTreeSet<Symbol> =
            rows.iter().map(|row| super::symbol(row, 0)).collect::<Result<_, _>>()?;
        let now: BTreeSet<Symbol> = match &universe.rule {
            Rule::Filter(_) => BTreeSet::new(),
            Rule::Symbols(members) => members.iter().map(|m| m.symbol.clone()).collect(),
        };
        let joined: Vec<(String, String)> =
            now.difference(&before).map(|s| (s.to_string(), on.to_string())).collect();
        let left: Vec<Symbol> = before.difference(&now).cloned().collect();
        put_members(&mut change, EVERY_MARKET, &universe.id, &joined).await?;
        end_members(&mut change, EVERY_MARKET, &universe.id, &left, on).await?;
        change.commit().await.map_err(unavailable)?;
        let rule = match universe.rule {
            Rule::Symbols(_) => Rule::Symbols(self.read_members(EVERY_MARKET, &universe.id).await?.into()),
            filter => filter,
        };
        Ok(NamedUniverse { rule, revision: universe.revision + 1, updated: at, ..universe })
    }

    pub(super) async fn remove_universe(
        &self,
        id: String,
        revision: Option<i64>,
    ) -> Result<(), CatalogError> {
        let _one = self.writing.lock().await;
        let mut change = self.begin().await?;
        let removed = sqlx::query("DELETE FROM universe WHERE id = $1 AND ($2 = 0 OR revision = $2)")
            .bind(id.clone())
            .bind(revision.unwrap_or(0))
            .execute(&mut *change)
            .await
            .map_err(unavailable)?;
        if removed.rows_affected() == 0 {
            drop(change);
            return Err(self.lacks(WHAT, "SELECT 1 FROM universe WHERE id = $1", id).await);
        }
        sqlx::query("DELETE FROM member WHERE market = $1 AND universe = $2")
            .bind(EVERY_MARKET.to_owned())
            .bind(id)
            .execute(&mut *change)
            .await
            .map_err(unavailable)?;
        change.commit().await.map_err(unavailable)
    }

    /// Why a change found nothing to change: it is gone, or it is another by now.
    pub(super) async fn lacks(&self, what: &'static str, text: &'static str, name: String) -> CatalogError {
        match sqlx::query(text).bind(name.clone()).fetch_optional(&self.pool).await {
            Ok(Some(_)) => CatalogError::Changed { what, name },
            Ok(None) => CatalogError::NotFound { what, name },
            Err(error) => unavailable(error),
        }
    }
}

/// The memberships that a new universe begins with, each once.
fn starts(members: &Arc<[Membership]>) -> Vec<(String, String)> {
    let once: BTreeMap<String, String> = members.iter().map(|m| (m.symbol.to_string(), since(m))).collect();
    once.into_iter().collect()
}
