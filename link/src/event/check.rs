//! The message with which an operator's tool checks that an agent's certificate may publish on the agent's topic.
//!
//! It is no event, asks for nothing and says so by its one user property, so that whoever listens there for events can
//! tell it from an event that cannot be read.

use crate::message::Message;

/// A message on `topic` that checks whether it may be published, from the client with this id.
pub fn message(topic: impl Into<String>, client_id: &str) -> Message {
    Message {
        user_properties: vec![(MARK.0.into(), MARK.1.into())],
        // Whoever else listens need not keep it.
        expiry_seconds: Some(EXPIRY_SECONDS),
        ..Message::new(topic, format!("probe check by {client_id}"))
    }
}

/// Whether this is such a message.
pub fn is_check(message: &Message) -> bool {
    let is_mark = |(name, value): &(String, String)| (name.as_str(), value.as_str()) == MARK;
    message.user_properties.iter().any(is_mark)
}

const MARK: (&str, &str) = ("probe", "check");

// Long enough for a slow round trip.
const EXPIRY_SECONDS: u32 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_recognised_and_is_no_event() {
        let check = message("t", "probe-1");
        assert!(is_check(&check));
        assert!(matches!(
            crate::event::decode(&check),
            Err(crate::event::DecodeError::NotAnEvent)
        ));
        assert!(!is_check(&Message::new("t", "probe check by probe-1")));
    }
}
