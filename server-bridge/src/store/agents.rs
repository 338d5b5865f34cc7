//! What is stored of what agents report outside of statuses: lists in parts until they are complete, works to be deleted
//! that only an agent holds (orphans), and when a consumer was last heard.
//!
//! With a shared subscription the parts of one list reach several replicas, and the lane that deletes a work may run on
//! another replica than the one that found it; so none of this is kept in memory.

use std::collections::{BTreeMap, HashSet};
use std::future::Future;

use jiff::{SignedDuration, Timestamp};
use link::bundle::resync::HeldVersion;
use link::id::ConsumerName;
use link::order::Version;

use super::StoreError;

/// What is kept of what agents say. The same rules as for [`super::Store`]: ids and times are arguments, and every method
/// is one transaction.
pub trait AgentStore: Clone + Send + Sync + 'static {
    // --- lists in parts ---

    /// Keeps a part of a list and gives the whole list if all its parts are there now, also when this part was there
    /// before. Of each consumer the [`LISTS`] newest unfinished lists are kept, by when their agent made them; where all
    /// together pass [`ALL_BYTES`], the oldest are forgotten.
    fn add_resync_part(
        &self,
        part: ResyncPart,
        at: Timestamp,
    ) -> impl Future<Output = Result<PartOutcome, StoreError>> + Send;

    /// Forgets a list that is answered, and the older ones of the same consumer.
    fn forget_resync(
        &self,
        consumer: &ConsumerName,
        list: &str,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Forgets lists whose first part came before `before`; how many.
    fn prune_resyncs(
        &self,
        before: Timestamp,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    // --- works to be deleted that only their agent holds ---

    /// Adds works of a consumer to its outbox; how many found no room ([`ORPHANS`]) or have ids that no bundle can have.
    /// A work that is there already is added anew, behind the others. Of a consumer that is not registered only works
    /// that were deleted here are taken.
    fn add_orphans(
        &self,
        consumer: &ConsumerName,
        works: Vec<Orphan>,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Up to `limit` of them, the oldest first, each with the key by which it is removed.
    fn orphans(
        &self,
        consumer: &ConsumerName,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<(i64, Orphan)>, StoreError>> + Send;

    /// Removes those that were sent, or are not to be sent. One that was added again meanwhile has another key and stays.
    fn remove_orphans(&self, keys: Vec<i64>)
    -> impl Future<Output = Result<(), StoreError>> + Send;

    // --- what this store may not know ---

    /// What makes one doubt that this store knows all that was done with a consumer.
    fn doubts(
        &self,
        consumer: &ConsumerName,
    ) -> impl Future<Output = Result<Doubts, StoreError>> + Send;

    /// Notes that agents of a consumer hold a work that is not known here.
    fn note_foreign_work(
        &self,
        consumer: &ConsumerName,
        at: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Notes that a consumer's agents hold nothing that is not known here. What was noted after `until` stays.
    fn forget_foreign_works(
        &self,
        consumer: &ConsumerName,
        until: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    // --- consumers ---

    /// Notes that consumers were heard, each at most once in [`SEEN_EVERY`]; a note that is later than this one by more was
    /// made by a clock that was ahead, and is replaced. Unknown names are ignored.
    fn note_seen(
        &self,
        consumers: Vec<ConsumerName>,
        at: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Removes the consumer with this id and everything that is kept of it: bundles with their statuses and ledgers,
    /// orphans, unfinished lists, and what is remembered of its deletions. Each bundle leaves a last report
    /// ([`super::ReportStore`]) of `now`. Its cluster is told nothing, and what it still
    /// holds is unknown here from then on. With `unseen_since` one that has bundles is refused with `ConsumerSeen` if it was
    /// heard then or later, or if nobody noted when although its bundles have statuses. Refused with `ConsumerNotFound`.
    fn remove_consumer(
        &self,
        id: &str,
        unseen_since: Option<Timestamp>,
        now: Timestamp,
    ) -> impl Future<Output = Result<RemovedConsumer, StoreError>> + Send;
}

/// A part of the list of what an agent holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResyncPart {
    /// Whose list it is.
    pub consumer: ConsumerName,
    /// The list's id, which its agent chose.
    pub list: String,
    /// When its agent made the list, by the agent's clock; the same for all parts.
    pub made_at: Timestamp,
    /// Which part it is, from 1.
    pub number: u32,
    /// How many there are, at most 64.
    pub total: u32,
    /// What is in it.
    pub held: Vec<HeldVersion>,
}

/// What became of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartOutcome {
    /// It is kept; others are missing.
    Waits,
    /// All parts are there. The list stays until [`AgentStore::forget_resync`].
    Whole {
        /// The whole list, in order.
        held: Vec<HeldVersion>,
        /// When its first part came.
        began_at: Timestamp,
    },
    /// Newer lists of the consumer wait; this one is not needed.
    Superseded,
    /// Earlier parts said that there are `earlier` parts; the list stays as it was.
    OtherTotal {
        /// How many parts there are by those.
        earlier: u32,
    },
    /// The list passes [`LIST_BYTES`] and is forgotten.
    TooLong {
        /// Its bytes so far.
        bytes: u64,
    },
}

/// A work that its agent holds and that is to be deleted there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// Its id.
    pub id: String,
    /// The version its agent gave, which is echoed.
    pub version: Version,
    /// Whether this bridge must remember its deletion still when it is sent.
    pub deleted_here: bool,
}

/// What makes one doubt that the store knows all that was done with a consumer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doubts {
    /// When it last showed that this store is older than the consumer's agents, or may be: the present epoch began, and is
    /// not the first one, or they held a newer version.
    pub since: Option<Timestamp>,
    /// Whether some bundle of the consumer is not confirmed.
    pub unconfirmed: bool,
    /// Whether its agents held a work that was not known here, and no whole list of theirs has come since without one.
    pub foreign_works: bool,
}

/// A consumer that was removed with everything that was kept of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedConsumer {
    /// Its name.
    pub name: ConsumerName,
    /// How many bundles it had.
    pub bundles: u64,
    /// When it was heard last.
    pub last_seen_at: Option<Timestamp>,
}

/// What a list holds, as it is kept: pairs of id and version.
pub(super) fn to_text(held: &[HeldVersion]) -> String {
    let pairs: Vec<(&str, Version)> = held
        .iter()
        .map(|work| (work.resource_id.as_str(), work.resource_version))
        .collect();
    // Strings and integers always have a JSON form.
    serde_json::to_string(&pairs).unwrap_or_else(|_| "[]".to_owned())
}

/// The parts of a list, joined.
pub(super) fn from_texts(list: &str, parts: &[String]) -> Result<Vec<HeldVersion>, StoreError> {
    let mut held = Vec::new();
    for text in parts {
        let pairs: Vec<(String, Version)> =
            serde_json::from_str(text).map_err(|error| StoreError::Corrupt {
                object: "resync_parts.held",
                key: list.to_owned(),
                problem: error.to_string(),
            })?;
        held.extend(
            pairs
                .into_iter()
                .map(|(resource_id, resource_version)| HeldVersion {
                    resource_id,
                    resource_version,
                }),
        );
    }
    Ok(held)
}

/// Which works are added beside those that are `there`, each once and in the order of their ids, so that all who add the
/// same ones take the rows in the same order. And how many are refused.
pub(super) fn admitted(
    works: Vec<Orphan>,
    there: &HashSet<String>,
    registered: bool,
) -> (Vec<Orphan>, u64) {
    let mut refused = 0;
    let mut room = ORPHANS.saturating_sub(there.len() as u64);
    let mut added = BTreeMap::new();
    for work in works {
        // A consumer that is gone may come back: what nobody here deleted is left alone there.
        if !registered && !work.deleted_here {
            continue;
        }
        let known = there.contains(&work.id) || added.contains_key(&work.id);
        let fits = work.id.len() <= LONGEST_ID && !work.id.contains('\0');
        if !fits || (!known && room == 0) {
            refused += 1;
            continue;
        }
        room -= u64::from(!known);
        added.insert(work.id.clone(), work);
    }
    (added.into_values().collect(), refused)
}

/// What is known of whether the cluster of a consumer is alive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Activity {
    /// When it was heard last; not noted before that was stored, nor while no bridge listened.
    pub(super) last_seen_at: Option<Timestamp>,
    /// How many bundles it has.
    pub(super) bundles: u64,
    /// Whether it ever reported on one of them.
    pub(super) reported: bool,
}

