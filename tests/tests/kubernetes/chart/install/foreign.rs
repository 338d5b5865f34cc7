//! Installing beside definitions that somebody else brought, with the commands of the documentation.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};
use tests::process::ProcessSpec;
use tests::region::{BrokerKind, RegionBuilder};
use tests::wait::patient;

use super::{APPLIED, ChartCluster, MANIFEST_WORKS, SPACE, definition};
use crate::chart::{next, root};

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_commands_install_the_agent_whoever_brought_the_definitions() -> Result<()> {
    let fixture = ChartCluster::open("chart-documented").await?;
    let install = documented("install")?;
    let definitions = documented("definitions")?;
    fixture.shell(&install).await.context("in a new cluster")?;
    let held = fixture.works().await?;
    // Whoever runs both does no harm, nor to the next upgrade.
    fixture.shell(&definitions).await?;
    fixture
        .shell(&install.replace("helm install", "helm upgrade"))
        .await?;
    ensure!(fixture.held().await? == held);
    fixture.clear().await?;

    // As people apply them, and again.
    for script in [
        "agent crds | kubectl apply -f -",
        "agent crds | kubectl apply -f -",
        "agent crds | kubectl apply --server-side -f -",
        "agent crds | kubectl apply --server-side -f -",
        &definitions,
    ] {
        fixture.shell(script).await?;
    }
    fixture
        .shell(&install)
        .await
        .context("after `agent crds`")?;
    fixture.clear().await?;

    // A Maestro agent brings one of them, Open Cluster Management both.
    fixture.define(&applied_of_go()).await?;
    fixture
        .shell(&install)
        .await
        .context("beside a Go agent's")?;
    fixture.works().await?;
    fixture.clear().await?;
    fixture.define(&applied_of_go()).await?;
    fixture.define(&works_of_go()).await?;
    let installed = fixture.shell(&install).await.context("beside a hub's")?;
    ensure!(installed.stdout.contains("left as it is"), "{installed:?}");
    ensure!(
        installed.stdout.contains(definitions.trim()),
        "{installed:?}"
    );
    let held = fixture.works().await?;
    fixture.shell(&definitions).await?;
    ensure!(fixture.held().await? == held);
    fixture
        .shell(&install.replace("helm install", "helm upgrade"))
        .await?;
    fixture.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn adopting_and_asking_for_rights_wait_for_definitions_that_were_just_applied() -> Result<()>
{
    let fixture = ChartCluster::open("chart-just-applied").await?;
    let spaces: Api<Namespace> = Api::all(fixture.client.clone());
    let space = serde_json::from_value(json!({"metadata": {"name": SPACE}}))?;
    spaces.create(&PostParams::default(), &space).await?;
    let verbs = [
        "adopt --dry-run --from-broker old:8883",
        "adopt --from-broker old:8883",
        "permissions",
    ];
    for verb in verbs {
        let of = format!("--consumer-name mc1 --namespace {SPACE}");
        fixture
            .shell(&format!(
                "agent crds | kubectl apply -f -\nagent {verb} {of}"
            ))
            .await
            .with_context(|| verb.to_owned())?;
        fixture.clear().await?;
    }
    // Nobody waits for what nobody applied.
    let begun = std::time::Instant::now();
    let spec = ProcessSpec::binary("agent")?
        .label(next("adopt"))
        .args("adopt --from-broker old:8883 --consumer-name mc1 --namespace x".split(' '));
    let missing = fixture.started(spec).await?;
    ensure!(
        !missing.status.success() && missing.stderr.contains("`agent crds | kubectl apply"),
        "{missing:?}"
    );
    ensure!(
        begun.elapsed() < patient(Duration::from_secs(10)),
        "{missing:?}"
    );
    fixture.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_says_that_a_definition_drops_what_it_keeps_and_goes_on_when_it_is_replaced()
-> Result<()> {
    let fixture = ChartCluster::open("chart-hub").await?;
    let builder = RegionBuilder::new("chart-hub-region", BrokerKind::Sandbox);
    let mut region = builder.on_cluster(&fixture.cluster).start().await?;
    let agent = &mut region.agent("cluster1")?.service;
    agent.ready().await?;
    agent.kill()?;
    fixture.define(&works_of_go()).await?;
    agent.restart()?;
    let said = agent.unready("status.report").await?;
    ensure!(said.contains("--force-conflicts"), "{said}");
    fixture.shell(&documented("definitions")?).await?;
    agent.ready().await?;
    region.passed();
    fixture.passed();
    Ok(())
}

/// The commands of a fenced block of the page, by the word after its language.
fn documented(name: &str) -> Result<String> {
    let page = std::fs::read_to_string(root().join("docs/KUBERNETES.md"))?;
    let (_, rest) = page
        .split_once(&format!("```sh {name}\n"))
        .with_context(|| format!("the page has a block `{name}`"))?;
    let (script, _) = rest.split_once("```").context("it ends")?;
    Ok(script.to_owned())
}

/// As a Maestro agent's chart has it.
fn applied_of_go() -> Value {
    let text = json!({"type": "string"});
    let resource = json!({
        "type": "object",
        "required": ["name", "resource", "version"],
        "properties": {
            "group": text, "name": text, "namespace": text, "resource": text, "uid": text, "version": text,
        },
    });
    let group = APPLIED.split_once('.').unwrap_or_default().1;
    let schema = json!({
        "type": "object",
        "properties": {
            "apiVersion": text, "kind": text, "metadata": {"type": "object"},
            "spec": {
                "type": "object",
                "required": ["agentID"],
                "properties": {"agentID": text, "hubHash": text, "manifestWorkName": text},
            },
            "status": {
                "type": "object",
                "properties": {
                    "appliedResources": {"type": "array", "items": resource},
                    "evictionStartTime": {"type": "string", "format": "date-time"},
                },
            },
        },
    });
    definition(
        group,
        "AppliedManifestWork",
        "appliedmanifestworks",
        "Cluster",
        &schema,
    )
}

/// As Open Cluster Management has it, as far as it matters: nothing that it does not know is kept.
fn works_of_go() -> Value {
    let text = json!({"type": "string"});
    let conditions = json!({"type": "array", "items": {
        "type": "object",
        "properties": {"type": text, "status": text, "reason": text, "message": text, "lastTransitionTime": text},
    }});
    let manifest = json!({
        "type": "object",
        "x-kubernetes-embedded-resource": true,
        "x-kubernetes-preserve-unknown-fields": true,
    });
    let group = MANIFEST_WORKS.split_once('.').unwrap_or_default().1;
    let schema = json!({
        "type": "object",
        "properties": {
            "apiVersion": text, "kind": text, "metadata": {"type": "object"},
            "spec": {"type": "object", "properties": {
                "workload": {"type": "object", "properties": {"manifests": {"type": "array", "items": manifest}}},
            }},
            "status": {"type": "object", "properties": {
                "conditions": conditions,
                "resourceStatus": {"type": "object", "properties": {
                    "manifests": {"type": "array", "items": {"type": "object", "properties": {"conditions": conditions}}},
                }},
            }},
        },
    });
    definition(
        group,
        "ManifestWork",
        "manifestworks",
        "Namespaced",
        &schema,
    )
}
