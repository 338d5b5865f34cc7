//! What the watches are for: which works are interested in which object, and what each of them last observed of it.
//!
//! A work is woken by what it has not seen: an object in a later version than the one its last access ended with, or
//! one that is gone. So what a work writes itself never wakes it, and what another work writes does. The event of
//! a write may come before its answer: while an object is accessed
//! ([`ObjectAccess`](super::ObjectAccess)) its events wait for the end.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use link::bundle::manifest::ObjectRef;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::observation::ObjectEvent;
use super::tracked::{ObjectName, TrackedKind, TrackedObject, foreign_owners, name};
use super::wakeups::Wakeups;
use crate::applier::kubernetes::resource::Resource;
use crate::work_id::WorkId;

/// Which works are interested in which objects. Shared by applying, releasing and watching.
#[derive(Default)]
pub(crate) struct WatchIndex {
    state: Mutex<State>,
    /// Works are due.
    pub(super) woken: Notify,
    /// Other kinds than before are needed.
    pub(super) kinds_changed: Notify,
}

/// What the index knows.
#[derive(Default)]
pub(super) struct State {
    pub(super) kinds: HashMap<Arc<Resource>, TrackedKind>,
    pub(super) wakes: Wakeups,
    // How often a work has begun to declare its objects; what it cared about before and does not after is dropped.
    pub(super) rounds: HashMap<WorkId, u32>,
    // Works that wait for a kind of a group, and in which round they said so.
    wanting: HashMap<(WorkId, String), u32>,
    // Uids of our AppliedManifestWorks.
    pub(super) ours: HashSet<String>,
}

/// Part of a kind that one stream watches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Scope {
    /// All of it.
    Cluster,
    /// One namespace; empty for objects without one.
    Namespace(String),
}

// === impl WatchIndex ===

impl WatchIndex {
    /// A work begins to say what it declares.
    pub(crate) fn begin_round(&self, work: &WorkId) {
        *self.state().rounds.entry(work.clone()).or_default() += 1;
    }

    /// A work has declared everything: objects that it did not come back to are forgotten.
    pub(crate) fn end_round(&self, work: &WorkId, holds_nothing: bool) {
        let mut state = self.state();
        let State {
            kinds,
            rounds,
            wanting,
            ..
        } = &mut *state;
        let round = rounds.get(work).copied().unwrap_or_default();
        let before = wanting.len();
        wanting.retain(|(waits, _), since| waits != work || *since == round);
        let mut changed = wanting.len() < before;
        for kind in kinds.values_mut() {
            changed |= kind.forget(|interest| interest.work == *work && interest.round != round);
        }
        // Who waits for a kind is told apart from who waited for it earlier by the round.
        let waits = wanting.keys().any(|(waits, _)| waits == work);
        if holds_nothing && !waits && !kinds.values().any(|kind| kind.interests(work)) {
            rounds.remove(work);
        }
        if changed {
            self.kinds_changed.notify_one();
        }
    }

    /// Registers that a work holds an object, from before this process.
    pub(crate) fn hold(&self, resource: &Arc<Resource>, object: &ObjectRef, work: &WorkId) {
        let mut state = self.state();
        let round = state.rounds.get(work).copied().unwrap_or_default();
        let tracked = state.track(resource, name(resource, object));
        tracked.interest(work).round = round;
        self.kinds_changed.notify_one();
    }

    /// A work waits for a kind of a group to be defined.
    pub(crate) fn want(&self, group: &str, work: &WorkId) {
        let mut state = self.state();
        let round = state.rounds.get(work).copied().unwrap_or_default();
        state.wanting.insert((work.clone(), group.into()), round);
        self.kinds_changed.notify_one();
    }

    /// Kinds of a group may have been defined.
    pub(crate) fn defined(&self, group: &str) {
        let mut state = self.state();
        let works: Vec<WorkId> = state
            .wanting
            .keys()
            .filter(|(_, wanted)| *wanted == group)
            .map(|(work, _)| work.clone())
            .collect();
        state.wakes.extend(works);
        self.woken.notify_one();
    }

    /// Has works looked at again.
    pub(crate) fn wake(&self, works: impl IntoIterator<Item = WorkId>) {
        self.state().wakes.extend(works);
        self.woken.notify_one();
    }

    /// Which owners are ours.
    pub(crate) fn ours(&self, uid: &str, is_ours: bool) {
        let mut state = self.state();
        if is_ours {
            state.ours.insert(uid.into());
        } else {
            state.ours.remove(uid);
        }
    }

    /// Whether an owner is ours.
    pub(crate) fn is_ours(&self, uid: &str) -> bool {
        self.state().ours.contains(uid)
    }

    // --- for the streams ---

    /// Takes the works that are due, and says when the next will be.
    pub(super) fn due(&self, now: Instant) -> (Vec<WorkId>, Option<Instant>) {
        self.state().wakes.due(now)
    }

