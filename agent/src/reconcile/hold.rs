//! What a work holds: recorded before an object is touched, given up when the work no longer declares it, and kept for a
//! work whose source has sent nothing yet.

use link::bundle::DeleteOption;
use tracing::warn;

use super::{Cause, QueueAction, Recheck, Reconciler, given_up};
use crate::applier::{Applier, ApplierError, Claim, HeldObject, Release};
use crate::planned::PlannedManifest;
use crate::work::{Entry, Store, WorkId};

impl<S: Store, T: Applier> Reconciler<S, T> {
    /// Records what is about to be held. Returns how much that is, and what is to be given up.
    pub(super) async fn claim(
        &self,
        id: &WorkId,
        plan: &[PlannedManifest],
        option: Option<&DeleteOption>,
    ) -> Result<(usize, Vec<(HeldObject, Release)>), ApplierError> {
        let claims: Vec<Claim> = plan.iter().filter_map(PlannedManifest::claim).collect();
        let mut claimed = self.applier.claim(id, &claims).await;
        if claims.is_empty()
            && let Err(error) = self.applier.register(id).await
        {
            claimed = claimed.and(Err(error));
        }
        match claimed {
            Ok(stale) => {
                self.health.ok();
                let stale = given_up(
                    plan,
                    stale,
                    |held| self.mode(held, option),
                    |object| self.applier.identify(object),
                );
                Ok((claims.len(), stale))
            }
            Err(error) => {
                self.health.failing(error.message.clone());
                Err(error)
            }
        }
    }

    /// Gives up what the work no longer declares, and has the applier write down what is held now.
    pub(super) async fn settle(&self, id: &WorkId, stale: &[(HeldObject, Release)]) -> Recheck {
        if !stale.is_empty() {
            let remaining = self.release(id, stale).await;
            if !remaining.is_empty() {
                return Recheck::Backoff;
            }
        }
        match self.applier.settle(id).await {
            Ok(()) => Recheck::Eventually,
            Err(error) => {
                warn!(resource.id = %id, error = %error, "Could not record what work `{id}` holds");
                Recheck::Backoff
            }
        }
    }

    /// A work that was taken over with its objects: there is nothing to compare them with until its source has spoken, so
    /// they are held and otherwise left alone.
    pub(super) async fn hold_awaited(&self, id: &WorkId, entry: &Entry) -> QueueAction {
        if entry.dropped && !entry.deleting {
            return self.forget(id).await;
        }
        match self.applier.register(id).await {
            Ok(()) => QueueAction::Forget,
            Err(error) => {
                warn!(resource.id = %id, error = %error, "Could not record what work `{id}` holds");
                QueueAction::Retry(Cause::default())
            }
        }
    }
}
