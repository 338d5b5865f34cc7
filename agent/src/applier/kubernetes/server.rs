//! Single requests to the API server: objects as JSON at paths that discovery knows, each bounded in time.

use std::future::Future;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{
    DeleteParams, GetParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy,
    Request,
};
use kube::core::PartialObjectMeta;
use kube::{Client, Error};
use link::bundle::manifest::ObjectRef;
use serde_json::{Value, json};

use super::resource::Resource;
pub(super) use crate::applier::FIELD_MANAGER as MANAGER;
use crate::cluster::is_not_served;

mod yaml;

/// The API server.
#[derive(Clone)]
pub(super) struct Server(Client);

/// Where one object is.
#[derive(Clone, Debug)]
pub(super) struct ObjectPath {
    collection: String,
    name: String,
}

// === impl Server ===

impl Server {
    pub(super) fn new(client: Client) -> Self {
        Self(client)
    }

    /// The client, for lists and watches.
    pub(super) fn client(&self) -> &Client {
        &self.0
    }

    /// Reads an object; `None` when it is not there. That its kind is not served in this version is an error, because the
    /// object may be there in another one.
    pub(super) async fn get(&self, path: &ObjectPath) -> Result<Option<Value>, Error> {
        let request = path.request().get(&path.name, &GetParams::default());
        found(within(self.0.request(request.map_err(unusable)?)).await)
    }

    /// Reads an object's metadata; as [`get`](Self::get) does.
    pub(super) async fn metadata(&self, path: &ObjectPath) -> Result<Option<ObjectMeta>, Error> {
        let params = GetParams::default();
        let request = path.request().get_metadata(&path.name, &params);
        let read = within(self.0.request(request.map_err(unusable)?)).await;
        Ok(found(read)?.map(|object: PartialObjectMeta| object.metadata))
    }

    pub(super) async fn create(&self, path: &ObjectPath, object: &Value) -> Result<Value, Error> {
        let request = path.request().create(&post(), bytes(object)?);
        within(self.0.request(request.map_err(unusable)?)).await
    }

    pub(super) async fn replace(&self, path: &ObjectPath, object: &Value) -> Result<Value, Error> {
        let request = path.request().replace(&path.name, &post(), bytes(object)?);
        within(self.0.request(request.map_err(unusable)?)).await
    }

    /// Server-side apply.
    pub(super) async fn apply(
        &self,
        path: &ObjectPath,
        object: &Value,
        manager: &str,
        force: bool,
    ) -> Result<Value, Error> {
        let params = PatchParams {
            force,
            ..PatchParams::apply(manager)
        };
        let patch = Patch::Apply(object);
        let request = path.request().patch(&path.name, &params, &patch);
        let request = request.map_err(unusable)?.map(yaml::safe);
        within(self.0.request(request)).await
    }

    /// JSON merge patch.
    pub(super) async fn merge(&self, path: &ObjectPath, patch: &Value) -> Result<Value, Error> {
        self.patch(path, &ours(), &Patch::Merge(patch)).await
    }

    /// JSON merge patch of the status.
    pub(super) async fn merge_status(
        &self,
        path: &ObjectPath,
        patch: &Value,
    ) -> Result<Value, Error> {
        let patch = Patch::Merge(patch);
        let request = path
            .request()
            .patch_subresource("status", &path.name, &ours(), &patch);
        within(self.0.request(request.map_err(unusable)?)).await
    }

    /// Begins to delete the object with this uid, what depends on it later; answers with what the server says.
    pub(super) async fn delete(&self, path: &ObjectPath, uid: &str) -> Result<Value, Error> {
        self.delete_version(path, uid, None).await
    }

