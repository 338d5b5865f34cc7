//! The rows of a page whose keys are known, read a batch at a time as they are taken.

use std::collections::HashMap;
use std::future::Future;

use futures_util::stream::{self, BoxStream, StreamExt};

use super::rows::Cells;
use super::to_its_end;
use crate::store::Bundle;
use crate::store::progress::Progress;
use crate::store::{PageEnd, SPARE_ROWS, StoreError};

/// Bundles that were read, with their keys, in the order of `keys`, and how far they have come where that was asked for.
pub(in crate::store) fn in_order<R: Cells>(
    keys: &[i64],
    found: &[R],
    mut progress: HashMap<i64, Progress>,
) -> Result<Vec<(i64, Bundle)>, StoreError> {
    let mut bundles = Vec::with_capacity(found.len());
    for row in found {
        let key = row.integer("key")?;
        let place = keys.iter().position(|k| *k == key);
        let mut bundle = super::rows::bundle(row)?;
        bundle.progress = progress.remove(&key);
        bundles.push((place, (key, bundle)));
    }
    bundles.sort_by_key(|(place, _)| *place);
    Ok(bundles.into_iter().map(|(_, bundle)| bundle).collect())
}

/// How many keys more than `limit` a page is chosen with; who only counts is shown none.
pub(in crate::store) fn spare(limit: u32) -> u32 {
    if limit > 0 { SPARE_ROWS } else { 0 }
}

/// The first `limit` of these rows that are still there when they are read, each with its key. Those behind them are read
/// only if some are not.
pub(in crate::store) fn rows<T, R, F>(
    keys: &[i64],
    limit: u32,
    read: R,
) -> (PageEnd, BoxStream<'static, Result<T, StoreError>>)
where
    T: Send + 'static,
    R: Fn(Vec<i64>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Vec<(i64, T)>, StoreError>> + Send + 'static,
{
    let limit = limit as usize;
    let (page, spare) = keys.split_at(keys.len().min(limit));
    let batches =
        |keys: &[i64]| -> Vec<Vec<i64>> { keys.chunks(BATCH).map(<[i64]>::to_vec).collect() };
    let ahead = read.clone();
    let end = PageEnd::default();
    let noted = end.clone();
    let rows = stream::iter(batches(page))
        .map(move |keys| to_its_end(ahead(keys)))
        .buffered(AHEAD)
        .chain(stream::iter(batches(spare)).then(move |keys| to_its_end(read(keys))))
        .flat_map(|batch| {
            stream::iter(match batch {
                Ok(rows) => rows.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            })
        })
        .take(limit)
        .map(move |row| {
            row.map(|(key, row)| {
                noted.note(key);
                row
            })
        })
        .boxed();
    (end, rows)
}

// Rows per read: enough to hide the cost of a statement, 16 × 500 KiB at most.
const BATCH: usize = 16;

// One batch is read while the other is written.
const AHEAD: usize = 2;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::store::query::Cursor;

    const LIMIT: u32 = 400;

    /// What is read of a page when so many of its rows go before they are; with where it ends, and how many were read.
    async fn read(gone: i64) -> (usize, Option<Cursor>, usize) {
        let keys: Vec<i64> = (1..=i64::from(LIMIT + spare(LIMIT))).collect();
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let (end, rows) = rows(&keys, LIMIT, move |keys| {
            counted.fetch_add(keys.len(), Ordering::Relaxed);
            let left = keys.into_iter().filter(|key| *key > gone);
            std::future::ready(Ok(left.map(|key| (key, ())).collect()))
        });
        assert_eq!(end.cursor(), None);
        let rows = rows.collect::<Vec<_>>().await.len();
        (rows, end.cursor(), asked.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn a_page_is_full_although_rows_go_while_it_is_read_and_short_one_past_the_spare_ones() {
        assert_eq!(read(0).await, (400, Some(Cursor(400)), 400));
        assert_eq!(read(1).await, (400, Some(Cursor(401)), 416));
        assert_eq!(read(256).await, (400, Some(Cursor(656)), 656));
        assert_eq!(read(257).await, (399, Some(Cursor(656)), 656));
    }
}
