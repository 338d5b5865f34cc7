//! A work that can never be held, because another agent's object has its name: it is refused alone, and its source is told.

use std::sync::Arc;

use link::error::{Hint as _, chain};
use tokio_util::sync::CancellationToken;

use super::{Drained, Intake, RefusalReason, Refused};
use crate::uplink::{Downlink, Incoming};
use crate::work::{self, Head, Store, Work};

impl<S: Store, D: Downlink> Intake<S, D> {
    /// Makes works durable, all of them unless there is one that cannot be: then it says which, and why.
    pub(super) async fn commit(
        &self,
        works: Arc<Vec<Work>>,
    ) -> Result<Option<(usize, String)>, work::StoreError> {
        let Err(error) = self.store.commit(Arc::clone(&works)).await else {
            return Ok(None);
        };
        let taken = error.foreign();
        let at = works.iter().position(|work| Some(&work.head.id) == taken);
        let hint = error.hint().unwrap_or_default();
        let why = at.map(|at| (at, format!("{}; hint: {hint}", chain(&error))));
        why.map(Some).ok_or(error)
    }

    /// Refuses a work that cannot be held. Its delivery is acknowledged when its source has been told.
    pub(super) async fn decline(
        &self,
        head: Head,
        incoming: Incoming,
        why: String,
        drain: &CancellationToken,
    ) -> Result<(), Drained> {
        let refused = Refused {
            reason: RefusalReason::ForeignWork,
            explanation: format!("work `{}` cannot be held: {why}", head.id),
        };
        self.refuse(&incoming.message().topic, None, &refused);
        self.note_declined(&head, &refused);
        self.room(drain).await?;
        self.reports.decline(head, why, incoming.into_pending_ack());
        Ok(())
    }

    /// Waits until another removal notice may be queued.
    pub(super) async fn room(&self, drain: &CancellationToken) -> Result<(), Drained> {
        tokio::select! {
            () = drain.cancelled() => Err(Drained),
            () = self.reports.room() => Ok(()),
        }
    }
}
