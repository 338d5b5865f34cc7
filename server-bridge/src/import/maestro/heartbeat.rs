//! Whether Maestro lives: its replicas note every 15 s that they do, by their own clocks.

use sqlx::postgres::PgRow;
use sqlx::{Connection as _, Row as _};

use super::super::error::ImportError;
use super::{Database, micros, settle};

/// What shows whether Maestro lives, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::import) struct Heartbeats {
    /// Its replicas.
    pub(in crate::import) instances: Vec<MaestroInstance>,
    /// The last change of a row of its.
    pub(in crate::import) changed_at: Option<i64>,
    /// Rows of `resources`.
    pub(in crate::import) bundles: i64,
    /// Other sessions on the database, except those of bridges.
    pub(in crate::import) sessions: i64,
}

/// A replica of Maestro.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::import) struct MaestroInstance {
    /// Its MQTT client id.
    pub(in crate::import) id: String,
    pub(in crate::import) ready: bool,
    /// Its last heartbeat by its clock, in microseconds.
    pub(in crate::import) heard_at: Option<i64>,
    /// How long ago that is by the server's clock; negative when its own is ahead.
    pub(in crate::import) age: Option<i64>,
}

// === impl Database ===

impl Database {
    /// What shows whether Maestro lives.
    pub(in crate::import) async fn heartbeats(&self) -> Result<Heartbeats, ImportError> {
        let failed = ImportError::during("look whether Maestro runs");
        let mut connection = self.connect().await?;
        settle(&mut connection).await?;
        let rows = sqlx::query(
            "SELECT id::text AS id, COALESCE(ready, false) AS ready, \
             (extract(epoch FROM last_heartbeat) * 1000000)::bigint AS heard_at, \
             extract(epoch FROM clock_timestamp() - last_heartbeat)::bigint AS age \
             FROM server_instances WHERE deleted_at IS NULL ORDER BY id",
        )
        .fetch_all(&mut connection)
        .await
        .map_err(&failed)?;
        let instance = |row: &PgRow| {
            Ok(MaestroInstance {
                id: row.try_get("id")?,
                ready: row.try_get("ready")?,
                heard_at: row.try_get("heard_at")?,
                age: row.try_get("age")?,
            })
        };
        let instances = rows.iter().map(instance).collect::<Result<_, _>>();
        let instances = instances.map_err(&failed)?;
        let (changed_at, bundles, sessions) = sqlx::query_as(
            concat!("SELECT (SELECT ", micros!("MAX(updated_at)"), " FROM resources), (SELECT COUNT(*) FROM resources), \
                 (SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
                   AND backend_type = 'client backend' AND application_name NOT LIKE 'server-bridge%')"),
        )
        .fetch_one(&mut connection)
        .await
        .map_err(&failed)?;
        let _ = connection.close().await;
        Ok(Heartbeats {
            instances,
            changed_at,
            bundles,
            sessions,
        })
    }
}

// === impl Heartbeats ===

impl Heartbeats {
    /// The replicas that were heard a moment ago.
    pub(in crate::import) fn alive(&self) -> Vec<String> {
        let heard = self.instances.iter().filter_map(|one| {
            let age = one.age?;
            (age < RECENT_SECONDS).then(|| format!("`{}` was heard {} s ago", one.id, age.max(0)))
        });
        heard.collect()
    }

    /// Whether a replica counts as ready that was not heard lately: the last one that goes leaves nobody to note it, and
    /// one whose clock is behind looks the same.
    pub(in crate::import) fn is_doubtful(&self) -> bool {
        self.instances.iter().any(|one| one.ready)
    }

    /// Those of which something was heard since.
    pub(in crate::import) fn since(&self, before: &Self) -> Vec<String> {
        let heard = self.instances.iter().filter(|one| {
            let known = before.instances.iter().find(|known| known.id == one.id);
            known.is_none_or(|known| known.heard_at != one.heard_at)
        });
        heard
            .map(|one| format!("`{}` was heard while this ran", one.id))
            .collect()
    }
}

// Maestro takes a replica for gone after 45 s; the rest is for clocks that differ.
const RECENT_SECONDS: i64 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_that_beats_is_alive_whatever_its_clock_says() {
        let at = |heard_at: i64, age: i64, ready| Heartbeats {
            instances: vec![MaestroInstance {
                id: "maestro-0".into(),
                ready,
                heard_at: Some(heard_at),
                age: Some(age),
            }],
            changed_at: None,
            bundles: 0,
            sessions: 0,
        };
        assert_eq!(at(0, 59, false).alive().len(), 1);
        assert_eq!(at(0, -300, false).alive().len(), 1);
        let gone = at(0, 60, true);
        assert!(gone.alive().is_empty() && gone.is_doubtful());
        assert!(gone.since(&gone).is_empty());
        assert_eq!(at(15, 60, true).since(&gone).len(), 1);
        assert!(!at(0, 600, false).is_doubtful());
    }
}
