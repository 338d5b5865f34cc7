//! Topics as data: which topic belongs to which consumer, in which direction, read from the config file's `topics:` block.
//!
//! Two shapes are known: the first deployment's `maestro/consumers/{consumer}/sourceevents` (four levels, the
//! default) and upstream's `sources/{source}/consumers/{consumer}/sourceevents` (five levels, docs/MAESTRO.md §1.4).
//! A bridge writes `+` for the consumer, an agent its own name; both forms give the same [`Scheme`]. Whoever
//! starts a party must call [`Scheme::check_consumer`] or [`Scheme::check_source`] before the first connection.

use serde::{Deserialize, Serialize};

use crate::id::{ConsumerName, InvalidName, SourceId};
use crate::iot::limits::{self, LimitError};

pub use self::error::SchemeError;

use self::pattern::{Broadcast, TopicPattern};

mod error;
mod pattern;

/// The `topics:` block of the config file, spelled as upstream spells it (docs/MAESTRO.md §1.5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Topics {
    /// What the source publishes to consumers: `…/+/sourceevents`.
    pub source_events: String,
    /// What consumers publish: `…/+/agentevents`; a bridge may put `$share/NAME/` before it.
    pub agent_events: String,
    /// What the source publishes to every consumer at once: `<word>/<source or +>/sourcebroadcast`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_broadcast: Option<String>,
    /// What a consumer publishes to every source at once: `<word>/<consumer or +>/agentbroadcast`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_broadcast: Option<String>,
}

/// A checked set of topics: every topic and filter of a deployment follows from it and a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheme {
    source_events: TopicPattern,
    agent_events: TopicPattern,
    source_broadcast: Option<Broadcast>,
    agent_broadcast: Option<Broadcast>,
    source: Option<SourceId>,
    consumer: Option<ConsumerName>,
}

/// The direction a topic belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// From the source down to one consumer.
    SourceEvents,
    /// From one consumer up to the source.
    AgentEvents,
}

// === impl Scheme ===

impl Default for Scheme {
    /// The scheme of the first deployment: `maestro/consumers/{consumer}/sourceevents|agentevents`.
    fn default() -> Self {
        Self {
            source_events: TopicPattern::of_words("maestro", None, "consumers", SOURCE_EVENTS),
            agent_events: TopicPattern::of_words("maestro", None, "consumers", AGENT_EVENTS),
            source_broadcast: None,
            agent_broadcast: None,
            source: None,
            consumer: None,
        }
    }
}

impl Scheme {
    /// Upstream's scheme: `sources/{source}/consumers/{consumer}/sourceevents|agentevents` (docs/MAESTRO.md §1.4).
    pub fn upstream(source: &SourceId) -> Self {
        Self {
            source_events: TopicPattern::of_words(
                "sources",
                Some(source),
                "consumers",
                SOURCE_EVENTS,
            ),
            agent_events: TopicPattern::of_words(
                "sources",
                Some(source),
                "consumers",
                AGENT_EVENTS,
            ),
            source: Some(source.clone()),
            ..Self::default()
        }
    }

    /// Reads and checks the `topics:` block of a bridge or an agent.
    ///
    /// # Errors
    /// [`SchemeError`] names the field, what is wrong with it and (as its hint) what to write instead.
    pub fn parse(topics: &Topics) -> Result<Self, SchemeError> {
        let source_events =
            TopicPattern::parse("sourceEvents", &topics.source_events, SOURCE_EVENTS)?;
        let agent_events = TopicPattern::parse("agentEvents", &topics.agent_events, AGENT_EVENTS)?;
        let source_broadcast = topics
            .source_broadcast
            .as_deref()
            .map(|text| Broadcast::parse("sourceBroadcast", text, SOURCE_BROADCAST))
            .transpose()?;
        let agent_broadcast = topics
            .agent_broadcast
            .as_deref()
            .map(|text| Broadcast::parse("agentBroadcast", text, AGENT_BROADCAST))
            .transpose()?;

        let source = agree(
            "source",
            [
                ("agentEvents", agent_events.source()),
                ("sourceEvents", source_events.source()),
                (
                    "sourceBroadcast",
                    source_broadcast.as_ref().and_then(Broadcast::name),
                ),
            ],
            |name| SourceId::new(name),
        )?;
        let has_segment = source_events.has_source() || agent_events.has_source();
        if source.is_none() && has_segment {
            // Upstream's agents could take the source from each event; ours, like upstream's own resync request,
            // must know it before the first event arrives (docs/MAESTRO.md §1.4).
            return Err(SchemeError::NoSource {
                value: topics.agent_events.clone(),
            });
        }
        let consumer = agree(
            "consumer",
            [
                ("agentEvents", agent_events.consumer()),
                ("sourceEvents", source_events.consumer()),
                (
                    "agentBroadcast",
                    agent_broadcast.as_ref().and_then(Broadcast::name),
                ),
            ],
            |name| ConsumerName::new(name),
        )?;
        let scheme = Self {
            source_events,
            agent_events,
            source_broadcast,
            agent_broadcast,
            source,
            consumer,
        };
        scheme.check_length()?;
        Ok(scheme)
    }

