//! What a story needs besides the store. Each fact is optional: where it is missing the story says less, and nothing wrong.

use jiff::Timestamp;
use link::event::agent_report::SpecRefusal;
use link::order::Version;

use crate::store::{Assessment, Circumstances, LaneFacts, PresenceState, assess, is_ahead};

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
    /// Why; `None` where that is not to be told.
    pub reason: Option<String>,
}

/// What is known of a consumer's agent at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AgentFacts {
    /// Whether it is there.
    pub(super) state: PresenceState,
    /// Whether the broker says that it is connected now: one that only reported lately may have gone since.
    pub(super) connected: bool,
    /// Since when it is in this state; `None` where that is not known.
    pub(super) since: Option<Timestamp>,
    /// Why it went, in the words of who noticed.
    pub(super) why: Option<String>,
    /// When it was heard last in whatever way.
    pub(super) last_heard_at: Option<Timestamp>,
    /// Its version, as it says.
    pub(super) version: Option<String>,
    /// Whether it reports of itself, and so what it refuses.
    pub(super) reports: bool,
    /// When its certificate expires.
    pub(super) certificate_expires_at: Option<Timestamp>,
    /// Versions that it refuses, as it says.
    pub(super) refusals: Vec<RefusedVersion>,
}

/// A version that an agent refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RefusedVersion {
    /// The bundle.
    pub(super) id: String,
    /// The version; `None` where the event gave none.
    pub(super) version: Option<Version>,
    /// Since when.
    pub(super) at: Timestamp,
    /// One word, of the agent's list (docs/PROTOCOL.md).
    pub(super) reason: String,
    /// A sentence.
    pub(super) message: String,
}

// === impl ProcessFacts ===

impl ProcessFacts {
    /// The same for who may not read everything: reasons name hosts, files and users of the bridge.
    #[must_use]
    pub fn without_reasons(mut self) -> Self {
        for check in &mut self.failing {
            check.reason = None;
        }
        self
    }
}

// === impl UnmetCheck ===

impl UnmetCheck {
    /// In a sentence.
    pub(super) fn told(&self) -> String {
        let name = &self.name;
        match &self.reason {
            Some(reason) => format!("{name}: {reason}"),
            None => format!("its check `{name}` fails"),
        }
    }
}

// === impl AgentFacts ===

impl AgentFacts {
    /// What the store knows of a consumer's agent. `waits`: whether something is on its way to it or from it.
    pub(super) fn of(lane: &LaneFacts, waits: bool, now: Timestamp) -> Self {
        let presence = lane.presence.as_ref();
        let judged = presence.map(|presence| {
            let circumstances = Circumstances {
                now,
                listening_since: lane.listening_since,
                waits,
            };
            assess(presence, circumstances)
        });
        let report = presence.and_then(|it| it.current_report(now));
        let heard = [
            lane.consumer.last_seen_at,
            lane.last_status_at,
            presence.and_then(|it| it.report_at),
        ];
        // What is later was noted by a clock that was ahead.
        let heard = heard.into_iter().flatten();
        let heard = heard.filter(|heard| !is_ahead(*heard, now));
        Self {
            state: judged
                .as_ref()
                .map_or(PresenceState::Unknown, |it| it.state),
            connected: judged.as_ref().is_some_and(is_there)
                && presence
                    .and_then(|it| it.connection.as_ref())
                    .is_some_and(|event| event.connected),
            since: judged.as_ref().and_then(|it| it.since),
            why: judged.and_then(|it| it.reason),
            last_heard_at: heard.max(),
            version: report.map(|report| report.version.clone()),
            reports: report.is_some(),
            certificate_expires_at: report
                .and_then(|report| report.certificate.as_ref())
                .map(|certificate| certificate.not_after),
            refusals: report
                .iter()
                .flat_map(|report| &report.refusals)
                .map(RefusedVersion::from)
                .collect(),
        }
    }

    /// What it says of this version of a bundle.
    pub(super) fn refusal(&self, id: &str, version: Version) -> Option<&RefusedVersion> {
        let of_it = self.refusals.iter().filter(|refused| refused.id == id);
        of_it
            .filter(|refused| refused.version.is_none_or(|refused| refused == version))
            .max_by_key(|refused| refused.at)
    }
}

fn is_there(judged: &Assessment) -> bool {
    matches!(judged.state, PresenceState::Connected | PresenceState::Idle)
}

impl From<&SpecRefusal> for RefusedVersion {
    fn from(refusal: &SpecRefusal) -> Self {
        Self {
            id: refusal.resource_id.clone(),
            version: refusal.resource_version,
            at: refusal.at,
            reason: refusal.reason.clone(),
            message: refusal.message.clone(),
        }
    }
}
