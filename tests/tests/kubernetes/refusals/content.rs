//! What is wrong with the manifest itself.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_are_invalid_are_named() -> Result<()> {
    let fixture = Fixture::new("invalid").await?;
    let containers = json!([{ "name": "web", "image": "web" }]);
    let spec = |app: &str| {
        json!({
            "replicas": 0,
            "selector": { "matchLabels": { "app": "web" } },
            "template": { "metadata": { "labels": { "app": app } }, "spec": { "containers": containers } },
        })
    };
    let web = |app: &str| {
        let rest = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "spec": spec(app) });
        fixture.manifest("web", rest)
    };
    let parts = [
        "invalid: spec.template.metadata.labels: Invalid value: ",
        "`selector` does not match template `labels`",
        "hint: correct these fields in the manifest (`kubectl explain` describes them)",
    ];
    let refused = refused(&fixture, &web("other"), &parts).await?;
    let unavailable = "False ResourceNotAvailable: Resource is not available";
    refused.bundle.says(&[("0/Available", unavailable)]).await?;
    refused.bundle.change(vec![web("web")]).await?;
    refused.bundle.is_applied().await?;

    let mut unknown = fixture.map("unknown", json!({ "value": "1" }));
    unknown["dota"] = json!({ "value": "1" });
    super::refused(&fixture, &unknown, &["dota", "hint: remove the field"]).await?;
    fixture.region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_a_secret_is_never_told() -> Result<()> {
    let fixture = Fixture::new("secret").await?;
    for (name, rest) in [
        ("no-base64", json!({ "data": { "password": "hunter2!" } })),
        ("no-map", json!({ "data": "hunter2!" })),
        (
            "no-text",
            json!({ "stringData": { "password": ["hunter2!"] } }),
        ),
    ] {
        let mut secret = fixture.manifest(name, rest);
        secret["apiVersion"] = "v1".into();
        secret["kind"] = "Secret".into();
        let object = format!("apply Secret {}/{name}: ", fixture.namespace);
        let refused = refused(&fixture, &secret, &[&object]).await?;
        ensure!(!refused.words.contains("hunter2"), "{}", refused.words);
    }
    fixture.region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_cannot_be_changed_is_named_and_the_object_stays() -> Result<()> {
    let fixture = Fixture::new("immutable").await?;
    let job = |image: &str| {
        let containers = json!([{ "name": "work", "image": image }]);
        let template = json!({ "spec": { "restartPolicy": "Never", "containers": containers } });
        let spec = json!({ "managedBy": "example.com/nobody", "template": template });
        fixture.manifest(
            "job",
            json!({ "apiVersion": "batch/v1", "kind": "Job", "spec": spec }),
        )
    };
    let service = |spec: Value| {
        fixture.manifest(
            "service",
            json!({ "apiVersion": "v1", "kind": "Service", "spec": spec }),
        )
    };
    let ports = json!([{ "port": 80 }]);
    for (before, after, parts) in [
        (
            job("one"),
            job("two"),
            ["spec.template: Invalid value: ", "field is immutable"],
        ),
        (
            service(json!({ "ports": ports })),
            service(json!({ "ports": ports, "clusterIP": "10.0.0.201" })),
            [
                "spec.clusterIPs[0]: Invalid value: ",
                "may not change once set",
            ],
        ),
    ] {
        let beside = |value: &str| fixture.map("beside", json!({ "value": value }));
        let bundle = fixture
            .post_manifests(vec![before.clone(), beside("1")])
            .await?;
        bundle.is_applied().await?;
        let uid = fixture.live(&before).await?.context("it is there")?["metadata"]["uid"].clone();
        bundle.change(vec![after, beside("2")]).await?;
        let hint = "hint: it cannot be changed in place: delete the object or give the new one another name";
        let refused = is_refused(bundle, &[parts[0], parts[1], hint]).await?;
        refused
            .bundle
            .says(&[("1/Applied", MANIFEST_APPLIED)])
            .await?;
        until(&fixture, &beside("2"), "the other manifest", |live| {
            live["data"]["value"] == "2"
        })
        .await?;
        let live = fixture.live(&before).await?.context("it is still there")?;
        ensure!(live["metadata"]["uid"] == uid, "nobody replaced it");
        refused.bundle.change(vec![before, beside("2")]).await?;
        refused.bundle.is_applied().await?;
        refused.bundle.goes().await?;
    }
    fixture.region.passed();
    Ok(())
}
