//! Objects that others hold.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_another_work_is_left_to_it_until_that_work_goes() -> Result<()> {
    let fixture = Fixture::new("two-works").await?;
    let first = fixture
        .post_manifests(vec![fixture.map("shared", json!({ "value": "first" }))])
        .await?;
    first.is_applied().await?;
    let wanted = fixture.map("shared", json!({ "value": "second" }));
    let parts = [
        format!(
            "ConfigMap {}/shared is held by work `{}`",
            fixture.namespace, first.id
        ),
        "which declares other content; hint: ".to_owned(),
    ];
    let second = refused(&fixture, &wanted, &parts.each_ref().map(String::as_str)).await?;
    first.is_applied().await?;
    until(&fixture, &wanted, "the first's content", |live| {
        live["data"]["value"] == "first"
    })
    .await?;
    first.goes().await?;
    second.bundle.is_applied().await?;
    until(&fixture, &wanted, "the second's content", |live| {
        live["data"]["value"] == "second"
    })
    .await?;
    second.bundle.goes().await?;
    until(&fixture, &wanted, "the object to be gone", Value::is_null).await?;
    fixture.region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_another_manager_are_named_with_it() -> Result<()> {
    let fixture = Fixture::new("manager").await?;
    let mut theirs = fixture.map("theirs", json!({ "value": "theirs", "more": "theirs" }));
    theirs["metadata"]["labels"] = json!({ "of": "them" });
    let object: DynamicObject = serde_json::from_value(theirs.clone())?;
    let params = PatchParams::apply("another-agent");
    let objects = fixture.objects(&theirs);
    objects
        .patch("theirs", &params, &Patch::Apply(&object))
        .await?;

    let mut ours = fixture.map("theirs", json!({ "value": "ours", "own": "ours" }));
    ours["metadata"]["labels"] = json!({ "of": "us" });
    let beside = fixture.map("beside", json!({ "value": "1" }));
    let strategy = json!({ "updateStrategy": { "type": "ServerSideApply" } });
    let bundle = Change {
        manifests: vec![ours, beside],
        manifest_configs: vec![fixture.config("configmaps", "theirs", strategy)],
        ..Change::default()
    };
    let bundle = fixture.post(bundle).await?;
    let words = format!(
        "apply ConfigMap {}/theirs: conflict with `another-agent`: .data.value, .metadata.labels.of; \
         hint: set `force: true` to take these fields, leave them out of the manifest, or list them under \
         `ignoreFields`",
        fixture.namespace
    );
    let refused = is_refused(bundle, &[&words]).await?;
    refused
        .bundle
        .says(&[("1/Applied", MANIFEST_APPLIED)])
        .await?;
    let live = fixture.live(&theirs).await?.context("it is there")?;
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
    let live = fixture.live(&theirs).await?.context("it is there")?;
    assert_eq!(
        live["data"],
        json!({ "value": "ours", "own": "ours", "more": "theirs" })
    );
    refused.bundle.goes().await?;
    fixture.region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_another_agent_is_left_to_it_until_its_bundle_goes() -> Result<()> {
    let fixture = Fixture::of_two_agents("two-agents").await?;
    let map = |value: &str| fixture.map("shared", json!({ "value": value }));
    let first = fixture.post_manifests(vec![map("first")]).await?;
    first.is_applied().await?;
    let options = json!({ "fieldManager": "work-agent-two" });
    let strategy =
        json!({ "updateStrategy": { "type": "ServerSideApply", "serverSideApply": options } });
    let second = Change {
        consumer_name: Some("cluster2".into()),
        manifests: vec![
            map("second"),
            fixture.map("beside", json!({ "value": "1" })),
        ],
        manifest_configs: vec![fixture.config("configmaps", "*", strategy)],
        ..Change::default()
    };
    let words = format!(
        "apply ConfigMap {}/shared: conflict with `work-agent`: .data.value; hint: set `force: true`",
        fixture.namespace
    );
    let second = is_refused(fixture.post(second).await?, &[&words]).await?;
    second
        .bundle
        .says(&[("1/Applied", MANIFEST_APPLIED)])
        .await?;
    first.is_applied().await?;
    first.goes().await?;
    second.bundle.is_applied().await?;
    until(&fixture, &map(""), "the second's content", |live| {
        live["data"]["value"] == "second"
    })
    .await?;
    second.bundle.goes().await?;
    until(&fixture, &map(""), "the object to be gone", Value::is_null).await?;
    fixture.region.passed();
    Ok(())
}
