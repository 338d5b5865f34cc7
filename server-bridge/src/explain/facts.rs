//! What a story needs besides the store. Each fact is optional: where it is missing the story says less, and nothing wrong.

use jiff::Timestamp;
use link::order::Version;

/// What a running bridge knows of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessFacts {
    /// Whether this process sends to the consumer.
    pub owns: bool,
    /// Its readiness checks that fail.
    pub failing: Vec<UnmetCheck>,
}

/// A readiness check that fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnmetCheck {
    /// Its name, as in `/readyz`.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// What is known of a consumer's agent, besides when it was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentFacts {
    /// Whether it is there.
    pub state: AgentState,
    /// Since when it is in this state; `None` where that is not known.
    pub since: Option<Timestamp>,
    /// Why it went, in the words of who noticed.
    pub why: Option<String>,
    /// When it was heard last in whatever way.
    pub last_heard_at: Option<Timestamp>,
    /// Its version, as it says.
    pub version: Option<String>,
    /// Which extensions of the protocol it speaks; `None` where it does not say.
    pub extensions: Option<Vec<String>>,
    /// When its certificate expires.
    pub certificate_expires_at: Option<Timestamp>,
    /// Versions that it refuses, as it says.
    pub refusals: Vec<RefusedVersion>,
}

/// Whether an agent is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentState {
    /// It is connected.
    Connected,
    /// It was heard lately, and has nothing to do.
    Idle,
    /// It is not there.
    Away,
    /// It was never heard.
    Never,
    /// It says nothing of itself, as Go agents do.
    Unknown,
}

/// A version that an agent refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedVersion {
    /// The bundle.
    pub id: String,
    /// The version.
    pub version: Version,
    /// Since when.
    pub at: Timestamp,
    /// One word, of the agent's list (docs/PROTOCOL.md).
    pub reason: String,
    /// A sentence.
    pub message: String,
}

// === impl AgentState ===

impl AgentState {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Idle => "idle",
            Self::Away => "away",
            Self::Never => "never",
            Self::Unknown => "unknown",
        }
    }

    /// Whether it is known to be there.
    pub const fn is_there(self) -> bool {
        matches!(self, Self::Connected | Self::Idle)
    }
}

// === impl AgentFacts ===

impl AgentFacts {
    /// What it says of this version of a bundle, or of a newer one of the same bundle.
    pub(super) fn refusal(&self, id: &str, version: Version) -> Option<&RefusedVersion> {
        let of_it = self.refusals.iter().filter(|refused| refused.id == id);
        of_it
            .filter(|refused| refused.version == version)
            .max_by_key(|refused| refused.at)
    }
}
