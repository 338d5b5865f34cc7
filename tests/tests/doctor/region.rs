//! The other end as a real bridge tells it: a consumer that is not registered, an agent that was never there, that stops, that
//! falls silent, that does not apply, or that has another version.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use sandbox::pki::{Layout, write_mount};
use serde_json::Value;
use tests::api::{Api, Change, config_map};
use tests::region::{BrokerKind, Region, RegionBuilder};
use tests::scripted_agent::{ScriptedAgent, condition, manifest, self_report};
use tests::wait::wait_for;

use crate::cli::{Run, doctor};
use crate::setup::operator;

/// A region, and an operator who looks at one of its agents from outside.
struct Looked {
    region: Region,
    api: Api,
    url: String,
    port: String,
    looks: u32,
}

impl Looked {
    async fn start(test: &str) -> Result<Self> {
        let mut region = RegionBuilder::new(test, BrokerKind::Sandbox)
            .bridge_args(["--lifecycle-events"])
            .start()
            .await?;
        let api = region.api().await?;
        let listening = region.bridge.listening().await?;
        Ok(Self {
            url: listening.api.context("an API")?,
            port: region.broker.address().port().to_string(),
            api,
            region,
            looks: 0,
        })
    }

    /// What the doctor says with an operator's certificate, on a topic of its own.
    async fn at(&mut self, consumer: &str) -> Result<Run> {
        self.looks += 1;
        let mount = self.operator(&format!("look-{}", self.looks), consumer)?;
        let mount = mount.display().to_string();
        let arguments = [
            "-h",
            "localhost",
            "-p",
            &self.port,
            "--identity",
            &mount,
            "--topic",
            "test/doctor",
            "--api",
            &self.url,
        ];
        doctor(&self.region.test_dir, &arguments, &[]).await
    }

    fn operator(&self, name: &str, consumer: &str) -> Result<PathBuf> {
        let broker = self.region.broker.sandbox()?;
        let registry = broker.registry();
        registry.put_policy("doctor", operator(broker.arn())?)?;
        let set = self.region.authority.client(name)?;
        registry.register_pem(&set.certificate, &["doctor"])?;
        let mount = self.region.test_dir.dir(name)?.join("mount");
        write_mount(&mount, &set, &[], Layout::PerFileRename)?;
        std::fs::write(mount.join("consumerName"), consumer)?;
        Ok(mount)
    }

    async fn post(&self, consumer: &str, name: &str) -> Result<String> {
        let change = Change::create(consumer, vec![config_map(name, "here")]);
        Ok(self.api.create_bundle(&change).await?.id)
    }

