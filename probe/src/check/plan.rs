//! What a check subscribes to and publishes.

use link::error::Failure;
use link::event;
use link::id::ConsumerName;
use link::iot::limits;
use link::message::Message;
use link::party::Party;

use super::finding::Finding;
use crate::args::CheckArgs;
use crate::target::Target;

/// What is subscribed and published.
pub(super) struct Plan {
    pub(super) filters: Vec<String>,
    pub(super) topic: String,
    /// Why the message cannot come back, if it cannot.
    pub(super) one_way: Option<String>,
    pub(super) party: Option<Party>,
}

/// A topic beside a consumer, which has topics of its own.
#[derive(Debug, thiserror::Error)]
#[error("`--consumer` and the URL of `-L` each say which topics to check")]
struct TopicGiven;

// === impl Plan ===

impl Plan {
    pub(super) fn of(
        args: &CheckArgs,
        target: &Target,
        consumer: Option<&ConsumerName>,
    ) -> Result<Self, Failure> {
        let Some(consumer) = consumer else {
            let topic = target.topic_or_own(args.topic.as_deref())?;
            // A filter would be subscribed to, and then not be published to.
            limits::check_topic(&topic).map_err(Failure::misuse)?;
            return Ok(Self {
                filters: vec![topic.clone()],
                topic,
                one_way: None,
                party: None,
            });
        };
        if target.topic.is_some() {
            let hint = "leave the topic out of the URL".to_string();
            return Err(Failure::usage(TopicGiven).with_hint(hint));
        }
        let party = Party::agent(&target.scheme, consumer).map_err(Failure::misuse)?;
        Ok(Self {
            filters: party.subscribes().to_vec(),
            topic: target.scheme.agent_events(consumer),
            one_way: Some("an agent does not receive what it publishes".into()),
            party: Some(party),
        })
    }

    // Checked before the broker is asked: it would close the connection instead of answering.
    pub(super) fn broken_filter(&self) -> Option<Finding> {
        self.filters
            .iter()
            .find_map(|filter| limits::check_filter(filter).err())
            .map(|error| Finding::of_limit(&error))
    }

    /// The message that is published.
    pub(super) fn message(&self, client_id: &str) -> Message {
        event::check::message(self.topic.clone(), client_id)
    }
}
