//! Objects that others hold.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_another_work_is_left_to_it_until_that_work_goes() -> Result<()> {
    let stage = Stage::new("two-works").await?;
    let first = stage
        .post_manifests(vec![stage.map("shared", json!({ "value": "first" }))])
        .await?;
    first.is_applied().await?;
    let wanted = stage.map("shared", json!({ "value": "second" }));
    let parts = [
        format!(
            "ConfigMap {}/shared is held by work `{}`",
            stage.namespace, first.id
        ),
        "which declares other content; hint: ".to_owned(),
    ];
    let second = refused(&stage, &wanted, &parts.each_ref().map(String::as_str)).await?;
    first.is_applied().await?;
    until(&stage, &wanted, "the first's content", |live| {
        live["data"]["value"] == "first"
    })
    .await?;
    first.goes().await?;
    second.bundle.is_applied().await?;
    until(&stage, &wanted, "the second's content", |live| {
        live["data"]["value"] == "second"
    })
    .await?;
    second.bundle.goes().await?;
    until(&stage, &wanted, "the object to be gone", Value::is_null).await?;
    stage.region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_another_manager_are_named_with_it() -> Result<()> {
    let stage = Stage::new("manager").await?;
    let mut theirs = stage.map("theirs", json!({ "value": "theirs", "more": "theirs" }));
    theirs["metadata"]["labels"] = json!({ "of": "them" });
    let object: DynamicObject = serde_json::from_value(theirs.clone())?;
    let params = PatchParams::apply("another-agent");
    let objects = stage.objects(&theirs);
    objects
        .patch("theirs", &params, &Patch::Apply(&object))
        .await?;

    let mut ours = stage.map("theirs", json!({ "value": "ours", "own": "ours" }));
    ours["metadata"]["labels"] = json!({ "of": "us" });
    let beside = stage.map("beside", json!({ "value": "1" }));
    let strategy = json!({ "updateStrategy": { "type": "ServerSideApply" } });
    let bundle = Change {
        manifests: vec![ours, beside],
        manifest_configs: vec![stage.config("configmaps", "theirs", strategy)],
        ..Change::default()
    };
    let bundle = stage.post(bundle).await?;
    let words = format!(
        "apply ConfigMap {}/theirs: conflict with `another-agent`: .data.value, .metadata.labels.of; \
         hint: set `force: true` to take these fields, leave them out of the manifest, or list them under \
         `ignoreFields`",
        stage.namespace
    );
    let refused = is_refused(bundle, &[&words]).await?;
    refused
        .bundle
        .says(&[("1/Applied", MANIFEST_APPLIED)])
        .await?;
    let live = stage.live(&theirs).await?.context("it is there")?;
    assert_eq!(live["data"], json!({ "value": "theirs", "more": "theirs" }));

    // The other manager gives them up.
    theirs["data"] = json!({ "more": "theirs" });
    theirs["metadata"]["labels"] = Value::Null;
    let object: DynamicObject = serde_json::from_value(theirs.clone())?;
    objects
        .patch("theirs", &params, &Patch::Apply(&object))
        .await?;
    refused
        .bundle
        .says(&[("Applied", APPLIED), ("0/Applied", MANIFEST_APPLIED)])
        .await?;
    let live = stage.live(&theirs).await?.context("it is there")?;
    assert_eq!(
        live["data"],
        json!({ "value": "ours", "own": "ours", "more": "theirs" })
    );
    refused.bundle.goes().await?;
    stage.region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_another_agent_is_left_to_it_until_its_bundle_goes() -> Result<()> {
    let stage = Stage::of_two_agents("two-agents").await?;
    let map = |value: &str| stage.map("shared", json!({ "value": value }));
    let first = stage.post_manifests(vec![map("first")]).await?;
    first.is_applied().await?;
    let options = json!({ "fieldManager": "work-agent-two" });
    let strategy =
        json!({ "updateStrategy": { "type": "ServerSideApply", "serverSideApply": options } });
    let second = Change {
        consumer_name: Some("cluster2".into()),
        manifests: vec![map("second"), stage.map("beside", json!({ "value": "1" }))],
        manifest_configs: vec![stage.config("configmaps", "*", strategy)],
        ..Change::default()
    };
    let words = format!(
        "apply ConfigMap {}/shared: conflict with `work-agent`: .data.value; hint: set `force: true`",
        stage.namespace
    );
    let second = is_refused(stage.post(second).await?, &[&words]).await?;
    second
        .bundle
        .says(&[("1/Applied", MANIFEST_APPLIED)])
        .await?;
    first.is_applied().await?;
    first.goes().await?;
    second.bundle.is_applied().await?;
    until(&stage, &map(""), "the second's content", |live| {
        live["data"]["value"] == "second"
    })
    .await?;
    second.bundle.goes().await?;
    until(&stage, &map(""), "the object to be gone", Value::is_null).await?;
    stage.region.passed();
    Ok(())
}
