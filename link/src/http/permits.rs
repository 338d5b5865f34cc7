//! Connection permits of a listener: a bounded number, none of which an idle connection keeps.
//!
//! **Contract:** when all are taken, a new connection gets the permit of an idle one: of the oldest without any
//! call whose caller was known, else of the one that has been without such a call for longest. Only if all have calls of
//! known callers is the new one refused.
//! **Invariant:** a connection that lost its permit is told at once ([`ConnectionPermit::lost`]) and ends by itself.
//! **Invariant:** one caller's calls hold three quarters of the permits at most; a call on a further connection of it is refused.
//! A connection has at most [`HEALTH_CALLS`] unauthenticated calls at once, because a watch of health may last.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// All permits of a listener. Clones share them.
#[derive(Clone, Debug)]
pub struct ConnectionPermits {
    most: usize,
    taken: Arc<Mutex<Taken>>,
}

/// A connection's permit, free again when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct ConnectionPermit(Arc<Permit>);

/// A call that is under way, until it is dropped.
#[derive(Debug)]
pub struct ActiveCall {
    permit: ConnectionPermit,
    /// Its caller's name, empty where nobody is asked; `None` until it is known.
    known: Option<String>,
}

/// An unauthenticated call that is under way, until it is dropped.
#[derive(Debug)]
pub struct HealthCall(ConnectionPermit);

/// One caller's calls hold as many permits as one caller may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this caller's calls keep {most} connections already")]
pub struct PermitsExhausted {
    most: usize,
}

#[derive(Debug)]
struct Permit {
    permits: ConnectionPermits,
    number: u64,
    lost: CancellationToken,
    called: AtomicBool,
    known: AtomicBool,
    calls: watch::Sender<usize>,
    health_calls: AtomicUsize,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    open: HashMap<u64, Entry>,
    /// How many connections have calls of each caller.
    callers: HashMap<String, usize>,
    /// Idle connections in the order in which they lose their permits, with their numbers.
    idle: BTreeMap<EvictionOrder, u64>,
}

/// Whether a caller was known before, and since when it does nothing.
type EvictionOrder = (bool, u64);

#[derive(Debug)]
struct Entry {
    idle: Option<EvictionOrder>,
    /// Calls of known callers, by their names: behind a proxy there are several.
    busy: HashMap<String, usize>,
    lost: CancellationToken,
}

// === impl ConnectionPermits ===

impl ConnectionPermits {
    /// So many at once.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            taken: Arc::default(),
        }
    }

    /// A permit, if need be that of an idle connection; `None` if all are in use.
    pub fn take(&self) -> Option<ConnectionPermit> {
        let mut taken = lock(&self.taken);
        if taken.open.len() >= self.most {
            let (_, number) = taken.idle.pop_first()?;
            if let Some(entry) = taken.open.remove(&number) {
                entry.lost.cancel();
            }
        }
        let number = taken.next_order();
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
        Some(ConnectionPermit(Arc::new(Permit {
            permits: self.clone(),
            number,
            lost,
            called: AtomicBool::new(false),
            known: AtomicBool::new(false),
            calls: watch::Sender::new(0),
            health_calls: AtomicUsize::new(0),
        })))
    }

    /// How many one caller may have.
    fn share(&self) -> usize {
        self.most - self.most / 4
    }
}

// === impl ConnectionPermit ===

impl ConnectionPermit {
    /// Returns when another connection has got the permit.
    pub async fn lost(&self) {
        self.0.lost.cancelled().await;
    }

    /// A call begins, whoever makes it.
    pub fn call(&self) -> ActiveCall {
        self.touch();
        self.0.calls.send_modify(|calls| *calls += 1);
        ActiveCall {
            permit: self.clone(),
            known: None,
        }
    }

