//! Questions to a party's policies, with the answer each should get. From the scheme of topics alone.

use link::id::ConsumerName;
use link::iot::PolicyAction;
use link::iot::lifecycle::PRESENCE_FILTERS;
use region_file::Region;

use super::PartyName;

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Probe {
    pub(super) action: PolicyAction,
    /// A client id, a filter or a topic.
    pub(super) subject: String,
    pub(super) expected: bool,
}

/// Every question to `party`, each once.
pub(super) fn all(region: &Region, party: &PartyName) -> Vec<Probe> {
    let mut asked = Asked(Vec::new());
    connections(region, party, &mut asked);
    for cluster in &region.clusters {
        topics_of(region, &cluster.id, party, &mut asked);
    }
    filters(region, party, &mut asked);
    broadcasts(region, party, &mut asked);
    asked.0
}

struct Asked(Vec<Probe>);

// === impl Asked ===

impl Asked {
    fn ask(&mut self, action: PolicyAction, subject: impl Into<String>, expected: bool) {
        let subject = subject.into();
        let same = |probe: &Probe| probe.action == action && probe.subject == subject;
        match self.0.iter_mut().find(|probe| same(probe)) {
            // Another party's filter may be its own too (a broadcast): then it should be allowed.
            Some(probe) => probe.expected |= expected,
            None => self.0.push(Probe {
                action,
                subject,
                expected,
            }),
        }
    }
}

// Each party under its own ids; nobody under another's, nor under the names of its things.
fn connections(region: &Region, party: &PartyName, asked: &mut Asked) {
    for id in region.server.party.client_ids() {
        asked.ask(
            PolicyAction::Connect,
            id.as_str(),
            *party == PartyName::Server,
        );
    }
    for cluster in &region.clusters {
        let own = is_agent(party, &cluster.id);
        for id in cluster.party.client_ids() {
            asked.ask(PolicyAction::Connect, id.as_str(), own);
        }
    }
    asked.ask(PolicyAction::Connect, FOREIGN_CLIENT, false);
}

fn topics_of(region: &Region, cluster: &ConsumerName, party: &PartyName, asked: &mut Asked) {
    let server = *party == PartyName::Server;
    let agent = is_agent(party, cluster);
    let down = region.scheme.source_events(cluster);
    let up = region.scheme.agent_events(cluster);
    asked.ask(PolicyAction::Publish, &down, server);
    asked.ask(PolicyAction::Receive, &down, agent);
    asked.ask(PolicyAction::Publish, &up, agent);
    asked.ask(PolicyAction::Receive, &up, server);
    // A retained message would be delivered again to everyone who comes later.
    asked.ask(PolicyAction::RetainPublish, &down, false);
    asked.ask(PolicyAction::RetainPublish, &up, false);
}

fn filters(region: &Region, party: &PartyName, asked: &mut Asked) {
    for cluster in &region.clusters {
        let filter = region.scheme.source_events_filter(&cluster.id);
        asked.ask(
            PolicyAction::Subscribe,
            filter,
            is_agent(party, &cluster.id),
        );
        // The server hears them all by one filter; an agent, not even its own.
        if *party != PartyName::Server {
            let answers = region.scheme.agent_events(&cluster.id);
            asked.ask(PolicyAction::Subscribe, answers, false);
        }
    }
    // All answers without the shared subscription's group: no party may subscribe to them.
    if let Ok(scheme) = region.scheme.clone().with_share(None)
        && region.scheme.share().is_some()
    {
        asked.ask(PolicyAction::Subscribe, scheme.agent_events_filter(), false);
    }
    let server = *party == PartyName::Server;
    asked.ask(
        PolicyAction::Subscribe,
        region.scheme.agent_events_filter(),
        server,
    );
    let every_cluster = region.scheme.bridge_topics().source_events;
    asked.ask(PolicyAction::Subscribe, every_cluster, false);
    for filter in PRESENCE_FILTERS {
        let hears = server && region.server.lifecycle_events;
        asked.ask(PolicyAction::Subscribe, filter, hears);
    }
    asked.ask(PolicyAction::Subscribe, "#", false);
}

fn broadcasts(region: &Region, party: &PartyName, asked: &mut Asked) {
    let server = *party == PartyName::Server;
    if let Some(topic) = region.scheme.source_broadcast(&region.server.source) {
        asked.ask(PolicyAction::Publish, &topic, server);
        asked.ask(PolicyAction::Receive, &topic, !server);
    }
    if let Some(filter) = region.scheme.source_broadcast_filter() {
        asked.ask(PolicyAction::Subscribe, filter, !server);
    }
    if let Some(filter) = region.scheme.agent_broadcast_filter() {
        asked.ask(PolicyAction::Subscribe, filter, server);
    }
    for cluster in &region.clusters {
        if let Some(topic) = region.scheme.agent_broadcast(&cluster.id) {
            asked.ask(PolicyAction::Publish, &topic, is_agent(party, &cluster.id));
            asked.ask(PolicyAction::Receive, &topic, server);
        }
    }
}

fn is_agent(party: &PartyName, cluster: &ConsumerName) -> bool {
    matches!(party, PartyName::Agent(id) if id == cluster.as_str())
}

// What `client/*` would let in.
const FOREIGN_CLIENT: &str = "somebody-else";
