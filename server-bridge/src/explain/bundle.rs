//! The story of one bundle.

use jiff::Timestamp;

use super::applying::Reported;
use super::facts::{AgentFacts, ProcessFacts};
use super::story::{BundleStory, BundleSubject, HopShown, Stay};
use super::words::{self, DELETED};
use super::{EXPLAIN_SCHEMA, UNKNOWN, delivered, hops, sending};
use crate::store::{Bundle, BundleFacts, LedgerEntry, PresenceState, Tombstone};

/// The story of a bundle. `process` is this process where it is a bridge.
pub fn bundle(facts: &BundleFacts, process: Option<&ProcessFacts>, now: Timestamp) -> BundleStory {
    let agent = AgentFacts::of(&facts.lane, is_on_its_way(facts), now);
    told(facts, process, &agent, now)
}

/// Whether something of it waits for anybody.
fn is_on_its_way(facts: &BundleFacts) -> bool {
    let progress = facts.bundle.progress.as_ref();
    facts.unsent
        || facts.bundle.deleted_at.is_some()
        || progress.is_some_and(|it| it.waiting_since.is_some())
}

pub(super) fn told(
    facts: &BundleFacts,
    process: Option<&ProcessFacts>,
    agent: &AgentFacts,
    now: Timestamp,
) -> BundleStory {
    let bundle = &facts.bundle;
    let ledger = bundle.ledger.as_deref().unwrap_or_default();
    let made = unentered(bundle);
    let entry = present(bundle, ledger).unwrap_or(&made);
    let reported = Reported::of(facts);
    let waiting = wait(facts, entry, reported.as_ref(), process, agent, now);
    let available = reported.as_ref().and_then(Reported::available_at);
    BundleStory {
        schema: EXPLAIN_SCHEMA.into(),
        at: now,
        subject: subject(bundle),
        state: state(bundle, waiting.as_ref(), now),
        hops: hops::shown(entry, available.filter(|_| !entry.deletion)),
        earlier: hops::earlier(ledger, entry),
        attempts: hops::attempts(entry, facts.unsent, now),
        agent: Some(delivered::shown(agent, Some(facts))),
        conditions: reported
            .filter(|it| it.counts() || bundle.deleted_at.is_some())
            .map(|it| it.unmet())
            .unwrap_or_default(),
        notes: notes(facts, waiting.as_ref()),
        waiting,
    }
}

/// The story of a bundle that is gone.
pub fn gone(tombstone: &Tombstone, now: Timestamp) -> BundleStory {
    let Tombstone {
        bundle_id,
        consumer,
        version,
        removed_at,
    } = tombstone;
    BundleStory {
        schema: EXPLAIN_SCHEMA.into(),
        at: now,
        subject: BundleSubject {
            kind: "bundle".into(),
            id: bundle_id.clone(),
            name: None,
            consumer: consumer.to_string(),
            source: None,
            version: version.get(),
            deleting_since: None,
        },
        state: format!(
            "It is gone: the agent of `{consumer}` confirmed its deletion, which was stored at {} ({} ago).",
            words::at(*removed_at),
            words::ago(*removed_at, now)
        ),
        waiting: None,
        hops: vec![HopShown {
            hop: DELETED.into(),
            version: version.get(),
            at: Some(*removed_at),
            took_seconds: None,
            note: None,
        }],
        earlier: Vec::new(),
        attempts: None,
        agent: None,
        conditions: Vec::new(),
        notes: vec![format!(
            "who asked for the deletion is in the log of the bridge that took it: target `audit`, id `{bundle_id}`"
        )],
    }
}

fn wait(
    facts: &BundleFacts,
    entry: &LedgerEntry,
    reported: Option<&Reported>,
    process: Option<&ProcessFacts>,
    agent: &AgentFacts,
    now: Timestamp,
) -> Option<Stay> {
    let bundle = &facts.bundle;
    if facts.unsent {
        return Some(sending::unsent(facts, entry, process, now));
    }
    let waiting = bundle.progress.as_ref().and_then(|it| it.waiting_since);
    let since = bundle
        .deleted_at
        .or(waiting)
        .or(entry.acked_at)
        .unwrap_or(bundle.updated_at);
    if bundle.deleted_at.is_some() {
        let deleting = reported.and_then(|it| it.deleting(since));
        return Some(match deleting {
            // Whoever went in the middle of it does not go on.
            Some(stay) if agent.state != PresenceState::Away => stay,
            _ => delivered::unreported(facts, entry, agent, now),
        });
    }
    match reported.filter(|it| it.counts()) {
        None if bundle.status.is_some() && reported.is_none() => Some(Stay::new(
            UNKNOWN,
            words::REPORTED,
            since,
            "the agent's status cannot be read",
            "look at `status` of the bundle: it is no status of docs/PROTOCOL.md",
        )),
        None => Some(delivered::unreported(facts, entry, agent, now)),
        Some(reported) => {
            let stay = reported.waits(facts, since);
            match agent.state {
                // What it said last may be long past, and nobody is there to go on.
                PresenceState::Away => stay.map(|stay| delivered::left(facts, stay, agent, now)),
                _ => stay,
            }
        }
    }
}

/// The ledger's entry of the present version, or of the deletion.
fn present<'l>(bundle: &Bundle, ledger: &'l [LedgerEntry]) -> Option<&'l LedgerEntry> {
    let deletion = bundle.deleted_at.is_some();
    let mut newest = ledger.iter().rev();
    newest.find(|entry| entry.deletion == deletion && entry.version == bundle.version)
}

/// What an entry would say that is not there.
fn unentered(bundle: &Bundle) -> LedgerEntry {
    let deletion = bundle.deleted_at.is_some();
    let stored_at = bundle.deleted_at.unwrap_or(bundle.updated_at);
    LedgerEntry::stored(bundle.version, deletion, stored_at)
}

fn subject(bundle: &Bundle) -> BundleSubject {
    BundleSubject {
        kind: "bundle".into(),
        id: bundle.id.clone(),
        name: (bundle.name != bundle.id).then(|| bundle.name.clone()),
        consumer: bundle.consumer_name.to_string(),
        source: Some(bundle.source.as_str().to_owned()),
        version: bundle.version.get(),
        deleting_since: bundle.deleted_at,
    }
}

fn state(bundle: &Bundle, waiting: Option<&Stay>, now: Timestamp) -> String {
    let what = match bundle.deleted_at {
        Some(_) => "Its deletion".to_owned(),
        None => format!("Version {}", bundle.version),
    };
    let Some(stay) = waiting else {
        return format!("{what} is applied and available.");
    };
    let fault = stay.code.entry().map_or("", |entry| entry.fault);
    let mut fault = fault.chars();
    let fault: String = fault
        .next()
        .map(|first| first.to_lowercase().chain(fault).collect())
        .unwrap_or_default();
    format!(
        "{what} has waited for {} to be {}: {fault}.",
        words::ago(stay.since, now),
        stay.hop
    )
}

fn notes(facts: &BundleFacts, waiting: Option<&Stay>) -> Vec<String> {
    let mut notes = Vec::new();
    if facts.unconfirmed && waiting.is_some() {
        notes.push(
            "its version was neither made nor confirmed since the store was restored or moved: the next change leaves versions out"
                .to_owned(),
        );
    }
    notes
}
