//! Jobs that remove themselves.

use agent::crd::ManifestWork;
use kube::Api;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_its_time_to_live_removed_stays_away_until_its_manifest_changes() -> Result<()> {
    let mut fixture = Fixture::new("job-ttl").await?;
    let mut change = case(&fixture, include_str!("../../../cases/job-ttl.json"))?;
    // Nobody runs its pod: the test is its controller.
    change.manifests[0]["spec"]["managedBy"] = "example.com/nobody".into();
    let rules = json!({ "feedbackRules": [{ "type": "WellKnownStatus" }] });
    change.manifest_configs = vec![fixture.config("batch/jobs", "once", rules)];
    let job = change.manifests[0].clone();
    let beside = |value: &str| fixture.map("beside", json!({ "value": value }));
    change.manifests.push(beside("1"));
    let bundle = fixture.post(change.clone()).await?;
    bundle.is_applied().await?;
    finish(&fixture, &job).await?;
    let finished = "True JobComplete: The Job is not made again after its time to live of 2 s until its manifest \
                    changes (sha256 ";
    bundle.says_like("0/Finished", &[finished]).await?;
    removed(&fixture, &job).await?;

    // Told at once, after a restart, and with another version of what is beside it.
    let gone = "False ResourceNotAvailable: Resource is not available";
    let all = "True ResourcesAvailable: All resources are available";
    let still = [
        ("Applied", APPLIED),
        ("0/Available", gone),
        ("Available", all),
    ];
    bundle.says(&still).await?;
    let id = bundle.id;
    fixture.region.agent("cluster1")?.service.restart()?;
    change.manifests[1] = fixture.map("beside", json!({ "value": "2" }));
    let bundle = PostedBundle {
        fixture: &fixture,
        id,
    };
    bundle.change_all(change.clone()).await?;
    bundle.says(&still).await?;
    bundle.says_like("0/Finished", &[finished]).await?;
    let complete = json!({
        "JobComplete": { "type": "String", "string": "True" },
        "JobSucceeded": { "type": "Integer", "integer": 1 },
    });
    bundle.feeds_back(0, complete).await?;
    ensure!(fixture.live(&job).await?.is_none(), "nobody made it again");

    change.manifests[0]["spec"]["backoffLimit"] = 1.into();
    bundle.change_all(change).await?;
    bundle.is_applied().await?;
    until(&fixture, &job, "the other job", |live| {
        live["spec"]["backoffLimit"] == 1
    })
    .await?;
    bundle.goes().await?;
    fixture.region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_job_that_somebody_deletes_before_its_time_is_made_again() -> Result<()> {
    let fixture = Fixture::new("job-deleted").await?;
    let mut change = case(&fixture, include_str!("../../../cases/job-ttl.json"))?;
    change.manifests[0]["spec"]["managedBy"] = "example.com/nobody".into();
    change.manifests[0]["spec"]["ttlSecondsAfterFinished"] = 3_600.into();
    let job = change.manifests[0].clone();
    let bundle = fixture.post(change).await?;
    bundle.is_applied().await?;
    finish(&fixture, &job).await?;
    bundle
        .says_like("0/Finished", &["True JobComplete"])
        .await?;
    let before = fixture.live(&job).await?.context("it is there")?["metadata"]["uid"].clone();
    delete(&fixture, &job).await?;
    until(&fixture, &job, "another job", |live| {
        live.is_object() && live["metadata"]["uid"] != before
    })
    .await?;
    bundle
        .says(&[("0/Finished", crate::fixture::ABSENT)])
        .await?;
    bundle.goes().await?;
    fixture.region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_without_rules_that_finishes_while_no_agent_runs_is_not_made_again() -> Result<()> {
    let mut fixture = Fixture::new("job-alone").await?;
    let mut change = case(&fixture, include_str!("../../../cases/job-ttl.json"))?;
    change.manifests[0]["spec"]["managedBy"] = "example.com/nobody".into();
    let job = change.manifests[0].clone();
    let id = fixture.post(change).await?.id;
    PostedBundle {
        fixture: &fixture,
        id: id.clone(),
    }
    .is_applied()
    .await?;
    let works = fixture.region.agent("cluster1")?.namespace.clone();
    let works = works.context("works in a cluster")?;
    let works: Api<ManifestWork> = Api::namespaced(fixture.client.clone(), &works);
    let left_in_order = async || -> Result<bool> {
        let status = works.get(&id).await?.status;
        let report = status.and_then(|status| status.report);
        Ok(report.and_then(|report| report.look).is_some())
    };
    wait_for("the look to be kept", PATIENCE, async || {
        ensure!(left_in_order().await?);
        anyhow::Ok(())
    })
    .await?;
    fixture.region.agent("cluster1")?.service.kill()?;
    finish(&fixture, &job).await?;
    fixture.region.agent("cluster1")?.service.restart()?;
    let bundle = PostedBundle {
        fixture: &fixture,
        id,
    };
    bundle
        .says_like("0/Finished", &["True JobComplete"])
        .await?;
    removed(&fixture, &job).await?;
    let gone = "False ResourceNotAvailable: Resource is not available";
    bundle.says(&[("0/Available", gone)]).await?;
    ensure!(fixture.live(&job).await?.is_none(), "nobody made it again");
    bundle.goes().await?;
    fixture.region.passed();
    Ok(())
}

/// Its controller says that it is done, as of now.
async fn finish(fixture: &Fixture, job: &Value) -> Result<()> {
    let live = fixture.live(job).await?.context("it is there")?;
    let now = &live["metadata"]["creationTimestamp"];
    let condition = |kind: &str| {
        json!({
            "type": kind, "status": "True", "reason": "CompletionsReached",
            "lastProbeTime": now, "lastTransitionTime": now,
        })
    };
    let status = json!({
        "startTime": now, "completionTime": now, "succeeded": 1,
        "conditions": [condition("SuccessCriteriaMet"), condition("Complete")],
    });
    fixture.set_status(job, status).await
}

/// Its time to live removes it.
async fn removed(fixture: &Fixture, job: &Value) -> Result<()> {
    delete(fixture, job).await?;
    until(fixture, job, "the job to go", Value::is_null).await
}

async fn delete(fixture: &Fixture, job: &Value) -> Result<()> {
    let name = job["metadata"]["name"].as_str().unwrap_or_default();
    let params = kube::api::DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        ..Default::default()
    };
    fixture.objects(job).delete(name, &params).await?;
    Ok(())
}
