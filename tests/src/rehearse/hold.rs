//! The ground of a rehearsal for a person: accounts and broker on loopback, a file of environment variables that makes
//! a shell use them, and a CSI driver that looks every second.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use tokio::time::interval;

use super::party::{Party, outputs};
use super::{CLUSTERS, Rehearsal, SERVER};
use crate::scratch::profile_directory;

/// Starts it and writes the variables to `file` when everything is ready; then mounts what can be mounted, until it is
/// dropped.
///
/// # Errors
/// When the ground cannot be laid or the file not be written.
pub async fn hold(file: &Path) -> Result<()> {
    // Of an earlier one: who waits for the file must not find it.
    let _ = std::fs::remove_file(file);
    let rehearsal = Rehearsal::start().await?;
    let fresh = file.with_extension("fresh");
    std::fs::write(&fresh, variables(&rehearsal)?)?;
    std::fs::rename(&fresh, file)?;
    let mut poll = interval(POLL);
    loop {
        poll.tick().await;
        for name in [SERVER].into_iter().chain(CLUSTERS) {
            // What is not made yet is mounted at a later look, as a pod waits for its volume.
            let _ = Box::pin(look(&rehearsal, name)).await;
        }
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
    let party = Party::new(&rehearsal.estate, name, &class, &values)?;
    party.mount(&rehearsal.estate).await?;
    Ok(())
}

fn variables(rehearsal: &Rehearsal) -> Result<String> {
    let estate = &rehearsal.estate;
    let region = estate.world.account("region");
    let ground = &region.ground;
    let mut pairs = estate.env().to_vec();
    let mut add = |name: &str, value: String| pairs.push((name.to_owned(), value));
    add("REHEARSAL", estate.path().display().to_string());
    add("REGION_ACCOUNT", region.id.clone());
    add("REGION_VPC", ground.vpc.clone());
    add("REGION_SUBNETS", ground.subnets.join(", "));
    add("REGION_EKS", ground.cluster.clone());
    add(
        "REGION_SECURITY_GROUP",
        ground.cluster_security_group.clone(),
    );
    add("BROKER_PORT", estate.broker.local_addr().port().to_string());
    for (index, cluster) in CLUSTERS.iter().enumerate() {
        let account = estate.world.account(cluster).id.clone();
        add(&format!("MANAGEMENT_{:02}_ACCOUNT", index + 1), account);
    }
    let mut text = String::new();
    for (name, value) in pairs {
        writeln!(text, "export {name}='{value}'")?;
    }
    let programs = profile_directory()?;
    writeln!(text, "export PATH='{}':\"$PATH\"", programs.display())?;
    Ok(text)
}

const POLL: Duration = Duration::from_secs(1);
