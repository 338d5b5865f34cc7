//! What is asked of the API server about one kind in one namespace: a deadline for each request, and answers as
//! small as the server gives them (metadata, wherever that is enough).

use std::borrow::Cow;
use std::future::Future;
use std::time::Duration;

use futures_util::TryFutureExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, ObjectMeta};
use kube::Client;
use kube::api::{
    DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams, Preconditions,
};
use kube::core::Request;
use kube::core::request::Error as RequestError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::StoreError;
use crate::work::refusal::{ApiRefusal, LARGEST};

/// One kind in one namespace.
pub(super) struct Remote {
    client: Client,
    path: String,
    kind: Cow<'static, str>,
    namespace: String,
}

/// Any object, of which only the metadata is looked at.
#[derive(Deserialize)]
pub(super) struct Metadata {
    #[serde(default)]
    pub(super) metadata: ObjectMeta,
}

/// What a server answers to a deletion: a status when the object is gone.
#[derive(Deserialize)]
struct Deleted {
    kind: String,
    #[serde(default)]
    metadata: ObjectMeta,
}

/// A part of a listing.
#[derive(Deserialize)]
pub(super) struct Page<T> {
    metadata: ListMeta,
    pub(super) items: Vec<T>,
    // Of its text.
    #[serde(skip)]
    bytes: usize,
}

// === impl Remote ===

impl Remote {
    pub(super) fn new<K: kube::Resource<DynamicType = ()>>(
        client: Client,
        namespace: &str,
    ) -> Self {
        Self {
            client,
            path: K::url_path(&(), Some(namespace)),
            kind: K::kind(&()),
            namespace: namespace.into(),
        }
    }

    /// The client, for watches.
    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    /// The namespace.
    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// An object as text, for messages.
    pub(super) fn object(&self, name: &str) -> String {
        format!("{} `{}/{name}`", self.kind, self.namespace)
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, name: &str) -> Result<T, StoreError> {
        let request = self.request().get(name, &GetParams::default());
        let asked = request.map(|request| self.client.request_text(request));
        self.answer("read", name, asked).await
    }

    pub(super) async fn metadata(&self, name: &str) -> Result<ObjectMeta, StoreError> {
        let request = self.request().get_metadata(name, &GetParams::default());
        let asked = request.map(|request| self.client.request_text(request));
        self.answer("read", name, asked)
            .await
            .map(|Metadata { metadata }| metadata)
    }

    pub(super) async fn create(
        &self,
        name: &str,
        object: &impl Serialize,
    ) -> Result<ObjectMeta, StoreError> {
        let operation = "create";
        let body = serde_json::to_vec(object)
            .map_err(|error| self.refused(operation, name, ApiRefusal::Unreadable(error)))?;
        self.fits(operation, name, body.len())?;
        let request = self.request().create(&PostParams::default(), body);
        let asked = request.map(|request| self.client.request_text(only_metadata(request)));
        self.answer(operation, name, asked)
            .await
            .map(|Metadata { metadata }| metadata)
    }

    /// Merges a document into an object.
    pub(super) async fn merge(
        &self,
        name: &str,
        document: &Value,
    ) -> Result<ObjectMeta, StoreError> {
        self.merge_at(&self.request(), "change", name, name, document)
            .await
    }

    /// Merges a document with a `status` into the status of an object.
    pub(super) async fn merge_status(
        &self,
        name: &str,
        document: &Value,
    ) -> Result<ObjectMeta, StoreError> {
        // The library has no request for the metadata of a subresource; its path is that of the object and its name.
        let request = Request::new(format!("{}/{name}", self.path));
        self.merge_at(&request, "write the status of", name, "status", document)
            .await
    }

    /// Does the steps of a JSON patch, all or none.
    pub(super) async fn patch(
        &self,
        name: &str,
        steps: &[Value],
    ) -> Result<ObjectMeta, StoreError> {
        let params = PatchParams::default();
        let request = self
            .request()
            .patch_metadata(name, &params, &Patch::Merge(steps));
        let Metadata { metadata } = self.send_patch(name, request).await?;
        Ok(metadata)
    }

    /// The same; answers with the whole object as it is then, which spares reading it.
    pub(super) async fn patch_whole<T: DeserializeOwned>(
        &self,
        name: &str,
        steps: &[Value],
    ) -> Result<T, StoreError> {
        let params = PatchParams::default();
        let request = self.request().patch(name, &params, &Patch::Merge(steps));
        self.send_patch(name, request).await
    }

