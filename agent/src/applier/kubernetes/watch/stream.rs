//! One watch of a kind in a scope: list, then follow, from the start again when the server cannot go on from the last version.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ListParams, ObjectList, Request, WatchParams};
use kube::core::{PartialObjectMeta, WatchEvent};
use kube::{Client, Error};
use link::bundle::manifest::ObjectRef;
use link::error::chain;
use tokio::time::Instant;
use tracing::debug;

use super::index::Scope;
use super::observation::{ObjectEvent, Revision};
use super::tracked::ObjectName;
use crate::applier::kubernetes::Inner;
use crate::applier::kubernetes::resource::Resource;
use crate::applier::kubernetes::server::{ObjectPath, is_forbidden, is_missing, within};

/// A watch of part of a kind.
pub(super) struct Stream {
    inner: Arc<Inner>,
    resource: Arc<Resource>,
    scope: Scope,
    // The latest version that was listed.
    listed: Option<Revision>,
}

/// A stream that cannot go on as it was.
pub(super) struct Ended {
    pub(super) resource: Arc<Resource>,
    pub(super) scope: Scope,
    /// It was read for a while; rights to watch may have been given since.
    pub(super) polled: bool,
}

/// What a list held of what somebody cares about.
#[derive(Default)]
struct Listed {
    names: HashSet<ObjectName>,
    // Of AppliedManifestWorks.
    uids: HashSet<String>,
}

/// Why following stopped.
enum StopReason {
    /// The server ended it in good order, or the connection broke: follow from where it was.
    Paused(String),
    /// Versions were lost: list again.
    Lost,
    /// Not allowed.
    Forbidden,
    Failed(Error),
}

// === impl Stream ===

impl Stream {
    pub(super) fn new(inner: Arc<Inner>, resource: Arc<Resource>, scope: Scope) -> Self {
        Self {
            inner,
            resource,
            scope,
            listed: None,
        }
    }

    /// Watches until it turns out that it may not.
    pub(super) async fn watch(mut self) -> Ended {
        self.follow_while_allowed().await;
        Ended {
            resource: self.resource,
            scope: self.scope,
            polled: false,
        }
    }

    /// Reads the objects one by one for a while.
    pub(super) async fn poll(self) -> Ended {
        for _ in 0..POLLS {
            self.read_all().await;
            tokio::time::sleep(self.inner.poll).await;
        }
        Ended {
            resource: self.resource,
            scope: self.scope,
            polled: true,
        }
    }

    async fn follow_while_allowed(&mut self) {
        let mut backoff = FIRST_RETRY;
        let mut from: Option<String> = None;
        let first = Instant::now();
        loop {
            let began = Instant::now();
            let stop = match from.take() {
                Some(version) => self.follow(version).await,
                None => match self.list().await {
                    Ok(version) => self.follow(version).await,
                    Err(error) if is_forbidden(&error) => StopReason::Forbidden,
                    Err(error) if is_missing(&error) => {
                        self.kind_is_gone();
                        StopReason::Failed(error)
                    }
                    Err(error) => StopReason::Failed(error),
                },
            };
            match stop {
                StopReason::Paused(version) => from = Some(version),
                StopReason::Lost => {}
                StopReason::Forbidden => return,
                StopReason::Failed(error) => {
                    debug!(
                        kind = self.resource.kind, error = %chain(&error),
                        "Lost the watch of {}", self.resource.plural
                    );
                    // A moment without an answer is worth waiting for: a list costs less than reading every object.
                    if first.elapsed() > LONGEST_RETRY {
                        self.inner.index.recheck(&self.resource, &self.scope);
                    }
                }
            }
            if began.elapsed() > LONGEST_RETRY {
                backoff = FIRST_RETRY;
            }
            tokio::time::sleep(jittered(backoff)).await;
            backoff = (backoff * 2).min(LONGEST_RETRY);
        }
    }

