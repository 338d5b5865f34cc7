//! A PostgreSQL schema as one side of a copy, under the lock of migrations, so that no bridge opens it meanwhile.

use futures_util::stream::{BoxStream, StreamExt as _};
use link::id::SourceId;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

use super::super::postgres::{Bridges, Exclusive, PostgresConfig, labels_search};
use super::super::sql::rows::driver;
use super::super::{Labels, StoreError};
use super::cells::{Cell, Row, text_of_labels};
use super::tables::{CellKind, Table};

pub(super) struct Side(Exclusive);

// === impl Side ===

impl Side {
    pub(super) async fn open(config: &PostgresConfig, source: bool) -> Result<Self, StoreError> {
        let mut exclusive = Exclusive::open(config, source).await?;
        let patient = if source {
            // One state of all tables, for as long as the other side takes to write it.
            "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; \
             BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        } else {
            "SET statement_timeout = 0"
        };
        let patient = sqlx::raw_sql(patient)
            .execute(&mut exclusive.connection)
            .await;
        patient.map_err(driver(READ))?;
        Ok(Self(exclusive))
    }

    pub(super) async fn importing(config: &PostgresConfig) -> Result<Self, StoreError> {
        let mut exclusive = Exclusive::open(config, true).await?;
        let patient = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0";
        let patient = sqlx::raw_sql(patient)
            .execute(&mut exclusive.connection)
            .await;
        patient.map_err(driver(WRITE))?;
        Ok(Self(exclusive))
    }

    pub(super) async fn looking(config: &PostgresConfig) -> Result<Option<Self>, StoreError> {
        let Some(mut exclusive) = Exclusive::look(config).await? else {
            return Ok(None);
        };
        let patient = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; \
             BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        let patient = sqlx::raw_sql(patient)
            .execute(&mut exclusive.connection)
            .await;
        patient.map_err(driver(READ))?;
        Ok(Some(Self(exclusive)))
    }

    pub(super) fn place(&self) -> &str {
        &self.0.place
    }

    /// What tells that bridges use this database.
    pub(super) async fn bridges(&mut self) -> Result<Bridges, StoreError> {
        self.0.bridges().await
    }

    fn connection(&mut self) -> &mut PgConnection {
        &mut self.0.connection
    }

