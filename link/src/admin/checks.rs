//! Named readiness checks: the owner of a condition holds a handle and sets it; nothing is polled.

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

/// All checks of one process (or of one component in a process that runs many).
#[derive(Clone, Default)]
pub struct Checks(Arc<Mutex<Vec<Entry>>>);

/// One condition that comes and goes. It begins as failing with `starting`; when the last clone is dropped
/// it fails with `stopped`, because nothing can set it any more.
#[derive(Clone)]
pub struct Check(Arc<Handle>);

/// One step of the start-up. It fails with `starting` until it is dropped, and then disappears: there is
/// nothing to forget.
#[must_use = "dropping it at once says that the start-up step is done"]
pub struct Latch {
    checks: Checks,
    id: u64,
}

/// What one check says at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckOutcome {
    /// The check's name.
    pub name: String,
    /// Whether it passes.
    pub ok: bool,
    /// Why it fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// For how many whole seconds it has passed or failed.
    pub since_seconds: u64,
    /// Whether the request excludes it from the result.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub excluded: bool,
}

/// All checks at one moment; `Display` is the text of `/readyz`, one line per check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether all pass that are not excluded.
    pub ready: bool,
    /// The checks in the order they were added.
    pub checks: Vec<CheckOutcome>,
    /// Names that were to be excluded and are no check's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}

struct Entry {
    id: u64,
    name: String,
    failing: Option<String>,
    since: Instant,
}

struct Handle {
    checks: Checks,
    id: u64,
}

// === impl Checks ===

impl Checks {
    /// No checks yet: ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check, failing with `starting`.
    pub fn add(&self, name: impl Into<String>) -> Check {
        Check(Arc::new(Handle {
            checks: self.clone(),
            id: self.insert(name.into()),
        }))
    }

    /// Adds a start-up step that passes when the handle is dropped.
    pub fn latch(&self, name: impl Into<String>) -> Latch {
        Latch {
            checks: self.clone(),
            id: self.insert(name.into()),
        }
    }

    /// What the checks say at `now`.
    pub fn report(&self, now: Instant) -> Report {
        let checks: Vec<_> = self.lock().iter().map(|entry| entry.outcome(now)).collect();
        Report {
            ready: checks.iter().all(|check| check.ok),
            checks,
            unknown: Vec::new(),
        }
    }

    /// Whether all checks pass.
    pub fn all_ok(&self) -> bool {
        self.lock().iter().all(|entry| entry.failing.is_none())
    }

    fn insert(&self, name: String) -> u64 {
        let mut entries = self.lock();
        let id = entries.last().map_or(0, |entry| entry.id + 1);
        entries.push(Entry {
            id,
            name,
            failing: Some("starting".into()),
            since: Instant::now(),
        });
        id
    }

    fn set(&self, id: u64, failing: Option<String>) {
        if let Some(entry) = self.lock().iter_mut().find(|entry| entry.id == id) {
            // A new reason for the same outage does not restart its clock.
            if entry.failing.is_some() != failing.is_some() {
                entry.since = Instant::now();
            }
            entry.failing = failing;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        // Every change under the lock is complete in itself, so a panic elsewhere leaves it usable.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.lock().iter().map(|entry| &entry.name))
            .finish()
    }
}

// === impl Check ===

impl Check {
    /// The condition holds.
    pub fn ok(&self) {
        self.0.checks.set(self.0.id, None);
    }

    /// The condition does not hold; the reason is shown to every caller, so it must hold no secret.
    pub fn failing(&self, reason: impl Into<String>) {
        self.0.checks.set(self.0.id, Some(reason.into()));
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Check")
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.checks.set(self.id, Some("stopped".into()));
    }
}

// === impl Latch ===

impl Drop for Latch {
    fn drop(&mut self) {
        self.checks.lock().retain(|entry| entry.id != self.id);
    }
}

impl fmt::Debug for Latch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Latch")
    }
}

// === impl Entry ===