    /// The block a bridge's config file carries: `+` for the consumer, unless the scheme is limited to one.
    pub fn bridge_topics(&self) -> Topics {
        let consumer = self.consumer.as_ref().map_or("+", ConsumerName::as_str);
        Topics {
            source_events: self.source_events.topic(self.source(), consumer),
            agent_events: self.agent_events_filter(),
            source_broadcast: self.source_broadcast.as_ref().map(Broadcast::filter),
            agent_broadcast: self.agent_broadcast.as_ref().map(Broadcast::filter),
        }
    }

    /// The block one agent's config file carries: its own name for the consumer, no shared subscription.
    pub fn agent_topics(&self, consumer: &ConsumerName) -> Topics {
        Topics {
            source_events: self.source_events(consumer),
            agent_events: self.agent_events(consumer),
            source_broadcast: self.source_broadcast_filter(),
            agent_broadcast: self.agent_broadcast(consumer),
        }
    }

    /// The topic of events to one consumer.
    pub fn source_events(&self, consumer: &ConsumerName) -> String {
        self.source_events.topic(self.source(), consumer.as_str())
    }

    /// The topic of events from one consumer.
    pub fn agent_events(&self, consumer: &ConsumerName) -> String {
        self.agent_events.topic(self.source(), consumer.as_str())
    }

    /// What an agent subscribes to.
    pub fn source_events_filter(&self, consumer: &ConsumerName) -> String {
        self.source_events.filter(self.source(), consumer.as_str())
    }

    /// What the bridge subscribes to, with the `$share/NAME/` prefix when one is configured. A scheme read from
    /// an agent's file covers that one consumer.
    pub fn agent_events_filter(&self) -> String {
        let consumer = self.consumer.as_ref().map_or("+", ConsumerName::as_str);
        self.agent_events.filter(self.source(), consumer)
    }

    /// The topic of events from `source` to every consumer, when the scheme has one.
    pub fn source_broadcast(&self, source: &SourceId) -> Option<String> {
        let broadcast = self.source_broadcast.as_ref()?;
        Some(broadcast.topic(source.as_str()))
    }

    /// What an agent subscribes to for broadcasts, when the scheme has them.
    pub fn source_broadcast_filter(&self) -> Option<String> {
        self.source_broadcast.as_ref().map(Broadcast::filter)
    }

    /// The topic of events from one consumer to every source, when the scheme has one.
    pub fn agent_broadcast(&self, consumer: &ConsumerName) -> Option<String> {
        let broadcast = self.agent_broadcast.as_ref()?;
        Some(broadcast.topic(consumer.as_str()))
    }

    /// What the bridge subscribes to for broadcasts, when the scheme has them.
    pub fn agent_broadcast_filter(&self) -> Option<String> {
        self.agent_broadcast.as_ref().map(Broadcast::filter)
    }

    /// The consumer that a received topic belongs to, in either direction; `None` for any other topic.
    pub fn consumer_of(&self, topic: &str) -> Option<ConsumerName> {
        self.recognise(topic).map(|(_, consumer)| consumer)
    }

    /// The direction and the consumer of a received topic; `None` for a topic that is not of this scheme.
    pub fn recognise(&self, topic: &str) -> Option<(Channel, ConsumerName)> {
        let down = || self.source_events.consumer_of(self.source(), topic);
        let up = || self.agent_events.consumer_of(self.source(), topic);
        let broadcast = || self.agent_broadcast.as_ref()?.name_in(topic);
        let (channel, name) = down()
            .map(|name| (Channel::SourceEvents, name))
            .or_else(|| up().map(|name| (Channel::AgentEvents, name)))
            .or_else(|| broadcast().map(|name| (Channel::AgentEvents, name)))?;
        Some((channel, ConsumerName::new(name).ok()?))
    }

