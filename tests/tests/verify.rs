//! `server-bridge verify` against real regions: quiet while all is well, and each invariant broken for real is found.

#[path = "verify/edges.rs"]
mod edges;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::api::{Api, Change, config_map};
use tests::postgres::Server;
use tests::process::{Output, ProcessSpec};
use tests::region::{BrokerKind, RegionBuilder, Service};
use tests::wait::wait_for;

#[tokio::test(flavor = "multi_thread")]
async fn the_verifier_is_quiet_on_a_healthy_region_and_takes_its_canaries_away() -> Result<()> {
    let mut region = RegionBuilder::new("verify-healthy", BrokerKind::Sandbox)
        .agents(2)
        .start()
        .await?;
    let api = region.api().await?;
    post(&api, "kept").await?;
    reported(&api, 2).await?;
    let url = api_url(&mut region.bridge).await?;
    let logs = region.test_dir.dir("verify")?;
    for _ in 0..2 {
        let output = verify(&url, &["--json"], &logs).await?;
        ensure!(
            output.status.success(),
            "{}{}",
            output.stdout,
            output.stderr
        );
        let report: Value = serde_json::from_str(&output.stdout)?;
        ensure!(report["schema"] == "maestro-findings/1", "{report}");
        for code in ["MQ921", "MQ922", "MQ924"] {
            ensure!(severity(&report, code) == Some("ok"), "{code}: {report}");
        }
    }
    let canary = api.bundle("maestro-canary-cluster2").await?;
    ensure!(canary.is_some_and(|canary| canary.version >= 2));
    let output = verify(&url, &["--clean"], &logs).await?;
    ensure!(
        output.status.success() && output.stdout.contains("2 canaries are gone"),
        "{}{}",
        output.stdout,
        output.stderr
    );
    ensure!(api.bundles("").await?.items.len() == 1);

    region.bridge.kill()?;
    let output = verify(&url, &["--json"], &logs).await?;
    ensure!(output.status.code() == Some(1), "{}", output.stdout);
    let report: Value = serde_json::from_str(&output.stdout)?;
    ensure!(severity(&report, "MQ920") == Some("error"), "{report}");
    let output = verify(&url, &["--clean", "--json"], &logs).await?;
    ensure!(output.status.code() == Some(1), "{}", output.stdout);
    let report: Value = serde_json::from_str(&output.stdout)?;
    ensure!(severity(&report, "MQ920") == Some("error"), "{report}");
    region.test_dir.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_invariant_that_is_broken_is_found_and_a_canary_that_comes_back_ends_it() -> Result<()>
{
    let server = Server::start(&["max_connections=80"])?;
    let files = tempfile::tempdir()?;
    let database = server.database()?;
    server.mount(files.path(), &database)?;
    let mut region = RegionBuilder::new("verify-broken", BrokerKind::Sandbox)
        .postgres(files.path())
        .start()
        .await?;
    let api = region.api().await?;
    post(&api, "kept").await?;
    reported(&api, 1).await?;
    let url = api_url(&mut region.bridge).await?;
    let mut canaries = going_on(&url, &["--within", "3s"], &region.test_dir.dir("canaries")?)?;
    let mut looking = going_on(
        &url,
        &["--without-canaries"],
        &region.test_dir.dir("looking")?,
    )?;
    rounds(&mut canaries, 2).await?;
    rounds(&mut looking, 2).await?;
    for invariant in ["canary", "ledger", "digest", "acknowledged"] {
        violations(&mut canaries, invariant, |count| count == 0).await?;
    }

    // A cluster that does nothing.
    let agent = region.agent("cluster1")?;
    agent.service.process().signal("STOP")?;
    violations(&mut canaries, "canary", |count| count == 1).await?;
    ensure!(canaries.process().output().contains("MQ921"));
    agent.service.process().signal("CONT")?;
    violations(&mut canaries, "canary", |count| count == 0).await?;

    // A database that forgets.
    server.sql(
        &database,
        "UPDATE bridge.ledger SET applied_at = NULL WHERE bundle_key = (SELECT key FROM bridge.bundles WHERE id = 'kept')",
    )?;
    violations(&mut looking, "ledger", |count| count >= 1).await?;
    ensure!(looking.process().output().contains("MQ922"));
    server.sql(
        &database,
        "DELETE FROM bridge.bundles WHERE id = 'maestro-canary-cluster1'",
    )?;
    violations(&mut canaries, "acknowledged", |count| count >= 1).await?;
    ensure!(canaries.process().output().contains("MQ924"));
    canaries.process().stop(PATIENCE).await?;

    // A cluster that holds what the server knows nothing of: told by the agent's next report.
    violations(&mut looking, "digest", |count| count == 0).await?;
    server.sql(&database, "DELETE FROM bridge.bundles WHERE id = 'kept'")?;
    let seen = rounds_of(&mut looking).await?;
    rounds(&mut looking, seen + 2).await?;
    let agent = region.agent("cluster1")?;
    agent.service.kill()?;
    agent.service.restart()?;
    violations(&mut looking, "digest", |count| count == 1).await?;
    ensure!(looking.process().output().contains("MQ923"));
    region.test_dir.passed();
    Ok(())
}

async fn post(api: &Api, id: &str) -> Result<()> {
    let change = serde_json::to_value(Change::create("cluster1", vec![config_map(id, "one")]))?;
    let mut body = change;
    body["id"] = id.into();
    let answer = api
        .raw(reqwest::Method::POST, "/resource-bundles", Some(&body))
        .await?;
    ensure!(answer.0 == 201, "{answer:?}");
    wait_for("the bundle to be applied", PATIENCE, async || {
        let bundle = api.bundle(id).await.map_err(|error| error.to_string())?;
        match bundle {
            Some(bundle) if bundle.is("Applied") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    Ok(())
}

/// Waits until so many agents have reported of themselves.
async fn reported(api: &Api, agents: usize) -> Result<()> {
    wait_for("reports of the agents", PATIENCE, async || {
        let asked = api
            .raw(
                reqwest::Method::GET,
                "/consumers?fields=name,presence",
                None,
            )
            .await;
        let (_, text) = asked.map_err(|error| error.to_string())?;
        match text.matches("lastReportAt").count() {
            count if count == agents => Ok(()),
            _ => Err(text),
        }
    })
    .await?;
    Ok(())
}

async fn api_url(bridge: &mut Service) -> Result<String> {
    let api = bridge.listening().await?.api;
    api.context("the bridge says where its API listens")
}

async fn verify(url: &str, more: &[&str], logs: &Path) -> Result<Output> {
    let spec = ProcessSpec::binary("server-bridge")?
        .args(["verify", "--api", url])
        .args(more);
    // A directory for each run: the output of the next would follow that of this one.
    let logs = tempfile::tempdir_in(logs)?;
    Ok(spec.run(logs.path(), PATIENCE).await?)
}

fn going_on(url: &str, more: &[&str], home: &Path) -> Result<Service> {
    let spec = ProcessSpec::binary("server-bridge")?
        .args(["verify", "--api", url, "--every", "1s"])
        .args(["--admin-listen", "127.0.0.1:0"])
        .args(more);
    Service::start(spec, home)
}

async fn rounds_of(verifier: &mut Service) -> Result<u64> {
    let page = verifier.metrics().await?;
    Ok(page.count("bridge_verify_rounds_total", &[("outcome", "looked")]))
}

async fn rounds(verifier: &mut Service, least: u64) -> Result<()> {
    wait_for(
        "rounds of the verifier",
        PATIENCE,
        async || match rounds_of(verifier).await {
            Ok(rounds) if rounds >= least => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await?;
    Ok(())
}

async fn violations(
    verifier: &mut Service,
    invariant: &str,
    wanted: impl Fn(u64) -> bool,
) -> Result<()> {
    let what = format!("violations of `{invariant}`");
    wait_for(&what, PATIENCE, async || {
        let page = verifier
            .metrics()
            .await
            .map_err(|error| error.to_string())?;
        match page.count("bridge_verify_violations", &[("invariant", invariant)]) {
            count if wanted(count) => Ok(()),
            count => Err(format!("{count}")),
        }
    })
    .await?;
    Ok(())
}

/// The severity of the first finding with this code.
fn severity<'a>(report: &'a Value, code: &str) -> Option<&'a str> {
    let findings = report["findings"].as_array()?;
    let found = findings.iter().find(|finding| finding["code"] == code);
    found?["severity"].as_str()
}

const PATIENCE: Duration = Duration::from_secs(60);