    async fn send_patch<T: DeserializeOwned>(
        &self,
        name: &str,
        request: Result<http::Request<Vec<u8>>, RequestError>,
    ) -> Result<T, StoreError> {
        let operation = "change";
        if let Ok(request) = &request {
            self.fits(operation, name, request.body().len())?;
        }
        let asked = request.map(|mut request| {
            // The library's own JSON patch wants a crate of its own; the two differ in nothing but this header.
            if let Ok(json_patch) = JSON_PATCH.parse() {
                request.headers_mut().insert("content-type", json_patch);
            }
            self.client.request_text(request)
        });
        self.answer(operation, name, asked).await
    }

    /// Deletes the object with this uid; answers with its metadata while finalizers keep it.
    pub(super) async fn delete(
        &self,
        name: &str,
        uid: Option<String>,
    ) -> Result<Option<ObjectMeta>, StoreError> {
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid,
                resource_version: None,
            }),
            ..DeleteParams::background()
        };
        let request = self.request().delete(name, &params);
        let asked = request.map(|request| self.client.request_text(only_metadata(request)));
        let Deleted { kind, metadata } = self.answer("delete", name, asked).await?;
        Ok((kind != "Status").then_some(metadata))
    }

    /// One page of a listing.
    pub(super) async fn page<T: DeserializeOwned>(
        &self,
        params: &ListParams,
    ) -> Result<Page<T>, StoreError> {
        let request = self.request().list(params);
        let mut bytes = 0;
        let asked = request.map(|request| {
            let asked = self.client.request_text(request);
            asked.inspect_ok(|text| bytes = text.len())
        });
        let page: Page<T> = self.answer("list", "*", asked).await?;
        Ok(Page { bytes, ..page })
    }

    async fn merge_at(
        &self,
        request: &Request,
        operation: &'static str,
        name: &str,
        last: &str,
        document: &Value,
    ) -> Result<ObjectMeta, StoreError> {
        let request =
            request.patch_metadata(last, &PatchParams::default(), &Patch::Merge(document));
        let asked = request.map(|request| self.client.request_text(request));
        self.answer(operation, name, asked)
            .await
            .map(|Metadata { metadata }| metadata)
    }

    fn request(&self) -> Request {
        Request::new(&*self.path)
    }

    fn fits(&self, operation: &'static str, name: &str, bytes: usize) -> Result<(), StoreError> {
        if bytes > LARGEST {
            return Err(self.refused(operation, name, ApiRefusal::TooLarge { bytes }));
        }
        Ok(())
    }

    // The library's own decoding logs what it cannot read, which may be a Secret.
    async fn answer<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        name: &str,
        asked: Result<impl Future<Output = kube::Result<String>>, RequestError>,
    ) -> Result<T, StoreError> {
        let answered = async {
            let asked = asked.map_err(kube::Error::BuildRequest)?;
            let text = tokio::time::timeout(PATIENCE, asked)
                .await
                .map_err(|_| ApiRefusal::Slow(PATIENCE))??;
            serde_json::from_str(&text).map_err(ApiRefusal::Unreadable)
        };
        answered
            .await
            .map_err(|refusal| self.refused(operation, name, refusal))
    }

    fn refused(&self, operation: &'static str, name: &str, source: ApiRefusal) -> StoreError {
        StoreError::Api {
            operation,
            object: self.object(name),
            source,
        }
    }
}

// === impl Page ===

impl<T> Page<T> {
    /// How many objects like these have so many bytes.
    pub(super) fn next_limit(&self, bytes: usize, most: usize) -> u32 {
        let each = self.bytes / self.items.len().max(1);
        let limit = (bytes / each.max(1)).clamp(1, most);
        u32::try_from(limit).unwrap_or(1)
    }

    /// Where the next page begins, unless this was the last.
    pub(super) fn next(&mut self) -> Option<String> {
        self.metadata
            .continue_
            .take()
            .filter(|token| !token.is_empty())
    }
}

fn only_metadata(mut request: http::Request<Vec<u8>>) -> http::Request<Vec<u8>> {
    if let Ok(metadata) = ONLY_METADATA.parse() {
        request.headers_mut().insert("accept", metadata);
    }
    request
}

/// `None` instead of "there is no such object".
pub(super) fn optional<T>(answer: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match answer {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.refusal().is_some_and(ApiRefusal::is_missing_object) => Ok(None),
        Err(error) => Err(error),
    }
}

const ONLY_METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
const JSON_PATCH: &str = "application/json-patch+json";
// An API server gives up after 60 s; half of that is more than any of these small requests takes.
const PATIENCE: Duration = Duration::from_secs(30);
