//! The proof that the store works: a row is written, committed and read back by another connection.

use sqlx::SqliteConnection;

use super::super::StoreError;
use super::super::sql::Written;
use super::SqliteStore;
use super::rows::driver;

/// Writes and reads back one beat. After a failed write the beat is as large as the largest bundle: a small one may
/// find room in the log where a bundle does not.
pub(super) async fn prove(store: &SqliteStore) -> Result<(), StoreError> {
    let failing = store.health.is_failing();
    let filler = if failing { FILLER_BYTES } else { 0 };
    let written = store.write(move |c| Box::pin(beat(c, filler))).await?;
    if failing {
        store.health.wrote();
        store.write(|c| Box::pin(beat(c, 0))).await?;
    }
    let read: i64 = sqlx::query_scalar("SELECT beats FROM heartbeat")
        .fetch_one(&store.readers)
        .await
        .map_err(driver("read the heartbeat back"))?;
    if read < written {
        return Err(StoreError::Unavailable {
            reason: "what was committed cannot be read back".into(),
        });
    }
    store.health.roomy()
}

async fn beat(connection: &mut SqliteConnection, filler: i64) -> Result<Written<i64>, StoreError> {
    let beats = sqlx::query_scalar(
        "UPDATE heartbeat SET beats = beats + 1, filler = CASE WHEN ?1 > 0 THEN zeroblob(?1) END RETURNING beats",
    )
    .bind(filler)
    .fetch_one(connection)
    .await
    .map_err(driver("write the heartbeat"))?;
    Ok(Written::of(beats))
}

// Manifests of at most 512 000 bytes, and a status beside them.
const FILLER_BYTES: i64 = 1024 * 1024;
