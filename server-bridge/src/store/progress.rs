//! Progress of a bundle: what its latest status says of its present version, and what it waits for since when.
//!
//! A status is stored as it came. The conditions that searches use are extracted once ([`WorkConditions::of`]) into columns,
//! with the sequence id of the status they came from. If that is not the sequence id of the latest status, an older bridge
//! stored the status, and nothing is known until it is parsed ([`UnparsedStatus`]).

use jiff::Timestamp;
use link::order::Version;
use serde::Deserialize;

use super::Json;

/// What a condition says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not.
    False,
    /// The agent cannot tell.
    Unknown,
}

/// What a bundle waits for. Each word names one thing in searches, fields and pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WaitingFor {
    /// That the broker takes its newest version.
    Send,
    /// That its agent says that this version is applied.
    Apply,
    /// That its agent says that what it applied is available.
    Available,
    /// That its agent confirms the deletion.
    Deletion,
}

/// How far a bundle has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The work's condition `Applied`, by the latest status if that is of the present version and says so.
    pub applied: Option<ConditionStatus>,
    /// The work's condition `Available`, likewise.
    pub available: Option<ConditionStatus>,
    /// The version that the latest status describes.
    pub status_version: Option<Version>,
    /// When the latest status was taken.
    pub status_at: Option<Timestamp>,
    /// What is waited for; `None` when nothing is, or nobody has looked into the latest status yet.
    pub waiting_for: Option<WaitingFor>,
    /// Since when, at the latest.
    pub waiting_since: Option<Timestamp>,
}

/// What waits of one consumer's bundles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Its bundles, those being deleted too.
    pub bundles: u64,
    /// Those that wait for each step.
    pub waiting_to_send: u64,
    /// [`WaitingFor::Apply`]
    pub waiting_to_apply: u64,
    /// [`WaitingFor::Available`]
    pub waiting_for_available: u64,
    /// [`WaitingFor::Deletion`]
    pub waiting_for_deletion: u64,
    /// Since when the one waits that waits longest, whatever for.
    pub oldest_waiting_since: Option<Timestamp>,
}

/// What a status says of the work as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct WorkConditions {
    pub(super) applied: Option<ConditionStatus>,
    pub(super) available: Option<ConditionStatus>,
}

/// What of [`Progress`] a search may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Derived {
    Applied,
    Available,
    StatusVersion,
    StatusAt,
    WaitingFor,
    WaitingSince,
}

/// A status that was not looked into.
pub(super) struct UnparsedStatus {
    pub(super) key: i64,
    pub(super) sequence: String,
    /// Whether it is of a version that was sent from here.
    pub(super) ours: bool,
    pub(super) version: i64,
    pub(super) payload: Json,
}

// === impl ConditionStatus ===

impl ConditionStatus {
    /// Every word.
    pub const WORDS: &'static [&'static str] = &["True", "False", "Unknown"];

    /// As conditions write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::True, Self::False, Self::Unknown]
            .into_iter()
            .find(|verdict| verdict.as_str() == text)
    }
}

// === impl WaitingFor ===

impl WaitingFor {
    /// Every word, in the order of the way.
    pub const WORDS: &'static [&'static str] = &["send", "apply", "available", "deletion"];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Apply => "apply",
            Self::Available => "available",
            Self::Deletion => "deletion",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::Send, Self::Apply, Self::Available, Self::Deletion]
            .into_iter()
            .find(|step| step.as_str() == text)
    }
}

// === impl Load ===

impl Load {
    /// Whether any bundle waits.
    pub fn waits(&self) -> bool {
        self.oldest_waiting_since.is_some()
    }

    /// Adds bundles that wait for the same step, or for nothing, since the oldest of them does.
    pub(super) fn add(&mut self, step: Option<WaitingFor>, bundles: u64, since: Option<Timestamp>) {
        self.bundles += bundles;
        match step {
            None => return,
            Some(WaitingFor::Send) => self.waiting_to_send += bundles,
            Some(WaitingFor::Apply) => self.waiting_to_apply += bundles,
            Some(WaitingFor::Available) => self.waiting_for_available += bundles,
            Some(WaitingFor::Deletion) => self.waiting_for_deletion += bundles,
        }
        self.oldest_waiting_since = self.oldest_waiting_since.into_iter().chain(since).min();
    }
}

