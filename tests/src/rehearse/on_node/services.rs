//! Phases 3, 4 and 5: the pods reach the broker, then server and agent are ready.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;

use super::NodeFixture;
use super::release::{AGENT, Release, SERVER};
use crate::api::Api;
use crate::rehearse::services::{registered, sessions_of};
use crate::rehearse::{CREDENTIALS, PATIENCE, REPLICAS};
use crate::wait::wait_for;

pub(super) async fn connectivity(fixture: &mut NodeFixture) -> Result<()> {
    for release in [SERVER, AGENT] {
        let test = ["test", release.name, "--namespace", release.name];
        fixture.node.helm(&test).await?;
        fixture.rehearsal.saw(format!(
            "`helm test {}`: `probe check` in a pod shakes hands with the broker",
            release.name
        ));
    }
    // Any replica may take any slot, so that none runs meanwhile.
    let values = SERVER.upgrade(fixture, &[]).await?;
    let slots = values["slots"]
        .as_u64()
        .context("the outputs say `slots`")?;
    let client = values["clientId"].as_str();
    let client = client.context("the outputs say `clientId`")?;
    let client = format!("{client}-{}", slots - 1);
    check(fixture, SERVER, &client, &["replicas=0"]).await?;
    // An agent has one client id, which must be free.
    AGENT.upgrade(fixture, &["replicas=0"]).await?;
    let client = client_id();
    let broker = fixture.rehearsal.testbed.broker.clone();
    wait_for("the agent to go", PATIENCE, async || {
        match broker.connections().iter().any(|it| it.client_id == client) {
            true => Err("it is connected"),
            false => Ok(()),
        }
    })
    .await?;
    check(fixture, AGENT, &client, &["replicas=0"]).await
}

/// Runs the check of a chart as a Job, with this client id.
async fn check(
    fixture: &mut NodeFixture,
    release: Release,
    client: &str,
    set: &[&str],
) -> Result<()> {
    let id = format!("check.clientId={client}");
    let mut all = vec!["check.enabled=true", &id];
    all.extend(set);
    release.upgrade(fixture, &all).await?;
    let (node, space) = (fixture.node, release.name);
    let pods = format!("batch.kubernetes.io/job-name,app.kubernetes.io/instance={space}");
    let over = |pod: &Pod| ["Succeeded", "Failed"].contains(&phase(pod));
    let pod = node.pod_where(space, &pods, "the end", over).await?;
    let log = node.logs(space, &pods).await?;
    ensure!(
        phase(&pod) == "Succeeded",
        "`probe check` as `{client}` in a Job of {space}:\n{log}"
    );
    fixture.rehearsal.saw(format!(
        "a Job of the chart `{}` connects as `{client}`: `probe check` passes every stage",
        release.chart
    ));
    Ok(())
}

pub(super) async fn server(fixture: &mut NodeFixture) -> Result<()> {
    SERVER.upgrade(fixture, &[]).await?;
    let (node, name) = (fixture.node, SERVER.name);
    rolled_out(fixture, SERVER).await?;
    let ready = ["get", "deployment", name, "--namespace", name];
    let ready = [&ready[..], &["--output=jsonpath={.status.readyReplicas}"]].concat();
    let ready = node.kubectl(&ready).await?;
    ensure!(ready == REPLICAS.to_string(), "{ready} replicas are ready");
    fixture.rehearsal.saw(format!(
        "{REPLICAS} pods of `server-bridge` are ready, after one that made the tables"
    ));
    let aws = &fixture.rehearsal.testbed.aws;
    let credentials = aws.secret("region", CREDENTIALS).await?;
    let credentials = credentials.with_context(|| format!("no secret `{CREDENTIALS}`"))?;
    let text = |key: &str| credentials[key].as_str().unwrap_or_default().to_owned();
    sessions_of(&mut fixture.rehearsal, &text("database"), &text("username"))?;
    let api = api(fixture).await?;
    registered(&mut fixture.rehearsal, &api).await
}

pub(super) async fn agent(fixture: &mut NodeFixture) -> Result<()> {
    AGENT.upgrade(fixture, &[]).await?;
    rolled_out(fixture, AGENT).await?;
    fixture
        .node
        .pod_ready(AGENT.name, &AGENT.selector())
        .await?;
    fixture
        .rehearsal
        .saw(format!("a pod of `agent` of `{}` is ready", AGENT.party));
    Ok(())
}

/// A client, which has a token, of the REST API of one of the server's pods.
pub(super) async fn api(fixture: &NodeFixture) -> Result<Api> {
    fixture.node.bridge(SERVER.name, &SERVER.selector()).await
}

/// The MQTT client id of the agent.
pub(super) fn client_id() -> String {
    format!("{}-work-agent-client", AGENT.party)
}

async fn rolled_out(fixture: &NodeFixture, Release { name, .. }: Release) -> Result<()> {
    let deployment = format!("deployment/{name}");
    let rollout = ["rollout", "status", &deployment, "--namespace", name];
    let rollout = [&rollout[..], &["--timeout=120s"]].concat();
    fixture.node.kubectl(&rollout).await?;
    Ok(())
}

fn phase(pod: &Pod) -> &str {
    let phase = pod.status.as_ref().and_then(|it| it.phase.as_deref());
    phase.unwrap_or_default()
}
