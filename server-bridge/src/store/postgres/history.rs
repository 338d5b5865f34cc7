//! Epochs in PostgreSQL, and raising versions above those that agents hold ([`crate::store::history`] decides).
//!
//! A database is identified by the server's identifier and timeline, as far as this user may read them, by its own oid and
//! by that of the table of epochs: a restored dump has other oids. A snapshot of the server's disk has all of them alike;
//! it shows only in what agents hold.

// Long because what begins an epoch and what follows from it are told in one place.

use std::collections::BTreeMap;

use jiff::Timestamp;
use link::id::ConsumerName;
use sqlx::{Connection as _, PgConnection};
use tracing::{info, warn};
use uuid::Uuid;

use super::super::history::{
    DatabaseIdentity, DoubtContext, EPOCHS, FIRST, begins, plan, signs_since,
};
use super::super::sql::history as sql;
use super::super::sql::rows::{self, micros};
use super::super::{AgentVersion, Doubts, Epoch, History, LEDGER_VERSIONS, Raising, StoreError};
use super::Written;
use super::clock;
use super::failure::driver;
use super::outbox::storables;

/// Records that the database was opened, begins a new epoch if its identity changed, and returns the identity. Only one
/// process at a time may call it.
pub(super) async fn open(connection: &mut PgConnection) -> Result<DatabaseIdentity, sqlx::Error> {
    let found = place(connection).await?;
    let recorded: Option<(i64, String)> = sqlx::query_as(sql::RECORDED)
        .fetch_optional(&mut *connection)
        .await?;
    let recorded = recorded.map(|(number, place)| (number, DatabaseIdentity::parse(&place)));
    let (present, why) = match &recorded {
        None => (0, Some(FIRST.to_owned())),
        Some((number, place)) => (*number, found.moved_from(place)),
    };
    match why {
        None => {
            let recorded = recorded.map(|(_, place)| place).unwrap_or_default();
            sqlx::query("UPDATE epochs SET place = $2 WHERE number = $1 AND place <> $2")
                .bind(present)
                .bind(found.clone().completed(recorded).text())
                .execute(connection)
                .await?;
        }
        Some(why) => {
            let at = clock::now(connection).await?;
            let at = Timestamp::from_microsecond(at).unwrap_or_default();
            let mut transaction = connection.begin().await?;
            take_turn(&mut transaction).await?;
            begin(
                &mut transaction,
                present + 1,
                &why,
                &found.text(),
                false,
                at,
            )
            .await?;
            transaction.commit().await?;
            if present == 0 {
                info!("The history of the database begins");
            } else {
                warn!(
                    epoch = present + 1,
                    why,
                    "A new epoch of the database begins: every consumer is asked what it holds"
                );
            }
        }
    }
    Ok(found)
}

pub(super) async fn present(connection: &mut PgConnection) -> Result<Epoch, StoreError> {
    let row = sqlx::query(sql::PRESENT)
        .fetch_one(connection)
        .await
        .map_err(driver("read the present epoch"))?;
    rows::epoch(&row)
}

pub(super) async fn read(connection: &mut PgConnection) -> Result<History, StoreError> {
    let epochs = sqlx::query(sql::LAST)
        .bind(EPOCHS)
        .fetch_all(&mut *connection)
        .await
        .map_err(driver("read the epochs"))?;
    let unconfirmed = sqlx::query_as(sql::UNCONFIRMED)
        .fetch_one(connection)
        .await
        .map_err(driver("count what is not confirmed"))?;
    sql::history(&epochs, unconfirmed)
}

