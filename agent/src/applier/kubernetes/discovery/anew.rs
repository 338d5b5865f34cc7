//! A kind whose version is not served any more: its objects are there as long as any other version serves them, so it is
//! looked up anew before anybody says that they are gone.
//!
//! A CustomResourceDefinition is asked first: it says at once what the lists of groups and versions say a moment later.

use std::sync::{Arc, PoisonError};

use http::Request;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIGroup;
use kube::Error;
use link::bundle::manifest::ObjectRef;
use serde_json::Value;
use tokio::time::Instant;

use super::{DEFINING, Discovery, PATIENCE, STEP, in_group, lock, recent};
use crate::applier::kubernetes::explain::explain;
use crate::applier::kubernetes::resource::{DEFINITIONS, DEFINITIONS_GROUP, Resource, api_version};
use crate::applier::kubernetes::server::{is_forbidden, is_missing, within};
use crate::applier::{ApplierError, ApplierErrorKind};
use crate::cluster::is_not_served;

/// What the definition of a kind says.
enum DefinitionState {
    /// There is none, or it may not be read.
    Unknown,
    /// It is there, and lists its versions.
    Read { serves: bool },
}

impl Discovery {
    /// Forgets a kind in the version that turned out not to be served any more; others may be.
    pub(crate) fn forget(&self, lost: &Resource) {
        self.remember_plural(lost);
        if let Some(resources) = self.write().get_mut(&lost.api_version()) {
            resources.retain(|known| **known != *lost);
        }
    }

    /// Forgets a kind whose definition was removed.
    pub(crate) fn forget_kind(&self, group: &str, plural: &str) {
        for resources in self.write().values_mut() {
            resources.retain(|known| known.group != group || known.plural != plural);
        }
    }

    /// A kind by which an object can be reached, looked for in every version. It is none of `lost`, which have just turned
    /// out not to be served. `None` when nothing serves the object.
    ///
    /// # Errors
    /// When that cannot be determined: the server cannot be asked, or does not agree with itself.
    pub(crate) async fn serving_anew(
        &self,
        object: &ObjectRef,
        lost: &[Arc<Resource>],
    ) -> Result<Option<Arc<Resource>>, ApplierError> {
        let group = &object.group;
        let _lock = self.locks.of(group).await;
        if let Some(known) = self.serving_otherwise(object, lost) {
            return Ok(Some(known));
        }
        // Somebody may just have asked for another kind of the group.
        if lost.is_empty() && recent(&self.asked, group, PATIENCE) {
            return Ok(None);
        }
        let failed = |error| explain(&error, "look up the kind of", object);
        let deadline = Instant::now() + DEFINING;
        loop {
            let definition = self.read_definition(object).await.map_err(failed)?;
            if let DefinitionState::Unknown = definition {
                self.read_group(group).await.map_err(failed)?;
            }
            // Where objects are answered and not kept no path leads to one, however long the kind is listed.
            let listed = lost.iter().any(|it| it.watchable && self.is_listed(it));
            if let Some(found) = self.serving_otherwise(object, lost) {
                return Ok(Some(found));
            }
            match definition {
                DefinitionState::Read { serves: false } => return Err(self.hidden(object)),
                // The lists come after the fact.
                _ if listed && Instant::now() < deadline => tokio::time::sleep(STEP).await,
                _ if listed => return Err(unsettled(object)),
                _ => {
                    lock(&self.asked).insert(group.clone(), Instant::now());
                    return Ok(None);
                }
            }
        }
    }

    fn serving_otherwise(
        &self,
        object: &ObjectRef,
        lost: &[Arc<Resource>],
    ) -> Option<Arc<Resource>> {
        lost.iter().for_each(|lost| self.forget(lost));
        self.serving(object)
    }

    fn is_listed(&self, lost: &Resource) -> bool {
        self.search(&lost.group, &lost.version, |known| *known == *lost)
            .is_some()
    }