    pub(super) fn rows(
        &mut self,
        table: &'static Table,
        after: Option<Row>,
    ) -> BoxStream<'_, Result<Row, StoreError>> {
        let text = table.select(&table.postgres, after.is_some());
        let mut query = sqlx::query(AssertSqlSafe(text));
        for (cell, (_, kind)) in after.into_iter().flatten().zip(table.columns) {
            query = match (cell, kind) {
                (Cell::Text(text), _) => query.bind(text),
                (Cell::Integer(number), CellKind::Flag) => query.bind(number != 0),
                (Cell::Integer(number), _) => query.bind(number),
                (Cell::Null, _) => query.bind(None::<i64>),
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
        let text = table.select_one(&table.postgres);
        let row = sqlx::query(AssertSqlSafe(text))
            .bind(key)
            .fetch_optional(self.connection())
            .await
            .map_err(driver(READ))?;
        row.map(|row| read(&row, table.columns)).transpose()
    }

    pub(super) async fn last(&mut self, table: &'static Table) -> Result<Option<Row>, StoreError> {
        let text = table.select_last(&table.postgres);
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
        let text = match table.postgres.insert {
            Some(text) => text.to_owned(),
            None => insertion(table),
        };
        let search = table
            .search
            .map(|search| rows.iter().map(search).collect::<Vec<_>>());
        let mut columns: Vec<Vec<Cell>> = table
            .columns
            .iter()
            .map(|_| Vec::with_capacity(rows.len()))
            .collect();
        for row in rows {
            for (column, cell) in columns.iter_mut().zip(row) {
                column.push(cell);
            }
        }
        let mut query = sqlx::query(AssertSqlSafe(text));
        for (cells, (_, kind)) in columns.into_iter().zip(table.columns) {
            let cells = cells.into_iter();
            query = match kind {
                CellKind::Integer => {
                    query.bind(cells.map(|cell| integer(&cell)).collect::<Vec<_>>())
                }
                CellKind::Flag => {
                    let flags = cells.map(|cell| integer(&cell).map(|number| number != 0));
                    query.bind(flags.collect::<Vec<_>>())
                }
                CellKind::Text => query.bind(cells.map(text_of).collect::<Vec<_>>()),
            };
        }
        if let Some(search) = search {
            query = query.bind(search);
        }
        // One statement: all of the batch is there, or nothing.
        query
            .execute(self.connection())
            .await
            .map_err(driver(WRITE))?;
        Ok(())
    }

    pub(super) async fn begun(&mut self) -> Result<Option<String>, StoreError> {
        let there: bool = sqlx::query_scalar("SELECT to_regclass('copying') IS NOT NULL")
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
        sqlx::query("CREATE TABLE copying (source text NOT NULL)")
            .execute(&mut *batch)
            .await
            .map_err(driver(WRITE))?;
        // Whose a bundle is comes with it.
        sqlx::query("ALTER TABLE bundles DISABLE TRIGGER own_source")
            .execute(&mut *batch)
            .await
            .map_err(driver(WRITE))?;
        sqlx::query("INSERT INTO copying (source) VALUES ($1)")
            .bind(source)
            .execute(&mut *batch)
            .await
            .map_err(driver(WRITE))?;
        batch.commit().await.map_err(driver(WRITE))
    }

    /// New rows come after those that were copied, and the tables are open to bridges. Whether the source was as new as its
    /// agents nobody knows: no version counts as confirmed, and an epoch begins.
    pub(super) async fn finish(&mut self) -> Result<(), StoreError> {
        let end = sqlx::raw_sql(
            "BEGIN; \
             SELECT setval(pg_get_serial_sequence('consumers', 'key'), COALESCE(MAX(key), 0) + 1, false) FROM consumers; \
             SELECT setval(pg_get_serial_sequence('bundles', 'key'), GREATEST(COALESCE(MAX(key), 0), \
               (SELECT COALESCE(MAX(bundle_key), 0) FROM gone_reports)) + 1, false) FROM bundles; \
             ALTER TABLE bundles ENABLE TRIGGER own_source; \
             SELECT setval(pg_get_serial_sequence('orphans', 'key'), COALESCE(MAX(key), 0) + 1, false) FROM orphans; \
             UPDATE bundles SET epoch = 0; \
             INSERT INTO epochs (number, id, began_at, why, place, heard) \
             SELECT GREATEST(COALESCE(MAX(number), 0) + 1, 2), gen_random_uuid()::text, \
             (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, 'copied from another store', '{}', false FROM epochs; \
             SELECT setval('changes', COALESCE(MAX(changed), 0) + 1, false) FROM bundles; \
             DROP TABLE copying; COMMIT; \
             ANALYZE consumers, bundles, contents, statuses, ledger, tombstones, orphans, doubts, presence, gone_reports",
        );
        end.execute(self.connection())
            .await
            .map_err(driver(WRITE))?;
        Ok(())
    }

    /// For which source the bridges on the tables speak, if that is known.
    pub(super) async fn owner(&mut self) -> Result<Option<String>, StoreError> {
        self.0.owner().await
    }

    /// Everything until [`Self::end_import`] is one transaction. Whose the tables are, which are made this source's if they
    /// were nobody's.
    pub(super) async fn begin_import(&mut self, source: &SourceId) -> Result<String, StoreError> {
        let begun = sqlx::raw_sql("BEGIN").execute(self.connection()).await;
        begun.map_err(driver(WRITE))?;
        self.0.assign_source(source).await
    }

    /// Gives a consumer other labels.
    pub(super) async fn relabel(
        &mut self,
        id: &str,
        labels: &Labels,
        updated_at: i64,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE consumers SET labels = $2, search = $3::jsonb, updated_at = $4 WHERE id = $1",
        )
        .bind(id)
        .bind(text_of_labels(labels))
        .bind(labels_search(labels))
        .bind(updated_at)
        .execute(self.connection())
        .await
        .map_err(driver(WRITE))?;
        Ok(())
    }

