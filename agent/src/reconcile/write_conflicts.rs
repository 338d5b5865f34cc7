//! Objects that another writer changes back again and again: another agent with the same field manager, an operator
//! that wants other content. Each repair is right, but two writers that repair each other would never stop. So from
//! some point on repairs are made at growing intervals, and the status reports the conflict until the object has not
//! been changed for a while.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use link::bundle::manifest::ObjectRef;
use tokio::time::Instant;

use crate::work::WorkId;

/// Counts repairs per work and object, and slows a work down that needs too many of one object. Holds only works
/// repaired lately.
#[derive(Debug, Default)]
pub struct WriteConflicts(Mutex<HashMap<WorkId, WriteConflict>>);

#[derive(Debug)]
struct WriteConflict {
    // Of the work as it was then; another version is another matter.
    epoch: u64,
    objects: HashMap<ObjectRef, Repairs>,
    until: Instant,
}

#[derive(Debug)]
struct Repairs {
    count: u32,
    last: Instant,
    // What is reported of the conflict; the same until it is over, or each repair would be a new status.
    message: String,
}

// === impl WriteConflicts ===

impl WriteConflicts {
    /// How long the work, as it is since `epoch`, has to wait yet.
    pub(super) fn wait(&self, id: &WorkId, epoch: u64, now: Instant) -> Option<Duration> {
        let write_conflicts = self.lock();
        let conflict = write_conflicts
            .get(id)
            .filter(|conflict| conflict.epoch == epoch)?;
        conflict
            .until
            .checked_duration_since(now)
            .filter(|left| !left.is_zero())
    }

    /// Whether objects of the work, as it is since `epoch`, were put back lately.
    pub(super) fn knows(&self, id: &WorkId, epoch: u64) -> bool {
        self.lock()
            .get(id)
            .is_some_and(|conflict| conflict.epoch == epoch)
    }

    /// Whether one more repair of an object is one too many: worth looking at who the other one is.
    pub(super) fn is_near_limit(&self, id: &WorkId, epoch: u64, object: &ObjectRef) -> bool {
        let write_conflicts = self.lock();
        let repairs = write_conflicts
            .get(id)
            .filter(|conflict| conflict.epoch == epoch);
        let repairs = repairs.and_then(|conflict| conflict.objects.get(object));
        repairs.is_some_and(|repairs| repairs.count + 1 >= TOLERATED)
    }

    /// Notes that an object was put back. Answers with the pause that follows once there were too many repairs.
    pub(super) fn repaired(
        &self,
        id: &WorkId,
        epoch: u64,
        object: &ObjectRef,
        now: Instant,
    ) -> Option<Duration> {
        let mut write_conflicts = self.lock();
        write_conflicts.retain(|other, conflict| {
            let objects = &mut conflict.objects;
            objects.retain(|_, repairs| now.duration_since(repairs.last) < FORGOTTEN_AFTER);
            !objects.is_empty() && (other != id || conflict.epoch == epoch)
        });
        let conflict = write_conflicts
            .entry(id.clone())
            .or_insert_with(|| WriteConflict {
                epoch,
                objects: HashMap::new(),
                until: now,
            });
        let repairs = conflict.objects.entry(object.clone()).or_insert(Repairs {
            count: 0,
            last: now,
            message: String::new(),
        });
        repairs.count += 1;
        repairs.last = now;
        let too_many = repairs.count.checked_sub(TOLERATED)?;
        let pause = SHORTEST
            .saturating_mul(2_u32.saturating_pow(too_many))
            .min(LONGEST);
        conflict.until = conflict.until.max(now + pause);
        Some(pause)
    }

    /// Sets what is reported of the conflict over an object.
    pub(super) fn set_message(&self, id: &WorkId, object: &ObjectRef, message: &str) {
        let mut write_conflicts = self.lock();
        let repairs = write_conflicts
            .get_mut(id)
            .and_then(|conflict| conflict.objects.get_mut(object));
        if let Some(repairs) = repairs {
            message.clone_into(&mut repairs.message);
        }
    }

