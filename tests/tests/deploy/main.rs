//! What `deploy/` gives to Argo CD, and puts beside Maestro, checked by a real API server that has the definitions of Argo
//! CD, the Prometheus operator, External Secrets and the CSI driver: a program of its own, because those definitions
//! change a cluster.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::process::{Output, ProcessSpec};

mod applications;
mod applicationset;
mod charts;
mod golden;
mod outputs;
mod project;
mod server;
mod sidecar;

/// Documents of a YAML file or of what helm rendered.
fn documents(text: &str) -> Result<Vec<Value>> {
    let mut objects = Vec::new();
    for document in format!("\n{text}").split("\n---") {
        let object: Option<Value> = serde_saphyr::from_str(document)?;
        objects.extend(object.filter(Value::is_object));
    }
    Ok(objects)
}

/// A program of the tests' own, run to its end; each call has logs of its own.
async fn run(spec: ProcessSpec, label: &str, logs: &Path) -> Result<Output> {
    static CALL: AtomicUsize = AtomicUsize::new(0);
    let call = CALL.fetch_add(1, Ordering::Relaxed);
    Ok(spec
        .label(format!("{label}-{call}"))
        .run(logs, PATIENCE)
        .await?)
}

async fn helm(logs: &Path, arguments: &[&str]) -> Result<String> {
    let fetch = ProcessSpec::at("fetch", root().join("tests/helm/fetch"), REMEDY);
    let found = run(fetch, "fetch", logs).await?;
    ensure!(found.status.success(), "{}", found.stderr);
    let helm = ProcessSpec::at("helm", found.stdout.trim().into(), REMEDY).args(arguments);
    let output = run(helm, "helm", logs).await?;
    ensure!(
        output.status.success(),
        "`helm {}`: {}",
        arguments.join(" "),
        output.stderr
    );
    Ok(output.stdout)
}

/// `provisioner` on the file of a small region; what it printed if it ended with `code`.
async fn provisioner(logs: &Path, arguments: &[&str], code: i32) -> Result<Output> {
    let file = logs.join("region.yaml");
    std::fs::write(&file, REGION)?;
    let spec = ProcessSpec::binary("provisioner")?
        .arg("--file")
        .arg(&file)
        .args(arguments);
    let output = run(spec, "provisioner", logs).await?;
    ensure!(output.status.code() == Some(code), "{output:?}");
    Ok(output)
}

/// What `provisioner outputs` prints in a format.
async fn output(logs: &Path, format: &str, cluster: Option<&str>) -> Result<Value> {
    let mut arguments = vec!["outputs", "--format", format];
    arguments.extend(cluster.into_iter().flat_map(|id| ["--cluster", id]));
    let output = provisioner(logs, &arguments, 0).await?;
    serde_saphyr::from_str(&output.stdout).with_context(|| output.stdout.clone())
}

fn root() -> PathBuf {
    let member = Path::new(env!("CARGO_MANIFEST_DIR"));
    member.parent().unwrap_or(member).to_path_buf()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

const REMEDY: &str = "run `tests/helm/fetch`";
const PATIENCE: Duration = Duration::from_secs(120);
const CLUSTER: &str = "management-01";
// With what is not a default where a chart has another one.
const REGION: &str = r#"
name: regional-x8k2
region: us-east-2
account: "111111111111"
network:
  vpc: vpc-0123456789abcdef0
  privateSubnets: [subnet-0123456789abcdef0, subnet-0123456789abcdef1]
eks:
  cluster: regional-x8k2
  securityGroups: [sg-0123456789abcdef0]
database: {iamAuth: true}
server: {replicas: 3}
managementClusters:
  - {id: management-01, account: "222222222222", region: us-west-2, agentClientId: other}
"#;
