//! Phases 4 and 5: `server-bridge` and the agents run on what is mounted, and nothing else.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::party::Party;
use super::{CLUSTERS, Rehearsal, SERVER};
use crate::api::Api;
use crate::pki::Layout;
use crate::process::Spec;
use crate::region::{Agent, Mount, Service};

pub(super) async fn server(rehearsal: &mut Rehearsal) -> Result<()> {
    let party = rehearsal.party(SERVER)?;
    let home = home(rehearsal, SERVER)?;
    let value = |name: &str| match &party.values[name] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let spec = party
        .flags(Spec::binary("server-bridge")?)
        .arg("--source-id")
        .arg(value("source"))
        .arg("--client-id")
        .arg(&party.client_id)
        .arg("--connections")
        .arg(value("connections"))
        .arg("--consumers")
        .arg(party.directory.join("consumers.yaml"))
        .arg("--db")
        .arg(home.join("bridge.sqlite"))
        .args(["--api-listen", ANY, "--admin-listen", ANY]);
    let mut service = Service::start(spec, &home)?;
    service.ready().await?;
    rehearsal.bridge = Some(service);
    rehearsal.saw("`server-bridge` is ready");
    let consumers = api(rehearsal).await?.consumers("size=100").await?.items;
    let found: BTreeMap<&str, &Value> = consumers
        .iter()
        .map(|consumer| (consumer.name.as_str(), &consumer.labels))
        .collect();
    ensure!(
        found.keys().copied().eq(CLUSTERS),
        "registered consumers are {found:?}"
    );
    for (name, labels) in &found {
        ensure!(
            labels["cluster_id"] == **name,
            "labels of `{name}` are {labels}"
        );
    }
    rehearsal.saw(format!(
        "{} are registered from the secret",
        CLUSTERS.join(" and ")
    ));
    Ok(())
}

pub(super) async fn agents(rehearsal: &mut Rehearsal) -> Result<()> {
    for cluster in CLUSTERS {
        let mut agent = agent(rehearsal, rehearsal.party(cluster)?)?;
        agent.service.ready().await?;
        rehearsal.agents.push((cluster.to_owned(), agent));
        rehearsal.saw(format!("`agent` of `{cluster}` is ready"));
    }
    Ok(())
}

/// A client of the running server.
pub(super) async fn api(rehearsal: &mut Rehearsal) -> Result<Api> {
    let bridge = rehearsal.bridge.as_mut().context("the server runs")?;
    let listening = bridge.listening().await?;
    Ok(Api::new(
        &listening.api.context("it says where its API listens")?,
    )?)
}

fn agent(rehearsal: &Rehearsal, party: &Party) -> Result<Agent> {
    let home = home(rehearsal, &party.name)?;
    let (target, state) = (home.join("target"), home.join("state"));
    let spec = party
        .flags(Spec::binary("agent")?)
        .arg("--target")
        .arg(format!("dir:{}", target.display()))
        .arg("--state-dir")
        .arg(&state)
        .args(["--admin-listen", ANY]);
    let broker = rehearsal.estate.broker.local_addr();
    Ok(Agent {
        service: Service::start(spec, &home)?,
        mount: Mount::new(
            party.directory.clone(),
            Some(&party.name),
            broker,
            Layout::PerFileRename,
        ),
        target,
        state,
        namespace: None,
    })
}

fn home(rehearsal: &Rehearsal, name: &str) -> Result<std::path::PathBuf> {
    let home = rehearsal.estate.path().join("services").join(name);
    std::fs::create_dir_all(&home)?;
    Ok(home)
}

const ANY: &str = "127.0.0.1:0";
