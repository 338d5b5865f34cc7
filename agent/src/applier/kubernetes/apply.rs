//! Making one object what its manifest says, by strategy (docs/MAESTRO.md §6.4).

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Error;
use link::bundle::manifest::ObjectRef;
use serde_json::Value;
use tokio::time::Instant;

use self::definition::is_too_early;
use super::discovery::STEP;
use super::executor::AccessRequest;
use super::explain::explain;
use super::object::problem;
use super::resource::Resource;
use super::resume::applied_digest;
use super::server::{MANAGER, ObjectPath};
use super::watch::{ObjectAccess, ObjectSnapshot};
use super::{Inner, aliases, fields, owners};
use crate::applier::ownership::Standing;
use crate::applier::{Applied, ApplierError, ApplierErrorKind, Desired, Fingerprint, Strategy};
use crate::cluster::is_not_served;
use crate::work_id::WorkId;

mod definition;
mod others;
mod put;
mod server_side;

/// One object that is being applied.
struct Task<'a> {
    inner: &'a Inner,
    object: &'a ObjectRef,
    key: String,
    path: ObjectPath,
    /// The manifest without what only a server may say.
    manifest: Value,
    /// The AppliedManifestWorks that are to own it.
    holders: Vec<OwnerReference>,
    /// Whether it is a Secret that an earlier process may have applied, and this one has not yet.
    applied_before: bool,
    access: ObjectAccess<'a>,
}

/// How the object is after it was applied.
struct Done {
    /// `None` when there is no object and none was to be made.
    object: Option<Value>,
    wrote: Wrote,
}

enum Wrote {
    Nothing,
    Something,
    /// The server says so by another version.
    IfNewVersion,
    /// By `PUT`, from the manifest with this hash; or nothing, because that was done before.
    Put {
        hash: u64,
        changed: bool,
    },
}

// === impl Inner ===

impl Inner {
    /// See [`crate::applier::Applier::apply`].
    pub(super) async fn apply(
        &self,
        owner: &WorkId,
        desired: Desired<'_>,
    ) -> Result<Applied, ApplierError> {
        let resource = self.resolve(owner, desired.object).await?;
        let object = &self.canonical(desired.object);
        if let Some(account) = desired.executor {
            let request = AccessRequest {
                account,
                object,
                resource: &resource.plural,
                owned: desired.may_remove && *desired.strategy != Strategy::ReadOnly,
                manifest: desired.manifest,
            };
            self.executor.check(request, Instant::now()).await?;
        }
        let key = self.key(object);
        let lock = self.locks.of(&key).await;
        if *desired.strategy != Strategy::ReadOnly {
            let claims = self.claims();
            if !claims.shares(owner, &key).0 {
                return Err(unclaimed(object));
            }
            if let Standing::Loses(leader) = claims.standing(owner, &key) {
                return Err(conflict(object, &leader));
            }
        }
        let (holders, applied_before) = {
            let claims = self.claims();
            (claims.holders(&key), claims.is_from_before(owner, &key))
        };
        let mut task = Task {
            holders,
            applied_before,
            path: ObjectPath::new(&resource, object),
            manifest: plain(desired.manifest, resource.namespaced),
            access: self.index.begin(&resource, object, owner),
            inner: self,
            object,
            key,
        };
        let done = loop {
            let done = match desired.strategy {
                Strategy::Default => task.server_side_default().await,
                Strategy::ServerSideApply(options) => {
                    let manager = desired.strategy.field_manager();
                    task.server_side(options, manager).await
                }
                Strategy::Update => task.update().await,
                Strategy::CreateOnly => task.create_only().await,
                Strategy::ReadOnly => task.read_only().await,
            };
            match done {
                Err(Failure::Server(error)) if is_too_early(&error, object, &self.discovery) => {
                    tokio::time::sleep(STEP).await;
                }
                done => break done,
            }
        };
        let done = match done {
            Ok(done) => done,
            Err(Failure::Applier(error)) => return Err(error),
            Err(Failure::Server(error)) if is_not_served(&error) => {
                return Err(self.kind_vanished(owner, object, &resource));
            }
            Err(Failure::Server(error)) => {
                let manager = desired.strategy.field_manager();
                let added = task.added_by_others(&error, manager).await;
                return Err(added.unwrap_or_else(|| explain(&error, "apply", object)));
            }
        };
        if *desired.strategy != Strategy::ReadOnly {
            task.identify(owner, &done);
            self.claims().is_applied(owner, &task.key);
        }
        let mut applied = task.land(done);
        drop(lock);
        if let Some(definition) = applied.observed.take_if(|it| definition::is_definition(it)) {
            let defined = task.wait_until_defined(definition).await?;
            applied.observed = task.land(defined).observed;
            // Its kind may be served or not after a start.
            applied.fingerprint = None;
        }
        // Of what others write only the default leaves all to them.
        if *desired.strategy != Strategy::Default {
            applied.fingerprint = applied.fingerprint.map(Fingerprint::exact);
        }
        Ok(applied)
    }

