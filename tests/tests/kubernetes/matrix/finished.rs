//! A bundle with a time to live after it has finished.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_a_finished_bundle_go_after_their_time_and_the_bundle_stays() -> Result<()> {
    let fixture = Fixture::new("finished").await?;
    // The controller would begin the Job again; nobody is in its place.
    let template = json!({ "spec": {
        "restartPolicy": "Never", "containers": [{ "name": "work", "image": "work" }],
    }});
    let spec = json!({ "managedBy": "example.com/nobody", "template": template });
    let job = fixture.manifest(
        "job",
        json!({ "apiVersion": "batch/v1", "kind": "Job", "spec": spec }),
    );
    let map = fixture.map("beside", json!({ "value": "1" }));
    let rules = json!({ "conditionRules": [
        { "type": "WellKnownConditions", "condition": "Complete" },
    ]});
    let bundle = Change {
        manifests: vec![job.clone(), map.clone()],
        manifest_configs: vec![fixture.config("batch/jobs", "job", rules)],
        delete_option: Some(json!({ "ttlSecondsAfterFinished": 1 })),
        ..Change::default()
    };
    let bundle = fixture.post(bundle).await?;
    bundle
        .says(&[
            ("Applied", APPLIED),
            (
                "0/Complete",
                "False ConditionRuleEvaluated: Job is not finished",
            ),
            (
                "Complete",
                "False ConditionRulesAggregated: Job is not finished",
            ),
            ("Expired", ABSENT),
        ])
        .await?;
    let condition = |kind: &str| {
        json!({
            "type": kind, "status": "True", "reason": "CompletionsReached",
            "lastProbeTime": ENDED, "lastTransitionTime": ENDED,
        })
    };
    let status = json!({
        "startTime": "2026-01-01T00:00:00Z",
        "completionTime": ENDED,
        "succeeded": 1,
        "conditions": [condition("SuccessCriteriaMet"), condition("Complete")],
    });
    fixture.set_status(&job, status).await?;
    bundle
        .says(&[
            ("Complete", "True ConditionRulesAggregated: Job is finished"),
            (
                "Expired",
                "True TTLSecondsAfterFinished: The objects were given up 1 s after the work finished",
            ),
        ])
        .await?;
    for manifest in [&job, &map] {
        until(&fixture, manifest, "the object to be gone", Value::is_null).await?;
    }
    let still = bundle.bundle().await?;
    ensure!(still.deleted_at.is_none(), "nobody deleted the bundle");
    bundle.goes().await?;
    fixture.region.passed();
    Ok(())
}

const ENDED: &str = "2026-01-01T00:01:00Z";