    /// A call begins without authentication, which holds no permit; `None` when there are `HEALTH_CALLS` already.
    pub fn health_call(&self) -> Option<HealthCall> {
        self.touch();
        let begun = self.0.health_calls.fetch_update(
            Ordering::Relaxed,
            Ordering::Relaxed,
            |health_calls| (health_calls < HEALTH_CALLS).then_some(health_calls + 1),
        );
        begun.is_ok().then(|| HealthCall(self.clone()))
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

// === impl ActiveCall ===

impl ActiveCall {
    /// Its caller is known: its connection keeps its permit as long as it lasts. `caller` is `None` where nobody is asked.
    ///
    /// # Errors
    /// [`PermitsExhausted`]: this caller has its share of the permits with other connections.
    pub fn known(&mut self, caller: Option<&str>) -> Result<(), PermitsExhausted> {
        if self.known.is_some() {
            return Ok(());
        }
        let held = &self.permit.0;
        let mut taken = lock(&held.permits.taken);
        let taken = &mut *taken;
        if let Some(entry) = taken.open.get_mut(&held.number) {
            let name = caller.unwrap_or_default();
            match entry.busy.get_mut(name) {
                Some(calls) => *calls += 1,
                None => {
                    let connections = taken.callers.get(name).copied().unwrap_or(0);
                    let most = held.permits.share();
                    if caller.is_some() && connections >= most {
                        return Err(PermitsExhausted { most });
                    }
                    taken.callers.insert(name.to_owned(), connections + 1);
                    entry.busy.insert(name.to_owned(), 1);
                }
            }
            if let Some(order) = entry.idle.take() {
                taken.idle.remove(&order);
            }
        }
        held.known.store(true, Ordering::Relaxed);
        self.known = Some(caller.unwrap_or_default().to_owned());
        Ok(())
    }
}

impl Drop for ActiveCall {
    fn drop(&mut self) {
        let held = &self.permit.0;
        held.calls.send_modify(|calls| *calls -= 1);
        let Some(name) = self.known.take() else {
            return;
        };
        let mut taken = lock(&held.permits.taken);
        let order = (true, taken.next_order());
        let taken = &mut *taken;
        // One that had lost its permit before its caller was known is not in here.
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
            entry.idle = Some(order);
            taken.idle.insert(order, held.number);
        }
    }
}

impl Drop for HealthCall {
    fn drop(&mut self) {
        self.0.0.health_calls.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut taken = lock(&self.permits.taken);
        if let Some(order) = taken.open.remove(&self.number).and_then(|entry| entry.idle) {
            taken.idle.remove(&order);
        }
    }
}

// === impl Taken ===

impl Taken {
    fn next_order(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

// Nothing under this lock panics half-way.
fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Questions for health on one connection: a client has one, a proxy one for each of its clients at most.
const HEALTH_CALLS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_holds_three_quarters_of_the_permits_and_others_get_the_rest() {
        let permits = ConnectionPermits::new(4);
        let begin = |caller: Option<&str>| {
            let mut call = permits.take().unwrap().call();
            call.known(caller).map(|()| call)
        };
        let ann: Vec<ActiveCall> = (0..3).map(|_| begin(Some("ann")).unwrap()).collect();
        assert_eq!(
            begin(Some("ann")).unwrap_err(),
            PermitsExhausted { most: 3 }
        );
        // A further call on a connection that it has is no further connection.
        let mut again = ann[0].permit.call();
        again.known(Some("ann")).unwrap();
        let bob = begin(Some("bob")).unwrap();
        assert!(permits.take().is_none());
        drop(ann);
        drop((begin(Some("ann")).unwrap(), begin(Some("ann")).unwrap()));
        drop((again, bob));
        // Where nobody is asked nobody has a share.
        let all: Vec<ActiveCall> = (0..4).map(|_| begin(None).unwrap()).collect();
        drop(all);
        let taken = lock(&permits.taken);
        assert!(
            taken.callers.is_empty() && taken.open.is_empty(),
            "{taken:?}"
        );
    }

    #[test]
    fn a_connection_has_a_few_unauthenticated_calls_at_once() {
        let permit = ConnectionPermits::new(1).take().unwrap();
        let mut health_calls: Vec<HealthCall> = (0..HEALTH_CALLS)
            .map(|_| permit.health_call().unwrap())
            .collect();
        assert!(permit.health_call().is_none());
        health_calls.pop();
        assert!(permit.health_call().is_some() && permit.is_used());
    }

    fn is_lost(permit: &ConnectionPermit) -> bool {
        permit.0.lost.is_cancelled()
    }

    #[test]
    fn who_does_nothing_gives_way_the_unknown_first_and_then_the_idle() {
        let permits = ConnectionPermits::new(3);
        let (one, two, three) = (
            permits.take().unwrap(),
            permits.take().unwrap(),
            permits.take().unwrap(),
        );
        let mut call = one.call();
        call.known(Some("ann")).unwrap();
        let unauthenticated = two.call();
        let four = permits.take().unwrap();
        assert!(is_lost(&two) && !is_lost(&one) && !is_lost(&three));
        drop((unauthenticated, two));
        // Idle, but known: the others go first.
        drop(call);
        let five = permits.take().unwrap();
        assert!(is_lost(&three));
        let calls = [&four, &five].map(|permit| {
            let mut call = permit.call();
            call.known(Some("bob")).unwrap();
            call
        });
        let six = permits.take().unwrap();
        assert!(is_lost(&one));
        let mut last = six.call();
        last.known(Some("eve")).unwrap();
        assert!(permits.take().is_none(), "one past those in use");
        drop((calls, last));
        drop((one, three, four, five, six));
        let taken = lock(&permits.taken);
        assert!(taken.open.is_empty() && taken.idle.is_empty(), "{taken:?}");
    }
}
