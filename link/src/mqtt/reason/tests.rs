//! What the library's errors become.

use rumqttc::DisconnectReasonCode;

use super::*;
use crate::error::Hint as _;

#[test]
fn a_denied_publish_says_which_statement_is_missing() {
    let error = PublishError::read("a/b", PubAckReason::NotAuthorized).unwrap_err();
    assert_eq!(
        error.to_string(),
        "publish to `a/b` refused: not authorized (0x87)"
    );
    assert!(error.hint().unwrap().contains("`topic/a/b`"));
    assert!(!error.is_retryable());
    assert_eq!(
        PublishError::read("a", PubAckReason::NoMatchingSubscribers),
        Ok(false)
    );
}

#[test]
fn a_takeover_counts_as_a_refusal_and_names_the_second_process() {
    let error = ConnectError::read(
        ConnectionError::MqttState(StateError::ServerDisconnect {
            reason_code: DisconnectReasonCode::SessionTakenOver,
            reason_string: None,
        }),
        true,
    );
    assert!(error.is_refusal());
    assert_eq!(
        error.to_string(),
        "the broker disconnected: session taken over (0x8e)"
    );
    let hint = error.hint().unwrap();
    assert!(hint.contains("same client id"), "{hint}");
    assert!(hint.ends_with("see docs/faults/MQ304.md"), "{hint}");
}

#[test]
fn an_alert_in_place_of_connack_is_a_refused_certificate() {
    let alert = rustls::Error::AlertReceived(rustls::AlertDescription::UnknownCA);
    let source = io::Error::new(io::ErrorKind::InvalidData, alert);
    let late = StateError::Deserialization(rumqttc::Error::Io(source));
    let error = ConnectError::read(ConnectionError::MqttState(late), false);
    assert!(
        matches!(&error, ConnectError::Tls(problem) if problem.is_client_refused()),
        "{error:?}"
    );
    assert!(error.is_refusal());
}

#[test]
fn silence_before_connack_points_at_the_certificate() {
    let error = ConnectError::read(
        ConnectionError::Io(io::ErrorKind::UnexpectedEof.into()),
        false,
    );
    assert!(error.hint().unwrap().contains("INACTIVE"));
    let reset = ConnectError::read(
        ConnectionError::Io(io::ErrorKind::ConnectionReset.into()),
        true,
    );
    assert!(!reset.is_refusal());
}
