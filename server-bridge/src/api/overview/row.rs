//! A consumer as the overview shows it, and what its health is called. Pure.

use jiff::Timestamp;
use serde::Serialize;

use crate::store::{Assessment, Consumer, Labels, Load, Presence, PresenceState};

/// A consumer with what waits of it and what is known of its agent.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) consumer: Consumer,
    pub(super) load: Load,
    pub(super) agent: KnownAgent,
}

/// What is shown of an agent.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownAgent {
    /// Whether it is there; `None` when nobody asked.
    pub(super) assessment: Option<Assessment>,
    /// Whether anything ever came from it.
    pub(super) heard: bool,
    /// The version that it reports.
    pub(super) version: Option<String>,
    /// When the certificate expires that it reports.
    pub(super) certificate_expires_at: Option<Timestamp>,
}

/// One word for how a consumer is; each has exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Health {
    /// Something waits for longer than the bound.
    Stuck,
    /// It is known that its agent is not connected.
    Away,
    /// Its agent was never heard.
    Never,
    /// None of the others.
    Well,
}

/// How many agents are how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct PresenceCounts {
    connected: u64,
    idle: u64,
    away: u64,
    never: u64,
    unknown: u64,
}

/// A row as it is written.
#[derive(Debug, Serialize)]
pub(super) struct Item<'a> {
    id: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Labels::is_empty")]
    labels: &'a Labels,
    health: Health,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence: Option<PresenceShown<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen_at: Option<Timestamp>,
    bundles: u64,
    waiting_to_send: u64,
    waiting_to_apply: u64,
    waiting_for_available: u64,
    waiting_for_deletion: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_waiting_since: Option<Timestamp>,
}

/// Whether an agent is there, as it is written.
#[derive(Debug, Serialize)]
struct PresenceShown<'a> {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

// === impl KnownAgent ===

impl KnownAgent {
    /// What is known of an agent at `now`.
    pub(super) fn new(presence: &Presence, assessment: Assessment, now: Timestamp) -> Self {
        let report = presence.current_report(now);
        let certificate = report.and_then(|report| report.certificate.as_ref());
        Self {
            assessment: Some(assessment),
            heard: presence.heard_at().is_some(),
            version: report
                .map(|report| report.version.clone())
                .filter(|version| !version.is_empty()),
            certificate_expires_at: certificate.map(|certificate| certificate.not_after),
        }
    }

    /// Since when it is so, where that is known.
    pub(super) fn since(&self) -> Option<Timestamp> {
        self.assessment.as_ref()?.since
    }

    /// How it is.
    pub(super) fn state(&self) -> PresenceState {
        let assessment = self.assessment.as_ref();
        assessment.map_or(PresenceState::Unknown, |known| known.state)
    }
}

// === impl PresenceCounts ===

impl PresenceCounts {
    pub(super) fn add(&mut self, state: PresenceState) {
        *match state {
            PresenceState::Connected => &mut self.connected,
            PresenceState::Idle => &mut self.idle,
            PresenceState::Away => &mut self.away,
            PresenceState::Never => &mut self.never,
            PresenceState::Unknown => &mut self.unknown,
        } += 1;
    }
}

// === impl Row ===

impl Row {
    /// By whether its agent is there and what waits since before `bound`.
    pub(super) fn health(&self, bound: Timestamp) -> Health {
        match self.agent.state() {
            PresenceState::Away => return Health::Away,
            PresenceState::Never => return Health::Never,
            PresenceState::Unknown if !self.agent.heard => return Health::Never,
            PresenceState::Unknown | PresenceState::Connected | PresenceState::Idle => {}
        }
        match self.load.oldest_waiting_since {
            Some(since) if since < bound => Health::Stuck,
            _ => Health::Well,
        }
    }

    /// Bundles that wait for whatever.
    pub(super) fn waiting(&self) -> u64 {
        let load = &self.load;
        load.waiting_to_send
            + load.waiting_to_apply
            + load.waiting_for_available
            + load.waiting_for_deletion
    }

    /// Whether its name or one of its labels contains this, which is in lower case.
    pub(super) fn contains(&self, text: &str) -> bool {
        let has = |part: &str| part.to_lowercase().contains(text);
        has(self.consumer.name.as_str())
            || self
                .consumer
                .labels
                .iter()
                .any(|(name, value)| has(&format!("{name}={value}")))
    }

    pub(super) fn item(&self, health: Health) -> Item<'_> {
        let Self {
            consumer,
            load,
            agent,
        } = self;
        let presence = agent.assessment.as_ref().map(|known| PresenceShown {
            state: known.state.as_str(),
            since: known.since,
            reason: known.reason.as_deref(),
        });
        Item {
            presence,
            agent_version: agent.version.as_deref(),
            certificate_expires_at: agent.certificate_expires_at,
            id: &consumer.id,
            name: consumer.name.as_str(),
            labels: &consumer.labels,
            health,
            last_seen_at: consumer.last_seen_at,
            bundles: load.bundles,
            waiting_to_send: load.waiting_to_send,
            waiting_to_apply: load.waiting_to_apply,
            waiting_for_available: load.waiting_for_available,
            waiting_for_deletion: load.waiting_for_deletion,
            oldest_waiting_since: load.oldest_waiting_since,
        }
    }
}

// === impl Health ===

impl Health {
    /// Every word.
    pub(super) const ALL: &'static [Self] = &[Self::Stuck, Self::Away, Self::Never, Self::Well];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Stuck => "stuck",
            Self::Away => "away",
            Self::Never => "never",
            Self::Well => "well",
        }
    }
}