    /// Waits until the bridge itself has something to tell of the consumer; the doctor passes it on.
    async fn until(
        &self,
        consumer: &str,
        part: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Result<()> {
        let path = format!("/consumers/{consumer}/{part}");
        wait_for(&path, PATIENCE, async || {
            let told = self.api.raw(Method::GET, &path, None).await;
            let (_, text) = told.map_err(|error| format!("{error:#}"))?;
            let value: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
            match holds(&value) {
                true => Ok(()),
                false => Err(text),
            }
        })
        .await?;
        Ok(())
    }

    async fn waits(&self, consumer: &str, codes: &[&str]) -> Result<()> {
        let is_told = |story: &Value| {
            let code = story["waiting"]["code"].as_str().unwrap_or_default();
            codes.contains(&code)
        };
        self.until(consumer, "explain", is_told).await
    }

    /// Waits until an answer of the agent is missed, which the doctor says of the bundle or of the agent.
    async fn misses(&mut self, consumer: &str) -> Result<()> {
        self.waits(consumer, &["MQ904", "MQ907"]).await?;
        let run = self.at(consumer).await?;
        ensure!(
            run.says_only(&[503]).is_ok() || run.says_only(&[501]).is_ok(),
            "{run}"
        );
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_not_registered_an_agent_that_never_was_and_a_bridge_that_is_gone()
-> Result<()> {
    let mut looked = Looked::start("doctor-region-names").await?;
    let is_heard = |presence: &Value| presence["agent"]["version"].is_string();
    looked.until("cluster1", "presence", is_heard).await?;
    let run = looked.at("cluster1").await?;
    run.says_only(&[])?;
    run.tells(501, "ok", &["is connected"])?;
    let run = looked.at("cluster11").await?;
    run.says_only(&[402])?;
    run.tells(
        402,
        "error",
        &["`cluster11`", "a near name is `cluster1`", "register it"],
    )?;
    // That nothing was ever heard of it says little before somebody has listened for long; a bundle for nobody does.
    looked.api.create_consumer("cluster9").await?;
    let run = looked.at("cluster9").await?;
    run.says_only(&[])?;
    run.tells(501, "info", &["never heard"])?;
    looked.post("cluster9", "to-nobody").await?;
    looked.waits("cluster9", &["MQ905"]).await?;
    let run = looked.at("cluster9").await?;
    run.says_only(&[501])?;
    run.tells(501, "error", &["MQ905"])?;
    looked.region.bridge.kill()?;
    let run = looked.at("cluster1").await?;
    run.says_only(&[510])?;
    run.tells(510, "error", &["cannot be used", "--api"])?;
    looked.region.test_dir.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_falls_silent_or_stops_is_told_by_the_region() -> Result<()> {
    let mut looked = Looked::start("doctor-region-silent").await?;
    let faults = looked.region.broker.sandbox()?.faults().clone();
    let own = || "cluster1-work-agent-client".to_owned();
    // A policy without Receive: it publishes, and hears nothing; its own doctor has no way to see that.
    faults.set(|it| {
        it.refuse_receives.insert(own());
    });
    let id = looked.post("cluster1", "unheard").await?;
    looked.misses("cluster1").await?;
    faults.set(|it| it.refuse_receives.clear());
    looked.api.delete_bundle(&id).await?;
    let is_done = |story: &Value| story["waiting"].is_null();
    looked.until("cluster1", "explain", is_done).await?;

    // It hangs: its socket stays, and nothing moves on it.
    faults.set(|it| {
        it.stalled.insert(own());
    });
    looked.post("cluster1", "stalled").await?;
    looked.misses("cluster1").await?;
    faults.set(|it| it.stalled.clear());
    looked.region.ready().await?;

    // The network between it and the broker is cut on one side only.
    faults.set(|it| {
        it.half_open.insert(own());
    });
    let is_away = |presence: &Value| presence["state"] == "away";
    looked.until("cluster1", "presence", is_away).await?;
    let run = looked.at("cluster1").await?;
    run.says_only(&[501])?;
    run.tells(501, "error", &["away", "kubectl logs"])?;
    faults.set(|it| it.half_open.clear());
    looked.region.ready().await?;

    let agent = looked.region.agent("cluster1")?;
    agent.service.process().stop(PATIENCE).await?;
    looked.until("cluster1", "presence", is_away).await?;
    let run = looked.at("cluster1").await?;
    run.says_only(&[501])?;
    looked.region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_does_not_apply_or_has_another_version_is_told_in_its_words() -> Result<()> {
    let mut looked = Looked::start("doctor-region-applies").await?;
    looked.api.create_consumer("cluster9").await?;
    let mut agent = ScriptedAgent::new(looked.region.peer("scripted", &[])?, "cluster9")?;
    let id = looked.post("cluster9", "refused").await?;
    looked.waits("cluster9", &["MQ905"]).await?;
    let why = "apply ConfigMap shop/a: forbidden: cannot patch configmaps; hint: grant `patch` on configmaps";
    let work = [condition(
        "Applied",
        "False",
        "Failed to apply manifest work",
    )];
    let failed = [condition("Applied", "False", why)];
    agent
        .reports(&id, 1, &work, &[manifest("ConfigMap", "a", &failed)])
        .await?;
    looked.waits("cluster9", &["MQ908"]).await?;
    let run = looked.at("cluster9").await?;
    run.says_only(&[504])?;
    run.tells(
        504,
        "error",
        &["MQ908", "ConfigMap", "cannot patch configmaps"],
    )?;

    agent.is(self_report("99.0.0")).await?;
    let is_told = |presence: &Value| presence.to_string().contains("99.0.0");
    looked.until("cluster9", "presence", is_told).await?;
    let run = looked.at("cluster9").await?;
    run.says_only(&[504, 505])?;
    run.tells(505, "warning", &["99.0.0", "the bridge first"])?;
    looked.region.passed();
    Ok(())
}

// An agent that is asked has 20 s to answer before it counts as silent.
const PATIENCE: Duration = Duration::from_secs(90);
