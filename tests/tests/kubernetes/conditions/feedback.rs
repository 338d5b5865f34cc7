//! Values that are read back.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn well_known_values_of_a_deployment_follow_its_pods() -> Result<()> {
    let fixture = Fixture::new("well-known").await?;
    let web = deployment(&fixture, 3);
    let bundle = Change {
        manifests: vec![web.clone()],
        manifest_configs: vec![fixture.config("apps/deployments", "web", well_known())],
        ..Change::default()
    };
    let bundle = fixture.post(bundle).await?;
    let integer = |value: i64| json!({ "type": "Integer", "integer": value });
    // What is 0 is left out by the API.
    bundle
        .feeds_back(0, json!({ "Replicas": integer(3) }))
        .await?;
    bundle.says(&[("0/StatusFeedbackSynced", SYNCED)]).await?;
    let pods: Api<Pod> = Api::namespaced(fixture.client.clone(), &fixture.namespace);
    for pod in pods
        .list(&ListParams::default())
        .await?
        .items
        .iter()
        .take(2)
    {
        let name = pod.metadata.name.as_deref().context("a pod has a name")?;
        let ready = json!([{ "type": "Ready", "status": "True" }]);
        let status = Patch::Merge(json!({ "status": { "phase": "Running", "conditions": ready } }));
        pods.patch_status(name, &PatchParams::default(), &status)
            .await?;
    }
    let expected = json!({
        "ReadyReplicas": integer(2), "Replicas": integer(3), "AvailableReplicas": integer(2),
    });
    bundle.feeds_back(0, expected).await?;
    bundle.goes().await?;
    fixture.region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_change_of_an_applied_object_reaches_rest() -> Result<()> {
    let fixture = Fixture::new("status-change").await?;
    let web = deployment(&fixture, 0);
    let path = r#".status.conditions[?(@.type=="Test")].message"#;
    let rules = json!({ "feedbackRules": [
        { "type": "JSONPaths", "jsonPaths": [{ "name": "round", "path": path }] },
    ]});
    let bundle = Change {
        manifests: vec![web.clone()],
        manifest_configs: vec![fixture.config("apps/deployments", "web", rules)],
        ..Change::default()
    };
    let bundle = fixture.post(bundle).await?;
    bundle
        .says(&[("Applied", APPLIED), ("Available", ALL_AVAILABLE)])
        .await?;
    // The controller has written what it has to say.
    until(&fixture, &web, "the controller", |live| {
        !live["status"]["conditions"].is_null()
    })
    .await?;
    for round in 0..5 {
        let told = round.to_string();
        let live = fixture.live(&web).await?.context("it is there")?;
        let mut conditions = live["status"]["conditions"].clone();
        let list = conditions.as_array_mut().context("conditions")?;
        list.retain(|condition| condition["type"] != "Test");
        list.push(json!({ "type": "Test", "status": "True", "message": told }));
        let begun = Instant::now();
        fixture
            .set_status(&web, json!({ "conditions": conditions }))
            .await?;
        bundle
            .feeds_back(0, json!({ "round": { "type": "String", "string": told } }))
            .await?;
        println!(
            "status change {round} reached REST after {:?}",
            begun.elapsed()
        );
    }
    bundle.goes().await?;
    fixture.region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn values_have_the_type_of_what_is_found_and_too_long_ones_are_told() -> Result<()> {
    let fixture = Fixture::with("values", &["--max-json-raw-length", "32"]).await?;
    let mut web = deployment(&fixture, 0);
    web["spec"]["paused"] = true.into();
    let containers = json!([{ "name": "a", "image": "a" }, { "name": "b", "image": "b" }]);
    web["spec"]["template"]["spec"]["containers"] = containers;
    let bundle = Change {
        manifests: vec![web, fixture.map("map", json!({ "value": "1" }))],
        manifest_configs: vec![
            fixture.config("apps/deployments", "web", paths(FITTING)),
            fixture.config("configmaps", "map", well_known()),
        ],
        ..Change::default()
    };
    let bundle = fixture.post(bundle).await?;
    let fitting = json!({
        "integer": { "type": "Integer", "integer": 0 },
        "string": { "type": "String", "string": "web" },
        "boolean": { "type": "Boolean", "boolean": true },
        "object": { "type": "JsonRaw", "jsonRaw": r#"{"app":"web"}"# },
        "several": { "type": "JsonRaw", "jsonRaw": r#"["a","b"]"# },
        "filtered": { "type": "String", "string": "b" },
    });
    bundle.feeds_back(0, fitting.clone()).await?;
    bundle
        .says(&[
            ("Applied", APPLIED),
            ("0/StatusFeedbackSynced", SYNCED),
            (
                "1/StatusFeedbackSynced",
                "False StatusFeedbackSyncFailed: Sync status feedback failed with error cannot find the wellknown \
                 statuses for resource with gvk /v1, Kind=ConfigMap",
            ),
        ])
        .await?;

    // Errors leave the other values standing.
    let too_much: Vec<_> = FITTING.iter().chain(FAILING).copied().collect();
    let change = Change {
        manifest_configs: vec![fixture.config("apps/deployments", "web", paths(&too_much))],
        ..Change::default()
    };
    bundle.change_all(change).await?;
    let parts = [
        "False StatusFeedbackSyncFailed: Sync status feedback failed with error [value long is ",
        " bytes of JSON or more, the limit is 32, version v2 set in the path other is not matched for the related \
         resource version v1]",
    ];
    bundle.says_like("0/StatusFeedbackSynced", &parts).await?;
    bundle
        .says(&[("1/StatusFeedbackSynced", NO_FEEDBACK)])
        .await?;
    let shown = values(&bundle.bundle().await?, 0);
    assert_eq!(shown, fitting);
    bundle.goes().await?;
    fixture.region.passed();
    Ok(())
}

/// Name, path and version of values.
type Path = (&'static str, &'static str, &'static str);

fn paths(paths: &[Path]) -> Value {
    let paths = paths
        .iter()
        .map(|(name, path, version)| json!({ "name": name, "path": path, "version": version }));
    let paths: Vec<Value> = paths.collect();
    json!({ "feedbackRules": [{ "type": "JSONPaths", "jsonPaths": paths }] })
}

fn well_known() -> Value {
    json!({ "feedbackRules": [{ "type": "WellKnownStatus" }] })
}

fn deployment(fixture: &Fixture, replicas: i64) -> Value {
    let labels = json!({ "app": "web" });
    let containers = json!([{ "name": "web", "image": "web" }]);
    let spec = json!({
        "replicas": replicas,
        "selector": { "matchLabels": labels },
        "template": { "metadata": { "labels": labels }, "spec": { "containers": containers } },
    });
    fixture.manifest(
        "web",
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "spec": spec }),
    )
}

const FITTING: &[Path] = &[
    ("integer", ".spec.replicas", "v1"),
    ("string", ".metadata.name", ""),
    ("boolean", ".spec.paused", ""),
    ("object", ".spec.selector.matchLabels", ""),
    ("several", ".spec.template.spec.containers[*].name", ""),
    (
        "filtered",
        r#".spec.template.spec.containers[?(@.name=="b")].image"#,
        "",
    ),
    ("missing", ".spec.nothing", ""),
];
const FAILING: &[Path] = &[
    ("long", ".spec.template.spec.containers", ""),
    ("other", ".spec.replicas", "v2"),
];
const SYNCED: &str = "True StatusFeedbackSynced: ";
