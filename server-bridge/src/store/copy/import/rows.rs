//! Rows of what is put in, as the tables of both engines take them. Pure.

use jiff::Timestamp;
use link::order::Version;

use super::super::cells::{Cell, Row, text_of_labels};
use super::super::tables::{TABLES, Table};
use super::ImportedBundle;
use crate::store::sql::rows::micros;
use crate::store::{Json, NewConsumer};

/// The row of a consumer.
pub(super) fn row_of_consumer(
    key: i64,
    consumer: &NewConsumer,
    created_at: Timestamp,
    updated_at: Timestamp,
) -> Row {
    let labels = text_of_labels(&consumer.labels);
    row(
        table("consumers"),
        vec![
            ("key", Cell::Integer(key)),
            ("id", Cell::Text(consumer.id.clone())),
            ("name", Cell::Text(consumer.name.to_string())),
            ("labels", Cell::Text(labels)),
            ("created_at", Cell::Integer(micros(created_at))),
            ("updated_at", Cell::Integer(micros(updated_at))),
        ],
    )
}

/// The rows of a bundle in the tables it has rows in.
pub(super) fn rows_of(key: i64, changed: i64, bundle: &ImportedBundle) -> Vec<(&'static str, Row)> {
    let number = |version: Version| Cell::Integer(i64::from(version.get()));
    let at = |at: Timestamp| Cell::Integer(micros(at));
    let text = |json: Option<&Json>| Cell::from(json.map(|json| json.as_str().to_owned()));
    let flag = |flag: bool| Cell::Integer(i64::from(flag));
    let status = bundle.status.as_ref();
    let confirmed = bundle.is_confirmed();
    let content = &bundle.content;
    let mut rows = vec![
        (
            "bundles",
            vec![
                ("key", Cell::Integer(key)),
                ("id", Cell::Text(bundle.id.clone())),
                ("name", Cell::Text(bundle.name.clone())),
                ("source", Cell::Text(bundle.source.to_string())),
                (
                    "consumer_name",
                    Cell::Text(bundle.consumer_name.to_string()),
                ),
                ("version", number(bundle.version)),
                ("created_at", at(bundle.created_at)),
                ("updated_at", at(bundle.updated_at)),
                ("deleted_at", bundle.deleted_at.map_or(Cell::Null, at)),
                ("metadata", text(bundle.metadata.as_ref())),
                ("origin", text(bundle.origin.as_ref())),
                (
                    "origin_version",
                    bundle
                        .origin
                        .as_ref()
                        .map_or(Cell::Null, |_| number(bundle.version)),
                ),
                ("changed", Cell::Integer(changed)),
                (
                    "acked_version",
                    status.map_or(Cell::Integer(0), |status| number(status.version)),
                ),
                ("deletion_acked", flag(false)),
                ("unsent", flag(!confirmed)),
                (
                    "status_sequence",
                    Cell::from(status.map(|status| status.sequence_id.to_string())),
                ),
            ],
        ),
        (
            "contents",
            vec![
                ("bundle_key", Cell::Integer(key)),
                ("manifests", text(Some(&content.manifests))),
                ("delete_option", text(content.delete_option.as_ref())),
                ("manifest_configs", text(content.manifest_configs.as_ref())),
                ("executer", text(content.executer.as_ref())),
            ],
        ),
    ];
    if let Some(status) = status {
        rows.push((
            "statuses",
            vec![
                ("bundle_key", Cell::Integer(key)),
                ("version", number(status.version)),
                ("hash", Cell::from(status.hash.clone())),
                ("payload", text(Some(&status.payload))),
                ("stored_at", at(status.at)),
            ],
        ));
    }
    let entry = |deletion: bool, stored_at: Timestamp| {
        vec![
            ("bundle_key", Cell::Integer(key)),
            ("version", number(bundle.version)),
            ("deletion", flag(deletion)),
            ("stored_at", at(stored_at)),
            ("note", Cell::Text(NOTE.into())),
        ]
    };
    let mut made = entry(false, bundle.updated_at);
    let reported = status.filter(|status| status.version == bundle.version);
    if let Some(status) = reported {
        // When it was sent nobody noted; that it was, the status proves.
        let times = [
            ("published_at", Some(status.at)),
            ("acked_at", Some(status.at)),
            ("received_at", status.received_at),
            ("applied_at", status.applied_at),
            ("reported_at", Some(status.at)),
        ];
        made.extend(times.map(|(name, time)| (name, time.map_or(Cell::Null, at))));
    }
    made.push(("attempts", flag(reported.is_some())));
    rows.push(("ledger", made));
    if let Some(since) = bundle.deleted_at {
        let mut deletion = entry(true, since);
        deletion.push(("attempts", flag(false)));
        rows.push(("ledger", deletion));
    }
    rows.into_iter()
        .map(|(name, cells)| (name, row(table(name), cells)))
        .collect()
}

/// The table of this name.
pub(super) fn table(name: &str) -> &'static Table {
    let found = TABLES.iter().find(|table| table.name == name);
    found.unwrap_or(&TABLES[0])
}

/// The cells of a table's columns; those that are not named are null.
fn row(table: &Table, mut cells: Vec<(&'static str, Cell)>) -> Row {
    let mut take = |name: &str| {
        let place = cells.iter().position(|(known, _)| *known == name)?;
        Some(cells.swap_remove(place).1)
    };
    let columns = table.columns.iter();
    columns
        .map(|(name, _)| take(name).unwrap_or(Cell::Null))
        .collect()
}

/// A row by the names of its columns.
pub(super) struct Values(pub(super) &'static Table, pub(super) Row);

// === impl Values ===

impl Values {
    fn cell(&self, name: &str) -> Option<&Cell> {
        let place = self
            .0
            .columns
            .iter()
            .position(|(known, _)| *known == name)?;
        self.1.get(place)
    }

    pub(super) fn integer(&self, name: &str) -> i64 {
        match self.cell(name) {
            Some(Cell::Integer(number)) => *number,
            _ => 0,
        }
    }

    /// What is there, as text.
    pub(super) fn optional(&self, name: &str) -> Option<String> {
        match self.cell(name)? {
            Cell::Null => None,
            Cell::Integer(number) => Some(number.to_string()),
            Cell::Text(text) => Some(text.clone()),
        }
    }

    pub(super) fn text(&self, name: &str) -> String {
        self.optional(name).unwrap_or_default()
    }
}

/// What the ledger says of a version that was put in.
pub(super) const NOTE: &str = "imported from Maestro";
