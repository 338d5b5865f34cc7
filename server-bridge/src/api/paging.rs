//! Stable paging of lists while rows are created and deleted: remembers at which row the next page of a reader starts.
//!
//! Clients page by number (`page=2&size=400`) and stop at the first page that is not full. By position alone, a row that
//! is deleted from a page already read moves all others forward, and the next page leaves one out that was there all the
//! time. So the row a page ended with is kept for a while, and the next page starts behind it.
//!
//! What holds: a caller who reads a list in its default order, with one search and size, from one address, at one replica,
//! less than [`QUICK`] from page to page, or less than [`KEPT`] on one connection, is shown every row that was there from the
//! first page to the last. No row is shown twice, unless that caller reads the same list once more less than [`QUICK`]
//! before, or less than [`KEPT`] on the same connection, be it that it stopped half-way; then where one reading is may count
//! for both. Otherwise, and past the bounds below, pages are cut by position.
//!
//! A connection alone does not tell readings apart: two that share a pool of connections swap them, and a row left out is
//! taken for deleted by clients, while one that comes twice is not.
//!
//! One reader cannot take the places of others: when all are taken, whoever has most gives up its oldest.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::store::query::Cursor;

/// Who is where in which list. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct PageCursors {
    open: Arc<Mutex<HashMap<Reading, Vec<PageCursor>>>>,
    hasher: RandomState,
}

/// Who reads a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'r> {
    pub(super) user: &'r str,
    /// With the port, by which its connections differ.
    pub(super) from: SocketAddr,
}

/// One list as one reader reads it, as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Reading {
    /// User and address.
    reader: u64,
    /// Search and size.
    list: u64,
}

/// One page as a reader of a list reads it.
#[derive(Debug)]
pub(super) struct PageRead {
    cursors: PageCursors,
    reading: Reading,
    from: SocketAddr,
    page: u64,
    begins: Option<Cursor>,
}

/// A reader whose next page is known.
#[derive(Clone, Copy, Debug)]
struct PageCursor {
    from: SocketAddr,
    page: u64,
    after: Cursor,
    at: Instant,
}

// === impl PageCursors ===

impl PageCursors {
    /// A page of the list with this search and size.
    pub(super) fn step(&self, reader: Reader<'_>, search: &str, size: u32, page: u64) -> PageRead {
        let reading = self.reading(reader, search, size);
        PageRead {
            cursors: self.clone(),
            reading,
            from: reader.from,
            page,
            begins: self.start(reading, reader.from, page),
        }
    }

    fn reading(&self, reader: Reader<'_>, search: &str, size: u32) -> Reading {
        // Read through a dual-stack socket or not, it is one address.
        let address = reader.from.ip().to_canonical();
        Reading {
            reader: self.hasher.hash_one((reader.user, address)),
            list: self.hasher.hash_one((search, size)),
        }
    }

    /// The row behind which this page starts, if a reader of this list is there.
    fn start(&self, reading: Reading, from: SocketAddr, page: u64) -> Option<Cursor> {
        let mut open = self.open();
        let cursors = open.get_mut(&reading)?;
        cursors.retain(PageCursor::is_fresh);
        let likely = |cursor: &PageCursor| cursor.from == from || cursor.at.elapsed() < QUICK;
        let likely_only = cursors
            .iter()
            .any(|cursor| cursor.page == page && likely(cursor));
        let counts =
            |cursor: &&mut PageCursor| cursor.page == page && (!likely_only || likely(cursor));
        let after = cursors
            .iter_mut()
            .filter(counts)
            .map(|cursor| cursor.after)
            .min()?;
        // Nobody knows which of two readers asks: the one who is asked for later must not start further on.
        for cursor in cursors.iter_mut().filter(counts) {
            cursor.after = after;
        }
        Some(after)
    }

