//! Phase 6: bundles arrive where they should and nowhere else, before and after a certificate is replaced, and not after
//! it is revoked.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sandbox::broker::Fingerprint;

use super::services::apis;
use super::{CLUSTERS, PATIENCE, Rehearsal};
use crate::api::{Change, config_map};
use crate::fleet::files;
use crate::region::Agent;
use crate::wait::wait_for;

pub(super) async fn check(rehearsal: &mut Rehearsal) -> Result<()> {
    for (index, cluster) in CLUSTERS.into_iter().enumerate() {
        deliver(rehearsal, cluster, "first").await?;
        for (place, other) in CLUSTERS.into_iter().enumerate() {
            let found = files(&agent(rehearsal, other)?.target)?;
            let wanted = usize::from(place <= index);
            ensure!(
                found.len() == wanted,
                "`{other}` holds {found:?} after the bundle for `{cluster}`, not {wanted} objects"
            );
        }
        rehearsal.saw(format!(
            "a bundle for `{cluster}` is applied there only, and its status is back"
        ));
    }
    rotate(rehearsal, CLUSTERS[0]).await?;
    revoke(rehearsal, CLUSTERS[1]).await
}

async fn deliver(rehearsal: &mut Rehearsal, cluster: &str, name: &str) -> Result<()> {
    let manifest = config_map(&format!("{name}-{cluster}"), name);
    // Given to one replica, read from another.
    let (api, other) = apis(rehearsal).await?;
    let made = api
        .create_bundle(&Change::create(cluster, vec![manifest.clone()]))
        .await?;
    wait_for("the status of the bundle", DEADLINE, async || {
        match other.bundle(&made.id).await {
            Ok(Some(found)) if found.is("Applied") && found.observed_version() == made.version => {
                Ok(())
            }
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    let applied = agent(rehearsal, cluster)?.applied(&manifest)?;
    ensure!(
        applied.as_ref() == Some(&manifest),
        "`{cluster}` holds {applied:?}"
    );
    Ok(())
}

/// The rotation waits for the agent, the agent for its files, the files for the driver: here it looks at once.
async fn rotate(rehearsal: &mut Rehearsal, cluster: &str) -> Result<()> {
    let old = certificate(rehearsal, cluster).context("the agent is connected")?;
    let logs = rehearsal.testbed.path().join("logs");
    let rotate = ["rotate", cluster, "--reconnect", "--within", "110s"];
    let spec = rehearsal.testbed.provisioner(&rotate)?.label("rotate");
    let mut rotating = spec.start(&logs)?;
    let party = rehearsal.party(cluster)?;
    let mounted = wait_for("a new certificate in the volume", PATIENCE, async || {
        if let Ok(Some(status)) = rotating.ended() {
            return Ok(Err(status));
        }
        match party.mount(&rehearsal.testbed).await {
            Ok(written) if written.iter().any(|file| file == "certificate") => Ok(Ok(())),
            Ok(_) => Err("the files are the old ones".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    })
    .await?;
    ensure!(
        mounted.is_ok(),
        "`provisioner rotate` ended at once:\n{}",
        rotating.output()
    );
    let status = rotating.exited(PATIENCE).await?;
    ensure!(
        status.success(),
        "`provisioner rotate` ended with {status}:\n{}",
        rotating.output()
    );
    let new = certificate(rehearsal, cluster).context("the agent is connected again")?;
    ensure!(new != old, "the agent still uses the old certificate");
    let left = rehearsal.testbed.broker.registry().certificate(&old);
    ensure!(
        left.is_none(),
        "the old certificate is still there: {left:?}"
    );
    rehearsal.saw(format!(
        "`{cluster}` came back with a new certificate; the old one is gone"
    ));
    deliver(rehearsal, cluster, "second").await?;
    rehearsal.saw(format!("a further bundle for `{cluster}` arrives"));
    Ok(())
}

async fn revoke(rehearsal: &mut Rehearsal, cluster: &str) -> Result<()> {
    rehearsal.must(&["revoke", cluster, "--yes"]).await?;
    let agent = rehearsal
        .agents
        .iter_mut()
        .find(|(name, _)| name == cluster);
    let (_, agent) = agent.context("the agent runs")?;
    let url = format!("{}/readyz", agent.service.listening().await?.admin);
    let broker = &rehearsal.testbed.broker;
    let client = format!("{cluster}-work-agent-client");
    wait_for(
        "the end of the revoked agent's connection",
        PATIENCE,
        async || {
            if broker.connections().iter().any(|it| it.client_id == client) {
                return Err("it is connected".to_owned());
            }
            match reqwest::get(&url)
                .await
                .map_err(|error| error.to_string())?
                .status()
                .as_u16()
            {
                503 => Ok(()),
                status => Err(format!("/readyz answers {status}")),
            }
        },
    )
    .await?;
    rehearsal.saw(format!(
        "`{cluster}` is revoked: its agent is thrown out and says that it is not ready"
    ));
    Ok(())
}

/// What the cluster's agent is connected with.
fn certificate(rehearsal: &Rehearsal, cluster: &str) -> Option<Fingerprint> {
    let client = &rehearsal.party(cluster).ok()?.client_id;
    let connections = rehearsal.testbed.broker.connections();
    let found = connections.into_iter().find(|it| it.client_id == *client)?;
    Fingerprint::parse(&found.fingerprint)
}

fn agent<'a>(rehearsal: &'a Rehearsal, cluster: &str) -> Result<&'a Agent> {
    let found = rehearsal.agents.iter().find(|(name, _)| name == cluster);
    Ok(&found.with_context(|| format!("no agent of `{cluster}`"))?.1)
}

// Applied and told within a second or two; within ten on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);