    /// The streams that are needed, and when fewer may be. Kinds without an object linger.
    pub(super) fn needed(
        &self,
        now: Instant,
    ) -> (HashSet<(Arc<Resource>, Scope)>, Option<Instant>) {
        let mut state = self.state();
        state.kinds.retain(|_, kind| {
            let empty_since = kind.empty_since.filter(|_| kind.objects.is_empty());
            empty_since.is_none_or(|since| now < since + LINGER)
        });
        let mut needed = HashSet::new();
        for (resource, kind) in state
            .kinds
            .iter()
            .filter(|(resource, _)| resource.watchable)
        {
            if kind.narrow {
                let namespaces = kind.objects.keys().map(|(namespace, _)| namespace);
                needed.extend(
                    namespaces.map(|namespace| {
                        (Arc::clone(resource), Scope::Namespace(namespace.clone()))
                    }),
                );
            } else {
                needed.insert((Arc::clone(resource), Scope::Cluster));
            }
        }
        let since = state.kinds.values().filter_map(|kind| kind.empty_since);
        (needed, since.min().map(|since| since + LINGER))
    }

    /// Whether somebody waits for kinds to be defined.
    pub(crate) fn wants_kinds(&self) -> bool {
        !self.state().wanting.is_empty()
    }

    /// From now on a kind is watched namespace by namespace, or as a whole again.
    pub(super) fn narrow(&self, resource: &Arc<Resource>, narrow: bool) {
        if let Some(kind) = self.state().kinds.get_mut(resource) {
            kind.narrow = narrow;
        }
        self.kinds_changed.notify_one();
    }

    /// Something happened to an object. Returns whether any work is interested in it.
    pub(super) fn note_event(
        &self,
        resource: &Arc<Resource>,
        name: &ObjectName,
        event: ObjectEvent,
        owners: Option<&[OwnerReference]>,
    ) -> bool {
        let mut state = self.state();
        let State {
            kinds, wakes, ours, ..
        } = &mut *state;
        let Some(tracked) = tracked(kinds, resource, name) else {
            return false;
        };
        if let Some(owners) = owners {
            tracked.foreign_owners = foreign_owners(owners, ours);
        }
        if tracked.accesses > 0 {
            tracked.waiting = Some(event);
        } else if tracked.settle(&event, wakes) {
            self.woken.notify_one();
        }
        true
    }

    /// Nothing that was observed in a scope counts any more.
    pub(super) fn invalidate(&self, resource: &Arc<Resource>, scope: &Scope) {
        let mut state = self.state();
        let kind = state.kinds.get_mut(resource).into_iter();
        let objects = kind.flat_map(|kind| kind.objects.iter_mut());
        for (_, tracked) in objects.filter(|((namespace, _), _)| scope.holds(namespace)) {
            tracked.invalidate();
        }
    }

    /// What has changed since an earlier process looked cannot be read as a list: the works look themselves.
    pub(super) fn recheck(&self, resource: &Arc<Resource>, scope: &Scope) {
        let mut state = self.state();
        let State { kinds, wakes, .. } = &mut *state;
        let kind = kinds.get_mut(resource).into_iter();
        let objects = kind.flat_map(|kind| kind.objects.iter_mut());
        for (_, tracked) in objects.filter(|((namespace, _), _)| scope.holds(namespace)) {
            tracked.recheck(wakes);
        }
        self.woken.notify_one();
    }

    /// The tracked objects of a scope.
    pub(super) fn names(&self, resource: &Arc<Resource>, scope: &Scope) -> Vec<ObjectName> {
        let state = self.state();
        let names = state
            .kinds
            .get(resource)
            .into_iter()
            .flat_map(|kind| kind.objects.keys());
        names
            .filter(|(namespace, _)| scope.holds(namespace))
            .cloned()
            .collect()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Scope ===

impl Scope {
    fn holds(&self, namespace: &str) -> bool {
        match self {
            Self::Cluster => true,
            Self::Namespace(of) => of == namespace,
        }
    }
}

// === impl State ===

impl State {
    /// The object, tracked from now on.
    pub(super) fn track(
        &mut self,
        resource: &Arc<Resource>,
        name: ObjectName,
    ) -> &mut TrackedObject {
        let kind = self.kinds.entry(Arc::clone(resource)).or_default();
        kind.empty_since = None;
        kind.objects.entry(name).or_default()
    }
}

/// The object, if it is tracked.
pub(super) fn tracked<'a>(
    kinds: &'a mut HashMap<Arc<Resource>, TrackedKind>,
    resource: &Arc<Resource>,
    name: &ObjectName,
) -> Option<&'a mut TrackedObject> {
    kinds.get_mut(resource)?.objects.get_mut(name)
}

// Kinds come and go with bundles; a list for each coming would cost more than a quiet watch.
const LINGER: Duration = Duration::from_secs(300);
