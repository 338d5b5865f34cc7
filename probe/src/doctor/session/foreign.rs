//! Asks the broker for what the policy must refuse.
//!
//! **Invariant:** what is asked for harms nobody: topics of a consumer that does not exist, messages that say that they are
//! no event, filters that are left at once. A party that is let in where it should not be leaves, and that is the finding.

use link::fault::Finding;
use rmqtt_codec::types::QoS;

use super::SessionStage;
use super::client::RawClient;
use super::exchange::DENIED;
use super::seen::Ended;
use crate::doctor::policy::{REFUSES, published, subscribed};
use crate::doctor::who::Who;

/// Asks for what is foreign.
///
/// # Errors
/// The connection ended, which is how some brokers refuse; that was added.
pub(crate) async fn check(
    stage: &mut SessionStage<'_>,
    who: &Who,
    client: &mut RawClient,
) -> Result<(), Ended> {
    let (mut taken, mut unclear) = (Vec::new(), None);
    for topic in &who.foreign_topics {
        match client.publish(&who.message(topic)).await {
            Ok(DENIED) => {}
            Ok(code) if code < REFUSED => taken.push(topic.as_str()),
            Ok(code) => unclear = Some(("PUBLISH", topic.as_str(), code)),
            Err(ended) => return Err(refused_by_ending(stage, topic, ended)),
        }
    }
    let found = published(who, &taken);
    stage.add(of_half(found, !taken.is_empty(), unclear));
    let (mut granted, mut unclear) = (Vec::new(), None);
    for filter in &who.foreign_filters {
        match client.subscribe(&[filter], QoS::AtMostOnce).await {
            Ok(codes) => match codes.first().copied().unwrap_or(REFUSED) {
                DENIED => {}
                code if code < REFUSED => granted.push(filter.as_str()),
                code => unclear = Some(("SUBSCRIBE", filter.as_str(), code)),
            },
            Err(ended) => return Err(refused_by_ending(stage, filter, ended)),
        }
    }
    let found = subscribed(who, &granted);
    stage.add(of_half(found, !granted.is_empty(), unclear));
    Ok(())
}

// What was asked, on what, and an answer that is neither a yes nor the policy's no.
type Unclear<'a> = (&'a str, &'a str, u8);

// Refused for another reason, such as a rate or a length, the policy has not been asked.
fn of_half(found: Finding, let_in: bool, unclear: Option<Unclear<'_>>) -> Finding {
    match unclear {
        Some((what, on, code)) if !let_in => Finding::info(
            REFUSES,
            format!(
                "not checked: {what} on `{on}` got 0x{code:02x}, which says nothing of the policy"
            ),
        ),
        _ => found,
    }
}

// Some brokers refuse by ending the connection. Then the rest is not known.
fn refused_by_ending(stage: &mut SessionStage<'_>, on: &str, ended: Ended) -> Ended {
    if ended.is_takeover() {
        return ended;
    }
    if ended.is_refusal() {
        stage.add(Finding::ok(
            REFUSES,
            format!(
                "`{on}` is refused, by ending the connection ({ended}); the rest was not asked for"
            ),
        ));
    } else {
        stage.add(Finding::info(
            REFUSES,
            format!("not checked: the connection ended at `{on}` ({ended}, where 0x{DENIED:02x} was expected)"),
        ));
    }
    ended
}

const REFUSED: u8 = 0x80;

#[cfg(test)]
mod tests {
    use link::fault::{Code, Severity};

    use super::*;

    #[test]
    fn only_the_policys_no_is_a_refusal() {
        let found = || Finding::ok(Code::new(312), "refused");
        assert_eq!(of_half(found(), false, None), found());
        for code in [0x80, 0x83, 0x8f, 0x97] {
            let unclear = of_half(found(), false, Some(("PUBLISH", "a", code)));
            assert_eq!((unclear.code, unclear.severity), (REFUSES, Severity::Info));
        }
        // What was let in is said whatever the rest got.
        assert_eq!(
            of_half(found(), true, Some(("PUBLISH", "a", 0x97))),
            found()
        );
    }
}
