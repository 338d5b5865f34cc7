//! Topic schemes: every shape of docs/MAESTRO.md §1.4, what is refused and how a person reads it.

use proptest::prelude::*;

use super::*;
use crate::error::{Hint, chain};
use crate::iot::filter;

fn topics(source_events: &str, agent_events: &str) -> Topics {
    Topics {
        source_events: source_events.into(),
        agent_events: agent_events.into(),
        ..Topics::default()
    }
}

fn consumer(name: &str) -> ConsumerName {
    ConsumerName::new(name).unwrap()
}

fn refusal(topics: &Topics) -> (String, String) {
    let error = Scheme::parse(topics).unwrap_err();
    (chain(&error), error.hint().unwrap())
}

#[test]
fn default_scheme_is_the_first_deployment_s() {
    let scheme = Scheme::default();
    let test = consumer("test");
    assert_eq!(
        scheme.source_events(&test),
        "maestro/consumers/test/sourceevents"
    );
    assert_eq!(
        scheme.agent_events(&test),
        "maestro/consumers/test/agentevents"
    );
    assert_eq!(
        scheme.agent_events_filter(),
        "maestro/consumers/+/agentevents"
    );
    assert_eq!(
        scheme.source_events_filter(&test),
        scheme.source_events(&test)
    );
    assert_eq!(scheme.source(), None);
}

#[test]
fn server_and_agent_form_give_the_same_topics() {
    for prefix in [
        "maestro/consumers",
        "sources/maestro/consumers",
        "sources/rc-1/clusters",
    ] {
        let server = Scheme::parse(&topics(
            &format!("{prefix}/+/sourceevents"),
            &format!("{prefix}/+/agentevents"),
        ))
        .unwrap();
        let agent = Scheme::parse(&topics(
            &format!("{prefix}/c1/sourceevents"),
            &format!("{prefix}/c1/agentevents"),
        ))
        .unwrap();
        let c1 = consumer("c1");
        assert_eq!(server.source_events(&c1), agent.source_events(&c1));
        assert_eq!(server.agent_events(&c1), agent.agent_events(&c1));
        assert_eq!(server.consumer(), None);
        assert_eq!(agent.consumer(), Some(&c1));
        assert_eq!(
            agent.agent_events_filter(),
            format!("{prefix}/c1/agentevents")
        );
    }
}

#[test]
fn shared_subscription_is_a_matter_of_subscribing_only() {
    let scheme = Scheme::parse(&topics(
        "sources/maestro/consumers/+/sourceevents",
        "$share/statussubscribers/sources/maestro/consumers/+/agentevents",
    ))
    .unwrap();
    assert_eq!(
        scheme.agent_events_filter(),
        "$share/statussubscribers/sources/maestro/consumers/+/agentevents"
    );
    assert_eq!(
        scheme.agent_events(&consumer("c1")),
        "sources/maestro/consumers/c1/agentevents"
    );
    assert_eq!(scheme.share(), Some("statussubscribers"));
    assert_eq!(
        scheme.source().map(SourceId::as_str),
        Some("maestro"),
        "the source is read behind the share prefix"
    );
    let plain = scheme.clone().with_share(None).unwrap();
    assert_eq!(
        plain.agent_events_filter(),
        "sources/maestro/consumers/+/agentevents"
    );
    assert_eq!(plain.with_share(Some("statussubscribers")).unwrap(), scheme);
    assert!(scheme.with_share(Some("a/b")).is_err());
}

#[test]
fn broadcasts_are_filled_with_the_speaker_s_name() {
    let scheme = Scheme::parse(&Topics {
        source_broadcast: Some("sources/+/sourcebroadcast".into()),
        agent_broadcast: Some("clusters/+/agentbroadcast".into()),
        ..topics(
            "sources/hub/clusters/+/sourceevents",
            "sources/hub/clusters/+/agentevents",
        )
    })
    .unwrap();
    let hub = SourceId::new("hub").unwrap();
    assert_eq!(
        scheme.source_broadcast(&hub).unwrap(),
        "sources/hub/sourcebroadcast"
    );
    assert_eq!(
        scheme.source_broadcast_filter().unwrap(),
        "sources/+/sourcebroadcast"
    );
    assert_eq!(
        scheme.consumer_of("clusters/c1/agentbroadcast"),
        Some(consumer("c1"))
    );
    assert_eq!(
        scheme.agent_broadcast(&consumer("c1")).unwrap(),
        "clusters/c1/agentbroadcast"
    );
    assert_eq!(
        scheme.agent_broadcast_filter().unwrap(),
        "clusters/+/agentbroadcast"
    );
}

