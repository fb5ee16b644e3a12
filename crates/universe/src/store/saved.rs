//! Scans that callers save.

use panscan_core::catalog::{CatalogError, SAVED_SCANS_MAX, SavedScan};
use panscan_core::time::Timestamp;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Store, instant, unavailable, value};

/// What such a thing is called in messages.
const WHAT: &str = "saved scan";
/// Whether there is one of a name.
const IS_THERE: &str = "SELECT 1 FROM saved_scan WHERE id = $1";

impl Store {
    pub(super) async fn read_saved(
        &self,
        after: String,
        limit: usize,
    ) -> Result<Vec<SavedScan>, CatalogError> {
        let rows = sqlx::query(
            "SELECT id, description, scan, owner, revision, created, updated FROM saved_scan WHERE id > $1 \
             ORDER BY id LIMIT $2",
        )
        .bind(after)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await
        .map_err(unavailable)?;
        rows.iter().map(saved).collect()
    }

    pub(super) async fn read_one_saved(&self, id: String) -> Result<SavedScan, CatalogError> {
        let row = sqlx::query(
            "SELECT id, description, scan, owner, revision, created, updated FROM saved_scan WHERE id = $1",
        )
        .bind(id.clone())
        .fetch_optional(&self.pool)
        .await
        .map_err(unavailable)?;
        row.as_ref().map_or(Err(CatalogError::NotFound { what: WHAT, name: id }), saved)
    }

    pub(super) async fn insert_saved(
        &self,
        scan: SavedScan,
        at: Timestamp,
    ) -> Result<SavedScan, CatalogError> {
        let _one = self.writing.lock().await;
        let mut change = self.begin().await?;
        let row = sqlx::query("SELECT COUNT(*) FROM saved_scan").fetch_one(&mut *change).await;
        let count: i64 = row.and_then(|row| row.try_get(0)).map_err(unavailable)?;
        if count >= SAVED_SCANS_MAX as i64 {
            return Err(CatalogError::Full { what: WHAT, max: SAVED_SCANS_MAX });
        }
        let made = sqlx::query(
            "INSERT INTO saved_scan (id, description, scan, owner, revision, created, updated) \
             VALUES ($1, $2, $3, $4, 1, $5, $5) ON CONFLICT (id) DO NOTHING",
        )
        .bind(scan.id.clone())
        .bind(scan.description.clone())
        .bind(scan.scan.clone())
        .bind(scan.owner.clone())
        .bind(at.as_nanos())
        .execute(&mut *change)
        .await
        .map_err(unavailable)?;
        if made.rows_affected() == 0 {
            return Err(CatalogError::Exists { what: WHAT, name: scan.id });
        }
        change.commit().await.map_err(unavailable)?;
        Ok(SavedScan { revision: 1, created: at, updated: at, ..scan })
    }

    pub(super) async fn write_saved(
        &self,
        scan: SavedScan,
        at: Timestamp,
    ) -> Result<SavedScan, CatalogError> {
        let _one = self.writing.lock().await;
        let written = sqlx::query(
            "UPDATE saved_scan SET description = $1, scan = $2, revision = revision + 1, updated = $3 \
             WHERE id = $4 AND revision = $5 AND created = $6",
        )
        .bind(scan.description.clone())
        .bind(scan.scan.clone())
        .bind(at.as_nanos())
        .bind(scan.id.clone())
        .bind(scan.revision)
        .bind(scan.created.as_nanos())
        .execute(&self.pool)
        .await
        .map_err(unavailable)?;
        if written.rows_affected() == 0 {
            return Err(self.lacks(WHAT, IS_THERE, scan.id).await);
        }
        Ok(SavedScan { revision: scan.revision + 1, updated: at, ..scan })
    }

    pub(super) async fn remove_saved(&self, id: String, revision: Option<i64>) -> Result<(), CatalogError> {
        let _one = self.writing.lock().await;
        let removed = sqlx::query("DELETE FROM saved_scan WHERE id = $1 AND ($2 = 0 OR revision = $2)")
            .bind(id.clone())
            .bind(revision.unwrap_or(0))
            .execute(&self.pool)
            .await
            .map_err(unavailable)?;
        if removed.rows_affected() == 0 {
            return Err(self.lacks(WHAT, IS_THERE, id).await);
        }
        Ok(())
    }
}

fn saved(row: &AnyRow) -> Result<SavedScan, CatalogError> {
    Ok(SavedScan {
        id: value(row, 0)?,
        description: value(row, 1)?,
        scan: value(row, 2)?,
        owner: value(row, 3)?,
        revision: value(row, 4)?,
        created: instant(row, 5)?,
        updated: instant(row, 6)?,
    })
}
