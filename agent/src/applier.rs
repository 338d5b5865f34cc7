//! The interface to what manifests are applied to.
//!
//! An applier owns three hard things so that reconcile need not know how they are done: *ownership* (which works
//! hold which object, recorded durably before an object is touched), *conflicts* (two works that want different
//! content for one object), and *watching* (reporting which works have to be reconciled again). On Kubernetes the record is
//! the AppliedManifestWork, the owner its owner reference; in a directory it is a file in the state directory.
//!
//! Every call concerns one object and fails alone: partial failure is the normal case.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use link::bundle::manifest::ObjectRef;
use link::bundle::{ServiceAccount, UpdateStrategy};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::work_id::WorkId;

pub mod directory;
mod fingerprint;
pub mod kubernetes;
pub(crate) mod ownership;

pub use fingerprint::Fingerprint;

pub use crate::change::Change;

/// What the record of an owner carries for those who look at a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordMetadata {
    /// Labels of the source.
    pub labels: BTreeMap<String, String>,
    /// The name that people know the bundle by, where it is not the owner's id.
    pub bundle_name: Option<String>,
}

/// Where manifests are applied.
pub trait Applier: Send + Sync + 'static {
    /// Records durably that `owner` is about to hold exactly `declared`, and answers with what it held before and
    /// does not declare any more. Those stay recorded until [`Applier::release`] and [`Applier::settle`].
    ///
    /// # Errors
    /// When the record cannot be written; nothing may be applied then.
    fn claim(
        &self,
        owner: &WorkId,
        declared: &[Claim],
    ) -> impl Future<Output = Result<Vec<HeldObject>, ApplierError>> + Send;

    /// Makes sure that a work has a record for others to see although it has just claimed nothing, because it only
    /// reads. The record goes once the work settles after it claimed again and did not register.
    ///
    /// # Errors
    /// When the record cannot be written.
    fn register(&self, owner: &WorkId) -> impl Future<Output = Result<(), ApplierError>> + Send {
        let _ = owner;
        std::future::ready(Ok(()))
    }

    /// Makes one claimed object what its manifest says.
    ///
    /// # Errors
    /// For this object only; other objects go on.
    fn apply(
        &self,
        owner: &WorkId,
        desired: Desired<'_>,
    ) -> impl Future<Output = Result<Applied, ApplierError>> + Send;

    /// Who else, by name, holds fields of an object that differ from its manifest right now; nobody when that cannot
    /// be determined.
    fn conflicting_managers(
        &self,
        desired: Desired<'_>,
    ) -> impl Future<Output = Vec<String>> + Send {
        let _ = desired;
        std::future::ready(Vec::new())
    }

    /// Reads an object; `None` when there is none.
    ///
    /// # Errors
    /// When that cannot be determined.
    fn observe(
        &self,
        object: &ObjectRef,
    ) -> impl Future<Output = Result<Option<Value>, ApplierError>> + Send;

    /// Gives up one held object: removes it unless `mode` spares it or another work holds it too. An object that
    /// was replaced by somebody else's since (another uid) is not touched.
    ///
    /// # Errors
    /// For this object only.
    fn release(
        &self,
        owner: &WorkId,
        held: &HeldObject,
        mode: Release,
    ) -> impl Future<Output = Result<Released, ApplierError>> + Send;

    /// Records durably what was applied and released since the last time; an owner that holds nothing is forgotten.
    ///
    /// # Errors
    /// When the record cannot be written; applying and releasing again is harmless.
    fn settle(&self, owner: &WorkId) -> impl Future<Output = Result<(), ApplierError>> + Send;

    /// Sets what the record of an owner that holds nothing yet is to carry.
    fn describe(&self, _owner: &WorkId, _metadata: RecordMetadata) {}

    /// Whether a record says that `owner` holds something, or is about to.
    fn owns(&self, owner: &WorkId) -> bool;

    /// Takes over what an earlier process saw of the objects of a work when it looked last and left nothing to be done,
    /// with the number of objects claimed. Whether [`Applier::watch`] will tell of everything that has changed since;
    /// otherwise the work has to be looked at.
    fn resume(&self, _owner: &WorkId, _claims: usize, _seen: &[(ObjectRef, Fingerprint)]) -> bool {
        false
    }

    /// Sends every change that somebody else made to held objects until the receiver is gone or the future is
    /// dropped. When the channel is full it waits: a change is a hint that may come late but not be lost.
    fn watch(&self, changes: mpsc::Sender<Change>) -> impl Future<Output = ()> + Send;

    /// Asks about kinds that are not known yet, so that [`Applier::identify`] can tell. What cannot be learnt now stays
    /// unknown.
    fn learn(&self, _declared: &[ObjectRef]) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// Which object a manifest with these coordinates declares, as far as the applier knows.
    fn identify(&self, declared: &ObjectRef) -> ObjectIdentity {
        ObjectIdentity::of(declared.clone(), declared.plural_guess())
    }

    /// The plural resource name of an object, for status and for matching configurations.
    fn resource(&self, object: &ObjectRef) -> String {
        self.identify(object).resource
    }
}

