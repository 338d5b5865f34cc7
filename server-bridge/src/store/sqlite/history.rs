//! Epochs in SQLite, and raising versions above those that agents hold ([`crate::store::history`] decides).
//!
//! The file is identified by its inode and its time of creation; and by a **seal** that every opening renews in the database
//! and in the lock file beside it, so that an older copy written over the file is noticed. A copy of both, such as a
//! snapshot of the volume, shows only in what agents hold. The device number is not used: it changes with every mount.

// Long because what begins an epoch and what follows from it are told in one place.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::UNIX_EPOCH;

use jiff::Timestamp;
use link::clock::Clock;
use link::error::chain;
use link::id::ConsumerName;
use sqlx::{Connection as _, SqliteConnection, SqliteExecutor, SqlitePool};
use tracing::{info, warn};
use uuid::Uuid;

use super::super::history::{
    DatabaseIdentity, DoubtContext, EPOCHS, FIRST, begins, plan, signs_since,
};
use super::super::sql::{Written, history as sql};
use super::super::{
    AgentVersion, Doubts, Epoch, History, LEDGER_VERSIONS, OpenError, Raising, StoreError,
};
use super::lock::Lock;
use super::outbox::array;
use super::rows::{self, driver, micros};

/// Records that the file was opened, and begins a new epoch if it is not the one that was opened last.
pub(super) async fn open(
    connection: &mut SqliteConnection,
    path: &Path,
    lock: &Lock,
) -> Result<(), OpenError> {
    let found = place(path)?;
    let sealed = lock.seals()?;
    let recorded: Option<(i64, String)> = sqlx::query_as(sql::RECORDED)
        .fetch_optional(&mut *connection)
        .await?;
    let recorded = recorded.map(|(number, place)| (number, DatabaseIdentity::parse(&place)));
    let seal = recorded
        .as_ref()
        .and_then(|(_, place)| place.sign(SEAL))
        .unwrap_or_default();
    let broken = !seal.is_empty() && !sealed.is_empty() && !sealed.lines().any(|one| one == seal);
    let why = match &recorded {
        None => Some(FIRST.to_owned()),
        Some((_, place)) => found
            .moved_from(place)
            .or_else(|| broken.then(|| OLDER_COPY.to_owned())),
    };
    let present = recorded.as_ref().map_or(0, |(number, _)| *number);
    let Some(why) = why else {
        // A full disk keeps nobody from reading what is there; the former seal goes on.
        if let Err(error) = renew(connection, lock, seal, present, found, None).await {
            warn!(
                "Could not note that the database was opened: {}",
                chain(&error)
            );
        }
        return Ok(());
    };
    renew(connection, lock, seal, present + 1, found, Some(&why)).await?;
    if present == 0 {
        info!("The history of the database begins");
    } else {
        warn!(
            epoch = present + 1,
            why, "A new epoch of the database begins: every consumer is asked what it holds"
        );
    }
    Ok(())
}

