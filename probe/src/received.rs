//! A message as it was received.

use jiff::Timestamp;
use link::message::Message;
use link::mqtt::Delivery;

/// A message with what is known of its delivery.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// The message.
    pub message: &'a Message,
    /// The number of its packet; at QoS 0 it has none.
    pub packet_id: Option<u16>,
    /// When it came, by the clock here.
    pub at: Timestamp,
}

// === impl Received ===

impl<'a> Received<'a> {
    /// A delivery that came at this time.
    pub fn of(delivery: &'a Delivery, at: Timestamp) -> Self {
        Self {
            message: &delivery.message,
            packet_id: delivery.packet_id(),
            at,
        }
    }

    /// With which quality of service it came.
    pub fn qos(&self) -> u8 {
        u8::from(self.packet_id.is_some())
    }
}