/// Which object a manifest declares. Everything behind it, from claims to status, goes by this and not by the text of
/// the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectIdentity {
    /// The coordinates, without a namespace where one means nothing.
    pub object: ObjectRef,
    /// Plural resource name.
    pub resource: String,
    /// The same for all coordinates of one object, whatever their version. `None` while the object has no location in the
    /// target: its kind is not known, or its namespace is missing.
    pub key: Option<String>,
}

/// One object a work declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Which object.
    pub object: ObjectRef,
    /// SHA-256 of the manifest; `None` when the work does not insist on it ([`Strategy::insists_on_content`]).
    pub content: Option<String>,
}

/// One object a work holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldObject {
    /// API group.
    pub group: String,
    /// API version it was applied with.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// Namespace or empty.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Uid of the applied object, where the applier gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

/// One object as its work wants it.
#[derive(Clone, Copy, Debug)]
pub struct Desired<'a> {
    /// Which object.
    pub object: &'a ObjectRef,
    /// What it should be.
    pub manifest: &'a Value,
    /// How to get there.
    pub strategy: &'a Strategy,
    /// Whose rights count; `None` means the agent's own.
    pub executor: Option<&'a ServiceAccount>,
    /// Whether the work removes the object when it gives it up; the executor must be allowed that too.
    pub may_remove: bool,
}

/// How an object is applied (docs/MAESTRO.md §6.4).
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Strategy {
    /// Make it what the manifest says in the applier's best way; what a work gets that names no strategy.
    #[default]
    Default,
    /// Merge the manifest into what is there, as the Go agent does.
    Update,
    /// Create it when missing, leave it alone otherwise.
    CreateOnly,
    /// Server-side apply with its options; an applier without field ownership treats it as `Update`.
    ServerSideApply(UpdateStrategy),
    /// Touch nothing, only observe.
    ReadOnly,
}

/// An object that is now as its work wants it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    /// Whether anything was written.
    pub changed: bool,
    /// The object as it is now, when the applier learnt it on the way.
    pub observed: Option<Value>,
    /// What it looked like, for [`Applier::resume`].
    pub fingerprint: Option<Fingerprint>,
}

/// What happens to an object that is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// It goes, unless another work holds it.
    Remove,
    /// It stays without an owner.
    Orphan,
}

/// What became of an object that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Released {
    /// It is not there any more.
    Gone,
    /// It was left in place: orphaned, held by another work, or not ours any more.
    Left,
    /// It is terminating, and what it waits for, as text; ask again.
    Pending(String),
}

/// Why an object could not be applied, read or removed. The message ends up in a condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApplierError {
    /// What kind of refusal it is.
    pub kind: ApplierErrorKind,
    /// A sentence that names operation, object and cause.
    pub message: String,
}

/// Called for a work's object that could not be brought to what the work declares, with the reason. Must not block.
pub type OnTrouble = Box<dyn Fn(&WorkId, &ObjectRef, &ApplierError) + Send + Sync>;

