//! What happens to a PUBLISH from a client (docs/IOT-CORE.md §2 points 8–12, §1.3).

use std::num::NonZeroU16;
use std::sync::Arc;

use link::iot::limits;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep};

use super::{Connection, Reader};
use crate::broker::faults::{self, Swallowed};
use crate::broker::filter;
use crate::broker::hub::supported;
use crate::broker::live::End;
use crate::broker::packet::{Message, Outbound, Publish, Reason, Version};
use crate::broker::presence::clamp_expiry;

// === impl Reader ===

impl<S> Reader<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    pub(super) async fn publish(
        &mut self,
        publish: Publish,
        connection: &Connection,
    ) -> Result<(), End> {
        let environment = &connection.shared.environment;
        let faults = environment.faults.get();
        if faults.swallow.contains(&Swallowed::Publish) {
            return Ok(());
        }
        // Excess throughput is delayed, not refused (docs/IOT-CORE.md §1.2).
        let bytes = publish.topic.len() + publish.payload.len();
        if faults.silent_quotas {
            if !self.bytes.afford(bytes, Instant::now()) {
                environment.counters.publish_throttled.add(1);
                return Ok(());
            }
        } else {
            let pause = self.bytes.charge(bytes, Instant::now());
            if !pause.is_zero() {
                sleep(pause).await;
            }
        }
        if !supported(publish.qos) {
            // 3.1.1: no answer at all was seen (docs/IOT-CORE.md §1.1).
            return match connection.version {
                Version::V3 => Ok(()),
                Version::V5 => Err(connection.refusal(Reason::QOS_NOT_SUPPORTED)),
            };
        }
        let size = publish.payload.len();
        let over = faults.max_payload.is_some_and(|most| size > most);
        if over || limits::check_payload(size).is_err() {
            // Never a PUBACK. The code is not known: 0x95 is not on IoT Core's list, 0x97 is (docs/IOT-CORE.md §1.3).
            return Err(connection.refusal(Reason::QUOTA_EXCEEDED));
        }
        let topic = self.topic(&publish, connection)?;
        if faults.max_topic.is_some_and(|most| topic.len() > most) {
            return connection.refuse_publish(publish.packet_id, Reason::TOPIC_NAME_INVALID);
        }
        if let Err(reason) = filter::check_topic(&topic) {
            return connection.refuse_publish(publish.packet_id, reason);
        }
        if !self.publishes.take(Instant::now()) || faults::happens(faults.throttle) {
            environment.counters.publish_throttled.add(1);
            if faults.silent_quotas {
                return Ok(());
            }
            return connection.throttle_publish(publish.packet_id);
        }
        let refused = faults.refuses(&faults.refuse_publishes, &connection.link.client_id);
        if refused
            || !connection
                .link
                .permissions
                .publishes(&topic, publish.retain)
        {
            environment.counters.publish_denied.add(1);
            return connection.refuse_publish(publish.packet_id, Reason::NOT_AUTHORIZED);
        }
        connection.room_for_ack(publish.packet_id).await?;
        let now = Instant::now();
        let message = Message {
            topic,
            payload: publish.payload,
            qos: publish.qos,
            retain: publish.retain,
            properties: publish.properties,
            expires_at: publish.expiry.map(|e| now + clamp_expiry(e)),
            publisher: Some(connection.link.client_id.clone()),
        };
        environment.counters.published.add(1);
        connection
            .shared
            .hub
            .publish(&Arc::new(message), environment);
        if let Some(packet_id) = publish.packet_id {
            // Always 0x00: "no matching subscribers" (0x10) is not on IoT Core's list (docs/IOT-CORE.md §1.3).
            connection.answer(Outbound::PubAck(packet_id, Reason::SUCCESS));
        }
        // Lets the writer and the other connections of this thread at their queues while a client pours.
        tokio::task::consume_budget().await;
        Ok(())
    }

    /// The topic, with an alias of 1 to 8 resolved or learnt.
    fn topic(&mut self, publish: &Publish, connection: &Connection) -> Result<Arc<str>, End> {
        let Some(alias) = publish.alias else {
            return Ok(publish.topic.as_str().into());
        };
        let invalid = || connection.refusal(Reason::TOPIC_ALIAS_INVALID);
        if alias > limits::TOPIC_ALIASES {
            return Err(invalid());
        }
        if publish.topic.is_empty() {
            return self.aliases.get(&alias).cloned().ok_or_else(invalid);
        }
        let topic: Arc<str> = publish.topic.as_str().into();
        self.aliases.insert(alias, topic.clone());
        Ok(topic)
    }
}

// === impl Connection ===

impl Connection {
    /// 3.1.1 is closed. 5 gets a PUBACK with the code for QoS 1 and keeps its connection; for QoS 0 the source
    /// does not know whether it is DISCONNECT or silence (docs/IOT-CORE.md §1.3), and DISCONNECT is the one a client
    /// cannot overlook.
    fn refuse_publish(&self, packet_id: Option<NonZeroU16>, reason: Reason) -> Result<(), End> {
        match (self.version, packet_id) {
            (Version::V5, Some(packet_id)) => {
                self.answer(Outbound::PubAck(packet_id, reason));
                Ok(())
            }
            _ => Err(self.refusal(reason)),
        }
    }

    /// Excess is discarded: without PUBACK on 3.1.1, with 0x97 on 5 (the latter is our choice, docs/IOT-CORE.md §2
    /// point 10).
    fn throttle_publish(&self, packet_id: Option<NonZeroU16>) -> Result<(), End> {
        if let (Version::V5, Some(packet_id)) = (self.version, packet_id) {
            self.answer(Outbound::PubAck(packet_id, Reason::QUOTA_EXCEEDED));
        }
        Ok(())
    }

    /// More than 100 unacknowledged: 5 is disconnected with 0x93, 3.1.1 is not read until there is room.
    async fn room_for_ack(&self, packet_id: Option<NonZeroU16>) -> Result<(), End> {
        let window = usize::from(limits::IN_FLIGHT);
        while packet_id.is_some() && self.session.acks_waiting() >= window {
            if self.version == Version::V5 {
                return Err(self.refusal(Reason::RECEIVE_MAXIMUM_EXCEEDED));
            }
            self.session.drained.notified().await;
        }
        Ok(())
    }
}