    /// Takes over what the definition of a kind says.
    async fn read_definition(&self, object: &ObjectRef) -> Result<DefinitionState, Error> {
        let group = &object.group;
        // Others belong to Kubernetes itself.
        if !group.contains('.') {
            return Ok(DefinitionState::Unknown);
        }
        let plural = self.plural(object);
        let path = format!("/apis/{DEFINITIONS_GROUP}/v1/{DEFINITIONS}/{plural}.{group}");
        let spec = match self.get::<Value>(&path).await {
            Ok(definition) => definition["spec"].clone(),
            Err(error) if is_missing(&error) || is_forbidden(&error) => {
                return Ok(DefinitionState::Unknown);
            }
            Err(error) => return Err(error),
        };
        let kind = spec["names"]["kind"].as_str().unwrap_or_default();
        let mut serves = false;
        for version in spec["versions"].as_array().into_iter().flatten() {
            let resource = Arc::new(Resource {
                group: group.clone(),
                version: version["name"].as_str().unwrap_or_default().into(),
                kind: kind.into(),
                plural: plural.clone(),
                namespaced: spec["scope"] == "Namespaced",
                watchable: true,
            });
            let mut versions = self.write();
            let resources = versions.entry(resource.api_version()).or_default();
            resources.retain(|known| known.plural != plural);
            if version["served"] == true {
                resources.push(resource);
                serves = true;
            }
        }
        Ok(DefinitionState::Read { serves })
    }

    /// Reads every version of a group: those that the server lists, and those that it listed before.
    async fn read_group(&self, group: &str) -> Result<(), Error> {
        // That of the core group never changes.
        if group.is_empty() {
            return Ok(());
        }
        let listed = match self.get::<APIGroup>(&format!("/apis/{group}")).await {
            Ok(found) => found.versions,
            Err(error) if is_not_served(&error) => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut versions: Vec<String> = listed.into_iter().map(|it| it.version).collect();
        {
            let known = self.versions.read().unwrap_or_else(PoisonError::into_inner);
            let of_group =
                |it: &String| Some(it.strip_prefix(group)?.strip_prefix('/')?.to_owned());
            versions.extend(known.keys().filter_map(of_group));
        }
        versions.sort();
        versions.dedup();
        for version in &versions {
            self.read_version(group, version).await?;
        }
        Ok(())
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let request = Request::get(path).body(Vec::new());
        let request = request.map_err(Error::HttpError)?;
        within(self.client.request(request)).await
    }

    /// The plural of an object's kind, also of one that is not served any more.
    fn plural(&self, object: &ObjectRef) -> String {
        let (group, kind) = (&object.group, &object.kind);
        let known = self.anywhere(|known| known.group == *group && known.kind == *kind);
        let known = known.map(|known| known.plural.clone());
        let plurals = self.plurals.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.or_else(|| plurals.get(&in_group(group, kind)).cloned());
        known.unwrap_or_else(|| object.plural_guess())
    }

    pub(super) fn remember_plural(&self, lost: &Resource) {
        let mut plurals = self.plurals.lock().unwrap_or_else(PoisonError::into_inner);
        plurals.insert(in_group(&lost.group, &lost.kind), lost.plural.clone());
    }

    fn hidden(&self, object: &ObjectRef) -> ApplierError {
        let (plural, group) = (self.plural(object), &object.group);
        ApplierError {
            kind: ApplierErrorKind::Unavailable,
            message: format!(
                "look up the kind of {object}: CustomResourceDefinition `{plural}.{group}` serves no version of it; \
                 hint: set `served` of one of its versions, or delete it with all its objects"
            ),
        }
    }
}

fn unsettled(object: &ObjectRef) -> ApplierError {
    let version = api_version(&object.group, &object.version);
    ApplierError {
        kind: ApplierErrorKind::Unavailable,
        message: format!(
            "look up the kind of {object}: the API server lists it and does not serve it; hint: it is tried again; \
             `kubectl get --raw /apis/{version}` shows what is listed"
        ),
    }
}