pub(super) async fn raise(
    connection: &mut PgConnection,
    consumer: ConsumerName,
    held: Vec<AgentVersion>,
    at: Timestamp,
) -> Result<Written<Raising>, StoreError> {
    // Of one that is named twice the newest counts: it is locked and raised once.
    let mut newest = BTreeMap::new();
    for one in held {
        let version = newest.entry(one.id).or_insert(one.version);
        *version = one.version.max(*version);
    }
    let (ids, versions): (Vec<_>, Vec<_>) = newest
        .into_iter()
        .map(|(id, version)| (id, i64::from(version.get())))
        .unzip();
    // What was changed while this waited for the lock is compared as it is then.
    let found = sqlx::query(
        "SELECT b.key, b.id, b.version, h.version AS held, b.epoch = (SELECT MAX(number) FROM epochs) AS known \
         FROM bundles b JOIN unnest($1::text[], $2::bigint[]) AS h (id, version) ON b.id = h.id \
         WHERE b.consumer_name = $3 AND b.version < h.version ORDER BY b.key FOR NO KEY UPDATE OF b",
    )
    .bind(storables(ids))
    .bind(versions)
    .bind(consumer.as_str())
    .fetch_all(&mut *connection)
    .await
    .map_err(driver("find what an agent holds in a newer version"))?;
    if found.is_empty() {
        return Ok(Written::of(Raising::default()));
    }
    let behind = found.iter().map(rows::behind).collect::<Result<_, _>>()?;
    let present = present(connection).await?;
    let past = past(connection, &consumer, &present).await?;
    let mut plan = plan(behind, &consumer, &past, at);
    let began = match &plan.sign {
        None => None,
        Some(sign) => doubt(connection, &consumer, &present, sign, at).await?,
    };
    let raised = plan.changes.len();
    let mut changes: (Vec<_>, Vec<_>, Vec<_>) = (Vec::new(), Vec::new(), Vec::new());
    for (key, version, note) in std::mem::take(&mut plan.changes) {
        changes.0.push(key);
        changes.1.push(version);
        changes.2.push(note);
    }
    if raised > 0 {
        sqlx::query(
            "DELETE FROM ledger l WHERE l.bundle_key = ANY($1) AND l.version < (SELECT DISTINCT o.version FROM ledger o \
             WHERE o.bundle_key = l.bundle_key ORDER BY o.version DESC OFFSET $2 LIMIT 1)",
        )
        .bind(&changes.0)
        .bind(i64::from(LEDGER_VERSIONS - 2))
        .execute(&mut *connection)
        .await
        .map_err(driver("forget old ledger entries"))?;
        sqlx::query(
            "WITH b AS (UPDATE bundles SET version = r.version, \
               origin_version = CASE WHEN origin_version = bundles.version THEN r.version END, deletion_acked = false, unsent = true, updated_at = $4, \
               deleted_at = CASE WHEN deleted_at IS NOT NULL THEN $4 END, \
               acked_version = CASE WHEN deleted_at IS NULL THEN r.version - 1 ELSE acked_version END, \
               epoch = (SELECT MAX(number) FROM epochs), changed = nextval('changes') \
               FROM unnest($1::bigint[], $2::bigint[], $3::text[]) AS r (key, version, note) WHERE bundles.key = r.key \
               RETURNING bundles.key, bundles.version, bundles.deleted_at IS NOT NULL AS deletion, r.note) \
             INSERT INTO ledger (bundle_key, version, deletion, stored_at, note) \
             SELECT key, version, deletion, $4, note FROM b",
        )
        .bind(changes.0)
        .bind(changes.1)
        .bind(changes.2)
        .bind(micros(at))
        .execute(&mut *connection)
        .await
        .map_err(driver("raise versions above those an agent holds"))?;
    }
    Ok(Written::and_maybe_send(
        sql::raising(plan, began),
        (raised > 0).then_some(consumer),
    ))
}

pub(super) async fn doubts(
    connection: &mut PgConnection,
    consumer: ConsumerName,
) -> Result<Doubts, StoreError> {
    let row = sqlx::query(
        "SELECT NULLIF(GREATEST(CASE WHEN number > 1 THEN began_at ELSE 0 END, COALESCE((SELECT behind_at FROM doubts \
           WHERE consumer_name = $1), 0)), 0) AS since, \
         EXISTS (SELECT FROM bundles WHERE consumer_name = $1 AND epoch <> number) AS unconfirmed, \
         EXISTS (SELECT FROM doubts WHERE consumer_name = $1 AND stranger_at IS NOT NULL) AS foreign_works \
         FROM epochs ORDER BY number DESC LIMIT 1",
    )
    .bind(consumer.as_str())
    .fetch_one(connection)
    .await
    .map_err(driver("read what is doubted of a consumer"))?;
    rows::doubts(&row, consumer.as_str())
}

pub(super) async fn note_foreign_work(
    connection: &mut PgConnection,
    consumer: ConsumerName,
    at: Timestamp,
) -> Result<Written<()>, StoreError> {
    sqlx::query(sql::NOTE_FOREIGN_WORK)
        .bind(consumer.as_str())
        .bind(micros(at))
        .execute(connection)
        .await
        .map_err(driver("note that a consumer holds what is not known"))?;
    Ok(Written::of(()))
}

pub(super) async fn forget_foreign_works(
    connection: &mut PgConnection,
    consumer: ConsumerName,
    until: Timestamp,
) -> Result<Written<()>, StoreError> {
    sqlx::query(sql::FORGET_FOREIGN_WORKS)
        .bind(consumer.as_str())
        .bind(micros(until))
        .execute(connection)
        .await
        .map_err(driver("note that a consumer holds what is known"))?;
    Ok(Written::of(()))
}

async fn past(
    connection: &mut PgConnection,
    consumer: &ConsumerName,
    present: &Epoch,
) -> Result<DoubtContext, StoreError> {
    let doubted: Option<Option<i64>> = sqlx::query_scalar(sql::DOUBTED)
        .bind(consumer.as_str())
        .fetch_optional(connection)
        .await
        .map_err(driver("read when a consumer was doubted"))?;
    sql::past(consumer.as_str(), present, doubted)
}

