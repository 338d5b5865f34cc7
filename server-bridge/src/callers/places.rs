//! Places for connections: a bounded number, of which nobody keeps one by doing nothing.
//!
//! **Contract:** when all are taken, a new connection gets the place of one that does nothing: of the oldest without any
//! call whose caller was known, else of the one that has been without such a call for longest. Only if all have calls of
//! known callers there is none.
//! **Invariant:** a connection that lost its place is told at once ([`Place::lost`]) and ends by itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// All places of a listener. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Places {
    most: usize,
    taken: Arc<Mutex<Taken>>,
}

/// A connection's place, free again when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Place(Arc<Held>);

/// A call that is under way, until it is dropped.
#[derive(Debug)]
pub struct Call {
    place: Place,
    known: bool,
}

#[derive(Debug)]
struct Held {
    places: Places,
    number: u64,
    lost: CancellationToken,
    called: AtomicBool,
    known: AtomicBool,
    calls: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    open: HashMap<u64, Entry>,
    /// Who loses its place next, first; behind each turn its number.
    idle: BTreeMap<Turn, u64>,
}

/// Whether a caller was known before, and since when it does nothing.
type Turn = (bool, u64);

#[derive(Debug)]
struct Entry {
    idle: Option<Turn>,
    /// Calls of known callers.
    busy: usize,
    lost: CancellationToken,
}

// === impl Places ===

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            taken: Arc::default(),
        }
    }

    /// A place, if need be another's; `None` if all are in use.
    pub(super) fn take(&self) -> Option<Place> {
        let mut taken = lock(&self.taken);
        if taken.open.len() >= self.most {
            let (_, number) = taken.idle.pop_first()?;
            if let Some(entry) = taken.open.remove(&number) {
                entry.lost.cancel();
            }
        }
        let number = taken.turn();
        let lost = CancellationToken::new();
        let idle = (false, number);
        taken.idle.insert(idle, number);
        let entry = Entry {
            idle: Some(idle),
            busy: 0,
            lost: lost.clone(),
        };
        taken.open.insert(number, entry);
        drop(taken);
        Some(Place(Arc::new(Held {
            places: self.clone(),
            number,
            lost,
            called: AtomicBool::new(false),
            known: AtomicBool::new(false),
            calls: watch::Sender::new(0),
        })))
    }
}

// === impl Place ===

impl Place {
    /// Returns when another connection has got the place.
    pub async fn lost(&self) {
        self.0.lost.cancelled().await;
    }

    /// A call begins, whoever makes it.
    pub fn call(&self) -> Call {
        self.touch();
        self.0.calls.send_modify(|calls| *calls += 1);
        Call {
            place: self.clone(),
            known: false,
        }
    }

    /// There was a call that keeps nothing waiting.
    pub fn touch(&self) {
        self.0.called.store(true, Ordering::Relaxed);
    }

    /// Whether there was any call.
    pub fn is_used(&self) -> bool {
        self.0.called.load(Ordering::Relaxed)
    }

    /// Whether the caller of any call was known.
    pub fn is_known(&self) -> bool {
        self.0.known.load(Ordering::Relaxed)
    }

    /// Whether no call is under way.
    pub fn is_quiet(&self) -> bool {
        *self.0.calls.borrow() == 0
    }

    /// Returns when no call is under way.
    pub async fn quiet(&self) {
        // The sender is here: it does not fail.
        let _ = self.0.calls.subscribe().wait_for(|calls| *calls == 0).await;
    }
}

// === impl Call ===

impl Call {
    /// Its caller is known: its connection keeps its place as long as it lasts.
    pub fn known(&mut self) {
        if std::mem::replace(&mut self.known, true) {
            return;
        }
        let held = &self.place.0;
        held.known.store(true, Ordering::Relaxed);
        let mut taken = lock(&held.places.taken);
        if let Some(entry) = taken.open.get_mut(&held.number) {
            entry.busy += 1;
            if let Some(turn) = entry.idle.take() {
                taken.idle.remove(&turn);
            }
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let held = &self.place.0;
        held.calls.send_modify(|calls| *calls -= 1);
        if !self.known {
            return;
        }
        let mut taken = lock(&held.places.taken);
        let turn = (true, taken.turn());
        let Some(entry) = taken.open.get_mut(&held.number) else {
            return;
        };
        // One that had lost its place before its caller was known is not in here.
        entry.busy -= 1;
        if entry.busy == 0 {
            entry.idle = Some(turn);
            taken.idle.insert(turn, held.number);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut taken = lock(&self.places.taken);
        if let Some(turn) = taken.open.remove(&self.number).and_then(|entry| entry.idle) {
            taken.idle.remove(&turn);
        }
    }
}

// === impl Taken ===

impl Taken {
    fn turn(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

// Nothing under this lock panics half-way.
fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_lost(place: &Place) -> bool {
        place.0.lost.is_cancelled()
    }

    #[test]
    fn who_does_nothing_gives_way_the_unknown_first_and_then_the_idle() {
        let places = Places::new(3);
        let (one, two, three) = (
            places.take().unwrap(),
            places.take().unwrap(),
            places.take().unwrap(),
        );
        let mut call = one.call();
        call.known();
        let stranger = two.call();
        let four = places.take().unwrap();
        assert!(is_lost(&two) && !is_lost(&one) && !is_lost(&three));
        drop((stranger, two));
        // Idle, but known: the others go first.
        drop(call);
        let five = places.take().unwrap();
        assert!(is_lost(&three));
        let calls = [&four, &five].map(|place| {
            let mut call = place.call();
            call.known();
            call
        });
        let six = places.take().unwrap();
        assert!(is_lost(&one));
        let mut last = six.call();
        last.known();
        assert!(places.take().is_none(), "one past those in use");
        drop((calls, last));
        drop((one, three, four, five, six));
        let taken = lock(&places.taken);
        assert!(taken.open.is_empty() && taken.idle.is_empty(), "{taken:?}");
    }
}
