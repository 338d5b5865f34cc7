//! Lists that are read page by page while rows go: where the next page of a reader starts.
//!
//! Clients page by number (`page=2&size=400`) and stop at the first page that is not full. By position alone, a row that
//! is deleted from a page already read moves all others forward, and the next page leaves one out that was there all the
//! time. So the row a page ended with is kept for a while, and the next page starts behind it.
//!
//! What holds: a caller who reads a list in its default order, with one search and size, from one address, at one replica,
//! less than [`KEPT`] from page to page, is shown every row that was there from the first page to the last. No row is
//! shown twice, unless that caller reads the same list once more at the same time; then where one reading is may count for
//! both. Otherwise, and past the bounds below, pages are cut by position.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::store::query::Place;

/// Who is where in which list. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Walks {
    open: Arc<Mutex<HashMap<Reading, Vec<Walk>>>>,
    hasher: RandomState,
}

/// Who reads a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'r> {
    pub(super) user: &'r str,
    pub(super) address: IpAddr,
}

/// One list as one reader reads it, as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Reading(u64);

/// One page as a reader of a list reads it.
#[derive(Debug)]
pub(super) struct Step {
    walks: Walks,
    reading: Reading,
    page: u64,
}

/// A reader whose next page is known.
#[derive(Clone, Copy, Debug)]
struct Walk {
    page: u64,
    after: Place,
    at: Instant,
}

// === impl Walks ===

impl Walks {
    /// A page of the list with this search and size.
    pub(super) fn step(&self, reader: Reader<'_>, search: &str, size: u32, page: u64) -> Step {
        Step {
            walks: self.clone(),
            reading: self.reading(reader, search, size),
            page,
        }
    }

    fn reading(&self, reader: Reader<'_>, search: &str, size: u32) -> Reading {
        // Read through a dual-stack socket or not, it is one address.
        let address = reader.address.to_canonical();
        Reading(self.hasher.hash_one((reader.user, address, search, size)))
    }

    /// The row behind which this page starts, if a reader of this list is there.
    fn start(&self, reading: Reading, page: u64) -> Option<Place> {
        let mut open = self.open();
        let walks = open.get_mut(&reading)?;
        walks.retain(Walk::is_fresh);
        let here = walks.iter_mut().filter(|walk| walk.page == page);
        let after = here.map(|walk| walk.after).min()?;
        // Nobody knows which of two readers asks: the one who is asked for later must not start further on.
        for walk in walks.iter_mut().filter(|walk| walk.page == page) {
            walk.after = after;
        }
        Some(after)
    }

