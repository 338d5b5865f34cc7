//! Takes away what an agent of a laptop or a test has in a cluster, once it has stopped: the counterpart of
//! [`prepare`](super::prepare). In production bundles are deleted at their source, and a chart is uninstalled.
//!
//! **Invariant:** an object goes only if it is owned by an AppliedManifestWork of this agent and by none of another.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions, PropagationPolicy};
use kube::core::{DynamicObject, GroupVersionKind};
use kube::discovery::{ApiResource, Scope, pinned_kind};
use kube::{Api, Client, ResourceExt as _};
use link::error::{ExitKind, Failure};
use link::supervise::Restarts;
use prometheus::Registry;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::prepare::PREPARED_BY;
use super::{Cluster, ClusterOptions, error_message, hint, is_not_served};
use crate::crd::{self, AppliedManifestWork, CLAIMS, ManifestWork};
use crate::health::Health;

/// Removes what the works of the agent with this id own, the works, and the agent's namespace.
///
/// # Errors
/// When the cluster cannot be reached, refuses something, or something is still there after a minute.
pub async fn remove(options: ClusterOptions, agent_id: &str) -> Result<(), Failure> {
    let cluster = connect(options).await?;
    let client = &cluster.client;
    let applied: Api<AppliedManifestWork> = Api::all(client.clone());
    let listed = applied.list(&ListParams::default()).await;
    let listed =
        if_served(listed).map_err(|error| stuck("list", "AppliedManifestWorks", &error))?;
    let mine = listed.into_iter().flat_map(|list| list.items);
    let mine: Vec<_> = mine.filter(|work| work.spec.agent_id == agent_id).collect();
    let mut kinds = Kinds::new(client);
    let mut going = Vec::new();
    for work in &mine {
        going.extend(remove_objects(&mut kinds, work).await?);
    }
    for object in &going {
        object.gone().await?;
    }
    for work in &mine {
        erase(&applied, &work.name_any()).await?;
    }
    let works: Api<ManifestWork> = Api::namespaced(client.clone(), &cluster.namespace);
    let listed = works.list_metadata(&ListParams::default()).await;
    let listed = if_served(listed).map_err(|error| stuck("list", "ManifestWorks", &error))?;
    for work in listed.into_iter().flat_map(|list| list.items) {
        erase(&works, &work.name_any()).await?;
    }
    remove_namespace(client, &cluster.namespace).await
}

/// Removes the definitions of the agent's kinds where [`prepare`](super::prepare) alone brought them and no object of
/// theirs is left.
///
/// # Errors
/// When the cluster cannot be reached, refuses it, or one is still there after a minute.
pub async fn remove_definitions(options: ClusterOptions) -> Result<(), Failure> {
    let cluster = connect(options).await?;
    let one = ListParams::default().limit(1);
    let works: Api<ManifestWork> = Api::all(cluster.client.clone());
    let applied: Api<AppliedManifestWork> = Api::all(cluster.client.clone());
    let works = if_served(works.list_metadata(&one).await);
    let applied = if_served(applied.list_metadata(&one).await);
    let failed = |error| stuck("list", "the works of all agents", &error);
    let works = works
        .map_err(failed)?
        .is_some_and(|list| !list.items.is_empty());
    let applied = applied
        .map_err(failed)?
        .is_some_and(|list| !list.items.is_empty());
    if works || applied {
        return Ok(());
    }
    let kind = ApiResource::erase::<CustomResourceDefinition>(&());
    let definitions: Api<DynamicObject> = Api::all_with(cluster.client.clone(), &kind);
    let mut going = Vec::new();
    for definition in crd::definitions() {
        let name = definition.name_any();
        let failed = |error| stuck("remove the definition", &name, &error);
        let found = definitions.get_metadata_opt(&name).await.map_err(failed)?;
        let Some(found) = found else {
            continue;
        };
        let managers = found.managed_fields().iter();
        let mut managers = managers.filter_map(|entry| entry.manager.as_deref());
        if managers.all(|manager| MANAGERS.contains(&manager)) {
            let deleted = definitions.delete(&name, &DeleteParams::default()).await;
            if_there(deleted).map_err(failed)?;
            going.push(Going {
                api: definitions.clone(),
                name: name.clone(),
                uid: found.metadata.uid,
                shown: format!("CustomResourceDefinition {name}"),
            });
        }
    }
    // The server removes a definition once its own controller has looked for objects of it.
    for definition in &going {
        definition.gone().await?;
    }
    Ok(())
}

