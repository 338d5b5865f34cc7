//! The advisory lock of migrations, polled so that a waiting process can say who holds it. Names and process ids are visible
//! to every user of the server.

use std::time::Duration;

use sqlx::PgConnection;
use tokio::time::{Instant, sleep};
use tracing::info;

/// Takes the lock, which stays this session's; says who has it when that is not over at `until`.
pub(super) async fn take(
    connection: &mut PgConnection,
    schema: &str,
    until: Instant,
) -> Result<Result<(), String>, sqlx::Error> {
    let key = format!("server-bridge {schema}");
    let mut said = false;
    loop {
        let taken: bool =
            sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtextextended($1, 0))")
                .bind(&key)
                .fetch_one(&mut *connection)
                .await?;
        if taken {
            return Ok(Ok(()));
        }
        let late = Instant::now() + AGAIN > until;
        if late || !said {
            let who = holder(connection, &key).await?;
            if late {
                return Ok(Err(who));
            }
            // Others that start are done within moments.
            info!(
                who,
                "Another process changes or copies the tables; waiting for it"
            );
            said = true;
        }
        sleep(AGAIN).await;
    }
}

async fn holder(connection: &mut PgConnection, key: &str) -> Result<String, sqlx::Error> {
    let found: Vec<(i32, Option<String>)> = sqlx::query_as(
        "SELECT pid, application_name FROM pg_locks LEFT JOIN pg_stat_activity USING (pid) \
         WHERE locktype = 'advisory' AND granted AND objsubid = 1 \
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
         AND (classid::bigint << 32) | objid::bigint = hashtextextended($1, 0)",
    )
    .bind(key)
    .fetch_all(connection)
    .await?;
    Ok(named(found))
}

/// Who uses the tables of the schema: whoever has used one in a transaction that is not over, the longest first as far as
/// this user may see that.
pub(super) async fn holders(
    connection: &mut PgConnection,
    schema: &str,
) -> Result<String, sqlx::Error> {
    let found: Vec<(i32, Option<String>)> = sqlx::query_as(
        "SELECT pid, application_name FROM pg_locks l JOIN pg_class c ON c.oid = l.relation \
         JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_stat_activity USING (pid) \
         WHERE n.nspname = $1 AND l.granted AND pid <> pg_backend_pid() \
         AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
         GROUP BY pid, application_name, xact_start ORDER BY xact_start NULLS LAST, pid LIMIT $2",
    )
    .bind(schema)
    .bind(SHOWN)
    .fetch_all(connection)
    .await?;
    Ok(named(found))
}

fn named(found: Vec<(i32, Option<String>)>) -> String {
    if found.is_empty() {
        return "somebody who is gone by now".into();
    }
    let each = found.into_iter().map(|(pid, name)| match name {
        Some(name) if !name.is_empty() => format!("`{name}` (process {pid} of the server)"),
        _ => format!("process {pid} of the server"),
    });
    each.collect::<Vec<_>>().join(", ")
}

const AGAIN: Duration = Duration::from_millis(200);

// Enough to see what they are.
const SHOWN: i64 = 4;
