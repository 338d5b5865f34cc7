//! The objects of a kind that works are interested in, and what each work last observed of each.

use std::collections::{HashMap, HashSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use link::bundle::manifest::ObjectRef;
use tokio::time::Instant;

use super::observation::{ObjectEvent, Observation, Revision};
use super::snapshot::ObjectSnapshot;
use super::wakeups::Wakeups;
use crate::applier::kubernetes::owners::is_applied_work;
use crate::applier::kubernetes::resource::Resource;
use crate::work_id::WorkId;

/// Namespace and name.
pub(super) type ObjectName = (String, String);

/// The objects of a kind.
#[derive(Default)]
pub(super) struct TrackedKind {
    pub(super) objects: HashMap<ObjectName, TrackedObject>,
    pub(super) empty_since: Option<Instant>,
    // Its objects are watched namespace by namespace.
    pub(super) narrow: bool,
}

/// One object.
#[derive(Default)]
pub(super) struct TrackedObject {
    pub(super) interests: Vec<Interest>,
    pub(super) last: Option<Revision>,
    pub(super) accesses: u32,
    // The newest event that came during an access.
    pub(super) waiting: Option<ObjectEvent>,
    // Owners from other agents, which an apply must not take away.
    pub(super) foreign_owners: Vec<OwnerReference>,
    // As it was last seen; nothing where that is not known or does not count.
    pub(super) snapshot: Option<ObjectSnapshot>,
}

/// The interest of a work in it.
pub(super) struct Interest {
    pub(super) work: WorkId,
    pub(super) round: u32,
    pub(super) seen: Observation,
    // The manifest that led to what was seen, when it was written by `PUT`.
    pub(super) written: Option<u64>,
}

// === impl TrackedKind ===

impl TrackedKind {
    /// Drops the interests that match, and objects without interests then; whether there were any.
    pub(super) fn forget(&mut self, matches: impl Fn(&Interest) -> bool) -> bool {
        let before = self.objects.len();
        self.objects.retain(|_, tracked| {
            tracked.interests.retain(|interest| !matches(interest));
            !tracked.is_idle()
        });
        if self.objects.is_empty() && self.empty_since.is_none() {
            self.empty_since = Some(Instant::now());
        }
        self.objects.len() < before
    }

    /// Whether a work is interested in any of them.
    pub(super) fn interests(&self, work: &WorkId) -> bool {
        let mut tracked = self.objects.values();
        tracked.any(|tracked| tracked.interests.iter().any(|it| it.work == *work))
    }
}

// === impl TrackedObject ===

impl TrackedObject {
    /// Whether no work has an interest in it and none accesses it.
    pub(super) fn is_idle(&self) -> bool {
        self.interests.is_empty() && self.accesses == 0
    }

    /// The interest of a work, if it has one.
    pub(super) fn known_interest(&mut self, work: &WorkId) -> Option<&mut Interest> {
        self.interests.iter_mut().find(|it| it.work == *work)
    }

    /// The interest of a work, made when there was none.
    pub(super) fn interest(&mut self, work: &WorkId) -> &mut Interest {
        let at = self.interests.iter().position(|it| it.work == *work);
        let at = at.unwrap_or_else(|| {
            self.interests.push(Interest {
                work: work.clone(),
                round: 0,
                seen: Observation::Never,
                written: None,
            });
            self.interests.len() - 1
        });
        &mut self.interests[at]
    }

    /// What was seen of it does not count any more: whatever comes next is news.
    pub(super) fn invalidate(&mut self) {
        self.last = None;
        self.snapshot = None;
        for interest in &mut self.interests {
            interest.seen = Observation::Unknown;
        }
    }

    /// Wakes who has not looked in this process, and relies on what an earlier one saw.
    pub(super) fn recheck(&mut self, wakes: &mut Wakeups) {
        for interest in &mut self.interests {
            if matches!(interest.seen, Observation::Before(..)) {
                interest.seen = Observation::Unknown;
                wakes.extend([interest.work.clone()]);
            }
        }
    }

    /// Wakes whom this is news to; whether there was anybody.
    pub(super) fn settle(&mut self, event: &ObjectEvent, wakes: &mut Wakeups) -> bool {
        let mut any = false;
        for interest in &mut self.interests {
            if let Some(seen) = interest.seen.after(event) {
                wakes.extend([interest.work.clone()]);
                any = true;
                interest.seen = seen;
                interest.written = None;
            }
        }
        self.last = event.newer_than(self.last.take());
        any
    }
}

/// The owners that are AppliedManifestWorks of others.
pub(super) fn foreign_owners(
    owners: &[OwnerReference],
    ours: &HashSet<String>,
) -> Vec<OwnerReference> {
    let foreign = |owner: &&OwnerReference| is_applied_work(owner) && !ours.contains(&owner.uid);
    owners.iter().filter(foreign).cloned().collect()
}

/// Where an object is in its kind.
pub(super) fn name(resource: &Resource, object: &ObjectRef) -> ObjectName {
    let namespace = if resource.namespaced {
        object.namespace.clone()
    } else {
        String::new()
    };
    (namespace, object.name.clone())
}
