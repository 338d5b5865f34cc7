//! Two-step shutdown: the first signal drains, the second one — or the end of the grace period — aborts.
//!
//! SIGTERM, SIGINT and SIGHUP are the signals: a daemon gets the first, Ctrl-C sends the second, and a terminal that is
//! closed the third. Nothing is read again on SIGHUP, because mounted files are followed without being told.
//! Signals within 300 ms of the first are that one again: GNU `timeout` signals its child and then the child's group.
//!
//! A component holds a [`Drain`] and, for as long as it has work that must not be cut off, a [`Pending`] with
//! its name. The wait for the end waits for all of them and names those that did not finish.
//! Everything can be triggered by hand, so that tests and a process with many components need no signals.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::signals::{Signals, Stop};
use crate::error::Hint;

mod signals;

/// The owner's end: hands out [`Drain`]s and waits until everybody has finished.
#[derive(Debug)]
pub struct Shutdown {
    drain: Drain,
}

/// A component's end: says when to stop taking work, and lets the component say that it is still busy.
#[derive(Clone)]
pub struct Drain(Arc<Shared>);

/// What a signal does, as a handle: the first call drains, the second aborts.
#[derive(Clone, Debug)]
pub struct Trigger(Drain);

/// Says when to drop everything: after the second signal or at the end of the grace period.
#[derive(Clone, Debug)]
pub struct Abort(CancellationToken);

/// A component that has not finished yet. Dropping it says that it has.
#[derive(Debug)]
#[must_use = "dropping it at once says that the component has already finished"]
pub struct Pending {
    drain: Drain,
    id: u64,
}

/// The process stopped before everything had finished.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("shutdown {cause}{}", Unfinished::list(.pending))]
pub struct Unfinished {
    /// What cut the drain short.
    pub cause: Cause,
    /// The components that had not finished, by name.
    pub pending: Vec<String>,
}

/// What cut a drain short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A second signal (or a second [`Trigger::request`]) arrived.
    SecondRequest,
    /// The grace period, given here, was over.
    GraceOver(Duration),
}

struct Shared {
    drain: CancellationToken,
    abort: CancellationToken,
    pending: watch::Sender<BTreeMap<u64, String>>,
    next_id: AtomicU64,
}

/// Does with a trigger what signals ask for.
struct Listener {
    trigger: Trigger,
    // When a signal began the drain.
    first: Option<Instant>,
}

/// Runs `work` to its end. Once a drain is requested it may take `grace` more, together with every
/// component registered on `drain`; a second request ends it at once.
///
/// # Errors
/// [`Unfinished`] when the work or a component had to be dropped; it names the components.
pub async fn run_until_shutdown<T>(
    drain: &Drain,
    grace: Duration,
    work: impl Future<Output = T>,
) -> Result<T, Unfinished> {
    let cut_short = cut_short(drain, grace);
    // Pinned here, so that what it has registered is still there when the busy ones are named.
    tokio::pin!(cut_short, work);
    let output = tokio::select! {
        output = &mut work => output,
        cause = &mut cut_short => return Err(drain.unfinished(cause)),
    };
    if !drain.is_requested() {
        return Ok(output);
    }
    tokio::select! {
        () = drain.drained() => Ok(output),
        cause = &mut cut_short => Err(drain.unfinished(cause)),
    }
}

// === impl Shutdown ===

impl Shutdown {
    /// Listens for SIGTERM, SIGINT and SIGHUP from now on. Must be called inside a Tokio runtime.
    ///
    /// SIGHUP drains and never cuts a drain short, because a closing terminal sends it more than once; it stays ignored in
    /// a process that was started so (`nohup`). No signal cuts a drain short within 300 ms of the one that began it.
    ///
    /// # Errors
    /// The operating system refused a signal handler.
    pub fn listen() -> io::Result<Self> {
        let mut signals = Signals::listen()?;
        let shutdown = Self::manual();
        let mut listener = Listener::new(shutdown.trigger());
        tokio::spawn(async move {
            // Once the handlers exist the default action is gone, so this lasts as long as the runtime.
            while let Some(stop) = signals.next().await {
                listener.hear(stop);
            }
        });
        Ok(shutdown)
    }

    /// A shutdown that only [`Trigger::request`] starts.
    pub fn manual() -> Self {
        Self {
            drain: Drain::new(),
        }
    }

    /// A handle for a component.
    pub fn drain(&self) -> Drain {
        self.drain.clone()
    }

    /// A handle that does what a signal does.
    pub fn trigger(&self) -> Trigger {
        Trigger(self.drain.clone())
    }

    /// A handle for tasks that must stop at once when draining is over.
    pub fn abort(&self) -> Abort {
        self.drain.abort()
    }

    /// Waits for the first request and then, for at most `grace`, for every registered component.
    ///
    /// # Errors
    /// [`Unfinished`] names the components that did not finish.
    pub async fn finished(&self, grace: Duration) -> Result<(), Unfinished> {
        run_until_shutdown(&self.drain, grace, self.drain.drained()).await
    }
}

// === impl Drain ===

impl Drain {
    fn new() -> Self {
        Self(Arc::new(Shared {
            drain: CancellationToken::new(),
            abort: CancellationToken::new(),
            pending: watch::Sender::new(BTreeMap::new()),
            next_id: AtomicU64::new(0),
        }))
    }

