//! Copies a store to the other engine: ids, versions, times and the order of changes stay.
//!
//! Rows are copied in batches in the order of their keys, each batch in one transaction, so that an interrupted copy resumes
//! after the last row. Before the first row the target records a checksum of the source, and no bridge opens it until the
//! copy is finished. Both sides are summed, and the record is removed only if the sums are equal. Memory is bounded by one
//! batch.

use std::fmt::Write as _;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use link::error::Hint;
use link::id::SourceId;
use sha2::{Digest as _, Sha256};
use tracing::info;

use super::postgres::Bridges;
use super::{Labels, Location, StoreError};

mod cells;
mod derived;
mod import;
mod postgres;
mod sqlite;
mod tables;

use cells::{Cell, Row, Sum};
pub use import::{BundleOutcome, ImportTransaction, ImportedBundle, ImportedStatus, LabelsOutcome};
use tables::{INSTALLATION, TABLES, Table};

/// What became of a copy, table by table.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct CopyReport {
    /// Each table, in the order in which they were copied.
    pub tables: Vec<Compared>,
}

/// One table on both sides.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Compared {
    /// Its name.
    pub table: &'static str,
    /// Where it came from.
    pub source: Summed,
    /// Where it went.
    pub target: Summed,
}

/// What a table holds.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Summed {
    /// How many rows.
    pub rows: u64,
    /// Of all their values, in 16 digits.
    pub sum: String,
}

/// Why nothing was copied, or not everything.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// Reading or writing failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A bridge runs on it.
    #[error(
        "`{place}` is in use: bridges have {sessions} sessions open on that database and hold {slots} slots of that schema"
    )]
    InUse {
        /// Where.
        place: String,
        /// How many sessions.
        sessions: u64,
        /// How many slots.
        slots: u64,
    },
    /// The target holds something else.
    #[error("`{place}` is not empty: `{table}` has {rows} rows that are no copy of the source")]
    NotEmpty {
        /// Where.
        place: String,
        /// The table.
        table: &'static str,
        /// Its rows.
        rows: u64,
    },
    /// The target is a copy of something else, or of an earlier state.
    #[error(
        "`{place}` holds an unfinished copy of something else, or the source has changed since"
    )]
    OtherCopy {
        /// Where.
        place: String,
    },
    /// What is put in would be another source's.
    #[error("`{place}` is the store of source `{owner}`, and this would be for `{source_id}`")]
    OtherSource {
        /// Where.
        place: String,
        /// Whose it is.
        owner: String,
        /// For whom this is.
        source_id: SourceId,
    },
}

enum Side {
    Sqlite(Box<sqlite::Side>, String),
    Postgres(Box<postgres::Side>),
}

/// Copies everything; both sides are used by nobody else meanwhile. When the target holds the same already, nothing is
/// written.
///
/// # Errors
/// See [`CopyError`]. What was copied stays, and the next run goes on from there.
pub async fn copy(from: Location, to: Location) -> Result<CopyReport, CopyError> {
    let mut source = Side::open(&from, true).await?;
    let mut target = Side::open(&to, false).await?;
    for side in [&mut source, &mut target] {
        side.unused().await?;
    }
    info!(
        from = source.place(),
        to = target.place(),
        "Reading the source"
    );
    let summed = source.summed().await?;
    let mark = mark(&summed);
    match target.begun().await? {
        Some(begun) if begun == mark => info!("Going on with a copy that was interrupted"),
        Some(_) => {
            let place = target.place().to_owned();
            return Err(CopyError::OtherCopy { place });
        }
        None => {
            let owner = source.owner().await?;
            if let Some((table, rows)) = target.first_rows(owner).await? {
                let there = target.summed().await?;
                if there == summed {
                    info!("The target holds the same already");
                    return Ok(report(summed, there));
                }
                let place = target.place().to_owned();
                return Err(CopyError::NotEmpty { place, table, rows });
            }
            target.begin(&mark).await?;
        }
    }
    for (table, whole) in TABLES.iter().zip(&summed) {
        transfer(&mut source, &mut target, table, whole.rows).await?;
    }
    info!("Reading the target");
    let there = target.summed().await?;
    if there == summed {
        target.finish().await?;
    }
    source.close().await;
    target.close().await;
    Ok(report(summed, there))
}

/// Copies the rows of a table that are not there yet.
async fn transfer(
    source: &mut Side,
    target: &mut Side,
    table: &'static Table,
    whole: u64,
) -> Result<(), StoreError> {
    let after = target.last(table).await?;
    let mut done = target.count(table).await?;
    info!(table = table.name, rows = done, of = whole, "Copying");
    let mut rows = source.rows(table, after);
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next().await {
        let row = row?;
        bytes += row.iter().map(Cell::bytes).sum::<usize>();
        batch.push(row);
        if bytes >= BATCH_BYTES || batch.len() >= BATCH_ROWS {
            done += batch.len() as u64;
            target.insert(table, std::mem::take(&mut batch)).await?;
            bytes = 0;
            info!(table = table.name, rows = done, of = whole, "Copying");
        }
    }
    if !batch.is_empty() {
        target.insert(table, batch).await?;
    }
    Ok(())
}

/// What a target notes of its source: the same only for the same content.
fn mark(summed: &[Summed]) -> String {
    let mut hash = Sha256::new();
    for summed in summed {
        hash.update(summed.rows.to_le_bytes());
        hash.update(&summed.sum);
    }
    let mut mark = String::new();
    for byte in &hash.finalize()[..16] {
        // Writing to a text cannot fail.
        let _ = write!(mark, "{byte:02x}");
    }
    mark
}

