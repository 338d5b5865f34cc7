//! What becomes of messages that a connection left behind, and which of them made it end.

use tokio::time::Instant;
use tracing::{info, warn};

use super::{Pump, shown};
use crate::mqtt::reason::PublishError;
use crate::mqtt::session::{Outgoing, fits_packet};
use crate::mqtt::shared::Connection;

impl Pump {
    /// Settles what the old connection left behind before anything new goes out.
    pub(super) fn resume(&mut self, connection: Connection) {
        let before = self.waiting.len();
        self.settle_what_is_known();
        // The rest is lost: the library holds nothing of it any more (`Driver::take_back`).
        self.notices.clear();
        for (number, sent) in std::mem::take(&mut self.sent) {
            self.shared.metrics.in_flight.dec();
            self.waiting.insert(number, sent.outgoing);
        }
        self.patience_from = Instant::now();
        let lost = self.waiting.len() - before;
        // Known to be too large for this broker: no need to look for a suspect.
        let found = self.refuse_what_does_not_fit();
        let Some(reason) = self.shared.take_message_fault() else {
            return;
        };
        if found {
            return;
        }
        if lost == 1 {
            if let Some((_, poison)) = self.waiting.pop_first() {
                warn!(topic = %shown(&poison), "Gave up on a message that ends the connection: {reason}");
                let error = PublishError::Poison {
                    topic: poison.message.topic.clone(),
                    reason,
                };
                self.resolve(poison, "poison", Err(error));
            }
        } else if let Some((last, _)) = self.waiting.last_key_value() {
            info!(
                messages = lost,
                connection = connection.number,
                "Sending messages one at a time to find the one that ends the connection"
            );
            self.suspects_until = Some(*last);
        }
    }

    /// Returns whether there was any.
    fn refuse_what_does_not_fit(&mut self) -> bool {
        let Some(limit) = self.shared.packet_limit() else {
            return false;
        };
        let misfits: Vec<u64> = self
            .waiting
            .iter()
            .filter(|(_, outgoing)| fits_packet(&outgoing.message, limit).is_err())
            .map(|(number, _)| *number)
            .collect();
        for number in &misfits {
            if let Some(outgoing) = self.waiting.remove(number) {
                self.refuse(outgoing, limit);
            }
        }
        !misfits.is_empty()
    }

    pub(super) fn refuse(&self, outgoing: Outgoing, limit: usize) {
        if let Err(source) = fits_packet(&outgoing.message, limit) {
            let error = PublishError::limit(&outgoing.message.topic, source);
            self.resolve(outgoing, "limit", Err(error));
        }
    }
}
