//! List requests: parsing of their parameters, and a body that is streamed while rows are read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tracing::error;

use super::error::{ApiError, Code};
use super::paging::{PageCursors, PageRead, Reader};
use super::search;
use crate::store::query::{Column, Filter, Order, Query};
use crate::store::{Page, StoreError};
use crate::validate::{listed, nearest, unknown, unknown_as};

/// How many lists may be written at once: each holds a few batches of rows for as long as its client reads.
#[derive(Clone, Debug)]
pub(super) struct ListLimiter {
    free: Arc<Semaphore>,
    patience: Duration,
}

/// A list request after its parameters were checked.
#[derive(Debug)]
pub(super) struct ListRequest<C> {
    pub(super) query: Query<C>,
    pub(super) fields: Fields,
    page: u64,
    /// As given.
    search: String,
    /// Rows on the pages before, which the query leaves out.
    before: u64,
    step: Option<PageRead>,
}

/// Which members of an item the caller wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fields {
    /// Every one.
    All,
    /// These, and `id`.
    Only(Vec<&'static str>),
}

/// Members that items of a list may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Members {
    /// All of them.
    pub(super) known: &'static [&'static str],
    /// Those that are in a list only if `fields` names them. Go's clients refuse a whole list for one member that their
    /// model does not have (docs/MAESTRO.md §5.2), so whatever is added to it belongs here.
    pub(super) asked_for: &'static [&'static str],
}

// === impl ListLimiter ===

impl Default for ListLimiter {
    fn default() -> Self {
        Self {
            free: Arc::new(Semaphore::new(LISTS)),
            patience: PATIENCE,
        }
    }
}

impl ListLimiter {
    /// Waits for a turn, which ends when it is dropped.
    pub(super) async fn take(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        match timeout(self.patience, self.free.clone().acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(ApiError::busy("too many lists are being read")),
        }
    }
}

// === impl Fields ===

impl Fields {
    /// Whether a member is wanted.
    pub(super) fn wants(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => name == "id" || names.contains(&name),
        }
    }
}

// === impl Members ===

impl Members {
    /// What a list shows to who asks for nothing.
    fn usual(self) -> Fields {
        let usual = self.known.iter().copied();
        Fields::Only(
            usual
                .filter(|name| !self.asked_for.contains(name))
                .collect(),
        )
    }
}

// === impl ListRequest ===

impl<C: Column> ListRequest<C> {
    /// Reads `page`, `size`, `orderBy`, `fields` and `search` (docs/MAESTRO.md §5.2).
    pub(super) fn parse(
        parameters: Vec<(String, String)>,
        members: Members,
        roots: search::Roots,
    ) -> Result<Self, ApiError> {
        let mut page = 1;
        let mut size = DEFAULT_SIZE;
        let mut order = Vec::new();
        let mut fields = members.usual();
        let mut filter = None;
        let mut search = String::new();
        for (name, value) in parameters {
            match name.as_str() {
                "page" => page = page_number(&value)?,
                "size" => size = page_size(&value)?,
                "orderBy" => order = order_keys(&value)?,
                "fields" => fields = field_names(&value, members)?,
                "search" => {
                    filter = search::parse(&value, roots).map_err(|error| {
                        ApiError::new(
                            Code::Search,
                            format!("Failed to parse search query: {error}"),
                        )
                    })?;
                    search = value;
                }
                _ => {
                    return Err(ApiError::bad_request(unknown_as(
                        "query parameter",
                        &name,
                        PARAMETERS,
                    )));
                }
            }
        }
        Ok(Self {
            query: Query {
                filter,
                order,
                offset: (page - 1).saturating_mul(u64::from(size)),
                limit: size,
            },
            fields,
            page,
            search,
            before: 0,
            step: None,
        })
    }

    /// Makes the page start where the one before ended, for a reader who read that. In another order than
    /// that of creation pages are cut by position.
    pub(super) fn continue_reading(&mut self, cursors: &PageCursors, reader: Reader<'_>) {
        if !self.query.order.is_empty() || self.query.limit == 0 {
            return;
        }
        let step = cursors.step(reader, &self.search, self.query.limit, self.page);
        if let Some(place) = step.start() {
            self.narrow(Some(Filter::After(place)));
            self.before = std::mem::take(&mut self.query.offset);
        }
        self.step = Some(step);
    }

    /// Leaves out what this condition does not hold for.
    pub(super) fn narrow(&mut self, condition: Option<Filter<C>>) {
        if let Some(condition) = condition {
            let asked = self.query.filter.take().into_iter();
            self.query.filter = Some(Filter::All(asked.chain([condition]).collect()));
        }
    }

