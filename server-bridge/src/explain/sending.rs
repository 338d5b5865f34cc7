//! Why a version, or a deletion, is not at the broker yet.

use jiff::{SignedDuration, Timestamp};

use super::facts::ProcessFacts;
use super::quarantine::{Cause, largest, next_try};
use super::story::Stay;
use super::words::{self, ACKNOWLEDGED, PUBLISHED};
use super::{NO_BRIDGE, QUARANTINED, TURN, UNKNOWN};
use crate::store::{BundleFacts, LaneFacts, LeaseFacts, LedgerEntry};

/// What holds it up. `entry` is the ledger's of the version or the deletion.
pub(super) fn unsent(
    facts: &BundleFacts,
    entry: &LedgerEntry,
    process: Option<&ProcessFacts>,
    now: Timestamp,
) -> Stay {
    let bundle = &facts.bundle;
    let waiting = bundle.progress.as_ref().and_then(|it| it.waiting_since);
    let since = bundle.deleted_at.or(waiting).unwrap_or(entry.stored_at);
    let hop = match entry.published_at {
        None => PUBLISHED,
        Some(_) => ACKNOWLEDGED,
    };
    let stay = |code, why: String, next: String| Stay::new(code, hop, since, why, next);
    // An attempt that is under way has not failed.
    let last_failed = entry.failed_at >= entry.published_at;
    let lease = facts.lane.lease.as_ref();
    let nobody = lease.and_then(|lease| nobody_owns(lease, &facts.lane, now));
    let failure = entry.failure.as_deref().filter(|_| last_failed);
    // What one session did not finish the next one sends: where nobody is there, that is what it waits for.
    let failure = failure.filter(|it| nobody.is_none() || Cause::of(it) != Cause::Closed);
    if let Some(failure) = failure {
        let (why, next) = refused(facts, entry, failure, now);
        return stay(QUARANTINED, why, next);
    }
    if let Some((why, next)) = nobody {
        return stay(NO_BRIDGE, why, next);
    }
    let owner = owner(facts, process);
    if let Some((why, next)) = process.and_then(|it| unable(it, &owner)) {
        return stay(NO_BRIDGE, why, next);
    }
    let older_than = |then: Timestamp, limit| now.duration_since(then) > limit;
    match entry.published_at {
        Some(published) if entry.acked_at.is_none_or(|acked| acked < published) => {
            let handed = words::ago(published, now);
            if older_than(published, ANSWER) {
                let why = format!(
                    "{owner} handed it to its connection {handed} ago, and the broker has not acknowledged it since: the connection is lost, or the broker is slow"
                );
                stay(NO_BRIDGE, why, LOOK_AT_BRIDGE.into())
            } else {
                let why = format!("{owner} handed it to the broker {handed} ago");
                stay(TURN, why, SOON.into())
            }
        }
        _ if facts.ahead.told() > 0 => {
            let (whose, look) = match facts.ahead.of_others {
                Some(_) => ("consumer", "explain the consumer"),
                None => ("source", ASK),
            };
            let ahead = words::bundles(facts.ahead.told());
            let why = format!("{ahead} of its {whose} that changed before it are to be sent first");
            let next = format!(
                "nothing: they go in their order, 100 a second on one connection; where it does not get less, {look}"
            );
            stay(TURN, why, next)
        }
        Some(_) => {
            let why = "the broker has taken it before, and it was asked for once more: what is repeated goes at once, then after 2 s, doubling to a minute";
            stay(TURN, why.into(), SOON.into())
        }
        // The same words whether or not others go before it.
        None if older_than(since, QUICK) && facts.ahead.of_others.is_none() => {
            let waited = words::ago(since, now);
            let why = format!(
                "{owner} has not handed it to its connection for {waited}; whether bundles of other sources go before it is not told to who may not read them"
            );
            stay(UNKNOWN, why, ASK.into())
        }
        None if older_than(since, QUICK) => {
            let waited = words::ago(since, now);
            let mut why = format!("{owner} has not handed it to its connection for {waited}");
            // A bridge that tells this runs.
            if process.is_none()
                && facts.lane.listening_since.is_none()
                && let Some(last) = last_there(&facts.lane, now)
            {
                why = format!("{why}; {last}");
            }
            stay(NO_BRIDGE, why, LOOK_AT_BRIDGE.into())
        }
        None => stay(TURN, format!("{owner} is about to send it"), SOON.into()),
    }
}