    /// The source named by the topics; `None` when they have no such level (the default scheme).
    pub fn source(&self) -> Option<&SourceId> {
        self.source.as_ref()
    }

    /// The consumer the topics are limited to; `None` for a bridge's file.
    pub fn consumer(&self) -> Option<&ConsumerName> {
        self.consumer.as_ref()
    }

    /// The shared subscription group of `agentEvents`, if one is configured.
    pub fn share(&self) -> Option<&str> {
        self.agent_events.share()
    }

    /// The same scheme with the bridge's subscription shared by the replicas of `group`, or not shared.
    ///
    /// # Errors
    /// [`SchemeError::Shape`] when `group` is not one or more of `a-z0-9-`.
    pub fn with_share(mut self, group: Option<&str>) -> Result<Self, SchemeError> {
        self.agent_events.set_share(group)?;
        self.check_length()?;
        Ok(self)
    }

    /// Refuses topics that are limited to a consumer other than `expected`.
    ///
    /// # Errors
    /// [`SchemeError::OtherConsumer`] with both names.
    pub fn check_consumer(&self, expected: &ConsumerName) -> Result<(), SchemeError> {
        match self.consumer() {
            Some(found) if found != expected => Err(SchemeError::OtherConsumer {
                found: found.clone(),
                expected: expected.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Refuses topics that name a source other than `expected`; its events would be dropped by every Go peer.
    ///
    /// # Errors
    /// [`SchemeError::OtherSource`] with both names.
    pub fn check_source(&self, expected: &SourceId) -> Result<(), SchemeError> {
        match self.source() {
            Some(found) if found != expected => Err(SchemeError::OtherSource {
                found: found.clone(),
                expected: expected.clone(),
            }),
            _ => Ok(()),
        }
    }

    // A consumer name of 63 characters must fit too: whoever registers one later cannot change the scheme.
    fn check_length(&self) -> Result<(), SchemeError> {
        let longest = "c".repeat(LONGEST_NAME);
        let source = self.source();
        let candidates = [
            (
                "sourceEvents",
                Some(self.source_events.filter(source, &longest)),
            ),
            (
                "agentEvents",
                Some(self.agent_events.filter(source, &longest)),
            ),
            (
                "sourceBroadcast",
                self.source_broadcast.as_ref().map(|b| b.topic(&longest)),
            ),
            (
                "agentBroadcast",
                self.agent_broadcast.as_ref().map(|b| b.topic(&longest)),
            ),
        ];
        for (field, topic) in candidates {
            if let Some(Err(source)) = topic.map(|topic| limits::check_filter(&topic)) {
                return Err(SchemeError::Limit { field, source });
            }
        }
        Ok(())
    }
}

// The one name all fields agree on; a field without one agrees with any.
fn agree<T>(
    segment: &'static str,
    fields: [(&'static str, Option<&str>); 3],
    check: impl FnOnce(&str) -> Result<T, InvalidName>,
) -> Result<Option<T>, SchemeError> {
    let mut found: Option<(&'static str, &str)> = None;
    for (field, name) in fields {
        match (found, name) {
            (Some((first_field, first)), Some(name)) if first != name => {
                return Err(SchemeError::Differ {
                    segment,
                    first_field,
                    first: first.to_owned(),
                    field,
                    name: name.to_owned(),
                });
            }
            (None, Some(name)) => found = Some((field, name)),
            _ => {}
        }
    }
    found
        .map(|(field, name)| check(name).map_err(|source| SchemeError::Name { field, source }))
        .transpose()
}

const SOURCE_EVENTS: &str = "sourceevents";
const AGENT_EVENTS: &str = "agentevents";
const SOURCE_BROADCAST: &str = "sourcebroadcast";
const AGENT_BROADCAST: &str = "agentbroadcast";

// An RFC 1123 label; consumer names and source ids are such labels (docs/MAESTRO.md §1.4).
const LONGEST_NAME: usize = 63;

#[cfg(test)]
mod tests;
