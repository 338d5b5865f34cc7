//! Values of a region: what `provisioner outputs` prints is what the charts take, and both mount the same files.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::process::ProcessSpec;
use tests::test_dir::TestDir;

use super::server::SERVER;
use super::{AGENT, PATIENCE, REGION, rendered, rendered_with, root, the, understood};

#[tokio::test]
async fn the_charts_take_the_values_that_a_region_gives_them() -> Result<()> {
    let test_dir = TestDir::new("chart-values")?;
    for (chart, namespace, cluster) in PARTIES {
        let objects = of_the_region(test_dir.path(), chart, namespace, cluster).await?;
        let workload: Value = the(&objects, "Deployment")?;
        let pod = serde_json::from_value(workload["spec"]["template"]["spec"].clone())?;
        understood(test_dir.path(), chart, &pod).await?;
        let account: Value = the(&objects, "ServiceAccount")?;
        // What the Pod Identity association is for.
        ensure!(account["metadata"]["name"] == *namespace, "{account}");
        ensure!(
            workload["spec"]["template"]["spec"]["serviceAccountName"] == *namespace,
            "{workload}"
        );
    }
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn the_identity_of_the_values_is_the_bridges_and_the_agents() -> Result<()> {
    let test_dir = TestDir::new("chart-identity")?;
    let expected: [&[&str]; 2] = [
        &[
            "--source-id=maestro",
            "--client-id=regional-x8k2-maestro-server",
            "--connections=4",
            "--store=postgres",
            "--slots=10",
            "--db-max-open-connections=6",
            "--db-rootcert=/etc/server-bridge/database-ca/global-bundle.pem",
        ],
        &[
            "--consumer-name=management-01",
            "--cloudevents-client-id=other",
        ],
    ];
    for ((chart, namespace, cluster), expected) in PARTIES.iter().zip(expected) {
        let objects = of_the_region(test_dir.path(), chart, namespace, cluster).await?;
        let text = serde_json::to_string(&objects)?;
        for argument in expected {
            ensure!(text.contains(&format!("\"{argument}\"")), "{argument}");
        }
    }
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn the_charts_mount_the_files_of_the_provisioners_secret_provider_classes() -> Result<()> {
    let test_dir = TestDir::new("chart-files")?;
    for (chart, namespace, cluster) in PARTIES {
        let objects = of_the_region(test_dir.path(), chart, namespace, cluster).await?;
        let charts: Value = the(&objects, "SecretProviderClass")?;
        let printed = outputs(test_dir.path(), "secret-provider-class", cluster).await?;
        let printed: Value = serde_saphyr::from_str(&printed)?;
        for field in ["name", "namespace"] {
            let (ours, theirs) = (&charts["metadata"][field], &printed["metadata"][field]);
            ensure!(ours == theirs, "{ours} and {theirs}");
        }
        let (ours, theirs) = (parameters(&charts)?, parameters(&printed)?);
        ensure!(ours == theirs, "{chart} has {ours}, outputs has {theirs}");
    }
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn workloads_that_the_documents_name_are_those_of_the_charts() -> Result<()> {
    let test_dir = TestDir::new("chart-documents")?;
    let mut there = BTreeSet::new();
    for (chart, namespace, _) in PARTIES {
        let name = format!("fullnameOverride={namespace}");
        let mut values = vec![REGION, &name];
        if *chart == SERVER {
            // What a region's server has.
            values.push("store=postgres");
        }
        let objects = rendered(test_dir.path(), chart, namespace, &values).await?;
        there.extend(objects.iter().filter_map(|object| {
            let kind = object["kind"].as_str()?.to_lowercase();
            Some(format!("{kind}/{}", object["metadata"]["name"].as_str()?))
        }));
    }
    let mut named = 0;
    for file in std::fs::read_dir(root().join("docs"))? {
        let text = std::fs::read_to_string(file?.path()).unwrap_or_default();
        let words = text.split(|c: char| c.is_whitespace() || "`'\"()".contains(c));
        for word in words.filter(|word| WORKLOADS.iter().any(|kind| word.starts_with(kind))) {
            ensure!(there.contains(word), "`{word}` is none of {there:?}");
            named += 1;
        }
    }
    ensure!(named > 0, "the documents name workloads");
    test_dir.passed();
    Ok(())
}

/// The chart's objects with the values that `provisioner outputs` prints.
async fn of_the_region(
    logs: &Path,
    chart: &str,
    namespace: &str,
    cluster: &[&str],
) -> Result<Vec<Value>> {
    let values = outputs(logs, "helm", cluster).await?;
    let file = logs.join(format!("{chart}.yaml"));
    std::fs::write(&file, values)?;
    let file = file.display().to_string();
    rendered_with(logs, chart, namespace, &["--values", &file]).await
}

async fn outputs(logs: &Path, format: &str, cluster: &[&str]) -> Result<String> {
    let file = logs.join("region.yaml");
    std::fs::write(&file, REGION_FILE)?;
    let label = format!("outputs-{format}-{}", cluster.concat());
    // Twice the same question would show both answers.
    let _ = std::fs::remove_file(logs.join(format!("{label}.stdout")));
    let provisioner = ProcessSpec::binary("provisioner")?
        .label(label)
        .args(["--file", &file.display().to_string()])
        .args(["outputs", "--format", format])
        .args(cluster);
    let output = provisioner.run(logs, PATIENCE).await?;
    ensure!(output.status.success(), "{}", output.stderr);
    Ok(output.stdout)
}

/// A SecretProviderClass's parameters, with the text in them as the list that it is.
fn parameters(class: &Value) -> Result<Value> {
    let mut parameters = class["spec"]["parameters"].clone();
    let objects = parameters["objects"].as_str().context("it has objects")?;
    let objects: Value = serde_saphyr::from_str(objects)?;
    parameters["objects"] = objects;
    Ok(parameters)
}

const WORKLOADS: [&str; 5] = [
    "deployment/",
    "statefulset/",
    "daemonset/",
    "deploy/maestro",
    "sts/",
];

/// Chart, namespace and service account, and how `outputs` is asked for it.
const PARTIES: &[(&str, &str, &[&str])] = &[
    (SERVER, "maestro-server", &[]),
    (AGENT, "maestro-agent", &["--cluster", "management-01"]),
];

// With what is not the default where a chart has another default.
const REGION_FILE: &str = r#"
name: regional-x8k2
region: us-east-2
account: "111111111111"
network:
  vpc: vpc-0123456789abcdef0
  privateSubnets: [subnet-0123456789abcdef0, subnet-0123456789abcdef1]
eks:
  cluster: regional-x8k2
  securityGroups: [sg-0123456789abcdef0]
server:
  connections: 4
  replicas: 5
managementClusters:
  - {id: management-01, account: "222222222222", region: us-west-2, agentClientId: other}
names:
  consumers: "{name}/consumers"
  agentConfig: "{cluster}/agent-config"
"#;
