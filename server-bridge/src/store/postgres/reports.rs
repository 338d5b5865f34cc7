//! The feed of reports in PostgreSQL. Each status is stamped with the transaction that wrote it
//! (`migrations/postgres/0007_reports.sql`), and a position is a snapshot of the server: what is not visible in it was
//! committed later, however long the transaction took. A long transaction neither blocks readers nor repeats reports. One
//! call returns a part of what was committed between two snapshots; the last part moves the reader to the newer snapshot.

use jiff::Timestamp;
use sqlx::PgConnection;
use sqlx::postgres::PgRow;

use super::super::reports::{
    Report, ReportCursor, ReportHeads, ReportPage, ReportPosition, ReportStore, Sweep, Watermark,
    consumer_removed,
};
use super::super::sql::reports::{Paging, cut};
use super::super::sql::rows::{self, Cells as _, micros};
use super::super::{SourceName, StatusUpdate, StoreError};
use super::failure::driver;
use super::text::storable;
use super::{PostgresStore, Use, Written};

impl ReportStore for PostgresStore {
    async fn reports_end(&self) -> Result<ReportPosition, StoreError> {
        self.read(Use::Api, "read where reports stand", |c| {
            Box::pin(async move {
                let (epoch, until, _) = present(c, EMPTY).await?;
                let seen = Watermark::Snapshot { until, sweep: None };
                Ok(ReportPosition { epoch, seen })
            })
        })
        .await
    }

    async fn reports_after(
        &self,
        after: ReportPosition,
        limit: u32,
    ) -> Result<ReportHeads, StoreError> {
        self.read(Use::Api, READ, move |c| {
            Box::pin(reports_after(c, after, limit))
        })
        .await
    }

    async fn reports_since(
        &self,
        source: &SourceName,
        since: Timestamp,
        after: Option<ReportCursor>,
        limit: u32,
    ) -> Result<ReportPage, StoreError> {
        let source = source.clone();
        self.read(
            Use::Search,
            "read the latest reports of a source",
            move |c| Box::pin(reports_since(c, source, since, after, limit)),
        )
        .await
    }

    async fn report(&self, id: &str) -> Result<Option<Report>, StoreError> {
        let id = id.to_owned();
        self.read(Use::Api, "read what is reported of a bundle", |c| {
            Box::pin(report(c, id))
        })
        .await
    }

    async fn prune_reports(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.write(
            Use::Delivery,
            "forget reports of bundles that are gone",
            move |c| Box::pin(prune(c, before)),
        )
        .await
    }
}

/// The id of the present epoch, the present snapshot, and whether this database can have had that of `until`.
async fn present(
    connection: &mut PgConnection,
    until: &str,
) -> Result<(String, String, bool), StoreError> {
    sqlx::query_as(
        "SELECT id, pg_current_snapshot()::text, pg_snapshot_xmax($1::text::pg_snapshot) <= \
         pg_snapshot_xmax(pg_current_snapshot()) FROM epochs ORDER BY number DESC LIMIT 1",
    )
    .bind(until)
    .fetch_one(connection)
    .await
    .map_err(driver("read where reports stand"))
}

async fn reports_after(
    connection: &mut PgConnection,
    after: ReportPosition,
    limit: u32,
) -> Result<ReportHeads, StoreError> {
    let Watermark::Snapshot { until: seen, sweep } = after.seen else {
        return Err(StoreError::PositionLost);
    };
    let newest = sweep.as_ref().map_or(&seen, |sweep| &sweep.until);
    let (epoch, now, sound) = present(connection, newest).await?;
    if epoch != after.epoch || !sound {
        return Err(StoreError::PositionLost);
    }
    let sweep = sweep.unwrap_or(Sweep {
        until: now,
        after: ("0".to_owned(), 0),
    });
    let found = sqlx::query(UNSEEN)
        .bind(&seen)
        .bind(&sweep.until)
        .bind(&sweep.after.0)
        .bind(sweep.after.1)
        .bind(i64::from(limit) + 1)
        .fetch_all(connection)
        .await
        .map_err(driver(READ))?;
    let (found, more) = cut(found, limit);
    let heads = found
        .iter()
        .map(rows::report_head)
        .collect::<Result<_, _>>();
    let seen = match found.last() {
        Some(last) if more => Watermark::Snapshot {
            until: seen,
            sweep: Some(Sweep {
                until: sweep.until,
                after: place(last)?,
            }),
        },
        // One who asks for nothing stays where it is.
        None if more => Watermark::Snapshot {
            until: seen,
            sweep: Some(sweep),
        },
        _ => Watermark::Snapshot {
            until: sweep.until,
            sweep: None,
        },
    };
    let next = ReportPosition { epoch, seen };
    Ok(ReportHeads {
        heads: heads?,
        next,
        more,
    })
}