/// Writes the identity and a new seal to the epoch of this number, which begins if there is a reason.
async fn renew(
    connection: &mut SqliteConnection,
    lock: &Lock,
    seal: &str,
    number: i64,
    place: DatabaseIdentity,
    why: Option<&str>,
) -> Result<(), OpenError> {
    let renewed = Uuid::new_v4().to_string();
    // Either is right until the database has the new one.
    lock.seal(&format!("{seal}\n{renewed}"))?;
    let place = place.with(SEAL, &renewed).text();
    let mut transaction = connection.begin().await?;
    if let Some(why) = why {
        let at = Clock::system().now();
        begin(&mut transaction, number, why, &place, false, at).await?;
    } else {
        sqlx::query("UPDATE epochs SET place = ?2 WHERE number = ?1")
            .bind(number)
            .bind(&place)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(lock.seal(&renewed)?)
}

pub(super) async fn present(executor: impl SqliteExecutor<'_>) -> Result<Epoch, StoreError> {
    let row = sqlx::query(sql::PRESENT)
        .fetch_one(executor)
        .await
        .map_err(driver("read the present epoch"))?;
    rows::epoch(&row)
}

pub(super) async fn read(pool: &SqlitePool) -> Result<History, StoreError> {
    let epochs = sqlx::query(sql::LAST)
        .bind(EPOCHS)
        .fetch_all(pool)
        .await
        .map_err(driver("read the epochs"))?;
    let unconfirmed = sqlx::query_as(sql::UNCONFIRMED)
        .fetch_one(pool)
        .await
        .map_err(driver("count what is not confirmed"))?;
    sql::history(&epochs, unconfirmed)
}

pub(super) async fn raise(
    connection: &mut SqliteConnection,
    consumer: ConsumerName,
    held: Vec<AgentVersion>,
    at: Timestamp,
) -> Result<Written<Raising>, StoreError> {
    let pairs: Vec<(&str, i32)> = held
        .iter()
        .map(|held| (held.id.as_str(), held.version.get()))
        .collect();
    let found = sqlx::query(
        "SELECT b.key, b.id, b.version, h.version AS held, b.epoch = (SELECT MAX(number) FROM epochs) AS known \
         FROM (SELECT json_extract(value, '$[0]') AS id, MAX(json_extract(value, '$[1]')) AS version \
               FROM json_each(?1) GROUP BY 1) AS h JOIN bundles b ON b.id = h.id \
         WHERE +b.consumer_name = ?2 AND b.version < h.version ORDER BY b.key",
    )
    .bind(array(&pairs))
    .bind(consumer.as_str())
    .fetch_all(&mut *connection)
    .await
    .map_err(driver("find what an agent holds in a newer version"))?;
    if found.is_empty() {
        return Ok(Written::of(Raising::default()));
    }
    let behind = found.iter().map(rows::behind).collect::<Result<_, _>>()?;
    let row = sqlx::query(sql::PRESENT)
        .fetch_one(&mut *connection)
        .await
        .map_err(driver("read the present epoch"))?;
    let present = rows::epoch(&row)?;
    let past = past(connection, &consumer, &present).await?;
    let plan = plan(behind, &consumer, &past, at);
    let began = match &plan.sign {
        None => None,
        Some(sign) => doubt(connection, &consumer, &present, sign, at).await?,
    };
    let keys: Vec<i64> = plan.changes.iter().map(|(key, ..)| *key).collect();
    if !keys.is_empty() {
        forget(connection, &keys).await?;
        let changes = array(&plan.changes);
        sqlx::query(
            "UPDATE bundles SET version = r.version, \
             origin_version = CASE WHEN origin_version = bundles.version THEN r.version END, deletion_acked = 0, unsent = 1, updated_at = ?2, \
             deleted_at = CASE WHEN deleted_at IS NOT NULL THEN ?2 END, \
             acked_version = CASE WHEN deleted_at IS NULL THEN r.version - 1 ELSE acked_version END, \
             epoch = (SELECT MAX(number) FROM epochs), changed = r.place + (SELECT MAX(changed) + 1 FROM bundles) \
             FROM (SELECT json_extract(value, '$[0]') AS key, json_extract(value, '$[1]') AS version, key AS place \
                   FROM json_each(?1)) AS r WHERE bundles.key = r.key",
        )
        .bind(&changes)
        .bind(micros(at))
        .execute(&mut *connection)
        .await
        .map_err(driver("raise versions above those an agent holds"))?;
        sqlx::query(
            "INSERT INTO ledger (bundle_key, version, deletion, stored_at, note) \
             SELECT b.key, b.version, b.deleted_at IS NOT NULL, ?2, json_extract(r.value, '$[2]') \
             FROM json_each(?1) AS r JOIN bundles b ON b.key = json_extract(r.value, '$[0]')",
        )
        .bind(&changes)
        .bind(micros(at))
        .execute(&mut *connection)
        .await
        .map_err(driver("note in the ledger why versions are raised"))?;
    }
    Ok(Written::and_maybe_send(
        sql::raising(plan, began),
        (!keys.is_empty()).then_some(consumer),
    ))
}

/// Makes room in the ledgers of bundles for one more version each.
pub(super) async fn forget(
    connection: &mut SqliteConnection,
    keys: &[i64],
) -> Result<(), StoreError> {
    sqlx::query(
        "DELETE FROM ledger AS l WHERE l.bundle_key IN (SELECT value FROM json_each(?1)) \
         AND l.version < (SELECT DISTINCT o.version FROM ledger o WHERE o.bundle_key = l.bundle_key \
         ORDER BY o.version DESC LIMIT 1 OFFSET ?2)",
    )
    .bind(array(&keys))
    .bind(LEDGER_VERSIONS - 2)
    .execute(connection)
    .await
    .map_err(driver("forget old ledger entries"))?;
    Ok(())
}

pub(super) async fn doubts(
    executor: impl SqliteExecutor<'_>,
    consumer: &ConsumerName,
) -> Result<Doubts, StoreError> {
    let row = sqlx::query(
        "SELECT NULLIF(MAX(CASE WHEN number > 1 THEN began_at ELSE 0 END, COALESCE((SELECT behind_at FROM doubts \
           WHERE consumer_name = ?1), 0)), 0) AS since, \
         EXISTS (SELECT 1 FROM bundles WHERE consumer_name = ?1 AND epoch <> number) AS unconfirmed, \
         EXISTS (SELECT 1 FROM doubts WHERE consumer_name = ?1 AND stranger_at IS NOT NULL) AS foreign_works \
         FROM epochs ORDER BY number DESC LIMIT 1",
    )
    .bind(consumer.as_str())
    .fetch_one(executor)
    .await
    .map_err(driver("read what is doubted of a consumer"))?;
    rows::doubts(&row, consumer.as_str())
}

pub(super) async fn note_foreign_work(
    connection: &mut SqliteConnection,
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
    connection: &mut SqliteConnection,
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
    connection: &mut SqliteConnection,
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
    connection: &mut SqliteConnection,
    consumer: &ConsumerName,
    present: &Epoch,
    sign: &str,
    at: Timestamp,
) -> Result<Option<Epoch>, StoreError> {
    sqlx::query("UPDATE bundles SET epoch = 0 WHERE consumer_name = ?1 AND epoch <> 0")
        .bind(consumer.as_str())
        .execute(&mut *connection)
        .await
        .map_err(driver("take the bundles of a consumer for unconfirmed"))?;
    sqlx::query("DELETE FROM orphans WHERE consumer_name = ?1")
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
    let consumers: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM doubts WHERE behind_at > ?1 AND behind_at <= ?2")
            .bind(micros(signs_since(at)))
            .bind(micros(at))
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

async fn begin(
    connection: &mut SqliteConnection,
    number: i64,
    why: &str,
    place: &str,
    heard: bool,
    at: Timestamp,
) -> Result<Option<Epoch>, sqlx::Error> {
    let id = Uuid::new_v4().to_string();
    sqlx::query(sql::BEGIN)
        .bind(number)
        .bind(&id)
        .bind(micros(at))
        .bind(why)
        .bind(place)
        .bind(heard)
        .execute(&mut *connection)
        .await?;
    sqlx::query(sql::FORGET)
        .bind(heard)
        .bind(EPOCHS / 2)
        .execute(&mut *connection)
        .await?;
    // What was to be deleted in the time before may have been made anew in the time that was lost. Agents are asked.
    if number > 1 {
        sqlx::query("DELETE FROM orphans")
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

fn place(path: &Path) -> io::Result<DatabaseIdentity> {
    let metadata = fs::metadata(path)?;
    let place = DatabaseIdentity::default().with("inode", &metadata.ino());
    // Not every file system knows it.
    let made = metadata.created().ok();
    let made = made.and_then(|made| made.duration_since(UNIX_EPOCH).ok());
    Ok(match made {
        Some(made) => place.with("creation", &made.as_nanos()),
        None => place,
    })
}

const SEAL: &str = "seal";
const OLDER_COPY: &str = "an older copy of the database was put in its place";
