//! One look at a work that is to go: give every held object up, and say what is still in the way.

use link::bundle::DeleteOption;
use link::error::chain;
use tracing::{info, warn};

use super::keep::Write;
use super::{Again, Look, Reconciler, parse, release_mode};
use crate::applier::{Applier, Held, Release, Released};
use crate::status::{self, Remaining};
use crate::work::{Entry, StatusRecord, Store, Work, WorkId};

impl<S: Store, T: Applier> Reconciler<S, T> {
    pub(super) async fn remove(
        &self,
        id: &WorkId,
        entry: &Entry,
        work: &Work,
        before: Option<&StatusRecord>,
    ) -> Look {
        let previous = before.map(|record| record.status.clone());
        let previous = previous.unwrap_or_default();
        let context = self.context(work, &previous);
        // What was said about blockers before stands until this look knows better.
        let told = previous.condition("Deleting").is_some();
        let deleting = if told {
            previous.clone()
        } else {
            status::deleting(&[], context)
        };
        let held = match self.applier.claim(id, &[]).await {
            Ok(held) => held,
            Err(error) => {
                self.health.failing(error.message);
                return Look {
                    status: deleting,
                    again: Again::Backoff,
                    sights: None,
                };
            }
        };
        if !held.is_empty() && !told {
            // Tell it before it may take long.
            let told = self.keep(id, entry, work, before, deleting, Write::Later);
            if let Err(error) = told.await {
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
            return Look {
                status: status::deleting(&[], context),
                again: Again::Backoff,
                sights: None,
            };
        }
        if remaining.is_empty() {
            return Look {
                status: status::deleted(self.consumer.as_str(), context),
                again: Again::Eventually,
                sights: None,
            };
        }
        Look {
            status: status::deleting(&remaining, context),
            again: Again::Backoff,
            sights: None,
        }
    }

    /// Gives held objects up, against the order in which they were applied. Returns what is still there and why.
    pub(super) async fn release(&self, id: &WorkId, held: &[(Held, Release)]) -> Vec<Remaining> {
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
        held: Vec<Held>,
        option: Option<&DeleteOption>,
    ) -> Vec<(Held, Release)> {
        let held = held.into_iter();
        held.map(|held| (held.clone(), self.mode(&held, option)))
            .collect()
    }

    /// What happens to an object that is given up.
    pub(super) fn mode(&self, held: &Held, option: Option<&DeleteOption>) -> Release {
        let object = held.object();
        release_mode(option, &object, &self.applier.resource(&object))
    }
}