fn place(row: &PgRow) -> Result<(String, i64), StoreError> {
    Ok((row.text("xid")?, row.integer("bundle_key")?))
}

async fn reports_since(
    connection: &mut PgConnection,
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

// A number that is computed has no statistics: those of the column would say that next to nothing is that young, when all of
// it may be, and each page would look at every bundle.
const SINCE: &str = "SELECT b.key, b.id, b.source, b.status_taken_at AS at, false AS gone FROM bundles b \
     WHERE b.source = $1 AND b.status_taken_at + 0 >= $2 AND b.key > $3 ORDER BY b.key LIMIT $4";

const GONE_SINCE: &str = "SELECT g.bundle_key AS key, g.id, g.source, g.removed_at AS at, true AS gone FROM gone_reports g \
     WHERE g.source = $1 AND g.removed_at + 0 >= $2 AND g.bundle_key > $3 ORDER BY g.bundle_key LIMIT $4";

async fn report(connection: &mut PgConnection, id: String) -> Result<Option<Report>, StoreError> {
    // One statement sees one state: a bundle is not neither there nor gone.
    let row = sqlx::query(
        "SELECT b.id, b.source, b.consumer_name, b.status_version AS version, b.status_sequence, b.status_hash, b.metadata, \
           c.manifests, c.delete_option, c.manifest_configs, c.executer, s.payload, b.status_taken_at AS at, false AS gone \
         FROM bundles b JOIN contents c ON c.bundle_key = b.key JOIN statuses s ON s.bundle_key = b.key WHERE b.id = $1 \
         UNION ALL (SELECT id, source, consumer_name, version, status_sequence, status_hash, metadata, manifests, \
           delete_option, manifest_configs, executer, payload, removed_at, true FROM gone_reports g \
           WHERE g.id = $1 AND NOT EXISTS (SELECT FROM bundles b WHERE b.id = $1) ORDER BY bundle_key DESC LIMIT 1)",
    )
    .bind(storable(&id))
    .fetch_optional(connection)
    .await
    .map_err(driver("read what is reported of a bundle"))?;
    row.as_ref().map(rows::report).transpose()
}

async fn prune(
    connection: &mut PgConnection,
    before: Timestamp,
) -> Result<Written<u64>, StoreError> {
    // What another process is just forgetting is left to it.
    let done = sqlx::query(
        "DELETE FROM gone_reports WHERE bundle_key IN \
         (SELECT bundle_key FROM gone_reports WHERE removed_at < $1 FOR UPDATE SKIP LOCKED)",
    )
    .bind(micros(before))
    .execute(connection)
    .await
    .map_err(driver("forget reports of bundles that are gone"))?;
    Ok(Written::of(done.rows_affected()))
}

/// Keeps the report with which a bundle goes, in the transaction that removes it.
pub(super) async fn leave(
    connection: &mut PgConnection,
    key: i64,
    update: &StatusUpdate,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO gone_reports (bundle_key, id, source, consumer_name, version, status_sequence, status_hash, metadata, \
           manifests, delete_option, manifest_configs, executer, payload, removed_at) \
         SELECT b.key, b.id, b.source, b.consumer_name, $2, $3, $4, b.metadata, c.manifests, c.delete_option, \
           c.manifest_configs, c.executer, $5, $6 \
         FROM bundles b JOIN contents c ON c.bundle_key = b.key WHERE b.key = $1",
    )
    .bind(key)
    .bind(i64::from(update.version.get()))
    .bind(update.sequence_id.to_string())
    .bind(update.status_hash.as_deref().filter(|hash| !hash.contains('\0')))
    .bind(update.payload.as_str())
    .bind(micros(update.at))
    .execute(connection)
    .await
    .map_err(driver("keep the last report of a bundle"))?;
    Ok(())
}

