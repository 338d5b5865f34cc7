//! Follows a mounted identity and publishes each new good set (docs/IOT-CORE.md §4, the watch recipe).
//!
//! An event in the *directory* wakes (a watch on the file goes silent after the first rename), a timer is the
//! safety net, and both run the same look: read, compare by hash, check, publish. A set that does not load
//! (torn, expired, damaged) is reported once per distinct content, looked at again soon, and never published.

mod events;
mod limit;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch as channel;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::events::Events;
use super::location::Contents;
use super::{Digest, Identity, IdentityError, IdentityMetrics, Location};
use crate::clock::{Clock, rfc3339_seconds};
use crate::error::{Hint, chain};

/// How closely the files are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchOptions {
    /// Time between looks when no event comes.
    pub poll_interval: Duration,
    /// How long the directory must be quiet after an event before the files are read.
    pub debounce: Duration,
}

/// Why the files are not what is in use, or why what is in use is no good any more.
#[derive(Clone, Debug)]
pub struct IdentityProblem {
    /// When it was first seen.
    pub since: Timestamp,
    /// What it is.
    pub error: Arc<IdentityError>,
}

/// The task that follows one identity. Does nothing until [`Watcher::run`] is polled.
pub struct Watcher {
    location: Location,
    clock: Clock,
    options: WatchOptions,
    metrics: IdentityMetrics,
    events: Events,
    published: channel::Sender<Arc<Identity>>,
    problem: channel::Sender<Option<IdentityProblem>>,
    reported: Option<Report>,
}

/// Loads the first set and prepares to follow it. The receiver always holds the newest good set.
///
/// Fails when there is no good set to begin with.
pub fn watch(
    location: Location,
    clock: Clock,
    options: WatchOptions,
    metrics: IdentityMetrics,
) -> Result<(channel::Receiver<Arc<Identity>>, Watcher), IdentityError> {
    let mut events = Events::new(location.directories());
    // Watching begins before reading, so that no change falls in between.
    events.arm();
    let identity = Identity::load(&location, clock.now())?;
    metrics.in_use(identity.describe());
    metrics.problem(false);
    let (published, receiver) = channel::channel(Arc::new(identity));
    let watcher = Watcher {
        location,
        clock,
        options: options.bounded(),
        metrics,
        events,
        published,
        problem: channel::Sender::new(None),
        reported: None,
    };
    Ok((receiver, watcher))
}

// What a report was about, so that the same thing is not said at every look.
type Report = (Option<Digest>, String);

enum Observation {
    Unchanged,
    Good(Box<Identity>),
    Bad(Option<Digest>, IdentityError),
}

// === impl WatchOptions ===

impl Default for WatchOptions {
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_secs(30),
            debounce: Duration::from_secs(1),
        }
    }
}

impl WatchOptions {
    fn bounded(self) -> Self {
        Self {
            poll_interval: self.poll_interval.max(MIN_PAUSE),
            debounce: self.debounce,
        }
    }

    /// Pause before a refused set is looked at again: its second half may only be late.
    fn retry(self) -> Duration {
        (2 * self.debounce).clamp(MIN_PAUSE, self.poll_interval)
    }
}

// === impl IdentityProblem ===

impl fmt::Display for IdentityProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} (since {})",
            chain(self.error.as_ref()),
            rfc3339_seconds(self.since)
        )
    }
}

// === impl Watcher ===

impl Watcher {
    /// The last problem, `None` while the files and the set in use are the same and valid.
    pub fn problem(&self) -> channel::Receiver<Option<IdentityProblem>> {
        self.problem.subscribe()
    }

    /// Follows the files until `drain` is cancelled.
    pub async fn run(mut self, drain: CancellationToken) {
        // The first look comes at once: the files may have changed between `watch` and here.
        loop {
            let pause = tokio::select! {
                () = drain.cancelled() => return,
                pause = self.look() => pause,
            };
            tokio::select! {
                () = drain.cancelled() => return,
                () = self.wake(pause) => {}
            }
        }
    }

