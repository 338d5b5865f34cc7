//! The story of a bundle: which hop it has reached, where it waits now, since when, why, and what would move it; and of a
//! consumer, where its bundles wait.
//!
//! **Contract:** pure. Facts come from the store ([`crate::store::BundleFacts`]), which knows what agents say of themselves,
//! and from this process where it is a bridge ([`ProcessFacts`]); the time is an argument. What is not known is said not to
//! be known: no cause is guessed where another one fits the same facts.
//! **Invariant:** each reason to wait has a code of [`link::fault::CATALOGUE`], MQ9xx; a test tells one story for each.
//! **Invariant:** no content of a manifest is in a story: of an object its kind, name and size, and what the agent says.

use link::fault::Code;

mod applying;
mod blocker;
mod bundle;
mod consumer;
mod delivered;
mod facts;
mod hops;
mod near;
mod process;
mod quarantine;
mod sending;
mod story;
mod text;
mod words;

#[cfg(test)]
mod tests;

pub use bundle::{bundle, gone};
pub use consumer::consumer;
pub use facts::{ProcessFacts, UnmetCheck};
pub use near::near;
pub use process::ProcessView;
pub use story::{
    AgentShown, Attempts, BundleStory, BundleSubject, ConsumerStory, ConsumerSubject,
    EarlierVersion, HopShown, LaneShown, OldestShown, RaisedShown, Stay, UnmetCondition,
    WaitCounts,
};
pub use text::{bundle_text, consumer_text};

/// The schema of a story. Members are only added under the same number; what takes one away or changes its meaning takes
/// the next.
pub const EXPLAIN_SCHEMA: &str = "maestro-explain/1";

/// It is not known what it waits for.
const UNKNOWN: Code = Code::new(900);
/// It is in quarantine, or was refused and is tried again.
const QUARANTINED: Code = Code::new(901);
/// No bridge sends for the consumer.
const NO_BRIDGE: Code = Code::new(902);
/// Nobody was subscribed.
const UNHEARD: Code = Code::new(903);
/// The agent is away.
const AWAY: Code = Code::new(904);
/// The agent was never heard.
const NEVER: Code = Code::new(905);
/// The agent refuses the version.
const REFUSED: Code = Code::new(906);
/// The agent does not report on the version.
const UNANSWERED: Code = Code::new(907);
/// An object cannot be applied.
const UNAPPLIED: Code = Code::new(908);
/// An object is not available.
const UNAVAILABLE: Code = Code::new(909);
/// A deletion waits.
const DELETION: Code = Code::new(910);
/// It waits for its turn.
const TURN: Code = Code::new(911);
/// The cluster holds a newer version.
const OLDER_STORE: Code = Code::new(912);
