//! `agent adopt`: takes over what another agent applied, without touching an object's content.
//!
//! Its AppliedManifestWorks stay with name and uid, so every owner reference stays valid; only the agent they name
//! changes. Works that this agent was not told of yet are held from then on, so that the next resync asks for them,
//! and the fields that the other agent wrote become this agent's, so that they can go when a manifest drops them.
//! A running agent does the same by itself, as works arrive, for the identities it is given; this shows it and does it
//! beforehand.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;

use kube::api::{ListParams, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use link::error::{ExitKind, Failure};
use link::id::ConsumerName;
use link::supervise::Restarts;
use prometheus::Registry;
use serde_json::{Value, json};

use crate::applier::FIELD_MANAGER;
use crate::applier::kubernetes::{AgentId, upgrade_managed_fields};
use crate::cluster::definitions::served;
use crate::cluster::{ClusterOptions, error_message, hint, is_not_served};
use crate::crd::{AppliedManifestWork, AppliedResource, CLAIMS, CONSUMER, ManifestWork};
use crate::health::Health;
use crate::work::{Objects, Store, Work, WorkId};

mod plan;

use plan::{Plan, PlannedObject, PlannedWork};

/// What to take over, and as whom.
#[derive(Clone, Debug)]
pub struct AdoptOptions {
    /// The cluster and the namespace of this agent's works.
    pub cluster: ClusterOptions,
    /// This agent's consumer.
    pub consumer: ConsumerName,
    /// This agent's identity.
    pub agent_id: AgentId,
    /// The identities that are taken over.
    pub from: Vec<AgentId>,
    /// The field managers whose fields become this agent's.
    pub managers: Vec<String>,
    /// Whether to show the plan only.
    pub dry_run: bool,
}

/// A step of the takeover failed; what was done before stays, and running it again goes on.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {object}: {error_message}")]
struct Stuck {
    operation: &'static str,
    object: String,
    error_message: String,
}

// === impl AdoptOptions ===

impl AdoptOptions {
    /// Prints the plan and, unless it is a dry run, does it.
    ///
    /// # Errors
    /// When the cluster cannot be read or a step is refused.
    pub async fn run(self, out: &mut impl Write) -> Result<(), Failure> {
        let cluster = self.cluster.clone();
        let cluster = cluster
            .connect(
                &Registry::new(),
                &Restarts::unregistered(),
                Health::ignored(),
            )
            .await?;
        let client = cluster.client.clone();
        let held = self.held(&client, &cluster.namespace).await?;
        let plan = self.plan(&client, &held).await?;
        let printed = write!(out, "{plan}");
        printed.map_err(|error| Failure::new(ExitKind::Failed, error))?;
        if self.dry_run || plan.is_empty() {
            return Ok(());
        }
        // In this order, so that a work is found again until nothing is left to do for it.
        let opened = Objects::open(client.clone(), &cluster.namespace, &self.consumer).await?;
        let unknown = plan.works.iter().filter(|work| !work.known);
        let awaited: Vec<Work> = unknown
            .map(|work| Work::awaited(WorkId::from(work.id.as_str())))
            .collect();
        opened.store.commit(Arc::new(awaited)).await?;
        for work in &plan.works {
            for object in &work.objects {
                take_fields(&client, object).await?;
            }
            self.take_work(&client, work).await?;
        }
        let (works, objects) = plan.counts();
        writeln!(out, "took over {works} works with {objects} objects")
            .map_err(|error| Failure::new(ExitKind::Failed, error))
    }

    /// Names of the ManifestWorks that this agent has. Its store would write its state, which a dry run must not.
    async fn held(&self, client: &Client, namespace: &str) -> Result<BTreeSet<String>, Failure> {
        let works: Api<ManifestWork> = Api::namespaced(client.clone(), namespace);
        let selector = format!("{CONSUMER}={}", self.consumer);
        let mut params = ListParams::default().labels(&selector).limit(PAGE);
        let mut held = BTreeSet::new();
        loop {
            let page = served(client, || works.list_metadata(&params))
                .await
                .map_err(|error| stuck("list", "ManifestWorks", &error))?;
            held.extend(page.items.into_iter().filter_map(|work| work.metadata.name));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(held),
            }
        }
    }

    async fn plan(&self, client: &Client, held: &BTreeSet<String>) -> Result<Plan, Failure> {
        let from: BTreeSet<&str> = self.from.iter().map(AgentId::as_str).collect();
        let applied: Api<AppliedManifestWork> = Api::all(client.clone());
        let mut params = ListParams::default().limit(PAGE);
        let mut works = Vec::new();
        loop {
            let page = served(client, || applied.list(&params))
                .await
                .map_err(|error| stuck("list", "AppliedManifestWorks", &error))?;
            for work in page.items {
                if from.contains(work.spec.agent_id.as_str()) {
                    works.push(self.planned(client, held, work).await?);
                }
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => break,
            }
        }
        Ok(Plan { works })
    }

    async fn planned(
        &self,
        client: &Client,
        held: &BTreeSet<String>,
        work: AppliedManifestWork,
    ) -> Result<PlannedWork, Failure> {
        let id = id_of(&work);
        let mut objects = Vec::new();
        for resource in work.status.unwrap_or_default().applied_resources {
            objects.push(self.planned_object(client, resource).await?);
        }
        Ok(PlannedWork {
            known: held.contains(&work.spec.manifest_work_name),
            uid: work.metadata.uid.unwrap_or_default(),
            applied: work.metadata.name.unwrap_or_default(),
            id,
            objects,
        })
    }

    /// Makes an AppliedManifestWork name this agent, so that it is found whatever the broker.
    async fn take_work(&self, client: &Client, work: &PlannedWork) -> Result<(), Failure> {
        let id = self.agent_id.as_str();
        let change = json!({
            "metadata": {"uid": work.uid},
            "spec": {"hubHash": id, "agentID": id},
        });
        let all: Api<AppliedManifestWork> = Api::all(client.clone());
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.into()),
            ..PatchParams::default()
        };
        all.patch(&work.applied, &params, &Patch::Merge(&change))
            .await
            .map_err(|error| {
                let object = format!("AppliedManifestWork {}", work.applied);
                stuck("take over", &object, &error)
            })?;
        Ok(())
    }

    async fn planned_object(
        &self,
        client: &Client,
        resource: AppliedResource,
    ) -> Result<PlannedObject, Failure> {
        let found = api(client, &resource)
            .get_opt(&resource.name)
            .await
            .map_err(|error| stuck("read", &plan::name(&resource), &error))?;
        let managers: Vec<&str> = self.managers.iter().map(String::as_str).collect();
        let fields = found.as_ref().and_then(|object| {
            let fields = serde_json::to_value(&object.metadata.managed_fields).ok()?;
            upgrade_managed_fields(fields.as_array()?, &managers, FIELD_MANAGER)
        });
        Ok(PlannedObject {
            present: found.is_some(),
            version: found.and_then(|object| object.metadata.resource_version),
            fields,
            resource,
        })
    }
}

