//! The charts: linted and rendered by helm, accepted by a real API server, and understood by their programs. Here the
//! agent's; beside it the server's, and both with the values that a region gives them.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::PodSpec;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::discovery::{Scope, pinned_kind};
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tests::kubernetes::Cluster;
use tests::process::{Output, ProcessSpec};
use tests::test_dir::TestDir;

mod callers;
mod check;
mod golden;
mod install;
mod refusals;
mod server;
mod values;

#[tokio::test]
async fn the_chart_passes_the_strict_lint_and_refuses_wrong_values_by_name() -> Result<()> {
    let test_dir = TestDir::new("chart-lint")?;
    let wrong = [
        ("rbac.profile=everything", "profile"),
        ("replicas=many", "replicas"),
        ("consumerNam=x", "consumerNam"),
        ("consumerName=A_B", "consumerName"),
    ];
    strict(test_dir.path(), AGENT, &wrong).await?;
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn the_api_server_takes_every_object_of_the_chart() -> Result<()> {
    let test_dir = TestDir::new("chart-apply")?;
    let cluster = Cluster::shared().await?;
    let namespace = cluster.namespace("chart").await?;
    let objects = rendered(test_dir.path(), AGENT, &namespace, &ALL).await?;
    ensure!(objects.len() > 10, "{} objects", objects.len());
    accepted(&cluster.client().await?, &objects).await?;
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn the_agent_understands_the_arguments_of_the_chart() -> Result<()> {
    let test_dir = TestDir::new("chart-arguments")?;
    let objects = rendered(test_dir.path(), AGENT, "agents", &ALL).await?;
    let deployment: Deployment = the(&objects, "Deployment")?;
    let pod = deployment.spec.and_then(|spec| spec.template.spec);
    understood(test_dir.path(), AGENT, &pod.context("it has a pod")?).await?;
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn the_definitions_in_the_chart_are_those_of_the_agent() -> Result<()> {
    let test_dir = TestDir::new("chart-definitions")?;
    let file = root().join("deploy/charts/agent/files/crds.yaml");
    let fresh = agent::crd::yaml();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, &fresh)?;
    }
    ensure!(
        std::fs::read_to_string(&file)? == fresh,
        "{} is out of date; run this test once more with `UPDATE_DOCS=1`",
        file.display()
    );
    let printed = ProcessSpec::binary("agent")?.arg("crds");
    let printed = printed.run(test_dir.path(), PATIENCE).await?;
    ensure!(
        printed.stdout.trim_end() == fresh.trim_end(),
        "`agent crds` differs"
    );
    test_dir.passed();
    Ok(())
}

/// Lints strictly, and sees that each of the wrong values is refused by the name beside it.
async fn strict(logs: &Path, chart: &str, wrong: &[(&str, &str)]) -> Result<()> {
    let chart = path(chart);
    let lint = helm(logs, &["lint", "--strict", &chart, "--set", REGION]).await?;
    ensure!(lint.status.success(), "{}{}", lint.stdout, lint.stderr);
    for (wrong, name) in wrong {
        let arguments = ["template", "x", &chart, "--set", REGION, "--set", wrong];
        let refused = helm(logs, &arguments).await?;
        ensure!(!refused.status.success(), "`{wrong}` is accepted");
        ensure!(refused.stderr.contains(name), "{}", refused.stderr);
    }
    Ok(())
}

async fn rendered(
    logs: &Path,
    chart: &str,
    namespace: &str,
    values: &[&str],
) -> Result<Vec<Value>> {
    let set = values.iter().flat_map(|value| ["--set", value]);
    let set: Vec<_> = set.collect();
    rendered_with(logs, chart, namespace, &set).await
}

/// With arguments of one's own for helm.
async fn rendered_with(
    logs: &Path,
    chart: &str,
    namespace: &str,
    more: &[&str],
) -> Result<Vec<Value>> {
    let path = path(chart);
    let mut arguments = vec!["template", chart, &path, "--namespace", namespace];
    arguments.extend(more);
    let output = helm(logs, &arguments).await?;
    ensure!(output.status.success(), "{}", output.stderr);
    parsed(&output.stdout)
}

/// The objects of several documents.
fn parsed(text: &str) -> Result<Vec<Value>> {
    let mut objects = Vec::new();
    for document in text.split("\n---\n") {
        let object: Option<Value> = serde_saphyr::from_str(document)?;
        objects.extend(object.filter(Value::is_object));
    }
    Ok(objects)
}

/// The first object of a kind.
fn the<T: DeserializeOwned>(objects: &[Value], kind: &str) -> Result<T> {
    let object = objects.iter().find(|object| object["kind"] == kind);
    let object = object.with_context(|| format!("there is a {kind}"))?;
    Ok(serde_json::from_value(object.clone())?)
}

/// Runs the pod's first container here. Its mount is not there, which is found after the command line has been read.
async fn understood(logs: &Path, binary: &str, pod: &PodSpec) -> Result<()> {
    let container = pod.containers.first().context("it has a container")?;
    let arguments = container.args.clone().unwrap_or_default();
    let program = ProcessSpec::binary(binary)?
        .label(next(binary))
        .args(&arguments);
    let output = program.run(logs, PATIENCE).await?;
    ensure!(output.status.code() == Some(2), "{}", output.stderr);
    ensure!(
        output.stderr.contains("/mnt/secrets-store"),
        "{}",
        output.stderr
    );
    Ok(())
}

async fn accepted(client: &Client, objects: &[Value]) -> Result<()> {
    for object in objects {
        let group = object["apiVersion"].as_str().unwrap_or_default();
        if object["kind"] == "Pod" {
            dry_run(client, &job_of(object)).await?;
        } else if !FOREIGN.iter().any(|foreign| group.starts_with(foreign)) {
            dry_run(client, object).await?;
        }
    }
    Ok(())
}

/// The same pod as a Job's: one by itself is refused before its service account is there.
fn job_of(pod: &Value) -> Value {
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": pod["metadata"],
        "spec": {"template": {"metadata": {"labels": pod["metadata"]["labels"]}, "spec": pod["spec"]}},
    })
}

