//! What is known of agents: what they report of themselves, and what the broker tells of their connections. Whichever
//! replica heard it, all of them know it, and a bridge that is started again does.
//!
//! Whether an agent is there is judged when somebody asks ([`assess`], pure), from this and from since when bridges have
//! listened: nobody is away for what no bridge could hear.

use std::collections::HashMap;
use std::future::Future;

use jiff::{SignedDuration, Timestamp};
use link::event::agent_report::AgentReport;
use link::id::ConsumerName;
use link::iot::limits::LIFECYCLE_NUMBERS;

use super::StoreError;

mod assess;

pub use assess::{Assessment, Circumstances, PresenceState, REPORTS_MISSED_AFTER, assess, reason};

/// What is kept of agents' presence. A part of [`super::Store`], by its rules.
pub trait PresenceStore: Clone + Send + Sync + 'static {
    /// Takes what an agent reported of itself, unless a report that it made later was taken in the last [`LATE`]: what is
    /// older then came late. One that came later than this by more came by a clock that was ahead, and is replaced. False:
    /// it was not taken, or the consumer is not registered.
    fn put_report(
        &self,
        report: ReportedPresence,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Takes what the broker says of the connection of a consumer's agent, unless something newer is known: of the same
    /// client id the higher version number, and of the same version the end of a connection; where two events are further
    /// apart than [`RENUMBERED`], or of two client ids, the later one. Taking it again changes nothing. False: it was not
    /// taken, or the consumer is not registered.
    fn put_connection(
        &self,
        consumer: &ConsumerName,
        event: ConnectionEvent,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// What is known of a consumer's agent, with its refusals. None: no such consumer.
    fn presence(
        &self,
        consumer: &ConsumerName,
    ) -> impl Future<Output = Result<Option<Presence>, StoreError>> + Send;

    /// The same of these consumers, by their names, without the refusals' texts.
    fn presences_of(
        &self,
        consumers: Vec<ConsumerName>,
    ) -> impl Future<Output = Result<HashMap<String, Presence>, StoreError>> + Send;

    /// The same of all consumers, `limit` at a time in the order of their names, behind `after`.
    fn presences(
        &self,
        after: Option<ConsumerName>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Presence>, StoreError>> + Send;

    /// Notes that a bridge hears agents, and of which agents reports have been missing for [`REPORTS_MISSED_AFTER`] in
    /// which bridges listened. To be called every [`LISTENING_EVERY`] by each bridge that is subscribed.
    fn note_listening(&self, at: Timestamp) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Since when bridges have listened without a gap; None while nobody does.
    fn listening_since(
        &self,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<Timestamp>, StoreError>> + Send;
}

/// A report as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedPresence {
    /// Whose agent sent it.
    pub consumer: ConsumerName,
    /// What it says.
    pub report: AgentReport,
    /// When the agent made it, by its clock. One in the future counts as made when it came.
    pub made_at: Timestamp,
    /// When it came.
    pub at: Timestamp,
}

/// That a connection began or ended, as a lifecycle event of the broker tells it (docs/IOT-CORE.md §1.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionEvent {
    /// The client id.
    pub client_id: String,
    /// Whether it began.
    pub connected: bool,
    /// `versionNumber`: grows with the connections of a client id, and begins anew when it was away for an hour.
    pub version: i64,
    /// When, by the broker's clock.
    pub at: Timestamp,
    /// `disconnectReason`.
    pub reason: Option<String>,
    /// When it was taken.
    pub heard_at: Timestamp,
}

/// What is known of a consumer's agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// The consumer.
    pub consumer: ConsumerName,
    /// When anything was heard of its agent last, about a minute late ([`super::AgentStore::note_seen`]).
    pub last_seen_at: Option<Timestamp>,
    /// What it reported last; without its refusals where they were not asked for.
    pub report: Option<AgentReport>,
    /// How many refusals the report names.
    pub refusals: u64,
    /// When the report came.
    pub report_at: Option<Timestamp>,
    /// When it was found that reports are missing; later ones, and whatever else is heard, take it back.
    pub missed_at: Option<Timestamp>,
    /// The newest lifecycle event.
    pub connection: Option<ConnectionEvent>,
}

// === impl Presence ===

impl Presence {
    /// When anything came from the agent itself last.
    pub fn heard_at(&self) -> Option<Timestamp> {
        self.last_seen_at.max(self.report_at)
    }

    /// The same by `now`: a time that is ahead of it says nothing.
    pub fn heard_by(&self, now: Timestamp) -> Option<Timestamp> {
        let heard = [self.last_seen_at, self.report_at];
        let heard = heard.into_iter().flatten();
        heard.filter(|heard| !is_ahead(*heard, now)).max()
    }

    /// What the agent that is there now says of itself. One that speaks and has not reported for [`REPORTS_MISSED_AFTER`]
    /// was replaced by one that never does, of which an old report says nothing.
    pub fn current_report(&self, now: Timestamp) -> Option<&AgentReport> {
        let report_at = self.report_at.unwrap_or_default();
        self.report.as_ref().filter(|_| {
            self.heard_by(now)
                .is_none_or(|heard| heard.duration_since(report_at) <= REPORTS_MISSED_AFTER)
        })
    }
}

// === impl ReportedPresence ===

impl ReportedPresence {
    /// When it counts as made.
    pub(super) fn counted_at(&self) -> Timestamp {
        self.made_at.min(self.at)
    }
}

/// Reports of one agent overtake each other by less: what comes later than this after the last one is newer whatever its
/// agent's clock says, which may have been put back.
pub const LATE: SignedDuration = SignedDuration::from_mins(2);

/// Of lifecycle events that are this far apart the time decides, because version numbers begin anew after
/// [`LIFECYCLE_NUMBERS`] of absence. A little less than that, which is not exact.
pub const RENUMBERED: SignedDuration =
    SignedDuration::from_secs(LIFECYCLE_NUMBERS.as_secs() as i64 - 600);

/// Whether a time was noted by a clock that was ahead of `now` by more than clocks of replicas differ.
pub(crate) fn is_ahead(noted: Timestamp, now: Timestamp) -> bool {
    noted.duration_since(now) > AHEAD
}

// No more than what the broker's clock may differ by, or what was heard would contradict an event for ever.
const AHEAD: SignedDuration = assess::CONTRADICTED_AFTER;

/// How often a bridge that is subscribed says so.
pub const LISTENING_EVERY: SignedDuration = SignedDuration::from_secs(30);

/// Silence of all bridges that is longer is a gap: a restart or a takeover takes less.
pub(super) const LISTENING_GAP: SignedDuration = SignedDuration::from_mins(2);
