//! One function per kind of party, from which its client ids, topics and policy all come.
//!
//! What connects, subscribes, writes a config file or registers a policy takes it from here, so that the four cannot
//! drift apart (docs/ARCHITECTURE.md, invariant C). Every party gets its own client ids and nothing that belongs to
//! another.

use crate::id::{ClientId, ConsumerName, SourceId};
use crate::iot::context::ArnPrefix;
use crate::iot::lifecycle::PRESENCE_FILTERS;
use crate::iot::limits::POLICY_CHARACTERS;
use crate::iot::policy::{Document, PolicyAction, Statement};
use crate::topic::{Scheme, SchemeError};

pub use error::PartyError;

mod error;

/// A party of the link and all it may do there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    name: &'static str,
    event_source: Option<String>,
    client_ids: Vec<ClientId>,
    connects: Vec<String>,
    // Within `connects`, what belongs to others.
    connects_not: Vec<String>,
    // Patterns that cover `connects` in less space, for a policy that would be too long otherwise.
    connects_compact: Vec<String>,
    publishes: Vec<String>,
    retains: Vec<String>,
    subscribes: Vec<String>,
    receives: Vec<String>,
}

// === impl Party ===

impl Party {
    /// The agent of `consumer`: client id `<consumer>-work-agent-client`, events from `<consumer>-work-agent`
    /// (docs/MAESTRO.md §1.2).
    ///
    /// # Errors
    /// [`PartyError::Scheme`] when the topics are another consumer's.
    pub fn agent(scheme: &Scheme, consumer: &ConsumerName) -> Result<Self, PartyError> {
        Self::agent_as(scheme, consumer, &format!("{consumer}-work-agent"))
    }

    /// The agent of `consumer` under another event source than the usual: client id `<event_source>-client`
    /// (upstream's `--cloudevents-client-id`).
    ///
    /// # Errors
    /// [`PartyError`] when the topics are another consumer's or the client id would not be accepted.
    pub fn agent_as(
        scheme: &Scheme,
        consumer: &ConsumerName,
        event_source: &str,
    ) -> Result<Self, PartyError> {
        let party = "agent";
        scheme
            .check_consumer(consumer)
            .map_err(|source| PartyError::Scheme { party, source })?;
        let client_id = ClientId::new(format!("{event_source}-client"))
            .map_err(|source| PartyError::ClientId { party, source })?;

        let mut publishes = vec![scheme.agent_events(consumer)];
        publishes.extend(scheme.agent_broadcast(consumer));
        let mut subscribes = vec![scheme.source_events_filter(consumer)];
        subscribes.extend(scheme.source_broadcast_filter());
        let mut receives = vec![scheme.source_events(consumer)];
        receives.extend(scheme.source_broadcast_filter().map(|f| received(&f)));
        add_shared(&subscribes, &mut receives);
        Ok(Self {
            event_source: Some(event_source.to_owned()),
            publishes,
            subscribes,
            receives,
            ..Self::connecting(party, vec![client_id])
        })
    }

    /// The bridge of `source`, alone on its store: client id `base`, or `base-0` to `base-<n-1>` for a pool of n
    /// connections. It may publish to every consumer and subscribe to what all of them publish, but cannot publish as
    /// one.
    ///
    /// # Errors
    /// [`PartyError`] when the topics are another source's or a client id would not be accepted.
    pub fn bridge(
        scheme: &Scheme,
        source: &SourceId,
        base: &ClientId,
        connections: u16,
    ) -> Result<Self, PartyError> {
        let names = match connections {
            1 => vec![base.to_string()],
            many => (0..many).map(|index| format!("{base}-{index}")).collect(),
        };
        let mut bridge = Self::bridge_as(scheme, source, &names)?;
        if connections > 1 {
            bridge.connects_compact = counted(&format!("{base}-"), connections);
        }
        Ok(bridge)
    }

    /// One of several bridges of `source` on one store, by its numbered slot: client id `base-<slot>`, and
    /// `base-<slot>-1` to `base-<slot>-<n-1>` for its further connections. They share their subscriptions
    /// ([`Party::replica_scheme`]).
    ///
    /// # Errors
    /// [`PartyError`] when the topics are another source's or a client id would not be accepted.
    pub fn replica(
        scheme: &Scheme,
        source: &SourceId,
        base: &ClientId,
        slot: u16,
        connections: u16,
    ) -> Result<Self, PartyError> {
        let scheme = Self::replica_scheme(scheme, base)?;
        Self::bridge_as(&scheme, source, &of_slot(base, slot, connections))
    }

