//! One pass over a work that is to go: give every held object up, and report what is still in the way.

use link::bundle::DeleteOption;
use link::error::chain;
use tracing::{info, warn};

use super::record_status::StatusWrite;
use super::{PassResult, Recheck, Reconciler, parse, release_mode};
use crate::applier::{Applier, HeldObject, Release, Released};
use crate::status::{self, Remaining};
use crate::work::{Entry, StatusRecord, Store, Work, WorkId};

impl<S: Store, T: Applier> Reconciler<S, T> {
    pub(super) async fn remove(
        &self,
        id: &WorkId,
        entry: &Entry,
        work: &Work,
        before: Option<&StatusRecord>,
    ) -> PassResult {
        let previous = before.map(|record| record.status.clone());
        let previous = previous.unwrap_or_default();
        let context = self.context(work, &previous);
        // What was reported about blockers before stands until this pass knows better.
        let reported = previous.condition("Deleting").is_some();
        let deleting = if reported {
            previous.clone()
        } else {
            status::deleting(&[], context)
        };
        let held = match self.applier.claim(id, &[]).await {
            Ok(held) => held,
            Err(error) => {
                self.health.failing(error.message);
                return PassResult {
                    status: deleting,
                    again: Recheck::Backoff,
                    snapshot: None,
                };
            }
        };
        if !held.is_empty() && !reported {
            // Tell it before it may take long.
            let reported =
                self.record_status(id, entry, work, before, deleting, StatusWrite::Later);
            if let Err(error) = reported.await {
                warn!(resource.id = %id, error = %chain(&error), "Could not keep the status of work `{id}`");
            }
        }
        let option = parse(work).ok().and_then(|spec| spec.delete_option);
        let held = self.with_modes(held, option.as_ref());
        let remaining = self.release(id, &held).await;
        if remaining.is_empty()
            && let Err(error) = self.applier.settle(id).await
        {
            warn!(resource.id = %id, error = %error, "Could not record what work `{id}` gave up");
            return PassResult {
                status: status::deleting(&[], context),
                again: Recheck::Backoff,
                snapshot: None,
            };
        }
        if remaining.is_empty() {
            return PassResult {
                status: status::deleted(self.consumer.as_str(), context),
                again: Recheck::Eventually,
                snapshot: None,
            };
        }
        PassResult {
            status: status::deleting(&remaining, context),
            again: Recheck::Backoff,
            snapshot: None,
        }
    }

    /// Gives held objects up, against the order in which they were applied. Returns what is still there and why.
    pub(super) async fn release(
        &self,
        id: &WorkId,
        held: &[(HeldObject, Release)],
    ) -> Vec<Remaining> {
        let mut remaining = Vec::new();
        for (held, mode) in held.iter().rev() {
            let object = held.object();
            match self.applier.release(id, held, *mode).await {
                Ok(Released::Gone) => {
                    info!(resource.id = %id, object = %object, "Removed {object}");
                }
                Ok(Released::Left) => {
                    info!(resource.id = %id, object = %object, "Gave up {object} without removing it");
                }
                Ok(Released::Pending(blocker)) => remaining.push(Remaining {
                    object,
                    reason: "ObjectTerminating",
                    blocker,
                }),
                Err(error) => {
                    self.explain(id, &object, &error);
                    remaining.push(Remaining {
                        object,
                        reason: "DeletionFailed",
                        blocker: format!("cannot be removed: {error}"),
                    });
                }
            }
        }
        remaining
    }

    pub(super) fn with_modes(
        &self,
        held: Vec<HeldObject>,
        option: Option<&DeleteOption>,
    ) -> Vec<(HeldObject, Release)> {
        let held = held.into_iter();
        held.map(|held| (held.clone(), self.mode(&held, option)))
            .collect()
    }

    /// What happens to an object that is given up.
    pub(super) fn mode(&self, held: &HeldObject, option: Option<&DeleteOption>) -> Release {
        let object = held.object();
        release_mode(option, &object, &self.applier.resource(&object))
    }
}