    pub(super) async fn remove_bundles(&mut self, keys: Vec<i64>) -> Result<(), StoreError> {
        // They make room for newer versions: nobody is to hear that they are gone.
        for text in [
            "DELETE FROM bundles WHERE key = ANY($1)",
            "DELETE FROM gone_reports WHERE bundle_key = ANY($1)",
        ] {
            sqlx::query(text)
                .bind(&keys)
                .execute(self.connection())
                .await
                .map_err(driver(WRITE))?;
        }
        Ok(())
    }

    /// What has a key above `first` was put in: its versions are those of the present epoch. New rows come after it.
    pub(super) async fn end_import(&mut self, first: i64) -> Result<(), StoreError> {
        let end = format!(
            "SELECT setval(pg_get_serial_sequence('consumers', 'key'), COALESCE(MAX(key), 0) + 1, false) FROM consumers; \
             SELECT setval(pg_get_serial_sequence('bundles', 'key'), GREATEST(COALESCE(MAX(key), 0), \
               (SELECT COALESCE(MAX(bundle_key), 0) FROM gone_reports)) + 1, false) FROM bundles; \
             SELECT setval('changes', COALESCE(MAX(changed), 0) + 1, false) FROM bundles; \
             UPDATE bundles SET epoch = (SELECT COALESCE(MAX(number), 1) FROM epochs) WHERE key > {first} \
               AND epoch <> (SELECT COALESCE(MAX(number), 1) FROM epochs); \
             COMMIT; ANALYZE consumers, bundles, contents, statuses, ledger"
        );
        let end = sqlx::raw_sql(AssertSqlSafe(end));
        end.execute(self.connection())
            .await
            .map_err(driver(WRITE))?;
        Ok(())
    }

    pub(super) async fn close(self) {
        self.0.close().await;
    }
}

fn insertion(table: &Table) -> String {
    let columns = table.names(table.columns.len());
    let mut arrays: Vec<String> = Vec::new();
    for (place, (_, kind)) in table.columns.iter().enumerate() {
        let kind = match kind {
            CellKind::Integer => "bigint",
            CellKind::Text => "text",
            CellKind::Flag => "boolean",
        };
        arrays.push(format!("${}::{kind}[]", place + 1));
    }
    let (mut into, mut from, mut names) = (columns.clone(), columns.clone(), columns);
    if table.search.is_some() {
        arrays.push(format!("${}::text[]", arrays.len() + 1));
        into.push_str(", search");
        from.push_str(", search::jsonb");
        names.push_str(", search");
    }
    format!(
        "INSERT INTO {} ({into}) OVERRIDING SYSTEM VALUE SELECT {from} FROM unnest({}) AS n ({names})",
        table.name,
        arrays.join(", ")
    )
}

fn integer(cell: &Cell) -> Option<i64> {
    match cell {
        Cell::Integer(number) => Some(*number),
        _ => None,
    }
}

fn text_of(cell: Cell) -> Option<String> {
    match cell {
        Cell::Text(text) => Some(text),
        _ => None,
    }
}

fn read(row: &PgRow, columns: &[(&'static str, CellKind)]) -> Result<Row, StoreError> {
    let cells = columns.iter().map(|(name, kind)| {
        Ok(match kind {
            CellKind::Integer => row.try_get::<Option<i64>, _>(name)?.into(),
            CellKind::Flag => row.try_get::<Option<bool>, _>(name)?.into(),
            CellKind::Text => row.try_get::<Option<String>, _>(name)?.into(),
        })
    });
    cells.collect::<Result<_, _>>().map_err(driver(READ))
}

const READ: &str = "read rows to copy";
const WRITE: &str = "write copied rows";