    /// See [`crate::applier::Applier::observe`].
    pub(super) async fn observe(&self, object: &ObjectRef) -> Result<Option<Value>, ApplierError> {
        let failed = |error| explain(&error, "get", object);
        let Some(resource) = self.discovery.find(object).await.map_err(failed)? else {
            return Ok(None);
        };
        if problem(&self.canonical(object), &resource).is_some() {
            return Ok(None);
        }
        match self.server.get(&ObjectPath::new(&resource, object)).await {
            Err(error) if is_not_served(&error) => Ok(None),
            found => Ok(found.map_err(failed)?.map(presentable)),
        }
    }

    async fn resolve(
        &self,
        owner: &WorkId,
        object: &ObjectRef,
    ) -> Result<Arc<Resource>, ApplierError> {
        let found = self.discovery.find(object).await;
        let found = found.map_err(|error| explain(&error, "look up the kind of", object))?;
        let Some(resource) = found else {
            self.index.want(&object.group, owner);
            return Err(self.discovery.unknown_kind(object));
        };
        let object = self.canonical(object);
        if !resource.watchable && is_request(&object) {
            let kind = &object.kind;
            return Err(ApplierError {
                kind: ApplierErrorKind::Invalid,
                message: format!(
                    "apply {object}: the cluster answers a `{kind}` and keeps none; hint: take it out of the bundle"
                ),
            });
        }
        problem(&object, &resource).map_or(Ok(resource), |problem| {
            Err(ApplierError {
                kind: ApplierErrorKind::Invalid,
                message: format!("apply {object}: {problem}"),
            })
        })
    }

    fn kind_vanished(
        &self,
        owner: &WorkId,
        object: &ObjectRef,
        resource: &Resource,
    ) -> ApplierError {
        self.discovery.forget(resource);
        self.index.want(&object.group, owner);
        self.discovery.unknown_kind(object)
    }
}

// === impl Task ===

