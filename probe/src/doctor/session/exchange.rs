//! SUBSCRIBE, PUBLISH and the way back, on a connection that is up.
//!
//! What the policy denies is asked for again within a second: a broker that answers otherwise then is one to which a
//! change of the policy is still on its way.

use std::time::Duration;

use link::fault::{Code, Finding};
use link::iot::PolicyAction;
use rmqtt_codec::types::QoS;
use tokio::time::sleep;

use super::SessionStage;
use super::answers::{Denied, publish_finding, subscribe_finding};
use super::client::RawClient;
use super::seen::Ended;
use crate::doctor::who::Who;

/// What goes on with a connection.
pub(crate) type Going = Result<(), Ended>;

/// Subscribes to each filter; `true` where all are granted.
///
/// # Errors
/// The connection ended; what it means was added.
pub(crate) async fn subscribe(
    stage: &mut SessionStage<'_>,
    who: &Who,
    client: &mut RawClient,
) -> Result<bool, Ended> {
    if who.shares_subscription() {
        stage.add(Finding::info(
            SUBSCRIBE,
            format!(
                "not checked: `{}` is shared, and another member takes messages from those that are there",
                who.filters.join("`, `")
            ),
        ));
        return Ok(true);
    }
    let mut granted = true;
    for filter in &who.filters {
        let mut codes = Vec::new();
        for pause in TRIES {
            sleep(pause).await;
            let code = match client.subscribe(&[filter], QoS::AtLeastOnce).await {
                Ok(answer) => answer.first().copied().unwrap_or(0x80),
                Err(ended) => {
                    say_ended(stage, SUBSCRIBE, "SUBSCRIBE", filter, &ended);
                    return Err(ended);
                }
            };
            codes.push(code);
            if code != DENIED {
                break;
            }
        }
        let denied = Denied::new(
            PolicyAction::Subscribe,
            filter,
            who,
            stage.facts,
            &stage.arn,
        );
        granted &= codes.last().is_some_and(|code| *code < 0x80);
        let finding = subscribe_finding(filter, &codes, &denied, who);
        stage.add(finding);
        if let Some(flapping) = flapping("SUBSCRIBE", filter, &codes, stage.facts.recent()) {
            stage.add(flapping);
        }
    }
    Ok(granted)
}

/// Publishes the message of a check; `true` where it is taken.
///
/// # Errors
/// The connection ended; what it means was added.
pub(crate) async fn publish(
    stage: &mut SessionStage<'_>,
    who: &Who,
    client: &mut RawClient,
) -> Result<bool, Ended> {
    let message = who.message(&who.topic);
    let mut codes = Vec::new();
    for pause in TRIES {
        // A rate counts by the second.
        let pause = if codes.last() == Some(&THROTTLED) {
            Duration::from_secs(1)
        } else {
            pause
        };
        sleep(pause).await;
        let code = match client.publish(&message).await {
            Ok(code) => code,
            Err(ended) => {
                say_ended(stage, PUBLISH, "PUBLISH", &who.topic, &ended);
                return Err(ended);
            }
        };
        codes.push(code);
        if code != DENIED && code != THROTTLED {
            break;
        }
    }
    let denied = Denied::new(
        PolicyAction::Publish,
        &who.topic,
        who,
        stage.facts,
        &stage.arn,
    );
    let finding = publish_finding(&who.topic, &codes, &denied);
    stage.add(finding);
    if let Some(flapping) = flapping("PUBLISH", &who.topic, &codes, stage.facts.recent()) {
        stage.add(flapping);
    }
    Ok(codes.last().is_some_and(|code| *code < 0x80))
}

/// Waits for the message of the check, and sends it once more where it does not come.
///
/// # Errors
/// The connection ended; what it means was added.
pub(crate) async fn round_trip(
    stage: &mut SessionStage<'_>,
    who: &Who,
    client: &mut RawClient,
    within: Duration,
) -> Going {
    let message = who.message(&who.topic);
    for again in [false, true] {
        if again && let Err(ended) = client.publish(&message).await {
            say_ended(stage, ROUND_TRIP, "PUBLISH", &who.topic, &ended);
            return Err(ended);
        }
        match client.returned(&message.payload, within / 2).await {
            Ok(true) => {
                stage.add(Finding::ok(
                    ROUND_TRIP,
                    format!("a message to `{}` came back", who.topic),
                ));
                return Ok(());
            }
            Ok(false) => {}
            Err(ended) => {
                say_ended(stage, ROUND_TRIP, "the round trip", &who.topic, &ended);
                return Err(ended);
            }
        }
    }
    let is_allowed = stage
        .facts
        .decide(PolicyAction::Receive, &who.topic)
        .is_some_and(|decision| decision.is_allowed());
    let finding = nothing_back(who, stage, is_allowed);
    stage.add(finding);
    Ok(())
}

