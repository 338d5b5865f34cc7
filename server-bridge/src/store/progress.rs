//! How far a bundle has come: what its latest status says of the present version, and what is waited for since when.
//!
//! A status is kept as it came; what searches ask of it is taken out of its text once ([`Told::of`]) and kept beside it, with
//! the sequence id of the status it was taken from. Where that is not the latest one's, a bridge of the version before has
//! stored the status: nothing is said of it until somebody has looked into it ([`Unread`]).

use std::collections::HashMap;

use jiff::Timestamp;
use link::order::Version;
use serde::Deserialize;

use super::sql::rows::{self, Cells, corrupt};
use super::{Json, StoreError};

/// What a condition says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    True,
    /// It does not.
    False,
    /// The agent cannot tell.
    Unknown,
}

/// What a bundle waits for. Each word names one thing in searches, fields and pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
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
    pub applied: Option<Verdict>,
    /// The work's condition `Available`, likewise.
    pub available: Option<Verdict>,
    /// The version that the latest status describes.
    pub status_version: Option<Version>,
    /// When the latest status was taken.
    pub status_at: Option<Timestamp>,
    /// What is waited for; `None` when nothing is, or nobody has looked into the latest status yet.
    pub waiting_for: Option<Step>,
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
    /// [`Step::Apply`]
    pub waiting_to_apply: u64,
    /// [`Step::Available`]
    pub waiting_for_available: u64,
    /// [`Step::Deletion`]
    pub waiting_for_deletion: u64,
    /// Since when the one waits that waits longest, whatever for.
    pub oldest_waiting_since: Option<Timestamp>,
}

/// What a status says of the work as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) applied: Option<Verdict>,
    pub(super) available: Option<Verdict>,
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
pub(super) struct Unread {
    pub(super) key: i64,
    pub(super) sequence: String,
    /// Whether it is of a version that was sent from here.
    pub(super) ours: bool,
    pub(super) version: i64,
    pub(super) payload: Json,
}

// === impl Verdict ===

impl Verdict {
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

    fn parse(text: &str) -> Option<Self> {
        [Self::True, Self::False, Self::Unknown]
            .into_iter()
            .find(|verdict| verdict.as_str() == text)
    }
}

// === impl Step ===

impl Step {
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

    fn parse(text: &str) -> Option<Self> {
        [Self::Send, Self::Apply, Self::Available, Self::Deletion]
            .into_iter()
            .find(|step| step.as_str() == text)
    }
}

// === impl Progress ===

impl Progress {
    /// From a row of an engine's `PROGRESS`.
    pub(super) fn of(row: &impl Cells) -> Result<Self, StoreError> {
        let key = row.integer("key")?.to_string();
        let version = match row.optional_integer("status_version")? {
            None => None,
            Some(_) => Some(rows::version(row, "status_version", &key)?),
        };
        Ok(Self {
            applied: verdict(row, "applied")?,
            available: verdict(row, "available")?,
            status_version: version,
            status_at: rows::optional_time(row, "status_at", &key)?,
            waiting_for: step(row)?,
            waiting_since: rows::optional_time(row, "waiting_since", &key)?,
        })
    }
}

fn verdict(row: &impl Cells, column: &'static str) -> Result<Option<Verdict>, StoreError> {
    Ok(row
        .optional_text(column)?
        .and_then(|text| Verdict::parse(&text)))
}

fn step(row: &impl Cells) -> Result<Option<Step>, StoreError> {
    Ok(row
        .optional_text("waiting_for")?
        .and_then(|text| Step::parse(&text)))
}

// === impl Load ===

impl Load {
    /// Adds a row of an engine's `LOADS`.
    pub(super) fn add(
        row: &impl Cells,
        loads: &mut HashMap<String, Self>,
    ) -> Result<(), StoreError> {
        let consumer = row.text("consumer")?;
        let bundles = row.integer("bundles")?.unsigned_abs();
        let since = rows::optional_time(row, "oldest", &consumer)?;
        let step = step(row)?;
        let load = loads.entry(consumer).or_default();
        load.bundles += bundles;
        match step {
            None => return Ok(()),
            Some(Step::Send) => load.waiting_to_send += bundles,
            Some(Step::Apply) => load.waiting_to_apply += bundles,
            Some(Step::Available) => load.waiting_for_available += bundles,
            Some(Step::Deletion) => load.waiting_for_deletion += bundles,
        }
        load.oldest_waiting_since = load.oldest_waiting_since.into_iter().chain(since).min();
        Ok(())
    }
}

// === impl Told ===

impl Told {
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
                .then(|| Verdict::parse(&condition.status))
                .flatten()
        };
        Self {
            applied: says("Applied"),
            available: says("Available"),
        }
    }

    pub(super) fn applied(self) -> Option<&'static str> {
        self.applied.map(Verdict::as_str)
    }

    pub(super) fn available(self) -> Option<&'static str> {
        self.available.map(Verdict::as_str)
    }

    /// How far the work is by this, as [`super::sql::progress::stage`] says of what is kept.
    pub(super) const fn stage(self) -> i64 {
        match (self.applied, self.available) {
            (Some(Verdict::True), Some(Verdict::True)) => 2,
            (Some(Verdict::True), _) => 1,
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

// === impl Unread ===

impl Unread {
    /// From a row of an engine's `UNREAD`.
    pub(super) fn of(row: &impl Cells) -> Result<Self, StoreError> {
        let key = row.integer("key")?;
        let payload = rows::json(row, "payload")?;
        Ok(Self {
            key,
            sequence: row.text("status_sequence")?,
            ours: row.flag("ours")?,
            version: row.integer("status_version")?,
            payload: payload
                .ok_or_else(|| corrupt("statuses.payload", &key.to_string(), "there is none"))?,
        })
    }

    pub(super) fn told(&self) -> Told {
        match self.ours {
            true => Told::of(&self.payload, self.version),
            false => Told::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(payload: &str, version: i64) -> (Option<&'static str>, Option<&'static str>) {
        let told = Told::of(&Json::trusted(payload.to_owned()), version);
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
