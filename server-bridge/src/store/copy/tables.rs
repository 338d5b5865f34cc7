//! The tables that are copied, as both engines read and write them.
//!
//! Where an engine stores something elsewhere, a view and an insertion say where. Tables that are not listed are not copied:
//! they hold nothing that outlives a process (heartbeats, leases, lists in parts), or belong to one database (epochs, the
//! order of reports, since when agents are heard). A table that both engines have alike is one line of [`TABLES`].

use super::cells::Row;
use super::derived;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CellKind {
    Integer,
    Text,
    Flag,
}

/// A table, in the order of its key.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) columns: &'static [(&'static str, CellKind)],
    /// How many of the columns, from the first on, are the key that rows are read in the order of.
    pub(super) key: usize,
    pub(super) sqlite: Dialect,
    pub(super) postgres: Dialect,
    /// What PostgreSQL's column `search` holds of a row.
    pub(super) search: Option<fn(&Row) -> Option<String>>,
}

/// How an engine differs from what the columns say.
#[derive(Debug)]
pub(super) struct Dialect {
    /// What rows are read from, instead of the table.
    pub(super) view: Option<&'static str>,
    /// What puts rows in, instead of an insertion of the columns.
    pub(super) insert: Option<&'static str>,
}

const ALIKE: Dialect = Dialect {
    view: None,
    insert: None,
};

/// `table!(name, key columns; column: kind, …)`, alike in both engines.
macro_rules! table {
    ($name:literal, $key:literal; $($column:ident: $kind:ident),* $(,)?) => {
        Table {
            name: $name,
            columns: &[$((stringify!($column), CellKind::$kind)),*],
            key: $key,
            sqlite: ALIKE,
            postgres: ALIKE,
            search: None,
        }
    };
}

/// In the order in which rows refer to each other.
pub(super) const TABLES: &[Table] = &[
    Table {
        sqlite: Dialect {
            view: Some(
                "(SELECT rowid AS key, id, name, labels, created_at, updated_at, last_seen_at FROM consumers)",
            ),
            insert: Some(
                "INSERT INTO consumers (rowid, id, name, labels, created_at, updated_at, last_seen_at) \
                 VALUES (?, ?, ?, ?, ?, ?, ?)",
            ),
        },
        search: Some(derived::of_consumer),
        ..table!("consumers", 1; key: Integer, id: Text, name: Text, labels: Text, created_at: Integer,
            updated_at: Integer, last_seen_at: Integer)
    },
    Table {
        search: Some(derived::of_bundle),
        ..table!("bundles", 1; key: Integer, id: Text, name: Text, consumer_name: Text, version: Integer,
            created_at: Integer, updated_at: Integer, deleted_at: Integer, metadata: Text, changed: Integer,
            acked_version: Integer, deletion_acked: Flag, unsent: Flag, status_sequence: Text, source: Text,
            origin: Text, origin_version: Integer)
    },
    table!("contents", 1; bundle_key: Integer, manifests: Text, delete_option: Text, manifest_configs: Text,
        executer: Text),
    Table {
        postgres: Dialect {
            view: Some(
                "(SELECT s.bundle_key, b.status_version AS version, b.status_hash AS hash, s.payload, s.metadata, \
                 b.status_taken_at AS stored_at FROM statuses s JOIN bundles b ON b.key = s.bundle_key)",
            ),
            insert: Some(
                "WITH n AS (SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], \
                   $6::bigint[]) AS n (bundle_key, version, hash, payload, metadata, stored_at)), \
                 s AS (INSERT INTO statuses (bundle_key, payload, metadata) \
                   SELECT bundle_key, payload, metadata FROM n) \
                 UPDATE bundles SET status_version = n.version, status_hash = n.hash, status_taken_at = n.stored_at \
                 FROM n WHERE key = n.bundle_key",
            ),
        },
        ..table!("statuses", 1; bundle_key: Integer, version: Integer, hash: Text, payload: Text, metadata: Text,
            stored_at: Integer)
    },
    table!("ledger", 3; bundle_key: Integer, version: Integer, deletion: Flag, stored_at: Integer,
        published_at: Integer, acked_at: Integer, matched: Flag, received_at: Integer, applied_at: Integer,
        reported_at: Integer, attempts: Integer, failed_at: Integer, failure: Text,
        note: Text),
    table!("tombstones", 2; bundle_id: Text, consumer_name: Text, version: Integer, status_sequence: Text,
        removed_at: Integer),
    table!("orphans", 1; key: Integer, consumer_name: Text, bundle_id: Text, version: Integer, deleted_here: Flag),
    table!("doubts", 1; consumer_name: Text, behind_at: Integer, stranger_at: Integer),
    table!("presence", 1; consumer_name: Text, report: Text, refusals: Text, refusal_count: Integer,
        report_made_at: Integer, report_at: Integer, missed_at: Integer, client_id: Text, connected: Flag,
        event_version: Integer, event_at: Integer, event_heard_at: Integer, disconnect_reason: Text),
    table!("gone_reports", 1; bundle_key: Integer, id: Text, source: Text, consumer_name: Text, version: Integer,
        status_sequence: Text, status_hash: Text, metadata: Text, manifests: Text, delete_option: Text,
        manifest_configs: Text, executer: Text, payload: Text, removed_at: Integer),
    table!("installation", 1; id: Integer, source: Text),
];

/// For which source the bridges on the tables speak: of an empty store, too.
pub(super) const INSTALLATION: &str = "installation";

// === impl Table ===

impl Table {
    /// The names of the first `count` columns.
    pub(super) fn names(&self, count: usize) -> String {
        let names: Vec<&str> = self.columns[..count]
            .iter()
            .map(|(name, _)| *name)
            .collect();
        names.join(", ")
    }

    /// Rows in the order of the key, after a key that is bound, or all.
    pub(super) fn select(&self, dialect: &Dialect, after: bool) -> String {
        let from = dialect.view.unwrap_or(self.name);
        let (columns, key) = (self.names(self.columns.len()), self.names(self.key));
        let after = if after {
            let bound: Vec<String> = (1..=self.key).map(|number| format!("${number}")).collect();
            format!(" WHERE ({key}) > ({})", bound.join(", "))
        } else {
            String::new()
        };
        format!("SELECT {columns} FROM {from} AS t{after} ORDER BY {key}")
    }

    /// The row whose key, a single column, is bound.
    pub(super) fn select_one(&self, dialect: &Dialect) -> String {
        let from = dialect.view.unwrap_or(self.name);
        let (columns, key) = (self.names(self.columns.len()), self.names(1));
        format!("SELECT {columns} FROM {from} AS t WHERE {key} = $1")
    }

    /// The last key.
    pub(super) fn select_last(&self, dialect: &Dialect) -> String {
        let from = dialect.view.unwrap_or(self.name);
        let falling: Vec<String> = self.columns[..self.key]
            .iter()
            .map(|(name, _)| format!("{name} DESC"))
            .collect();
        let key = self.names(self.key);
        format!(
            "SELECT {key} FROM {from} AS t ORDER BY {} LIMIT 1",
            falling.join(", ")
        )
    }
}
