//! Works that an earlier process left in order are not looked at again after a start: what that process saw of their
//! objects is kept with their statuses, and the applier tells what has changed since. Pure but for the start itself.

use link::bundle::manifest::ObjectRef;
use tracing::info;

use super::{Reconciler, jittered};
use crate::applier::{Applier, Mark};
use crate::digest::sha256_hex;
use crate::work::{Looked, Store};

/// What a look saw, when it leaves nothing to be done.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sights {
    pub(super) claims: usize,
    /// By ordinal of the manifest; `None` when something was not seen.
    pub(super) marks: Vec<(usize, Option<Mark>)>,
}

impl<S: Store, T: Applier> Reconciler<S, T> {
    /// Looks at every work that was not left in order, or may not be by now; at the others after the period.
    pub(super) fn begin(&self) {
        let looks = self.store.take_looks();
        if self.paused.is_some() || self.store.index().paused().is_some() {
            return self.look_at_everything();
        }
        let made_by = self.maker();
        let mut rested = 0_usize;
        for id in self.store.index().ids() {
            let former = looks.get(&id).and_then(|looked| read(looked, &made_by));
            let rests =
                former.is_some_and(|(claims, seen)| self.applier.resume(&id, claims, &seen));
            if rests {
                rested += 1;
                self.queue.add_later(&id, jittered(self.period));
            } else {
                self.queue.add(&id);
            }
        }
        info!(works = rested, "Found {rested} works as they were left");
    }

    /// The words that are kept of a look.
    pub(super) fn words(&self, sights: Sights) -> Option<String> {
        let Sights { claims, mut marks } = sights;
        marks.sort_by_key(|(ordinal, _)| *ordinal);
        let marks: Option<Vec<String>> = marks
            .into_iter()
            .map(|(_, mark)| mark.map(|mark| mark.to_string()))
            .collect();
        Some(format!("{} {claims} {}", self.maker(), marks?.join(" ")))
    }

    /// Whose looks count: another version of this program, or other settings, may judge in another way.
    fn maker(&self) -> String {
        let settings = format!(
            "{} {} {} {}",
            PROGRAM, self.consumer, self.max_raw_bytes, self.max_status_bytes
        );
        let mut maker = sha256_hex(settings.as_bytes());
        maker.truncate(DIGITS);
        maker
    }
}

/// The number of claims, and each object with what was seen of it.
fn read(looked: &Looked, made_by: &str) -> Option<(usize, Vec<(ObjectRef, Mark)>)> {
    let mut words = looked.words.split_whitespace();
    if words.next()? != made_by {
        return None;
    }
    let claims = words.next()?.parse().ok()?;
    let marks: Vec<Mark> = words.map(Mark::read).collect();
    // A status that had to be shortened names fewer objects.
    if marks.len() != looked.objects.len() {
        return None;
    }
    Some((claims, looked.objects.iter().cloned().zip(marks).collect()))
}

const PROGRAM: &str = env!("CARGO_PKG_VERSION");
const DIGITS: usize = 16;
