//! What earlier looks saw, and what must not have changed since; pure.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use link::event::agent_report::HeldWorks;
use link::fault::Finding;
use link::order::Version;

use super::look::{Look, SeenBundle, SeenEntry};
use super::{ACKNOWLEDGED, DIGEST, LEDGER, Violation};

/// What earlier looks saw.
#[derive(Debug, Default)]
pub(super) struct Memory {
    consumers: HashMap<String, Remembered>,
    bundles: usize,
    /// Id and version of the canary of each consumer, as the API acknowledged it.
    canaries: BTreeMap<String, (String, i64)>,
}

#[derive(Debug)]
struct Remembered {
    bundles: HashMap<String, Known>,
    /// What the server held, if nothing was under way.
    held: Option<HeldWorks>,
    /// When the agent had reported last.
    reported_at: Option<Timestamp>,
}

/// What was seen of a bundle.
#[derive(Debug)]
struct Known {
    created_at: Option<Timestamp>,
    version: i64,
    ledger: Vec<SeenEntry>,
}

/// What a comparison found.
#[derive(Default)]
pub(super) struct Compared {
    pub(super) bundles: u64,
    pub(super) ledgers: u64,
    pub(super) digests: u64,
    /// There was no room: the next look at this cluster has nothing to be compared with.
    pub(super) left_out: bool,
    pub(super) violations: Vec<Violation>,
}

// === impl Memory ===

impl Memory {
    /// Compares a look with the last one of the same cluster, and remembers it instead.
    pub(super) fn compare(&mut self, look: &Look) -> Compared {
        let mut compared = Compared::default();
        let Some(bundles) = &look.bundles else {
            compared.left_out = true;
            return compared;
        };
        let last = self.take(&look.consumer);
        for bundle in bundles {
            let known = last.as_ref().and_then(|last| last.bundles.get(&bundle.id));
            // One that was deleted and made again under the same id is another one.
            if let Some(known) = known.filter(|known| known.created_at == bundle.created_at) {
                compare_bundle(look, bundle, known, &mut compared);
            }
        }
        let held = held(bundles);
        if let (Some(last), Some(held)) = (&last, &held) {
            compare_digest(look, last, held, &mut compared);
        }
        let remembered = bundles.iter().map(|bundle| {
            let known = Known {
                created_at: bundle.created_at,
                version: bundle.version,
                ledger: bundle.ledger.clone(),
            };
            (bundle.id.clone(), known)
        });
        // A report that came during this look counts for the next one, if the look before saw the same as this one.
        let unchanged = last.is_some_and(|last| held.is_some() && last.held == held);
        let reported_at = match unchanged {
            true => look.before.last_report_at,
            false => look.after.last_report_at,
        };
        let is_kept = self.put(
            &look.consumer,
            Remembered {
                bundles: remembered.collect(),
                held,
                reported_at,
            },
        );
        compared.left_out = !is_kept;
        compared
    }

    /// The API acknowledged a version of a canary.
    pub(super) fn note_canary(&mut self, consumer: &str, id: &str, version: i64) {
        if self.canaries.len() < MOST_CANARIES || self.canaries.contains_key(consumer) {
            self.canaries.insert(consumer.into(), (id.into(), version));
        }
    }

    /// The consumer of a canary is gone, or the canary is to go.
    pub(super) fn forget_canary(&mut self, consumer: &str) {
        self.canaries.remove(consumer);
    }

    /// The version of a consumer's canary that was acknowledged last.
    pub(super) fn canary(&self, consumer: &str) -> Option<i64> {
        self.canaries.get(consumer).map(|(_, version)| *version)
    }

    /// Forgets every consumer that is none of these, which are sorted: it is gone, or not looked at any more.
    pub(super) fn keep_only(&mut self, names: &[String]) {
        let is_there = |name: &String| names.binary_search(name).is_ok();
        self.canaries.retain(|consumer, _| is_there(consumer));
        self.consumers.retain(|consumer, _| is_there(consumer));
        let left = self.consumers.values();
        self.bundles = left.map(|known| known.bundles.len()).sum();
    }

    /// How many bundles are remembered.
    pub(super) fn remembered(&self) -> usize {
        self.bundles
    }

    fn take(&mut self, consumer: &str) -> Option<Remembered> {
        let taken = self.consumers.remove(consumer)?;
        self.bundles -= taken.bundles.len();
        Some(taken)
    }

    /// False if there is no room. What is remembered stays then: if it made room, all would be forgotten before it is
    /// looked at again, and nothing compared with anything.
    fn put(&mut self, consumer: &str, remembered: Remembered) -> bool {
        let bundles = self.bundles + remembered.bundles.len();
        if bundles > MOST_BUNDLES {
            return false;
        }
        self.bundles = bundles;
        self.consumers.insert(consumer.into(), remembered);
        true
    }
}

