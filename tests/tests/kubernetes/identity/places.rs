//! Kinds with and without namespaces, kinds that go, and objects that the server never keeps or never lets go.

use kube::api::{DeleteParams, PostParams};
use tests::wait::wait_for;

use super::*;
use crate::fixture::PATIENCE;

/// A definition whose kind is `Gadget`.
pub(super) fn definition(group: &str, plural: &str, kind: &str, scope: &str) -> Value {
    let version = |name: &str, storage: bool| {
        json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": {
            "type": "object", "x-kubernetes-preserve-unknown-fields": true}}})
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group, "scope": scope,
            "names": {"kind": kind, "plural": plural},
            "versions": [version("v1", true), version("v2", false)],
        },
    })
}

#[tokio::test]
async fn a_definition_with_a_stray_namespace_keeps_its_objects_when_the_line_goes() -> Result<()> {
    let mut rig = Rig::new("define").await?;
    let group = format!("{}.example.com", rig.namespace);
    let plain = definition(&group, "gadgets", "Gadget", "Cluster");
    let gadget =
        json!({"apiVersion": format!("{group}/v1"), "kind": "Gadget", "metadata": {"name": "g"}});
    let stray = |manifest: &Value| {
        let mut manifest = manifest.clone();
        manifest["metadata"]["namespace"] = "elsewhere".into();
        manifest
    };
    // The kind is defined by the very work, so its scope is known before the server serves it.
    let status = rig
        .becomes(manifests(&[stray(&plain), stray(&gadget)]))
        .await?;
    ensure!(applied(&status, 0) && applied(&status, 1), "{status:?}");
    let before = (rig.uid(&plain).await?, rig.uid(&gadget).await?);
    ensure!(before.1.is_some(), "the gadget is there");
    for next in [
        [plain.clone(), gadget.clone()],
        [plain.clone(), stray(&gadget)],
        [stray(&plain), gadget.clone()],
    ] {
        let status = rig.becomes(manifests(&next)).await?;
        ensure!(applied(&status, 0) && applied(&status, 1), "{status:?}");
        let after = (rig.uid(&plain).await?, rig.uid(&gadget).await?);
        ensure!(before == after, "{before:?}, then {after:?}");
    }
    rig.ends().await?;
    ensure!(rig.uid(&plain).await?.is_none(), "it is gone");
    Ok(())
}

#[tokio::test]
async fn a_definition_that_goes_takes_its_objects_along_and_holds_up_nothing() -> Result<()> {
    let mut rig = Rig::new("vanishes").await?;
    let group = format!("{}.example.com", rig.namespace);
    let theirs = definition(&group, "gadgets", "Gadget", "Namespaced");
    let gadget = rig.manifest(&format!("{group}/v1"), "Gadget", "g", json!({}));
    rig.objects(&theirs)
        .create(
            &PostParams::default(),
            &serde_json::from_value(theirs.clone())?,
        )
        .await?;
    wait_for("the gadget to be applied", PATIENCE, async || {
        let mut served = Rig::of(rig.client.clone(), rig.namespace.clone(), &[]).await?;
        let status = served.becomes(manifests([&gadget])).await?;
        ensure!(applied(&status, 0), "{status:?}");
        rig.restart().await
    })
    .await?;
    let name = theirs["metadata"]["name"].as_str().context("a name")?;
    let definitions = rig.objects(&theirs);
    definitions.delete(name, &DeleteParams::default()).await?;
    wait_for("the definition to go", PATIENCE, async || {
        let found = definitions.get_opt(name).await?;
        ensure!(found.is_none(), "{found:?}");
        anyhow::Ok(())
    })
    .await?;
    // What serves the kind, and what lists the kinds, follow a little later.
    wait_for("the kind to go", PATIENCE, async || {
        let status = rig.becomes(manifests([&gadget])).await?;
        let unknown = !applied(&status, 0) && refusal(&status, 0).contains("no matches for kind");
        ensure!(unknown, "{status:?}");
        anyhow::Ok(())
    })
    .await?;
    rig.ends_at_once().await
}

#[tokio::test]
async fn what_the_server_only_answers_holds_up_nothing() -> Result<()> {
    let mut rig = Rig::new("answers").await?;
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "metadata": {"name": "r"},
        "spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}},
    });
    let status = rig.becomes(manifests(&[review])).await?;
    ensure!(!applied(&status, 0), "{status:?}");
    rig.ends_at_once().await
}

#[tokio::test]
async fn a_namespace_that_the_server_never_lets_go_is_given_up() -> Result<()> {
    let mut rig = Rig::new("immortal").await?;
    let public = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-public",
        "labels": {"example.com/seen-by": rig.namespace}}});
    wait_for("kube-public", PATIENCE, async || {
        let found = rig.uid(&public).await?;
        found.context("it is there")
    })
    .await?;
    let status = rig.becomes(manifests([&public])).await?;
    ensure!(applied(&status, 0), "{status:?}");
    rig.ends_at_once().await?;
    let live = rig.live(&public).await?.context("it is there")?;
    ensure!(live.metadata.deletion_timestamp.is_none(), "{live:?}");
    ensure!(live.metadata.owner_references.is_none(), "{live:?}");
    Ok(())
}

#[tokio::test]
async fn settings_of_an_object_count_whatever_namespace_they_name() -> Result<()> {
    let mut rig = Rig::new("settings").await?;
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": rig.namespace, "namespace": "elsewhere"}, "rules": []});
    let mut plain = role.clone();
    plain["metadata"]["namespace"] = Value::Null;
    let spec = json!({
        "manifests": [role],
        "deleteOption": {"propagationPolicy": "SelectivelyOrphan", "selectivelyOrphans": {"orphaningRules": [
            {"group": "rbac.authorization.k8s.io", "resource": "clusterroles", "name": rig.namespace, "namespace": "elsewhere"},
        ]}},
    });
    let status = rig.becomes(spec).await?;
    ensure!(applied(&status, 0), "{status:?}");
    rig.ends_at_once().await?;
    let live = rig.live(&plain).await?.context("it stays")?;
    ensure!(live.metadata.owner_references.is_none(), "{live:?}");
    rig.objects(&plain)
        .delete(&rig.namespace, &DeleteParams::default())
        .await?;
    Ok(())
}
