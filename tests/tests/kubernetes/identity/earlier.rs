//! Records that earlier versions of this agent, or a Go agent, wrote are understood and put right.

use agent::crd::CLAIMS;
use kube::api::{Patch, PatchParams, PostParams};

use super::*;
use crate::applier::applied_works;

const GO: &str = "123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0";

fn role(rig: &Rig) -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": rig.namespace}, "rules": []})
}

/// Makes the record say what an earlier version would have written.
pub(super) async fn rewrite(rig: &Rig, change: impl Fn(&mut Value, &mut Value)) -> Result<()> {
    let records = applied_works(&rig.client);
    let Some(record) = rig.record().await? else {
        return Ok(());
    };
    let annotations = record.metadata.annotations.unwrap_or_default();
    let mut claims: Value = serde_json::from_str(annotations.get(CLAIMS).context("claims")?)?;
    let mut applied = listed(rig, &claims["objects"]).await?;
    change(&mut claims["objects"], &mut applied);
    let params = PatchParams::default();
    let claims = json!({"metadata": {"annotations": {CLAIMS: claims.to_string()}}});
    records
        .patch(&rig.record_name(), &params, &Patch::Merge(claims))
        .await?;
    let status = json!({"status": {"appliedResources": applied}});
    records
        .patch_status(&rig.record_name(), &params, &Patch::Merge(status))
        .await?;
    Ok(())
}

/// The list with uids that earlier versions kept beside their claims.
async fn listed(rig: &Rig, claims: &Value) -> Result<Value> {
    let mut listed = Vec::new();
    for claim in claims.as_array().context("claims")? {
        let text = |at: usize| claim[at].as_str().unwrap_or_default();
        let [group, version, kind, namespace, name] = [0, 1, 2, 3, 4].map(text);
        let separator = if group.is_empty() { "" } else { "/" };
        let object = json!({
            "apiVersion": format!("{group}{separator}{version}"), "kind": kind,
            "metadata": {"name": name, "namespace": namespace},
        });
        // Of a kind that is not served (any more) there is none.
        let uid = rig.uid(&object).await.unwrap_or_default();
        listed.push(json!({
            "group": group, "version": version, "resource": format!("{}s", kind.to_lowercase()),
            "namespace": namespace, "name": name, "uid": uid,
        }));
    }
    Ok(listed.into())
}

#[tokio::test]
async fn a_stray_namespace_in_a_record_is_put_right_and_removes_nothing() -> Result<()> {
    let mut rig = Rig::new("old-stray").await?;
    let role = role(&rig);
    rig.becomes(manifests([&role])).await?;
    let before = rig.uid(&role).await?;
    ensure!(before.is_some(), "it is there");
    rewrite(&rig, |claims, applied| {
        claims[0][3] = "elsewhere".into();
        applied[0]["namespace"] = "elsewhere".into();
    })
    .await?;
    rig.restart().await?;
    let status = rig.becomes(manifests([&role])).await?;
    ensure!(applied(&status, 0), "{status:?}");
    ensure!(rig.uid(&role).await? == before, "it is the same");
    let record = rig.record().await?.context("a record")?;
    let record = serde_json::to_string(&record)?;
    ensure!(!record.contains("elsewhere"), "{record}");
    rig.ends_at_once().await?;
    ensure!(rig.uid(&role).await?.is_none(), "it is gone");
    Ok(())
}

#[tokio::test]
async fn a_record_of_what_never_had_a_place_holds_up_nothing() -> Result<()> {
    let mut rig = Rig::new("old-homeless").await?;
    let map = rig.manifest("v1", "ConfigMap", "a", json!({}));
    rig.becomes(manifests([&map])).await?;
    rewrite(&rig, |claims, _| {
        let nowhere = json!(["", "v1", "ConfigMap", "", "b", null, 1]);
        let unknown = json!(["example.com", "v1", "Gizmo", "x", "c", null, 2]);
        if let Some(claims) = claims.as_array_mut() {
            claims.extend([nowhere, unknown]);
        }
    })
    .await?;
    rig.restart().await?;
    rig.ends_at_once().await?;
    ensure!(rig.uid(&map).await?.is_none(), "it is gone");
    Ok(())
}

