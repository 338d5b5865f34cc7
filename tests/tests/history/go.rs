//! The same with an agent that drops in silence whatever is not newer than what it holds, as a Go agent may.

use std::collections::BTreeMap;

use anyhow::Context as _;
use link::message::Message;
use tests::go::{SOURCE_TOPIC, agent_list, agent_status, kind, value as attribute};
use tests::session::Client;
use tests::wait::timeout;

use super::*;

struct GoAgent {
    peer: Client,
    /// Version and content by id.
    held: BTreeMap<String, (i32, String)>,
    dropped: usize,
    deleted: usize,
    step: u16,
}

// === impl GoAgent ===

impl GoAgent {
    /// In place of the region's agent.
    async fn start(region: &mut Region) -> Result<Self> {
        region.agent("cluster1")?.service.kill()?;
        let peer = region.peer("go-agent", &[SOURCE_TOPIC])?;
        ensure!(peer.session.ready().await);
        Ok(Self {
            peer,
            held: BTreeMap::new(),
            dropped: 0,
            deleted: 0,
            step: 0,
        })
    }

    fn holds(&self, id: &str, version: i64, text: &str) -> bool {
        let held = self.held.get(id);
        held.is_some_and(|(number, content)| i64::from(*number) == version && content == text)
    }

    /// Serves its source until this is so.
    async fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) -> Result<()> {
        let work = async {
            while !done(self) {
                let delivery = self.peer.inbound.recv().await.context("a session")?;
                let message = delivery.message.clone();
                delivery.ack();
                self.take(&message).await?;
            }
            anyhow::Ok(())
        };
        match timeout(PATIENCE, work).await {
            Ok(done) => done,
            Err(_) => anyhow::bail!("{what}: it holds {:?}", self.held),
        }
    }

    async fn take(&mut self, message: &Message) -> Result<()> {
        if kind(message).ends_with("status.resync_request") {
            let asked: Value = serde_json::from_slice(&message.payload)?;
            let asked = asked["statusHashes"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            for id in self.held.keys().cloned().collect::<Vec<_>>() {
                let named = |one: &Value| {
                    one["resourceID"] == *id && one["statusHash"] != hash(self.held[&id].0)
                };
                if asked.is_empty() || asked.iter().any(named) {
                    self.tell(&id, self.held[&id].0, "Applied").await?;
                }
            }
            return Ok(());
        }
        let id = attribute(message, "resourceid")
            .context("an id")?
            .to_owned();
        let version: i32 = attribute(message, "resourceversion")
            .context("a version")?
            .parse()?;
        if attribute(message, "deletiontimestamp").is_some() {
            self.deleted += usize::from(self.held.remove(&id).is_some());
            return self.tell(&id, version, "Deleted").await;
        }
        if self.held.get(&id).is_some_and(|(held, _)| *held >= version) {
            self.dropped += 1;
            return Ok(());
        }
        let data: Value = serde_json::from_slice(&message.payload)?;
        let text = data["manifests"][0]["data"]["value"].as_str();
        self.held
            .insert(id.clone(), (version, text.unwrap_or_default().to_owned()));
        self.tell(&id, version, "Applied").await
    }

    async fn tell(&mut self, id: &str, version: i32, condition: &str) -> Result<()> {
        self.step += 1;
        let data = json!({"conditions": [{"type": condition, "status": "True", "observedGeneration": version,
            "lastTransitionTime": "2026-08-01T10:05:00Z", "reason": "R", "message": "m"}]});
        let hash = hash(version);
        let status = agent_status(id, version, self.step, &hash, &data.to_string());
        self.peer.session.publish(status).await?.await?;
        Ok(())
    }

    /// Says what it holds, as after a connection of its own.
    async fn list(&self) -> Result<()> {
        let held = self
            .held
            .iter()
            .map(|(id, (version, _))| json!({"resourceID": id, "resourceVersion": version}));
        let held = json!({"resourceVersions": held.collect::<Vec<_>>()});
        self.peer
            .session
            .publish(agent_list(&held.to_string()))
            .await?
            .await?;
        Ok(())
    }
}

