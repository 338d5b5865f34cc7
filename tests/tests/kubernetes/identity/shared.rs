//! One object in several versions of a group, and in two groups that share it.

use super::*;

fn scaler(rig: &Rig, version: &str) -> Value {
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"});
    let rest = json!({"spec": {"maxReplicas": 3, "scaleTargetRef": target}});
    rig.manifest(
        &format!("autoscaling/{version}"),
        "HorizontalPodAutoscaler",
        "h",
        rest,
    )
}

/// The same Event as the core group and as its own group spell it.
pub(super) fn events(rig: &Rig, name: &str) -> [Value; 2] {
    let about = json!({"kind": "Pod", "namespace": rig.namespace, "name": "p"});
    let common = json!({
        "action": "Look", "reason": "Seen", "type": "Normal", "eventTime": "2026-08-01T10:00:00.000000Z",
        "reportingInstance": "one",
    });
    let [mut core, mut own] = ["v1", "events.k8s.io/v1"]
        .map(|api_version| rig.manifest(api_version, "Event", name, common.clone()));
    core["involvedObject"] = about.clone();
    core["reportingComponent"] = "example.com/eye".into();
    core["message"] = "seen".into();
    own["regarding"] = about;
    own["reportingController"] = "example.com/eye".into();
    own["note"] = "seen".into();
    [core, own]
}

#[tokio::test]
async fn a_manifest_that_moves_between_versions_keeps_its_object() -> Result<()> {
    let mut rig = Rig::new("versions").await?;
    let status = rig.becomes(manifests(&[scaler(&rig, "v1")])).await?;
    ensure!(applied(&status, 0), "{status:?}");
    let before = rig.uid(&scaler(&rig, "v1")).await?;
    ensure!(before.is_some(), "it is there");
    for (version, served) in [("v2", true), ("v9", false), ("v1", true)] {
        let status = rig.becomes(manifests(&[scaler(&rig, version)])).await?;
        ensure!(applied(&status, 0) == served, "{version}: {status:?}");
        ensure!(
            rig.uid(&scaler(&rig, "v1")).await? == before,
            "{version}: it is the same"
        );
    }
    rig.becomes(manifests(&[scaler(&rig, "v9")])).await?;
    rig.ends_at_once().await?;
    ensure!(rig.uid(&scaler(&rig, "v1")).await?.is_none(), "it is gone");
    Ok(())
}

#[tokio::test]
async fn a_manifest_that_moves_between_groups_that_share_objects_keeps_its_object() -> Result<()> {
    let mut rig = Rig::new("groups").await?;
    let [core, own] = events(&rig, "e");
    let status = rig.becomes(manifests([&core])).await?;
    ensure!(applied(&status, 0), "{status:?}");
    let before = rig.uid(&core).await?;
    ensure!(before.is_some(), "it is there");
    // The server refuses it in the new group first.
    let mut bad = own.clone();
    bad["reportingInstance"] = "two".into();
    let status = rig.becomes(manifests(&[bad])).await?;
    ensure!(!applied(&status, 0), "{status:?}");
    ensure!(rig.uid(&core).await? == before, "it is the same");
    for manifest in [&own, &core, &own] {
        let status = rig.becomes(manifests([manifest])).await?;
        ensure!(applied(&status, 0), "{status:?}");
        ensure!(rig.uid(&core).await? == before, "it is the same");
    }
    let status = rig.becomes(manifests(&[own, core.clone()])).await?;
    ensure!(
        refusal(&status, 1).contains("manifests[0] (events.k8s.io/v1 Event"),
        "{status:?}"
    );
    rig.ends_at_once().await?;
    ensure!(rig.uid(&core).await?.is_none(), "it is gone");
    Ok(())
}
