//! Each party may do its own work and nothing of another's, under every scheme and the longest names.

use proptest::prelude::*;

use super::*;
use crate::error::Hint as _;
use crate::error::chain;
use crate::iot::context::Context;
use crate::iot::evaluate::{Request, evaluate};
use crate::topic::Topics;

fn consumer(name: &str) -> ConsumerName {
    ConsumerName::new(name).unwrap()
}

fn source(name: &str) -> SourceId {
    SourceId::new(name).unwrap()
}

fn client(id: &str) -> ClientId {
    ClientId::new(id).unwrap()
}

fn arn() -> ArnPrefix {
    ArnPrefix {
        partition: "aws-us-gov".into(),
        region: "us-gov-west-1".into(),
        account: "123456789012".into(),
    }
}

struct Asker {
    policies: Vec<Document>,
    context: Context,
}

impl Asker {
    fn new(party: &Party, client_id: &str) -> Self {
        Self {
            policies: vec![party.policy(&arn())],
            context: Context::new(arn(), client_id),
        }
    }

    fn connect(&self) -> bool {
        self.ask(&Request::connect(&self.context))
    }

    fn publish(&self, topic: &str) -> bool {
        self.ask(&Request::publish(topic, &self.context))
    }

    fn retain(&self, topic: &str) -> bool {
        self.ask(&Request::retain_publish(topic, &self.context))
    }

    fn subscribe(&self, filter: &str) -> bool {
        self.ask(&Request::subscribe(filter, &self.context))
    }

    fn receive(&self, topic: &str) -> bool {
        self.ask(&Request::receive(topic, &self.context))
    }

    fn ask(&self, request: &Request<'_>) -> bool {
        evaluate(&self.policies, request).is_allowed()
    }
}

fn longest_scheme() -> Scheme {
    let name = "s".repeat(63);
    Scheme::parse(&Topics {
        source_events: format!("sources/{name}/consumers/+/sourceevents"),
        agent_events: format!("$share/statussubscribers/sources/{name}/consumers/+/agentevents"),
        source_broadcast: Some(format!("sources/{name}/sourcebroadcast")),
        agent_broadcast: Some("consumers/+/agentbroadcast".into()),
    })
    .unwrap()
}

#[test]
fn agent_is_named_as_upstream_names_it() {
    let agent = Party::agent(&Scheme::default(), &consumer("cluster1")).unwrap();
    assert_eq!(agent.client_ids(), [client("cluster1-work-agent-client")]);
    assert_eq!(agent.event_source(), Some("cluster1-work-agent"));
    assert_eq!(
        agent
            .policy(&ArnPrefix::new("us-east-2", "123456789012"))
            .to_json(),
        concat!(
            r#"{"Version":"2012-10-17","Statement":["#,
            r#"{"Effect":"Allow","Action":"iot:Connect","Resource":"arn:aws:iot:us-east-2:123456789012:client/cluster1-work-agent-client"},"#,
            r#"{"Effect":"Allow","Action":"iot:Publish","Resource":"arn:aws:iot:us-east-2:123456789012:topic/maestro/consumers/cluster1/agentevents"},"#,
            r#"{"Effect":"Allow","Action":"iot:Subscribe","Resource":"arn:aws:iot:us-east-2:123456789012:topicfilter/maestro/consumers/cluster1/sourceevents"},"#,
            r#"{"Effect":"Allow","Action":"iot:Receive","Resource":"arn:aws:iot:us-east-2:123456789012:topic/maestro/consumers/cluster1/sourceevents"}]}"#,
        )
    );
}

#[test]
fn agent_keeps_an_id_given_by_flag() {
    let agent = Party::agent_as(&Scheme::default(), &consumer("c1"), "c1-custom").unwrap();
    assert_eq!(agent.client_ids(), [client("c1-custom-client")]);
    assert_eq!(agent.event_source(), Some("c1-custom"));
    let error = Party::agent_as(&Scheme::default(), &consumer("c1"), "a b").unwrap_err();
    assert!(
        chain(&error).contains("name the connections of the agent: client id `a b-client`"),
        "{}",
        chain(&error)
    );
}

