use link::bundle::{Spec, status_hash};
use serde_json::json;

use super::*;
use crate::applier::ObjectIdentity;
use crate::reconcile::plan;

fn outcomes(spec: Value) -> Vec<ManifestOutcome> {
    let spec: Spec = serde_json::from_value(spec).unwrap();
    plan(spec, |object| {
        ObjectIdentity::of(object.clone(), object.plural_guess())
    })
    .into_iter()
    .map(|planned| ManifestOutcome {
        applied: Ok(()),
        observed: Ok(Some(planned.manifest.clone())),
        planned,
    })
    .collect()
}

fn two() -> Vec<ManifestOutcome> {
    outcomes(json!({"manifests": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "d"}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "d"}, "status": {"readyReplicas": 2}}],
        "manifestConfigs": [{"resourceIdentifier": {"group": "apps", "resource": "deployments", "name": "*", "namespace": "*"},
            "feedbackRules": [{"type": "WellKnownStatus"}]}]}))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_785_578_400 + seconds).unwrap()
}

fn context(previous: &Status, seconds: i64) -> Context<'_> {
    Context {
        previous,
        generation: 3,
        now: at(seconds),
        max_raw_bytes: 1024,
    }
}

fn text(status: &Status) -> String {
    let line = |condition: &Condition| {
        format!(
            "{}={} {} `{}` gen {} at {}",
            condition.kind,
            condition.status,
            condition.reason,
            condition.message,
            condition.observed_generation,
            &condition.last_transition_time[11..]
        )
    };
    let mut lines: Vec<String> = status.conditions.iter().map(line).collect();
    for manifest in &status.resource_status {
        let meta = &manifest.resource_meta;
        lines.push(format!("{} {} {}", meta.ordinal, meta.resource, meta.name));
        lines.extend(manifest.conditions.iter().map(|c| format!("  {}", line(c))));
        lines.extend(
            manifest
                .status_feedback
                .values
                .iter()
                .map(|value| format!("  {}", serde_json::to_string(value).unwrap())),
        );
    }
    lines.join("\n")
}

