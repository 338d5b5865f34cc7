//! Errors of the session as they may be shown: the broker's own words may hold secrets, and may be cut in the middle of one.
//!
//! **Contract:** codes and names stay as they are; only text that the broker wrote loses what looks like a secret.

use std::sync::Arc;

use link::mqtt::{ConnectError, PublishError};

use crate::redact;

/// Why a connection could not be made or ended.
pub(super) fn connect_error(error: &Arc<ConnectError>) -> Arc<ConnectError> {
    match error.as_ref() {
        ConnectError::Disconnected { code, reason } => Arc::new(ConnectError::Disconnected {
            code: *code,
            reason: words(reason),
        }),
        ConnectError::Protocol(text) => Arc::new(ConnectError::Protocol(protocol(text))),
        _ => error.clone(),
    }
}

/// Why a publish was not accepted.
pub fn publish_error(error: PublishError) -> PublishError {
    match error {
        PublishError::Poison { topic, reason } => PublishError::Poison {
            topic,
            reason: words(&reason),
        },
        error => error,
    }
}

fn words(text: &str) -> String {
    redact::text(&without_cut_word(text))
}

// Of a secret that was cut what is left may look like none, such as a URL without the `@`.
fn without_cut_word(text: &str) -> String {
    match text.rsplit_once(CUT) {
        Some((kept, size)) if size.ends_with(" bytes)") => {
            let end = kept.rfind(char::is_whitespace).unwrap_or_default();
            format!("{}{CUT}{size}", &kept[..end])
        }
        _ => text.to_owned(),
    }
}

// The library prints the packet that it did not expect, as a programmer sees it.
fn protocol(text: &str) -> String {
    let Some(packet) = text.strip_prefix(NO_CONNACK) else {
        let ours = text.split('"').next().unwrap_or_default();
        return words(ours);
    };
    let name = packet.split('(').next().unwrap_or_default();
    let reason = packet
        .split_once("reason_code: ")
        .and_then(|(_, rest)| rest.split([',', ' ']).next())
        .map_or_else(String::new, |reason| format!(" ({reason})"));
    format!("CONNECT was answered with {}{reason}", name.to_uppercase())
}

// How `link::telemetry::clip` says that a text goes on.
const CUT: &str = "… (";

const NO_CONNACK: &str = "Expected ConnAck packet, received: ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_broker_says_is_shown_without_secrets() {
        let reason = "administrative action: ask mqtts://me:s3cret@h, token=s3cret";
        let error = connect_error(&Arc::new(ConnectError::Disconnected {
            code: 0x98,
            reason: reason.into(),
        }));
        assert_eq!(
            error.to_string(),
            "the broker disconnected: administrative action: ask mqtts://<removed>@h, token=<removed> (0x98)"
        );
        let poison = publish_error(PublishError::Poison {
            topic: "a/b".into(),
            reason: "packet too large: password: s3cret".into(),
        });
        assert!(!poison.to_string().contains("s3cret"), "{poison}");
        // Cut before its `@`, a URL is not known by its looks.
        assert_eq!(
            words("not authorized: see mqtts://me:s3cr… (300 bytes)"),
            "not authorized: see… (300 bytes)"
        );
    }

    #[test]
    fn a_packet_that_came_in_place_of_connack_is_named_and_not_printed() {
        let text = "Expected ConnAck packet, received: Disconnect(Disconnect { reason_code: NotAuthorized, properties: \
                    Some(DisconnectProperties { reason_string: Some(\"see mqtts://me:s3cr… (342 bytes)";
        assert_eq!(
            protocol(text),
            "CONNECT was answered with DISCONNECT (NotAuthorized)"
        );
        assert_eq!(
            protocol("Unsolicited Some(\"s3cret\")"),
            "Unsolicited Some("
        );
        assert_eq!(protocol("Malformed packet"), "Malformed packet");
    }
}
