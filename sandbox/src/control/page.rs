//! Lists in pages. A marker is the position of the last item in hex, so that the next page continues there although
//! items came or went meanwhile.

use std::fmt::Write as _;

use axum::Json;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::answer::{Answer, Refusal};

/// How operations on certificates and policies ask for a page.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Markers {
    page_size: Option<usize>,
    marker: Option<String>,
    is_ascending_order: Option<bool>,
}

/// How operations on things ask for a page.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Tokens {
    max_results: Option<usize>,
    next_token: Option<String>,
}

/// An item with its position in the list.
pub(super) struct ListItem {
    position: String,
    item: Value,
}

// === impl Markers ===

impl Markers {
    /// A page in the order of creation, the newest first unless asked otherwise.
    pub(super) fn by_date(self, field: &str, all: Vec<ListItem>) -> Answer {
        let ascending = self.is_ascending_order.unwrap_or(false);
        self.page(field, all, ascending)
    }

    /// A page in the order of names.
    pub(super) fn by_name(self, field: &str, all: Vec<ListItem>) -> Answer {
        self.page(field, all, true)
    }

    fn page(self, field: &str, all: Vec<ListItem>, ascending: bool) -> Answer {
        let marker = self.marker.as_deref();
        let size = page_size(self.page_size, (DEFAULT_SIZE, LARGEST))?;
        let (items, next) = cut(all, size, marker, ascending)?;
        Ok(listing(field, items, "nextMarker", next))
    }
}

// === impl Tokens ===

impl Tokens {
    /// A page in the order of names.
    pub(super) fn by_name(self, field: &str, all: Vec<ListItem>) -> Answer {
        self.by_name_within(field, all, (DEFAULT_SIZE, LARGEST))
    }

    /// The same, with another default and largest size of a page.
    pub(super) fn by_name_within(
        self,
        field: &str,
        all: Vec<ListItem>,
        sizes: (usize, usize),
    ) -> Answer {
        let marker = self.next_token.as_deref();
        let size = page_size(self.max_results, sizes)?;
        let (items, next) = cut(all, size, marker, true)?;
        Ok(listing(field, items, "nextToken", next))
    }
}

// === impl ListItem ===

impl ListItem {
    pub(super) fn by_name(name: &str, item: impl Into<Value>) -> Self {
        Self {
            position: name.to_owned(),
            item: item.into(),
        }
    }

    pub(super) fn by_date(created: Timestamp, name: &str, item: Value) -> Self {
        Self {
            position: format!("{:030}/{name}", created.as_nanosecond()),
            item,
        }
    }
}

fn page_size(asked: Option<usize>, (default, largest): (usize, usize)) -> Result<usize, Refusal> {
    let size = asked.unwrap_or(default);
    if !(1..=largest).contains(&size) {
        return Err(Refusal::invalid(format!(
            "page size {size} is not between 1 and {largest}"
        )));
    }
    Ok(size)
}

fn cut(
    mut all: Vec<ListItem>,
    size: usize,
    marker: Option<&str>,
    ascending: bool,
) -> Result<(Vec<Value>, Option<String>), Refusal> {
    all.sort_by(|a, b| a.position.cmp(&b.position));
    if !ascending {
        all.reverse();
    }
    if let Some(marker) = marker {
        let after =
            decode(marker).ok_or_else(|| Refusal::invalid("marker is none that was given out"))?;
        all.retain(|item| match ascending {
            true => item.position > after,
            false => item.position < after,
        });
    }
    let next = (all.len() > size).then(|| encode(&all[size - 1].position));
    all.truncate(size);
    Ok((all.into_iter().map(|item| item.item).collect(), next))
}

fn listing(field: &str, items: Vec<Value>, marker: &str, next: Option<String>) -> Json<Value> {
    let mut body = Map::new();
    body.insert(field.into(), items.into());
    if let Some(next) = next {
        body.insert(marker.into(), next.into());
    }
    Json(body.into())
}

fn encode(position: &str) -> String {
    let mut text = String::with_capacity(2 * position.len());
    for byte in position.bytes() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn decode(marker: &str) -> Option<String> {
    if !marker.is_ascii() || !marker.len().is_multiple_of(2) {
        return None;
    }
    let bytes: Option<Vec<u8>> = (0..marker.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&marker[at..at + 2], 16).ok())
        .collect();
    String::from_utf8(bytes?).ok()
}

// AWS does not document its own; small, so that a client that forgets to page is noticed.
const DEFAULT_SIZE: usize = 25;

/// As in the API reference.
const LARGEST: usize = 250;
