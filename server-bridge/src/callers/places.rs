//! Places for connections: a bounded number, of which nobody keeps one by doing nothing.
//!
//! **Contract:** when all are taken, a new connection gets the place of one that does nothing: of the oldest without any
//! call whose caller was known, else of the one that has been without such a call for longest. Only if all have calls of
//! known callers there is none.
//! **Invariant:** a connection that lost its place is told at once ([`Place::lost`]) and ends by itself.
//! **Invariant:** one caller's calls keep three quarters of the places at most; further connections of it do nothing here.
//! Of calls whose caller nobody asks for a connection has [`PROBES`] at once, because such a one may last.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
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
    /// Its caller's name, empty where nobody is asked; `None` until it is known.
    known: Option<String>,
}

/// A call whose caller is not asked for, until it is dropped.
#[derive(Debug)]
pub struct Probe(Place);

/// A caller's connections have as many places as one caller may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this caller's calls keep {most} connections already")]
pub struct Full {
    most: usize,
}

#[derive(Debug)]
struct Held {
    places: Places,
    number: u64,
    lost: CancellationToken,
    called: AtomicBool,
    known: AtomicBool,
    calls: watch::Sender<usize>,
    probes: AtomicUsize,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    open: HashMap<u64, Entry>,
    /// How many connections have calls of each caller.
    callers: HashMap<String, usize>,
    /// Who loses its place next, first; behind each turn its number.
    idle: BTreeMap<Turn, u64>,
}

/// Whether a caller was known before, and since when it does nothing.
type Turn = (bool, u64);

#[derive(Debug)]
struct Entry {
    idle: Option<Turn>,
    /// Calls of known callers, by their names: behind a proxy there are several.
    busy: HashMap<String, usize>,
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
            busy: HashMap::new(),
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
            probes: AtomicUsize::new(0),
        })))
    }

    /// How many one caller may have.
    fn share(&self) -> usize {
        self.most - self.most / 4
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
            known: None,
        }
    }

    /// A call begins that nobody is asked for and that keeps no place; `None` when there are [`PROBES`] already.
    pub fn probe(&self) -> Option<Probe> {
        self.touch();
        let begun = self
            .0
            .probes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |probes| {
                (probes < PROBES).then_some(probes + 1)
            });
        begun.is_ok().then(|| Probe(self.clone()))
    }

    fn touch(&self) {
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
    /// Its caller is known: its connection keeps its place as long as it lasts. `caller` is `None` where nobody is asked.
    ///
    /// # Errors
    /// [`Full`]: this caller has its share of the places with other connections.
    pub fn known(&mut self, caller: Option<&str>) -> Result<(), Full> {
        if self.known.is_some() {
            return Ok(());
        }
        let held = &self.place.0;
        let mut taken = lock(&held.places.taken);
        let taken = &mut *taken;
        if let Some(entry) = taken.open.get_mut(&held.number) {
            let name = caller.unwrap_or_default();
            match entry.busy.get_mut(name) {
                Some(calls) => *calls += 1,
                None => {
                    let connections = taken.callers.get(name).copied().unwrap_or(0);
                    let most = held.places.share();
                    if caller.is_some() && connections >= most {
                        return Err(Full { most });
                    }
                    taken.callers.insert(name.to_owned(), connections + 1);
                    entry.busy.insert(name.to_owned(), 1);
                }
            }
            if let Some(turn) = entry.idle.take() {
                taken.idle.remove(&turn);
            }
        }
        held.known.store(true, Ordering::Relaxed);
        self.known = Some(caller.unwrap_or_default().to_owned());
        Ok(())
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let held = &self.place.0;
        held.calls.send_modify(|calls| *calls -= 1);
        let Some(name) = self.known.take() else {
            return;
        };
        let mut taken = lock(&held.places.taken);
        let turn = (true, taken.turn());
        let taken = &mut *taken;
        // One that had lost its place before its caller was known is not in here.
        let Some(entry) = taken.open.get_mut(&held.number) else {
            return;
        };
        match entry.busy.get_mut(&name) {
            Some(calls) if *calls > 1 => *calls -= 1,
            _ => {
                entry.busy.remove(&name);
                let connections = taken.callers.get_mut(&name);
                match connections {
                    Some(connections) if *connections > 1 => *connections -= 1,
                    _ => {
                        taken.callers.remove(&name);
                    }
                }
            }
        }
        if entry.busy.is_empty() {
            entry.idle = Some(turn);
            taken.idle.insert(turn, held.number);
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.0.0.probes.fetch_sub(1, Ordering::Relaxed);
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

/// Questions for health on one connection: a client has one, a proxy one for each of its clients at most.
const PROBES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_keeps_three_quarters_of_the_places_and_others_get_the_rest() {
        let places = Places::new(4);
        let begin = |caller: Option<&str>| {
            let mut call = places.take().unwrap().call();
            call.known(caller).map(|()| call)
        };
        let ann: Vec<Call> = (0..3).map(|_| begin(Some("ann")).unwrap()).collect();
        assert_eq!(begin(Some("ann")).unwrap_err(), Full { most: 3 });
        // A further call on a connection that it has is no further connection.
        let mut again = ann[0].place.call();
        again.known(Some("ann")).unwrap();
        let bob = begin(Some("bob")).unwrap();
        assert!(places.take().is_none());
        drop(ann);
        drop((begin(Some("ann")).unwrap(), begin(Some("ann")).unwrap()));
        drop((again, bob));
        // Where nobody is asked nobody has a share.
        let all: Vec<Call> = (0..4).map(|_| begin(None).unwrap()).collect();
        drop(all);
        let taken = lock(&places.taken);
        assert!(
            taken.callers.is_empty() && taken.open.is_empty(),
            "{taken:?}"
        );
    }

    #[test]
    fn a_connection_has_a_few_calls_that_nobody_is_asked_for() {
        let place = Places::new(1).take().unwrap();
        let mut probes: Vec<Probe> = (0..PROBES).map(|_| place.probe().unwrap()).collect();
        assert!(place.probe().is_none());
        probes.pop();
        assert!(place.probe().is_some() && place.is_used());
    }

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
        call.known(Some("ann")).unwrap();
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
            call.known(Some("bob")).unwrap();
            call
        });
        let six = places.take().unwrap();
        assert!(is_lost(&one));
        let mut last = six.call();
        last.known(Some("eve")).unwrap();
        assert!(places.take().is_none(), "one past those in use");
        drop((calls, last));
        drop((one, three, four, five, six));
        let taken = lock(&places.taken);
        assert!(taken.open.is_empty() && taken.idle.is_empty(), "{taken:?}");
    }
}
