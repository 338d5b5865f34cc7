//! Writing down what became of the objects of a work: its AppliedManifestWork is brought up to date, or deleted when the
//! work holds nothing any more.

use serde_json::{Value, json};

use super::applied_work::{AppliedWork, Lifecycle};
use super::intent_record::IntentRecord;
use super::{hash, object, path};
use crate::applier::ApplierError;
use crate::applier::kubernetes::Inner;
use crate::applier::kubernetes::explain::explain;
use crate::applier::kubernetes::server::is_missing;
use crate::applier::ownership::{Record, Settlement};
use crate::crd::AppliedResource;
use crate::work_id::WorkId;

impl Inner {
    /// See [`crate::applier::Applier::settle`].
    pub(in crate::applier::kubernetes) async fn settle(
        &self,
        owner: &WorkId,
    ) -> Result<(), ApplierError> {
        let (settlement, record, applied_work, registered) = {
            let claims = self.claims();
            (
                claims.ownership.settlement(owner),
                claims.ownership.record(owner).cloned(),
                claims.applied_works.get(owner).cloned(),
                claims.registered.contains(owner),
            )
        };
        let holds_nothing = settlement == Settlement::Forget || record.is_none();
        let forgets = settlement == Settlement::Forget && !registered;
        match (applied_work, record) {
            (Some(applied_work), _) if forgets => self.forget(owner, &applied_work).await?,
            (Some(applied_work), Some(record)) => {
                self.write_down(owner, &record, &applied_work).await?;
            }
            _ => {}
        }
        if !registered {
            self.claims().ownership.settled(owner);
        }
        self.index.end_round(owner, holds_nothing);
        Ok(())
    }

    pub(super) async fn stop_eviction(
        &self,
        owner: &WorkId,
        applied_work: &AppliedWork,
    ) -> Result<(), ApplierError> {
        if !applied_work.evicting {
            return Ok(());
        }
        let patch =
            json!({"metadata": {"uid": applied_work.uid}, "status": {"evictionStartTime": null}});
        self.update_applied_work(owner, applied_work, "status", &patch)
            .await?;
        if let Some(applied_work) = self.claims().applied_works.get_mut(owner) {
            applied_work.evicting = false;
        }
        Ok(())
    }

    // Takes what was given up out of the annotation. The list with uids in the status is for Go agents, which make it
    // themselves from the status of the ManifestWork: it costs a request for each work, so it is kept only where one is
    // there already or a Go agent alternates with this one.
    async fn write_down(
        &self,
        owner: &WorkId,
        record: &Record,
        applied_work: &AppliedWork,
    ) -> Result<(), ApplierError> {
        let applied = self.applied_resources(record);
        let (listed, intent) = (
            hash(&applied[..]),
            IntentRecord::of(owner, record).to_string(),
        );
        let keeps_list = self.agent_id.is_shared_with_go() || applied_work.has_list();
        if keeps_list && listed != applied_work.listed {
            let patch = json!({"metadata": {"uid": applied_work.uid}, "status": {"appliedResources": applied}});
            self.update_applied_work(owner, applied_work, "status", &patch)
                .await?;
        }
        if !applied_work.says(&intent) {
            let patch = self.intent_patch(applied_work, &intent);
            self.update_applied_work(owner, applied_work, "", &patch)
                .await?;
        }
        if let Some(applied_work) = self.claims().applied_works.get_mut(owner) {
            if keeps_list {
                applied_work.listed = listed;
            }
            applied_work.intent = hash(intent.as_str());
        }
        Ok(())
    }

    async fn update_applied_work(
        &self,
        owner: &WorkId,
        applied_work: &AppliedWork,
        subresource: &str,
        patch: &Value,
    ) -> Result<(), ApplierError> {
        let path = path(&applied_work.name);
        let written = match subresource {
            "status" => self.server.merge_status(&path, patch).await,
            _ => self.server.merge(&path, patch).await,
        };
        let Err(error) = written else {
            return Ok(());
        };
        if is_missing(&error) && self.claims().lost(&applied_work.uid, true).is_some() {
            self.index.wake([owner.clone()]);
        }
        Err(explain(&error, "write", &object(&applied_work.name)))
    }

    fn applied_resources(&self, record: &Record) -> Vec<AppliedResource> {
        let applied = record.objects.iter().filter_map(|share| {
            Some(AppliedResource {
                group: share.held.group.clone(),
                version: share.held.version.clone(),
                resource: self.identify(&share.held.object()).resource,
                namespace: share.held.namespace.clone(),
                name: share.held.name.clone(),
                uid: share.held.uid.clone()?,
            })
        });
        let mut applied: Vec<AppliedResource> = applied.collect();
        applied.sort();
        applied
    }

    // Deletes the AppliedManifestWork of a work that holds nothing. Interrupted, it goes on with the next reconcile.
    async fn forget(&self, owner: &WorkId, applied_work: &AppliedWork) -> Result<(), ApplierError> {
        if let Some(applied_work) = self.claims().applied_works.get_mut(owner) {
            applied_work.lifecycle = Lifecycle::Deleting;
        }
        self.delete_applied_work(&applied_work.name, &applied_work.uid)
            .await?;
        self.index.ours(&applied_work.uid, false);
        let mut claims = self.claims();
        claims.works.remove(&applied_work.uid);
        claims.applied_works.remove(owner);
        Ok(())
    }
}
