//! A consumer as the overview shows it, and what its health is called. Pure.

use jiff::Timestamp;
use serde::Serialize;

use crate::store::{Consumer, Labels, Load};

/// A consumer with what waits of it.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) consumer: Consumer,
    pub(super) load: Load,
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

/// A row as it is written.
#[derive(Debug, Serialize)]
pub(super) struct Item<'a> {
    id: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Labels::is_empty")]
    labels: &'a Labels,
    health: Health,
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

// === impl Row ===

impl Row {
    pub(super) fn new(consumer: Consumer, load: Load) -> Self {
        Self { consumer, load }
    }

    /// By whom it is known and what waits since before `bound`.
    pub(super) fn health(&self, bound: Timestamp) -> Health {
        if self.consumer.last_seen_at.is_none() {
            return Health::Never;
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
        let Self { consumer, load } = self;
        Item {
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