#[test]
fn bridge_speaks_to_every_consumer_and_for_none() {
    let scheme = Scheme::default();
    let bridge = Party::bridge(&scheme, &source("maestro"), &client("maestro-0"), 1).unwrap();
    assert_eq!(bridge.client_ids(), [client("maestro-0")]);
    let asker = Asker::new(&bridge, "maestro-0");
    assert!(asker.connect());
    assert!(asker.publish("maestro/consumers/c1/sourceevents"));
    assert!(!asker.publish("maestro/consumers/c1/agentevents"));
    assert!(asker.subscribe(&scheme.agent_events_filter()));
    assert!(!asker.subscribe("maestro/#"));
    assert!(asker.receive("maestro/consumers/c1/agentevents"));
    assert!(!asker.receive("maestro/consumers/c1/sourceevents"));
    assert!(!Asker::new(&bridge, "c1-work-agent-client").connect());
    assert!(!Asker::new(&bridge, "maestro-01").connect());
}

#[test]
fn shared_bridge_may_use_its_group_and_receive_under_either_name() {
    let scheme = longest_scheme();
    let bridge = Party::bridge(&scheme, scheme.source().unwrap(), &client("b"), 1).unwrap();
    let asker = Asker::new(&bridge, "b");
    let topic = scheme.agent_events(&consumer("c1"));
    assert!(asker.subscribe(&scheme.agent_events_filter()));
    assert!(asker.receive(&topic));
    assert!(asker.receive(&format!("$share/statussubscribers/{topic}")));
    assert!(!asker.subscribe(&format!("$share/other/{topic}")));
    assert!(asker.receive("consumers/c1/agentbroadcast"));
    assert!(asker.publish(&scheme.source_broadcast(scheme.source().unwrap()).unwrap()));
}

#[test]
fn pool_ids_are_listed_one_by_one_until_the_policy_is_full() {
    let small = Party::bridge(&Scheme::default(), &source("m"), &client("bridge"), 8).unwrap();
    assert_eq!(small.client_ids().len(), 8);
    assert!(Asker::new(&small, "bridge-7").connect());
    assert!(!Asker::new(&small, "bridge-8").connect());
    assert!(!Asker::new(&small, "bridge").connect());

    let big = Party::bridge(&Scheme::default(), &source("m"), &client("bridge"), 64).unwrap();
    big.policy(&arn()).check_size().unwrap();
    for id in big.client_ids() {
        assert!(Asker::new(&big, id.as_str()).connect(), "{id}");
    }
    assert!(!Asker::new(&big, "bridge-100").connect());
    assert!(!Asker::new(&big, "other-1").connect());
}

#[test]
fn replicas_have_the_ids_of_their_slots_one_policy_and_share_what_they_hear() {
    let (scheme, m, base) = (Scheme::default(), source("m"), client("maestro"));
    for connections in [1, 3] {
        let all = Party::replicas(&scheme, &m, &base, 8, connections).unwrap();
        let of_slots: Vec<ClientId> = (0..8)
            .flat_map(|slot| {
                let replica = Party::replica(&scheme, &m, &base, slot, connections).unwrap();
                assert_eq!(replica.subscribes(), all.subscribes());
                replica.client_ids()
            })
            .collect();
        assert_eq!(all.client_ids(), of_slots);
        for id in &of_slots {
            assert!(Asker::new(&all, id.as_str()).connect(), "{id}");
        }
        // The policy lists them one by one as long as that fits, and then by their length.
        let foreign: &[&str] = if connections == 1 {
            &["maestro", "maestro-8", "maestro-0-1"]
        } else {
            &[
                "maestro",
                "maestro-10",
                "maestro-0-10",
                "maestro-x-work-agent-client",
            ]
        };
        for foreign in foreign {
            assert!(!Asker::new(&all, foreign).connect(), "{foreign}");
        }
        let asker = Asker::new(&all, "maestro-7");
        assert!(asker.subscribe("$share/maestro/maestro/consumers/+/agentevents"));
        assert!(!asker.subscribe("maestro/consumers/+/agentevents"));
        assert!(asker.receive("maestro/consumers/c1/agentevents"));
    }
    let ids = |slot| {
        Party::replica(&scheme, &m, &base, slot, 2)
            .unwrap()
            .client_ids()
    };
    assert_eq!(ids(11), [client("maestro-11"), client("maestro-11-1")]);
    let named = longest_scheme();
    let replica = Party::replica(&named, named.source().unwrap(), &base, 0, 1).unwrap();
    assert_eq!(replica.subscribes()[0], named.agent_events_filter());
    let none = Party::replicas(&scheme, &m, &base, 0, 1).unwrap_err();
    assert_eq!(none, PartyError::NoConnections);
}

