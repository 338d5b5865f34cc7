//! Row 10: manifests that other JSON libraries, or an API server, write in another way.

use agent::crd::ManifestWork;
use anyhow::{Result, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};
use tests::go::{applied, kind, next, spec, status_request, value};
use tests::wait::wait_for;

use super::{Fixture, PATIENCE};

#[tokio::test(flavor = "multi_thread")]
async fn odd_content_stays_as_it_is_and_its_hash_too() -> Result<()> {
    let mut fixture = Fixture::start("conformance-content").await?;
    let group = format!("{}.example.com", fixture.namespace);
    let definition = definition(&group);
    let text = "<a href=\"x\">&amp;</a> \u{2028}\u{2029} \u{e9}\u{1f980} \\u003c \t end";
    let odd = json!({
        "apiVersion": format!("{group}/v1"), "kind": "Oddity",
        "metadata": { "name": "odd", "namespace": fixture.namespace },
        "spec": {
            "text": text, "float": 1.5, "tiny": 1e-7, "whole": 3.0, "big": 9_007_199_254_740_993_i64,
            "largest": i64::MAX, "negative": -0.25, "empty": {}, "none": [], "nothing": null,
            "blank": "", "nested": { "empty": {}, "list": [{}, null, ""] },
        },
    });
    let data = json!({
        "manifests": [definition, odd, fixture.map("text", text)],
        "manifestConfigs": [{
            "resourceIdentifier": { "group": group, "resource": "oddities", "name": "odd", "namespace": fixture.namespace },
            "feedbackRules": [{ "type": "JSONPaths", "jsonPaths": [{ "name": "all", "path": ".spec" }] }],
        }],
    })
    .to_string();
    fixture
        .send(spec("odd", "create_request", 1, &[], Some(&data)))
        .await?;
    let (told, status) = applied(&mut fixture.source, "odd", 1).await?;
    let hash = value(&told, "statushash").map(str::to_owned);
    let kept = fixture.value_of("text").await?;
    ensure!(kept.as_deref() == Some(text), "{kept:?}");
    let gvk = GroupVersionKind::gvk(&group, "v1", "Oddity");
    let resource = ApiResource::from_gvk_with_plural(&gvk, "oddities");
    let oddities: Api<DynamicObject> =
        Api::namespaced_with(fixture.kube.clone(), &fixture.namespace, &resource);
    let before = oddities.get("odd").await?;
    for field in [
        "text", "float", "big", "largest", "negative", "empty", "none", "blank",
    ] {
        let (is, wanted) = (&before.data["spec"][field], &odd["spec"][field]);
        ensure!(is == wanted, "`{field}` is {is}");
    }
    let feedback = serde_json::to_string(&status.resource_status)?;
    ensure!(feedback.contains("9007199254740993"), "{feedback}");

    // An agent that is killed before it has written what it reported judges once more, at another time.
    let works: Api<ManifestWork> = Api::namespaced(fixture.kube.clone(), fixture.works()?);
    wait_for("the reported status to be written", PATIENCE, async || {
        let written = works.get("odd").await?.status.unwrap_or_default();
        ensure!(written.conditions == status.conditions, "{written:?}");
        anyhow::Ok(())
    })
    .await?;

    // The same again, and after a restart: nothing to write, nothing to say.
    fixture
        .send(spec("odd", "update_request", 1, &[], Some(&data)))
        .await?;
    fixture.restart().await?;
    fixture
        .send(fixture.bundle("fence", "create_request", 1, "one"))
        .await?;
    applied(&mut fixture.source, "fence", 1).await?;
    fixture
        .send(status_request(r#"{"statusHashes":[]}"#))
        .await?;
    loop {
        let told = next(&mut fixture.source, "status.").await?;
        if value(&told, "resourceid") == Some("odd") {
            ensure!(value(&told, "statushash") == hash.as_deref(), "{told:?}");
            if kind(&told).ends_with("status.resync_response") {
                break;
            }
        }
    }
    let after = oddities.get("odd").await?;
    ensure!(
        before.metadata.resource_version == after.metadata.resource_version,
        "{before:?}, then {after:?}"
    );
    let definitions: Api<CustomResourceDefinition> = Api::all(fixture.kube.clone());
    for found in definitions.list(&ListParams::default()).await?.items {
        if found.spec.group == group {
            let name = found.metadata.name.unwrap_or_default();
            definitions.delete(&name, &DeleteParams::default()).await?;
        }
    }
    fixture.passed();
    Ok(())
}

fn definition(group: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("oddities.{group}") },
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": { "kind": "Oddity", "plural": "oddities", "singular": "oddity", "listKind": "OddityList" },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                }},
            }],
        },
    })
}