// === impl WorkConditions ===

impl WorkConditions {
    /// What a status of `version` says of that version. A condition that was judged on another one says nothing, nor does
    /// anything beside what this side has put into the status of a version it never had ([`super::ahead`]).
    pub(super) fn of(payload: &Json, version: i64) -> Self {
        let Ok(Work { conditions }) = serde_json::from_str(payload.as_str()) else {
            return Self::default();
        };
        let conditions = conditions.unwrap_or_default();
        if conditions.iter().any(|c| c.reason == super::ahead::REASON) {
            return Self::default();
        }
        let says = |kind: &str| {
            let condition = conditions.iter().find(|condition| condition.kind == kind)?;
            let judged = condition.observed_generation;
            (judged == 0 || judged == version)
                .then(|| ConditionStatus::parse(&condition.status))
                .flatten()
        };
        Self {
            applied: says("Applied"),
            available: says("Available"),
        }
    }

    pub(super) fn applied(self) -> Option<&'static str> {
        self.applied.map(ConditionStatus::as_str)
    }

    pub(super) fn available(self) -> Option<&'static str> {
        self.available.map(ConditionStatus::as_str)
    }

    /// How far the work is by this, as [`super::sql::progress::stage`] says of what is kept.
    pub(super) const fn stage(self) -> i64 {
        match (self.applied, self.available) {
            (Some(ConditionStatus::True), Some(ConditionStatus::True)) => 2,
            (Some(ConditionStatus::True), _) => 1,
            _ => 0,
        }
    }
}

/// Of a status, what is read here. What has another shape is passed over where that is possible.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Work {
    conditions: Option<Vec<Condition>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    observed_generation: i64,
    reason: String,
}

// === impl UnparsedStatus ===

impl UnparsedStatus {
    pub(super) fn told(&self) -> WorkConditions {
        match self.ours {
            true => WorkConditions::of(&self.payload, self.version),
            false => WorkConditions::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(payload: &str, version: i64) -> (Option<&'static str>, Option<&'static str>) {
        let told = WorkConditions::of(&Json::trusted(payload.to_owned()), version);
        (told.applied(), told.available())
    }

    #[test]
    fn a_condition_counts_for_the_version_it_was_judged_on_and_in_three_words() {
        let status = r#"{"conditions":[{"type":"Applied","status":"True","observedGeneration":3},
            {"type":"Available","status":"Unknown"}],"resourceStatus":[{"conditions":[{"type":"Applied","status":"False"}]}]}"#;
        assert_eq!(told(status, 3), (Some("True"), Some("Unknown")));
        assert_eq!(told(status, 4), (None, Some("Unknown")));
        let odd = r#"{"conditions":[{"type":"Applied","status":"yes"},{"type":"Available","status":"False"}]}"#;
        assert_eq!(told(odd, 1), (None, Some("False")));
        for nothing in ["{}", r#"{"conditions":null}"#, r#"{"conditions":7}"#, "[]"] {
            assert_eq!(told(nothing, 1), (None, None), "{nothing}");
        }
    }

    #[test]
    fn what_an_agent_says_of_a_version_of_another_history_is_not_said_of_ours() {
        let (held, stored) = (Version::new(7).unwrap(), Version::new(3).unwrap());
        let theirs = r#"{"conditions":[{"type":"Available","status":"True"}]}"#;
        let theirs = Json::trusted(theirs.to_owned());
        let shown = super::super::ahead::told(&theirs, held, stored, Timestamp::UNIX_EPOCH);
        assert_eq!(told(shown.as_str(), 7), (None, None));
        assert_eq!(told(shown.as_str(), 3), (None, None));
    }
}
