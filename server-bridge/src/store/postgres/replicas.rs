//! Replicas and their leases of buckets in PostgreSQL (`migrations/postgres/0002_replicas.sql`).
//!
//! What happens every few seconds is one statement that commits itself, so that a process stopped in between locks no row.
//! Only taking a slot is a transaction, under a lock that serialises them.

use std::time::Duration;

use sqlx::PgConnection;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use tokio::sync::broadcast;

use super::super::bucket::Bucket;
use super::super::replica::{
    Fence, Free, Instance, Lease, LeaseStore, Renewal, Replica, Roster, Slot,
};
use super::super::{Hint, StoreError};
use super::failure::driver;
use super::text::storable;
use super::{PostgresStore, Use, Written};

impl LeaseStore for PostgresStore {
    async fn take_slot(
        &self,
        instance: &Instance,
        name: &str,
        slots: u16,
        free: Free,
        ttl: Duration,
    ) -> Result<Slot, StoreError> {
        let (instance, name) = (instance.clone(), name.to_owned());
        let slot = self
            .write(Use::Upkeep, "take a slot", move |c| {
                Box::pin(take_slot(c, instance, name, slots, free, ttl))
            })
            .await?;
        if matches!(slot, Slot::Taken(_)) {
            self.announce(Hint::Replicas);
        }
        Ok(slot)
    }

    async fn renew(&self, replica: &Replica, ttl: Duration) -> Result<Renewal, StoreError> {
        let replica = replica.clone();
        self.read(Use::Upkeep, "renew the lease", move |c| {
            Box::pin(renew(c, replica, ttl))
        })
        .await
    }

    async fn remove_expired(&self, replica: &Replica) -> Result<u64, StoreError> {
        let instance = replica.instance.clone();
        let gone = self
            .read(Use::Upkeep, "remove expired replicas", move |c| {
                Box::pin(remove_expired(c, instance))
            })
            .await?;
        if gone > 0 {
            self.announce(Hint::Replicas);
        }
        Ok(gone)
    }

    async fn roster(&self) -> Result<Roster, StoreError> {
        self.read(Use::Upkeep, "read who owns which buckets", |c| {
            Box::pin(roster(c))
        })
        .await
    }

    async fn take(
        &self,
        replica: &Replica,
        buckets: Vec<Bucket>,
    ) -> Result<Vec<(Bucket, i64)>, StoreError> {
        let instance = replica.instance.clone();
        self.read(Use::Upkeep, "take buckets", move |c| {
            Box::pin(take(c, instance, buckets))
        })
        .await
    }

    async fn give_back(&self, replica: &Replica, buckets: Vec<Bucket>) -> Result<(), StoreError> {
        let instance = replica.instance.clone();
        self.read(Use::Upkeep, "give buckets back", move |c| {
            Box::pin(give_back(c, instance, buckets))
        })
        .await?;
        self.announce(Hint::Replicas);
        Ok(())
    }

    async fn leave(&self, replica: &Replica) -> Result<(), StoreError> {
        let instance = replica.instance.clone();
        self.read(Use::Upkeep, "give the slot back", move |c| {
            Box::pin(leave(c, instance))
        })
        .await?;
        self.announce(Hint::Replicas);
        Ok(())
    }

    fn hints(&self) -> broadcast::Receiver<Hint> {
        self.changes.subscribe()
    }
}

/// Refuses what follows unless the bucket is still that of the fence. To be asked under the lock on the bundle's row: what
/// the next owner decides about the bundle then comes after what is written here.
pub(super) async fn check(
    connection: &mut PgConnection,
    fence: Option<&Fence>,
) -> Result<(), StoreError> {
    let Some(fence) = fence else {
        return Ok(());
    };
    let held: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM bucket_leases WHERE bucket = $1 AND term = $2 AND instance = $3)",
    )
    .bind(i16::from(fence.bucket.number()))
    .bind(fence.term)
    .bind(fence.instance.as_str())
    .fetch_one(connection)
    .await
    .map_err(driver("look whose bucket it is"))?;
    if held {
        return Ok(());
    }
    Err(StoreError::Fenced {
        bucket: fence.bucket,
        term: fence.term,
    })
}

