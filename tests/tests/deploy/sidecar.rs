//! The patch that puts our sidecar beside a Go Maestro server.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tests::kubernetes::Cluster;
use tests::process::ProcessSpec;
use tests::test_dir::TestDir;

use super::{documents, root};

#[tokio::test(flavor = "multi_thread")]
async fn the_patch_puts_a_sidecar_that_understands_its_arguments_beside_an_unchanged_server()
-> Result<()> {
    let test_dir = TestDir::new("deploy-sidecar")?;
    let cluster = Cluster::shared().await?;
    let namespace = cluster.namespace("sidecar").await?;
    let deployments: Api<Deployment> = Api::namespaced(cluster.client().await?, &namespace);
    let server: Deployment = serde_json::from_value(maestro())?;
    let before = deployments.create(&PostParams::default(), &server).await?;
    let patch = std::fs::read_to_string(root().join("deploy/sidecar/patch.yaml"))?;
    let patch = documents(&patch)?.remove(0);
    let params = PatchParams::default().validation_strict();
    let after = deployments
        .patch("maestro", &params, &Patch::Strategic(&patch))
        .await?;
    let pod = |it: Deployment| it.spec.and_then(|spec| spec.template.spec).context("a pod");
    let (before, after) = (pod(before)?, pod(after)?);
    ensure!(before.containers == after.containers);
    let [sidecar] = &after.init_containers.unwrap_or_default()[..] else {
        anyhow::bail!("not one sidecar");
    };
    ensure!(sidecar.restart_policy.as_deref() == Some("Always"));
    let volumes = after.volumes.unwrap_or_default();
    let mounts = sidecar.volume_mounts.iter().flatten();
    for mount in mounts {
        ensure!(volumes.iter().any(|it| it.name == mount.name), "{mount:?}");
    }

    // Its mount is not here, which is found after the command line has been read.
    let arguments = sidecar.args.iter().flatten();
    let arguments = arguments.map(|it| it.replace("0.0.0.0:8084", "127.0.0.1:0"));
    let arguments: Vec<_> = arguments.collect();
    let program = ProcessSpec::binary("server-bridge")?
        .args(&arguments)
        .arg("--mqtt-listen=127.0.0.1:0");
    let output = program.run(test_dir.path(), PATIENCE).await?;
    ensure!(output.status.code() == Some(2), "{}", output.stderr);
    let said = &output.stderr;
    ensure!(said.contains("/mnt/secrets-store"), "{said}");
    test_dir.passed();
    Ok(())
}

/// As the first deployment's chart has it.
fn maestro() -> Value {
    let labels = json!({"app": "maestro"});
    json!({
        "metadata": {"name": "maestro"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "containers": [{
                        "name": "service",
                        "image": "maestro:1",
                        "volumeMounts": [{
                            "name": "secrets-store", "mountPath": "/mnt/secrets-store", "readOnly": true,
                        }],
                    }],
                    "volumes": [{"name": "secrets-store", "csi": {
                        "driver": "secrets-store.csi.k8s.io",
                        "readOnly": true,
                        "volumeAttributes": {"secretProviderClass": "maestro"},
                    }}],
                },
            },
        },
    })
}

const PATIENCE: Duration = Duration::from_secs(60);
