//! Subscriptions, publishes, and messages that do not come.

use link::mqtt::{PublishError, SubscribeError};

use super::*;

#[test]
fn denied_operations_name_the_statement_that_is_missing() {
    let subscribe = |code| SubscribeError {
        filter: "a/+".into(),
        code,
        reason: "x",
    };
    for (error, code, hint) in [
        (
            subscribe(0x87),
            "subscribe.denied",
            "`iot:Subscribe` on `arn:aws:iot:us-east-2:ACCOUNT:topicfilter/a/+`",
        ),
        (subscribe(0x8f), "subscribe.filter-invalid", ""),
        (subscribe(0x97), "limits.subscriptions", "50"),
        (subscribe(0x9e), "subscribe.no-shared", ""),
        (subscribe(0x80), "subscribe.refused", ""),
    ] {
        check(
            &Finding::of_subscribe(&error, &subject()),
            code,
            ExitKind::Refused,
            hint,
        );
    }
    let publish = |code| PublishError::Refused {
        topic: "a/b".into(),
        code,
        reason: "x",
    };
    let poison = PublishError::Poison {
        topic: "a/b".into(),
        reason: "x".into(),
    };
    for (error, code, kind, hint) in [
        (
            publish(0x87),
            "publish.denied",
            ExitKind::Refused,
            "`iot:Publish` on `arn:aws:iot:us-east-2:ACCOUNT:topic/a/b`",
        ),
        (
            publish(0x90),
            "publish.topic-invalid",
            ExitKind::Refused,
            "",
        ),
        (publish(0x97), "limits.rate", ExitKind::Refused, "quota"),
        (publish(0x80), "publish.refused", ExitKind::Refused, ""),
        (poison, "publish.disconnects", ExitKind::Refused, ""),
        (PublishError::Closed, "publish.closed", ExitKind::Failed, ""),
    ] {
        check(&Finding::of_publish(&error, &subject()), code, kind, hint);
    }
}

#[test]
fn silence_after_an_acknowledged_publish_points_at_receive() {
    let silent = Finding::silent("a/b", true, &subject());
    check(
        &silent,
        "receive.denied",
        ExitKind::Timeout,
        "`iot:Receive` on `arn:aws:iot:us-east-2:ACCOUNT:topic/a/b`",
    );
    check(
        &Finding::silent("a/b", false, &subject()),
        "receive.no-subscriber",
        ExitKind::Failed,
        "policy edit",
    );
    check(
        &Finding::subscribe_timeout(),
        "subscribe.timeout",
        ExitKind::Timeout,
        "topicfilter/",
    );
    check(
        &Finding::publish_timeout("a"),
        "publish.timeout",
        ExitKind::Timeout,
        "100 publishes",
    );
    check(
        &Finding::tls_timeout(),
        "tls.timeout",
        ExitKind::Timeout,
        "proxy",
    );
}
