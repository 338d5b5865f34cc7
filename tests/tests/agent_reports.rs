//! What an agent refuses is told on its topic, by real processes: a version that `probe publish` sends past the bridge, as
//! mosquitto_pub would, and that the agent does not take.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use link::event::agent_report::{AgentReport, is_report};
use link::event::decode;
use tests::peer_events::{agent_topic, source_topic};
use tests::process::ProcessSpec;
use tests::region::{BrokerKind, RegionBuilder};
use tests::wait::{timeout, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_version_shows_up_on_the_agent_s_topic() -> Result<()> {
    let mut region = RegionBuilder::new("agent-reports", BrokerKind::Sandbox)
        .start()
        .await?;
    let mut spy = region.peer("spy", &[&agent_topic("cluster1")])?;
    ensure!(spy.session.ready().await);

    let kind = "io.open-cluster-management.works.v1alpha1.manifestbundles.spec.create_request";
    let mut spec = ProcessSpec::binary("probe")?
        .arg("publish")
        .arg("--identity")
        .arg(region.bridge_mount.directory())
        // The bridge has this one's client id while it runs.
        .args(["-i", "maestro", "-m", "{}", "-t", &source_topic("cluster1")]);
    for (name, value) in [
        ("ce-id", "1"),
        ("ce-source", "maestro"),
        ("ce-specversion", "1.0"),
        ("ce-type", kind),
        ("ce-clustername", "cluster2"),
        ("ce-resourceid", "refused-1"),
        ("ce-resourceversion", "7"),
    ] {
        spec = spec.args(["-D", "publish", "user-property", name, value]);
    }
    region.bridge.kill()?;
    // As IoT Core does, the sandbox takes a client id once a second, and the bridge has connected under it just before.
    wait_for("the broker to take the event", PATIENCE, async || {
        let sent = spec.run(region.test_dir.path(), PATIENCE).await;
        match sent.map_err(|error| error.to_string())? {
            sent if sent.status.success() => Ok(()),
            sent => Err(sent.stdout + &sent.stderr),
        }
    })
    .await?;

    region.bridge.restart()?;
    let told = timeout(PATIENCE, async {
        loop {
            let delivery = spy.inbound.recv().await.context("the spy goes on")?;
            let event = decode(&delivery.message)?;
            delivery.ack();
            if !is_report(&event) {
                continue;
            }
            ensure!(event.original_source.as_deref() == Some("maestro"));
            let report = AgentReport::read(&event)?;
            ensure!(report.certificate.is_some(), "{report:?}");
            if let Some(refusal) = report.refusals.into_iter().next() {
                return Ok(refusal);
            }
        }
    });
    let refusal = told.await.context("no report names a refusal")??;
    ensure!(refusal.resource_id == "refused-1", "{refusal:?}");
    ensure!(refusal.reason == "foreign_consumer", "{refusal:?}");
    ensure!(refusal.message.contains("cluster2"), "{refusal:?}");
    region.test_dir.passed();
    Ok(())
}

const PATIENCE: Duration = Duration::from_secs(30);