    /// Returns when the files should be looked at: after an event and the quiet that follows it, or after `pause`.
    async fn wake(&self, pause: Duration) {
        tokio::select! {
            () = sleep(pause) => return,
            () = self.events.next() => {}
        }
        let deadline = Instant::now() + MAX_DEBOUNCES * self.options.debounce;
        while Instant::now() < deadline {
            let quiet = (Instant::now() + self.options.debounce).min(deadline);
            if timeout_at(quiet, self.events.next()).await.is_err() {
                return;
            }
        }
    }

    /// Looks at the files once and returns the pause before the next look.
    async fn look(&mut self) -> Duration {
        self.events.arm();
        let now = self.clock.now();
        let current = self.published.borrow().clone();
        let location = self.location.clone();
        let digest = current.digest();
        // Off the runtime: a mount can hang.
        let observed = tokio::task::spawn_blocking(move || observe(&location, digest, now)).await;
        match observed {
            // The set in use stays; the next look may see other files.
            Err(ended) if ended.is_panic() => {
                error!(location = %self.location, "Looking at the identity files panicked; they are looked at again later");
            }
            // Cancelled, because the runtime is going down.
            Err(_) => {}
            Ok(Observation::Good(identity)) => self.accept(*identity),
            Ok(Observation::Bad(digest, error)) => self.refuse(digest, error, now),
            Ok(Observation::Unchanged) if current.describe().is_expired(now) => {
                let error = IdentityError::Expired {
                    path: current.files().certificate.clone(),
                    not_after: current.describe().not_after,
                    now,
                };
                self.refuse(Some(digest), error, now);
            }
            Ok(Observation::Unchanged) => {
                self.metrics.unchanged();
                if self.clear() {
                    info!(location = %self.location, "Identity files hold the set in use again");
                }
            }
        }
        if self.problem.borrow().is_some() {
            self.options.retry()
        } else {
            self.options.poll_interval
        }
    }

    fn accept(&mut self, identity: Identity) {
        let description = identity.describe();
        info!(
            location = %self.location,
            certificate.fingerprint = %description.fingerprint,
            certificate.not_after = %rfc3339_seconds(description.not_after),
            "New identity loaded: {description}"
        );
        self.metrics.accepted();
        self.metrics.in_use(description);
        self.clear();
        self.published.send_replace(Arc::new(identity));
    }

    fn refuse(&mut self, digest: Option<Digest>, error: IdentityError, now: Timestamp) {
        let report = (digest, subject(&error));
        if self.reported.as_ref() == Some(&report) {
            return;
        }
        warn!(
            location = %self.location,
            hint = error.hint(),
            "New identity files refused, the set in use stays: {}",
            chain(&error)
        );
        self.metrics.refused();
        self.metrics.problem(true);
        self.reported = Some(report);
        self.problem.send_replace(Some(IdentityProblem {
            since: now,
            error: Arc::new(error),
        }));
    }

    /// Forgets the problem; says whether there was one.
    fn clear(&mut self) -> bool {
        self.metrics.problem(false);
        self.reported = None;
        self.problem
            .send_if_modified(|problem| problem.take().is_some())
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher")
            .field("location", &self.location)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

fn observe(location: &Location, current: Digest, now: Timestamp) -> Observation {
    let contents = match Contents::read(location) {
        Ok(contents) => contents,
        Err(error) => return Observation::Bad(None, error),
    };
    if contents.digest() == current {
        return Observation::Unchanged;
    }
    match Identity::check(&contents, now) {
        Ok(identity) => Observation::Good(Box::new(identity)),
        Err(error) => Observation::Bad(Some(contents.digest()), error),
    }
}

/// The text of an error without what changes from look to look.
fn subject(error: &IdentityError) -> String {
    match error {
        IdentityError::Expired { .. } => "expired".into(),
        IdentityError::NotYetValid { .. } => "not yet valid".into(),
        other => other.to_string(),
    }
}

// Whatever the options say, no two looks of a timer follow each other faster than this.
const MIN_PAUSE: Duration = Duration::from_millis(20);

// A directory that never goes quiet is read after so many debounce times all the same.
const MAX_DEBOUNCES: u32 = 5;

#[cfg(test)]
mod tests;
