//! The charts as they are: their pods become ready with what their manifests ask for, and follow their secrets.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use tests::node::{ChartFixture, FileSource, Node, restarts, selector};

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_runs_without_rights_and_takes_a_new_certificate_without_a_restart() -> Result<()>
{
    runs_and_follows("agent", "agent-alone").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_runs_without_rights_and_takes_a_new_certificate_without_a_restart() -> Result<()>
{
    runs_and_follows("server-bridge", "server-alone").await
}

/// Under a name that is that of its namespace too.
async fn runs_and_follows(chart: &str, name: &str) -> Result<()> {
    let node = Node::shared().await?;
    let fixture = ChartFixture::start(node, name).await?;
    fixture.provide(chart).await?;
    fixture.install(chart, name, FileSource::Csi).await?;
    let pod = node.pod_ready(name, &selector(chart)).await?;
    confined(node, &pod, chart)?;
    for audience in ["pods.eks.amazonaws.com", "sts.amazonaws.com"] {
        let audiences = node.csi().audiences();
        ensure!(audiences.iter().any(|it| it == audience), "{audiences:?}");
    }

    let before = fixture.connected(chart, None).await?;
    fixture.provide(chart).await?;
    fixture.connected(chart, Some(&before)).await?;
    node.logged(name, &selector(chart), "New identity loaded")
        .await?;
    let after = node.pod_ready(name, &selector(chart)).await?;
    ensure!(after.metadata.uid == pod.metadata.uid && restarts(&after) == 0);
    node.helm(&["uninstall", chart, "--namespace", name, "--wait"])
        .await?;
    Ok(())
}

/// What the kernel says of the pod's process, whatever the manifest says.
fn confined(node: &Node, pod: &Pod, program: &str) -> Result<()> {
    let process = node.process(pod, program)?;
    let status = std::fs::read_to_string(process.join("status"))?;
    for (field, expected) in [
        ("Uid", "65532 65532 65532 65532"),
        ("Gid", "65532 65532 65532 65532"),
        ("CapEff", "0000000000000000"),
        ("CapBnd", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
    ] {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{field}:")));
        let found: Vec<_> = line.context(field)?.split_whitespace().collect();
        ensure!(found.join(" ") == expected, "{field} is {found:?}");
    }
    let mounts = std::fs::read_to_string(process.join("mounts"))?;
    let root = mounts
        .lines()
        .find(|line| line.split(' ').nth(1) == Some("/"));
    let options = root
        .and_then(|line| line.split(' ').nth(3))
        .context("a root")?;
    ensure!(
        options.split(',').any(|it| it == "ro"),
        "/ is mounted {options}"
    );
    Ok(())
}
