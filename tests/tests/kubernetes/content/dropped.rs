//! What a manifest does not say any more.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_key_of_a_secret_goes() -> Result<()> {
    let fixture = Fixture::new("dropped-secret").await?;
    let before = case(
        &fixture,
        include_str!("../../../cases/secret-stringdata-1.json"),
    )?;
    let after = case(
        &fixture,
        include_str!("../../../cases/secret-stringdata-2.json"),
    )?;
    let secret = before.manifests[0].clone();
    let one = json!({ "username": "YWRtaW4=", "password": "b25l" });
    let two = json!({ "user": "YWRtaW4=", "password": "dHdv" });
    for strategy in ["", "Update", "ServerSideApply"] {
        let configs = match strategy {
            "" => Vec::new(),
            strategy => {
                let strategy = json!({ "updateStrategy": { "type": strategy } });
                vec![fixture.config("secrets", "*", strategy)]
            }
        };
        let with = |change: &Change| Change {
            manifest_configs: configs.clone(),
            ..change.clone()
        };
        let bundle = fixture.post(with(&before)).await?;
        bundle.is_applied().await?;
        holds(&fixture, &secret, one.clone()).await?;
        bundle.change_all(with(&after)).await?;
        bundle.is_applied().await?;
        holds(&fixture, &secret, two.clone()).await?;
        bundle.goes().await?;
    }
    fixture.region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_another_agent_applied_as_text_goes_when_it_is_dropped() -> Result<()> {
    let mut fixture = Fixture::new("dropped-secret-of-before").await?;
    let before = case(
        &fixture,
        include_str!("../../../cases/secret-stringdata-1.json"),
    )?;
    let after = case(
        &fixture,
        include_str!("../../../cases/secret-stringdata-2.json"),
    )?;
    let secret = before.manifests[0].clone();
    let id = {
        let bundle = fixture.post(before).await?;
        bundle.is_applied().await?;
        bundle.id
    };
    // As the Go agent does, and as this one did: the fields are held as `stringData`, the keys by nobody.
    let live = fixture.live(&secret).await?.context("it is there")?;
    let mut as_text = secret.clone();
    as_text["metadata"]["ownerReferences"] = live["metadata"]["ownerReferences"].clone();
    fixture.region.agent("cluster1")?.service.kill()?;
    apply_as(&fixture, "work-agent", &as_text).await?;
    fixture.region.agent("cluster1")?.service.restart()?;
    let bundle = PostedBundle {
        fixture: &fixture,
        id,
    };
    bundle.change_all(after).await?;
    bundle.is_applied().await?;
    let data = json!({ "user": "YWRtaW4=", "password": "dHdv" });
    holds(&fixture, &secret, data).await?;
    bundle.goes().await?;
    fixture.region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_dropped_with_a_change_of_strategy_goes() -> Result<()> {
    let fixture = Fixture::new("dropped-strategy").await?;
    let before = case(
        &fixture,
        include_str!("../../../cases/update-to-ssa-1.json"),
    )?;
    let after = case(
        &fixture,
        include_str!("../../../cases/update-to-ssa-2.json"),
    )?;
    let map = before.manifests[0].clone();
    let other = |options: Value| {
        let strategy = json!({ "type": "ServerSideApply", "serverSideApply": options });
        let config = fixture.config(
            "configmaps",
            "switch",
            json!({ "updateStrategy": strategy }),
        );
        Change {
            manifest_configs: vec![config],
            ..after.clone()
        }
    };
    let changed = |mut change: Change| {
        change.manifests[0]["data"]["a"] = "2".into();
        change
    };
    let unconfigured = Change {
        manifest_configs: Vec::new(),
        ..before.clone()
    };
    let named = json!({ "fieldManager": "work-agent-of-theirs" });
    for (before, after, data) in [
        (before.clone(), after.clone(), json!({ "a": "1" })),
        // What we wrote ourselves is in nobody's way, even without force.
        (before.clone(), changed(after.clone()), json!({ "a": "2" })),
        (
            before.clone(),
            changed(other(named.clone())),
            json!({ "a": "2" }),
        ),
        (unconfigured, changed(other(named)), json!({ "a": "2" })),
    ] {
        let bundle = fixture.post(before).await?;
        bundle.is_applied().await?;
        holds(&fixture, &map, json!({ "a": "1", "b": "2" })).await?;
        bundle.change_all(after).await?;
        bundle.is_applied().await?;
        holds(&fixture, &map, data).await?;
        bundle.goes().await?;
    }
    fixture.region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_ignored_keeps_its_value_when_the_strategy_changes() -> Result<()> {
    let fixture = Fixture::new("ignored-strategy").await?;
    let template = json!({
        "metadata": { "labels": { "app": "web" } },
        "spec": { "containers": [{ "name": "web", "image": "web" }] },
    });
    let spec = json!({
        "replicas": 3, "selector": { "matchLabels": { "app": "web" } }, "template": template,
    });
    let web = fixture.manifest(
        "web",
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "spec": spec }),
    );
    let with = |strategy: Value| Change {
        manifests: vec![web.clone()],
        manifest_configs: vec![fixture.config(
            "apps/deployments",
            "web",
            json!({ "updateStrategy": strategy }),
        )],
        ..Change::default()
    };
    let bundle = fixture.post(with(json!({ "type": "Update" }))).await?;
    bundle.is_applied().await?;
    let ignore = json!({ "condition": "OnSpokePresent", "jsonPaths": [".spec.replicas"] });
    let options = json!({ "force": true, "ignoreFields": [ignore] });
    let ssa = json!({ "type": "ServerSideApply", "serverSideApply": options });
    bundle.change_all(with(ssa)).await?;
    bundle.is_applied().await?;
    let live = fixture.live(&web).await?.context("it is there")?;
    ensure!(live["spec"]["replicas"] == 3, "{live}");
    bundle.goes().await?;
    fixture.region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_account_that_is_dropped_goes() -> Result<()> {
    let fixture = Fixture::new("dropped-account").await?;
    let web = |account: Value| {
        let mut pod = json!({ "containers": [{ "name": "web", "image": "web" }] });
        pod["serviceAccountName"] = account;
        if pod["serviceAccountName"].is_null() {
            pod.as_object_mut()
                .map(|pod| pod.remove("serviceAccountName"));
        }
        let template = json!({ "metadata": { "labels": { "app": "web" } }, "spec": pod });
        let spec = json!({
            "replicas": 0, "selector": { "matchLabels": { "app": "web" } }, "template": template,
        });
        fixture.manifest(
            "web",
            json!({ "apiVersion": "apps/v1", "kind": "Deployment", "spec": spec }),
        )
    };
    let bundle = fixture.post_manifests(vec![web("robot".into())]).await?;
    bundle.is_applied().await?;
    bundle.change(vec![web(Value::Null)]).await?;
    bundle.is_applied().await?;
    until(&fixture, &web(Value::Null), "its account", |live| {
        let pod = &live["spec"]["template"]["spec"];
        pod["serviceAccountName"].is_null() && pod["serviceAccount"].is_null() && pod.is_object()
    })
    .await?;
    bundle.goes().await?;
    fixture.region.passed();
    Ok(())
}
