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
    let mut taken = Vec::new();
    for topic in &who.foreign_topics {
        match client.publish(&who.message(topic)).await {
            Ok(code) if code < 0x80 => taken.push(topic.as_str()),
            // Refused for another reason than the policy says nothing of it, and lets nothing through either.
            Ok(_) => {}
            Err(ended) => return refused_by_ending(stage, topic, ended),
        }
    }
    stage.add(published(who, &taken));
    let mut granted = Vec::new();
    for filter in &who.foreign_filters {
        match client.subscribe(&[filter], QoS::AtMostOnce).await {
            Ok(codes) if codes.first().is_some_and(|code| *code < 0x80) => {
                granted.push(filter.as_str());
            }
            Ok(_) => {}
            Err(ended) => return refused_by_ending(stage, filter, ended),
        }
    }
    stage.add(subscribed(who, &granted));
    Ok(())
}

// Some brokers refuse by ending the connection. Then the rest is not known.
fn refused_by_ending(stage: &mut SessionStage<'_>, on: &str, ended: Ended) -> Result<(), Ended> {
    if ended.is_takeover() {
        return Err(ended);
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
    Ok(())
}
