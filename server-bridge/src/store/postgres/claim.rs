//! For whom the tables are: bridges of one source. Two that speak for different ones would share the buckets of all
//! consumers, and each would send a part of the other's bundles in its own name.

use link::error::Failure;
use link::id::SourceId;

use super::super::StoreError;
use super::failure::driver;
use super::{PostgresStore, Use, Written};

impl PostgresStore {
    /// Makes the tables those of a source, if they are nobody's yet.
    ///
    /// # Errors
    /// Exit code 2 when they are another's; otherwise the store's.
    pub async fn claim(&self, source: &SourceId) -> Result<(), Failure> {
        let owner = self.owner(source.as_str().to_owned()).await?;
        if owner == source.as_str() {
            return Ok(());
        }
        let schema = self.connections.schema();
        Err(Failure::usage(format!(
            "the tables in schema `{schema}` are those of source `{owner}`, and this bridge speaks for `{source}`"
        ))
        .with_hint(format!(
            "give it a schema of its own with `--db-schema`; to change the source of these for good, stop every bridge and \
             set `{schema}.installation.source`"
        )))
    }

    async fn owner(&self, source: String) -> Result<String, StoreError> {
        self.write(Use::Upkeep, "look whose the tables are", move |c| {
            Box::pin(async move {
                // Of two that come first at once, one finds the other's.
                sqlx::query(
                    "INSERT INTO installation (id, source) VALUES (1, $1) ON CONFLICT DO NOTHING",
                )
                .bind(&source)
                .execute(&mut *c)
                .await
                .map_err(driver("claim the tables"))?;
                let value = sqlx::query_scalar("SELECT source FROM installation")
                    .fetch_one(c)
                    .await
                    .map_err(driver("look whose the tables are"))?;
                Ok(Written { value, hint: None })
            })
        })
        .await
    }
}