/// Takes the bundles of a consumer for unconfirmed, and begins an epoch if several consumers have come to this lately.
async fn doubt(
    connection: &mut PgConnection,
    consumer: &ConsumerName,
    present: &Epoch,
    sign: &str,
    at: Timestamp,
) -> Result<Option<Epoch>, StoreError> {
    take_turn(connection)
        .await
        .map_err(driver("take the turn to doubt a consumer"))?;
    // One that is just being changed or confirmed is left as that leaves it: to wait for it might be for ever.
    sqlx::query(
        "UPDATE bundles SET epoch = 0 WHERE key IN (SELECT key FROM bundles WHERE consumer_name = $1 AND epoch <> 0 \
         FOR NO KEY UPDATE SKIP LOCKED)",
    )
    .bind(consumer.as_str())
    .execute(&mut *connection)
    .await
    .map_err(driver("take the bundles of a consumer for unconfirmed"))?;
    sqlx::query(
        "DELETE FROM orphans WHERE key IN (SELECT key FROM orphans WHERE consumer_name = $1 ORDER BY key FOR UPDATE)",
    )
        .bind(consumer.as_str())
        .execute(&mut *connection)
        .await
        .map_err(driver("forget what was to be deleted at a consumer"))?;
    sqlx::query(sql::DOUBT)
        .bind(consumer.as_str())
        .bind(micros(at))
        .execute(&mut *connection)
        .await
        .map_err(driver("note that a consumer is doubted"))?;
    let consumers: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM doubts WHERE behind_at > $1")
        .bind(micros(signs_since(at)))
        .fetch_one(&mut *connection)
        .await
        .map_err(driver("count the consumers that are doubted"))?;
    let Some(why) = begins(sign, consumers) else {
        return Ok(None);
    };
    let place: String = sqlx::query_scalar(sql::PLACE)
        .bind(present.number)
        .fetch_one(&mut *connection)
        .await
        .map_err(driver("read the present epoch"))?;
    begin(connection, present.number + 1, &why, &place, true, at)
        .await
        .map_err(driver("begin a new epoch"))
}

/// Whoever may begin an epoch does so in turn: signs that come together count each other, and none waits for another's
/// orphans. To be asked before any of these is touched.
async fn take_turn(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT number FROM epochs ORDER BY number DESC LIMIT 1 FOR UPDATE")
        .fetch_optional(connection)
        .await
        .map(drop)
}

/// Begins an epoch unless another process has just begun it.
async fn begin(
    connection: &mut PgConnection,
    number: i64,
    why: &str,
    place: &str,
    heard: bool,
    at: Timestamp,
) -> Result<Option<Epoch>, sqlx::Error> {
    let id = Uuid::new_v4().to_string();
    let done = sqlx::query(sql::BEGIN)
        .bind(number)
        .bind(&id)
        .bind(micros(at))
        .bind(why)
        .bind(place)
        .bind(heard)
        .execute(&mut *connection)
        .await?;
    if done.rows_affected() == 0 {
        return Ok(None);
    }
    sqlx::query(sql::FORGET)
        .bind(heard)
        .bind(EPOCHS / 2)
        .execute(&mut *connection)
        .await?;
    // What was to be deleted in the time before may have been made anew in the time that was lost. Agents are asked.
    if number > 1 {
        sqlx::query(
            "DELETE FROM orphans WHERE key IN (SELECT key FROM orphans ORDER BY key FOR UPDATE)",
        )
        .execute(connection)
        .await?;
    }
    Ok(Some(Epoch {
        number,
        id,
        began_at: at,
        why: why.to_owned(),
    }))
}

async fn place(connection: &mut PgConnection) -> Result<DatabaseIdentity, sqlx::Error> {
    let (database, table): (i64, i64) = sqlx::query_as(
        "SELECT oid::bigint, to_regclass('epochs')::oid::bigint FROM pg_database WHERE datname = current_database()",
    )
    .fetch_one(&mut *connection)
    .await?;
    let mut place = DatabaseIdentity::default()
        .with("database", &database)
        .with("table", &table);
    for (sign, ask) in [
        (
            "system",
            "SELECT system_identifier FROM pg_control_system()",
        ),
        (
            "timeline",
            "SELECT timeline_id::bigint FROM pg_control_checkpoint()",
        ),
        // The control file has the new one with the first checkpoint after a failover only.
        (
            "timeline",
            "SELECT ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::bigint",
        ),
    ] {
        match sqlx::query_scalar::<_, i64>(ask)
            .fetch_one(&mut *connection)
            .await
        {
            Ok(value) => place = place.with(sign, &value),
            // This user may not ask, or this server does not answer.
            Err(sqlx::Error::Database(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(place)
}