    /// Notes that the page was read, and the row it ended with if it was full; a page that was not is the last.
    fn read(&self, reading: Reading, page: u64, end: Option<Place>) {
        let mut open = self.open();
        if !open.contains_key(&reading) {
            if end.is_none() {
                return;
            }
            if open.len() >= READINGS {
                open.retain(|_, walks| walks.iter().any(Walk::is_fresh));
            }
            if open.len() >= READINGS {
                return;
            }
        }
        let walks = open.entry(reading).or_default();
        // Of those who are at this page, one that came meanwhile may be further back: it is not the one that went on.
        let here = walks
            .iter()
            .enumerate()
            .filter(|(_, walk)| walk.page == page);
        if page > 1
            && let Some((index, _)) = here.max_by_key(|(_, walk)| walk.after)
        {
            walks.remove(index);
        }
        if let Some(after) = end {
            if walks.len() >= WALKS {
                walks.remove(0);
            }
            walks.push(Walk {
                page: page + 1,
                after,
                at: Instant::now(),
            });
        }
        if walks.is_empty() {
            open.remove(&reading);
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Reading, Vec<Walk>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Step ===

impl Step {
    /// The row behind which the page starts; by its position without one.
    pub(super) fn start(&self) -> Option<Place> {
        self.walks.start(self.reading, self.page)
    }

    /// The page was read to its end: to this row if it was full.
    pub(super) fn done(self, end: Option<Place>) {
        self.walks.read(self.reading, self.page, end);
    }
}

// === impl Walk ===

impl Walk {
    fn is_fresh(&self) -> bool {
        self.at.elapsed() < KEPT
    }
}

// A client that shows pages to people is gone longer; one that reads a whole list takes a second per page.
const KEPT: Duration = Duration::from_secs(60);

/// Lists that are being read, by caller and address; about 1 MiB with all their walks.
const READINGS: usize = 1024;

/// Readings of one list by one caller. Also what is left of those who read one page and no more.
const WALKS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(address: [u8; 4]) -> Reader<'static> {
        Reader {
            user: "anonymous",
            address: address.into(),
        }
    }

    fn walks() -> (Walks, Reading) {
        let walks = Walks::default();
        let reading = walks.reading(reader([10, 0, 0, 1]), "source='s'", 400);
        (walks, reading)
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_starts_behind_the_one_before_for_a_minute() {
        let (walks, reading) = walks();
        walks.read(reading, 1, Some(Place(400)));
        tokio::time::advance(KEPT - Duration::from_millis(1)).await;
        assert_eq!(walks.start(reading, 2), Some(Place(400)));
        walks.read(reading, 2, Some(Place(801)));
        assert_eq!(walks.start(reading, 2), None);
        tokio::time::advance(KEPT).await;
        assert_eq!(walks.start(reading, 3), None);
    }

    #[test]
    fn other_callers_addresses_searches_and_sizes_are_other_readers() {
        let (walks, reading) = walks();
        walks.read(reading, 1, Some(Place(400)));
        for (address, search, size) in [
            ([10, 0, 0, 2], "source='s'", 400),
            ([10, 0, 0, 1], "source='t'", 400),
            ([10, 0, 0, 1], "source='s'", 100),
        ] {
            let other = walks.reading(reader(address), search, size);
            assert_eq!(walks.start(other, 2), None);
        }
        let user = "other";
        let other = Reader {
            user,
            ..reader([10, 0, 0, 1])
        };
        assert_eq!(
            walks.start(walks.reading(other, "source='s'", 400), 2),
            None
        );
        let address = "::ffff:10.0.0.1".parse().unwrap();
        let mapped = Reader {
            address,
            ..reader([0; 4])
        };
        assert_eq!(walks.reading(mapped, "source='s'", 400), reading);
    }

    #[test]
    fn of_two_readers_at_one_page_neither_starts_behind_where_it_was() {
        let (walks, reading) = walks();
        walks.read(reading, 1, Some(Place(400)));
        walks.read(reading, 1, Some(Place(500)));
        for last in [800, 810] {
            assert_eq!(walks.start(reading, 2), Some(Place(400)));
            walks.read(reading, 2, Some(Place(last)));
        }
        assert_eq!(walks.start(reading, 3), Some(Place(800)));
    }

    #[test]
    fn a_reader_who_came_meanwhile_is_not_taken_for_the_one_who_went_on() {
        let (walks, reading) = walks();
        walks.read(reading, 1, Some(Place(500)));
        assert_eq!(walks.start(reading, 2), Some(Place(500)));
        walks.read(reading, 1, Some(Place(400)));
        walks.read(reading, 2, Some(Place(900)));
        assert_eq!(walks.start(reading, 2), Some(Place(400)));
    }

    #[test]
    fn the_last_page_ends_a_walk_and_nothing_is_kept_of_it() {
        let (walks, reading) = walks();
        walks.read(reading, 1, Some(Place(400)));
        walks.read(reading, 2, None);
        assert!(walks.open().is_empty());
        walks.read(reading, 1, None);
        assert!(walks.open().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn readers_and_lists_are_kept_up_to_their_bounds_and_one_past_takes_the_place_of_an_old_one()
     {
        let (walks, reading) = walks();
        for number in 0..=WALKS as i64 {
            walks.read(reading, 1, Some(Place(number)));
        }
        assert_eq!(walks.open()[&reading].len(), WALKS);
        assert_eq!(walks.start(reading, 2), Some(Place(1)));
        let list = |number: u32| walks.reading(reader(number.to_be_bytes()), "", 1);
        for number in 1..=READINGS as u32 {
            walks.read(list(number), 1, Some(Place(7)));
        }
        assert_eq!(walks.open().len(), READINGS);
        assert_eq!(walks.start(list(READINGS as u32), 2), None);
        assert_eq!(walks.start(list(READINGS as u32 - 1), 2), Some(Place(7)));
        tokio::time::advance(KEPT).await;
        walks.read(list(READINGS as u32), 1, Some(Place(7)));
        assert_eq!(walks.start(list(READINGS as u32), 2), Some(Place(7)));
        assert_eq!(walks.open().len(), 1);
    }
}