/// The work of an AppliedManifestWork. Ours say it in full where a name cannot.
fn id_of(work: &AppliedManifestWork) -> String {
    let claims = work.metadata.annotations.as_ref();
    let claims = claims.and_then(|annotations| annotations.get(CLAIMS));
    let claims: Option<Value> = claims.and_then(|text| serde_json::from_str(text).ok());
    let id = claims.and_then(|claims| claims["work"].as_str().map(str::to_owned));
    id.unwrap_or_else(|| work.spec.manifest_work_name.clone())
}

/// Makes the fields of the other agent ours, if the object is still as it was planned.
async fn take_fields(client: &Client, object: &PlannedObject) -> Result<(), Failure> {
    let Some(fields) = &object.fields else {
        return Ok(());
    };
    let change: Value = json!({"metadata": {
        "managedFields": fields,
        "resourceVersion": object.version,
    }});
    api(client, &object.resource)
        .patch(
            &object.resource.name,
            &PatchParams::default(),
            &Patch::Merge(&change),
        )
        .await
        .map_err(|error| {
            stuck(
                "take over the fields of",
                &plan::name(&object.resource),
                &error,
            )
        })?;
    Ok(())
}

fn api(client: &Client, resource: &AppliedResource) -> Api<DynamicObject> {
    // Paths are made of the plural; the kind is not needed to read an object.
    let kind = GroupVersionKind::gvk(&resource.group, &resource.version, "");
    let kind = ApiResource::from_gvk_with_plural(&kind, &resource.resource);
    if resource.namespace.is_empty() {
        Api::all_with(client.clone(), &kind)
    } else {
        Api::namespaced_with(client.clone(), &resource.namespace, &kind)
    }
}

fn stuck(operation: &'static str, object: &str, error: &kube::Error) -> Failure {
    let failure = Failure::new(
        ExitKind::Failed,
        Stuck {
            operation,
            object: object.into(),
            error_message: error_message(error),
        },
    );
    match hint(error) {
        Some(hint) => failure.with_hint(hint),
        None if is_not_served(error) => failure.with_hint(
            "install the definitions first: `agent crds | kubectl apply --server-side -f -`"
                .to_string(),
        ),
        None => failure.with_hint("run it again; what was done before stays".to_string()),
    }
}

const PAGE: u32 = 200;
