//! Works that an earlier process left in order are not reconciled again after a start: what that process observed of their
//! objects is kept with their statuses, and the applier finds out what has changed since. Pure but for the start itself.

use link::bundle::manifest::ObjectRef;
use tracing::info;

use super::{Reconciler, jittered};
use crate::applier::{Applier, Fingerprint};
use crate::digest::sha256_hex;
use crate::work::{Store, StoredSnapshot};

/// What a pass observed, when it leaves nothing to be done.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct WorkSnapshot {
    pub(super) claims: usize,
    /// By ordinal of the manifest; `None` when something was not seen.
    pub(super) fingerprints: Vec<(usize, Option<Fingerprint>)>,
}

impl<S: Store, T: Applier> Reconciler<S, T> {
    /// Queues every work that was not left in order, or may not be by now; the others come after the period.
    pub(super) fn begin(&self) {
        let snapshots = self.store.take_snapshots();
        if self.paused.is_some() || self.store.index().paused().is_some() {
            return self.queue_everything();
        }
        let writer = self.writer();
        let mut resumed = 0_usize;
        for id in self.store.index().ids() {
            let former = snapshots.get(&id).and_then(|stored| read(stored, &writer));
            let resumes =
                former.is_some_and(|(claims, seen)| self.applier.resume(&id, claims, &seen));
            if resumes {
                resumed += 1;
                self.queue.add_later(&id, jittered(self.period));
            } else {
                self.queue.add(&id);
            }
        }
        info!(works = resumed, "Found {resumed} works as they were left");
    }

    /// The text that is kept of a snapshot.
    pub(super) fn encode(&self, snapshot: WorkSnapshot) -> Option<String> {
        let WorkSnapshot {
            claims,
            mut fingerprints,
        } = snapshot;
        fingerprints.sort_by_key(|(ordinal, _)| *ordinal);
        let fingerprints: Option<Vec<String>> = fingerprints
            .into_iter()
            .map(|(_, fingerprint)| fingerprint.map(|fingerprint| fingerprint.to_string()))
            .collect();
        Some(format!(
            "{} {claims} {}",
            self.writer(),
            fingerprints?.join(" ")
        ))
    }

    /// Whose snapshots count: another version of this program, or other settings, may judge in another way.
    fn writer(&self) -> String {
        let settings = format!(
            "{} {} {} {}",
            PROGRAM, self.consumer, self.max_raw_bytes, self.max_status_bytes
        );
        let mut writer = sha256_hex(settings.as_bytes());
        writer.truncate(DIGITS);
        writer
    }
}

/// The number of claims, and each object with what was seen of it.
fn read(stored: &StoredSnapshot, writer: &str) -> Option<(usize, Vec<(ObjectRef, Fingerprint)>)> {
    let mut parts = stored.text.split_whitespace();
    if parts.next()? != writer {
        return None;
    }
    let claims = parts.next()?.parse().ok()?;
    let fingerprints: Vec<Fingerprint> = parts.map(Fingerprint::read).collect();
    // A status that had to be shortened names fewer objects.
    if fingerprints.len() != stored.objects.len() {
        return None;
    }
    Some((
        claims,
        stored.objects.iter().cloned().zip(fingerprints).collect(),
    ))
}

const PROGRAM: &str = env!("CARGO_PKG_VERSION");
const DIGITS: usize = 16;
