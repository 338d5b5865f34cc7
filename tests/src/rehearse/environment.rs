//! The environment of a rehearsal for a person: accounts and broker on loopback, a file of environment variables that makes
//! a shell use them, and a CSI driver that looks every second; on a node, its cluster besides.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use tokio::time::interval;

use super::component::{Component, outputs};
use super::{CLUSTERS, LATER, OnNode, Rehearsal, SERVER};
use crate::test_dir::profile_directory;

/// Starts it and writes the variables to `file` when everything is ready; then mounts what can be mounted, until `until`
/// says whether there is something to look at, which keeps the logs. With a `node`, pods mount by themselves, and only the
/// database is made when its credentials are there.
///
/// # Errors
/// When accounts or broker do not start or the file not be written.
pub async fn keep_environment(
    file: &Path,
    node: bool,
    until: impl Future<Output = bool>,
) -> Result<()> {
    // Of an earlier one: who waits for the file must not find it.
    let _ = std::fs::remove_file(file);
    if node {
        let mut on_node = OnNode::new(None);
        Box::pin(on_node.start()).await?;
        let directories = [profile_directory()?, on_node.tools()?];
        write(file, &on_node.variables()?, &directories)?;
        let keep = every_second(until, async || {
            let _ = on_node.make_database().await;
        });
        if !keep.await {
            on_node.end();
        }
        return Ok(());
    }
    let rehearsal = Rehearsal::start(None).await?;
    write(file, &variables(&rehearsal), &[profile_directory()?])?;
    let keep = every_second(until, async || {
        for name in [SERVER].into_iter().chain(CLUSTERS) {
            // What is not made yet is mounted at a later look, as a pod waits for its volume.
            let _ = Box::pin(look(&rehearsal, name)).await;
        }
    });
    if !keep.await {
        rehearsal.end();
    }
    Ok(())
}

async fn every_second(until: impl Future<Output = bool>, mut work: impl AsyncFnMut()) -> bool {
    let mut poll = interval(POLL);
    let working = async {
        loop {
            poll.tick().await;
            work().await;
        }
    };
    tokio::select! {
        keep = until => keep,
        never = working => never,
    }
}

async fn look(rehearsal: &Rehearsal, name: &str) -> Result<()> {
    if name == SERVER {
        rehearsal.make_database().await?;
    }
    let class = rehearsal
        .must(&outputs(name, "secret-provider-class"))
        .await?;
    let values = rehearsal.must(&outputs(name, "helm")).await?;
    let party = Component::new(&rehearsal.testbed, name, &class, &values)?;
    party.mount(&rehearsal.testbed).await?;
    Ok(())
}

/// What a person's shell is told of the accounts.
pub(super) fn variables(rehearsal: &Rehearsal) -> Vec<(String, String)> {
    let testbed = &rehearsal.testbed;
    let region = testbed.aws.account("region");
    let prerequisites = &region.prerequisites;
    let mut pairs = testbed.env().to_vec();
    let mut add = |name: &str, value: String| pairs.push((name.to_owned(), value));
    add("REHEARSAL", testbed.path().display().to_string());
    add("REGION_ACCOUNT", region.id.clone());
    add("REGION_VPC", prerequisites.vpc.clone());
    add("REGION_SUBNETS", prerequisites.subnets.join(", "));
    add("REGION_EKS", prerequisites.cluster.clone());
    add(
        "REGION_SECURITY_GROUP",
        prerequisites.cluster_security_group.clone(),
    );
    add(
        "BROKER_PORT",
        testbed.broker.local_addr().port().to_string(),
    );
    for (index, cluster) in CLUSTERS.into_iter().chain([LATER]).enumerate() {
        let mut accounts = testbed.aws.accounts().iter();
        if let Some(account) = accounts.find(|account| account.name == cluster) {
            let name = format!("MANAGEMENT_{:02}_ACCOUNT", index + 1);
            add(&name, account.id.clone());
        }
    }
    pairs
}

/// Writes a file for a shell, with these directories first in its search path.
fn write(file: &Path, pairs: &[(String, String)], directories: &[PathBuf]) -> Result<()> {
    let mut text = String::new();
    for (name, value) in pairs {
        writeln!(text, "export {name}='{value}'")?;
    }
    for directory in directories {
        writeln!(text, "export PATH='{}':\"$PATH\"", directory.display())?;
    }
    let fresh = file.with_extension("fresh");
    std::fs::write(&fresh, text)?;
    std::fs::rename(&fresh, file)?;
    Ok(())
}

const POLL: Duration = Duration::from_secs(1);
