//! What the region's `explain` says of an object that a cluster refuses, or does not let go.

use reqwest::Method;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_is_explained_with_object_blocker_and_next_step() -> Result<()> {
    let fixture = Fixture::new("explained").await?;
    let theirs = fixture.map("theirs", json!({ "value": "theirs" }));
    let object: DynamicObject = serde_json::from_value(theirs.clone())?;
    let params = PatchParams::apply("another-agent");
    let objects = fixture.objects(&theirs);
    objects
        .patch("theirs", &params, &Patch::Apply(&object))
        .await?;
    let strategy = json!({ "updateStrategy": { "type": "ServerSideApply" } });
    let conflict = fixture
        .post(Change {
            manifests: vec![fixture.map("theirs", json!({ "value": "ours" }))],
            manifest_configs: vec![fixture.config("configmaps", "theirs", strategy)],
            ..Change::default()
        })
        .await?;
    let widget = json!({ "apiVersion": "example.com/v1", "kind": "Widget" });
    let kind = fixture
        .post_manifests(vec![fixture.manifest("widget", widget)])
        .await?;
    let nowhere = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a", "namespace": "not-there" },
    });
    let namespace = fixture.post_manifests(vec![nowhere]).await?;
    for (bundle, words) in [
        (
            &conflict,
            vec![
                "theirs (apply)",
                "field manager `another-agent`: .data.value",
                "`force: true`",
            ],
        ),
        (
            &kind,
            vec![
                "Widget",
                "no kind `Widget` in `example.com/v1`",
                "CustomResourceDefinition",
            ],
        ),
        (
            &namespace,
            vec!["no namespace `not-there`", "create it on the cluster"],
        ),
    ] {
        explained(bundle, "MQ908", &words).await?;
    }
    fixture.region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_a_finalizer_holds_is_explained_by_its_name() -> Result<()> {
    let fixture = Fixture::new("explained-deletion").await?;
    let mut held = fixture.map("held", json!({ "value": "1" }));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    let bundle = fixture.post_manifests(vec![held.clone()]).await?;
    bundle.is_applied().await?;
    bundle.delete().await?;
    let words = [
        "held",
        "`example.com/hold`",
        "controller behind the finalizer",
    ];
    explained(&bundle, "MQ910", &words).await?;
    fixture
        .edit(&held, json!({ "metadata": { "finalizers": null } }))
        .await?;
    bundle.is_gone().await?;
    fixture.region.passed();
    Ok(())
}

/// Waits until the story of a bundle has this code and these words.
async fn explained(bundle: &PostedBundle<'_>, code: &str, words: &[&str]) -> Result<()> {
    let path = format!("/resource-bundles/{}/explain", bundle.id);
    wait_for(
        &format!("{code} of `{}`", bundle.id),
        PATIENCE,
        async || {
            let answer = bundle.fixture.api.raw(Method::GET, &path, None).await;
            let (_, text) = answer.map_err(|error| error.to_string())?;
            let story: Value = serde_json::from_str(&text).map_err(|_| text.clone())?;
            let stay = &story["waiting"];
            let told = format!("{} {}", stay["why"], stay["next"]);
            match stay["code"] == code && words.iter().all(|word| told.contains(word)) {
                true => Ok(()),
                false => Err(text),
            }
        },
    )
    .await?;
    Ok(())
}