/// Refuses to remove a consumer that has bundles and may be alive: heard at `unseen_since` or later, or some time unknown.
pub(super) fn refuse_if_alive(
    name: &ConsumerName,
    signs: Activity,
    unseen_since: Option<Timestamp>,
) -> Result<(), StoreError> {
    let Some(since) = unseen_since else {
        return Ok(());
    };
    let last_seen_at = signs.last_seen_at;
    if signs.bundles > 0 && last_seen_at.map_or(signs.reported, |seen| seen >= since) {
        return Err(StoreError::ConsumerSeen {
            name: name.clone(),
            last_seen_at,
        });
    }
    Ok(())
}

/// Since when a consumer must not have been heard, to be removed with its bundles without its name being repeated.
pub fn unseen_since(now: Timestamp) -> Timestamp {
    now - ALIVE
}

/// Unfinished lists of one consumer. Two, because with several sessions the last parts of a list may come after the first
/// ones of the next.
pub const LISTS: u32 = 2;

/// Bytes of one list as it is kept. An agent's parts have 120 000 bytes of payload, and 64 parts are the most.
pub const LIST_BYTES: u64 = 8_000_000;

/// Bytes of all unfinished lists: thirty of the longest, or one part of 2 000 consumers that subscribe at the same time.
pub const ALL_BYTES: u64 = 256_000_000;

