//! The story of one consumer: how many of its bundles wait where, and why the oldest of each do.

use jiff::Timestamp;

use super::bundle::told;
use super::facts::{AgentFacts, ProcessFacts};
use super::story::{
    ConsumerStory, ConsumerSubject, LaneShown, OldestShown, RaisedShown, Stay, WaitCounts,
};
use super::{EXPLAIN_SCHEMA, delivered, words};
use crate::store::{ConsumerFacts, Load, PresenceState};

/// The story of a consumer. `process` is this process where it is a bridge.
pub fn consumer(
    facts: &ConsumerFacts,
    process: Option<&ProcessFacts>,
    now: Timestamp,
) -> ConsumerStory {
    let agent = &AgentFacts::of(&facts.lane, facts.load.waits(), now);
    let stories = facts.oldest.iter();
    let oldest: Vec<OldestShown> = stories
        .filter_map(|one| {
            let story = told(one, process, agent, now);
            let waiting = story.waiting?;
            let bundle = story.subject.id;
            Some(OldestShown { bundle, waiting })
        })
        .collect();
    let waiting = oldest.iter().min_by_key(|one| one.waiting.since);
    let waiting = waiting.map(|one| one.waiting.clone());
    let it = &facts.lane.consumer;
    ConsumerStory {
        schema: EXPLAIN_SCHEMA.into(),
        at: now,
        subject: ConsumerSubject {
            kind: "consumer".into(),
            id: it.id.clone(),
            name: it.name.to_string(),
        },
        state: state(&facts.load, waiting.as_ref(), agent, now),
        waiting,
        counts: counts(&facts.load),
        oldest,
        agent: delivered::shown(agent, None),
        lane: lane(facts, process),
    }
}

fn counts(load: &Load) -> WaitCounts {
    WaitCounts {
        bundles: load.bundles,
        send: load.waiting_to_send,
        apply: load.waiting_to_apply,
        available: load.waiting_for_available,
        deletion: load.waiting_for_deletion,
    }
}

fn state(load: &Load, waiting: Option<&Stay>, agent: &AgentFacts, now: Timestamp) -> String {
    let all = words::bundles(load.bundles);
    let waits = load.waiting_to_send
        + load.waiting_to_apply
        + load.waiting_for_available
        + load.waiting_for_deletion;
    let heard = match agent.last_heard_at {
        Some(heard) => format!("its agent was heard {} ago", words::ago(heard, now)),
        None => "its agent was never heard".to_owned(),
    };
    // One that is away and has nothing to do is not well.
    let heard = match agent.state {
        PresenceState::Away => {
            let since = agent.since.map_or_else(String::new, |since| {
                format!(" since {} ({})", words::at(since), words::ago(since, now))
            });
            format!("its agent is away{since}")
        }
        _ => heard,
    };
    match waiting {
        None if waits == 0 => format!("Nothing waits: {all}; {heard}."),
        // Counted before the oldest were read, or what the counts and the story are made of differs.
        None => format!("{waits} of {all} wait; why is not known yet; {heard}."),
        Some(stay) => format!(
            "{waits} of {all} wait, the oldest for {} to be {}; {heard}.",
            words::ago(stay.since, now),
            stay.hop
        ),
    }
}

fn lane(facts: &ConsumerFacts, process: Option<&ProcessFacts>) -> LaneShown {
    let lease = facts.lane.lease.as_ref();
    let known = lease.and_then(|lease| lease.owner.as_ref());
    let owner = known.filter(|owner| !owner.expired);
    // Where replicas are there, one of them takes it within seconds.
    let is_gone = match lease {
        Some(lease) => lease.owner.is_none() && lease.replicas == 0,
        None => process.is_none() && facts.lane.listening_since.is_none(),
    };
    let ended = known.filter(|owner| owner.expired).map(|owner| owner.until);
    let unheard = facts.lane.listened_until.filter(|_| is_gone);
    LaneShown {
        owner: owner.map(|owner| owner.name.clone()),
        slot: owner.map(|owner| owner.slot),
        until: owner.map(|owner| owner.until),
        term: lease.map(|lease| lease.term),
        nobody_since: ended.or(unheard),
        replicas: lease.map(|lease| lease.replicas),
        epoch: facts.epoch.number,
        epoch_began_at: facts.epoch.began_at,
        unconfirmed: facts.doubts.unconfirmed,
        foreign_works: facts.doubts.foreign_works,
        raised: facts
            .raised
            .iter()
            .map(|one| RaisedShown {
                bundle: one.id.clone(),
                version: one.version.get(),
                at: one.at,
                note: one.note.clone(),
            })
            .collect(),
    }
}