    /// The list as a body that is written row by row: `{"kind", "page", "total", "items", "size"}`. When the
    /// store fails half-way the connection is cut, so that no client takes a part for the whole.
    pub(super) fn respond<T: Send + 'static>(
        self,
        kind: &'static str,
        page: Page<T>,
        turn: OwnedSemaphorePermit,
        render: fn(&T, &Fields, &mut Vec<u8>),
    ) -> Response {
        let head = format!(
            "{{\"kind\":\"{kind}\",\"page\":{},\"total\":{},\"items\":[",
            self.page,
            self.before + page.total
        );
        let limit = self.query.limit as usize;
        let (step, end) = (self.step, page.end);
        let fields = self.fields;
        let written = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&written);
        let items = page.rows.ready_chunks(CHUNK_ROWS).map(move |rows| {
            let mut chunk = Vec::with_capacity(CHUNK_BYTES);
            for row in rows {
                let row = row.inspect_err(|error| {
                    error!(error = link::error::chain(error), "A list broke off");
                })?;
                if written.fetch_add(1, Ordering::Relaxed) > 0 {
                    chunk.push(b',');
                }
                render(&row, &fields, &mut chunk);
            }
            Ok::<_, StoreError>(Bytes::from(chunk))
        });
        let tail = stream::once(async move {
            drop(turn);
            let size = counted.load(Ordering::Relaxed);
            if let Some(step) = step {
                step.done(end.cursor().filter(|_| size == limit));
            }
            Ok(Bytes::from(format!("],\"size\":{size}}}\n")))
        });
        let body = stream::once(async move { Ok(Bytes::from(head)) })
            .chain(items)
            .chain(tail);
        (
            [(header::CONTENT_TYPE, "application/json")],
            Body::from_stream(body),
        )
            .into_response()
    }
}

fn page_number(value: &str) -> Result<u64, ApiError> {
    match value.parse::<u64>() {
        Ok(page) if page >= 1 => Ok(page),
        _ => Err(ApiError::bad_request(format!(
            "query parameter `page` must be a number from 1, not `{}`",
            shown(value)
        ))),
    }
}

fn page_size(value: &str) -> Result<u32, ApiError> {
    let size: i64 = value.parse().map_err(|_| {
        ApiError::bad_request(format!(
            "query parameter `size` must be a number, not `{}`",
            shown(value)
        ))
    })?;
    Ok(u32::try_from(size).map_or(MAX_SIZE, |size| size.min(MAX_SIZE)))
}

fn order_keys<C: Column>(value: &str) -> Result<Vec<Order<C>>, ApiError> {
    let mut keys: Vec<Order<C>> = Vec::new();
    for part in value.split(',').filter(|part| !part.trim().is_empty()) {
        let mut words = part.split_whitespace();
        let name = words.next().unwrap_or_default();
        let column = C::ALL
            .iter()
            .copied()
            .find(|column| column.name() == name)
            .ok_or_else(|| {
                let names: Vec<&str> = C::ALL.iter().map(|column| column.name()).collect();
                let hint = nearest(name, &names).map_or_else(
                    || format!("columns are {}", listed(&names)),
                    |near| format!("did you mean `{near}`?"),
                );
                ApiError::bad_request(format!(
                    "query parameter `orderBy`: unknown column `{}`, {hint}",
                    shown(name)
                ))
            })?;
        let descending = match words.next().map(str::to_lowercase).as_deref() {
            None | Some("asc") => false,
            Some("desc") => true,
            Some(other) => {
                return Err(ApiError::bad_request(format!(
                    "query parameter `orderBy`: direction of `{name}` must be `asc` or `desc`, not `{}`",
                    shown(other)
                )));
            }
        };
        if words.next().is_some() {
            return Err(ApiError::bad_request(format!(
                "query parameter `orderBy`: separate columns by a comma after `{name}`"
            )));
        }
        if keys.iter().all(|key| key.column != column) {
            keys.push(Order { column, descending });
        }
    }
    Ok(keys)
}

fn field_names(value: &str, members: Members) -> Result<Fields, ApiError> {
    let mut names = Vec::new();
    for part in value
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        match members.known.iter().find(|name| **name == part) {
            Some(name) => names.push(*name),
            None => {
                return Err(ApiError::bad_request(format!(
                    "query parameter `fields`: {}",
                    unknown(part, members.known)
                )));
            }
        }
    }
    Ok(if names.is_empty() {
        members.usual()
    } else {
        Fields::Only(names)
    })
}

/// A caller's text in a message, cut to a readable length.
fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}

const PARAMETERS: &[&str] = &["page", "size", "orderBy", "fields", "search"];

const DEFAULT_SIZE: u32 = 100;

/// The longest page (docs/MAESTRO.md §5.2).
const MAX_SIZE: u32 = 65_500;

// Three batches of 16 rows each: 20 MiB of the usual rows (25 KB), 200 MiB of the largest (256 KiB with their status).
const LISTS: usize = 16;
const PATIENCE: Duration = Duration::from_secs(5);

// A batch of the store, so that small rows share a chunk.
const CHUNK_ROWS: usize = 16;
const CHUNK_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_list_past_the_most_waits_and_is_told_unless_one_ends() {
        let limiter = ListLimiter::default();
        let mut taken = Vec::new();
        for _ in 0..LISTS {
            taken.push(limiter.take().await.unwrap());
        }
        let refused = limiter.take().await.unwrap_err();
        assert_eq!(
            refused.reason(),
            "too many lists are being read, try again later"
        );
        let (next, ()) = tokio::join!(limiter.take(), async { drop(taken.pop()) });
        assert!(next.is_ok());
    }
}
