//! Others who write the same object, told where the source sees it.

use tokio::time::Instant;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn whoever_added_to_a_list_that_is_invalid_with_it_is_named_with_the_way_out() -> Result<()> {
    let fixture = Fixture::new("ports").await?;
    let spec = json!({ "selector": { "a": "b" }, "ports": [{ "port": 53, "protocol": "UDP" }] });
    let service = fixture.manifest(
        "ports",
        json!({ "apiVersion": "v1", "kind": "Service", "spec": spec }),
    );
    let bundle = fixture.post_manifests(vec![service.clone()]).await?;
    bundle.is_applied().await?;
    let ports = json!([{ "name": "web", "port": 81, "protocol": "TCP" }]);
    fixture
        .edit(&service, json!({ "spec": { "ports": ports } }))
        .await?;
    let words = bundle
        .says_like(
            "0/Applied",
            &[
                "False AppliedManifestFailed: Failed to apply manifest: apply Service ",
                "invalid: spec.ports[1].name: Required value; ",
                "`somebody` added .spec.ports[port=81,protocol=\"TCP\"] to what the manifest says",
                "hint: put the list of the object back (`kubectl edit`), or write all of it into the manifest",
            ],
        )
        .await?;
    ensure!(!words.contains("correct these fields"), "{words}");
    bundle.says(&[("Applied", NOT_APPLIED)]).await?;

    // The way out; nobody has to touch the bundle.
    let ports = json!([{ "port": 53, "protocol": "UDP" }]);
    fixture
        .edit(&service, json!({ "spec": { "ports": ports } }))
        .await?;
    bundle.is_applied().await?;
    until(&fixture, &service, "its port", |live| {
        live["spec"]["ports"][0]["port"] == 53
    })
    .await?;
    bundle.goes().await?;
    fixture.region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fight_is_told_in_the_status_until_it_is_over() -> Result<()> {
    let fixture = Fixture::new("fight").await?;
    let map = fixture.map("fought", json!({ "value": "1" }));
    let bundle = fixture.post_manifests(vec![map.clone()]).await?;
    bundle.is_applied().await?;
    let told = wait_for("the fight to be told", PATIENCE * 2, async || {
        fixture
            .edit(&map, json!({ "data": { "value": "theirs" } }))
            .await?;
        let words = condition(&bundle.bundle().await?, "0/Applied");
        ensure!(words.starts_with("False"), "{words}");
        anyhow::Ok(words)
    })
    .await?;
    for part in [
        "False AppliedManifestFailed: Failed to apply manifest: ",
        &format!(
            "`{SOMEBODY}` changes ConfigMap {}/fought again and again",
            fixture.namespace
        ),
        "; hint: stop the other writer, or leave the field to one of the two",
    ] {
        ensure!(told.contains(part), "`{part}` is not in: {told}");
    }
    bundle.says(&[("Applied", NOT_APPLIED)]).await?;
    // Peace.
    let begun = Instant::now();
    wait_for("peace", Duration::from_secs(150), async || {
        let words = condition(&bundle.bundle().await?, "0/Applied");
        ensure!(words == MANIFEST_APPLIED, "{words}");
        anyhow::Ok(())
    })
    .await?;
    println!("peace was told after {:.0?}", begun.elapsed());
    until(&fixture, &map, "its value", |live| {
        live["data"]["value"] == "1"
    })
    .await?;
    bundle.goes().await?;
    fixture.region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_cluster_does_not_serve_is_told_with_what_it_serves() -> Result<()> {
    let fixture = Fixture::new("old-apis").await?;
    let change = case(&fixture, include_str!("../../../cases/old-apis.json"))?;
    let bundle = fixture.post(change).await?;
    for (ordinal, hint) in [
        (
            0,
            "this cluster does not serve `extensions/v1beta1`; it has `Ingress` in `networking.k8s.io/v1`",
        ),
        (
            1,
            "this cluster does not serve `policy/v1beta1`, and no `PodSecurityPolicy` in any other version or group",
        ),
        (
            2,
            "this cluster does not serve `apiextensions.k8s.io/v1beta1`; it has `CustomResourceDefinition` in \
             `apiextensions.k8s.io/v1`",
        ),
        (3, "the kind is written `Deployment`"),
        (
            4,
            "the cluster answers a `SubjectAccessReview` and keeps none; hint: take it out of the bundle",
        ),
        (
            5,
            "`autoscaling/v1` of this cluster has no `Scale` (`HorizontalPodAutoscaler` is there)",
        ),
    ] {
        let words = bundle
            .says_like(&format!("{ordinal}/Applied"), &[hint])
            .await?;
        ensure!(!words.contains("CustomResourceDefinition of"), "{words}");
    }
    bundle.delete().await?;
    fixture.region.passed();
    Ok(())
}