    /// What is reported of an object in conflict, and how long it has to stay as it is before the conflict counts as
    /// over.
    pub(super) fn ongoing(
        &self,
        id: &WorkId,
        epoch: u64,
        object: &ObjectRef,
        now: Instant,
    ) -> Option<(Duration, String)> {
        let write_conflicts = self.lock();
        let conflict = write_conflicts
            .get(id)
            .filter(|conflict| conflict.epoch == epoch)?;
        let repairs = conflict.objects.get(object)?;
        let over = repairs.last + LONGEST;
        let left = over.checked_duration_since(now)?;
        let ongoing = repairs.count >= TOLERATED && !left.is_zero();
        ongoing.then(|| (left, repairs.message.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<WorkId, WriteConflict>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// Nobody edits one object by hand that often; two who repair each other twice a second are there in 13 seconds.
const TOLERATED: u32 = 25;
const SHORTEST: Duration = Duration::from_secs(1);
// Also how long an object has to stay unchanged: a shorter time would be the pause between two repairs.
const LONGEST: Duration = Duration::from_secs(60);
// Above the longest pause, or each pause would end the conflict.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(180);

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str) -> ObjectRef {
        ObjectRef {
            group: String::new(),
            version: "v1".into(),
            kind: "ConfigMap".into(),
            namespace: "d".into(),
            name: name.into(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_that_is_repaired_too_often_slows_its_work_down_until_it_stays() {
        let (write_conflicts, id, map) =
            (WriteConflicts::default(), WorkId::from("w"), object("a"));
        let planned = Duration::from_millis(500);
        for _ in 1..TOLERATED {
            assert!(!write_conflicts.is_near_limit(&id, 1, &map));
            tokio::time::advance(planned).await;
            assert_eq!(write_conflicts.repaired(&id, 1, &map, Instant::now()), None);
            assert_eq!(write_conflicts.ongoing(&id, 1, &map, Instant::now()), None);
        }
        assert!(write_conflicts.is_near_limit(&id, 1, &map));
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            let now = Instant::now();
            let pause = Duration::from_secs(seconds);
            assert_eq!(write_conflicts.repaired(&id, 1, &map, now), Some(pause));
            assert_eq!(write_conflicts.wait(&id, 1, now), Some(pause));
            write_conflicts.set_message(&id, &map, "words");
            let ongoing = write_conflicts.ongoing(&id, 1, &map, now);
            assert_eq!(ongoing, Some((LONGEST, "words".into())));
            tokio::time::advance(pause).await;
            assert_eq!(write_conflicts.wait(&id, 1, Instant::now()), None);
        }
        assert_eq!(
            write_conflicts.ongoing(&id, 1, &map, Instant::now()),
            None,
            "peace"
        );
        tokio::time::advance(FORGOTTEN_AFTER).await;
        assert_eq!(write_conflicts.repaired(&id, 1, &map, Instant::now()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn another_version_does_not_wait_for_the_conflict_of_the_one_before() {
        let (write_conflicts, id, map) =
            (WriteConflicts::default(), WorkId::from("w"), object("a"));
        let now = Instant::now();
        for _ in 0..TOLERATED + 10 {
            write_conflicts.repaired(&id, 1, &map, now);
        }
        assert!(write_conflicts.wait(&id, 1, now).is_some() && write_conflicts.knows(&id, 1));
        assert_eq!(write_conflicts.wait(&id, 2, now), None);
        assert_eq!(write_conflicts.ongoing(&id, 2, &map, now), None);
        assert_eq!(
            write_conflicts.repaired(&id, 2, &map, now),
            None,
            "it begins anew"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn many_objects_that_are_put_back_once_are_no_conflict() {
        let (write_conflicts, id) = (WriteConflicts::default(), WorkId::from("w"));
        let now = Instant::now();
        for n in 0..1_000 {
            let object = object(&n.to_string());
            assert_eq!(write_conflicts.repaired(&id, 1, &object, now), None);
            assert_eq!(write_conflicts.ongoing(&id, 1, &object, now), None);
        }
        assert_eq!(write_conflicts.wait(&id, 1, now), None);
    }
}
