//! An object is what the server says it is: neither a namespace that means nothing, nor a version, nor a group that
//! shares its objects with another makes a second one; and what never had a place in the cluster holds up nothing.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests::api::Change;

use self::rig::{Rig, applied, manifests, refusal};
use crate::fixture::{Fixture, PostedBundle};

mod changes;
mod earlier;
mod places;
mod rig;
mod shared;

/// The manifests of one of the inputs that were found in practice, with another name for what all of them share.
fn case(text: &str, name: &str) -> Result<Vec<Value>> {
    let case: Value = serde_json::from_str(&text.replace("team-a", name))?;
    let manifests = case["manifests"].as_array();
    Ok(manifests.context("manifests")?.clone())
}

async fn uid(fixture: &Fixture, manifest: &Value) -> Result<String> {
    let live = fixture.live(manifest).await?.unwrap_or_default();
    let uid = live["metadata"]["uid"].as_str();
    Ok(uid.with_context(|| format!("{manifest} is there"))?.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stray_namespace_comes_and_goes_and_nothing_is_removed() -> Result<()> {
    let fixture = Fixture::new("stray").await?;
    let name = format!("{}-team", fixture.namespace);
    let stray = case(include_str!("../../cases/stray-namespace-1.json"), &name)?;
    let plain = case(include_str!("../../cases/stray-namespace-2.json"), &name)?;
    let bundle = fixture.post_manifests(stray.clone()).await?;
    bundle.is_applied().await?;
    let before = [
        uid(&fixture, &plain[0]).await?,
        uid(&fixture, &plain[1]).await?,
    ];
    for manifests in [plain.clone(), stray] {
        bundle.change(manifests).await?;
        bundle.is_applied().await?;
        let after = [
            uid(&fixture, &plain[0]).await?,
            uid(&fixture, &plain[1]).await?,
        ];
        ensure!(before == after, "{before:?}, then {after:?}");
        let live = fixture.live(&plain[0]).await?.unwrap_or_default();
        ensure!(live["metadata"]["deletionTimestamp"].is_null(), "{live}");
    }
    bundle
        .shows(async |bundle| {
            let meta = &bundle.status["resourceStatus"][0]["resourceMeta"];
            ensure!(
                meta["namespace"].as_str().unwrap_or_default().is_empty(),
                "{meta}"
            );
            Ok(())
        })
        .await?;
    bundle.goes().await?;
    ensure!(fixture.live(&plain[0]).await?.is_none(), "it is gone");
    fixture.region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_namespace_is_refused_and_never_holds_up_a_deletion() -> Result<()> {
    let mut fixture = Fixture::new("homeless").await?;
    let homeless = case(include_str!("../../cases/no-namespace.json"), "")?;
    let mut placed = homeless.clone();
    placed[0]["metadata"]["namespace"] = fixture.namespace.as_str().into();
    let words = ["the manifest names no namespace; hint: set `metadata.namespace`"];
    let kept = {
        let never = fixture.post_manifests(homeless.clone()).await?;
        never.says_like("0/Applied", &words).await?;
        never.goes().await?;

        let later = fixture.post_manifests(homeless.clone()).await?;
        later.says_like("0/Applied", &words).await?;
        later.change(placed.clone()).await?;
        later.is_applied().await?;
        // Its object stays where it is until the next version has a place for it.
        let before = uid(&fixture, &placed[0]).await?;
        later.change(homeless).await?;
        later.says_like("0/Applied", &words).await?;
        ensure!(uid(&fixture, &placed[0]).await? == before, "it is the same");
        later.id
    };
    fixture.region.agent("cluster1")?.service.restart()?;
    let later = PostedBundle {
        fixture: &fixture,
        id: kept,
    };
    later.goes().await?;
    ensure!(fixture.live(&placed[0]).await?.is_none(), "it is gone");
    fixture.region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_moves_to_a_namespace_that_is_not_there_stays_until_it_is() -> Result<()> {
    let mut rig = Rig::new("moves").await?;
    let map = rig.manifest("v1", "ConfigMap", "a", json!({}));
    let name = format!("{}-next", rig.namespace);
    let mut moved = map.clone();
    moved["metadata"]["namespace"] = name.as_str().into();
    rig.becomes(manifests([&map])).await?;
    let status = rig.becomes(manifests([&moved])).await?;
    ensure!(
        refusal(&status, 0).contains(&format!("namespaces \"{name}\" not found")),
        "{status:?}"
    );
    ensure!(rig.uid(&map).await?.is_some(), "it stays");
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    rig.becomes(manifests(&[namespace, moved.clone()])).await?;
    ensure!(rig.uid(&map).await?.is_none(), "it has moved");
    ensure!(rig.uid(&moved).await?.is_some(), "it has moved");
    rig.ends().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_manifest_of_one_object_is_refused_and_harms_nothing_of_the_first() -> Result<()> {
    let mut rig = Rig::new("twice").await?;
    let mut both = case(
        include_str!("../../cases/two-versions-of-one-object.json"),
        "",
    )?;
    for manifest in &mut both {
        manifest["metadata"]["namespace"] = rig.namespace.as_str().into();
    }
    let status = rig.becomes(manifests(&both)).await?;
    ensure!(applied(&status, 0), "{status:?}");
    let place = format!("HorizontalPodAutoscaler {}/h", rig.namespace);
    let words = format!(
        "manifests[1] (autoscaling/v2 {place}) declares the object that manifests[0] (autoscaling/v1 {place}) declares"
    );
    ensure!(refusal(&status, 1).contains(&words), "{status:?}");
    let live = rig.live(&both[0]).await?.context("the first")?;
    ensure!(live.data["spec"]["maxReplicas"] == 3, "{live:?}");

    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": format!("{}-n", rig.namespace)}});
    let mut stray = namespace.clone();
    stray["metadata"]["namespace"] = "elsewhere".into();
    let before = rig.becomes(manifests([&namespace])).await?;
    ensure!(applied(&before, 0), "{before:?}");
    let uid = rig.uid(&namespace).await?;
    for both in [
        [namespace.clone(), stray.clone()],
        [stray, namespace.clone()],
    ] {
        let status = rig.becomes(manifests(&both)).await?;
        ensure!(applied(&status, 0) && !applied(&status, 1), "{status:?}");
        ensure!(rig.uid(&namespace).await? == uid, "it is the same");
    }
    rig.ends().await?;
    ensure!(rig.uid(&namespace).await?.is_none(), "it is gone");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_only_read_from_now_on_stays() -> Result<()> {
    let fixture = Fixture::new("only-read").await?;
    let map = fixture.map("a", json!({ "value": "1" }));
    let bundle = fixture.post_manifests(vec![map.clone()]).await?;
    bundle.is_applied().await?;
    let before = uid(&fixture, &map).await?;
    let read_only = json!({ "updateStrategy": { "type": "ReadOnly" } });
    bundle
        .change_all(Change {
            manifests: vec![map.clone()],
            manifest_configs: vec![fixture.config("configmaps", "a", read_only)],
            ..Change::default()
        })
        .await?;
    bundle.is_applied().await?;
    ensure!(uid(&fixture, &map).await? == before, "it is the same");
    let live = fixture.live(&map).await?.unwrap_or_default();
    ensure!(live["metadata"]["ownerReferences"].is_null(), "{live}");
    bundle.goes().await?;
    ensure!(uid(&fixture, &map).await? == before, "it is the same");
    fixture.region.passed();
    Ok(())
}