#[tokio::test]
async fn a_uid_that_a_record_has_under_another_kind_too_is_not_removed() -> Result<()> {
    let mut rig = Rig::new("two-kinds").await?;
    let map = rig.manifest("v1", "ConfigMap", "a", json!({}));
    let view = rig.manifest("v9", "Secret", "a", json!({}));
    rig.becomes(manifests([&map])).await?;
    let before = rig.uid(&map).await?;
    // As where a server shows one object as two kinds.
    rewrite(&rig, |_, applied| {
        let mut other = applied[0].clone();
        other["resource"] = "secrets".into();
        if let Some(applied) = applied.as_array_mut() {
            applied.push(other);
        }
    })
    .await?;
    rig.restart().await?;
    rig.becomes(manifests(&[view])).await?;
    ensure!(rig.uid(&map).await? == before, "it is the same");
    Ok(())
}

/// What a Go agent leaves of one object: its record, and the object with its owner.
async fn left_by_go(rig: &Rig, manifest: &Value, listed: Value) -> Result<String> {
    let record = json!({
        "apiVersion": "work.open-cluster-management.io/v1", "kind": "AppliedManifestWork",
        "metadata": {"name": format!("{GO}-{}", rig.namespace)},
        "spec": {"hubHash": GO, "agentID": GO, "manifestWorkName": rig.namespace},
    });
    let (params, records) = (PostParams::default(), applied_works(&rig.client));
    let record = records
        .create(&params, &serde_json::from_value(record)?)
        .await?;
    let name = record.metadata.name.context("a name")?;
    let mut owned = manifest.clone();
    owned["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "work.open-cluster-management.io/v1", "kind": "AppliedManifestWork",
        "name": name, "uid": record.metadata.uid,
    }]);
    let object = serde_json::from_value(owned)?;
    let object = rig.objects(manifest).create(&params, &object).await?;
    let uid = object.metadata.uid.context("a uid")?;
    let mut listed = listed;
    listed["uid"] = uid.as_str().into();
    let status = json!({"status": {"appliedResources": [listed]}});
    records
        .patch_status(&name, &PatchParams::default(), &Patch::Merge(status))
        .await?;
    Ok(uid)
}

#[tokio::test]
async fn what_a_go_agent_wrote_under_other_coordinates_is_the_same_object() -> Result<()> {
    let class = |rig: &Rig| {
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
            "metadata": {"name": rig.namespace}, "spec": {"controller": "example.com/c"}})
    };
    let ingress = |rig: &Rig| {
        let port = json!({"number": 80});
        let spec = json!({"spec": {"defaultBackend": {"service": {"name": "s", "port": port}}}});
        rig.manifest("networking.k8s.io/v1", "Ingress", "i", spec)
    };
    let listed = |group: &str, version: &str, resource: &str, namespace: &str, name: &str| json!({"group": group, "version": version, "resource": resource, "namespace": namespace, "name": name});
    for row in ["stray", "group"] {
        let first = Rig::new(&format!("go-{row}")).await?;
        let ns = first.namespace.clone();
        let (manifest, listed) = match row {
            "stray" => (
                class(&first),
                listed(
                    "networking.k8s.io",
                    "v1beta1",
                    "ingressclasses",
                    "elsewhere",
                    &ns,
                ),
            ),
            _ => (
                ingress(&first),
                listed("extensions", "v1beta1", "ingresses", &ns, "i"),
            ),
        };
        let uid = left_by_go(&first, &manifest, listed).await?;
        let mut rig = Rig::of(first.client.clone(), ns, &[GO]).await?;
        let status = rig.becomes(manifests([&manifest])).await?;
        ensure!(applied(&status, 0), "{row}: {status:?}");
        ensure!(
            rig.uid(&manifest).await? == Some(uid),
            "{row}: it is the same"
        );
        rig.ends_at_once().await?;
        ensure!(rig.uid(&manifest).await?.is_none(), "{row}: it is gone");
    }
    Ok(())
}
