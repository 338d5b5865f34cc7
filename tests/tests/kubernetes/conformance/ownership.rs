//! Row 16: what stands in the cluster is what a Go agent would have left, so that either can follow the other.

use agent::applier::kubernetes::AgentId;
use agent::crd::{AppliedManifestWork, AppliedResource, ManifestWork};
use anyhow::{Context as _, Result, ensure};
use kube::Api;
use serde_json::json;
use tests::go::{applied, spec};

use super::{Fixture, LEADER, connected};

#[tokio::test(flavor = "multi_thread")]
async fn names_owners_and_finalizers_are_those_of_a_go_agent() -> Result<()> {
    let mut fixture = Fixture::start("conformance-names").await?;
    fixture.region.agent("cluster1")?.service.kill()?;
    // With a Go agent's identity ours leaves what that one would find again.
    let address = format!("localhost:{}", fixture.region.broker.address().port());
    let hash = AgentId::from(address.as_str()).to_string();
    let kubeconfig = fixture.kubeconfig.to_str().context("a path")?;
    let works = fixture.works()?.to_owned();
    let args = [
        ["--kubeconfig", kubeconfig],
        ["--namespace", &works],
        ["--agent-id", &hash],
        LEADER,
    ];
    let mut agent = fixture
        .region
        .another_agent("cluster1", "go-like", args.concat())?;
    connected(&mut agent).await?;

    let id = "55c61e54-a3f6-563d-9fec-b1fe297bdfdb";
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s", "namespace": fixture.namespace },
    });
    let manifests = [fixture.map("b", "1"), secret, fixture.map("a", "1")];
    let data = json!({ "manifests": manifests }).to_string();
    fixture
        .send(spec(id, "create_request", 1, &[], Some(&data)))
        .await?;
    applied(&mut fixture.source, id, 1).await?;

    let all: Api<AppliedManifestWork> = Api::all(fixture.kube.clone());
    let record = all.get(&format!("{hash}-{id}")).await?;
    let meta = &record.metadata;
    let finalizer = "cluster.open-cluster-management.io/applied-manifest-work-cleanup";
    ensure!(
        meta.finalizers.as_deref() == Some(&[finalizer.to_owned()]),
        "{meta:?}"
    );
    ensure!(record.spec.hub_hash == hash && record.spec.agent_id == hash);
    ensure!(record.spec.manifest_work_name == id);
    let listed = record.status.unwrap_or_default().applied_resources;
    let of = |resource: &str, name: &str, uid: Option<String>| AppliedResource {
        group: String::new(),
        version: "v1".into(),
        resource: resource.into(),
        namespace: fixture.namespace.clone(),
        name: name.into(),
        uid: uid.unwrap_or_default(),
    };
    let secrets: Api<k8s_openapi::api::core::v1::Secret> =
        Api::namespaced(fixture.kube.clone(), &fixture.namespace);
    let a = fixture.maps().get("a").await?.metadata;
    let b = fixture.maps().get("b").await?.metadata;
    let s = secrets.get("s").await?.metadata;
    let expected = [
        of("configmaps", "a", a.uid.clone()),
        of("configmaps", "b", b.uid.clone()),
        of("secrets", "s", s.uid.clone()),
    ];
    ensure!(listed == expected, "{listed:?}");
    for object in [a, b, s] {
        let owners = serde_json::to_value(object.owner_references)?;
        let expected = json!([{
            "apiVersion": "work.open-cluster-management.io/v1", "kind": "AppliedManifestWork",
            "name": meta.name, "uid": meta.uid,
        }]);
        ensure!(owners == expected, "{owners}");
    }
    let held: Api<ManifestWork> = Api::namespaced(fixture.kube.clone(), &works);
    let finalizers = held.get(id).await?.metadata.finalizers;
    let finalizer = "cluster.open-cluster-management.io/manifest-work-cleanup";
    ensure!(
        finalizers.as_deref() == Some(&[finalizer.to_owned()]),
        "{finalizers:?}"
    );
    fixture.passed();
    Ok(())
}
