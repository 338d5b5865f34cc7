//! Phase 2: what `provisioner outputs` says is mounted by the right pods, with the rights of their roles.

use anyhow::{Context as _, Result, ensure};

use super::component::{Component, outputs};
use super::{CLUSTERS, Rehearsal, SERVER};

pub(super) async fn check(rehearsal: &mut Rehearsal) -> Result<()> {
    for name in [SERVER].into_iter().chain(CLUSTERS) {
        let class = rehearsal
            .must(&outputs(name, "secret-provider-class"))
            .await?;
        let values = rehearsal.must(&outputs(name, "helm")).await?;
        let party = Component::new(&rehearsal.testbed, name, &class, &values)
            .with_context(|| format!("read the outputs for `{name}`"))?;
        let wanted = if name == SERVER {
            SERVER_FILES
        } else {
            AGENT_FILES
        };
        ensure!(
            party.class.files() == wanted,
            "`{name}` would mount {:?}",
            party.class.files()
        );
        let mounting = party.mount(&rehearsal.testbed).await;
        mounting.with_context(|| format!("mount the volume of `{name}`"))?;
        for file in wanted {
            let path = party.directory.join(file);
            let text = std::fs::read_to_string(&path);
            let text = text.with_context(|| format!("read `{}`", path.display()))?;
            ensure!(!text.is_empty(), "`{}` is empty", path.display());
        }
        let again = party.mount(&rehearsal.testbed).await?;
        ensure!(
            again.is_empty(),
            "a second look at the secrets of `{name}` changed {again:?}"
        );
        let pod = &party.pod;
        let line = format!(
            "`{name}`: pods of {}/{} in cluster {} mount {}",
            party.class.namespace,
            pod.service_account,
            pod.cluster,
            wanted.join(" ")
        );
        rehearsal.components.push(party);
        rehearsal.saw(line);
    }
    Ok(())
}

pub(super) const SERVER_FILES: &[&str] = &[
    "certificate",
    "privateKey",
    "ca.crt",
    "config.yaml",
    "db.user",
    "db.password",
    "db.host",
    "db.port",
    "db.name",
    "consumers.yaml",
];
pub(super) const AGENT_FILES: &[&str] = &[
    "certificate",
    "privateKey",
    "ca.crt",
    "config.yaml",
    "consumerName",
];
