//! Who is looked at: the party whose client id, topics and policy are checked, and what is foreign to it; pure.

use link::error::{ExitKind, Failure};
use link::event::check;
use link::id::{ClientId, ConsumerName, SourceId};
use link::iot::{Context as Connection, Document, Request, evaluate};
use link::message::Message;
use link::party::Party;
use link::topic::Scheme;

use super::Context;

/// Whose place the doctor takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The agent of a consumer.
    Agent(ConsumerName),
    /// The bridge of a source.
    Bridge(SourceId),
    /// Whoever holds the certificate, on a topic of its own.
    Operator,
}

/// A party with what it does and what it must not do.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    pub(crate) role: Role,
    pub(crate) party: Party,
    /// The client id that the party connects with.
    pub(crate) own: String,
    /// Whether another process may be connected with it now.
    pub(crate) shared: bool,
    /// What it subscribes to.
    pub(crate) filters: Vec<String>,
    /// Where a message of the check goes.
    pub(crate) topic: String,
    /// A client id that nobody has.
    pub(crate) foreign: String,
    /// Topics that nobody has and this party must not publish to.
    pub(crate) foreign_topics: Vec<String>,
    /// Filters that this party must not subscribe to.
    pub(crate) foreign_filters: Vec<String>,
}

// === impl Who ===

impl Who {
    /// From the command line and the mount.
    ///
    /// # Errors
    /// A name that makes no client id or no topic.
    pub(crate) fn of(context: &Context) -> Result<Self, Failure> {
        let target = &context.target;
        let given = context.args.connection.id.is_some();
        let random = uuid::Uuid::new_v4().simple().to_string();
        let nobody = format!("doctor-{}", &random[..12]);
        match (&context.consumer, &context.args.far.source) {
            (_, Some(source)) => {
                let source = SourceId::new(source.clone()).map_err(Failure::usage)?;
                let base = given.then_some(&target.client_id);
                Self::bridge(&target.scheme, source, base, &nobody)
            }
            (Some(consumer), None) if context.args.topic.is_none() => {
                let id = given.then_some(&target.client_id);
                Self::agent(&target.scheme, consumer, id, &nobody)
            }
            _ => {
                let topic = target.topic_or_own(context.args.topic.as_deref())?;
                Ok(Self::operator(
                    &target.scheme,
                    &target.client_id,
                    given,
                    topic,
                    &nobody,
                ))
            }
        }
    }

    /// The agent of a consumer, under its usual client id or another one.
    pub(crate) fn agent(
        scheme: &Scheme,
        consumer: &ConsumerName,
        id: Option<&ClientId>,
        nobody: &str,
    ) -> Result<Self, Failure> {
        let source = id.and_then(|id| id.as_str().strip_suffix("-client"));
        let party = match source {
            Some(source) => Party::agent_as(scheme, consumer, source),
            None => Party::agent(scheme, consumer),
        };
        let party = party.map_err(|error| Failure::new(ExitKind::Usage, error))?;
        let own = id.cloned().or_else(|| party.client_ids().first().cloned());
        Ok(Self {
            own: own.map(|id| id.to_string()).unwrap_or_default(),
            shared: true,
            filters: party.subscribes().to_vec(),
            topic: scheme.agent_events(consumer),
            role: Role::Agent(consumer.clone()),
            ..Self::among_foreigners(scheme, party, nobody)
        })
    }

    /// The bridge of a source.
    pub(crate) fn bridge(
        scheme: &Scheme,
        source: SourceId,
        base: Option<&ClientId>,
        nobody: &str,
    ) -> Result<Self, Failure> {
        let usual = ClientId::new(source.as_str()).map_err(Failure::usage)?;
        let base = base.unwrap_or(&usual);
        let party = Party::bridge(scheme, &source, base, 1)
            .map_err(|error| Failure::new(ExitKind::Usage, error))?;
        let consumer = ConsumerName::new(nobody).map_err(Failure::usage)?;
        Ok(Self {
            own: base.to_string(),
            shared: true,
            filters: party.subscribes().to_vec(),
            // Nobody's topic, so that no agent hears of it.
            topic: scheme.source_events(&consumer),
            role: Role::Bridge(source),
            ..Self::among_foreigners(scheme, party, nobody)
        })
    }

    /// Whoever holds the certificate.
    pub(crate) fn operator(
        scheme: &Scheme,
        id: &ClientId,
        given: bool,
        topic: String,
        nobody: &str,
    ) -> Self {
        let name = ClientId::new(OPERATOR).unwrap_or_else(|_| id.clone());
        let party = Party::operator(scheme, &name);
        Self {
            own: id.to_string(),
            shared: given,
            filters: vec![topic.clone()],
            topic,
            role: Role::Operator,
            ..Self::among_foreigners(scheme, party, nobody)
        }
    }

    /// The message of a check on a topic: no event, and says so.
    pub(crate) fn message(&self, topic: &str) -> Message {
        check::message(topic, &self.own)
    }

    /// A client id, topic or filter of this party as a policy has to allow it: what is made for one run is named by its
    /// pattern.
    pub(crate) fn pattern(&self, on: &str) -> String {
        match self.is_random() {
            true => on.replace(&self.own, OPERATOR_IDS),
            false => on.to_owned(),
        }
    }

