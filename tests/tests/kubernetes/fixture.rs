//! A region on the shared servers with a namespace of its own: bundles posted by REST, what REST shows of them, and
//! the hands of somebody else in the cluster.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use link::bundle::manifest::ObjectRef;
use serde_json::{Map, Value, json};
use tests::api::{self, Bundle, Change};
use tests::kubernetes::Cluster;
use tests::region::{BrokerKind, Region, RegionBuilder};
use tests::wait::wait_for;

/// A running region and its namespace for objects.
pub(super) struct Fixture {
    pub(super) region: Region,
    pub(super) api: api::Api,
    /// Of somebody else, who may do everything.
    pub(super) client: Client,
    pub(super) namespace: String,
}

/// A bundle of a fixture.
pub(super) struct PostedBundle<'a> {
    pub(super) fixture: &'a Fixture,
    pub(super) id: String,
}

// === impl Fixture ===

impl Fixture {
    pub(super) async fn new(name: &str) -> Result<Self> {
        Self::with(name, &[]).await
    }

    /// With more arguments for the agent.
    pub(super) async fn with(name: &str, agent_args: &[&str]) -> Result<Self> {
        let cluster = Cluster::shared().await?;
        let namespace = cluster.namespace(name).await?;
        let builder = RegionBuilder::new(name, BrokerKind::Sandbox).on_cluster(cluster);
        Self::open(builder, namespace, agent_args).await
    }

    /// With an agent for `cluster1` and one for `cluster2`, both in the same cluster.
    pub(super) async fn of_two_agents(name: &str) -> Result<Self> {
        let cluster = Cluster::shared().await?;
        let namespace = cluster.namespace(name).await?;
        let builder = RegionBuilder::new(name, BrokerKind::Sandbox).agents(2);
        Self::open(builder.on_cluster(cluster), namespace, &[]).await
    }

    /// With an agent that may do what RBAC lets this user do.
    pub(super) async fn restricted(name: &str, namespace: String, user: &str) -> Result<Self> {
        let cluster = Cluster::shared().await?;
        let builder = RegionBuilder::new(name, BrokerKind::Sandbox).on_cluster_as(cluster, user)?;
        Self::open(builder, namespace, &[]).await
    }

    async fn open(builder: RegionBuilder, namespace: String, agent_args: &[&str]) -> Result<Self> {
        let builder = builder.without_quotas().agent_args(agent_args.to_vec());
        let mut region = builder.start().await?;
        Ok(Self {
            api: region.api().await?,
            region,
            client: Cluster::shared().await?.client().await?,
            namespace,
        })
    }

    /// A manifest in the fixture's namespace with everything but its metadata.
    pub(super) fn manifest(&self, name: &str, rest: Value) -> Value {
        let mut manifest = rest;
        manifest["metadata"] = json!({ "name": name, "namespace": self.namespace });
        manifest
    }

    pub(super) fn map(&self, name: &str, data: Value) -> Value {
        let mut map = self.manifest(name, json!({ "apiVersion": "v1", "kind": "ConfigMap" }));
        map["data"] = data;
        map
    }

    /// Settings for every object of a resource, as `group/resource`, whose name fits `name`.
    pub(super) fn config(&self, resource: &str, name: &str, settings: Value) -> Value {
        let (group, resource) = resource.split_once('/').unwrap_or(("", resource));
        let mut config = settings;
        config["resourceIdentifier"] = json!({
            "group": group, "resource": resource, "name": name, "namespace": self.namespace,
        });
        config
    }