/// What the server holds as sent and reported, if all of it is: nothing is under way, nothing is being deleted.
fn held(bundles: &[SeenBundle]) -> Option<HeldWorks> {
    let mut works = Vec::new();
    for bundle in bundles {
        let under_way = matches!(bundle.waiting_for.as_deref(), Some("send" | "deletion"));
        let reported = bundle.status_version == Some(bundle.version);
        if under_way || bundle.deleted_at.is_some() || !reported {
            return None;
        }
        works.push((bundle.id.as_str(), Version::new(bundle.version)?));
    }
    Some(HeldWorks::of(works))
}

/// Compared is what an agent reported between two looks that saw the same, so that nothing was under way meanwhile.
fn compare_digest(look: &Look, last: &Remembered, held: &HeldWorks, compared: &mut Compared) {
    let Some(reported) = &look.before.works else {
        return;
    };
    if last.held.as_ref() != Some(held) || look.before.last_report_at <= last.reported_at {
        return;
    }
    compared.digests += 1;
    if reported == held {
        return;
    }
    let consumer = &look.consumer;
    let seen = format!(
        "The agent of `{consumer}` reported {} works with digest {}, the server holds {} with {}, and nothing was under way",
        reported.count, reported.digest, held.count, held.digest
    );
    let finding = Finding::error(DIGEST, seen)
        .why("the cluster runs something else than what the server shows, and neither knows of it")
        .next(format!(
            "server-bridge explain {consumer}; a restart of its agent compares everything anew"
        ));
    compared.violation(consumer.clone(), finding);
}

fn compare_bundle(look: &Look, bundle: &SeenBundle, known: &Known, compared: &mut Compared) {
    compared.bundles += 1;
    let (id, consumer) = (&bundle.id, &look.consumer);
    let version = known.version;
    if bundle.version < version {
        let finding = Finding::error(
            ACKNOWLEDGED,
            format!(
                "Bundle `{id}` of `{consumer}` was at version {version} and is at {} now",
                bundle.version
            ),
        );
        compared.violation(id.clone(), lost(finding));
    }
    for before in &known.ledger {
        let is_same =
            |now: &&SeenEntry| now.version == before.version && now.deletion == before.deletion;
        let Some(now) = bundle.ledger.iter().find(is_same) else {
            // Old versions are forgotten.
            continue;
        };
        compared.ledgers += 1;
        if let Some(what) = went_back(before, now) {
            let finding = Finding::error(
                LEDGER,
                format!(
                    "In the ledger of bundle `{id}` of `{consumer}`, version {}: {what}",
                    before.version
                ),
            )
            .why("what was noted durably is not there any more: the database lost it, or somebody wrote to it")
            .next("see whether the database was restored or failed over: server-bridge store status");
            compared.violation(format!("{id} {}", before.version), finding);
        }
    }
}

/// With what a loss of something acknowledged means.
pub(super) fn lost(finding: Finding) -> Finding {
    finding
        .why("the API had confirmed it as stored: callers rely on it, and the database does not have it any more")
        .next("see whether the database was restored or failed over: server-bridge store status, and docs/OPERATIONS.md, after a restore")
}

/// What of an entry is there no more, if anything. A version that is sent once more begins its story anew, except that
/// it was stored when it was stored and the attempts go on counting.
fn went_back(before: &SeenEntry, now: &SeenEntry) -> Option<String> {
    if now.stored_at != before.stored_at {
        return Some(format!(
            "it was stored at {}, and is said to be stored at {}",
            before.stored_at, now.stored_at
        ));
    }
    if now.attempts < before.attempts {
        return Some(format!(
            "{} attempts have become {}",
            before.attempts, now.attempts
        ));
    }
    let anew = now.published_at != before.published_at || now.failed_at != before.failed_at;
    if anew {
        return None;
    }
    let hops = [
        (
            "acknowledged by the broker",
            before.broker_acked_at,
            now.broker_acked_at,
        ),
        ("received", before.received_at, now.received_at),
        ("applied", before.applied_at, now.applied_at),
        ("reported", before.reported_at, now.reported_at),
    ];
    hops.into_iter().find_map(|(hop, before, now)| {
        let before = before?;
        match now {
            Some(now) if now >= before => None,
            Some(now) => Some(format!("{hop} at {before} has become {now}")),
            None => Some(format!("{hop} at {before} is forgotten")),
        }
    })
}

// === impl Compared ===

impl Compared {
    fn violation(&mut self, subject: String, finding: Finding) {
        self.violations.push(Violation { subject, finding });
    }
}

/// Some 100 MB with three versions each.
pub(super) const MOST_BUNDLES: usize = 100_000;
const MOST_CANARIES: usize = 50_000;

#[cfg(test)]
mod tests;
