//! The feed of reports in SQLite. The single writer numbers reports as it takes them, so that a position is a number.

use jiff::Timestamp;
use link::id::SourceId;
use sqlx::{SqliteConnection, SqlitePool};

use super::super::reports::{
    Report, ReportCursor, ReportHeads, ReportPage, ReportPosition, ReportStore, Watermark,
    consumer_removed,
};
use super::super::sql::Written;
use super::super::sql::reports::{Paging, cut};
use super::super::{SourceName, StatusUpdate, StoreError};
use super::SqliteStore;
use super::rows::{self, driver, get, micros};

impl ReportStore for SqliteStore {
    async fn reports_end(&self) -> Result<ReportPosition, StoreError> {
        let end = present(self.reading()?).await;
        let (epoch, last) = self.health.noted(end)?;
        let seen = Watermark::Number(last);
        Ok(ReportPosition { epoch, seen })
    }

    async fn reports_after(
        &self,
        after: ReportPosition,
        limit: u32,
    ) -> Result<ReportHeads, StoreError> {
        let found = reports_after(self.reading()?, after, limit).await;
        self.health.noted(found)
    }

    async fn reports_since(
        &self,
        source: &SourceName,
        since: Timestamp,
        after: Option<ReportCursor>,
        limit: u32,
    ) -> Result<ReportPage, StoreError> {
        self.reading()?;
        let source = source.clone();
        let found = self
            .searches
            .run("read the latest reports of a source", move |c| {
                Box::pin(reports_since(c, source, since, after, limit))
            });
        self.health.noted(found.await)
    }

    async fn report(&self, id: &str) -> Result<Option<Report>, StoreError> {
        let found = report(self.reading()?, id).await;
        self.health.noted(found)
    }

    async fn prune_reports(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.write(move |c| Box::pin(prune(c, before))).await
    }
}

impl SqliteStore {
    /// Bundles that were stored before it was known for which source are this one's. One process has the file, so those of
    /// another source stay that one's. It is noted who spoke last, for a copy or an import.
    ///
    /// # Errors
    /// The store's.
    pub async fn assign_source(&self, source: &SourceId) -> Result<(), StoreError> {
        let source = source.clone();
        self.write(move |c| {
            Box::pin(async move {
                for statement in [
                    "UPDATE bundles SET source = ?1 WHERE source IS NULL",
                    "UPDATE gone_reports SET source = ?1 WHERE source IS NULL",
                    "INSERT INTO installation (id, source) VALUES (1, ?1) ON CONFLICT (id) \
                     DO UPDATE SET source = excluded.source WHERE source <> excluded.source",
                ] {
                    sqlx::query(statement)
                        .bind(source.as_str())
                        .execute(&mut *c)
                        .await
                        .map_err(driver("take over bundles that were nobody's"))?;
                }
                Ok(Written::of(()))
            })
        })
        .await
    }
}

/// The id of the present epoch, and the number of the last report.
async fn present(pool: &SqlitePool) -> Result<(String, i64), StoreError> {
    sqlx::query_as(
        "SELECT id, (SELECT last FROM report_order) FROM epochs ORDER BY number DESC LIMIT 1",
    )
    .fetch_one(pool)
    .await
    .map_err(driver("read where reports stand"))
}

async fn reports_after(
    pool: &SqlitePool,
    after: ReportPosition,
    limit: u32,
) -> Result<ReportHeads, StoreError> {
    let Watermark::Number(seen) = after.seen else {
        return Err(StoreError::PositionLost);
    };
    let (epoch, last) = present(pool).await?;
    if epoch != after.epoch || seen > last {
        return Err(StoreError::PositionLost);
    }
    let found = sqlx::query(
        "SELECT s.reported, b.id, b.source, s.stored_at AS at, 0 AS gone FROM statuses s \
         JOIN bundles b ON b.key = s.bundle_key WHERE s.reported > ?1 \
         UNION ALL SELECT g.reported, g.id, g.source, g.removed_at AS at, 1 AS gone FROM gone_reports g \
         WHERE g.reported > ?1 ORDER BY 1 LIMIT ?2",
    )
    .bind(seen)
    .bind(i64::from(limit) + 1)
    .fetch_all(pool)
    .await
    .map_err(driver("read what was reported"))?;
    let (found, more) = cut(found, limit);
    let seen = match found.last() {
        Some(row) => get(row, "reported")?,
        None => seen,
    };
    let heads = found
        .iter()
        .map(rows::report_head)
        .collect::<Result<_, _>>();
    Ok(ReportHeads {
        heads: heads?,
        next: ReportPosition {
            epoch,
            seen: Watermark::Number(seen),
        },
        more,
    })
}

async fn reports_since(
    connection: &mut SqliteConnection,
    source: SourceName,
    since: Timestamp,
    after: Option<ReportCursor>,
    limit: u32,
) -> Result<ReportPage, StoreError> {
    let mut paging = Paging::new(after, limit);
    while let Some(ask) = paging.ask() {
        let found = sqlx::query(if ask.gone { GONE_SINCE } else { SINCE })
            .bind(source.as_str())
            .bind(micros(since))
            .bind(ask.after)
            .bind(ask.rows)
            .fetch_all(&mut *connection)
            .await
            .map_err(driver("read the latest reports of a source"))?;
        paging.take(found)?;
    }
    Ok(paging.page())
}

