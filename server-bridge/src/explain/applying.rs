//! Why what the agent reported on is not applied, not available, or not gone.

use jiff::Timestamp;
use link::bundle::{Condition, Status};

use super::blocker::{Blocker, blocker, hint, verb};
use super::story::{Stay, UnmetCondition};
use super::words::{self, APPLIED, AVAILABLE, DELETED, REPORTED};
use super::{DELETION, OLDER_STORE, UNAPPLIED, UNAVAILABLE};
use crate::store::{AHEAD_REASON, BundleFacts};

/// What the latest status says.
pub(super) struct Reported {
    status: Status,
    version: i64,
    /// The bundle's present version.
    present: i64,
}

// === impl Reported ===

impl Reported {
    /// The latest status, if there is one that can be read.
    pub(super) fn of(facts: &BundleFacts) -> Option<Self> {
        let stored = facts.bundle.status.as_ref()?;
        let status = serde_json::from_str(stored.payload.as_str()).ok()?;
        Some(Self {
            status,
            version: i64::from(stored.version.get()),
            present: i64::from(facts.bundle.version.get()),
        })
    }

    /// Whether it says something of the present version, or of one that the store does not have.
    pub(super) fn counts(&self) -> bool {
        self.is_of_present() || self.ahead().is_some()
    }

    /// When the work became available, if it is.
    pub(super) fn available_at(&self) -> Option<Timestamp> {
        let condition = self.judged("Available")?;
        let at = condition.last_transition_time.parse().ok();
        at.filter(|_| self.is_of_present() && condition.is_true())
    }

    fn is_of_present(&self) -> bool {
        self.version == self.present
    }

    /// What this side says of a newer version that the agent holds, until the bundle was raised above it.
    fn ahead(&self) -> Option<&Condition> {
        let mut conditions = self.status.conditions.iter();
        conditions.find(|condition| {
            condition.reason == AHEAD_REASON && condition.observed_generation == self.present
        })
    }

    /// A condition of the work that was judged on the version of the status.
    fn judged(&self, kind: &str) -> Option<&Condition> {
        let condition = self.status.condition(kind)?;
        let of = condition.observed_generation;
        (of == 0 || of == self.version).then_some(condition)
    }

    /// Conditions that do not hold, and those that tell of a hindrance, of the work first.
    pub(super) fn unmet(&self) -> Vec<UnmetCondition> {
        let work = self.status.conditions.iter();
        let work = work.filter(|condition| is_unmet(condition));
        let mut found: Vec<_> = work.map(|condition| shown(None, condition)).collect();
        for manifest in &self.status.resource_status {
            let meta = &manifest.resource_meta;
            let object = words::object(&meta.kind, &meta.namespace, &meta.name);
            let of_it = manifest.conditions.iter().filter(|it| is_unmet(it));
            found.extend(of_it.map(|condition| shown(Some(object.clone()), condition)));
        }
        found.truncate(MOST);
        found
    }

    /// What holds up the present version; `None` if it is applied and available.
    pub(super) fn waits(&self, facts: &BundleFacts, since: Timestamp) -> Option<Stay> {
        let unmet = self.unmet();
        if let Some(ahead) = self.ahead() {
            let next = "nothing: what the store has is sent again under a version above it. Where it stays, see that no other bridge speaks for this source (docs/OPERATIONS.md, after a restore)";
            let why = format!(
                "the cluster holds a newer version than the store: {}",
                ahead.message
            );
            return Some(Stay::new(OLDER_STORE, REPORTED, since, why, next));
        }
        if let Some(paused) = self.status.condition("Paused").filter(|it| it.is_true())
            && !self.judged("Applied").is_some_and(Condition::is_true)
        {
            let why = format!("somebody paused it in the cluster: {}", paused.message);
            let next = "remove the annotation `work.open-cluster-management.io/paused` in the cluster (docs/KUBERNETES.md)";
            return Some(Stay::new(UNAPPLIED, APPLIED, since, why, next));
        }
        let applied = self.judged("Applied");
        if !applied.is_some_and(Condition::is_true) {
            let (why, next) = told(facts, applied, &unmet, "Applied");
            return Some(Stay::new(UNAPPLIED, APPLIED, since, why, next));
        }
        let available = self.judged("Available");
        if !available.is_some_and(Condition::is_true) {
            let (why, next) = told(facts, available, &unmet, "Available");
            return Some(Stay::new(UNAVAILABLE, AVAILABLE, since, why, next));
        }
        None
    }