    /// The same, of an object that is still in this version, if one is given.
    pub(super) async fn delete_version(
        &self,
        path: &ObjectPath,
        uid: &str,
        version: Option<&str>,
    ) -> Result<Value, Error> {
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: Some(Preconditions {
                uid: Some(uid.into()),
                resource_version: version.map(Into::into),
            }),
            ..DeleteParams::default()
        };
        let request = path.request().delete(&path.name, &params);
        within(self.0.request(request.map_err(unusable)?)).await
    }

    /// Changes the owners of an object: `change` gets those it has and answers with those it should have, or with
    /// nothing when they are right. Answers with the object if it was changed.
    pub(super) async fn change_owners(
        &self,
        path: &ObjectPath,
        change: impl Fn(&[OwnerReference]) -> Option<Vec<OwnerReference>>,
    ) -> Result<Option<Value>, Error> {
        let mut attempt = 1;
        loop {
            let Some(meta) = self.metadata(path).await? else {
                return Ok(None);
            };
            let owners = meta.owner_references.as_deref().unwrap_or_default();
            let Some(owners) = change(owners) else {
                return Ok(None);
            };
            match self.set_owners(path, &meta, &owners).await {
                Err(error) if is_conflict(&error) && attempt < ATTEMPTS => attempt += 1,
                Err(error) if is_missing(&error) && !is_not_served(&error) => return Ok(None),
                changed => return changed.map(Some),
            }
        }
    }

    /// Sets the owners of an object that is still what `meta` says.
    pub(super) async fn set_owners(
        &self,
        path: &ObjectPath,
        meta: &ObjectMeta,
        owners: &[OwnerReference],
    ) -> Result<Value, Error> {
        let patch = json!({"metadata": {
            "uid": meta.uid,
            "resourceVersion": meta.resource_version,
            "ownerReferences": owners,
        }});
        self.merge(path, &patch).await
    }

    async fn patch(
        &self,
        path: &ObjectPath,
        params: &PatchParams,
        patch: &Patch<&Value>,
    ) -> Result<Value, Error> {
        let request = path.request().patch(&path.name, params, patch);
        within(self.0.request(request.map_err(unusable)?)).await
    }
}

// === impl ObjectPath ===

impl ObjectPath {
    pub(super) fn new(resource: &Resource, object: &ObjectRef) -> Self {
        let namespace = resource.namespaced.then_some(object.namespace.as_str());
        Self {
            collection: resource.path(namespace),
            name: object.name.clone(),
        }
    }

    fn request(&self) -> Request {
        Request::new(self.collection.as_str())
    }
}

/// Bounds a request in time.
pub(super) async fn within<T>(request: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(TIMEOUT, request)
        .await
        .unwrap_or_else(|_| {
            let seconds = TIMEOUT.as_secs();
            let silent = format!("the API server did not answer within {seconds} s");
            Err(Error::Service(silent.into()))
        })
}

/// Whether the object, or its kind, is not there.
pub(super) fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 404)
}

/// Whether the server keeps no objects of the kind: it only answers when one is created.
pub(super) fn is_not_kept(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 405)
}

/// Whether the server never lets the object go, whoever asks: its own namespaces.
pub(super) fn is_immortal(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 403 && status.message.contains(IMMORTAL))
}

/// Whether somebody wrote first, or the object is there already, or is another one than the uid says.
pub(super) fn is_conflict(error: &Error) -> bool {
    let Error::Api(status) = error else {
        return false;
    };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let mut fields = causes.map(|cause| cause.field.as_str());
    // A patch with the uid of the object's predecessor counts as changing it.
    status.code == 409 || status.code == 422 && fields.any(|field| field == "metadata.uid")
}

/// Whether the agent may not do it.
pub(super) fn is_forbidden(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 403)
}

fn found<T>(read: Result<T, Error>) -> Result<Option<T>, Error> {
    match read {
        Err(error) if is_missing(&error) && !is_not_served(&error) => Ok(None),
        read => read.map(Some),
    }
}

fn post() -> PostParams {
    PostParams {
        field_manager: Some(MANAGER.into()),
        ..PostParams::default()
    }
}

fn ours() -> PatchParams {
    PatchParams {
        field_manager: Some(MANAGER.into()),
        ..PatchParams::default()
    }
}

fn unusable(error: kube::core::request::Error) -> Error {
    Error::BuildRequest(error)
}

fn bytes(object: &Value) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(object).map_err(Error::SerdeError)
}

// The message of the admission plugin NamespaceLifecycle.
const IMMORTAL: &str = "this namespace may not be deleted";
/// How long one request may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);
/// How often a write is repeated that somebody else's came before.
pub(super) const ATTEMPTS: usize = 5;
