//! The renewer's side of [`Ownership`]: updates what is owned, until when, and what is given back.

use std::collections::BTreeMap;
use std::future::pending;

use tokio::time::Instant;

use super::super::SlotLost;
use super::{Held, Ownership, State};
use crate::store::{Bucket, Instance};

impl Ownership {
    /// Everything that is held is held until then.
    pub(crate) fn renewed(&self, until: Instant) {
        self.change(|state| {
            let lapsed = state.until.is_none_or(|before| before <= Instant::now());
            state.until = Some(until);
            state.last_until = Some(until);
            lapsed
        });
    }

    /// What the store says is ours, with its term. What is to be given back stays so.
    pub(crate) fn owns(&self, leases: impl IntoIterator<Item = (Bucket, i64)>) {
        let leases: BTreeMap<Bucket, i64> = leases.into_iter().collect();
        self.change(|state| {
            let held = leases.iter().map(|(bucket, term)| {
                let before = state.held.get(bucket);
                let leaving = before.is_some_and(|held| held.leaving && held.term == *term);
                let term = *term;
                (*bucket, Held { term, leaving })
            });
            let held: BTreeMap<Bucket, Held> = held.collect();
            let changed = held != state.held;
            state.held = held;
            changed
        });
    }

    /// What was just taken.
    pub(in crate::replicas) fn took(
        &self,
        leases: impl IntoIterator<Item = (Bucket, i64)>,
        over: usize,
    ) {
        if let Some(shared) = &self.0 {
            shared.metrics.taken_over.inc_by(over as u64);
        }
        self.change(|state| {
            let before = state.held.len();
            let leaving = false;
            let taken = leases.into_iter();
            state
                .held
                .extend(taken.map(|(bucket, term)| (bucket, Held { term, leaving })));
            state.held.len() != before
        });
    }

    /// Nothing new is begun for these.
    pub(crate) fn leave(&self, buckets: impl IntoIterator<Item = Bucket>) {
        self.change(|state| {
            let mut changed = false;
            for bucket in buckets {
                if let Some(held) = state.held.get_mut(&bucket) {
                    changed |= !std::mem::replace(&mut held.leaving, true);
                }
            }
            changed
        });
    }

    /// What is to be given back and nobody works for any more.
    pub(crate) fn left(&self) -> Vec<Bucket> {
        let Some(shared) = &self.0 else {
            return Vec::new();
        };
        let state = shared.lock();
        let leaving = state.held.iter().filter(|(_, held)| held.leaving);
        leaving
            .map(|(bucket, _)| *bucket)
            .filter(|bucket| !state.working.contains_key(bucket))
            .collect()
    }

    /// All that is held.
    pub(in crate::replicas) fn held(&self) -> Vec<Bucket> {
        let state = self.0.as_ref().map(|shared| shared.lock());
        state.map_or_else(Vec::new, |state| state.held.keys().copied().collect())
    }

    /// These were given back.
    pub(in crate::replicas) fn gave_back(&self, buckets: &[Bucket]) {
        self.change(|state| {
            state.held.retain(|bucket, _| !buckets.contains(bucket));
            false
        });
    }

    /// A renewal failed: says so if what is held has run out meanwhile.
    pub(crate) fn not_renewed(&self) {
        if let Some(shared) = &self.0 {
            shared.metrics.failures.inc();
        }
        self.change(|state| {
            let over = state.until.is_some_and(|until| until <= Instant::now());
            if over {
                state.until = None;
            }
            over
        });
    }

    /// The slot is another's, and with it everything.
    pub(in crate::replicas) fn slot_lost(&self, lost: SlotLost) {
        self.change(|state| {
            state.held.clear();
            state.until = None;
            state.lost = Some(lost);
            true
        });
    }

    /// Notes who is there, in the order of their slots. Whether somebody else went since the last time and, of those that
    /// were there then and are still, this is the first. The first time, somebody may have gone just before that whom this
    /// one never saw, while the others saw it and leave the asking to it: then it is the first if it is of all.
    pub(in crate::replicas) fn sees(&self, here: &[Instance]) -> bool {
        let Some(shared) = &self.0 else {
            return false;
        };
        let me = &shared.instance;
        let Some(before) = shared.lock().here.replace(here.to_vec()) else {
            return here.first() == Some(me);
        };
        let gone = before.iter().any(|one| one != me && !here.contains(one));
        let first = here.iter().find(|one| before.contains(one));
        gone && first == Some(me)
    }

    /// Others went: their sessions may have lost what agents said.
    pub(crate) fn others_gone(&self) {
        if let Some(shared) = &self.0 {
            shared.gone.send_modify(|times| *times += 1);
        }
    }

    /// Until when what is held was held by the last renewal.
    pub(in crate::replicas) fn last_until(&self) -> Option<Instant> {
        self.0.as_ref()?.lock().last_until
    }

    /// Says whether this process may be connected to the broker.
    pub(in crate::replicas) fn withhold(&self, reason: Option<&'static str>) {
        if let Some(shared) = &self.0 {
            shared.withheld.send_if_modified(|known| {
                let changed = *known != reason;
                *known = reason;
                changed
            });
        }
    }

    /// Until when what is held is held.
    pub(in crate::replicas) fn until(&self) -> Option<Instant> {
        self.0.as_ref()?.lock().until
    }

    /// Returns when the renewer is to look before its time.
    pub(in crate::replicas) async fn look(&self) {
        match &self.0 {
            Some(shared) => shared.look.notified().await,
            None => pending().await,
        }
    }

    fn change(&self, change: impl FnOnce(&mut State) -> bool) {
        let Some(shared) = &self.0 else {
            return;
        };
        let changed = {
            let mut state = shared.lock();
            let changed = change(&mut state);
            let owned = state.held.values().filter(|held| !held.leaving).count();
            let owned = if state.until.is_some() { owned } else { 0 };
            shared
                .metrics
                .owned
                .set(i64::try_from(owned).unwrap_or(i64::MAX));
            changed
        };
        if changed {
            shared.changed.send_modify(|times| *times += 1);
        }
    }
}