/// Kinds of refusals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplierErrorKind {
    /// Another owner or manager wants other content.
    Conflict {
        /// Who, as far as it is known.
        owner: String,
    },
    /// The agent may not do it.
    Forbidden,
    /// The executor may not do it (docs/MAESTRO.md §6.5); it is tried again after [`EXECUTOR_RETRY`].
    NotAllowed,
    /// The target does not know such objects (yet).
    UnknownKind,
    /// The namespace that the object is to be in is not there (yet).
    NoNamespace,
    /// Refused for now by something in between: an admission webhook, a namespace that is terminating.
    Refused,
    /// The target cannot hold such an object; only another manifest helps.
    Invalid,
    /// The `ignoreFields` of the strategy cannot be used; only another configuration helps.
    IgnoreFields,
    /// The target does not answer or is broken.
    Unavailable,
}

// === impl ObjectIdentity ===

impl ObjectIdentity {
    /// The object that coordinates name as they stand.
    pub fn of(object: ObjectRef, resource: String) -> Self {
        Self {
            key: Some(key(&object)),
            object,
            resource,
        }
    }
}

/// The version is no part of it: `v1` and `v1beta1` are one object.
pub(crate) fn key(object: &ObjectRef) -> String {
    let ObjectRef {
        group,
        kind,
        namespace,
        name,
        ..
    } = object;
    format!("{group}/{kind}/{namespace}/{name}")
}

// === impl ApplierError ===

impl ApplierError {
    /// Whether the same call may succeed without another manifest. A conflict is not retried by backoff: the
    /// applier wakes the loser when the winner goes.
    pub fn is_retryable(&self) -> bool {
        match self.kind {
            ApplierErrorKind::Unavailable
            | ApplierErrorKind::Forbidden
            | ApplierErrorKind::NotAllowed
            | ApplierErrorKind::UnknownKind
            | ApplierErrorKind::NoNamespace
            | ApplierErrorKind::Refused => true,
            ApplierErrorKind::Conflict { .. }
            | ApplierErrorKind::Invalid
            | ApplierErrorKind::IgnoreFields => false,
        }
    }
}

// === impl HeldObject ===

impl HeldObject {
    /// The held object's coordinates.
    pub fn object(&self) -> ObjectRef {
        ObjectRef {
            group: self.group.clone(),
            version: self.version.clone(),
            kind: self.kind.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }
}

impl From<&ObjectRef> for HeldObject {
    fn from(object: &ObjectRef) -> Self {
        Self {
            group: object.group.clone(),
            version: object.version.clone(),
            kind: object.kind.clone(),
            namespace: object.namespace.clone(),
            name: object.name.clone(),
            uid: None,
        }
    }
}

// === impl Strategy ===

impl Strategy {
    /// The name under which fields are applied.
    pub fn field_manager(&self) -> &str {
        let options = match self {
            Self::ServerSideApply(strategy) => strategy.server_side_apply.as_ref(),
            _ => None,
        };
        match options.map(|options| options.field_manager.as_str()) {
            None | Some("") => FIELD_MANAGER,
            Some(named) => named,
        }
    }

    /// Whether a work insists on the content of the object as a whole. One that applies as a field manager of its
    /// own shares the object field by field, and the server judges.
    pub fn insists_on_content(&self) -> bool {
        match self {
            Self::ReadOnly | Self::CreateOnly => false,
            Self::Default | Self::Update => true,
            Self::ServerSideApply(_) => self.field_manager() == FIELD_MANAGER,
        }
    }
}

impl From<Option<&UpdateStrategy>> for Strategy {
    fn from(strategy: Option<&UpdateStrategy>) -> Self {
        match strategy.map(|strategy| (strategy.kind.as_str(), strategy)) {
            Some(("CreateOnly", _)) => Self::CreateOnly,
            Some(("ServerSideApply", strategy)) => Self::ServerSideApply(strategy.clone()),
            Some(("ReadOnly", _)) => Self::ReadOnly,
            Some(("Update", _)) => Self::Update,
            _ => Self::Default,
        }
    }
}

/// The name under which the agent writes fields unless a work names another; the Go agent's.
pub const FIELD_MANAGER: &str = "work-agent";
/// When an object that an executor may not apply is tried again (docs/MAESTRO.md §6.5).
pub const EXECUTOR_RETRY: Duration = Duration::from_secs(60);
