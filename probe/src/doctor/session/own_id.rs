//! The party's own client id: whether it is used, and how often the broker is asked to take it.

use std::time::Duration;

use link::iot::limits::CONNECT_INTERVAL;
use tokio::time::sleep;

use super::certificate;
use super::client::RawClient;
use super::connect::{Own, Tries};
use super::seen::Ended;
use crate::doctor::Context;
use crate::doctor::aws::facts::AwsFacts;
use crate::doctor::evidence::Evidence;
use crate::doctor::who::{Role, Who};

/// Connects with it, unless it is to be left alone; `dial` is one attempt, and `foreign` what a foreign id was answered.
pub(super) async fn connect<D: Future<Output = Result<RawClient, Ended>>>(
    context: &Context,
    who: &Who,
    evidence: &Evidence,
    foreign: Result<(), Ended>,
    dial: impl Fn() -> D,
) -> (Option<RawClient>, Tries) {
    let mut tries = Tries {
        foreign,
        own: plan(context, who, evidence),
        throttled: 0,
        refused: 0,
    };
    if tries.own != Own::Taken {
        return (None, tries);
    }
    let mut answer = dial().await;
    let is_explained =
        !is_recent(&evidence.aws) && certificate::of_connect(&evidence.aws, who).is_some();
    for pause in AGAIN {
        let Err(ended) = &answer else { break };
        let denied = ended.is_denied() || ended.is_refusal() && is_recent(&evidence.aws);
        // Where AWS says why, asking again brings nothing.
        let again = ended.is_throttled() || denied && !is_explained;
        if !again || context.at_most(pause) < pause {
            break;
        }
        tries.throttled += u32::from(ended.is_throttled());
        tries.refused += u32::from(denied);
        sleep(pause).await;
        answer = dial().await;
    }
    match answer {
        Ok(client) => (Some(client), tries),
        Err(ended) => {
            tries.own = Own::Ended(ended);
            (None, tries)
        }
    }
}

// Whether it is used. `Taken` says that it is.
fn plan(context: &Context, who: &Who, evidence: &Evidence) -> Own {
    if !who.shared || context.args.far.take_over {
        return Own::Taken;
    }
    // Whoever gives `-i` without a role means that id.
    if who.role == Role::Operator {
        return Own::Taken;
    }
    match evidence.connected(&who.own) {
        Some((true, how)) => Own::Connected(how),
        Some((false, _)) => Own::Taken,
        None => Own::Spared("whoever is connected with it would be thrown out".into()),
    }
}

fn is_recent(facts: &AwsFacts) -> bool {
    facts.recent().is_some()
}

// A little over the interval in which one client id may connect.
const AGAIN: [Duration; 2] = [
    CONNECT_INTERVAL.saturating_add(Duration::from_millis(100)),
    CONNECT_INTERVAL.saturating_add(Duration::from_millis(100)),
];