    /// Completes when draining is requested; at once if it already was.
    pub async fn requested(&self) {
        self.0.drain.cancelled().await;
    }

    /// Whether draining was requested.
    pub fn is_requested(&self) -> bool {
        self.0.drain.is_cancelled()
    }

    /// The same as a token, for code that takes one. Cancelling the token requests the drain.
    pub fn token(&self) -> CancellationToken {
        self.0.drain.clone()
    }

    /// The handle of the second step.
    pub fn abort(&self) -> Abort {
        Abort(self.0.abort.clone())
    }

    /// Registers a component whose end is to be waited for. Register before the drain can be requested:
    /// a wait that has already found nothing pending does not start again.
    pub fn register(&self, name: impl Into<String>) -> Pending {
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        let name = name.into();
        self.0
            .pending
            .send_modify(|pending| drop(pending.insert(id, name)));
        Pending {
            drain: self.clone(),
            id,
        }
    }

    /// The names of the components that have not finished, in the order they registered.
    pub fn pending(&self) -> Vec<String> {
        self.0.pending.borrow().values().cloned().collect()
    }

    /// Completes when draining was requested and nothing is pending.
    pub async fn drained(&self) {
        self.requested().await;
        let mut pending = self.0.pending.subscribe();
        // The sender lives in `self`, so the wait cannot fail.
        let _ = pending.wait_for(BTreeMap::is_empty).await;
    }

    /// A drain of its own for one part: it follows this one in both steps, and its trigger stops that part
    /// alone. Components registered on the child are the child's; register one here for the part as a whole.
    pub fn child(&self) -> (Drain, Trigger) {
        let child = Self(Arc::new(Shared {
            drain: self.0.drain.child_token(),
            abort: self.0.abort.child_token(),
            pending: watch::Sender::new(BTreeMap::new()),
            next_id: AtomicU64::new(0),
        }));
        (child.clone(), Trigger(child))
    }

    fn unfinished(&self, cause: Cause) -> Unfinished {
        Unfinished {
            cause,
            pending: self.pending(),
        }
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain")
            .field("requested", &self.is_requested())
            .field("aborted", &self.0.abort.is_cancelled())
            .field("pending", &self.pending())
            .finish()
    }
}

// === impl Trigger ===

impl Trigger {
    /// Does what a signal does: the first call starts the drain, any further one aborts.
    pub fn request(&self) {
        let shared = &self.0.0;
        if shared.drain.is_cancelled() {
            shared.abort.cancel();
        } else {
            shared.drain.cancel();
        }
    }
}

// === impl Listener ===

impl Listener {
    fn new(trigger: Trigger) -> Self {
        Self {
            trigger,
            first: None,
        }
    }

    fn hear(&mut self, stop: Stop) {
        let signal = stop.name();
        if !self.trigger.0.is_requested() {
            self.first = Some(Instant::now());
            info!(signal, "Draining; a second signal stops at once");
        } else if stop == Stop::Hangup || self.first.is_some_and(|at| at.elapsed() < SAME_SIGNAL) {
            return;
        } else {
            warn!(signal, "Stopping at once: second signal");
        }
        self.trigger.request();
    }
}

// === impl Abort ===

impl Abort {
    /// Completes when everything is to be dropped.
    pub async fn requested(&self) {
        self.0.cancelled().await;
    }

    /// Whether everything is to be dropped.
    pub fn is_requested(&self) -> bool {
        self.0.is_cancelled()
    }

    /// The same as a token, for code that takes one.
    pub fn token(&self) -> CancellationToken {
        self.0.clone()
    }
}

// === impl Pending ===

impl Drop for Pending {
    fn drop(&mut self) {
        self.drain
            .0
            .pending
            .send_modify(|pending| drop(pending.remove(&self.id)));
    }
}

// === impl Unfinished ===

impl Unfinished {
    fn list(pending: &[String]) -> String {
        if pending.is_empty() {
            return String::new();
        }
        format!(" while still busy: `{}`", pending.join("`, `"))
    }
}

impl Hint for Unfinished {
    fn hint(&self) -> Option<String> {
        match self.cause {
            Cause::SecondRequest => None,
            Cause::GraceOver(_) => Some(
                "nothing acknowledged is lost; give it a longer grace period to end cleanly".into(),
            ),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SecondRequest => f.write_str("cut short by a second request"),
            Self::GraceOver(grace) => write!(f, "cut short after {grace:?} of grace"),
        }
    }
}

/// Completes when a requested drain may not go on, and then tells everybody who watches [`Abort`].
async fn cut_short(drain: &Drain, grace: Duration) -> Cause {
    drain.requested().await;
    let cause = tokio::select! {
        biased;
        () = drain.0.abort.cancelled() => Cause::SecondRequest,
        () = tokio::time::sleep(grace) => Cause::GraceOver(grace),
    };
    drain.0.abort.cancel();
    cause
}

// Of one wish to stop: longer than a loaded machine takes to deliver both of GNU `timeout`, shorter than a person takes
// to lose patience.
const SAME_SIGNAL: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests;