    /// All the bridges of `source` on one store, which have one certificate and so one policy: the client ids of `slots`
    /// slots of `connections` connections each.
    ///
    /// # Errors
    /// [`PartyError`] when the topics are another source's or a client id would not be accepted.
    pub fn replicas(
        scheme: &Scheme,
        source: &SourceId,
        base: &ClientId,
        slots: u16,
        connections: u16,
    ) -> Result<Self, PartyError> {
        let scheme = Self::replica_scheme(scheme, base)?;
        let names: Vec<String> = (0..slots)
            .flat_map(|slot| of_slot(base, slot, connections))
            .collect();
        let mut replicas = Self::bridge_as(&scheme, source, &names)?;
        replicas.connects_compact = counted(&format!("{base}-"), slots)
            .into_iter()
            .flat_map(|slot| {
                let further = counted(&format!("{slot}-"), connections);
                let further = if connections > 1 { further } else { Vec::new() };
                std::iter::once(slot).chain(further)
            })
            .collect();
        Ok(replicas)
    }

    /// The topics of bridges that share one store: each status goes to one of them. The group is the one that the topics
    /// name, or else `base`, which then is of `a-z0-9-` only.
    ///
    /// # Errors
    /// [`PartyError::Group`] when `base` holds other characters, [`PartyError::Scheme`] when the shared filter would be
    /// too long.
    pub fn replica_scheme(scheme: &Scheme, base: &ClientId) -> Result<Scheme, PartyError> {
        if scheme.share().is_some() {
            return Ok(scheme.clone());
        }
        let shared = scheme.clone().with_share(Some(base.as_str()));
        shared.map_err(|source| match source {
            SchemeError::Shape { .. } => PartyError::Group { id: base.clone() },
            source => PartyError::Scheme {
                party: BRIDGE,
                source,
            },
        })
    }

    fn bridge_as(
        scheme: &Scheme,
        source: &SourceId,
        client_ids: &[String],
    ) -> Result<Self, PartyError> {
        let party = BRIDGE;
        scheme
            .check_source(source)
            .map_err(|source| PartyError::Scheme { party, source })?;
        if client_ids.is_empty() {
            return Err(PartyError::NoConnections);
        }
        let client_ids = client_ids
            .iter()
            .map(|name| ClientId::new(name.as_str()))
            .collect::<Result<_, _>>()
            .map_err(|source| PartyError::ClientId { party, source })?;
        let topics = scheme.bridge_topics();
        let mut publishes = vec![received(&topics.source_events)];
        publishes.extend(scheme.source_broadcast(source));
        let subscribes: Vec<String> = [Some(topics.agent_events), topics.agent_broadcast]
            .into_iter()
            .flatten()
            .collect();
        let mut receives: Vec<String> = subscribes.iter().map(|filter| received(filter)).collect();
        add_shared(&subscribes, &mut receives);
        Ok(Self {
            event_source: Some(source.to_string()),
            publishes,
            subscribes,
            receives,
            ..Self::connecting(party, client_ids)
        })
    }

    /// The operator's tools: client ids `name` and `name-<anything>` except agents' (`…client`); topics `test/…` and
    /// those of the consumer called `test`, both ways, and nothing of a real consumer.
    ///
    /// Retained messages are allowed on `test/…` only: left on a consumer's topic they would outlive the test.
    pub fn operator(scheme: &Scheme, name: &ClientId) -> Self {
        let mut topics = vec![format!("{TEST}/*")];
        let mut subscribes = topics.clone();
        if let Ok(consumer) = ConsumerName::new(TEST) {
            for topic in [
                scheme.source_events(&consumer),
                scheme.agent_events(&consumer),
            ] {
                let under = topic
                    .rsplit_once('/')
                    .map_or_else(|| topic.clone(), |(parent, _)| format!("{parent}/*"));
                if !topics.contains(&under) {
                    topics.push(under.clone());
                    subscribes.push(under);
                }
            }
        }
        let mut operator = Self {
            publishes: topics.clone(),
            retains: vec![format!("{TEST}/*")],
            subscribes,
            receives: topics,
            ..Self::connecting("operator", vec![name.clone()])
        };
        operator.connects.push(format!("{name}-*"));
        // The agent of a consumer called `name-…` has such an id too, and all agents' ids end like this.
        operator.connects_not.push(format!("{name}-*client"));
        operator
    }

    /// The same party, which also hears which clients connect and go: of the whole account and region, because lifecycle
    /// events have no filter for some clients (docs/IOT-CORE.md §1.4).
    #[must_use]
    pub fn hearing_lifecycle_events(mut self) -> Self {
        let filters = PRESENCE_FILTERS.map(str::to_owned);
        self.receives.extend(filters.iter().map(|f| received(f)));
        self.subscribes.extend(filters);
        self
    }

    /// The consumer whose agent has this client id, under the usual event source ([`Party::agent`]).
    pub fn consumer_of_agent(client_id: &str) -> Option<ConsumerName> {
        let consumer = client_id.strip_suffix("-work-agent-client")?;
        ConsumerName::new(consumer).ok()
    }