impl Entry {
    fn outcome(&self, now: Instant) -> CheckOutcome {
        CheckOutcome {
            name: self.name.clone(),
            ok: self.failing.is_none(),
            reason: self.failing.clone(),
            since_seconds: now.saturating_duration_since(self.since).as_secs(),
            excluded: false,
        }
    }
}

// === impl Report ===

impl Report {
    /// Adds a failing line that no component owns.
    pub(super) fn fail(&mut self, name: &str, reason: String) {
        self.ready = false;
        self.checks.push(CheckOutcome {
            name: name.into(),
            ok: false,
            reason: Some(reason),
            since_seconds: 0,
            excluded: false,
        });
    }

    /// Excludes checks from the result, by their whole names; they are shown all the same. As with kube-apiserver, a
    /// name that is no check's is named in the answer and changes nothing: which checks there are depends on how a
    /// process is set up.
    pub(super) fn exclude<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        for name in names {
            let mut named = self
                .checks
                .iter_mut()
                .filter(|it| it.name == name)
                .peekable();
            if named.peek().is_none() {
                self.unknown.push(name.chars().take(SHOWN_NAME).collect());
            }
            named.for_each(|check| check.excluded = true);
        }
        self.ready = self.checks.iter().all(|check| check.ok || check.excluded);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.checks.is_empty() && self.unknown.is_empty() {
            return f.write_str("ok\n");
        }
        let mut text = String::new();
        for check in &self.checks {
            let name = &check.name;
            let excluded = if check.excluded { " (excluded)" } else { "" };
            match &check.reason {
                None => writeln!(text, "{name} ok{excluded}")?,
                Some(reason) => {
                    // One line per check, whatever a library put into its error text.
                    let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
                    let age = age(Duration::from_secs(check.since_seconds));
                    writeln!(text, "{name} failing: {reason}, since {age}{excluded}")?;
                }
            }
        }
        for name in &self.unknown {
            writeln!(text, "no check `{name}` to exclude")?;
        }
        f.write_str(&text)
    }
}

// Of a name in a request.
const SHOWN_NAME: usize = 64;

/// Two units are enough to judge an outage: `12s`, `3m 5s`, `2h 4m`, `3d 1h`.
fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600, seconds / 60);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{minutes}m {}s", seconds % 60),
        3_600..86_400 => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_begins_as_starting_and_names_its_reason_and_age() {
        let checks = Checks::new();
        let store = checks.add("store");
        let broker = checks.add("broker");
        assert_eq!(
            checks.report(Instant::now()).to_string(),
            "store failing: starting, since 0s\nbroker failing: starting, since 0s\n"
        );
        broker.ok();
        store.failing("connection\nrefused");
        let later = Instant::now() + Duration::from_secs(12);
        assert_eq!(
            checks.report(later).to_string(),
            "store failing: connection refused, since 12s\nbroker ok\n"
        );
        assert!(!checks.all_ok());
    }

    #[test]
    fn another_reason_for_the_same_outage_keeps_its_age() {
        let checks = Checks::new();
        let store = checks.add("store");
        let first = checks.lock()[0].since;
        store.failing("timeout");
        store.failing("connection refused");
        assert_eq!(checks.lock()[0].since, first);
    }

    #[test]
    fn dropped_check_fails_and_dropped_latch_passes() {
        let checks = Checks::new();
        let latch = checks.latch("resync");
        let broker = checks.add("broker");
        broker.ok();
        let clone = broker.clone();
        drop(broker);
        assert!(!checks.all_ok(), "the latch holds");
        drop(latch);
        assert!(checks.all_ok());
        drop(clone);
        assert_eq!(
            checks.report(Instant::now()).to_string(),
            "broker failing: stopped, since 0s\n"
        );
    }

    #[test]
    fn ages_are_short() {
        for (seconds, text) in [
            (5, "5s"),
            (185, "3m 5s"),
            (7_440, "2h 4m"),
            (262_800, "3d 1h"),
        ] {
            assert_eq!(age(Duration::from_secs(seconds)), text);
        }
    }
}
