//! Phases 4 and 5: `server-bridge` and the agents run on what is mounted, and nothing else.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::component::Component;
use super::{CLUSTERS, REPLICAS, Rehearsal, SERVER, expect};
use crate::api::Api;
use crate::pki::Layout;
use crate::process::ProcessSpec;
use crate::region::{Agent, Mount, Service};

pub(super) async fn server(rehearsal: &mut Rehearsal) -> Result<()> {
    let migrate = ProcessSpec::binary("server-bridge")?.args(["store", "migrate", "--mount"]);
    let migrate = migrate.arg(&rehearsal.party(SERVER)?.directory);
    let migrate = database(rehearsal, migrate)?;
    let migrated = rehearsal.run(migrate, "migrate").await?;
    expect("server-bridge store migrate", &migrated, 0)?;
    rehearsal.saw("`server-bridge store migrate` made the tables in the database of the secret");
    for replica in 0..REPLICAS {
        let home = home(rehearsal, &format!("{SERVER}-{replica}"))?;
        let mut service = Service::start(replica_of(rehearsal)?, &home)?;
        service.ready().await?;
        rehearsal.bridges.push(service);
    }
    rehearsal.saw(format!("{REPLICAS} replicas of `server-bridge` are ready"));
    sessions(rehearsal)?;
    let (_, last) = apis(rehearsal).await?;
    registered(rehearsal, &last).await
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

/// One replica, as its pod would start it: all have the same command line.
fn replica_of(rehearsal: &Rehearsal) -> Result<ProcessSpec> {
    let party = rehearsal.party(SERVER)?;
    let spec = party
        .flags(ProcessSpec::binary("server-bridge")?)
        .arg("--source-id")
        .arg(value(party, "/source")?)
        .arg("--client-id")
        .arg(value(party, "/clientId")?)
        .arg("--connections")
        .arg(value(party, "/connections")?)
        .arg("--slots")
        .arg(value(party, "/slots")?)
        .arg("--consumers")
        .arg(party.directory.join("consumers.yaml"))
        .args(["--api-listen", ANY, "--grpc-listen", ANY])
        .args(["--admin-listen", ANY]);
    database(rehearsal, spec)
}

/// With the flags of the database, which the mounted files name. Its authority is in a ConfigMap in a pod.
fn database(rehearsal: &Rehearsal, spec: ProcessSpec) -> Result<ProcessSpec> {
    let most = value(rehearsal.party(SERVER)?, "/database/maxOpenConnections")?;
    Ok(spec
        .args(["--store", "postgres", "--db-sslmode", "verify-full"])
        .arg("--db-max-open-connections")
        .arg(most)
        .arg("--db-rootcert")
        .arg(rehearsal.testbed.path().join("ca.pem")))
}

fn value(party: &Component, pointer: &str) -> Result<String> {
    let found = party.values.pointer(pointer);
    let found = found.with_context(|| format!("no `{pointer}` in {}", party.values))?;
    Ok(found
        .as_str()
        .map_or_else(|| found.to_string(), str::to_owned))
}

/// The replicas must be in the database that was made, as its user, and over TLS.
fn sessions(rehearsal: &mut Rehearsal) -> Result<()> {
    let file = |name: &str| -> Result<String> {
        let path = rehearsal.party(SERVER)?.directory.join(name);
        Ok(std::fs::read_to_string(path)?)
    };
    let (name, user) = (file("db.name")?, file("db.user")?);
    sessions_of(rehearsal, &name, &user)
}

/// The same for a database and user of these names.
pub(super) fn sessions_of(rehearsal: &mut Rehearsal, name: &str, user: &str) -> Result<()> {
    let asked = format!(
        "SELECT count(*) >= {REPLICAS} AND bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
         WHERE datname = '{name}' AND usename = '{user}'"
    );
    let server = rehearsal.testbed.database.as_ref();
    let found = server
        .context("there is a server behind RDS")?
        .ask(name, &asked)?;
    ensure!(found == "t", "sessions of `{user}` in `{name}`: {found}");
    rehearsal.saw(format!(
        "they keep everything in database `{name}`, as `{user}` and over TLS"
    ));
    Ok(())
}

/// The server must know every cluster of the secret, with its labels.
pub(super) async fn registered(rehearsal: &mut Rehearsal, api: &Api) -> Result<()> {
    let consumers = api.consumers("size=100").await?.items;
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

/// Clients of the first replica and of the last.
pub(super) async fn apis(rehearsal: &mut Rehearsal) -> Result<(Api, Api)> {
    let mut apis = Vec::new();
    for bridge in &mut rehearsal.bridges {
        let listening = bridge.listening().await?;
        let address = listening.api.context("it says where its API listens")?;
        apis.push(Api::new(&address)?);
    }
    let last = apis.pop().context("the server runs")?;
    Ok((
        apis.into_iter().next().unwrap_or_else(|| last.clone()),
        last,
    ))
}

fn agent(rehearsal: &Rehearsal, party: &Component) -> Result<Agent> {
    let home = home(rehearsal, &party.name)?;
    let (target, state) = (home.join("target"), home.join("state"));
    let spec = party
        .flags(ProcessSpec::binary("agent")?)
        .arg("--target")
        .arg(format!("dir:{}", target.display()))
        .arg("--state-dir")
        .arg(&state)
        .args(["--admin-listen", ANY]);
    let broker = rehearsal.testbed.broker.local_addr();
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
    let home = rehearsal.testbed.path().join("services").join(name);
    std::fs::create_dir_all(&home)?;
    Ok(home)
}

const ANY: &str = "127.0.0.1:0";
