//! What is told. Members that have nothing to say are absent from the JSON, but for `waiting`, which is `null` where nothing
//! is waited for.

use std::borrow::Cow;

use jiff::Timestamp;
use link::fault::Code;
use serde::{Deserialize, Deserializer, Serialize};

/// A word from a closed set, or one that a newer bridge says.
pub(super) type Word = Cow<'static, str>;

/// The story of a bundle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BundleStory {
    /// [`super::EXPLAIN_SCHEMA`].
    pub schema: Word,
    /// When it was told.
    pub at: Timestamp,
    /// Of which bundle.
    pub subject: BundleSubject,
    /// How it is, in one sentence.
    pub state: String,
    /// Where it waits and why; `None` when it waits for nothing.
    pub waiting: Option<Stay>,
    /// When the present version, or its deletion, passed each hop.
    pub hops: Vec<HopShown>,
    /// The versions before it, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<EarlierVersion>,
    /// How often it was handed to the broker, and what came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<Attempts>,
    /// What is known of the consumer's agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentShown>,
    /// Conditions of the work and of its objects that do not hold, as the agent says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<UnmetCondition>,
    /// What else is worth knowing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleSubject {
    /// `bundle`.
    pub kind: Word,
    /// Its id.
    pub id: String,
    /// Its name, where that is not the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Which cluster it is meant for.
    pub consumer: String,
    /// Who published it; absent of one that is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Its version.
    pub version: i32,
    /// Since when it is being deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleting_since: Option<Timestamp>,
}

/// A stay at one hop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stay {
    /// Which fault this is.
    #[serde(deserialize_with = "code")]
    pub code: Code,
    /// The hop that comes next, and does not.
    pub hop: Word,
    /// Since when.
    pub since: Timestamp,
    /// Why, as far as it is known.
    pub why: String,
    /// What would move it.
    pub next: String,
    /// The page about the code, as a path in the repository.
    pub page: String,
}

/// When a version passed a hop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HopShown {
    /// `stored`, `published`, `acknowledged`, `received`, `applied`, `reported`, `available` or `deleted`.
    pub hop: Word,
    /// The version.
    pub version: i32,
    /// When; `None` while it has not.
    pub at: Option<Timestamp>,
    /// Seconds since the hop before. Clocks of two machines are in it where a hop is the agent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_seconds: Option<f64>,
    /// What is remarkable about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A version before the present one, in a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlierVersion {
    /// The version.
    pub version: i32,
    /// When it was stored.
    pub stored_at: Timestamp,
    /// The last hop that it reached.
    pub reached: Word,
    /// Why it has this number, or was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What came of handing it to the broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempts {
    /// How often.
    pub count: u32,
    /// When that last failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<Timestamp>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Whether it waits until `next_at`, unless a new version comes or the lane recovers.
    pub quarantined: bool,
    /// When it is tried again, at the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
}

/// What is known of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentShown {
    /// `connected`, `idle`, `away`, `never` or `unknown`: as in the consumer's presence.
    pub state: Word,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Why it went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// When it was heard last, about a minute late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_heard_at: Option<Timestamp>,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// When its certificate expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_expires_at: Option<Timestamp>,
    /// Why it refuses this version, in its words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
}

/// A condition that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnmetCondition {
    /// Which object; absent for the work as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// Its type.
    pub condition: String,
    /// `False` or `Unknown`; `True` of one that tells of a hindrance.
    pub status: String,
    /// One word.
    pub reason: String,
    /// The agent's sentence.
    pub message: String,
    /// What is in the way, where the sentence says it: a manager, a webhook, a missing right, a finalizer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocker: Option<String>,
}

/// The story of a consumer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConsumerStory {
    /// [`super::EXPLAIN_SCHEMA`].
    pub schema: Word,
    /// When it was told.
    pub at: Timestamp,
    /// Of which consumer.
    pub subject: ConsumerSubject,
    /// How it is, in one sentence.
    pub state: String,
    /// What holds up the bundle that has waited longest; `None` when none waits.
    pub waiting: Option<Stay>,
    /// How many bundles wait for each step.
    pub counts: WaitCounts,
    /// Of each step the bundle that has waited longest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub oldest: Vec<OldestShown>,
    /// What is known of its agent.
    pub agent: AgentShown,
    /// Who sends to it.
    pub lane: LaneShown,
}

/// A consumer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumerSubject {
    /// `consumer`.
    pub kind: Word,
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// How many bundles wait for each step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitCounts {
    /// All of them, those being deleted too.
    pub bundles: u64,
    /// That the broker takes them.
    pub send: u64,
    /// That the agent says that they are applied.
    pub apply: u64,
    /// That the agent says that they are available.
    pub available: u64,
    /// That the agent confirms their deletion.
    pub deletion: u64,
}

/// The bundle that has waited longest for a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OldestShown {
    /// Its id.
    pub bundle: String,
    /// Why.
    pub waiting: Stay,
}

/// Who sends to a consumer, and whether the store may be older than its agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneShown {
    /// The replica that owns it; absent where nobody does, and where one process has the store alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Its slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<u16>,
    /// How often the consumer's bucket was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<i64>,
    /// Until when it is the owner's unless renewed, by the store's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Since when nobody sends, as far as it is known: when the lease ended, or when a bridge heard agents last. Absent
    /// while somebody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nobody_since: Option<Timestamp>,
    /// How many replicas are there; absent where one process has the store alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u64>,
    /// The number of the store's present epoch.
    pub epoch: i64,
    /// When it began.
    pub epoch_began_at: Timestamp,
    /// Whether a bundle of it was neither made nor confirmed in this epoch.
    pub unconfirmed: bool,
    /// Whether its agent holds works that the store does not know.
    pub foreign_works: bool,
    /// Versions that were raised above what its agent held, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub raised: Vec<RaisedShown>,
}

/// A raised version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaisedShown {
    /// The bundle.
    pub bundle: String,
    /// The version.
    pub version: i32,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub note: String,
}

// === impl Stay ===

impl Stay {
    pub(super) fn new(
        code: Code,
        hop: &'static str,
        since: Timestamp,
        why: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self {
            code,
            hop: hop.into(),
            since,
            why: why.into(),
            next: next.into(),
            page: code.page(),
        }
    }
}

/// A code as it is written, known here or not.
fn code<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Code, D::Error> {
    let text = String::deserialize(deserializer)?;
    let number = text
        .strip_prefix("MQ")
        .and_then(|digits| digits.parse().ok());
    number
        .map(Code::new)
        .ok_or_else(|| serde::de::Error::custom(format!("`{text}` is no code")))
}