// In the order of the index of sources, whatever the planner makes of the rest: a page looks only at what is on it.
const SINCE: &str = "SELECT b.key, b.id, b.source, s.stored_at AS at, 0 AS gone FROM bundles b INDEXED BY bundles_by_source \
     CROSS JOIN statuses s ON s.bundle_key = b.key \
     WHERE b.source = ?1 AND s.stored_at >= ?2 AND b.key > ?3 ORDER BY b.key LIMIT ?4";

const GONE_SINCE: &str = "SELECT g.bundle_key AS key, g.id, g.source, g.removed_at AS at, 1 AS gone FROM gone_reports g \
     WHERE g.source = ?1 AND g.removed_at >= ?2 AND g.bundle_key > ?3 ORDER BY g.bundle_key LIMIT ?4";

async fn report(pool: &SqlitePool, id: &str) -> Result<Option<Report>, StoreError> {
    // One statement sees one state: a bundle is not neither there nor gone.
    let row = sqlx::query(
        "SELECT b.id, b.source, b.consumer_name, s.version, b.status_sequence, s.hash AS status_hash, b.metadata, \
           c.manifests, c.delete_option, c.manifest_configs, c.executer, s.payload, s.stored_at AS at, 0 AS gone \
         FROM bundles b JOIN contents c ON c.bundle_key = b.key JOIN statuses s ON s.bundle_key = b.key WHERE b.id = ?1 \
         UNION ALL SELECT * FROM (SELECT id, source, consumer_name, version, status_sequence, status_hash, metadata, \
           manifests, delete_option, manifest_configs, executer, payload, removed_at, 1 FROM gone_reports g \
           WHERE g.id = ?1 AND NOT EXISTS (SELECT 1 FROM bundles b WHERE b.id = ?1) ORDER BY bundle_key DESC LIMIT 1)",
    )
    .bind(id)
    .fetch_optional(pool)
    .await
    .map_err(driver("read what is reported of a bundle"))?;
    row.as_ref().map(rows::report).transpose()
}

async fn prune(
    connection: &mut SqliteConnection,
    before: Timestamp,
) -> Result<Written<u64>, StoreError> {
    let done = sqlx::query("DELETE FROM gone_reports WHERE removed_at < ?1")
        .bind(micros(before))
        .execute(connection)
        .await
        .map_err(driver("forget reports of bundles that are gone"))?;
    Ok(Written::of(done.rows_affected()))
}

/// The number of the next report.
pub(super) async fn next(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    sqlx::query_scalar("UPDATE report_order SET last = last + 1 RETURNING last")
        .fetch_one(connection)
        .await
        .map_err(driver("number a report"))
}

/// Keeps the report with which a bundle goes, in the transaction that removes it.
pub(super) async fn leave(
    connection: &mut SqliteConnection,
    key: i64,
    update: &StatusUpdate,
) -> Result<(), StoreError> {
    let number = next(connection).await?;
    sqlx::query(
        "INSERT INTO gone_reports (bundle_key, id, source, consumer_name, version, status_sequence, status_hash, metadata, \
           manifests, delete_option, manifest_configs, executer, payload, removed_at, reported) \
         SELECT b.key, b.id, b.source, b.consumer_name, ?2, ?3, ?4, b.metadata, c.manifests, c.delete_option, \
           c.manifest_configs, c.executer, ?5, ?6, ?7 \
         FROM bundles b JOIN contents c ON c.bundle_key = b.key WHERE b.key = ?1",
    )
    .bind(key)
    .bind(update.version.get())
    .bind(update.sequence_id.to_string())
    .bind(&update.status_hash)
    .bind(update.payload.as_str())
    .bind(micros(update.at))
    .bind(number)
    .execute(connection)
    .await
    .map_err(driver("keep the last report of a bundle"))?;
    Ok(())
}

/// Keeps what is said of bundles that go with their consumer.
pub(super) async fn leave_all(
    connection: &mut SqliteConnection,
    consumer: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO gone_reports (bundle_key, id, source, consumer_name, version, status_sequence, metadata, \
           manifests, delete_option, manifest_configs, executer, payload, removed_at, reported) \
         SELECT b.key, b.id, b.source, b.consumer_name, b.version, b.status_sequence, b.metadata, c.manifests, \
           c.delete_option, c.manifest_configs, c.executer, ?2, ?3, \
           (SELECT last FROM report_order) + row_number() OVER (ORDER BY b.key) \
         FROM bundles b JOIN contents c ON c.bundle_key = b.key WHERE b.consumer_name = ?1",
    )
    .bind(consumer)
    .bind(consumer_removed(now).as_str())
    .bind(micros(now))
    .execute(&mut *connection)
    .await
    .map_err(driver("keep the last reports of a consumer's bundles"))?;
    sqlx::query(
        "UPDATE report_order SET last = MAX(last, (SELECT COALESCE(MAX(reported), 0) FROM gone_reports))",
    )
    .execute(connection)
    .await
    .map_err(driver("number reports"))?;
    Ok(())
}