impl Task<'_> {
    async fn read_only(&self) -> Result<Done, Failure> {
        Ok(Done {
            object: self.inner.server.get(&self.path).await?,
            wrote: Wrote::Nothing,
        })
    }

    fn identify(&self, owner: &WorkId, done: &Done) {
        let uid = done.object.as_ref();
        let uid = uid.and_then(|object| object["metadata"]["uid"].as_str());
        if let Some(uid) = uid {
            self.inner.claims().identify(owner, &self.key, uid);
        }
    }

    fn land(&mut self, done: Done) -> Applied {
        let Done { object, wrote } = done;
        let Some(object) = object else {
            self.access.completed_absent();
            return Applied {
                fingerprint: Some(Fingerprint {
                    version: None,
                    applied_digest: None,
                }),
                ..Applied::default()
            };
        };
        let revision = object["metadata"]["resourceVersion"].as_str();
        let meta = serde_json::from_value(object["metadata"].clone());
        let meta: ObjectMeta = meta.unwrap_or_default();
        let owners = meta.owner_references.as_deref().unwrap_or_default();
        let hash = match wrote {
            Wrote::Put { hash, .. } => Some(hash),
            _ => None,
        };
        let is_news = self
            .access
            .completed(revision.unwrap_or_default(), hash, owners);
        self.access.note_snapshot(ObjectSnapshot::of(&meta));
        let fingerprint = revision.map(|revision| Fingerprint {
            version: Some(revision.to_owned()),
            applied_digest: applied_digest(&meta),
        });
        Applied {
            changed: match wrote {
                Wrote::Nothing => false,
                Wrote::Something => true,
                Wrote::IfNewVersion => is_news,
                Wrote::Put { changed, .. } => changed,
            },
            fingerprint,
            observed: Some(presentable(object)),
        }
    }

    /// The owners that the object should have beside `others`: those of the manifest, and our holders.
    fn owners(&self, others: Vec<OwnerReference>) -> Vec<OwnerReference> {
        let declared = owners::of(&self.manifest);
        let holders = self.holders.iter().cloned();
        owners::united(others, declared.into_iter().chain(holders))
    }

    /// Makes sure that our holders own an object whose content is left as it is.
    async fn own(&self, live: Value) -> Result<Done, Failure> {
        let owned = |owners: &[OwnerReference]| {
            let all = owners::united(owners.to_vec(), self.holders.iter().cloned());
            (all.len() > owners.len()).then_some(all)
        };
        let mut object = Some(live);
        if owned(&object.as_ref().map(owners::of).unwrap_or_default()).is_some() {
            let server = &self.inner.server;
            object = server.change_owners(&self.path, owned).await?.or(object);
        }
        Ok(Done {
            object,
            wrote: Wrote::Nothing,
        })
    }
}

/// Why a strategy failed.
enum Failure {
    Server(Error),
    Applier(ApplierError),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Server(error)
    }
}

impl From<ApplierError> for Failure {
    fn from(error: ApplierError) -> Self {
        Self::Applier(error)
    }
}

// The manifest without what only a server may say, its fields under the names they are kept under.
fn plain(manifest: &Value, namespaced: bool) -> Value {
    // Without rules nothing can go wrong.
    let pruned = fields::prune(manifest, None, &[], MANAGER);
    let mut manifest = pruned.map_or_else(|_| manifest.clone(), |pruned| pruned.manifest);
    if let Some(metadata) = owners::metadata(&mut manifest) {
        for name in SERVERS {
            metadata.remove(*name);
        }
        if !namespaced {
            metadata.remove("namespace");
        }
    }
    aliases::resolve(&mut manifest);
    manifest
}

fn presentable(mut object: Value) -> Value {
    if let Some(metadata) = owners::metadata(&mut object) {
        metadata.remove("managedFields");
    }
    object
}

fn hash(manifest: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    manifest.to_string().hash(&mut hasher);
    hasher.finish()
}

// Nothing is touched that the record does not name.
fn unclaimed(object: &ObjectRef) -> ApplierError {
    ApplierError {
        kind: ApplierErrorKind::Refused,
        message: format!("apply {object}: its kind has just been defined; it is tried again"),
    }
}

// Kinds like SubjectAccessReview: they are there, but their objects never are.
fn is_request(object: &ObjectRef) -> bool {
    let ObjectRef { group, kind, .. } = object;
    matches!(
        group.as_str(),
        "authentication.k8s.io" | "authorization.k8s.io"
    ) || group.is_empty() && kind == "Binding"
}

fn conflict(object: &ObjectRef, leader: &WorkId) -> ApplierError {
    ApplierError {
        message: format!(
            "{object} is held by work `{leader}`, which declares other content; hint: \
             declare it in one work only or with the same content in both"
        ),
        kind: ApplierErrorKind::Conflict {
            owner: leader.to_string(),
        },
    }
}

const SERVERS: &[&str] = &[
    "uid",
    "resourceVersion",
    "managedFields",
    "creationTimestamp",
    "generation",
    "selfLink",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

#[cfg(test)]
mod tests;