#[test]
fn config_block_is_read_by_upstream_s_names_and_no_others() {
    let block = r#"{"sourceEvents":"a/b/+/sourceevents","agentEvents":"a/b/+/agentevents"}"#;
    let read: Topics = serde_json::from_str(block).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), block);
    let error = serde_json::from_str::<Topics>(r#"{"sourceEvent":"x"}"#).unwrap_err();
    assert!(
        error.to_string().contains("unknown field `sourceEvent`"),
        "{error}"
    );
}

#[test]
fn refused_topics_name_the_field_and_the_fix() {
    let good = "sources/maestro/consumers/+/agentevents";
    for (source_events, agent_events, message, fix) in [
        (
            "",
            good,
            "`topics.sourceEvents` is ``: it is empty",
            "write `sourceEvents: ",
        ),
        (
            "sources/maestro/consumers/+/events",
            good,
            "it ends with `events` instead of `sourceevents`",
            "sources/maestro/consumers/+/sourceevents",
        ),
        (
            "a/b/c/d/e/+/sourceevents",
            good,
            "it has 7 levels where 4 or 5 are known",
            "maestro/consumers/+/sourceevents",
        ),
        (
            "sources/maestro/consumers/{consumer}/sourceevents",
            good,
            "level `{consumer}` must be `+` or a name",
            "an agent writes its own name for the last `+`",
        ),
        (
            "Sources/maestro/consumers/+/sourceevents",
            good,
            "level `Sources` must be a word",
            "write `sourceEvents: ",
        ),
        (
            "sources/other/consumers/+/sourceevents",
            good,
            "`topics.sourceEvents` names the source `other` but `topics.agentEvents` names `maestro`",
            "write the same source",
        ),
        (
            "sources/maestro/consumers/c1/sourceevents",
            "sources/maestro/consumers/c2/agentevents",
            "`topics.sourceEvents` names the consumer `c1` but `topics.agentEvents` names `c2`",
            "write the same consumer",
        ),
        (
            "sources/+/consumers/+/sourceevents",
            "sources/+/consumers/+/agentevents",
            "no field names the source",
            "write the source id for the first `+`",
        ),
        (
            "sources/maestro/consumers/-c-/sourceevents",
            good,
            "must begin and end with a letter or digit",
            "in `topics.sourceEvents`",
        ),
        (
            "$share/A/sources/maestro/consumers/+/sourceevents",
            good,
            "level `A` must be `+` or a name",
            "write `sourceEvents: ",
        ),
    ] {
        let (text, hint) = refusal(&topics(source_events, agent_events));
        assert!(text.contains(message), "{text}");
        assert!(hint.contains(fix), "{hint}");
    }
}

#[test]
fn words_too_long_for_the_longest_consumer_are_refused_with_the_number() {
    let word = "w".repeat(190);
    let (text, hint) = refusal(&topics(
        &format!("{word}/consumers/+/sourceevents"),
        "maestro/consumers/+/agentevents",
    ));
    assert!(text.contains("use `topics.sourceEvents`"), "{text}");
    assert!(text.contains("has 277 bytes, the limit is 256"), "{text}");
    assert!(hint.contains("shorter"), "{hint}");
}

