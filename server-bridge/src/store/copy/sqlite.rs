//! A SQLite file as one side of a copy, under its lock.

use std::path::Path;

use futures_util::stream::{BoxStream, StreamExt as _};
use link::id::SourceId;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection};

use super::super::sql::rows::driver;
use super::super::sqlite::Exclusive;
use super::super::{Labels, StoreError};
use super::cells::{Cell, Row, text_of_labels};
use super::tables::{CellKind, Table};

pub(super) struct Side {
    exclusive: Exclusive,
    /// Whether everything is one transaction.
    one_transaction: bool,
}

// === impl Side ===

impl Side {
    pub(super) async fn open(file: &Path, source: bool) -> Result<Self, StoreError> {
        Ok(Self::of(Exclusive::open(file, !source, source).await?))
    }

    pub(super) async fn importing(file: &Path) -> Result<Self, StoreError> {
        Ok(Self::of(Exclusive::open(file, true, true).await?))
    }

    pub(super) async fn looking(file: &Path) -> Result<Option<Self>, StoreError> {
        let Some(mut exclusive) = Exclusive::look(file).await? else {
            return Ok(None);
        };
        // One state of all tables, also while a bridge writes.
        let begun = sqlx::raw_sql("BEGIN")
            .execute(&mut exclusive.connection)
            .await;
        begun.map_err(driver(READ))?;
        Ok(Some(Self::of(exclusive)))
    }

    fn of(exclusive: Exclusive) -> Self {
        Self {
            exclusive,
            one_transaction: false,
        }
    }

    fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.exclusive.connection
    }

    pub(super) fn rows(
        &mut self,
        table: &'static Table,
        after: Option<Row>,
    ) -> BoxStream<'_, Result<Row, StoreError>> {
        let text = table.select(&table.sqlite, after.is_some());
        let mut query = sqlx::query(AssertSqlSafe(text));
        for cell in after.into_iter().flatten() {
            query = match cell {
                Cell::Text(text) => query.bind(text),
                Cell::Integer(number) => query.bind(number),
                Cell::Null => query.bind(None::<i64>),
            };
        }
        let rows = query.fetch(self.connection());
        rows.map(|row| read(&row.map_err(driver(READ))?, table.columns))
            .boxed()
    }

    /// The row with this key.
    pub(super) async fn row(
        &mut self,
        table: &'static Table,
        key: i64,
    ) -> Result<Option<Row>, StoreError> {
        let text = table.select_one(&table.sqlite);
        let row = sqlx::query(AssertSqlSafe(text))
            .bind(key)
            .fetch_optional(self.connection())
            .await
            .map_err(driver(READ))?;
        row.map(|row| read(&row, table.columns)).transpose()
    }

    pub(super) async fn last(&mut self, table: &'static Table) -> Result<Option<Row>, StoreError> {
        let text = table.select_last(&table.sqlite);
        let row = sqlx::query(AssertSqlSafe(text))
            .fetch_optional(self.connection())
            .await
            .map_err(driver(READ))?;
        row.map(|row| read(&row, &table.columns[..table.key]))
            .transpose()
    }

    pub(super) async fn count(&mut self, table: &'static Table) -> Result<u64, StoreError> {
        let text = format!("SELECT COUNT(*) FROM {}", table.name);
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(text))
            .fetch_one(self.connection())
            .await
            .map_err(driver(READ))?;
        Ok(count.unsigned_abs())
    }

    pub(super) async fn insert(
        &mut self,
        table: &'static Table,
        rows: Vec<Row>,
    ) -> Result<(), StoreError> {
        if self.one_transaction {
            return put(self.connection(), table, rows).await;
        }
        let mut batch = self.connection().begin().await.map_err(driver(WRITE))?;
        put(&mut batch, table, rows).await?;
        batch.commit().await.map_err(driver(WRITE))
    }

    pub(super) async fn begun(&mut self) -> Result<Option<String>, StoreError> {
        let there: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'copying')",
        )
        .fetch_one(self.connection())
        .await
        .map_err(driver(READ))?;
        if !there {
            return Ok(None);
        }
        sqlx::query_scalar("SELECT source FROM copying")
            .fetch_optional(self.connection())
            .await
            .map_err(driver(READ))
    }

    pub(super) async fn begin(&mut self, source: &str) -> Result<(), StoreError> {
        let mut batch = self.connection().begin().await.map_err(driver(WRITE))?;
        sqlx::query("CREATE TABLE copying (source TEXT NOT NULL)")
            .execute(&mut *batch)
            .await
            .map_err(driver(WRITE))?;
        sqlx::query("INSERT INTO copying (source) VALUES (?)")
            .bind(source)
            .execute(&mut *batch)
            .await
            .map_err(driver(WRITE))?;
        batch.commit().await.map_err(driver(WRITE))
    }

    /// The tables are open to bridges. Whether the source was as new as its agents nobody knows: no version counts as
    /// confirmed, and an epoch begins.
    pub(super) async fn finish(&mut self) -> Result<(), StoreError> {
        let end = sqlx::raw_sql(
            "BEGIN; UPDATE bundles SET epoch = 0; \
             INSERT INTO sqlite_sequence (name, seq) SELECT 'bundles', 0 \
             WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'bundles'); \
             UPDATE sqlite_sequence SET seq = MAX(seq, (SELECT COALESCE(MAX(bundle_key), 0) FROM gone_reports)) \
             WHERE name = 'bundles'; \
             INSERT INTO epochs (number, id, began_at, why, place, heard) \
             SELECT MAX(COALESCE((SELECT MAX(number) FROM epochs), 0) + 1, 2), lower(hex(randomblob(16))), \
             CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'copied from another store', '{}', 0; \
             DROP TABLE copying; COMMIT; PRAGMA wal_checkpoint(TRUNCATE)",
        );
        end.execute(self.connection())
            .await
            .map_err(driver(WRITE))?;
        Ok(())
    }

    /// For which source the bridge on the file speaks, if that is known.
    pub(super) async fn owner(&mut self) -> Result<Option<String>, StoreError> {
        sqlx::query_scalar("SELECT source FROM installation")
            .fetch_optional(self.connection())
            .await
            .map_err(driver(READ))
    }

    /// Everything until [`Self::end_import`] is one transaction. Whose the file is, which is made this source's if it was
    /// nobody's.
    pub(super) async fn begin_import(&mut self, source: &SourceId) -> Result<String, StoreError> {
        let begun = sqlx::raw_sql("BEGIN IMMEDIATE")
            .execute(self.connection())
            .await;
        begun.map_err(driver(WRITE))?;
        self.one_transaction = true;
        sqlx::query("INSERT INTO installation (id, source) VALUES (1, ?) ON CONFLICT DO NOTHING")
            .bind(source.as_str())
            .execute(self.connection())
            .await
            .map_err(driver(WRITE))?;
        Ok(self.owner().await?.unwrap_or_default())
    }

    /// Gives a consumer other labels.
    pub(super) async fn relabel(
        &mut self,
        id: &str,
        labels: &Labels,
        updated_at: i64,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE consumers SET labels = ?2, updated_at = ?3 WHERE id = ?1")
            .bind(id)
            .bind(text_of_labels(labels))
            .bind(updated_at)
            .execute(self.connection())
            .await
            .map_err(driver(WRITE))?;
        Ok(())
    }

    pub(super) async fn remove_bundles(&mut self, keys: Vec<i64>) -> Result<(), StoreError> {
        for key in keys {
            sqlx::query("DELETE FROM bundles WHERE key = ?")
                .bind(key)
                .execute(self.connection())
                .await
                .map_err(driver(WRITE))?;
        }
        Ok(())
    }

    /// What has a key above `first` was put in: its versions are those of the present epoch.
    pub(super) async fn end_import(&mut self, first: i64) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE bundles SET epoch = (SELECT COALESCE(MAX(number), 1) FROM epochs) WHERE key > ?",
        )
        .bind(first)
        .execute(self.connection())
        .await
        .map_err(driver(WRITE))?;
        let ended = sqlx::raw_sql("COMMIT").execute(self.connection()).await;
        ended.map_err(driver(WRITE))?;
        self.one_transaction = false;
        // The copy of the pages is nobody's need: a bridge that opens the file does it, too.
        let _ = sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            .execute(self.connection())
            .await;
        Ok(())
    }

    pub(super) async fn close(self) {
        self.exclusive.close().await;
    }
}

async fn put(
    connection: &mut SqliteConnection,
    table: &Table,
    rows: Vec<Row>,
) -> Result<(), StoreError> {
    let text = match table.sqlite.insert {
        Some(text) => text.to_owned(),
        None => {
            let columns = table.names(table.columns.len());
            let places = vec!["?"; table.columns.len()].join(", ");
            format!("INSERT INTO {} ({columns}) VALUES ({places})", table.name)
        }
    };
    for row in rows {
        let mut query = sqlx::query(AssertSqlSafe(text.clone()));
        for cell in row {
            query = match cell {
                Cell::Text(text) => query.bind(text),
                Cell::Integer(number) => query.bind(number),
                Cell::Null => query.bind(None::<i64>),
            };
        }
        query
            .execute(&mut *connection)
            .await
            .map_err(driver(WRITE))?;
    }
    Ok(())
}

fn read(row: &SqliteRow, columns: &[(&'static str, CellKind)]) -> Result<Row, StoreError> {
    let cells = columns.iter().map(|(name, kind)| {
        Ok(match kind {
            CellKind::Integer | CellKind::Flag => row.try_get::<Option<i64>, _>(name)?.into(),
            CellKind::Text => row.try_get::<Option<String>, _>(name)?.into(),
        })
    });
    cells.collect::<Result<_, _>>().map_err(driver(READ))
}

const READ: &str = "read rows to copy";
const WRITE: &str = "write copied rows";
