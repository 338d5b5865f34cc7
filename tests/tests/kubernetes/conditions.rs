//! Every condition of docs/MAESTRO.md §6.8, provoked at a real API server and read at REST, word by word.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use tests::api::Change;
use tests::wait::wait_for;
use tokio::time::Instant;

use crate::fixture::{
    ABSENT, APPLIED, Fixture, MANIFEST_APPLIED, NOT_APPLIED, PATIENCE, PostedBundle, types, until,
    values,
};

mod feedback;
mod removal;
mod rules;

#[tokio::test(flavor = "multi_thread")]
async fn applied_and_available_say_what_is_there_and_what_is_not() -> Result<()> {
    let fixture = Fixture::new("conditions").await?;
    let here = fixture.map("here", json!({ "value": "1" }));
    let absent = fixture.map("absent", json!({ "value": "1" }));
    let read_only = json!({ "updateStrategy": { "type": "ReadOnly" } });
    let bundle = Change {
        manifests: vec![here.clone(), absent.clone()],
        manifest_configs: vec![fixture.config("configmaps", "absent", read_only)],
        ..Change::default()
    };
    let bundle = fixture.post(bundle).await?;
    let here_conditions = [
        ("0/Applied", MANIFEST_APPLIED),
        ("0/Available", AVAILABLE),
        ("0/StatusFeedbackSynced", NO_FEEDBACK),
    ];
    bundle.says(&here_conditions).await?;
    bundle
        .says(&[
            ("Applied", APPLIED),
            (
                "Available",
                "False ResourcesNotAvailable: 1 of 2 resources are not available",
            ),
            ("1/Applied", MANIFEST_APPLIED),
            (
                "1/Available",
                "False ResourceNotAvailable: Resource is not available",
            ),
            ("1/StatusFeedbackSynced", NO_FEEDBACK),
        ])
        .await?;
    fixture.create(&absent).await?;
    bundle
        .says(&[("Available", ALL_AVAILABLE), ("1/Available", AVAILABLE)])
        .await?;

    // Nothing more is said without a rule, and what was applied says of which version it speaks.
    let shown = bundle.bundle().await?.status;
    assert_eq!(types(&shown), ["Applied", "Available"]);
    for manifest in shown["resourceStatus"].as_array().into_iter().flatten() {
        assert_eq!(
            types(manifest),
            ["Applied", "Available", "StatusFeedbackSynced"]
        );
        assert_eq!(manifest["conditions"][0]["observedGeneration"], 1);
        assert!(manifest["conditions"][1]["observedGeneration"].is_null());
    }
    fixture.delete(&absent).await?;
    bundle
        .says(&[(
            "Available",
            "False ResourcesNotAvailable: 1 of 2 resources are not available",
        )])
        .await?;
    bundle.goes().await?;
    fixture.region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ignore_fields_that_cannot_be_used_have_a_reason_of_their_own() -> Result<()> {
    let fixture = Fixture::new("ignore-fields").await?;
    let strategy = |field: Value| {
        let options = json!({ "ignoreFields": [field] });
        json!({ "updateStrategy": { "type": "ServerSideApply", "serverSideApply": options } })
    };
    let jq = strategy(json!({ "jqPathExpressions": [".data | error"] }));
    let path = strategy(json!({ "jsonPaths": [".data["] }));
    let bundle = Change {
        manifests: vec![
            fixture.map("jq", json!({ "value": "1" })),
            fixture.map("path", json!({ "value": "1" })),
            fixture.map("fine", json!({ "value": "1" })),
        ],
        manifest_configs: vec![
            fixture.config("configmaps", "jq", jq),
            fixture.config("configmaps", "path", path),
        ],
        ..Change::default()
    };
    let bundle = fixture.post(bundle).await?;
    bundle
        .says(&[("Applied", NOT_APPLIED), ("2/Applied", MANIFEST_APPLIED)])
        .await?;
    for (place, language) in [
        ("0/Applied", "jq expression `.data | error`"),
        ("1/Applied", "JSONPath `.data[`"),
    ] {
        let reason = "False AppliedManifestSSAIgnoreFieldError: Failed to process ignoreFields: ";
        let words = bundle.says_like(place, &[language]).await?;
        ensure!(words.starts_with(reason), "{words}");
    }
    bundle.goes().await?;
    fixture.region.passed();
    Ok(())
}

const AVAILABLE: &str = "True ResourceAvailable: Resource is available";
const ALL_AVAILABLE: &str = "True ResourcesAvailable: All resources are available";
const NO_FEEDBACK: &str = "True NoStatusFeedbackSynced: ";
