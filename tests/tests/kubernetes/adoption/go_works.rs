//! What a Go agent leaves (docs/MAESTRO.md §6.2), made by hand as it makes it.

use agent::applier::kubernetes::AgentId;
use agent::crd::{AppliedManifestWork, AppliedResource};
use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use link::message::Message;
use serde_json::{Value, from_value, json};
use tests::go::spec;

use crate::conformance::Fixture;

/// Two works of a Go agent and their objects.
pub(super) struct GoWorks {
    /// Its `brokerHost`.
    pub(super) broker: String,
    /// Hub hash and agent id.
    pub(super) hash: String,
    objects: Vec<(String, Identity)>,
}

/// What changes when an object is made anew.
type Identity = (Option<String>, Option<Time>);

// === impl GoWorks ===

impl GoWorks {
    /// Leaves them. The address is made one that no other test uses, unless it is a real one.
    pub(super) async fn behind(fixture: &Fixture, broker: &str) -> Result<Self> {
        let broker = unique(fixture, broker);
        let hash = hash_of(fixture, &broker);
        let mut left = Self {
            broker,
            hash,
            objects: Vec::new(),
        };
        let uid = left.record(fixture, WORK).await?;
        let owner = left.owner(WORK, &uid);
        let mut uids = Vec::new();
        for how in left.names().map(str::to_owned).collect::<Vec<_>>() {
            let object = write(fixture, &how, &owner).await?;
            uids.push((how.clone(), object.metadata.uid.clone().unwrap_or_default()));
            left.objects.push((how, identity(&object)));
        }
        left.list(fixture, WORK, &uids).await?;
        let uid = left.record(fixture, ORPHAN).await?;
        let object = write(fixture, "orphan", &left.owner(ORPHAN, &uid)).await?;
        let uids = [("orphan".to_owned(), object.metadata.uid.unwrap_or_default())];
        left.list(fixture, ORPHAN, &uids).await?;
        Ok(left)
    }

    /// The objects of [`WORK`], by how they were written.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        ["applied", "created", "updated"].into_iter()
    }

    /// [`WORK`] as its source sends it, with these keys in every object.
    pub(super) fn version(&self, fixture: &Fixture, version: i32, keys: &[&str]) -> Message {
        let manifests: Vec<Value> = self.names().map(|name| map(fixture, name, keys)).collect();
        let data = json!({ "manifests": manifests }).to_string();
        spec(WORK, "resync_response", version, &[], Some(&data))
    }

    /// Holds the objects to be the ones that were left.
    pub(super) async fn is_untouched(&self, fixture: &Fixture) -> Result<()> {
        for (name, before) in &self.objects {
            let object = fixture.maps().get(name).await?;
            ensure!(
                identity(&object) == *before,
                "{name} was made anew: {object:?}"
            );
            let owners = object.metadata.owner_references.unwrap_or_default();
            let name = format!("{}-{WORK}", self.hash);
            ensure!(owners.len() == 1 && owners[0].name == name, "{owners:?}");
        }
        Ok(())
    }

    /// Every AppliedManifestWork of a work, whoever made it, in this test.
    pub(super) async fn records(
        &self,
        fixture: &Fixture,
        work: &str,
    ) -> Result<Vec<AppliedManifestWork>> {
        let ours = AgentId::from(fixture.works()?);
        let all: Api<AppliedManifestWork> = Api::all(fixture.kube.clone());
        let mut all = all.list(&ListParams::default()).await?.items;
        all.retain(|it| {
            it.spec.manifest_work_name == work
                && [self.hash.as_str(), ours.as_str()].contains(&it.spec.agent_id.as_str())
        });
        Ok(all)
    }

    async fn record(&self, fixture: &Fixture, work: &str) -> Result<String> {
        let record = json!({
            "apiVersion": "work.open-cluster-management.io/v1", "kind": "AppliedManifestWork",
            "metadata": {
                "name": format!("{}-{work}", self.hash), "labels": { "team": "a" },
                "finalizers": ["cluster.open-cluster-management.io/applied-manifest-work-cleanup"],
            },
            "spec": { "hubHash": self.hash, "agentID": self.hash, "manifestWorkName": work },
        });
        let all: Api<AppliedManifestWork> = Api::all(fixture.kube.clone());
        let made = all.create(&as_maestro(), &from_value(record)?).await?;
        Ok(made.metadata.uid.unwrap_or_default())
    }

    fn owner(&self, work: &str, uid: &str) -> Value {
        json!({
            "apiVersion": "work.open-cluster-management.io/v1", "kind": "AppliedManifestWork",
            "name": format!("{}-{work}", self.hash), "uid": uid,
        })
    }

    // Since its last start it misses all works, because nobody has answered yet.
    async fn list(&self, fixture: &Fixture, work: &str, uids: &[(String, String)]) -> Result<()> {
        let listed = uids.iter().map(|(name, uid)| AppliedResource {
            group: String::new(),
            version: "v1".into(),
            resource: "configmaps".into(),
            namespace: fixture.namespace.clone(),
            name: name.clone(),
            uid: uid.clone(),
        });
        let listed: Vec<AppliedResource> = listed.collect();
        let status = json!({ "status": {
            "appliedResources": listed, "evictionStartTime": "2026-08-01T10:00:00Z",
        }});
        let all: Api<AppliedManifestWork> = Api::all(fixture.kube.clone());
        let name = format!("{}-{work}", self.hash);
        all.patch_status(&name, &maestro(), &Patch::Merge(&status))
            .await?;
        Ok(())
    }
}