    pub(super) async fn post(&self, change: Change) -> Result<PostedBundle<'_>> {
        let change = Change {
            consumer_name: change.consumer_name.or(Some("cluster1".into())),
            ..change
        };
        let id = self.api.create_bundle(&change).await?.id;
        Ok(PostedBundle { fixture: self, id })
    }

    pub(super) async fn post_manifests(&self, manifests: Vec<Value>) -> Result<PostedBundle<'_>> {
        let change = Change {
            manifests,
            ..Change::default()
        };
        self.post(change).await
    }

    /// The objects of a manifest's kind, where it is.
    pub(super) fn objects(&self, manifest: &Value) -> Api<DynamicObject> {
        let object = ObjectRef::of(manifest);
        let kind = GroupVersionKind::gvk(&object.group, &object.version, &object.kind);
        let resource = ApiResource::from_gvk(&kind);
        match object.namespace.as_str() {
            "" => Api::all_with(self.client.clone(), &resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, &resource),
        }
    }

    /// The object of a manifest as it is in the cluster.
    pub(super) async fn live(&self, manifest: &Value) -> Result<Option<Value>> {
        let name = ObjectRef::of(manifest).name;
        let found = self.objects(manifest).get_opt(&name).await?;
        Ok(found.map(serde_json::to_value).transpose()?)
    }

    /// Somebody else creates an object.
    pub(super) async fn create(&self, manifest: &Value) -> Result<()> {
        let params = PostParams {
            field_manager: Some(SOMEBODY.into()),
            ..PostParams::default()
        };
        let object = serde_json::from_value(manifest.clone())?;
        self.objects(manifest).create(&params, &object).await?;
        Ok(())
    }

    /// Somebody else edits the object of a manifest.
    pub(super) async fn edit(&self, manifest: &Value, patch: Value) -> Result<()> {
        let params = PatchParams {
            field_manager: Some(SOMEBODY.into()),
            ..PatchParams::default()
        };
        let name = ObjectRef::of(manifest).name;
        let objects = self.objects(manifest);
        objects.patch(&name, &params, &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// A controller writes the status of the object of a manifest.
    pub(super) async fn set_status(&self, manifest: &Value, status: Value) -> Result<()> {
        let name = ObjectRef::of(manifest).name;
        let patch = Patch::Merge(json!({ "status": status }));
        let objects = self.objects(manifest);
        let params = PatchParams::default();
        objects.patch_status(&name, &params, &patch).await?;
        Ok(())
    }

    /// Somebody else deletes an object.
    pub(super) async fn delete(&self, manifest: &Value) -> Result<()> {
        let name = ObjectRef::of(manifest).name;
        let params = DeleteParams::default();
        self.objects(manifest).delete(&name, &params).await?;
        Ok(())
    }
}

// === impl PostedBundle ===

impl PostedBundle<'_> {
    pub(super) async fn bundle(&self) -> Result<Bundle> {
        let bundle = self.fixture.api.bundle(&self.id).await?;
        bundle.with_context(|| format!("bundle `{}` is there", self.id))
    }

    /// Waits until REST shows all of this for the newest version: the place of a condition (`Applied` at the work,
    /// `0/Applied` at its first manifest) with `STATUS REASON: MESSAGE`, or [`ABSENT`]. After [`NOT_APPLIED`] follows
    /// what is said of the first manifest that failed.
    pub(super) async fn says(&self, expected: &[(&str, &str)]) -> Result<()> {
        self.shows(async |bundle| {
            let differing: Vec<String> = expected
                .iter()
                .map(|(place, words)| (place, words, condition(bundle, place)))
                .filter(|(_, words, found)| match **words {
                    NOT_APPLIED => !found.starts_with(&not_applied(bundle)),
                    words => found != words,
                })
                .map(|(place, words, found)| format!("{place}:\n  want {words}\n  have {found}"))
                .collect();
            ensure!(differing.is_empty(), "{}", differing.join("\n"));
            Ok(())
        })
        .await
    }

    /// Waits until the condition at this place reads like this, and gives its words.
    pub(super) async fn says_like(&self, place: &str, parts: &[&str]) -> Result<String> {
        let mut words = String::new();
        self.shows(async |bundle| {
            words = condition(bundle, place);
            for part in parts {
                ensure!(words.contains(part), "{place}: `{part}` is not in: {words}");
            }
            Ok(())
        })
        .await?;
        Ok(words)
    }

    pub(super) async fn is_applied(&self) -> Result<()> {
        self.says(&[("Applied", APPLIED)]).await
    }

    /// Waits until the feedback of a manifest is exactly this: names to values as their types say.
    pub(super) async fn feeds_back(&self, ordinal: usize, expected: Value) -> Result<()> {
        self.shows(async |bundle| {
            let found = values(bundle, ordinal);
            ensure!(found == expected, "feedback of {ordinal}: {found}");
            Ok(())
        })
        .await
    }

    /// Waits until REST shows a status of the newest version that passes.
    pub(super) async fn shows(
        &self,
        mut check: impl AsyncFnMut(&Bundle) -> Result<()>,
    ) -> Result<()> {
        let what = format!("the status of bundle `{}`", self.id);
        wait_for(&what, PATIENCE, async || {
            let bundle = self.bundle().await?;
            ensure!(
                bundle.observed_version() == bundle.version,
                "seen {} of {}",
                bundle.observed_version(),
                bundle.version
            );
            check(&bundle).await
        })
        .await?;
        Ok(())
    }

    /// Changes the bundle to these manifests.
    pub(super) async fn change(&self, manifests: Vec<Value>) -> Result<()> {
        self.change_all(Change {
            manifests,
            ..Change::default()
        })
        .await
    }

    pub(super) async fn change_all(&self, change: Change) -> Result<()> {
        let change = Change {
            version: Some(self.bundle().await?.version),
            ..change
        };
        self.fixture.api.change_bundle(&self.id, &change).await?;
        Ok(())
    }

    pub(super) async fn delete(&self) -> Result<()> {
        Ok(self.fixture.api.delete_bundle(&self.id).await?)
    }

    /// Deletes the bundle and waits until REST does not know it any more.
    pub(super) async fn goes(&self) -> Result<()> {
        self.delete().await?;
        self.is_gone().await
    }

    pub(super) async fn is_gone(&self) -> Result<()> {
        let what = format!("bundle `{}` to go", self.id);
        wait_for(&what, PATIENCE, async || {
            let bundle = self.fixture.api.bundle(&self.id).await?;
            let status = bundle.map(|bundle| bundle.status);
            ensure!(status.is_none(), "{:#}", status.unwrap_or_default());
            anyhow::Ok(())
        })
        .await?;
        Ok(())
    }
}

