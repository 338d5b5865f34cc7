//! The column `search` of PostgreSQL, derived from a row. Pure.

use super::super::Labels;
use super::super::json::Json;
use super::super::postgres::{bundle_search, labels_search};
use super::cells::{Cell, Row};

pub(super) fn of_consumer(row: &Row) -> Option<String> {
    let labels: Labels = serde_json::from_str(text(row, LABELS)?).unwrap_or_default();
    Some(labels_search(&labels))
}

pub(super) fn of_bundle(row: &Row) -> Option<String> {
    let metadata = Json::trusted(text(row, METADATA)?.to_owned());
    bundle_search(Some(&metadata))
}

fn text(row: &Row, column: usize) -> Option<&str> {
    match row.get(column)? {
        Cell::Text(text) => Some(text),
        _ => None,
    }
}

// Places in the tables of `super::tables`.
const LABELS: usize = 3;
const METADATA: usize = 8;

#[cfg(test)]
mod tests {
    use super::super::tables::TABLES;
    use super::*;

    #[test]
    fn the_columns_are_where_they_are_looked_for() {
        assert_eq!(TABLES[0].columns[LABELS].0, "labels");
        assert_eq!(TABLES[1].columns[METADATA].0, "metadata");
    }
}
