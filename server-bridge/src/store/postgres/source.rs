//! The source that the tables belong to. Bridges of two sources on one schema would share the buckets of all consumers, and
//! each would send a part of the other's bundles in its own name. Checked at start, and again whenever another database may
//! be behind the connections.

use link::error::{Failure, Hint as _};
use link::id::SourceId;
use sqlx::PgConnection;

use super::super::{OpenError, StoreError};
use super::failure::driver;
use super::{PostgresStore, Use, Written};

impl PostgresStore {
    /// Makes the tables those of a source, if they are nobody's yet, and uses those of no other from then on.
    ///
    /// # Errors
    /// Exit code 2 when they are another's; otherwise the store's.
    pub async fn assign_source(&self, source: &SourceId) -> Result<(), Failure> {
        let owner = self.owner(source.clone()).await?;
        if let Err(refused) = granted(owner, self.connections.schema(), source) {
            let hint = refused.hint().unwrap_or_default();
            return Err(Failure::usage(refused.to_string()).with_hint(hint));
        }
        self.connections.assigned(source);
        self.take_over(source).await?;
        Ok(())
    }

    /// Bundles that were stored while the tables were nobody's are this source's, a few at a time: others write meanwhile.
    async fn take_over(&self, source: &SourceId) -> Result<(), StoreError> {
        loop {
            let source = source.clone();
            let taken = self.write(Use::Upkeep, TAKE_OVER, move |c| {
                Box::pin(take_over(c, source))
            });
            if taken.await? == 0 {
                return Ok(());
            }
        }
    }

    async fn owner(&self, source: SourceId) -> Result<String, StoreError> {
        self.write(Use::Upkeep, OPERATION, move |c| {
            Box::pin(async move {
                let value = owner(c, &source).await.map_err(driver(OPERATION))?;
                Ok(Written::of(value))
            })
        })
        .await
    }
}

/// Whose the tables are, which are made those of this source if they were nobody's.
pub(super) async fn owner(
    connection: &mut PgConnection,
    source: &SourceId,
) -> Result<String, sqlx::Error> {
    // Of two that come first at once, one finds the other's.
    sqlx::query("INSERT INTO installation (id, source) VALUES (1, $1) ON CONFLICT DO NOTHING")
        .bind(source.as_str())
        .execute(&mut *connection)
        .await?;
    present(connection).await?.ok_or(sqlx::Error::RowNotFound)
}

/// Whose the tables are, if they are somebody's yet.
pub(super) async fn present(connection: &mut PgConnection) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT source FROM installation")
        .fetch_optional(connection)
        .await
}

async fn take_over(
    connection: &mut PgConnection,
    source: SourceId,
) -> Result<Written<u64>, StoreError> {
    // In the order in which everybody locks bundles.
    let taken = sqlx::query(
        "UPDATE bundles SET source = $1 WHERE key IN (SELECT key FROM bundles WHERE source IS NULL ORDER BY key LIMIT $2 \
         FOR NO KEY UPDATE)",
    )
    .bind(source.as_str())
    .bind(AT_ONCE)
    .execute(&mut *connection)
    .await
    .map_err(driver(TAKE_OVER))?
    .rows_affected();
    sqlx::query("UPDATE gone_reports SET source = $1 WHERE source IS NULL")
        .bind(source.as_str())
        .execute(connection)
        .await
        .map_err(driver(TAKE_OVER))?;
    Ok(Written::of(taken))
}

/// Whether tables of this owner are this source's.
pub(super) fn granted(owner: String, schema: &str, source: &SourceId) -> Result<(), OpenError> {
    if owner == source.as_str() {
        return Ok(());
    }
    Err(OpenError::OtherSource {
        schema: schema.to_owned(),
        owner,
        source_id: source.clone(),
    })
}

const OPERATION: &str = "look whose the tables are";
const TAKE_OVER: &str = "take over bundles that were nobody's";

// Some tens of milliseconds, in which a bridge that runs waits for none of them for long.
const AT_ONCE: i64 = 1000;