/// Waits until an object of the cluster is as it should be; `null` while it is not there.
pub(super) async fn until(
    fixture: &Fixture,
    manifest: &Value,
    what: &str,
    check: impl Fn(&Value) -> bool,
) -> Result<()> {
    wait_for(what, PATIENCE, async || {
        let live = fixture.live(manifest).await?.unwrap_or_default();
        ensure!(check(&live), "{live}");
        anyhow::Ok(())
    })
    .await?;
    Ok(())
}

/// `STATUS REASON: MESSAGE` of a condition, or [`ABSENT`].
pub(super) fn condition(bundle: &Bundle, place: &str) -> String {
    let (list, kind) = match place.split_once('/') {
        Some((ordinal, kind)) => {
            let ordinal: usize = ordinal.parse().unwrap_or(usize::MAX);
            (
                &bundle.status["resourceStatus"][ordinal]["conditions"],
                kind,
            )
        }
        None => (&bundle.status["conditions"], place),
    };
    let found = list.as_array().into_iter().flatten();
    let mut found = found.filter(|condition| condition["type"] == kind);
    let Some(condition) = found.next() else {
        return ABSENT.into();
    };
    let text = |field: &str| condition[field].as_str().unwrap_or_default();
    format!("{} {}: {}", text("status"), text("reason"), text("message"))
}

/// [`NOT_APPLIED`] with the reason of the first manifest that failed.
fn not_applied(bundle: &Bundle) -> String {
    let manifests = bundle.status["resourceStatus"].as_array();
    let places = (0..manifests.map_or(0, Vec::len)).map(|at| format!("{at}/Applied"));
    let mut words = places.map(|place| condition(bundle, &place));
    let first = words.find(|words| words.starts_with("False "));
    let first = first.unwrap_or_default();
    let reason = first
        .split_once("Failed to apply manifest: ")
        .or(first.split_once("Failed to process ignoreFields: "));
    let reason = reason.map_or("no manifest failed", |(_, reason)| reason);
    format!("{NOT_APPLIED}: {reason}")
}

/// The types of the conditions of the work, or of a manifest, in their order.
pub(super) fn types(status: &Value) -> Vec<&str> {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let types = conditions.map(|condition| condition["type"].as_str());
    types.map(Option::unwrap_or_default).collect()
}

/// The feedback of a manifest: names to values.
pub(super) fn values(bundle: &Bundle, ordinal: usize) -> Value {
    let feedback = &bundle.status["resourceStatus"][ordinal]["statusFeedback"]["values"];
    let mut values = Map::new();
    for value in feedback.as_array().into_iter().flatten() {
        let name = value["name"].as_str().unwrap_or_default();
        values.insert(name.into(), value["fieldValue"].clone());
    }
    values.into()
}

pub(super) const ABSENT: &str = "absent";
pub(super) const APPLIED: &str = "True AppliedManifestWorkComplete: Apply manifest work complete";
pub(super) const NOT_APPLIED: &str =
    "False AppliedManifestWorkFailed: Failed to apply manifest work";
pub(super) const MANIFEST_APPLIED: &str = "True AppliedManifestComplete: Apply manifest complete";
/// Who edits what the agent applied, as a field manager.
pub(super) const SOMEBODY: &str = "somebody";
/// For a machine that builds at the same time; what is promised takes a second.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
