//! Which topics and filters of the server pass: those of its own source, and nothing else. Pure.
//!
//! The broker's policy says the same once more; here it is said in words, before anything is sent.

use link::id::{ConsumerName, SourceId};
use link::iot::filter::split_share;
use link::telemetry::clip;
use link::topic::{Channel, Scheme};

/// The topics of one source.
#[derive(Clone, Debug)]
pub(super) struct TopicRights {
    scheme: Scheme,
    broadcast: Option<String>,
}

/// To whom an event goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Addressee {
    /// To one consumer.
    Consumer(ConsumerName),
    /// To all.
    Everybody,
}

// === impl TopicRights ===

impl TopicRights {
    pub(super) fn new(scheme: Scheme, source: &SourceId) -> Self {
        Self {
            broadcast: scheme.source_broadcast(source),
            scheme,
        }
    }

    /// To whom the server speaks on this topic.
    ///
    /// # Errors
    /// Why it may not, in words.
    pub(super) fn publish(&self, topic: &str) -> Result<Addressee, String> {
        if self.broadcast.as_deref() == Some(topic) {
            return Ok(Addressee::Everybody);
        }
        match self.scheme.recognise(topic) {
            Some((Channel::SourceEvents, consumer)) => Ok(Addressee::Consumer(consumer)),
            Some((Channel::AgentEvents, consumer)) => Err(format!(
                "`{}` is where the agent of `{consumer}` speaks",
                shown(topic)
            )),
            None => Err(format!(
                "`{}` is no topic of this source, whose events go to `{}`",
                shown(topic),
                self.scheme.bridge_topics().source_events
            )),
        }
    }

    /// Whether the server may hear this filter, under whatever name it is shared: the broker's policy knows which.
    ///
    /// # Errors
    /// Why it may not, in words.
    pub(super) fn subscribe(&self, filter: &str) -> Result<(), String> {
        let (_, asked) = split_share(filter);
        let topics = self.scheme.bridge_topics();
        let (_, events) = split_share(&topics.agent_events);
        if asked == events || topics.agent_broadcast.as_deref() == Some(asked) {
            return Ok(());
        }
        Err(format!(
            "`{}` is no filter of this source, which hears `{events}`",
            shown(filter)
        ))
    }

    /// The consumer whose agent speaks on this topic.
    pub(super) fn speaker(&self, topic: &str) -> Option<ConsumerName> {
        match self.scheme.recognise(topic) {
            Some((Channel::AgentEvents, consumer)) => Some(consumer),
            _ => None,
        }
    }
}

/// What somebody else named, as it is shown.
fn shown(text: &str) -> std::borrow::Cow<'_, str> {
    clip(text, SHOWN_BYTES)
}

// As much as a topic may be.
const SHOWN_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use link::topic::Topics;

    use super::*;

    fn rights() -> TopicRights {
        let source = SourceId::new("maestro").unwrap();
        let topics = Topics {
            source_events: "sources/maestro/consumers/+/sourceevents".into(),
            agent_events: "$share/statussubscribers/sources/maestro/consumers/+/agentevents".into(),
            source_broadcast: Some("sources/+/sourcebroadcast".into()),
            agent_broadcast: None,
        };
        TopicRights::new(Scheme::parse(&topics).unwrap(), &source)
    }

    #[test]
    fn the_source_speaks_to_consumers_and_to_all_and_to_nobody_else() {
        let rights = rights();
        let consumer = ConsumerName::new("c1").unwrap();
        assert_eq!(
            rights.publish("sources/maestro/consumers/c1/sourceevents"),
            Ok(Addressee::Consumer(consumer))
        );
        assert_eq!(
            rights.publish("sources/maestro/sourcebroadcast"),
            Ok(Addressee::Everybody)
        );
        for (topic, words) in [
            ("sources/other/consumers/c1/sourceevents", "no topic"),
            ("sources/maestro/consumers/C1/sourceevents", "no topic"),
            ("sources/maestro/consumers/+/sourceevents", "no topic"),
            ("sources/maestro/consumers//sourceevents", "no topic"),
            ("sources/maestro/consumers/c1/sourceevents/x", "no topic"),
            ("sources/other/sourcebroadcast", "no topic"),
            ("sources/maestro/consumers/c1/agentevents", "agent of `c1`"),
            ("$aws/things/x/shadow", "no topic"),
            ("", "no topic"),
        ] {
            let refused = rights.publish(topic).unwrap_err();
            assert!(refused.contains(words), "{topic}: {refused}");
        }
    }

    #[test]
    fn the_source_hears_its_agents_under_any_share_and_nothing_wider() {
        let rights = rights();
        let own = "sources/maestro/consumers/+/agentevents";
        assert_eq!(rights.subscribe(own), Ok(()));
        assert_eq!(rights.subscribe(&format!("$share/any/{own}")), Ok(()));
        for foreign in [
            "#",
            "sources/#",
            "sources/maestro/consumers/+/sourceevents",
            "sources/+/consumers/+/agentevents",
            "$share/any/#",
            "$share/any",
            "",
        ] {
            let refused = rights.subscribe(foreign).unwrap_err();
            assert!(refused.contains("no filter"), "{foreign}: {refused}");
        }
        let long = rights.subscribe(&"x".repeat(70_000)).unwrap_err();
        assert!(long.len() < 500);
    }

    #[test]
    fn only_agents_speak_up() {
        let rights = rights();
        let speaker = rights.speaker("sources/maestro/consumers/c1/agentevents");
        assert_eq!(speaker.unwrap().as_str(), "c1");
        assert_eq!(
            rights.speaker("sources/maestro/consumers/c1/sourceevents"),
            None
        );
    }
}