/// The identity of the Go agent that is configured with this broker in this test.
pub(super) fn hash_of(fixture: &Fixture, broker: &str) -> String {
    AgentId::from(unique(fixture, broker).as_str()).to_string()
}

fn unique(fixture: &Fixture, broker: &str) -> String {
    if broker.starts_with("mqtt.") {
        broker.replacen("mqtt", &fixture.namespace, 1)
    } else {
        broker.to_owned()
    }
}

// As the strategies of a Go agent do: `created` and `updated` by PUT, `applied` by server-side apply with the owner in
// a second patch.
async fn write(fixture: &Fixture, how: &str, owner: &Value) -> Result<ConfigMap> {
    let maps = fixture.maps();
    let mut manifest = map(fixture, how, &["value", "dropped"]);
    match how {
        "applied" => {
            let params = PatchParams::apply("work-agent");
            maps.patch(how, &params, &Patch::Apply(&manifest)).await?;
            let owned = json!({ "metadata": { "ownerReferences": [owner] } });
            Ok(maps.patch(how, &maestro(), &Patch::Merge(&owned)).await?)
        }
        "updated" => {
            let first = map(fixture, how, &["value"]);
            let made = maps.create(&as_maestro(), &from_value(first)?).await?;
            manifest["metadata"]["ownerReferences"] = json!([owner]);
            manifest["metadata"]["resourceVersion"] = json!(made.metadata.resource_version);
            Ok(maps
                .replace(how, &as_maestro(), &from_value(manifest)?)
                .await?)
        }
        _ => {
            manifest["metadata"]["ownerReferences"] = json!([owner]);
            Ok(maps.create(&as_maestro(), &from_value(manifest)?).await?)
        }
    }
}

fn map(fixture: &Fixture, name: &str, keys: &[&str]) -> Value {
    let data: serde_json::Map<String, Value> = keys
        .iter()
        .map(|key| ((*key).to_owned(), "1".into()))
        .collect();
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": name, "namespace": fixture.namespace },
        "data": data,
    })
}

fn identity(object: &ConfigMap) -> Identity {
    let meta = &object.metadata;
    (meta.uid.clone(), meta.creation_timestamp.clone())
}

fn as_maestro() -> PostParams {
    PostParams {
        field_manager: Some("maestro".into()),
        ..PostParams::default()
    }
}

fn maestro() -> PatchParams {
    PatchParams {
        field_manager: Some("maestro".into()),
        ..PatchParams::default()
    }
}

/// A work that the source still has.
pub(super) const WORK: &str = "55c61e54-a3f6-563d-9fec-b1fe297bdfdb";
/// A work that it does not have any more.
pub(super) const ORPHAN: &str = "0a1f9d0e-7f0e-5a55-9d34-6c5f3b0f2f11";