    /// Notes that the page was read, and the row it ended with if it was full; a page that was not is the last.
    fn read(&self, step: &PageRead, end: Option<Cursor>) {
        let (reading, page) = (step.reading, step.page);
        let mut open = self.open();
        if !open.contains_key(&reading) {
            if end.is_none() {
                return;
            }
            if open.len() >= READINGS {
                open.retain(|_, cursors| cursors.iter().any(PageCursor::is_fresh));
            }
            if open.len() >= READINGS
                && let Some(oldest) = oldest_of_most(&open)
            {
                open.remove(&oldest);
            }
        }
        let cursors = open.entry(reading).or_default();
        // Of those who are at this page, one that came meanwhile may be further back, and one that rests may be further on:
        // neither is the one that went on.
        let here = cursors
            .iter()
            .enumerate()
            .filter(|(_, cursor)| cursor.page == page && Some(cursor.after) <= step.begins);
        if let Some((index, _)) =
            here.max_by_key(|(_, cursor)| (cursor.after, cursor.from == step.from))
        {
            cursors.remove(index);
        }
        if let Some(after) = end {
            if cursors.len() >= CURSORS {
                cursors.remove(0);
            }
            cursors.push(PageCursor {
                from: step.from,
                page: page + 1,
                after,
                at: Instant::now(),
            });
        }
        if cursors.is_empty() {
            open.remove(&reading);
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Reading, Vec<PageCursor>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl PageRead ===

impl PageRead {
    /// The row behind which the page starts; by its position without one.
    pub(super) fn start(&self) -> Option<Cursor> {
        self.begins
    }

    /// The page was read to its end: to this row if it was full.
    pub(super) fn done(self, end: Option<Cursor>) {
        self.cursors.read(&self, end);
    }
}

// === impl PageCursor ===

impl PageCursor {
    fn is_fresh(&self) -> bool {
        self.at.elapsed() < KEPT
    }
}

/// Of the reader with most readings the one that rests longest.
fn oldest_of_most(open: &HashMap<Reading, Vec<PageCursor>>) -> Option<Reading> {
    let mut readings: HashMap<u64, usize> = HashMap::new();
    for reading in open.keys() {
        *readings.entry(reading.reader).or_default() += 1;
    }
    let (most, _) = readings.into_iter().max_by_key(|(_, count)| *count)?;
    let last = |cursors: &[PageCursor]| cursors.iter().map(|cursor| cursor.at).max();
    open.iter()
        .filter(|(reading, _)| reading.reader == most)
        .min_by_key(|(_, cursors)| last(cursors))
        .map(|(reading, _)| *reading)
}

// A client that shows pages to people is gone longer; one that reads a whole list takes a second per page.
const KEPT: Duration = Duration::from_secs(60);

// Programs read the next page at once. What another connection left behind longer ago was left for good.
const QUICK: Duration = Duration::from_secs(10);

/// Lists that are being read, by caller and address; about 1 MiB with all their cursors.
const READINGS: usize = 1024;

/// Readings of one list by one caller. Also what is left of those who read one page and no more.
const CURSORS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(address: [u8; 4], port: u16) -> Reader<'static> {
        Reader {
            user: "anonymous",
            from: (address, port).into(),
        }
    }

    /// A page of a list of one row per page, over a connection of this port.
    fn step(cursors: &PageCursors, port: u16, page: u64) -> PageRead {
        cursors.step(reader([10, 0, 0, 1], port), "source='s'", 400, page)
    }

    /// Reads a page over a connection of this port to this row; where it began.
    fn read(cursors: &PageCursors, port: u16, page: u64, end: i64) -> Option<Cursor> {
        let step = step(cursors, port, page);
        let start = step.start();
        step.done(Some(Cursor(end)));
        start
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_starts_behind_the_one_before_for_a_minute() {
        for port in [1, 2] {
            let cursors = PageCursors::default();
            read(&cursors, 1, 1, 400);
            tokio::time::advance(KEPT - Duration::from_millis(1)).await;
            assert_eq!(read(&cursors, port, 2, 801), Some(Cursor(400)));
            assert_eq!(step(&cursors, port, 2).start(), None);
            tokio::time::advance(KEPT).await;
            assert_eq!(step(&cursors, port, 3).start(), None);
        }
    }

    #[test]
    fn other_callers_addresses_searches_and_sizes_are_other_readers() {
        let cursors = PageCursors::default();
        read(&cursors, 1, 1, 400);
        let here = [10, 0, 0, 1];
        for (user, address, search, size) in [
            ("anonymous", [10, 0, 0, 2], "source='s'", 400),
            ("anonymous", here, "source='t'", 400),
            ("anonymous", here, "source='s'", 100),
            ("other", here, "source='s'", 400),
        ] {
            let other = Reader {
                user,
                ..reader(address, 1)
            };
            assert_eq!(cursors.step(other, search, size, 2).start(), None);
        }
        let from = "[::ffff:10.0.0.1]:1".parse().unwrap();
        let mapped = Reader {
            from,
            ..reader(here, 1)
        };
        let mapped = cursors.step(mapped, "source='s'", 400, 2);
        assert_eq!(mapped.start(), Some(Cursor(400)));
    }

    #[test]
    fn of_two_readers_at_one_page_neither_starts_behind_where_it_was_whichever_connection_it_gets()
    {
        for ports in [[1, 2], [2, 1], [1, 1], [3, 4]] {
            let cursors = PageCursors::default();
            read(&cursors, 1, 1, 400);
            read(&cursors, 2, 1, 500);
            for (port, last) in ports.into_iter().zip([800, 810]) {
                assert_eq!(read(&cursors, port, 2, last), Some(Cursor(400)));
            }
            assert_eq!(step(&cursors, ports[0], 3).start(), Some(Cursor(800)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reading_that_another_connection_left_behind_moves_nobody_back() {
        for (rest, start) in [(QUICK - Duration::from_millis(1), 300), (QUICK, 400)] {
            let cursors = PageCursors::default();
            read(&cursors, 1, 1, 300);
            tokio::time::advance(rest).await;
            read(&cursors, 2, 1, 400);
            assert_eq!(read(&cursors, 2, 2, 800), Some(Cursor(start)));
            // It is still there, for whom it belongs to.
            assert_eq!(step(&cursors, 1, 2).start(), Some(Cursor(300)));
            assert_eq!(step(&cursors, 2, 3).start(), Some(Cursor(800)));
        }
    }

    #[test]
    fn a_reader_who_came_meanwhile_is_not_taken_for_the_one_who_went_on() {
        let cursors = PageCursors::default();
        read(&cursors, 1, 1, 500);
        let going = step(&cursors, 1, 2);
        assert_eq!(going.start(), Some(Cursor(500)));
        read(&cursors, 1, 1, 400);
        going.done(Some(Cursor(900)));
        assert_eq!(step(&cursors, 1, 2).start(), Some(Cursor(400)));
    }

    #[test]
    fn the_last_page_ends_a_reading_and_nothing_is_kept_of_it() {
        let cursors = PageCursors::default();
        read(&cursors, 1, 1, 400);
        step(&cursors, 1, 2).done(None);
        assert!(cursors.open().is_empty());
        step(&cursors, 1, 1).done(None);
        assert!(cursors.open().is_empty());
    }

    #[test]
    fn one_reading_of_a_list_past_the_most_takes_the_place_of_the_oldest() {
        let cursors = PageCursors::default();
        for number in 0..=CURSORS as i64 {
            read(&cursors, 1, 1, number);
        }
        let step = step(&cursors, 1, 2);
        assert_eq!(cursors.open()[&step.reading].len(), CURSORS);
        assert_eq!(step.start(), Some(Cursor(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn one_list_past_the_most_takes_the_place_of_the_oldest_of_whoever_reads_most() {
        let cursors = PageCursors::default();
        let victim = || cursors.step(reader([10, 0, 0, 1], 1), "", 400, 2);
        cursors
            .step(reader([10, 0, 0, 1], 1), "", 400, 1)
            .done(Some(Cursor(400)));
        // Each search is a list of its own.
        let greedy = |number: usize, page| {
            let search = format!("id != 'zz{number}'");
            cursors.step(reader([10, 0, 0, 2], 1), &search, 1, page)
        };
        for number in 0..READINGS + 6 {
            greedy(number, 1).done(Some(Cursor(7)));
            tokio::time::advance(Duration::from_millis(5)).await;
        }
        assert_eq!(cursors.open().len(), READINGS);
        assert_eq!(victim().start(), Some(Cursor(400)));
        // And somebody who comes now gets a place.
        let newcomer = |page| cursors.step(reader([10, 0, 0, 3], 1), "", 400, page);
        newcomer(1).done(Some(Cursor(400)));
        assert_eq!(newcomer(2).start(), Some(Cursor(400)));
        for (number, kept) in [(0, None), (7, None), (8, Some(Cursor(7)))] {
            assert_eq!(greedy(number, 2).start(), kept, "{number}");
        }
        tokio::time::advance(KEPT).await;
        let last = cursors.step(reader([10, 0, 0, 4], 1), "", 400, 1);
        last.done(Some(Cursor(400)));
        assert_eq!(cursors.open().len(), 1);
    }
}