async fn take_slot(
    connection: &mut PgConnection,
    instance: Instance,
    name: String,
    slots: u16,
    free: Free,
    ttl: Duration,
) -> Result<Written<Slot>, StoreError> {
    let failed = driver("take a slot");
    sqlx::query(
        "SELECT pg_advisory_xact_lock(hashtextextended('server-bridge slots ' || current_schema(), 0))",
    )
    .execute(&mut *connection)
    .await
    .map_err(&failed)?;
    // An earlier attempt that its caller did not wait for may have been committed since.
    let ours: Option<i16> = sqlx::query_scalar(
        "UPDATE replicas SET expires_at = clock_timestamp() + make_interval(secs => $2) \
         WHERE instance = $1 RETURNING slot",
    )
    .bind(instance.as_str())
    .bind(ttl.as_secs_f64())
    .fetch_optional(&mut *connection)
    .await
    .map_err(&failed)?;
    if let Some(slot) = ours {
        let value = Slot::Taken(slot.unsigned_abs());
        return Ok(Written::of(value));
    }
    // One that was late only may come back to its own slot while there are others.
    let taken: Option<i16> = sqlx::query_scalar(
        "INSERT INTO replicas AS r (slot, instance, name, expires_at) \
         SELECT s, $2, $3, clock_timestamp() + make_interval(secs => $4) \
         FROM generate_series(0, $1::int - 1) s LEFT JOIN replicas held ON held.slot = s \
         WHERE held.slot IS NULL OR ($5 AND held.expires_at < clock_timestamp()) \
         ORDER BY held.expires_at NULLS FIRST, s LIMIT 1 \
         ON CONFLICT (slot) DO UPDATE SET instance = excluded.instance, name = excluded.name, \
             started_at = clock_timestamp(), expires_at = excluded.expires_at \
             WHERE r.expires_at < clock_timestamp() \
         RETURNING slot",
    )
    .bind(i32::from(slots))
    .bind(instance.as_str())
    .bind(storable(&name))
    .bind(ttl.as_secs_f64())
    .bind(free == Free::Expired)
    .fetch_optional(&mut *connection)
    .await
    .map_err(&failed)?;
    let value = match taken {
        Some(slot) => Slot::Taken(slot.unsigned_abs()),
        None => Slot::Full(replicas(connection).await?),
    };
    Ok(Written::of(value))
}

async fn renew(
    connection: &mut PgConnection,
    replica: Replica,
    ttl: Duration,
) -> Result<Renewal, StoreError> {
    let failed = driver("renew the lease");
    let slot = i16::try_from(replica.slot).unwrap_or(i16::MAX);
    let late: Option<bool> = sqlx::query_scalar(
        "UPDATE replicas r SET expires_at = clock_timestamp() + make_interval(secs => $2) \
         FROM (SELECT slot, expires_at FROM replicas WHERE instance = $1 AND slot = $3 FOR UPDATE) was \
         WHERE r.slot = was.slot RETURNING was.expires_at < clock_timestamp()",
    )
    .bind(replica.instance.as_str())
    .bind(ttl.as_secs_f64())
    .bind(slot)
    .fetch_optional(&mut *connection)
    .await
    .map_err(&failed)?;
    match late {
        Some(false) => return Ok(Renewal::Kept),
        Some(true) => return Ok(Renewal::Late),
        None => {}
    }
    let again = sqlx::query(
        "INSERT INTO replicas (slot, instance, name, expires_at) \
         VALUES ($1, $2, $3, clock_timestamp() + make_interval(secs => $4)) ON CONFLICT DO NOTHING",
    )
    .bind(slot)
    .bind(replica.instance.as_str())
    .bind(storable(&replica.name))
    .bind(ttl.as_secs_f64())
    .execute(&mut *connection)
    .await
    .map_err(&failed)?;
    if again.rows_affected() > 0 {
        return Ok(Renewal::Late);
    }
    let to = sqlx::query_scalar("SELECT name FROM replicas WHERE slot = $1")
        .bind(slot)
        .fetch_optional(connection)
        .await
        .map_err(&failed)?;
    Ok(Renewal::Lost { to })
}

async fn remove_expired(
    connection: &mut PgConnection,
    instance: Instance,
) -> Result<u64, StoreError> {
    // One whose row is locked is renewing it, or is being removed.
    let gone = sqlx::query(
        "DELETE FROM replicas WHERE slot IN (SELECT slot FROM replicas \
         WHERE expires_at < clock_timestamp() AND instance <> $1 FOR UPDATE SKIP LOCKED)",
    )
    .bind(instance.as_str())
    .execute(connection)
    .await
    .map_err(driver("remove expired replicas"))?;
    Ok(gone.rows_affected())
}