// Why nothing came back, with what the attached policies say of it.
fn nothing_back(who: &Who, stage: &SessionStage<'_>, is_allowed: bool) -> Finding {
    let denied = Denied::new(
        PolicyAction::Receive,
        &who.topic,
        who,
        stage.facts,
        &stage.arn,
    );
    let seen = format!(
        "messages to `{}` are acknowledged, the subscription is granted, and nothing comes back",
        who.topic
    );
    if is_allowed {
        return Finding::error(ROUND_TRIP, seen)
            .why(format!(
                "the attached policies allow `iot:Receive` ({}), so that something else drops it: a rate of the account, or a change of a policy that is on its way for 8 minutes",
                denied.why()
            ))
            .next("run it again in 8 minutes; if it stays, look at CloudWatch `PublishOut.Throttle` and `PublishOut.AuthError`");
    }
    Finding::error(RECEIVE, seen)
        .why(format!(
            "a broker drops in silence what `iot:Receive` does not allow; no other check can see it. {}",
            denied.why()
        ))
        .next(format!("add to the policy: {}", denied.statement()))
}

// That another connection took the client id is said once, where it is looked for.
fn say_ended(stage: &mut SessionStage<'_>, code: Code, what: &str, on: &str, ended: &Ended) {
    if !ended.is_takeover() {
        stage.add(ended_at(code, what, on, ended));
    }
}

/// That one question got two answers.
pub(crate) fn flapping(
    what: &str,
    on: &str,
    codes: &[u8],
    recent: Option<String>,
) -> Option<Finding> {
    let denied = codes.iter().filter(|code| **code == DENIED).count();
    if denied == 0 || denied == codes.len() {
        return None;
    }
    let answers: Vec<_> = codes.iter().map(|code| format!("0x{code:02x}")).collect();
    Some(
        Finding::warning(
            FLAPPING,
            format!("{what} on `{on}` was answered {} within a second", answers.join(", ")),
        )
        .why(format!(
            "a change of a policy takes 6 to 8 minutes to reach every host of the broker, which answer differently meanwhile{}",
            recent.map(|recent| format!("; {recent}")).unwrap_or_default()
        ))
        .next("change nothing; run it again in 8 minutes, and look at the policy only if the answers still differ"),
    )
}

/// What a connection that ended at a step says.
fn ended_at(code: Code, what: &str, on: &str, ended: &Ended) -> Finding {
    let finding = Finding::error(
        code,
        format!("{what} on `{on}` ended the connection: {ended}"),
    );
    match ended {
        Ended::Disconnected { code: 0x95 | 0x97 } => {
            let number = match code {
                SUBSCRIBE => FILTERS,
                _ => SIZE,
            };
            Finding::error(number, finding.seen)
                .why("the broker ends a connection that goes over its numbers")
                .next("compare with docs/IOT-CORE.md §1.2")
        }
        Ended::Silent(_) => Finding::error(code, format!("{what} on `{on}` is not answered"))
            .why("AWS IoT Core discards in silence what goes over a rate; a filter of QoS 2 gets no answer either")
            .next("run it again; if it stays, look for a proxy between that drops packets"),
        _ => finding
            .why("some brokers end the connection where AWS IoT Core answers 0x87: the policy does not allow it, or the topic is over a limit")
            .next(format!("compare `{on}` with the policy")),
    }
}

const SUBSCRIBE: Code = Code::new(320);
const PUBLISH: Code = Code::new(330);
const ROUND_TRIP: Code = Code::new(340);
const RECEIVE: Code = Code::new(341);
const FILTERS: Code = Code::new(322);
const SIZE: Code = Code::new(332);
const FLAPPING: Code = Code::new(314);

pub(crate) const DENIED: u8 = 0x87;
const THROTTLED: u8 = 0x97;

// The first try, and two more for a denial that may be on its way out.
const TRIES: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(250),
    Duration::from_millis(500),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_goes_over_a_number_has_the_code_of_that_number() {
        let ended = |code, number| {
            let ended = Ended::Disconnected { code: number };
            ended_at(code, "x", "a", &ended).code.number()
        };
        for number in [0x95, 0x97] {
            assert_eq!(ended(SUBSCRIBE, number), 322);
            assert_eq!(ended(PUBLISH, number), 332);
        }
        assert_eq!(ended(PUBLISH, 0x87), 330);
    }
}