#[test]
fn a_work_that_is_well_is_described_in_the_go_agent_s_words() {
    let status = judge(two(), context(&Status::default(), 0));
    insta::assert_snapshot!(text(&status), @r#"
    Applied=True AppliedManifestWorkComplete `Apply manifest work complete` gen 3 at 10:00:00Z
    Available=True ResourcesAvailable `All resources are available` gen 3 at 10:00:00Z
    0 configmaps a
      Applied=True AppliedManifestComplete `Apply manifest complete` gen 3 at 10:00:00Z
      Available=True ResourceAvailable `Resource is available` gen 0 at 10:00:00Z
      StatusFeedbackSynced=True NoStatusFeedbackSynced `` gen 0 at 10:00:00Z
    1 deployments web
      Applied=True AppliedManifestComplete `Apply manifest complete` gen 3 at 10:00:00Z
      Available=True ResourceAvailable `Resource is available` gen 0 at 10:00:00Z
      StatusFeedbackSynced=True StatusFeedbackSynced `` gen 0 at 10:00:00Z
      {"name":"ReadyReplicas","fieldValue":{"type":"Integer","integer":2}}
    "#);
}

#[test]
fn failures_are_described_in_the_go_agent_s_words() {
    let mut outcomes = two();
    outcomes[0].applied = Err(ApplierError {
        kind: ApplierErrorKind::Conflict { owner: "x".into() },
        message: "ConfigMap d/a is held by work `x`".into(),
    });
    outcomes[0].observed = Ok(None);
    outcomes[1].observed = Err("no answer".into());
    let status = judge(outcomes, context(&Status::default(), 0));
    insta::assert_snapshot!(text(&status), @r"
    Applied=False AppliedManifestWorkFailed `Failed to apply manifest work: ConfigMap d/a is held by work `x`` gen 3 at 10:00:00Z
    Available=False ResourcesNotAvailable `1 of 2 resources are not available` gen 3 at 10:00:00Z
    0 configmaps a
      Applied=False AppliedManifestFailed `Failed to apply manifest: ConfigMap d/a is held by work `x`` gen 3 at 10:00:00Z
      Available=False ResourceNotAvailable `Resource is not available` gen 0 at 10:00:00Z
      StatusFeedbackSynced=True NoStatusFeedbackSynced `` gen 0 at 10:00:00Z
    1 deployments web
      Applied=True AppliedManifestComplete `Apply manifest complete` gen 3 at 10:00:00Z
      Available=Unknown FetchingResourceFailed `Failed to fetch resource: no answer` gen 0 at 10:00:00Z
      StatusFeedbackSynced=True StatusFeedbackSynced `` gen 0 at 10:00:00Z
    ");
}

#[test]
fn deletion_is_told_and_then_acknowledged_in_the_go_agent_s_words() {
    let before = judge(Vec::new(), context(&Status::default(), 0));
    let deleting = deleting(&[], context(&before, 5));
    let status = deleted("cluster1", context(&deleting, 9));
    assert!(status.is_deleted());
    insta::assert_snapshot!(text(&status), @r"
    Applied=True AppliedManifestWorkComplete `Apply manifest work complete` gen 3 at 10:00:00Z
    Available=Unknown ResourcesStatusUnknown `cannot get any available resource ` gen 3 at 10:00:00Z
    Deleting=True WorkDeleting `ManifestWork is being deleted` gen 3 at 10:00:05Z
    Deleted=True ManifestsDeleted `The manifests are deleted from the cluster cluster1` gen 0 at 10:00:09Z
    ");
}

#[test]
fn a_rejected_version_says_why_and_keeps_what_is_known() {
    let before = judge(two(), context(&Status::default(), 0));
    let status = rejected("`manifests` is empty", context(&before, 5));
    let applied = status.condition("Applied").unwrap();
    assert_eq!(applied.reason, "ManifestWorkInvalid");
    assert_eq!(
        applied.message,
        "Failed to apply manifest work: `manifests` is empty"
    );
    assert_eq!(status.resource_status, before.resource_status);
}

#[test]
fn judging_the_same_again_changes_no_hash_and_a_new_value_moves_its_time() {
    let first = judge(two(), context(&Status::default(), 0));
    let again = judge(two(), context(&first, 60));
    assert_eq!(status_hash(&again), status_hash(&first));
    let mut outcomes = two();
    let changed = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "status": {"readyReplicas": 3}});
    outcomes[1].observed = Ok(Some(changed));
    let later = judge(outcomes, context(&first, 60));
    let synced = &later.resource_status[1].conditions[2];
    assert_eq!(synced.last_transition_time, "2026-08-01T10:01:00Z");
    assert_eq!(later.conditions, first.conditions);
}

#[test]
fn rules_of_a_manifest_become_conditions_of_the_work() {
    let spec = json!({"manifests": [{"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": "d"},
        "status": {"conditions": [{"type": "Complete", "status": "True"}]}}],
        "manifestConfigs": [{"resourceIdentifier": {"group": "batch", "resource": "jobs", "name": "j", "namespace": "d"},
            "conditionRules": [{"type": "WellKnownConditions", "condition": "Complete"}, {"type": "CEL", "condition": "Ready", "celExpressions": ["true"]},
                {"type": "JQ", "condition": "Useful"}]}]});
    let status = judge(outcomes(spec), context(&Status::default(), 0));
    insta::assert_snapshot!(text(&status), @r"
    Applied=True AppliedManifestWorkComplete `Apply manifest work complete` gen 3 at 10:00:00Z
    Available=True ResourcesAvailable `All resources are available` gen 3 at 10:00:00Z
    Complete=True ConditionRulesAggregated `Job is finished` gen 3 at 10:00:00Z
    Ready=True ConditionRulesAggregated `Manifest is Ready` gen 3 at 10:00:00Z
    Useful=Unknown ConditionRulesAggregated `unknown rule type `JQ`: use `CEL` or `WellKnownConditions`` gen 3 at 10:00:00Z
    0 jobs j
      Applied=True AppliedManifestComplete `Apply manifest complete` gen 3 at 10:00:00Z
      Available=True ResourceAvailable `Resource is available` gen 0 at 10:00:00Z
      StatusFeedbackSynced=True NoStatusFeedbackSynced `` gen 0 at 10:00:00Z
      Complete=True ConditionRuleEvaluated `Job is finished` gen 3 at 10:00:00Z
      Ready=True ConditionRuleEvaluated `Manifest is Ready` gen 3 at 10:00:00Z
      Useful=Unknown ConditionRuleInvalid `unknown rule type `JQ`: use `CEL` or `WellKnownConditions`` gen 3 at 10:00:00Z
    ");
}

#[test]
fn a_status_too_large_for_a_message_loses_its_values_and_says_so() {
    let mut status = judge(two(), context(&Status::default(), 0));
    let whole = serde_json::to_vec(&status).unwrap().len();
    fit(&mut status, whole, at(1));
    assert_eq!(status.resource_status[1].status_feedback.values.len(), 1);
    fit(&mut status, whole - 1, at(1));
    assert!(status.resource_status[1].status_feedback.values.is_empty());
    let synced = &status.resource_status[1].conditions[2];
    assert_eq!(synced.reason, "StatusFeedbackSyncFailed");
}

fn manifest(ordinal: i32, message: &str) -> ManifestStatus {
    ManifestStatus {
        resource_meta: ResourceMeta {
            ordinal,
            kind: "ConfigMap".into(),
            ..ResourceMeta::default()
        },
        conditions: vec![Condition::new("Applied", "False", "R", message, 0, at(1))],
        ..ManifestStatus::default()
    }
}

#[test]
fn a_status_of_any_size_is_made_to_fit_and_the_work_s_own_conditions_stay() {
    let json = |status: &Status| link::bundle::go_json::to_string(status).unwrap();
    // Each `<` takes six bytes as it is sent.
    for (manifests, words) in [(3, 60_000), (40, 2_000), (2_000, 10), (20_000, 0)] {
        let mut status = Status {
            conditions: vec![Condition::new(
                "Applied",
                "False",
                "R",
                "<".repeat(30_000),
                3,
                at(1),
            )],
            resource_status: (0..manifests)
                .map(|ordinal| manifest(ordinal, &"<".repeat(words)))
                .collect(),
        };
        let whole = status.clone();
        fit(&mut status, 120_000, at(2));
        assert!(json(&status).len() <= 120_000);
        let applied = status.condition("Applied").unwrap();
        assert!(applied.message.len() <= 1024 && applied.observed_generation == 3);
        let complete = status.condition("StatusComplete");
        let all = status.resource_status.len() == whole.resource_status.len();
        assert_eq!(complete.is_none(), all, "{manifests}");
        assert_eq!(all, manifests < 1_000);

        // Judged again, nothing looks new.
        let mut again = whole;
        again.conditions.extend(complete.cloned());
        fit(&mut again, 120_000, at(9));
        assert_eq!(again, status);
    }
}

#[test]
fn of_too_many_manifests_those_that_have_finished_are_left_out_last() {
    let mut manifests: Vec<_> = (0..2_000).map(|ordinal| manifest(ordinal, "")).collect();
    for (ordinal, kind) in [(1_500, "Finished"), (1_999, "Complete")] {
        let finished = Condition::new(kind, "True", "R", "how", 3, at(1));
        manifests[ordinal].conditions.push(finished);
    }
    let mut status = Status {
        conditions: Vec::new(),
        resource_status: manifests,
    };
    fit(&mut status, 120_000, at(2));
    let shown = status.resource_status.iter();
    let shown: Vec<_> = shown.map(|it| it.resource_meta.ordinal).collect();
    let (first, last) = shown.split_at(shown.len() - 2);
    assert_eq!(last, [1_500, 1_999]);
    assert!(
        first
            .iter()
            .copied()
            .eq(0..i32::try_from(first.len()).unwrap())
    );
}

#[test]
fn a_job_that_its_time_to_live_removed_keeps_what_was_said_of_it_until_its_manifest_changes() {
    let job = |ttl: i64| {
        outcomes(json!({"manifests": [
            {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once", "namespace": "d"},
                "spec": {"ttlSecondsAfterFinished": ttl}}],
            "manifestConfigs": [{"resourceIdentifier": {"group": "batch", "resource": "jobs", "name": "*", "namespace": "*"},
                "feedbackRules": [{"type": "WellKnownStatus"}]}]}))
    };
    let mut finished = job(60);
    finished[0].observed = Ok(Some(json!({
        "apiVersion": "batch/v1", "kind": "Job", "spec": {"ttlSecondsAfterFinished": 60},
        "status": {"succeeded": 1, "conditions": [
            {"type": "Complete", "status": "True", "lastTransitionTime": at(0).to_string()}]},
    })));
    let first = judge(finished, context(&Status::default(), 1));
    let gone = |ttl: i64, seconds: i64| {
        let mut gone = job(ttl);
        gone[0].observed = Ok(None);
        let spent = is_spent(&gone[0].planned, context(&first, seconds));
        (spent, judge(gone, context(&first, seconds)))
    };
    let (spent, later) = gone(60, 61);
    assert!(spent);
    insta::assert_snapshot!(text(&later), @r#"
    Applied=True AppliedManifestWorkComplete `Apply manifest work complete` gen 3 at 10:00:01Z
    Available=True ResourcesAvailable `All resources are available` gen 3 at 10:00:01Z
    0 jobs once
      Applied=True AppliedManifestComplete `Apply manifest complete` gen 3 at 10:00:01Z
      Available=False ResourceNotAvailable `Resource is not available` gen 0 at 10:01:01Z
      StatusFeedbackSynced=True StatusFeedbackSynced `` gen 0 at 10:00:01Z
      Finished=True JobComplete `The Job is not made again after its time to live of 60 s until its manifest changes (sha256 b9f0fc9766ac0d63)` gen 0 at 10:00:00Z
      {"name":"JobComplete","fieldValue":{"type":"String","string":"True"}}
      {"name":"JobSucceeded","fieldValue":{"type":"Integer","integer":1}}
    "#);
    // Somebody deleted it before its time, or it is another Job by now.
    for (ttl, seconds) in [(60, 10), (61, 200)] {
        let (spent, status) = gone(ttl, seconds);
        assert!(!spent);
        assert_eq!(status.condition("Available").unwrap().status, "False");
        assert_eq!(status.resource_status[0].conditions.len(), 3);
    }
}
