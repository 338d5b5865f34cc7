//! What AWS's data plane does to one client or topic: GetConnection, ListSubscriptions, SendDirectMessage, Publish.
//!
//! What is refused here is what the broker knows; the spelling of requests and refusals is `crate::control`'s work.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use link::iot::limits;
use rmqtt_codec::types::QoS;
use tokio::time::{Instant, timeout};

use super::Handle;
use crate::broker::clients::ConnectionRecord;
use crate::broker::confirmation::Confirmation;
use crate::broker::faults::hits;
use crate::broker::filter;
use crate::broker::packet::{Message, Properties};
use crate::broker::presence::clamp_expiry;
use crate::broker::session::Delivery;

/// A message that comes over HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Where to.
    pub topic: String,
    /// At most 131 072 bytes.
    pub payload: Bytes,
    /// MQTT 5's content type.
    pub content_type: Option<String>,
    /// MQTT 5's response topic.
    pub response_topic: Option<String>,
    /// MQTT 5's correlation data.
    pub correlation_data: Option<Bytes>,
    /// Whether the payload is said to be UTF-8.
    pub utf8_payload: bool,
    /// MQTT 5's user properties, in order.
    pub user_properties: Vec<(String, String)>,
}

/// How to publish a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Publication {
    /// QoS 1 instead of 0.
    pub at_least_once: bool,
    /// Whether it is kept for those who subscribe later.
    pub retain: bool,
    /// When it need not be delivered any more.
    pub expiry: Option<Duration>,
}

/// Why a message did not go out or was not confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirectError {
    /// The topic or response topic is none that may be published to.
    #[error("the topic is not valid")]
    Topic,
    /// More than 131 072 bytes.
    #[error("the payload is larger than {} bytes", limits::PAYLOAD_BYTES)]
    TooLarge,
    /// There is no such connection.
    #[error("the client is not connected")]
    NotConnected,
    /// The receiver's policy grants no Receive on the topic.
    #[error("the client's policy does not allow iot:Receive on the topic")]
    NotAllowed,
    /// Too much waits for the receiver.
    #[error("too much waits for the client")]
    Full,
    /// The receiver did not acknowledge in time.
    #[error("the client did not acknowledge the message in time")]
    NotConfirmed,
}

// === impl Handle ===

impl Handle {
    /// GetConnection: a client's connection, or the last one it had; `None` when nothing is known (any more).
    pub fn connection(&self, client_id: &str) -> Option<ConnectionRecord> {
        self.shared.clients.get(client_id, Instant::now())
    }

    /// ListSubscriptions: the filters of a client's session with their QoS, sorted; `None` without a session.
    pub fn subscriptions(&self, client_id: &str) -> Option<Vec<(String, u8)>> {
        let session = self.shared.hub.session(client_id)?;
        let filters = session.subscriptions().into_iter();
        let mut filters: Vec<_> = filters
            .map(|(filter, options)| (filter, options.qos.value()))
            .collect();
        filters.sort();
        Some(filters)
    }

    /// SendDirectMessage: hands a message to one connected client, subscribed or not. With a time it goes with QoS 1 and is
    /// confirmed by the client's PUBACK; without, with QoS 0. It is never kept.
    ///
    /// # Errors
    /// [`DirectError`]: that a denied Receive is an error is documented, its form is assumed (docs/IOT-CORE.md §1.4).
    pub async fn send_direct(
        &self,
        client_id: &str,
        content: Content,
        confirm_within: Option<Duration>,
    ) -> Result<(), DirectError> {
        content.check()?;
        let shared = &self.shared;
        let link = shared.hub.link(client_id);
        let link = link.ok_or(DirectError::NotConnected)?;
        let session = shared.hub.session(client_id);
        let session = session.ok_or(DirectError::NotConnected)?;
        let faults = shared.environment.faults.get();
        if hits(&faults.refuse_receives, client_id) || !link.permissions.receives(&content.topic) {
            shared.environment.counters.receive_denied.add(1);
            return Err(DirectError::NotAllowed);
        }
        let (confirmation, confirmed) = Confirmation::new();
        let qos = match confirm_within {
            Some(_) => QoS::AtLeastOnce,
            None => QoS::AtMostOnce,
        };
        let delivery = Delivery {
            message: Arc::new(content.message(qos)),
            qos,
            retain: false,
            copy: false,
            confirmation: confirm_within.map(|_| confirmation),
        };
        if !session.enqueue(delivery, &shared.environment) {
            return Err(DirectError::Full);
        }
        let Some(within) = confirm_within else {
            return Ok(());
        };
        match timeout(within, confirmed.wait()).await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(DirectError::NotConfirmed),
        }
    }

    /// Publish: hands a message to all who subscribed.
    ///
    /// # Errors
    /// For a topic or a payload that IoT Core does not take.
    pub fn publish(&self, content: Content, publication: Publication) -> Result<(), DirectError> {
        content.check()?;
        let qos = match publication.at_least_once {
            true => QoS::AtLeastOnce,
            false => QoS::AtMostOnce,
        };
        let now = Instant::now();
        let message = Message {
            retain: publication.retain,
            expires_at: publication.expiry.map(|expiry| now + clamp_expiry(expiry)),
            ..content.message(qos)
        };
        let environment = &self.shared.environment;
        environment.counters.published.add(1);
        self.shared.hub.publish(&Arc::new(message), environment);
        Ok(())
    }
}

// === impl Content ===

impl Content {
    fn check(&self) -> Result<(), DirectError> {
        let topics = [Some(&self.topic), self.response_topic.as_ref()];
        for topic in topics.into_iter().flatten() {
            filter::check_topic(topic).map_err(|_| DirectError::Topic)?;
        }
        limits::check_payload(self.payload.len()).map_err(|_| DirectError::TooLarge)
    }

    fn message(self, qos: QoS) -> Message {
        let user = self.user_properties.into_iter();
        Message {
            topic: self.topic.into(),
            payload: self.payload,
            qos,
            retain: false,
            properties: Properties {
                content_type: self.content_type,
                response_topic: self.response_topic,
                correlation_data: self.correlation_data,
                utf8_payload: self.utf8_payload,
                user: user
                    .map(|(name, value)| (name.into(), value.into()))
                    .collect(),
            },
            expires_at: None,
            publisher: None,
        }
    }
}
