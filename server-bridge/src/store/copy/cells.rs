//! Values independent of an engine, and the checksum of a table.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::super::Labels;

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    Null,
    Integer(i64),
    Text(String),
}

/// The values of a table's columns, in their order.
pub(super) type Row = Vec<Cell>;

/// Labels as both engines keep them.
pub(super) fn text_of_labels(labels: &Labels) -> String {
    // A map of texts is always JSON.
    serde_json::to_string(labels).unwrap_or_else(|_| "{}".into())
}

/// Counts rows and sums what they hold, in the order in which they come.
#[derive(Default)]
pub(super) struct Sum {
    rows: u64,
    hash: Sha256,
}

// === impl Cell ===

impl Cell {
    /// Bytes that it takes, about.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Null | Self::Integer(_) => 8,
            Self::Text(text) => text.len() + 8,
        }
    }
}

impl From<Option<i64>> for Cell {
    fn from(value: Option<i64>) -> Self {
        value.map_or(Self::Null, Self::Integer)
    }
}

impl From<Option<bool>> for Cell {
    fn from(value: Option<bool>) -> Self {
        value.map(i64::from).into()
    }
}

impl From<Option<String>> for Cell {
    fn from(value: Option<String>) -> Self {
        match value {
            None => Self::Null,
            // The one character that PostgreSQL does not take; only a reason from elsewhere could hold it.
            Some(text) if text.contains('\0') => Self::Text(text.replace('\0', "\u{fffd}")),
            Some(text) => Self::Text(text),
        }
    }
}

// === impl Sum ===

impl Sum {
    pub(super) fn add(&mut self, row: &Row) {
        self.rows += 1;
        for cell in row {
            match cell {
                Cell::Null => self.hash.update([0]),
                Cell::Integer(number) => {
                    self.hash.update([1]);
                    self.hash.update(number.to_le_bytes());
                }
                Cell::Text(text) => {
                    self.hash.update([2]);
                    self.hash.update((text.len() as u64).to_le_bytes());
                    self.hash.update(text);
                }
            }
        }
    }

    /// How many rows, and what they hold as 16 digits.
    pub(super) fn end(self) -> (u64, String) {
        let mut digits = String::new();
        for byte in &self.hash.finalize()[..8] {
            // Writing to a text cannot fail.
            let _ = write!(digits, "{byte:02x}");
        }
        (self.rows, digits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(rows: &[&[Cell]]) -> (u64, String) {
        let mut sum = Sum::default();
        rows.iter().for_each(|row| sum.add(&row.to_vec()));
        sum.end()
    }

    #[test]
    fn a_sum_tells_values_their_kinds_and_their_bounds_apart() {
        let text = |text: &str| Cell::Text(text.to_owned());
        let different = [
            sum(&[&[text("ab"), text("c")]]),
            sum(&[&[text("a"), text("bc")]]),
            sum(&[&[text("abc"), Cell::Null]]),
            sum(&[&[Cell::Null, text("abc")]]),
            sum(&[&[Cell::Integer(0), Cell::Null]]),
            sum(&[]),
        ];
        for (place, one) in different.iter().enumerate() {
            for other in &different[place + 1..] {
                assert_ne!(one.1, other.1);
            }
        }
        let nul: Cell = Some("a\0".to_owned()).into();
        assert_eq!(nul, text("a\u{fffd}"));
    }
}