async fn dry_run(client: &Client, object: &Value) -> Result<()> {
    let (api_version, kind) = (&object["apiVersion"], &object["kind"]);
    let (api_version, kind) = (
        api_version.as_str().context("it has an apiVersion")?,
        kind.as_str().context("it has a kind")?,
    );
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let (resource, capabilities) =
        pinned_kind(client, &GroupVersionKind::gvk(group, version, kind)).await?;
    let name = object["metadata"]["name"]
        .as_str()
        .context("it has a name")?;
    let api: Api<DynamicObject> = if capabilities.scope == Scope::Namespaced {
        let namespace = object["metadata"]["namespace"].as_str();
        let namespace = namespace.with_context(|| format!("{kind} {name} names its namespace"))?;
        Api::namespaced_with(client.clone(), namespace, &resource)
    } else {
        Api::all_with(client.clone(), &resource)
    };
    let params = PatchParams {
        dry_run: true,
        ..PatchParams::apply("chart").force().validation_strict()
    };
    api.patch(name, &params, &Patch::Apply(object))
        .await
        .with_context(|| format!("{kind} {name}"))?;
    Ok(())
}

async fn helm(logs: &Path, arguments: &[&str]) -> Result<Output> {
    let helm = tool(logs, "helm").await?.args(arguments);
    Ok(helm.run(logs, PATIENCE).await?)
}

/// `helm` or `kubectl`, still without arguments.
async fn tool(logs: &Path, program: &str) -> Result<ProcessSpec> {
    let fetch = ProcessSpec::at("fetch", root().join("tests/helm/fetch"), REMEDY)
        .label(next("fetch"))
        .arg(program);
    let found = fetch.run(logs, PATIENCE).await?;
    ensure!(found.status.success(), "{}", found.stderr);
    let tool = ProcessSpec::at(program, found.stdout.trim().into(), REMEDY);
    Ok(tool.label(next(program)))
}

/// Each call has logs of its own, or it would show those of the calls before.
fn next(label: &str) -> String {
    static CALL: AtomicUsize = AtomicUsize::new(0);
    format!("{label}-{}", CALL.fetch_add(1, Ordering::Relaxed))
}

fn path(chart: &str) -> String {
    let charts = root().join("deploy/charts");
    charts.join(chart).display().to_string()
}

fn root() -> PathBuf {
    let member = Path::new(env!("CARGO_MANIFEST_DIR"));
    member.parent().unwrap_or(member).to_path_buf()
}

const AGENT: &str = "agent";
const REGION: &str = "secrets.region=eu-west-1";
// Everything that a value can add.
const ALL: [&str; 10] = [
    REGION,
    "consumerName=mc1",
    "agentId=mc1",
    "adoptAgentIds={other}",
    "rbac.profile=cluster-admin",
    "rbac.impersonate[0].namespace=default",
    "rbac.impersonate[0].name=deployer",
    "metrics.podMonitor.enabled=true",
    "serviceAccount.annotations.a=b",
    "replicas=2",
];
// Groups whose definitions belong to the CSI driver and to operators.
const FOREIGN: [&str; 3] = [
    "secrets-store.csi.x-k8s.io/",
    "external-secrets.io/",
    "monitoring.coreos.com/",
];
const PATIENCE: Duration = Duration::from_secs(120);
const REMEDY: &str = "run `tests/helm/fetch`";