/// Keeps what is said of bundles that go with their consumer.
pub(super) async fn leave_all(
    connection: &mut PgConnection,
    keys: &[i64],
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO gone_reports (bundle_key, id, source, consumer_name, version, status_sequence, status_hash, metadata, \
           manifests, delete_option, manifest_configs, executer, payload, removed_at) \
         SELECT b.key, b.id, b.source, b.consumer_name, b.version, b.status_sequence, NULL, b.metadata, c.manifests, \
           c.delete_option, c.manifest_configs, c.executer, $2, $3 \
         FROM bundles b JOIN contents c ON c.bundle_key = b.key WHERE b.key = ANY($1)",
    )
    .bind(keys)
    .bind(consumer_removed(now).as_str())
    .bind(micros(now))
    .execute(connection)
    .await
    .map_err(driver("keep the last reports of a consumer's bundles"))?;
    Ok(())
}

/// The part of [`UNSEEN`] that is in one table, `t`.
macro_rules! unseen_in {
    ($head:literal, $from:literal) => {
        concat!(
            "SELECT * FROM (SELECT t.reported_in, t.bundle_key, ",
            $head,
            " FROM ",
            $from,
            " WHERE (t.reported_in, t.bundle_key) > (GREATEST($3::text::xid8, pg_snapshot_xmax($1::text::pg_snapshot)), \
                  CASE WHEN $3::text::xid8 >= pg_snapshot_xmax($1::text::pg_snapshot) THEN $4 ELSE 0 END) \
                AND t.reported_in < pg_snapshot_xmax($2::text::pg_snapshot) \
                AND pg_visible_in_snapshot(t.reported_in, $2::text::pg_snapshot) \
              ORDER BY t.reported_in, t.bundle_key LIMIT $5) AS later \
             UNION ALL SELECT late.* FROM open CROSS JOIN LATERAL (SELECT t.reported_in, t.bundle_key, ",
            $head,
            " FROM ",
            $from,
            " WHERE t.reported_in = open.xid AND t.bundle_key > open.behind ORDER BY t.bundle_key LIMIT $5) AS late"
        )
    };
}

/// What a snapshot has not seen and a later one has: of the transactions that were open then, each by itself, and of those
/// that began since. Both are looked up in an index, in order: what else was written since the oldest open one began, which
/// may be long ago and in another database, is not looked at. (Only transactions stamp rows, their parts do not.)
const UNSEEN: &str = concat!(
    "WITH open AS (SELECT xid, CASE WHEN xid = $3::text::xid8 THEN $4 ELSE 0 END AS behind \
       FROM pg_snapshot_xip($1::text::pg_snapshot) AS xid \
       WHERE xid >= $3::text::xid8 AND pg_visible_in_snapshot(xid, $2::text::pg_snapshot)) \
     SELECT reported_in::text AS xid, bundle_key, id, source, at, gone FROM (",
    unseen_in!(
        "b.id, b.source, b.status_taken_at AS at, false AS gone",
        "statuses t JOIN bundles b ON b.key = t.bundle_key"
    ),
    " UNION ALL ",
    unseen_in!(
        "t.id, t.source, t.removed_at AS at, true AS gone",
        "gone_reports t"
    ),
    ") AS r ORDER BY reported_in, bundle_key LIMIT $5"
);

/// A snapshot that every database has had.
const EMPTY: &str = "1:1:";

const READ: &str = "read what was reported";
