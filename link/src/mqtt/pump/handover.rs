//! Handing messages to the client library, and what becomes of each.
//!
//! **Invariant:** what is handed over belongs to the connection that is up. Nothing gets into the library's queue between
//! two of them: it would be sent before what was lost with the first. And what a connection leaves unacknowledged the driver
//! takes from the library, which knows no order but that of packet ids, so that it is sent again from here.

use futures_util::FutureExt as _;
use rumqttc::{ClientError, PublishNoticeError, PublishOptions, PublishResult};
use tokio::time::Instant;
use tracing::warn;

use super::notices::known;
use super::{Pump, Sent};
use crate::mqtt::options::publish_properties;
use crate::mqtt::reason::PublishError;
use crate::mqtt::session::{Ack, Outgoing};
use crate::mqtt::shared::Connection;

impl Pump {
    /// Hands a message to the library, and takes it back when the connection is gone or there is no room: `false`.
    pub(super) fn send(
        &mut self,
        connection: Connection,
        number: u64,
        outgoing: Outgoing,
        now: Instant,
    ) -> bool {
        let message = &outgoing.message;
        let options = PublishOptions::new(outgoing.qos.as_sent())
            .retain(message.retain)
            .properties(publish_properties(message));
        let (topic, payload) = (message.topic.clone(), message.payload.clone());
        let Some(handed) = self.shared.while_connected(connection, |client| {
            client.try_publish_tracked(topic, payload, options)
        }) else {
            self.waiting.insert(number, outgoing);
            return false;
        };
        match handed {
            Ok(notice) => {
                self.notices
                    .push(async move { (number, notice.wait_async().await) }.boxed());
                self.sent.insert(number, Sent { outgoing, at: now });
                self.shared.metrics.in_flight.inc();
            }
            Err(ClientError::InvalidRequest(_)) => {
                let error = PublishError::Poison {
                    topic: outgoing.message.topic.clone(),
                    reason: "the client library does not take it".into(),
                };
                self.resolve(outgoing, "poison", Err(error));
            }
            Err(error) => {
                warn!("Could not hand a publish to the connection: {error}");
                self.waiting.insert(number, outgoing);
                return false;
            }
        }
        true
    }

    /// Takes all that the library has said by now.
    pub(super) fn settle_what_is_known(&mut self) {
        while let Some((number, result)) = known(&mut self.notices) {
            self.settle(number, result);
        }
    }

    /// Takes what the library said of a message; one that was lost waits to be sent again.
    pub(super) fn settle(
        &mut self,
        number: u64,
        result: Result<PublishResult, PublishNoticeError>,
    ) {
        let Some(Sent { outgoing, at }) = self.sent.remove(&number) else {
            return;
        };
        self.shared.metrics.in_flight.dec();
        match result {
            Ok(PublishResult::Qos1(ack)) => {
                self.shared
                    .metrics
                    .publish_seconds
                    .observe(at.elapsed().as_secs_f64());
                match PublishError::read(&outgoing.message.topic, ack.reason) {
                    Ok(matched) => self.resolve(
                        outgoing,
                        if matched { "acked" } else { "unmatched" },
                        Ok(Ack { matched }),
                    ),
                    Err(error) => self.resolve(outgoing, "refused", Err(error)),
                }
            }
            Ok(_) => self.resolve(outgoing, "flushed", Ok(Ack { matched: true })),
            Err(PublishNoticeError::RetainNotSupported) => {
                let error = PublishError::retain_not_supported(&outgoing.message.topic);
                self.resolve(outgoing, "refused", Err(error));
            }
            Err(_) => {
                self.waiting.insert(number, outgoing);
                return;
            }
        }
        if self.suspects_until.is_some_and(|last| number >= last) {
            self.suspects_until = None;
        }
    }

    /// Counts how a message ended, and tells its caller.
    pub(super) fn resolve(
        &self,
        outgoing: Outgoing,
        outcome: &'static str,
        result: Result<Ack, PublishError>,
    ) {
        self.shared
            .metrics
            .published
            .with_label_values(&[outcome])
            .inc();
        // A caller that dropped its receipt does not want to know.
        let _ = outgoing.receipt.send(result);
    }
}