fn report(source: Vec<Summed>, target: Vec<Summed>) -> CopyReport {
    let sides = source.into_iter().zip(target);
    let tables = TABLES.iter().zip(sides);
    let tables = tables.map(|(table, (source, target))| Compared {
        table: table.name,
        source,
        target,
    });
    CopyReport {
        tables: tables.collect(),
    }
}

// === impl CopyReport ===

impl CopyReport {
    /// The first table that differs.
    pub fn difference(&self) -> Option<&Compared> {
        self.tables
            .iter()
            .find(|table| table.source != table.target)
    }
}

// === impl CopyError ===

impl Hint for CopyError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::InUse { .. } => Some(
                "stop every bridge on that database and repeat; one that runs would go on changing what is copied, and the slot of one that was killed is free ten seconds later".into(),
            ),
            Self::NotEmpty { .. } => Some(
                "name an empty file, or with `--db-schema` a schema that is not there yet; nothing was changed".into(),
            ),
            Self::OtherCopy { .. } => Some(
                "begin anew: remove the file of the target, or drop its schema, and repeat".into(),
            ),
            Self::OtherSource { owner, .. } => Some(format!(
                "give `--source-id {owner}`, or name another file, or another schema with `--db-schema`"
            )),
        }
    }
}

// === impl Side ===

/// Passes calls on to the engine.
macro_rules! passed_on {
    ($($method:ident($($name:ident: $kind:ty),*) -> $value:ty;)*) => {
        $(async fn $method(&mut self, $($name: $kind),*) -> Result<$value, StoreError> {
            match self {
                Self::Sqlite(side, _) => side.$method($($name),*).await,
                Self::Postgres(side) => side.$method($($name),*).await,
            }
        })*
    };
}

impl Side {
    async fn open(location: &Location, source: bool) -> Result<Self, StoreError> {
        Ok(match location {
            Location::Sqlite(file) => {
                let side = sqlite::Side::open(file, source).await?;
                Self::Sqlite(Box::new(side), file.display().to_string())
            }
            Location::Postgres(config) => {
                Self::Postgres(Box::new(postgres::Side::open(config, source).await?))
            }
        })
    }

    /// A store into which something is put, which is made as needed.
    async fn importing(location: &Location) -> Result<Self, StoreError> {
        Ok(match location {
            Location::Sqlite(file) => {
                let side = sqlite::Side::importing(file).await?;
                Self::Sqlite(Box::new(side), file.display().to_string())
            }
            Location::Postgres(config) => {
                Self::Postgres(Box::new(postgres::Side::importing(config).await?))
            }
        })
    }

    /// A store that is only read, also while bridges use it; none where there are no tables yet.
    async fn looking(location: &Location) -> Result<Option<Self>, StoreError> {
        Ok(match location {
            Location::Sqlite(file) => sqlite::Side::looking(file)
                .await?
                .map(|side| Self::Sqlite(Box::new(side), file.display().to_string())),
            Location::Postgres(config) => postgres::Side::looking(config)
                .await?
                .map(|side| Self::Postgres(Box::new(side))),
        })
    }

    fn place(&self) -> &str {
        match self {
            Self::Sqlite(_, file) => file,
            Self::Postgres(side) => side.place(),
        }
    }

    passed_on! {
        row(table: &'static Table, key: i64) -> Option<Row>;
        last(table: &'static Table) -> Option<Row>;
        count(table: &'static Table) -> u64;
        insert(table: &'static Table, rows: Vec<Row>) -> ();
        begun() -> Option<String>;
        begin(source: &str) -> ();
        finish() -> ();
        owner() -> Option<String>;
        begin_import(source: &SourceId) -> String;
        relabel(id: &str, labels: &Labels, updated_at: i64) -> ();
        remove_bundles(keys: Vec<i64>) -> ();
        end_import(first: i64) -> ();
    }

    fn rows(
        &mut self,
        table: &'static Table,
        after: Option<Row>,
    ) -> BoxStream<'_, Result<Row, StoreError>> {
        match self {
            Self::Sqlite(side, _) => side.rows(table, after),
            Self::Postgres(side) => side.rows(table, after),
        }
    }

    /// A file is locked; of a server only sessions and slots can be seen.
    async fn unused(&mut self) -> Result<(), CopyError> {
        let Self::Postgres(side) = self else {
            return Ok(());
        };
        let Bridges { sessions, slots } = side.bridges().await?;
        if sessions == 0 && slots == 0 {
            return Ok(());
        }
        Err(CopyError::InUse {
            place: side.place().to_owned(),
            sessions,
            slots,
        })
    }

    /// What else is there than that the tables are this owner's.
    async fn first_rows(
        &mut self,
        owner: Option<String>,
    ) -> Result<Option<(&'static str, u64)>, StoreError> {
        for table in TABLES.iter().filter(|table| table.name != INSTALLATION) {
            let rows = self.count(table).await?;
            if rows > 0 {
                return Ok(Some((table.name, rows)));
            }
        }
        let here = self.owner().await?;
        Ok((here.is_some() && here != owner).then_some((INSTALLATION, 1)))
    }

    async fn summed(&mut self) -> Result<Vec<Summed>, StoreError> {
        let mut all = Vec::new();
        for table in TABLES {
            let mut sum = Sum::default();
            let mut rows = self.rows(table, None);
            while let Some(row) = rows.next().await {
                sum.add(&row?);
            }
            let (rows, sum) = sum.end();
            all.push(Summed { rows, sum });
        }
        Ok(all)
    }

    async fn close(self) {
        match self {
            Self::Sqlite(side, _) => side.close().await,
            Self::Postgres(side) => side.close().await,
        }
    }
}

// A batch is held twice while it is bound: 8 MiB and the one row, of half a megabyte at most, that goes over.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

// Short rows: a batch still takes only milliseconds.
const BATCH_ROWS: usize = 1000;
