//! Which works hold which object, and whose content counts; the applier keeps the records durable.
//!
//! The oldest owner that insists on a content leads. Others co-own the object while they want the same content;
//! one that wants another is told who leads, and takes over when the leader goes. So two works never overwrite
//! each other in turns, and no late-comer can block the first.
//!
//! A change is computed first, written down by the applier, and only then taken here.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::{Claim, HeldObject};
use crate::work_id::WorkId;

/// Every share, by owner and by object. An object goes by a key of the applier's choice.
#[derive(Debug, Default)]
pub(crate) struct Ownership {
    owners: HashMap<WorkId, Record>,
    objects: HashMap<String, Vec<WorkId>>,
    // Owners with releases that are not written down yet.
    unsettled: BTreeSet<WorkId>,
    next: u64,
}

/// What one work holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) owner: Option<WorkId>,
    pub(crate) objects: Vec<Share>,
}

/// One work's share in one object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Share {
    pub(crate) key: String,
    #[serde(flatten)]
    pub(crate) held: HeldObject,
    pub(crate) content: Option<String>,
    pub(crate) since: u64,
}

/// What a claim comes to.
#[derive(Debug)]
pub(crate) struct Claimed {
    /// To be written down and then given to [`Ownership::take`]; `None` when nothing changes.
    pub(crate) record: Option<Record>,
    /// Whether it names objects that were not held before.
    pub(crate) grown: bool,
    /// What is held and not declared any more.
    pub(crate) stale: Vec<HeldObject>,
    /// Other owners whose standing may change.
    pub(crate) affected: BTreeSet<WorkId>,
}

/// Who decides an object's content, seen from one of its owners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// This owner's content counts.
    Leads,
    /// The leader wants the same.
    Agrees,
    /// The leader wants something else.
    Loses(WorkId),
}

/// What is to be written down for an owner.
#[derive(Debug, PartialEq)]
pub(crate) enum Settlement {
    /// Nothing changed.
    Nothing,
    /// It holds less now.
    Write(Record),
    /// It holds nothing.
    Forget,
}

// === impl Record ===

impl Record {
    /// Adds a share. What two say of one object is put together, and the first counts where they differ.
    pub(crate) fn add(&mut self, share: Share) {
        let known = self.objects.iter_mut().find(|it| it.key == share.key);
        let Some(known) = known else {
            self.objects.push(share);
            return;
        };
        known.held.uid = known.held.uid.take().or(share.held.uid);
        known.content = known.content.take().or(share.content);
        known.since = known.since.min(share.since);
    }
}

// === impl Ownership ===

impl Ownership {
    /// Takes a record as it was written down.
    pub(crate) fn take(&mut self, record: Record) {
        let Some(owner) = record.owner.clone() else {
            return;
        };
        for share in &record.objects {
            self.next = self.next.max(share.since + 1);
            let owners = self.objects.entry(share.key.clone()).or_default();
            if !owners.contains(&owner) {
                owners.push(owner.clone());
            }
        }
        self.owners.insert(owner, record);
    }

    /// Has what an owner holds go by what is known of the objects now; several shares in one object become one.
    pub(crate) fn rekey(&mut self, owner: &WorkId, now: impl Fn(&Share) -> Share) {
        let Some(old) = self.owners.get(owner) else {
            return;
        };
        if old.objects.iter().all(|share| now(share) == *share) {
            return;
        }
        let old = old.objects.clone();
        let mut record = Record {
            owner: Some(owner.clone()),
            objects: Vec::with_capacity(old.len()),
        };
        for share in old {
            self.disown(owner, &share.key);
            record.add(now(&share));
        }
        self.take(record);
    }

    /// Adds what is declared to what is held.
    pub(crate) fn claim(&mut self, owner: &WorkId, declared: &[(String, Claim)]) -> Claimed {
        let old = self.owners.get(owner).cloned().unwrap_or_default();
        let mut old_shares: HashMap<String, Share> = old
            .objects
            .iter()
            .map(|share| (share.key.clone(), share.clone()))
            .collect();
        let mut record = Record {
            owner: Some(owner.clone()),
            objects: Vec::with_capacity(declared.len()),
        };
        let mut affected = BTreeSet::new();
        let mut grown = false;
        for (key, claim) in declared {
            let before = old_shares.remove(key);
            let since = before.as_ref().map_or(self.next, |share| share.since);
            if before.is_none() {
                self.next += 1;
                grown = true;
            }
            if before
                .as_ref()
                .is_none_or(|share| share.content != claim.content)
            {
                affected.extend(self.others(key, owner));
            }
            record.objects.push(Share {
                key: key.clone(),
                held: HeldObject {
                    uid: before.and_then(|share| share.held.uid),
                    ..HeldObject::from(&claim.object)
                },
                content: claim.content.clone(),
                since,
            });
        }
        let mut stale: Vec<Share> = old_shares.into_values().collect();
        stale.sort_by(|a, b| a.key.cmp(&b.key));
        record.objects.extend(stale.iter().cloned());
        Claimed {
            record: (record.objects != old.objects).then_some(record),
            grown,
            stale: stale.into_iter().map(|share| share.held).collect(),
            affected,
        }
    }

