//! Server-side apply: one request that carries content and owners.
//!
//! What the manifest drops goes away only if our entry in `managedFields` held it. So what we wrote with another
//! strategy or under another name, and what a Go agent wrote, is taken over first: it is ours either way.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Error;
use link::bundle::{IgnoreField, UpdateStrategy};
use link::error::chain;
use serde_json::{Value, json};
use tracing::debug;

use super::{Done, Failure, Task, Wrote};
use crate::applier::kubernetes::server::{ATTEMPTS, MANAGER, is_conflict, is_forbidden};
use crate::applier::kubernetes::{aliases, conflict, fields, managed, owners};
use crate::applier::{ApplierError, ApplierErrorKind};
use crate::blocking::blocking;

impl Task<'_> {
    /// With force, so that what somebody edited is put back.
    pub(super) async fn server_side_default(&self) -> Result<Done, Failure> {
        self.hold_data(MANAGER).await?;
        self.apply_as(MANAGER, true, self.manifest.clone()).await
    }

    /// With the options of the work.
    pub(super) async fn server_side(
        &self,
        strategy: &UpdateStrategy,
        manager: &str,
    ) -> Result<Done, Failure> {
        let options = strategy.server_side_apply.clone().unwrap_or_default();
        self.hold_data(manager).await?;
        let manifest = if options.ignore_fields.is_empty() {
            self.manifest.clone()
        } else {
            match self.prune(&options.ignore_fields, manager).await? {
                PruneOutcome::Unchanged(live) => return self.own(live).await,
                PruneOutcome::Apply(manifest) => manifest,
            }
        };
        self.apply_as(manager, options.force, manifest).await
    }

    async fn apply_as(&self, manager: &str, force: bool, manifest: Value) -> Result<Done, Failure> {
        self.read_foreign_owners().await?;
        let body = self.body(manifest);
        let mut object = match self.send(&body, manager, force).await {
            // Without force even what we wrote ourselves in another way is in the way.
            Err(Failure::Server(error)) if is_former(&error) => {
                let live = self.inner.server.get(&self.path).await?;
                let live = live.unwrap_or_default();
                if self.take_over(&live, manager).await.is_none() {
                    return Err(Failure::Server(error));
                }
                self.send(&body, manager, force).await?
            }
            sent => sent?,
        };
        if self.take_over(&object, manager).await.is_some() {
            object = self.send(&body, manager, force).await?;
        }
        Ok(Done {
            object: Some(object),
            wrote: Wrote::IfNewVersion,
        })
    }

    async fn prune(&self, rules: &[IgnoreField], manager: &str) -> Result<PruneOutcome, Failure> {
        let live = self.read_and_take_over(manager).await?;
        let (manifest, manager) = (self.manifest.clone(), manager.to_owned());
        let owned_rules = rules.to_vec();
        // A jq expression may take its second.
        let (pruned, live) = blocking(move || {
            let pruned = fields::prune(&manifest, live.as_ref(), &owned_rules, &manager);
            (pruned, live)
        })
        .await;
        let pruned = pruned.map_err(|problem| ApplierError {
            kind: ApplierErrorKind::IgnoreFields,
            message: problem,
        })?;
        // The Go agent leaves drift in other fields alone too as long as the manifest is the same; only what may
        // change on this side as a whole asks for that.
        let may_change = rules.iter().any(|rule| rule.condition == fields::ON_CHANGE);
        Ok(match live {
            Some(live) if pruned.unchanged && may_change => PruneOutcome::Unchanged(live),
            _ => PruneOutcome::Apply(pruned.manifest),
        })
    }

    // What was seen of an object shows its owners. Another agent may not be there to put its own back, and would lose the
    // object with our next release.
    async fn read_foreign_owners(&self) -> Result<(), Error> {
        let inner = self.inner;
        if self.access.exists() || !inner.foreign.may_hold(self.object) {
            return Ok(());
        }
        let meta = match inner.server.metadata(&self.path).await {
            // Who may not read it can know nothing of it.
            Err(error) if is_forbidden(&error) => None,
            read => read?,
        };
        if let Some(meta) = meta {
            let owners = meta.owner_references.unwrap_or_default();
            self.access.has_owners(&owners);
        }
        Ok(())
    }

    // Owners from other agents are named too: under the same manager, what is not named is taken away.
    fn body(&self, mut manifest: Value) -> Value {
        let owners = self.owners(self.access.foreign_owners());
        owners::set(&mut manifest, &owners);
        manifest
    }

    async fn send(&self, body: &Value, manager: &str, force: bool) -> Result<Value, Failure> {
        let server = &self.inner.server;
        Ok(server.apply(&self.path, body, manager, force).await?)
    }

    // Before it is decided which of the ignored fields are held by nobody but us: what would be taken over afterwards
    // is missing in what was sent, and goes.
    async fn read_and_take_over(&self, manager: &str) -> Result<Option<Value>, Error> {
        let mut attempt = 1;
        loop {
            let live = self.inner.server.get(&self.path).await?;
            let managed = live
                .as_ref()
                .and_then(|live| self.migrated_fields(live, manager));
            let (Some(found), Some(managed)) = (&live, managed) else {
                return Ok(live);
            };
            match self.set_managed(&found["metadata"], managed).await {
                Err(error) if is_conflict(&error) && attempt < ATTEMPTS => attempt += 1,
                taken => return taken.map(Some),
            }
        }
    }

    // Takes over what we, or the Go agent, wrote in another way; answers with the object if that was done. It is tried
    // again with the next pass.
    async fn take_over(&self, live: &Value, manager: &str) -> Option<Value> {
        let managed = self.migrated_fields(live, manager)?;
        self.set_managed(&live["metadata"], managed).await.ok()
    }

    // Who holds which fields once we hold what is ours; `None` when we do.
    fn migrated_fields(&self, live: &Value, manager: &str) -> Option<Vec<Value>> {
        let held = live["metadata"]["managedFields"].as_array()?;
        // Another work, or another agent, may write under those names; under a name of its own each has its share.
        let is_ours = |owner: &OwnerReference| self.holders.iter().any(|it| it.uid == owner.uid);
        let alone = self.holders.len() <= 1
            && owners::of(live)
                .iter()
                .all(|owner| !owners::is_applied_work(owner) || is_ours(owner));
        managed::moved(held, manager, |entry| {
            let name = entry["manager"].as_str().unwrap_or_default();
            let is_update = entry["operation"] == "Update";
            if is_update {
                FORMER.contains(&name) && (alone || manager == MANAGER)
            } else {
                alone && name.starts_with(MANAGER)
            }
        })
    }

    // What was applied to a Secret as `stringData`, by an agent that did not send it as `data`, stays in it for ever
    // once it is not named any more. Only worth a request for an object that was applied before this process began.
    async fn hold_data(&self, manager: &str) -> Result<(), Error> {
        if !aliases::is_secret(&self.manifest) || !self.applied_before {
            return Ok(());
        }
        let Some(live) = self.inner.server.get(&self.path).await? else {
            return Ok(());
        };
        let held = live["metadata"]["managedFields"].as_array();
        if let Some(managed) = held.and_then(|held| aliases::of_secret(held, manager)) {
            self.set_managed(&live["metadata"], managed).await?;
        }
        Ok(())
    }

    async fn set_managed(&self, metadata: &Value, managed: Vec<Value>) -> Result<Value, Error> {
        let patch = json!({"metadata": {
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
            "managedFields": managed,
        }});
        let taken = self.inner.server.merge(&self.path, &patch).await;
        if let Err(error) = &taken {
            let object = self.object;
            debug!(error = %chain(error), "Could not take over the fields of {object}");
        }
        taken
    }
}

enum PruneOutcome {
    /// The object was applied from this manifest before.
    Unchanged(Value),
    Apply(Value),
}

// Whether a conflict is one with what we wrote in another way.
fn is_former(error: &Error) -> bool {
    let Error::Api(status) = error else {
        return false;
    };
    conflict::describe(status).is_some_and(|conflict| {
        let mut managers = conflict.managers.iter();
        managers.any(|name| FORMER.contains(&name.as_str()) || name.starts_with(MANAGER))
    })
}

// Names under which ours with another strategy, and the Go agent, write by `PUT`.
const FORMER: &[&str] = &[MANAGER, "maestro"];