#[test]
fn another_party_s_topics_are_refused_with_both_names() {
    let scheme = Scheme::parse(&topics(
        "sources/maestro/consumers/c1/sourceevents",
        "sources/maestro/consumers/c1/agentevents",
    ))
    .unwrap();
    assert_eq!(scheme.check_consumer(&consumer("c1")), Ok(()));
    let error = scheme.check_consumer(&consumer("c2")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "topics are those of consumer `c1`, but this is consumer `c2`"
    );
    assert!(error.hint().unwrap().contains("--consumer-name c1"));
    let error = scheme
        .check_source(&SourceId::new("hub").unwrap())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "topics are those of source `maestro`, but the source id is `hub`"
    );
    assert_eq!(
        Scheme::default().check_source(&SourceId::new("hub").unwrap()),
        Ok(())
    );
}

#[test]
fn foreign_topics_speak_for_nobody() {
    let scheme = Scheme::upstream(&SourceId::new("maestro").unwrap());
    for topic in [
        "",
        "/",
        "sources/other/consumers/c1/agentevents",
        "sources/maestro/consumers/c1/agentevents/more",
        "sources/maestro/consumers//agentevents",
        "sources/maestro/consumers/+/agentevents",
        "sources/maestro/consumers/a/b/agentevents",
        "sources/maestroconsumers/c1/agentevents",
        "$share/g/sources/maestro/consumers/c1/agentevents",
    ] {
        assert_eq!(scheme.consumer_of(topic), None, "{topic}");
    }
    assert_eq!(
        scheme.recognise("sources/maestro/consumers/c1/sourceevents"),
        Some((Channel::SourceEvents, consumer("c1")))
    );
}

fn name() -> impl Strategy<Value = String> {
    "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
}

fn schemes() -> impl Strategy<Value = Scheme> {
    let share = proptest::option::of("[a-z0-9-]{1,20}");
    (
        "[a-z]{1,12}",
        proptest::option::of(name()),
        "[a-z]{1,12}",
        share,
    )
        .prop_map(|(first, source, second, share)| {
            let source = source.map_or(String::new(), |source| format!("/{source}"));
            let stem = format!("{first}{source}/{second}/+");
            let share = share.map_or(String::new(), |share| format!("$share/{share}/"));
            Scheme::parse(&topics(
                &format!("{stem}/sourceevents"),
                &format!("{share}{stem}/agentevents"),
            ))
            .unwrap()
        })
}

proptest! {
    #[test]
    fn a_topic_gives_back_the_consumer_it_was_made_for(scheme in schemes(), name in name()) {
        let consumer = consumer(&name);
        let down = scheme.source_events(&consumer);
        let up = scheme.agent_events(&consumer);
        prop_assert_eq!(scheme.recognise(&down), Some((Channel::SourceEvents, consumer.clone())));
        prop_assert_eq!(scheme.recognise(&up), Some((Channel::AgentEvents, consumer)));
        prop_assert!(filter::matches(&scheme.agent_events_filter(), &up));
        prop_assert!(!filter::matches(&scheme.agent_events_filter(), &down));
        prop_assert!(limits::check_topic(&down).is_ok());
        prop_assert!(limits::check_filter(&scheme.agent_events_filter()).is_ok());
    }

    #[test]
    fn written_config_blocks_are_read_back(scheme in schemes(), name in name()) {
        let consumer = consumer(&name);
        prop_assert_eq!(&Scheme::parse(&scheme.bridge_topics()).unwrap(), &scheme);
        let agent = Scheme::parse(&scheme.agent_topics(&consumer)).unwrap();
        prop_assert_eq!(agent.consumer(), Some(&consumer));
        prop_assert_eq!(agent.source_events(&consumer), scheme.source_events(&consumer));
        prop_assert_eq!(agent.agent_events(&consumer), scheme.agent_events(&consumer));
    }

    #[test]
    fn any_text_is_read_or_refused(
        a in "\\PC{0,80}|[a-z$+#/-]{0,60}",
        b in "\\PC{0,80}|[a-z$+#/-]{0,60}",
        c in proptest::option::of("[a-z$+#/-]{0,60}"),
    ) {
        let result = Scheme::parse(&Topics { source_broadcast: c, ..topics(&a, &b) });
        if let Err(error) = result {
            prop_assert!(error.hint().is_some());
        }
        let _ = Scheme::default().consumer_of(&a);
    }
}
