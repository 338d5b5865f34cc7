//! Server-side apply: one request that carries content and owners.

use link::bundle::{IgnoreField, UpdateStrategy};
use link::error::chain;
use serde_json::{Value, json};
use tracing::debug;

use super::{Done, Failure, Task, Wrote};
use crate::intake::blocking;
use crate::target::kubernetes::server::MANAGER;
use crate::target::kubernetes::{fields, managed, owners};
use crate::target::{ErrorKind, TargetError};

impl Task<'_> {
    /// With force, so that what somebody edited is put back; fields that were written by `PUT` before are taken over,
    /// so that what the manifest drops goes away.
    pub(super) async fn server_side_default(&mut self) -> Result<Done, Failure> {
        let owners = self.owners(self.flight.strangers());
        // As large as a bundle may be, and needed once.
        let mut body = std::mem::take(&mut self.manifest);
        owners::set(&mut body, &owners);
        let mut object = self.send(&body, MANAGER, true).await?;
        if let Some(managed) = taken_over(&object)
            && self.take_over(&object, managed).await
        {
            object = self.send(&body, MANAGER, true).await?;
        }
        Ok(Done {
            object: Some(object),
            wrote: Wrote::IfNewVersion,
        })
    }

    /// With the options of the work.
    pub(super) async fn server_side(&self, strategy: &UpdateStrategy) -> Result<Done, Failure> {
        let options = strategy.server_side_apply.clone().unwrap_or_default();
        let manager = match options.field_manager.as_str() {
            "" => MANAGER,
            named => named,
        };
        let manifest = if options.ignore_fields.is_empty() {
            self.manifest.clone()
        } else {
            match self.prune(&options.ignore_fields, manager).await? {
                Pruned::Unchanged(live) => return self.own(live).await,
                Pruned::Apply(manifest) => manifest,
            }
        };
        let body = self.body(manifest);
        Ok(Done {
            object: Some(self.send(&body, manager, options.force).await?),
            wrote: Wrote::IfNewVersion,
        })
    }

    async fn prune(&self, rules: &[IgnoreField], manager: &str) -> Result<Pruned, Failure> {
        let live = self.inner.server.get(&self.place).await?;
        let (manifest, manager) = (self.manifest.clone(), manager.to_owned());
        let owned_rules = rules.to_vec();
        // A jq expression may take its second.
        let (pruned, live) = blocking(move || {
            let pruned = fields::prune(&manifest, live.as_ref(), &owned_rules, &manager);
            (pruned, live)
        })
        .await;
        let pruned = pruned.map_err(|problem| TargetError {
            kind: ErrorKind::IgnoreFields,
            message: problem,
        })?;
        // The Go agent leaves drift in other fields alone too as long as the manifest is the same; only what may
        // change on this side as a whole asks for that.
        let may_change = rules.iter().any(|rule| rule.condition == fields::ON_CHANGE);
        Ok(match live {
            Some(live) if pruned.unchanged && may_change => Pruned::Unchanged(live),
            _ => Pruned::Apply(pruned.manifest),
        })
    }

    // Owners from other agents are named too: under the same manager, what is not named is taken away.
    fn body(&self, mut manifest: Value) -> Value {
        let owners = self.owners(self.flight.strangers());
        owners::set(&mut manifest, &owners);
        manifest
    }

    async fn send(&self, body: &Value, manager: &str, force: bool) -> Result<Value, Failure> {
        let server = &self.inner.server;
        Ok(server.apply(&self.place, body, manager, force).await?)
    }

    // Whether it worked; it is tried again with the next look.
    async fn take_over(&self, object: &Value, managed: Vec<Value>) -> bool {
        let metadata = &object["metadata"];
        let patch = json!({"metadata": {
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
            "managedFields": managed,
        }});
        let taken = self.inner.server.merge(&self.place, &patch).await;
        if let Err(error) = &taken {
            let object = self.object;
            debug!(error = %chain(error), "Could not take over the fields of {object}");
        }
        taken.is_ok()
    }
}

enum Pruned {
    /// The object was applied from this manifest before.
    Unchanged(Value),
    Apply(Value),
}

fn taken_over(object: &Value) -> Option<Vec<Value>> {
    let managed = object["metadata"]["managedFields"].as_array()?;
    managed::upgrade(managed, FORMER, MANAGER)
}

// Names under which ours with another strategy, and the Go agent, write by `PUT`.
const FORMER: &[&str] = &[MANAGER, "maestro"];