/// The kinds that were looked up; nothing for one that is not served any more.
struct Kinds<'a> {
    client: &'a Client,
    known: BTreeMap<[String; 3], Option<(ApiResource, Scope)>>,
}

/// An object that is to go.
struct Going {
    api: Api<DynamicObject>,
    name: String,
    uid: Option<String>,
    shown: String,
}

/// Something could not be removed.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {object}: {message}")]
struct RemoveError {
    operation: &'static str,
    object: String,
    message: String,
}

// === impl Kinds ===

impl<'a> Kinds<'a> {
    fn new(client: &'a Client) -> Self {
        Self {
            client,
            known: BTreeMap::new(),
        }
    }

    /// Where objects of a kind are asked for.
    async fn api(
        &mut self,
        [group, version, kind]: [&str; 3],
        namespace: &str,
    ) -> Result<Option<Api<DynamicObject>>, kube::Error> {
        let key = [group, version, kind].map(str::to_owned);
        if !self.known.contains_key(&key) {
            let gvk = GroupVersionKind::gvk(group, version, kind);
            let found = match pinned_kind(self.client, &gvk).await {
                Ok((resource, capabilities)) => Some((resource, capabilities.scope)),
                // A kind that is gone took its objects along.
                Err(kube::Error::Discovery(_)) => None,
                Err(kube::Error::Api(status)) if status.is_not_found() => None,
                Err(error) => return Err(error),
            };
            self.known.insert(key.clone(), found);
        }
        let client = self.client.clone();
        let found = self.known.get(&key).and_then(Option::as_ref);
        Ok(found.map(|(resource, scope)| match scope {
            Scope::Namespaced => Api::namespaced_with(client, namespace, resource),
            Scope::Cluster => Api::all_with(client, resource),
        }))
    }
}

// === impl Going ===

impl Going {
    async fn gone(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.api.get_metadata_opt(&self.name).await;
            let found = found.map_err(|error| stuck("remove", &self.shown, &error))?;
            let Some(found) = found.filter(|found| found.metadata.uid == self.uid) else {
                return Ok(());
            };
            if Instant::now() >= deadline {
                let finalizers = found.finalizers().join("`, `");
                let failure = Failure::new(
                    ExitKind::Failed,
                    RemoveError {
                        operation: "remove",
                        object: self.shown.clone(),
                        message: format!(
                            "it is still there after a minute (finalizers `{finalizers}`)"
                        ),
                    },
                );
                return Err(
                    failure.with_hint("see what its finalizers wait for, and try again".to_owned())
                );
            }
            sleep(POLL).await;
        }
    }
}

async fn connect(options: ClusterOptions) -> Result<Cluster, Failure> {
    let (registry, restarts) = (Registry::new(), Restarts::unregistered());
    Ok(options
        .connect(&registry, &restarts, Health::ignored())
        .await?)
}