    /// Whether an owner's content counts for an object.
    pub(crate) fn standing(&self, owner: &WorkId, key: &str) -> Standing {
        let Some(mine) = self.share(owner, key) else {
            return Standing::Leads;
        };
        let leader = self
            .objects
            .get(key)
            .into_iter()
            .flatten()
            .filter_map(|work| Some((work, self.share(work, key)?)))
            .filter(|(_, share)| share.content.is_some())
            .min_by_key(|(_, share)| share.since);
        match leader {
            None => Standing::Leads,
            Some((work, _)) if work == owner => Standing::Leads,
            Some((work, share)) if mine.content.is_some() && share.content != mine.content => {
                Standing::Loses(work.clone())
            }
            Some(_) => Standing::Agrees,
        }
    }

    /// Whether the work has a share in the object.
    pub(crate) fn holds(&self, owner: &WorkId, key: &str) -> bool {
        self.share(owner, key).is_some()
    }

    /// What a held object goes by in its owner's record.
    pub(crate) fn key_of(&self, owner: &WorkId, held: &HeldObject) -> Option<&str> {
        let object = held.object();
        let mut shares = self.owners.get(owner)?.objects.iter();
        let share =
            shares.find(|share| share.held.name == held.name && share.held.object() == object)?;
        Some(&share.key)
    }

    /// What else an owner holds of that namespace and name: under another kind it may be the same object.
    pub(crate) fn namesakes(&self, owner: &WorkId, key: &str) -> Vec<HeldObject> {
        let Some(named) = self.share(owner, key) else {
            return Vec::new();
        };
        let record = self.owners.get(owner).into_iter();
        let others = record.flat_map(|record| &record.objects).filter(|share| {
            share.key != key
                && share.held.name == named.held.name
                && share.held.namespace == named.held.namespace
        });
        others.map(|share| share.held.clone()).collect()
    }

    /// Everybody with a share in an object.
    pub(crate) fn owners(&self, key: &str) -> &[WorkId] {
        self.objects.get(key).map_or(&[], Vec::as_slice)
    }

    /// Every object that somebody holds.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.objects.keys().map(String::as_str)
    }

    /// What an owner holds.
    pub(crate) fn record(&self, owner: &WorkId) -> Option<&Record> {
        self.owners.get(owner)
    }

    /// Notes the uid of an applied object; whether it is news.
    pub(crate) fn identify(&mut self, owner: &WorkId, key: &str, uid: &str) -> bool {
        let share = self
            .owners
            .get_mut(owner)
            .and_then(|record| record.objects.iter_mut().find(|share| share.key == key));
        match share {
            Some(share) if share.held.uid.as_deref() != Some(uid) => {
                share.held.uid = Some(uid.into());
                self.unsettled.insert(owner.clone());
                true
            }
            _ => false,
        }
    }

    /// Drops a share; answers with the other owners whose standing may change.
    pub(crate) fn release(&mut self, owner: &WorkId, key: &str) -> BTreeSet<WorkId> {
        let affected = self.others(key, owner);
        if let Some(record) = self.owners.get_mut(owner) {
            record.objects.retain(|share| share.key != key);
            self.unsettled.insert(owner.clone());
        }
        self.disown(owner, key);
        affected
    }

    /// What is to be written down for an owner; then [`Ownership::settled`].
    pub(crate) fn settlement(&self, owner: &WorkId) -> Settlement {
        match self.owners.get(owner) {
            Some(record) if record.objects.is_empty() => Settlement::Forget,
            Some(record) if self.unsettled.contains(owner) => Settlement::Write(record.clone()),
            _ => Settlement::Nothing,
        }
    }

    /// It was written down.
    pub(crate) fn settled(&mut self, owner: &WorkId) {
        self.unsettled.remove(owner);
        if self
            .owners
            .get(owner)
            .is_some_and(|record| record.objects.is_empty())
        {
            self.owners.remove(owner);
        }
    }

    fn disown(&mut self, owner: &WorkId, key: &str) {
        if let Some(owners) = self.objects.get_mut(key) {
            owners.retain(|work| work != owner);
            if owners.is_empty() {
                self.objects.remove(key);
            }
        }
    }

    fn share(&self, owner: &WorkId, key: &str) -> Option<&Share> {
        let record = self.owners.get(owner)?;
        record.objects.iter().find(|share| share.key == key)
    }

    fn others(&self, key: &str, owner: &WorkId) -> BTreeSet<WorkId> {
        let others = self.owners(key).iter().filter(|work| *work != owner);
        others.cloned().collect()
    }
}

#[cfg(test)]
mod tests;