async fn roster(connection: &mut PgConnection) -> Result<Roster, StoreError> {
    let failed = driver("read who owns which buckets");
    // One statement, so that both are of one moment.
    let rows = sqlx::query(
        "SELECT slot, instance, name, (extract(epoch FROM expires_at) * 1000000)::bigint AS expires, \
           NULL::smallint AS bucket, 0::bigint AS term FROM replicas \
         UNION ALL SELECT NULL, instance, NULL, NULL, bucket, term FROM bucket_leases ORDER BY slot, bucket",
    )
    .fetch_all(connection)
    .await
    .map_err(&failed)?;
    let mut roster = Roster::default();
    for row in &rows {
        let number: Option<i16> = row.try_get("bucket").map_err(&failed)?;
        match number {
            None => {
                roster.replicas.push(replica(row).map_err(&failed)?);
                roster
                    .expires
                    .push(row.try_get("expires").map_err(&failed)?);
            }
            Some(number) => {
                let owner: Option<&str> = row.try_get("instance").map_err(&failed)?;
                roster.leases.push(Lease {
                    bucket: bucket(number)?,
                    owner: owner.map(Instance::from),
                    term: row.try_get("term").map_err(&failed)?,
                });
            }
        }
    }
    Ok(roster)
}

async fn replicas(connection: &mut PgConnection) -> Result<Vec<Replica>, StoreError> {
    let failed = driver("read the replicas");
    let rows = sqlx::query("SELECT slot, instance, name FROM replicas ORDER BY slot")
        .fetch_all(connection)
        .await
        .map_err(&failed)?;
    let replicas = rows.iter().map(replica);
    replicas.collect::<Result<_, _>>().map_err(failed)
}

fn replica(row: &PgRow) -> Result<Replica, sqlx::Error> {
    let slot: i16 = row.try_get("slot")?;
    let instance: &str = row.try_get("instance")?;
    Ok(Replica {
        slot: slot.unsigned_abs(),
        instance: instance.into(),
        name: row.try_get("name")?,
    })
}

async fn take(
    connection: &mut PgConnection,
    instance: Instance,
    buckets: Vec<Bucket>,
) -> Result<Vec<(Bucket, i64)>, StoreError> {
    // In one order, and past what somebody else is taking, so that none waits for another.
    let rows: Vec<(i16, i64)> = sqlx::query_as(
        "UPDATE bucket_leases l SET instance = $1, term = l.term + 1 \
         FROM (SELECT bucket FROM bucket_leases b WHERE bucket = ANY($2) AND (instance IS NULL \
               OR NOT EXISTS (SELECT FROM replicas r WHERE r.instance = b.instance)) \
               ORDER BY bucket FOR UPDATE SKIP LOCKED) free \
         WHERE l.bucket = free.bucket \
         AND EXISTS (SELECT FROM replicas WHERE instance = $1 AND expires_at > clock_timestamp()) \
         RETURNING l.bucket, l.term",
    )
    .bind(instance.as_str())
    .bind(numbers(&buckets))
    .fetch_all(connection)
    .await
    .map_err(driver("take buckets"))?;
    rows.into_iter()
        .map(|(number, term)| Ok((bucket(number)?, term)))
        .collect()
}

async fn give_back(
    connection: &mut PgConnection,
    instance: Instance,
    buckets: Vec<Bucket>,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE bucket_leases SET instance = NULL WHERE instance = $1 AND bucket = ANY($2)",
    )
    .bind(instance.as_str())
    .bind(numbers(&buckets))
    .execute(connection)
    .await
    .map_err(driver("give buckets back"))?;
    Ok(())
}

async fn leave(connection: &mut PgConnection, instance: Instance) -> Result<(), StoreError> {
    sqlx::query(
        "WITH freed AS (UPDATE bucket_leases SET instance = NULL WHERE instance = $1) \
         DELETE FROM replicas WHERE instance = $1",
    )
    .bind(instance.as_str())
    .execute(connection)
    .await
    .map_err(driver("give the slot back"))?;
    Ok(())
}

fn numbers(buckets: &[Bucket]) -> Vec<i16> {
    buckets.iter().map(|b| i16::from(b.number())).collect()
}

fn bucket(number: i16) -> Result<Bucket, StoreError> {
    let known = u8::try_from(number).map(Bucket::new);
    known.map_err(|_| StoreError::Corrupt {
        object: "bucket_leases.bucket",
        key: number.to_string(),
        problem: "there are 256 buckets".into(),
    })
}