    /// What holds up the deletion, if the agent says that it is at it.
    pub(super) fn deleting(&self, since: Timestamp) -> Option<Stay> {
        let deleting = self
            .status
            .condition("Deleting")
            .filter(|it| it.is_true())?;
        let unmet = self.unmet();
        let objects = unmet
            .iter()
            .filter(|it| it.condition == "Deleting" && it.object.is_some());
        let mut objects: Vec<&str> = objects.map(|it| it.message.as_str()).collect();
        let more = objects.len().saturating_sub(SHOWN);
        objects.truncate(SHOWN);
        let why = match objects[..] {
            [] => deleting.message.clone(),
            _ if more > 0 => format!("{}, and {more} more objects", objects.join("; ")),
            _ => objects.join("; "),
        };
        let next = match blocker(&why) {
            Some(found) => found.hindrance.next(),
            None => {
                "nothing, unless it stays: the agent is removing the objects, and looks again by itself"
            }
        };
        Some(Stay::new(
            DELETION,
            DELETED,
            since,
            format!("the agent is deleting: {why}"),
            next,
        ))
    }
}

fn is_unmet(condition: &Condition) -> bool {
    match condition.kind.as_str() {
        "Deleting" | "Paused" | "Expired" => condition.is_true(),
        _ => !condition.is_true(),
    }
}

fn shown(object: Option<String>, condition: &Condition) -> UnmetCondition {
    UnmetCondition {
        object,
        condition: condition.kind.clone(),
        status: condition.status.clone(),
        reason: condition.reason.clone(),
        message: condition.message.clone(),
        blocker: blocker(&condition.message).map(|it| it.what),
    }
}

/// Why a condition of the work does not hold, by the first object to which it is due, and what to do.
fn told(
    facts: &BundleFacts,
    work: Option<&Condition>,
    unmet: &[UnmetCondition],
    kind: &str,
) -> (String, String) {
    let mut of_objects = unmet
        .iter()
        .filter(|it| it.object.is_some() && it.condition == kind);
    let Some(first) = of_objects.next() else {
        return match work {
            Some(work) => (
                format!("{kind}={}: {}: {}", work.status, work.reason, work.message),
                hint(&work.message).map_or_else(|| of_work(facts, kind), str::to_owned),
            ),
            None => (
                format!(
                    "the agent has reported on the version, and not yet that it is {}",
                    kind.to_lowercase()
                ),
                "nothing, unless it stays: the agent tells it by itself".into(),
            ),
        };
    };
    let object = first.object.as_deref().unwrap_or_default();
    let doing = verb(&first.message).map_or_else(String::new, |verb| format!(" ({verb})"));
    let message = first
        .message
        .trim_start_matches("Failed to apply manifest: ");
    let found = blocker(&first.message);
    let what = found
        .as_ref()
        .map_or_else(String::new, |it| format!("{}: ", it.what));
    let more = match of_objects.count() {
        0 => String::new(),
        more => format!(
            "; {more} more objects are not {} either",
            kind.to_lowercase()
        ),
    };
    let why = format!("{object}{doing}: {what}{message}{more}");
    (why, next(facts, first, found.as_ref(), kind))
}

fn next(
    facts: &BundleFacts,
    first: &UnmetCondition,
    found: Option<&Blocker>,
    kind: &str,
) -> String {
    match (hint(&first.message), found) {
        (Some(hint), _) => hint.to_owned(),
        (None, Some(found)) => found.hindrance.next().to_owned(),
        (None, None) => of_work(facts, kind),
    }
}

fn of_work(facts: &BundleFacts, kind: &str) -> String {
    let name = &facts.bundle.id;
    match kind {
        "Applied" => format!(
            "`kubectl describe manifestwork` of bundle `{name}` in the cluster shows the Events"
        ),
        _ => format!(
            "look at the object in the cluster (`kubectl describe`): it exists, and is not as its conditions demand; status feedback of bundle `{name}` tells more where a rule asks for it"
        ),
    }
}

// A status names as many objects as a bundle has; a page of them is enough.
const MOST: usize = 50;
const SHOWN: usize = 3;