fn refused(
    facts: &BundleFacts,
    entry: &LedgerEntry,
    failure: &str,
    now: Timestamp,
) -> (String, String) {
    let cause = Cause::of(failure);
    let mut why = failure.to_owned();
    if cause == Cause::TooLarge
        && let Some(content) = &facts.bundle.content
    {
        why = format!("{why}; {}", largest(content));
    }
    let tries = match entry.attempts {
        0 | 1 => String::new(),
        count => format!(", after {count} attempts"),
    };
    why = match next_try(entry, cause, failure) {
        Some(next) if next > now => {
            format!(
                "{why}. It is tried again in {}{tries}",
                words::until(next, now)
            )
        }
        _ => format!("{why}. It is tried again as soon as its lane does{tries}"),
    };
    let topic = failure.split('`').nth(1).unwrap_or("TOPIC").to_owned();
    (why, cause.next(&topic))
}

fn nobody_owns(lease: &LeaseFacts, lane: &LaneFacts, now: Timestamp) -> Option<(String, String)> {
    match &lease.owner {
        Some(owner) if !owner.expired => None,
        Some(owner) => Some((
            format!(
                "replica `{}` (slot {}) owns the consumer's bucket {} and has not renewed its lease since it ran out at {}",
                owner.name,
                owner.slot,
                lease.bucket,
                words::at(owner.until)
            ),
            "another replica takes it over within 24 s if one runs; otherwise start a bridge, and look at the log of that one".into(),
        )),
        None if lease.replicas == 0 => {
            let last = last_there(lane, now);
            let last = last.map_or_else(String::new, |last| format!("; {last}"));
            Some((
                format!("no bridge runs on this database, so nobody owns the consumer's bucket {}{last}", lease.bucket),
                "start a bridge; `server-bridge store status` shows who is there".into(),
            ))
        }
        None => Some((
            format!(
                "nobody owns the consumer's bucket {}, although {} replica(s) are there",
                lease.bucket, lease.replicas
            ),
            "it is taken within seconds; where it is not, look at `leases` in /readyz of the replicas".into(),
        )),
    }
}

/// When a bridge was there last, as a part of a sentence.
fn last_there(lane: &LaneFacts, now: Timestamp) -> Option<String> {
    let until = lane.listened_until?;
    let (at, ago) = (words::at(until), words::ago(until, now));
    Some(format!("a bridge heard agents last at {at} ({ago} ago)"))
}

/// Why this process cannot send, if it is the one that would.
fn unable(process: &ProcessFacts, owner: &str) -> Option<(String, String)> {
    let of = |name: &str| {
        let mut failing = process.failing.iter();
        failing.find(|check| check.name.starts_with(name))
    };
    if !process.owns {
        // Whether the owner is another one is not known here.
        let check = of("leases").or_else(|| of("slot"))?;
        let why = format!(
            "{owner} owns the consumer; this bridge cannot keep its own lease ({}), which holds it up if it is that one",
            check.told()
        );
        return Some((why, LOOK_AT_BRIDGE.into()));
    }
    let check = SENDING.iter().find_map(|name| of(name))?;
    let why = format!("{owner} cannot send: {}", check.told());
    let next = match check.name.as_str() {
        name if name.starts_with("broker") || name.starts_with("identity") => {
            "run `probe doctor` where the bridge runs: it names what is in the way of the broker"
        }
        name if name.starts_with("store") => {
            "see that the database takes writes (MQ700); nothing that was accepted is lost"
        }
        _ => LOOK_AT_BRIDGE,
    };
    Some((why, next.into()))
}

/// Who would send it.
pub(super) fn owner(facts: &BundleFacts, process: Option<&ProcessFacts>) -> String {
    let lease = facts.lane.lease.as_ref();
    match lease.and_then(|lease| lease.owner.as_ref()) {
        Some(owner) if process.is_some_and(|it| it.owns) => {
            format!("this bridge (`{}`, slot {})", owner.name, owner.slot)
        }
        Some(owner) => format!("bridge `{}` (slot {})", owner.name, owner.slot),
        None if process.is_some() => "this bridge".to_owned(),
        None => "the bridge".to_owned(),
    }
}

/// Checks without which nothing is sent, in the order in which they say more.
const SENDING: [&str; 4] = ["identity", "broker", "store", "delivery"];

/// For who may not explain the consumer.
const ASK: &str = "ask who may read the bundles of every source to explain it";
const LOOK_AT_BRIDGE: &str = "look at /readyz of that bridge, and run `probe doctor` where it runs";
const SOON: &str = "nothing: it goes by itself within seconds";

// A publish without a PUBACK for so long makes the session reconnect (docs/PROTOCOL.md).
const ANSWER: SignedDuration = SignedDuration::from_secs(20);

// The sweep finds what no hint told within two seconds.
const QUICK: SignedDuration = SignedDuration::from_secs(10);