    /// What else the policy may allow where the client id is made for one run, to stand behind its statement.
    pub(crate) fn named_by(&self) -> &'static str {
        match self.is_random() {
            true => " (or the id that is given with `-i`)",
            false => "",
        }
    }

    // Whether the client id is made for this run.
    fn is_random(&self) -> bool {
        self.role == Role::Operator && !self.shared && self.own.starts_with(OPERATOR)
    }

    /// Whether what it publishes comes back to it.
    pub(crate) fn hears_itself(&self) -> bool {
        self.role == Role::Operator
    }

    /// Whether a subscription takes messages away from others that share it.
    pub(crate) fn shares_subscription(&self) -> bool {
        self.filters
            .iter()
            .any(|filter| filter.starts_with("$share/"))
    }

    // What the party's own policy refuses of what a policy that is too wide would allow.
    fn among_foreigners(scheme: &Scheme, party: Party, nobody: &str) -> Self {
        let mut connection = Connection::default();
        if let Some(id) = party.client_ids().first() {
            connection.client_id = id.to_string();
        }
        let own: [Document; 1] = [party.policy(&connection.arn)];
        let consumer = ConsumerName::new(nobody).ok();
        let (down, up) = match &consumer {
            Some(consumer) => (
                scheme.source_events(consumer),
                scheme.agent_events(consumer),
            ),
            None => (format!("{nobody}/down"), format!("{nobody}/up")),
        };
        let refused = |request: Request<'_>| !evaluate(&own, &request).is_allowed();
        let topics = [down.clone(), up.clone()];
        let everybodys = down.replace(nobody, "+");
        let foreign_topics = topics
            .iter()
            .filter(|topic| refused(Request::publish(topic, &connection)))
            .cloned()
            .collect();
        let foreign_filters = [down, up, everybodys]
            .iter()
            .filter(|filter| refused(Request::subscribe(filter, &connection)))
            // What `+` covers is the party's own already.
            .filter(|filter| !party.subscribes().iter().any(|own| covers(own, filter)))
            .cloned()
            .collect();
        Self {
            role: Role::Operator,
            own: String::new(),
            shared: false,
            filters: Vec::new(),
            topic: String::new(),
            foreign: nobody.to_owned(),
            foreign_topics,
            foreign_filters,
            party,
        }
    }
}

// Whether every topic that a filter of the scheme matches is matched by another one.
fn covers(wide: &str, narrow: &str) -> bool {
    let bare = |filter: &str| match filter.strip_prefix("$share/") {
        Some(rest) => rest.split_once('/').map_or("", |(_, bare)| bare).to_owned(),
        None => filter.to_owned(),
    };
    let (wide, narrow) = (bare(wide), bare(narrow));
    let (mut wide, mut narrow) = (wide.split('/'), narrow.split('/'));
    loop {
        match (wide.next(), narrow.next()) {
            (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(one), Some(other)) if one == other => {}
            _ => return false,
        }
    }
}

// The name under which the provisioner makes an operator's certificate (`Target::resolve` makes such client ids).
const OPERATOR: &str = "probe";

// What that one's policy lets connect besides the name itself (`Party::operator`).
const OPERATOR_IDS: &str = "probe-*";

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: &str = "doctor-0123456789ab";

    fn consumer() -> ConsumerName {
        ConsumerName::new("cluster-1").unwrap()
    }

    #[test]
    fn a_policy_is_asked_for_the_pattern_of_ids_that_are_made_for_one_run() {
        let id = ClientId::new("probe-0123456789ab").unwrap();
        let who = |given| Who::operator(&Scheme::default(), &id, given, "test/a".into(), NOBODY);
        for (on, pattern) in [
            ("probe-0123456789ab", "probe-*"),
            ("test/probe/probe-0123456789ab", "test/probe/probe-*"),
            ("test/a", "test/a"),
        ] {
            assert_eq!(who(false).pattern(on), pattern);
            assert_eq!(who(true).pattern(on), on);
        }
        let arn = link::iot::ArnPrefix::default();
        let policy = who(false).party.policy(&arn).to_json();
        assert!(
            policy.contains(&format!("client/{OPERATOR_IDS}")),
            "{policy}"
        );
    }

    #[test]
    fn an_agent_is_asked_to_do_nothing_as_another_one() {
        let scheme = Scheme::default();
        let agent = Who::agent(&scheme, &consumer(), None, NOBODY).unwrap();
        assert_eq!(agent.own, "cluster-1-work-agent-client");
        assert_eq!(agent.topic, "maestro/consumers/cluster-1/agentevents");
        assert_eq!(
            agent.foreign_topics,
            [
                format!("maestro/consumers/{NOBODY}/sourceevents"),
                format!("maestro/consumers/{NOBODY}/agentevents"),
            ]
        );
        assert_eq!(agent.foreign_filters.len(), 3);
        assert!(agent.shared && !agent.hears_itself());
    }

    #[test]
    fn what_a_bridge_may_do_to_all_consumers_is_not_foreign_to_it() {
        let source = SourceId::new("maestro").unwrap();
        let scheme = Scheme::upstream(&source);
        let bridge = Who::bridge(&scheme, source, None, NOBODY).unwrap();
        assert_eq!(
            bridge.foreign_topics,
            [format!("sources/maestro/consumers/{NOBODY}/agentevents")]
        );
        assert_eq!(
            bridge.foreign_filters,
            [
                format!("sources/maestro/consumers/{NOBODY}/sourceevents"),
                "sources/maestro/consumers/+/sourceevents".to_owned(),
            ]
        );
    }
}