    /// The exact client ids this party connects under, one per connection. An operator may also use its own with
    /// `-<anything>` after it.
    pub fn client_ids(&self) -> Vec<ClientId> {
        self.client_ids.clone()
    }

    /// `agent`, `bridge` or `operator`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The CloudEvents `source` of what this party says; an operator has none (docs/MAESTRO.md §1.2).
    pub fn event_source(&self) -> Option<&str> {
        self.event_source.as_deref()
    }

    /// Topics it publishes to, as policy patterns (`*` for any consumer).
    pub fn publishes(&self) -> &[String] {
        &self.publishes
    }

    /// Filters it subscribes to, as sent for agent and bridge; an operator's are policy patterns.
    pub fn subscribes(&self) -> &[String] {
        &self.subscribes
    }

    /// Filters that the connection of this number subscribes to: one is enough for what the broker tells of connections.
    pub fn subscribes_on(&self, index: usize) -> Vec<String> {
        let mut filters = self.subscribes.clone();
        filters.retain(|filter| index == 0 || !PRESENCE_FILTERS.contains(&filter.as_str()));
        filters
    }

    /// Topics it receives, as policy patterns (`*` for any consumer).
    pub fn receives(&self) -> &[String] {
        &self.receives
    }

    /// The policy that allows this and nothing else.
    ///
    /// Client ids are listed one by one as long as the document stays within IoT Core's 2 048 characters; a big
    /// pool is named by its length (`base-?`, `base-??`) instead.
    pub fn policy(&self, arn: &ArnPrefix) -> Document {
        let exact = self.document(arn, &self.connects);
        if exact.size() <= POLICY_CHARACTERS || self.connects_compact.is_empty() {
            return exact;
        }
        self.document(arn, &self.connects_compact)
    }

    fn connecting(name: &'static str, client_ids: Vec<ClientId>) -> Self {
        Self {
            name,
            event_source: None,
            connects: client_ids.iter().map(ClientId::to_string).collect(),
            connects_not: Vec::new(),
            connects_compact: Vec::new(),
            client_ids,
            publishes: Vec::new(),
            retains: Vec::new(),
            subscribes: Vec::new(),
            receives: Vec::new(),
        }
    }

    fn document(&self, arn: &ArnPrefix, connects: &[String]) -> Document {
        let parts = [
            (PolicyAction::Connect, connects),
            (PolicyAction::Publish, &self.publishes),
            (PolicyAction::RetainPublish, &self.retains),
            (PolicyAction::Subscribe, &self.subscribes),
            (PolicyAction::Receive, &self.receives),
        ];
        let statement = |action: PolicyAction, resources: &[String]| {
            let kind = action.resource_kind();
            let names = resources.iter().map(|name| format!("{arn}:{kind}/{name}"));
            (!resources.is_empty()).then(|| Statement::allow([action], names))
        };
        let mut statements: Vec<Statement> = parts
            .into_iter()
            .filter_map(|(action, resources)| statement(action, resources))
            .collect();
        let others = statement(PolicyAction::Connect, &self.connects_not);
        statements.extend(others.map(Statement::denying));
        Document::new(statements).named(self.name)
    }
}

// The topics a filter of ours covers, as a policy pattern: `+` stands for names, which hold no `/`.
fn received(filter: &str) -> String {
    let (_, bare) = crate::iot::filter::split_share(filter);
    bare.replace('+', "*")
}

// The client ids of one slot.
fn of_slot(base: &ClientId, slot: u16, connections: u16) -> Vec<String> {
    (0..connections)
        .map(|index| match index {
            0 => format!("{base}-{slot}"),
            further => format!("{base}-{slot}-{further}"),
        })
        .collect()
}

// Patterns for `before0` to `before<n-1>`: `?` for ten of them, `??` for the next ninety. The length is pinned, the
// digits are not.
fn counted(before: &str, n: u16) -> Vec<String> {
    let digits = n.saturating_sub(1).to_string().len();
    (1..=digits)
        .map(|count| format!("{before}{}", "?".repeat(count)))
        .collect()
}

// Which resource IoT Core checks on the delivery of a shared subscription is not verified: grant both
// (docs/IOT-CORE.md §1.5).
fn add_shared(subscribes: &[String], receives: &mut Vec<String>) {
    let shared = subscribes
        .iter()
        .filter(|filter| filter.starts_with("$share/"))
        .map(|filter| filter.replace('+', "*"));
    receives.extend(shared);
}

const BRIDGE: &str = "bridge";

// The consumer and the first level that belong to nobody but the operator.
const TEST: &str = "test";

#[cfg(test)]
mod tests;
