//! Objects that somebody else changes back again and again: another agent with the same field manager, an operator
//! that wants other content. Each repair is right, but two who repair each other would never rest. So from some point
//! on repairs are made at a growing distance, and the status says that the object is fought over until it has been
//! left alone for a while.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use link::bundle::manifest::ObjectRef;
use tokio::time::Instant;

use crate::work::WorkId;

/// Counts repairs per work and object, and slows a work down that needs too many of one object. Holds only works
/// repaired lately.
#[derive(Debug, Default)]
pub struct Feuds(Mutex<HashMap<WorkId, Feud>>);

#[derive(Debug)]
struct Feud {
    // Of the work as it was then; another version is another matter.
    epoch: u64,
    objects: HashMap<ObjectRef, Repairs>,
    until: Instant,
}

#[derive(Debug)]
struct Repairs {
    count: u32,
    last: Instant,
    // What is told of the fight; the same until it is over, or each repair would look like news.
    words: String,
}

// === impl Feuds ===

impl Feuds {
    /// How long the work, as it is since `epoch`, has to wait yet.
    pub(super) fn wait(&self, id: &WorkId, epoch: u64, now: Instant) -> Option<Duration> {
        let feuds = self.lock();
        let feud = feuds.get(id).filter(|feud| feud.epoch == epoch)?;
        feud.until
            .checked_duration_since(now)
            .filter(|left| !left.is_zero())
    }

    /// Whether objects of the work, as it is since `epoch`, were put back lately.
    pub(super) fn knows(&self, id: &WorkId, epoch: u64) -> bool {
        self.lock().get(id).is_some_and(|feud| feud.epoch == epoch)
    }

    /// Whether one more repair of an object is one too many: worth looking at who the other one is.
    pub(super) fn is_suspicious(&self, id: &WorkId, epoch: u64, object: &ObjectRef) -> bool {
        let feuds = self.lock();
        let repairs = feuds.get(id).filter(|feud| feud.epoch == epoch);
        let repairs = repairs.and_then(|feud| feud.objects.get(object));
        repairs.is_some_and(|repairs| repairs.count + 1 >= PATIENCE)
    }

    /// Notes that an object was put back. Answers with the pause that follows once there were too many repairs.
    pub(super) fn repaired(
        &self,
        id: &WorkId,
        epoch: u64,
        object: &ObjectRef,
        now: Instant,
    ) -> Option<Duration> {
        let mut feuds = self.lock();
        feuds.retain(|other, feud| {
            let objects = &mut feud.objects;
            objects.retain(|_, repairs| now.duration_since(repairs.last) < CALM);
            !objects.is_empty() && (other != id || feud.epoch == epoch)
        });
        let feud = feuds.entry(id.clone()).or_insert_with(|| Feud {
            epoch,
            objects: HashMap::new(),
            until: now,
        });
        let repairs = feud.objects.entry(object.clone()).or_insert(Repairs {
            count: 0,
            last: now,
            words: String::new(),
        });
        repairs.count += 1;
        repairs.last = now;
        let too_many = repairs.count.checked_sub(PATIENCE)?;
        let pause = SHORTEST
            .saturating_mul(2_u32.saturating_pow(too_many))
            .min(LONGEST);
        feud.until = feud.until.max(now + pause);
        Some(pause)
    }

    /// Keeps what is told of the fight over an object.
    pub(super) fn tell(&self, id: &WorkId, object: &ObjectRef, words: &str) {
        let mut feuds = self.lock();
        let repairs = feuds
            .get_mut(id)
            .and_then(|feud| feud.objects.get_mut(object));
        if let Some(repairs) = repairs {
            words.clone_into(&mut repairs.words);
        }
    }

    /// What is told of an object that is fought over, and how long it has to stay as it is before the fight counts
    /// as over.
    pub(super) fn unrest(
        &self,
        id: &WorkId,
        epoch: u64,
        object: &ObjectRef,
        now: Instant,
    ) -> Option<(Duration, String)> {
        let feuds = self.lock();
        let feud = feuds.get(id).filter(|feud| feud.epoch == epoch)?;
        let repairs = feud.objects.get(object)?;
        let over = repairs.last + LONGEST;
        let left = over.checked_duration_since(now)?;
        let unrest = repairs.count >= PATIENCE && !left.is_zero();
        unrest.then(|| (left, repairs.words.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<WorkId, Feud>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// Nobody edits one object by hand that often; two who repair each other twice a second are there in 13 seconds.
const PATIENCE: u32 = 25;
const SHORTEST: Duration = Duration::from_secs(1);
// Also how long peace has to last: a shorter one would be the pause between two repairs.
const LONGEST: Duration = Duration::from_secs(60);
// Above the longest pause, or each pause would look like peace.
const CALM: Duration = Duration::from_secs(180);

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
    async fn an_object_that_is_repaired_too_often_slows_its_work_down_until_it_is_calm() {
        let (feuds, id, map) = (Feuds::default(), WorkId::from("w"), object("a"));
        let step = Duration::from_millis(500);
        for _ in 1..PATIENCE {
            assert!(!feuds.is_suspicious(&id, 1, &map));
            tokio::time::advance(step).await;
            assert_eq!(feuds.repaired(&id, 1, &map, Instant::now()), None);
            assert_eq!(feuds.unrest(&id, 1, &map, Instant::now()), None);
        }
        assert!(feuds.is_suspicious(&id, 1, &map));
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            let now = Instant::now();
            let pause = Duration::from_secs(seconds);
            assert_eq!(feuds.repaired(&id, 1, &map, now), Some(pause));
            assert_eq!(feuds.wait(&id, 1, now), Some(pause));
            feuds.tell(&id, &map, "words");
            let unrest = feuds.unrest(&id, 1, &map, now);
            assert_eq!(unrest, Some((LONGEST, "words".into())));
            tokio::time::advance(pause).await;
            assert_eq!(feuds.wait(&id, 1, Instant::now()), None);
        }
        assert_eq!(feuds.unrest(&id, 1, &map, Instant::now()), None, "peace");
        tokio::time::advance(CALM).await;
        assert_eq!(feuds.repaired(&id, 1, &map, Instant::now()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn another_version_does_not_wait_for_the_feud_of_the_one_before() {
        let (feuds, id, map) = (Feuds::default(), WorkId::from("w"), object("a"));
        let now = Instant::now();
        for _ in 0..PATIENCE + 10 {
            feuds.repaired(&id, 1, &map, now);
        }
        assert!(feuds.wait(&id, 1, now).is_some() && feuds.knows(&id, 1));
        assert_eq!(feuds.wait(&id, 2, now), None);
        assert_eq!(feuds.unrest(&id, 2, &map, now), None);
        assert_eq!(feuds.repaired(&id, 2, &map, now), None, "it begins anew");
    }

    #[tokio::test(start_paused = true)]
    async fn many_objects_that_are_put_back_once_are_no_feud() {
        let (feuds, id) = (Feuds::default(), WorkId::from("w"));
        let now = Instant::now();
        for n in 0..1_000 {
            let object = object(&n.to_string());
            assert_eq!(feuds.repaired(&id, 1, &object, now), None);
            assert_eq!(feuds.unrest(&id, 1, &object, now), None);
        }
        assert_eq!(feuds.wait(&id, 1, now), None);
    }
}