/// Deletes what a work owns alone; gives what is to be waited for.
async fn remove_objects(
    kinds: &mut Kinds<'_>,
    work: &AppliedManifestWork,
) -> Result<Vec<Going>, Failure> {
    let mut going = Vec::new();
    for [group, version, kind, namespace, name] in claimed(work) {
        let shown = match namespace.as_str() {
            "" => format!("{kind} {name}"),
            namespace => format!("{kind} {namespace}/{name}"),
        };
        let failed = |error| stuck("remove", &shown, &error);
        let api = kinds.api([&group, &version, &kind], &namespace).await;
        let Some(api) = api.map_err(failed)? else {
            continue;
        };
        let found = api.get_metadata_opt(&name).await.map_err(failed)?;
        let Some(found) = found.filter(|found| is_owned_alone(found.owner_references(), work))
        else {
            continue;
        };
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: Some(Preconditions {
                uid: found.metadata.uid.clone(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        if_there(api.delete(&name, &params).await).map_err(failed)?;
        going.push(Going {
            api,
            name,
            uid: found.metadata.uid,
            shown,
        });
    }
    Ok(going)
}

/// Group, version, kind, namespace and name of each object that a work says it holds.
fn claimed(work: &AppliedManifestWork) -> Vec<[String; 5]> {
    let claims = work.annotations().get(CLAIMS);
    let claims: Option<Value> = claims.and_then(|text| serde_json::from_str(text).ok());
    let objects = claims
        .as_ref()
        .and_then(|claims| claims["objects"].as_array());
    let object = |object: &Value| -> Option<[String; 5]> {
        let texts = object.as_array()?.iter().take(5);
        let texts: Option<Vec<_>> = texts.map(|text| text.as_str().map(str::to_owned)).collect();
        texts?.try_into().ok()
    };
    objects.into_iter().flatten().filter_map(object).collect()
}

/// Whether a work is among the owners of an object, and no work of another agent.
fn is_owned_alone(owners: &[OwnerReference], work: &AppliedManifestWork) -> bool {
    let uid = work.metadata.uid.as_deref();
    let is_ours = |owner: &OwnerReference| Some(owner.uid.as_str()) == uid;
    // A name begins with the agent's id; one object may be held by several works of it.
    let same_agent = |owner: &OwnerReference| owner.name.starts_with(&work.spec.agent_id);
    owners.iter().any(is_ours)
        && owners
            .iter()
            .all(|owner| is_ours(owner) || same_agent(owner))
}

/// Deletes an object of the agent's own kinds; nobody is left to do what its finalizer waits for.
async fn erase<K>(all: &Api<K>, name: &str) -> Result<(), Failure>
where
    K: Clone + DeserializeOwned + fmt::Debug,
{
    let failed = |error| stuck("remove the work", name, &error);
    if_there(all.delete(name, &DeleteParams::default()).await).map_err(failed)?;
    let none = json!({"metadata": {"finalizers": null}});
    let (params, patch) = (PatchParams::default(), Patch::Merge(&none));
    if_there(all.patch_metadata(name, &params, &patch).await).map_err(failed)?;
    Ok(())
}

async fn remove_namespace(client: &Client, name: &str) -> Result<(), Failure> {
    let kind = ApiResource::erase::<Namespace>(&());
    let namespaces: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
    let shown = format!("Namespace {name}");
    let failed = |error| stuck("remove", &shown, &error);
    let found = namespaces.get_metadata_opt(name).await.map_err(failed)?;
    let Some(found) = found else {
        return Ok(());
    };
    if_there(namespaces.delete(name, &DeleteParams::default()).await).map_err(failed)?;
    let going = Going {
        api: namespaces,
        name: name.to_owned(),
        uid: found.metadata.uid,
        shown: shown.clone(),
    };
    going.gone().await
}

/// Nothing of a kind whose definition is not installed.
fn if_served<T>(answer: Result<T, kube::Error>) -> Result<Option<T>, kube::Error> {
    match answer {
        Err(error) if is_not_served(&error) => Ok(None),
        answer => answer.map(Some),
    }
}

/// Nothing done to what is gone, or has been replaced meanwhile.
fn if_there<T>(answer: Result<T, kube::Error>) -> Result<Option<T>, kube::Error> {
    match answer {
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(None),
        answer => answer.map(Some),
    }
}

fn stuck(operation: &'static str, object: &str, error: &kube::Error) -> Failure {
    let refused = RemoveError {
        operation,
        object: object.to_owned(),
        message: error_message(error),
    };
    Failure::new(ExitKind::Failed, refused).with_hint(hint(error))
}

// Whoever wrote a definition besides them brought it, or uses it.
const MANAGERS: [&str; 2] = [PREPARED_BY, "kube-apiserver"];

// A namespace takes some ten seconds.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    fn work(agent_id: &str, claims: &str) -> AppliedManifestWork {
        serde_json::from_value(json!({
            "metadata": {"name": format!("{agent_id}-w"), "uid": "u1", "annotations": {CLAIMS: claims}},
            "spec": {"hubHash": agent_id, "agentID": agent_id, "manifestWorkName": "w"},
        }))
        .unwrap()
    }

    #[test]
    fn what_a_work_claims_is_read_and_a_damaged_claim_is_nothing() {
        let claims =
            r#"{"work":"w","objects":[["apps","v1","Deployment","default","web","hash",7],["x"]]}"#;
        assert_eq!(
            claimed(&work("a", claims)),
            [["apps", "v1", "Deployment", "default", "web"].map(str::to_owned)]
        );
        assert!(claimed(&work("a", "{")).is_empty());
    }

    #[test]
    fn an_object_that_another_agent_owns_too_stays() {
        let owner = |name: &str, uid: &str| OwnerReference {
            name: name.into(),
            uid: uid.into(),
            ..OwnerReference::default()
        };
        let work = work("a", "{}");
        assert!(is_owned_alone(&[owner("a-w", "u1")], &work));
        assert!(is_owned_alone(
            &[owner("a-w", "u1"), owner("a-v", "u2")],
            &work
        ));
        assert!(!is_owned_alone(
            &[owner("a-w", "u1"), owner("b-v", "u2")],
            &work
        ));
        assert!(!is_owned_alone(&[owner("a-w", "u0")], &work));
        assert!(!is_owned_alone(&[], &work));
    }
}
