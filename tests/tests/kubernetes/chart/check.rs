//! The check of the connection, as the charts run it, against a broker that keeps policies.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::process::{Output, ProcessSpec};
use tests::region::{BrokerKind, Mount, RegionBuilder};
use tests::test_dir::TestDir;

use super::server::SERVER;
use super::{AGENT, PATIENCE, REGION, next, rendered, the};

#[tokio::test(flavor = "multi_thread")]
async fn a_check_with_the_mounted_identity_passes_and_throws_nobody_out() -> Result<()> {
    let mut region = RegionBuilder::new("chart-check", BrokerKind::Sandbox)
        .start()
        .await?;
    let agent = region.agent("cluster1")?;
    let sessions = agent
        .service
        .metrics()
        .await?
        .count("mqtt_connections_total", &[]);
    let mount = agent.mount.clone();
    for (chart, mount) in [(AGENT, &mount), (SERVER, &region.bridge_mount)] {
        let passed = checked(chart, &[], mount).await?;
        ensure!(
            passed.status.success(),
            "{}{}",
            passed.stdout,
            passed.stderr
        );
        ensure!(passed.stdout.contains("pass"), "{}", passed.stdout);
    }
    let agent = &mut region.agent("cluster1")?.service;
    agent.ready().await?;
    let now = agent.metrics().await?.count("mqtt_connections_total", &[]);
    ensure!(now == sessions, "{now} sessions, {sessions} before");

    // The agent's own id and topics, which the chart takes while none runs.
    agent.kill()?;
    let own = [
        "replicas=0",
        "consumerName=cluster1",
        "check.clientId=cluster1-work-agent-client",
    ];
    let passed = checked(AGENT, &own, &mount).await?;
    ensure!(
        passed.status.success(),
        "{}{}",
        passed.stdout,
        passed.stderr
    );
    // One that the policy does not allow says so.
    let denied = checked(AGENT, &["check.clientId=somebody"], &mount).await?;
    ensure!(
        denied.status.code() == Some(4),
        "{}{}",
        denied.stdout,
        denied.stderr
    );
    region.passed();
    Ok(())
}

#[tokio::test]
async fn the_job_and_the_test_of_helm_run_the_same_pod_and_a_changed_one_is_another_job()
-> Result<()> {
    let test_dir = TestDir::new("chart-check-job")?;
    for chart in [AGENT, SERVER] {
        let mut names = Vec::new();
        for more in [
            "check.args={--json}",
            "check.args={--json}",
            "check.args={}",
            // Of the pod's metadata only.
            "commonAnnotations.a=b",
        ] {
            let objects = rendered(
                test_dir.path(),
                chart,
                "space",
                &[REGION, "check.enabled=true", more],
            )
            .await?;
            let (job, pod): (Value, Value) = (the(&objects, "Job")?, the(&objects, "Pod")?);
            ensure!(job["spec"]["template"]["spec"] == pod["spec"], "{chart}");
            let notes = &job["metadata"]["annotations"];
            ensure!(notes.get("helm.sh/hook").is_none(), "{job}");
            ensure!(
                pod["metadata"]["annotations"]["helm.sh/hook"] == "test",
                "{pod}"
            );
            names.push(
                job["metadata"]["name"]
                    .as_str()
                    .context("it has a name")?
                    .to_owned(),
            );
        }
        ensure!(names[0] == names[1] && names[1] != names[2], "{names:?}");
        ensure!(names[2] != names[3], "{names:?}");
    }
    test_dir.passed();
    Ok(())
}

/// Runs the arguments of the chart's container here, with the mount where it is.
async fn checked(chart: &str, values: &[&str], mount: &Mount) -> Result<Output> {
    let test_dir = TestDir::new("chart-check-pod")?;
    let values = [&[REGION], values].concat();
    let objects = rendered(test_dir.path(), chart, "space", &values).await?;
    let pod: Value = the(&objects, "Pod")?;
    let arguments = pod["spec"]["containers"][0]["args"].as_array();
    let arguments = arguments
        .context("it has arguments")?
        .iter()
        .filter_map(Value::as_str);
    let directory = mount.directory().display().to_string();
    let arguments: Vec<_> = arguments
        .map(|it| it.replace("/mnt/secrets-store", &directory))
        .collect();
    let output = ProcessSpec::binary("probe")?
        .label(next("probe"))
        .args(&arguments);
    let output = output.run(test_dir.path(), PATIENCE).await?;
    test_dir.passed();
    Ok(output)
}