    /// Lists in pages and answers with the version to follow from.
    async fn list(&mut self) -> Result<String, Error> {
        let mut params = ListParams::default().limit(PAGE);
        let mut listed = Listed::default();
        loop {
            let request = self.request().list_metadata(&params);
            let request = request.map_err(Error::BuildRequest)?;
            let page: ObjectList<PartialObjectMeta> =
                within(self.client().request(request)).await?;
            let version = page.metadata.resource_version.unwrap_or_default();
            self.expect_progress(version.as_str().into());
            for object in page.items {
                let name = name(&object.metadata);
                let at = object.metadata.resource_version.as_deref();
                let event = ObjectEvent::Listed(at.unwrap_or_default().into());
                if self.note_event(&name, event, Some(&object.metadata)) {
                    listed.names.insert(name);
                }
                if self.inner.is_own_kind(&self.resource) {
                    listed.uids.extend(object.metadata.uid);
                }
            }
            params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                self.miss(&listed, version.as_str().into()).await;
                return Ok(version);
            }
        }
    }

    // Versions go back when the cluster was restored from a backup: nothing that was seen counts then.
    fn expect_progress(&mut self, version: Revision) {
        let went_back = self
            .listed
            .as_ref()
            .is_some_and(|before| before.is_after(&version));
        if went_back {
            self.inner.index.invalidate(&self.resource, &self.scope);
        }
        self.listed = Some(version);
    }

    async fn miss(&self, listed: &Listed, at: Revision) {
        for name in self.inner.index.names(&self.resource, &self.scope) {
            if !listed.names.contains(&name) {
                self.note_event(&name, ObjectEvent::Gone(Some(at.clone())), None);
            }
        }
        if self.inner.is_own_kind(&self.resource) {
            self.inner.miss_applied_works(&listed.uids).await;
        }
    }

    async fn follow(&self, mut version: String) -> StopReason {
        let params = WatchParams::default();
        let request = match self.request().watch_metadata(&params, &version) {
            Ok(request) => request,
            Err(error) => return StopReason::Failed(Error::BuildRequest(error)),
        };
        let events = within(self.client().request_events::<PartialObjectMeta>(request)).await;
        let mut events = match events {
            Ok(events) => Box::pin(events),
            Err(error) => return stop(error, version),
        };
        loop {
            let event = match tokio::time::timeout(SILENCE, events.next()).await {
                Ok(Some(Ok(event))) => event,
                Ok(Some(Err(error))) => return stop(error, version),
                Ok(None) | Err(_) => return StopReason::Paused(version),
            };
            let (object, gone) = match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, false),
                WatchEvent::Deleted(object) => (object, true),
                WatchEvent::Bookmark(bookmark) => {
                    version = bookmark.metadata.resource_version;
                    continue;
                }
                WatchEvent::Error(status) => return stop(Error::Api(status), version),
            };
            let at = object.metadata.resource_version.as_deref();
            version = at.unwrap_or_default().into();
            let at = Revision::from(version.as_str());
            let (name, meta) = (name(&object.metadata), &object.metadata);
            if gone {
                self.note_event(&name, ObjectEvent::Gone(Some(at)), Some(meta));
            } else {
                self.note_event(&name, ObjectEvent::Changed(at), Some(meta));
            }
        }
    }

    async fn read_all(&self) {
        for name in self.inner.index.names(&self.resource, &self.scope) {
            let object = ObjectRef {
                namespace: name.0.clone(),
                name: name.1.clone(),
                ..ObjectRef::default()
            };
            let path = ObjectPath::new(&self.resource, &object);
            match self.inner.server.metadata(&path).await {
                Ok(Some(meta)) => {
                    let at = meta.resource_version.as_deref().unwrap_or_default();
                    self.note_event(&name, ObjectEvent::Changed(at.into()), Some(&meta));
                }
                Ok(None) => {
                    self.note_event(&name, ObjectEvent::Gone(None), None);
                }
                Err(error) if is_missing(&error) => {
                    self.note_event(&name, ObjectEvent::Gone(None), None);
                }
                Err(error) => {
                    debug!(
                        kind = self.resource.kind, error = %chain(&error),
                        "Could not read {}/{}", name.0, name.1
                    );
                    self.inner.index.recheck(&self.resource, &self.scope);
                }
            }
        }
    }

    fn kind_is_gone(&self) {
        for name in self.inner.index.names(&self.resource, &self.scope) {
            self.note_event(&name, ObjectEvent::Gone(None), None);
        }
    }

    // Whether any work is interested in the object.
    fn note_event(&self, name: &ObjectName, event: ObjectEvent, meta: Option<&ObjectMeta>) -> bool {
        if let Some(meta) = meta {
            self.inner.note_own_kinds(&self.resource, meta, &event);
            if !matches!(event, ObjectEvent::Gone(_)) {
                self.inner.index.note_metadata(&self.resource, name, meta);
            }
        }
        let owners = meta.and_then(|meta| meta.owner_references.as_deref());
        let owners = meta.map(|_| owners.unwrap_or_default());
        self.inner
            .index
            .note_event(&self.resource, name, event, owners)
    }

    fn request(&self) -> Request {
        Request::new(match &self.scope {
            Scope::Namespace(namespace) if !namespace.is_empty() => {
                self.resource.path(Some(namespace))
            }
            _ => self.resource.path(None),
        })
    }

    fn client(&self) -> &Client {
        self.inner.server.client()
    }
}

fn stop(error: Error, version: String) -> StopReason {
    match error {
        Error::Api(status) if status.code == 410 => StopReason::Lost,
        error if is_forbidden(&error) => StopReason::Forbidden,
        Error::Api(_) => StopReason::Failed(error),
        // The connection: what came before counts.
        error => {
            debug!(error = %chain(&error), "Lost the connection of a watch");
            StopReason::Paused(version)
        }
    }
}

fn name(meta: &ObjectMeta) -> ObjectName {
    (
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    )
}

// Between the delay and one and a half times it, so that streams lost together do not come back together.
fn jittered(delay: Duration) -> Duration {
    let [random, ..] = uuid::Uuid::new_v4().into_bytes();
    delay + delay * u32::from(random) / 512
}

// Then a watch is tried again.
const POLLS: usize = 20;
// Metadata may be large: `kubectl apply` keeps whole manifests in an annotation.
const PAGE: u32 = 200;
// A watch lasts 290 s by default, and bookmarks come in between.
const SILENCE: Duration = Duration::from_secs(300);
const FIRST_RETRY: Duration = Duration::from_millis(100);
pub(super) const LONGEST_RETRY: Duration = Duration::from_secs(30);