#[test]
fn every_policy_fits_with_the_longest_names() {
    let scheme = longest_scheme();
    let longest = consumer(&"c".repeat(63));
    let base = client(&"b".repeat(100));
    let parties = [
        Party::agent(&scheme, &longest).unwrap(),
        Party::bridge(&scheme, scheme.source().unwrap(), &base, 1).unwrap(),
        Party::bridge(&scheme, scheme.source().unwrap(), &base, 1000).unwrap(),
        Party::replicas(&scheme, scheme.source().unwrap(), &base, 64, 1).unwrap(),
        Party::operator(&scheme, &base),
    ];
    for party in parties {
        let policy = party.policy(&arn());
        policy.check_size().unwrap();
        assert_eq!(policy.warnings(), Vec::<String>::new());
    }
}

#[test]
fn operator_may_test_and_nothing_else() {
    for scheme in [Scheme::default(), Scheme::upstream(&source("maestro"))] {
        let operator = Party::operator(&scheme, &client("probe"));
        let asker = Asker::new(&operator, "probe-1234");
        let (test, real) = (consumer("test"), consumer("test2"));
        assert!(asker.connect());
        assert!(Asker::new(&operator, "probe").connect());
        assert!(!Asker::new(&operator, "probe2").connect());
        assert!(Asker::new(&operator, "probe-77").connect());
        for name in ["probe", "probe-x"] {
            let agent = Party::agent(&scheme, &consumer(name)).unwrap();
            let id = &agent.client_ids()[0];
            assert!(!Asker::new(&operator, id.as_str()).connect(), "{id}");
        }
        for topic in [
            scheme.source_events(&test),
            scheme.agent_events(&test),
            "test/ping/1".into(),
        ] {
            assert!(
                asker.publish(&topic) && asker.subscribe(&topic) && asker.receive(&topic),
                "{topic}"
            );
        }
        assert!(asker.subscribe("test/#"));
        assert!(asker.retain("test/x"));
        assert!(!asker.retain(&scheme.source_events(&test)));
        for topic in [
            scheme.source_events(&real),
            scheme.agent_events(&real),
            "#".into(),
        ] {
            assert!(
                !asker.publish(&topic) && !asker.subscribe(&topic) && !asker.receive(&topic),
                "{topic}"
            );
        }
        assert!(!asker.subscribe(&scheme.agent_events_filter()));
    }
}

#[test]
fn another_party_s_topics_are_refused_at_start() {
    let scheme = Scheme::parse(&Scheme::default().agent_topics(&consumer("c1"))).unwrap();
    let error = Party::agent(&scheme, &consumer("c2")).unwrap_err();
    assert_eq!(
        chain(&error),
        "give topics to the agent: topics are those of consumer `c1`, but this is consumer `c2`"
    );
    assert!(error.hint().unwrap().contains("--consumer-name c1"));
    let scheme = Scheme::upstream(&source("maestro"));
    let error = Party::bridge(&scheme, &source("hub"), &client("b"), 1).unwrap_err();
    assert!(chain(&error).contains("the source id is `hub`"));
    let none = Party::bridge(&scheme, &source("maestro"), &client("b"), 0).unwrap_err();
    assert_eq!(none, PartyError::NoConnections);
}

