//! Why nothing was reported of a version, or of a deletion, that the broker has taken.

use jiff::Timestamp;

use super::facts::AgentFacts;
use super::story::{AgentShown, Stay};
use super::words::{self, DELETED, RECEIVED};
use super::{AWAY, DELETION, NEVER, REFUSED, UNANSWERED, UNHEARD};
use crate::store::{ANSWERED_WITHIN, BundleFacts, LedgerEntry, PresenceState, reason};

/// What is in the way. `entry` is the ledger's of the version or the deletion, which the broker has acknowledged.
pub(super) fn unreported(
    facts: &BundleFacts,
    entry: &LedgerEntry,
    agent: &AgentFacts,
    now: Timestamp,
) -> Stay {
    let bundle = &facts.bundle;
    let acked = entry.acked_at.unwrap_or(entry.stored_at);
    let waiting = bundle.progress.as_ref().and_then(|it| it.waiting_since);
    let since = bundle.deleted_at.or(waiting).unwrap_or(acked);
    let hop = match entry.deletion {
        true => DELETED,
        false => RECEIVED,
    };
    let stay = |code, why: String, next: &str| Stay::new(code, hop, since, why, next);
    let consumer = bundle.consumer_name.as_str();
    let what = match entry.deletion {
        true => "the deletion".to_owned(),
        false => format!("version {}", bundle.version),
    };
    if let Some(refusal) = agent.refusal(&bundle.id, bundle.version) {
        let why = format!(
            "the agent of `{consumer}` refuses {what} since {} ({}): {}",
            words::at(refusal.at),
            refusal.reason,
            refusal.message
        );
        return stay(REFUSED, why, of_refusal(&refusal.reason));
    }
    if agent.state == PresenceState::Away {
        return stay(AWAY, is_away(consumer, agent, now), BRING_BACK);
    }
    let Some(heard) = agent.last_heard_at else {
        let unmatched = match entry.matched {
            Some(false) => ", and the broker says that nobody is subscribed",
            _ => "",
        };
        let why = format!("nothing was ever heard of an agent of `{consumer}`{unmatched}");
        let next = "start the agent, and see that its consumer name, topics and source are those of this bridge: `probe doctor` where the agent runs";
        return stay(NEVER, why, next);
    };
    let last = format!(
        "it was heard last at {} ({} ago)",
        words::at(heard),
        words::ago(heard, now)
    );
    if heard < acked && entry.matched == Some(false) && !agent.connected {
        let why = format!(
            "the broker took {what} at {} and nobody was subscribed to the topic of `{consumer}`; {last}",
            words::at(acked)
        );
        let next = "start the agent; when it subscribes it asks for what it lacks, and nothing need be sent by hand";
        return stay(UNHEARD, why, next);
    }
    if now.duration_since(acked) <= ANSWERED_WITHIN {
        let why = format!(
            "the broker took {what} {} ago; an agent that is there answers at once",
            words::ago(acked, now)
        );
        return stay(
            unanswered(entry),
            why,
            "nothing: look again in a few seconds",
        );
    }
    if heard < acked && !agent.connected {
        let why = format!(
            "nothing was heard of the agent of `{consumer}` since the broker took {what} at {}; {last}",
            words::at(acked)
        );
        return stay(AWAY, why, BRING_BACK);
    }
    let (why, next) = talks(consumer, &what, agent, &last);
    stay(unanswered(entry), why, next)
}

/// What the agent reported before it went: it does not go on until it is back.
pub(super) fn left(facts: &BundleFacts, stay: Stay, agent: &AgentFacts, now: Timestamp) -> Stay {
    let consumer = facts.bundle.consumer_name.as_str();
    let gone = is_away(consumer, agent, now);
    let why = format!("{gone}; last it said: {}", stay.why);
    Stay {
        hop: stay.hop,
        ..Stay::new(AWAY, RECEIVED, stay.since, why, BRING_BACK)
    }
}

fn is_away(consumer: &str, agent: &AgentFacts, now: Timestamp) -> String {
    let gone = agent.since.map_or_else(String::new, |since| {
        format!(" since {} ({})", words::at(since), words::ago(since, now))
    });
    let reason = agent
        .why
        .as_deref()
        .map_or_else(String::new, |why| format!(": {}", gone_because(why)));
    format!("the agent of `{consumer}` is away{gone}{reason}")
}

/// The agent talks, and not of this.
fn talks(consumer: &str, what: &str, agent: &AgentFacts, last: &str) -> (String, &'static str) {
    match agent.reports {
        true => (
            format!(
                "the agent of `{consumer}` is there, refuses nothing, and has not reported on {what}; {last}"
            ),
            "look at /readyz of the agent: a store or a cluster that it cannot write to leaves works unacknowledged with the broker (MQ503)",
        ),
        false => (
            format!(
                "the agent of `{consumer}` talks and has not reported on {what}; {last}. It says nothing of itself: a Go agent, or one of an earlier version, drops what it refuses without a word"
            ),
            "look at the agent's log for the bundle's id; a newer version of the bundle, or a restart of the agent, has it sent again",
        ),
    }
}

/// Our own words for why an agent is away as a phrase; the broker's are its own.
fn gone_because(why: &str) -> String {
    match why {
        reason::REPORTS_MISSING => "its reports of itself are missing".to_owned(),
        reason::NO_REASON => "its connection ended, and the broker does not say why".to_owned(),
        why => format!("the broker says {why}"),
    }
}

fn unanswered(entry: &LedgerEntry) -> link::fault::Code {
    match entry.deletion {
        true => DELETION,
        false => UNANSWERED,
    }
}

/// What to do about a reason of docs/PROTOCOL.md.
fn of_refusal(reason: &str) -> &'static str {
    match reason {
        "foreign_source" => {
            "let the agent take this source (`--allow-source`), or publish under one that it takes"
        }
        "foreign_consumer" | "foreign_topic" => {
            "see that bridge and agent have the same topics, and that the certificate is of this consumer (MQ400)"
        }
        "deleting" => {
            "nothing: the agent asks for it again once the objects of the deleted work are gone"
        }
        "departed" | "old_version" => {
            "nothing: the agent asks its source what is right; where it stays, publish a new version"
        }
        "too_long" => "give the bundle a shorter id",
        "data_type" | "action" | "missing_version" | "missing_resource_id" | "not_an_event" => {
            "see that the versions of bridge and agent fit (MQ505)"
        }
        _ => "correct what the message names, and publish a new version",
    }
}

/// The agent as shown, with what it says of a bundle.
pub(super) fn shown(agent: &AgentFacts, facts: Option<&BundleFacts>) -> AgentShown {
    let refusal = facts.and_then(|it| agent.refusal(&it.bundle.id, it.bundle.version));
    AgentShown {
        state: agent.state.as_str().into(),
        since: agent.since,
        why: agent.why.clone(),
        last_heard_at: agent.last_heard_at,
        version: agent.version.clone(),
        certificate_expires_at: agent.certificate_expires_at,
        refusal: refusal.map(|it| format!("{}: {}", it.reason, it.message)),
    }
}

const BRING_BACK: &str = "bring the agent back: `probe doctor` in its pod or on its machine names what is in the way; it asks for what it lacks by itself when it subscribes";