/// Works to be deleted that wait for one consumer.
pub const ORPHANS: u64 = 10_000;

/// A consumer is noted as heard at most this often.
pub const SEEN_EVERY: SignedDuration = SignedDuration::from_secs(60);

/// A consumer that was heard within this time is taken to be alive. Agents send nothing while nothing changes, and nobody
/// hears them while no bridge runs: a few minutes of silence say nothing, a day of it leaves time to notice.
const ALIVE: SignedDuration = SignedDuration::from_hours(24);

// An id longer than this was never a bundle of ours.
const LONGEST_ID: usize = 253;

// === impl Doubts ===

impl Doubts {
    /// Whether what this store does not know may be of a time that it lost: while anything is not confirmed since, and for
    /// [`DOUBTED`] in any case, in which whoever posts again has done so.
    pub fn last(&self, now: Timestamp) -> bool {
        self.since
            .is_some_and(|since| self.unconfirmed || now.duration_since(since) < DOUBTED)
    }
}

/// For how long a store is doubted at least that was restored or moved.
pub const DOUBTED: SignedDuration = SignedDuration::from_hours(7 * 24);

#[cfg(test)]
mod tests {
    use super::*;

    fn orphan(id: &str, deleted_here: bool) -> Orphan {
        Orphan {
            id: id.into(),
            version: Version::FIRST,
            deleted_here,
        }
    }

    #[test]
    fn with_bundles_silence_counts_as_death_after_a_day_and_never_when_nobody_noted_it() {
        let name = ConsumerName::new("c1").unwrap();
        let now = Timestamp::from_second(1_780_000_000).unwrap();
        let refused = |last_seen_at, bundles, reported| {
            let signs = Activity {
                last_seen_at,
                bundles,
                reported,
            };
            assert!(refuse_if_alive(&name, signs, None).is_ok());
            refuse_if_alive(&name, signs, Some(unseen_since(now))).is_err()
        };
        let at_the_limit = now - SignedDuration::from_hours(24);
        let past_it = at_the_limit - SignedDuration::from_micros(1);
        assert!(refused(Some(now), 1, false));
        assert!(refused(Some(at_the_limit), 1, true));
        assert!(!refused(Some(past_it), 1, true));
        // Not noted yet: the tables are new, or no bridge listened.
        assert!(refused(None, 1, true));
        assert!(!refused(None, 1, false));
        // Without bundles nothing is lost.
        assert!(!refused(Some(now), 0, false));
    }

    #[test]
    fn works_are_admitted_once_in_order_as_far_as_there_is_room() {
        let there: HashSet<String> = (2..ORPHANS).map(|number| format!("{number:05}")).collect();
        let works = ["b", "a", "a", "c", "00007"].map(|id| orphan(id, true));
        let (added, refused) = admitted(works.into(), &there, true);
        let ids: Vec<&str> = added.iter().map(|work| work.id.as_str()).collect();
        assert_eq!((ids, refused), (vec!["00007", "a", "b"], 1));
        let odd = ["x\0".to_owned(), "x".repeat(LONGEST_ID + 1)].map(|id| orphan(&id, true));
        assert_eq!(admitted(odd.into(), &HashSet::new(), true), (vec![], 2));
        // Nobody registered it: only what was deleted here is.
        let works = vec![orphan("a", true), orphan("b", false)];
        let (added, refused) = admitted(works, &HashSet::new(), false);
        assert_eq!((added, refused), (vec![orphan("a", true)], 0));
    }
}