#[test]
fn a_client_id_that_no_group_of_replicas_can_be_named_after_is_refused_by_its_name() {
    let scheme = Scheme::default();
    for id in ["maestro_eu", "Maestro", "eu.maestro", "eu:1"] {
        let error = Party::replicas(&scheme, &source("maestro"), &client(id), 8, 1).unwrap_err();
        let said = chain(&error);
        assert!(
            said.starts_with(&format!("client id `{id}` of several replicas")),
            "{said}"
        );
        assert!(!said.contains("agentEvents"), "{said}");
        assert!(
            error
                .hint()
                .unwrap()
                .contains("`--client-id` of lower-case letters, digits and `-`")
        );
        // Alone, or with a group that has a name of its own, it is as good as any.
        Party::bridge(&scheme, &source("maestro"), &client(id), 1).unwrap();
        let named = scheme.clone().with_share(Some("maestro-eu")).unwrap();
        Party::replica_scheme(&named, &client(id)).unwrap();
    }
}

fn name() -> impl Strategy<Value = String> {
    "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
}

proptest! {
    #[test]
    fn an_agent_may_do_its_own_work_and_none_of_another_s(
        own in name(), other in name(), upstream in any::<bool>(),
    ) {
        prop_assume!(own != other);
        let scheme = if upstream { Scheme::upstream(&source("maestro")) } else { Scheme::default() };
        let (own, other) = (consumer(&own), consumer(&other));
        let party = Party::agent(&scheme, &own).unwrap();
        let theirs = Party::agent(&scheme, &other).unwrap();
        let asker = Asker::new(&party, party.client_ids()[0].as_str());

        prop_assert!(asker.connect());
        prop_assert!(asker.publish(&scheme.agent_events(&own)));
        prop_assert!(asker.subscribe(&scheme.source_events_filter(&own)));
        prop_assert!(asker.receive(&scheme.source_events(&own)));

        prop_assert!(!Asker::new(&party, theirs.client_ids()[0].as_str()).connect());
        prop_assert!(!asker.publish(&scheme.agent_events(&other)));
        prop_assert!(!asker.publish(&scheme.source_events(&own)));
        prop_assert!(!asker.subscribe(&scheme.source_events_filter(&other)));
        prop_assert!(!asker.subscribe(&scheme.agent_events_filter()));
        prop_assert!(!asker.receive(&scheme.source_events(&other)));
        prop_assert!(!asker.receive(&scheme.agent_events(&own)));
        prop_assert!(!asker.retain(&scheme.agent_events(&own)));
    }
}

#[test]
fn a_bridge_that_hears_lifecycle_events_may_only_listen_to_them() {
    let scheme = Scheme::default();
    let base = client("maestro");
    let bridge = Party::bridge(&scheme, &source("maestro"), &base, 1).unwrap();
    let topic = "$aws/events/presence/disconnected/c1-work-agent-client";
    let other = "$aws/events/subscriptions/subscribed/c1-work-agent-client";
    for (party, hears) in [
        (bridge.clone(), false),
        (bridge.hearing_lifecycle_events(), true),
    ] {
        let policies = [party.policy(&arn())];
        let context = Context::new(arn(), "maestro");
        let may = |request: &Request| evaluate(&policies, request).is_allowed();
        for filter in PRESENCE_FILTERS {
            assert_eq!(
                may(&Request::subscribe(filter, &context)),
                hears,
                "{filter}"
            );
        }
        assert_eq!(may(&Request::receive(topic, &context)), hears);
        assert!(!may(&Request::publish(topic, &context)));
        assert!(!may(&Request::receive(other, &context)));
        assert!(!may(&Request::subscribe("$aws/events/#", &context)));
    }
}

#[test]
fn a_client_id_is_an_agent_s_exactly_where_its_party_has_it() {
    let c1 = consumer("c1");
    let agent = Party::agent(&Scheme::default(), &c1).unwrap();
    let id = agent.client_ids()[0].to_string();
    assert_eq!(Party::consumer_of_agent(&id), Some(c1));
    for other in [
        "maestro-0",
        "-work-agent-client",
        "c1-work-agent",
        "c 1-work-agent-client",
    ] {
        assert_eq!(Party::consumer_of_agent(other), None, "{other}");
    }
}