fn hash(version: i32) -> String {
    format!("{version:064x}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_go_agent_takes_what_an_older_dump_holds_and_no_other_content_under_its_own_version()
-> Result<()> {
    let server = Server::start(&["max_connections=80"])?;
    let mounted = tempfile::tempdir()?;
    let database = server.database()?;
    server.mount(mounted.path(), &database)?;
    let mut region = RegionBuilder::new("history-go-dump", BrokerKind::Sandbox)
        .postgres(mounted.path())
        .start()
        .await?;
    let mut agent = GoAgent::start(&mut region).await?;
    for id in [ID, "patched", "leaving"] {
        post(&mut region, id, "one").await?;
        agent
            .until("the first", |agent| agent.holds(id, 1, "one"))
            .await?;
        applied(&mut region, id, 1).await?;
    }
    let dump = mounted.path().join("dump.sql");
    server.dump(&database, &dump)?;
    for id in [ID, "patched", "leaving"] {
        change(&mut region, id, 1, "lost").await?;
        agent
            .until("the lost", |agent| agent.holds(id, 2, "lost"))
            .await?;
        applied(&mut region, id, 2).await?;
    }
    region.bridge.kill()?;
    server.sql(&database, "DROP SCHEMA bridge CASCADE")?;
    server.restore(&database, &dump)?;
    region.bridge.restart()?;
    // Before the agent has said a word: the next number would be the one that it holds with other content.
    let patched = change(&mut region, "patched", 1, "new").await?;
    ensure!((1_001..2_001).contains(&patched.version), "{patched:?}");
    region.api().await?.delete_bundle("leaving").await?;
    agent
        .until("the change", |agent| {
            agent.holds("patched", patched.version, "new")
        })
        .await?;
    // Asked for its statuses it tells its newer version, and gets what the database holds above it.
    agent
        .until("the raised one", |agent| agent.holds(ID, 3, "one"))
        .await?;
    agent
        .until("the deletion", |agent| !agent.held.contains_key("leaving"))
        .await?;
    let bundle = applied(&mut region, ID, 3).await?;
    ensure!(
        note(&bundle).contains("held version 2 while this database was at 1"),
        "{bundle:?}"
    );
    applied(&mut region, "patched", patched.version).await?;
    let api = region.api().await?;
    wait_for(
        "the deletion to be confirmed",
        PATIENCE,
        async || match api.bundle("leaving").await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await?;
    ensure!(
        agent.deleted == 1 && agent.held.len() == 2,
        "{:?}",
        agent.held
    );
    // From here on one after the other.
    change(&mut region, "patched", patched.version, "newer").await?;
    agent
        .until("the next", |agent| {
            agent.holds("patched", patched.version + 1, "newer")
        })
        .await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_go_agent_takes_what_is_posted_again_into_an_empty_database() -> Result<()> {
    let mut region = RegionBuilder::new("history-go-lost", BrokerKind::Sandbox)
        .start()
        .await?;
    let mut agent = GoAgent::start(&mut region).await?;
    // What a former database sent.
    for (id, version) in [(ID, 7), ("forgotten", 4)] {
        agent
            .held
            .insert(id.to_owned(), (version, "lost".to_owned()));
    }
    agent.list().await?;
    let process = region.bridge.process();
    process
        .line_with("neither knows nor ever deleted", PATIENCE)
        .await?;
    post(&mut region, ID, "anew").await?;
    agent
        .until("what was posted", |agent| agent.holds(ID, 8, "anew"))
        .await?;
    applied(&mut region, ID, 8).await?;
    ensure!(agent.dropped == 1 && agent.deleted == 0);
    ensure!(agent.holds("forgotten", 4, "lost"));
    // And by the list alone.
    agent
        .held
        .insert(ID.to_owned(), (20, "of another time".to_owned()));
    agent.list().await?;
    agent
        .until("the list's", |agent| agent.holds(ID, 21, "anew"))
        .await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_go_agent_takes_what_an_older_file_holds_that_was_written_over_the_newer_one()
-> Result<()> {
    let mut region = RegionBuilder::new("history-go-file", BrokerKind::Sandbox)
        .start()
        .await?;
    let mut agent = GoAgent::start(&mut region).await?;
    post(&mut region, ID, "one").await?;
    agent
        .until("the first", |agent| agent.holds(ID, 1, "one"))
        .await?;
    applied(&mut region, ID, 1).await?;
    region.bridge.kill()?;
    let backup = region.test_dir.dir("backup")?;
    let kept: Vec<_> = database(&region)?
        .into_iter()
        .filter(|file| !file.to_string_lossy().ends_with(".lock"))
        .collect();
    for file in &kept {
        std::fs::copy(file, backup.join(name(file)))?;
    }
    region.bridge.restart()?;
    change(&mut region, ID, 1, "lost").await?;
    agent
        .until("the lost", |agent| agent.holds(ID, 2, "lost"))
        .await?;
    applied(&mut region, ID, 2).await?;
    region.bridge.kill()?;
    for file in &kept {
        std::fs::copy(backup.join(name(file)), file)?;
    }
    region.bridge.restart()?;
    let changed = change(&mut region, ID, 1, "new").await?;
    ensure!((1_001..2_001).contains(&changed.version), "{changed:?}");
    agent
        .until("the change", |agent| {
            agent.holds(ID, changed.version, "new")
        })
        .await?;
    ensure!(agent.deleted == 0);
    region.passed();
    Ok(())
}
