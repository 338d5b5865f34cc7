//! Findings of MQTT itself: CONNECT, SUBSCRIBE, PUBLISH, and the message that should come back.

use link::error::{ExitKind, Hint, chain};
use link::mqtt::{ConnectError, PublishError, SubscribeError};

use super::{Finding, Subject};
use crate::connection::{connect_denied_hint, publish_hint, subscribe_denied_hint};

// === impl Finding ===

impl Finding {
    /// CONNECT, or a connection that ended later.
    pub fn of_connect(error: &ConnectError, subject: &Subject) -> Self {
        let what = chain(error);
        let hint = error
            .hint()
            .unwrap_or_else(|| "try again; the broker's log may say more".into());
        let Subject { client_id, arn, .. } = subject;
        let (code, kind, hint) = match error {
            ConnectError::Tls(problem) => return Self::of_tls(problem, subject),
            ConnectError::Timeout => ("connect.timeout", ExitKind::Timeout, "TLS came up but CONNECT is not answered: check that this is an MQTT port".into()),
            ConnectError::Network(_) => (
                "connect.network",
                ExitKind::Failed,
                format!(
                    "check the host, port {} and the way out of the network",
                    subject.port
                ),
            ),
            ConnectError::ClosedBeforeConnAck => (
                "connect.closed",
                ExitKind::Refused,
                format!(
                    "in this order: certificate not ACTIVE or not registered in this account and region; no policy attached; no `iot:Connect` on `{arn}:client/{client_id}`"
                ),
            ),
            ConnectError::Refused { code: 0x84, .. } => ("connect.protocol-version", ExitKind::Refused, "the broker does not speak MQTT 5".into()),
            ConnectError::Refused { code: 0x85, .. } => ("connect.client-id", ExitKind::Refused, hint),
            ConnectError::Refused { code: 0x86 | 0x87 | 0x8a, .. } => ("connect.not-authorized", ExitKind::Refused, connect_denied_hint(arn, client_id)),
            ConnectError::Refused { code: 0x88 | 0x89 | 0x97 | 0x9f, .. } => (
                "connect.throttled",
                ExitKind::Refused,
                "the broker is busy or a connect quota is used up: wait a minute, then try again".into(),
            ),
            ConnectError::Refused { .. } => ("connect.refused", ExitKind::Refused, hint),
            ConnectError::Disconnected { code: 0x8e, .. } => (
                "connect.client-id-in-use",
                ExitKind::Refused,
                format!("another process connects as `{client_id}`: one id per process; leave out `-i` to use one of probe's own"),
            ),
            ConnectError::Disconnected { code: 0x87, .. } => ("connect.not-authorized", ExitKind::Refused, connect_denied_hint(arn, client_id)),
            ConnectError::Disconnected { code: 0x95, .. } => ("limits.packet", ExitKind::Refused, hint),
            ConnectError::Disconnected { code: 0x96 | 0x97, .. } => ("limits.rate", ExitKind::Refused, hint),
            ConnectError::Disconnected { .. } => ("connect.disconnected", ExitKind::Refused, hint),
            ConnectError::Broken(_) => ("connect.broken", ExitKind::Failed, "something closed the connection without a word: a policy that denies an operation on MQTT 3.1.1 brokers, or the network".into()),
            ConnectError::Stalled(_) => ("connect.stalled", ExitKind::Timeout, hint),
            _ => ("connect.protocol", ExitKind::Failed, hint),
        };
        Self::new(code, kind, what, hint)
    }

    /// SUBACK.
    pub fn of_subscribe(error: &SubscribeError, subject: &Subject) -> Self {
        let hint = || error.hint().unwrap_or_else(|| "check the filter".into());
        let (code, hint) = match error.code {
            0x87 => (
                "subscribe.denied",
                subscribe_denied_hint(&subject.arn, &error.filter),
            ),
            0x8f => ("subscribe.filter-invalid", hint()),
            0x97 => (
                "limits.subscriptions",
                "50 subscriptions per connection are the limit".into(),
            ),
            0x9e => ("subscribe.no-shared", hint()),
            _ => ("subscribe.refused", hint()),
        };
        Self::new(code, ExitKind::Refused, chain(error), hint)
    }

    /// No SUBACK in time.
    pub fn subscribe_timeout() -> Self {
        Self::new(
            "subscribe.timeout",
            ExitKind::Timeout,
            "connected, but SUBSCRIBE is not answered",
            "the broker may hang up on this filter instead of answering: compare it with the policy's `topicfilter/` and the limits",
        )
    }

    /// PUBACK.
    pub fn of_publish(error: &PublishError, subject: &Subject) -> Self {
        let hint = publish_hint(error, &subject.arn, false).unwrap_or_else(|| "try again".into());
        let (code, kind) = match error {
            PublishError::Limit { source, .. } => return Self::of_limit(source),
            PublishError::Refused { code: 0x87, .. } => ("publish.denied", ExitKind::Refused),
            PublishError::Refused { code: 0x90, .. } => {
                ("publish.topic-invalid", ExitKind::Refused)
            }
            PublishError::Refused { code: 0x97, .. } => ("limits.rate", ExitKind::Refused),
            PublishError::Refused { .. } => ("publish.refused", ExitKind::Refused),
            PublishError::Poison { .. } => ("publish.disconnects", ExitKind::Refused),
            PublishError::Closed => ("publish.closed", ExitKind::Failed),
        };
        Self::new(code, kind, chain(error), hint)
    }

    /// No PUBACK in time.
    pub fn publish_timeout(topic: &str) -> Self {
        Self::new(
            "publish.timeout",
            ExitKind::Timeout,
            format!("publish to `{topic}` is not acknowledged"),
            "over 100 publishes a second AWS IoT Core discards them in silence; else the network drops what we send",
        )
    }

    /// Subscribed, published, acknowledged, and nothing came back.
    pub fn silent(topic: &str, matched: bool, subject: &Subject) -> Self {
        let arn = &subject.arn;
        if !matched {
            return Self::new(
                "receive.no-subscriber",
                ExitKind::Failed,
                format!(
                    "the broker took the message to `{topic}` but knows no subscriber, although it acknowledged ours"
                ),
                "a policy edit may be on its way: try again in some minutes",
            );
        }
        Self::new(
            "receive.denied",
            ExitKind::Timeout,
            format!(
                "the message to `{topic}` was acknowledged and matched a subscription, but did not come back"
            ),
            format!(
                "allow `iot:Receive` on `{arn}:topic/{topic}`: without it messages are dropped in silence (CloudWatch `PublishOut.AuthError`)"
            ),
        )
    }
}
