//! A status that is too large for one message.

use serde_json::Map;

use super::*;
use crate::fixture::{condition, values};

#[tokio::test(flavor = "multi_thread")]
async fn feedback_that_does_not_fit_is_dropped_where_it_is_largest_and_told() -> Result<()> {
    let fixture = Fixture::new("large-status").await?;
    let large = fixture.map("large", json!({ "value": "x".repeat(40_000) }));
    let small = fixture.map("small", json!({ "value": "y".repeat(25_000) }));
    // Each value twice: more comes back than went out.
    let paths: Vec<Value> = ["once", "twice"]
        .iter()
        .map(|name| json!({ "name": name, "path": ".data" }))
        .collect();
    let rules = json!({ "feedbackRules": [{ "type": "JSONPaths", "jsonPaths": paths }] });
    let bundle = Change {
        manifests: vec![large, small],
        manifest_configs: vec![fixture.config("configmaps", "*", rules)],
        ..Change::default()
    };
    let bundle = fixture.post(bundle).await?;
    bundle
        .says(&[
            ("Applied", APPLIED),
            (
                "Available",
                "True ResourcesAvailable: All resources are available",
            ),
            ("0/Applied", MANIFEST_APPLIED),
            ("1/StatusFeedbackSynced", "True StatusFeedbackSynced: "),
        ])
        .await?;
    let parts = [
        "False StatusFeedbackSyncFailed: Sync status feedback failed with error the values are ",
        " bytes of JSON and the status of the work would pass the 120000 bytes of one message; hint: ",
    ];
    bundle.says_like("0/StatusFeedbackSynced", &parts).await?;
    let shown = bundle.bundle().await?;
    assert_eq!(values(&shown, 0), json!({}));
    assert_eq!(values(&shown, 1).as_object().map(Map::len), Some(2));
    assert_eq!(condition(&shown, "Applied"), APPLIED);
    let other = fixture
        .post_manifests(vec![fixture.map("other", json!({ "value": "1" }))])
        .await?;
    other.is_applied().await?;
    bundle.goes().await?;
    fixture.region.passed();
    Ok(())
}
