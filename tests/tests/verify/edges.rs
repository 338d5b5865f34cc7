//! `server-bridge verify` where things are in its way: a wrong command line, a cluster or a bridge that is away, Ctrl-C.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::api::Api;
use tests::process::{Process, ProcessSpec};
use tests::proxy::RetargetableProxy;
use tests::region::{BrokerKind, Region, RegionBuilder};
use tests::test_dir::TestDir;
use tests::wait::{patient, wait_for};

use super::{PATIENCE, api_url, going_on, reported, rounds, rounds_of, severity, verify};

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_option_or_token_ends_it_with_2_before_anybody_is_asked() -> Result<()> {
    let test_dir = TestDir::new("verify-options")?;
    let file = |name: &str, content: &str| -> Result<String> {
        let path = test_dir.path().join(name);
        std::fs::write(&path, content)?;
        Ok(path.display().to_string())
    };
    let (empty, two) = (file("empty", "")?, file("two", "a\nb")?);
    let directory = test_dir.path().display().to_string();
    let runs = test_dir.dir("runs")?;
    // Nobody listens there: whoever asks ends with 1.
    let nobody = "http://127.0.0.1:1";
    for (line, words) in [
        (
            &["--api-token-file", "/nowhere/token"][..],
            "`/nowhere/token`: cannot be read",
        ),
        (&["--api-token-file", &empty], "holds no token"),
        (&["--api-token-file", &two], "holds no token"),
        (&["--api-token-file", &directory], "is a directory"),
        (&["--sample", "0"], "1..=65535"),
        (&["--sample", "65536"], "1..=65535"),
        (&["--within", "999ms"], "at least `1s`"),
        (&["--every", "0"], "at least `1s`"),
        (&["--every", "2562048h"], "not a duration"),
        (&["--clean", "--within", "2562048h"], "not a duration"),
        (&["--canary", "A_b"], "--canary"),
        (&["--except", ""], "--except"),
        (&["--clean", "--except", "a"], "cannot be used with"),
        (&["--clean", "--every", "1s"], "cannot be used with"),
        (&["--clean", "--without-canaries"], "cannot be used with"),
        (&["--admin-listen", "127.0.0.1:0"], "--every"),
    ] {
        let output = verify(nobody, line, &runs).await?;
        ensure!(
            output.status.code() == Some(2),
            "{line:?}: {}",
            output.stderr
        );
        ensure!(output.stdout.is_empty(), "{line:?}: {}", output.stdout);
        ensure!(output.stderr.contains(words), "{line:?}: {}", output.stderr);
    }
    // At the limits it asks.
    for line in [
        ["--sample=65535", "--within=1s", "--json"],
        ["--clean", "--within=2562047h", "--json"],
    ] {
        let output = verify(nobody, &line, &runs).await?;
        ensure!(output.status.code() == Some(1), "{}", output.stderr);
        let report: Value = serde_json::from_str(&output.stdout)?;
        ensure!(severity(&report, "MQ920") == Some("error"), "{report}");
    }
    test_dir.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_away_is_found_and_one_that_is_left_out_is_left_alone() -> Result<()> {
    let mut region = RegionBuilder::new("verify-away", BrokerKind::Sandbox)
        .agents(2)
        .start()
        .await?;
    let api = region.api().await?;
    reported(&api, 2).await?;
    let url = api_url(&mut region.bridge).await?;
    let logs = region.test_dir.dir("verify")?;
    region.agent("cluster2")?.service.process().signal("STOP")?;
    let within = format!("{}s", patient(Duration::from_secs(10)).as_secs());
    let output = verify(&url, &["--within", &within], &logs).await?;
    ensure!(output.status.code() == Some(1), "{}", output.stdout);
    let late = "MQ921 error   The canary of `cluster2`, bundle `maestro-canary-cluster2`";
    ensure!(output.stdout.contains(late), "{}", output.stdout);
    ensure!(!output.stdout.contains("`cluster1`"), "{}", output.stdout);
    let next = "server-bridge explain maestro-canary-cluster2";
    ensure!(output.stdout.contains(next), "{}", output.stdout);

    let version = async |name: &str| -> Result<i64> {
        let canary = api.bundle(&format!("maestro-canary-{name}")).await?;
        Ok(canary.context("a canary")?.version)
    };
    let (first, second) = (version("cluster1").await?, version("cluster2").await?);
    let line = ["--except", "cluster2", "--except", "cluster9"];
    let output = verify(&url, &line, &logs).await?;
    ensure!(output.status.success(), "{}", output.stdout);
    ensure!(
        output.stdout.contains("MQ921 ok      1 canaries")
            && output
                .stdout
                .contains("`--except cluster9`: there is no such cluster"),
        "{}",
        output.stdout
    );
    ensure!(version("cluster1").await? > first && version("cluster2").await? == second);

    // Of one cluster in each round, and the next round takes the next: both get their turn.
    region.agent("cluster2")?.service.process().signal("CONT")?;
    let (first, second) = (version("cluster1").await?, version("cluster2").await?);
    let mut verifier = going_on(&url, &["--sample", "1"], &region.test_dir.dir("sample")?)?;
    wait_for("a canary of each", PATIENCE, async || {
        let now = (version("cluster1").await?, version("cluster2").await?);
        ensure!(now.0 > first && now.1 > second, "{now:?}");
        Ok(())
    })
    .await?;
    let page = verifier.metrics().await?;
    ensure!(page.count("bridge_verify_checked", &[("invariant", "canary")]) <= 1);
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_while_a_canary_is_on_its_way_says_which_and_what_takes_it_away() -> Result<()> {
    let mut region = RegionBuilder::new("verify-interrupt", BrokerKind::Sandbox)
        .start()
        .await?;
    let api = region.api().await?;
    reported(&api, 1).await?;
    let url = api_url(&mut region.bridge).await?;
    region.agent("cluster1")?.service.process().signal("STOP")?;
    let on_its_way = "Interrupted while canaries were on their way: `maestro-canary-cluster1`";

    let mut once = start(&region, &url, "once", &["--within", "10m"])?;
    under_way(&api, CANARY, 1).await?;
    once.signal("INT")?;
    ensure!(once.exited(PATIENCE).await?.code() == Some(1));
    ensure!(once.stdout().contains(on_its_way), "{}", once.stdout());
    ensure!(
        once.stdout().contains("verify --clean"),
        "{}",
        once.stdout()
    );
    ensure!(once.stderr().contains("interrupted"), "{}", once.stderr());

    // For ever a signal is how it ends: with 0, and the same words.
    let home = region.test_dir.dir("for-ever")?;
    let mut for_ever = going_on(&url, &["--within", "10m", "--json"], &home)?;
    under_way(&api, CANARY, 2).await?;
    ensure!(for_ever.process().stop(PATIENCE).await?.code() == Some(0));
    let last = for_ever.process().stdout();
    let last: Value = serde_json::from_str(last.lines().last().context("a line")?)?;
    ensure!(severity(&last, "MQ920") == Some("warning"), "{last}");
    ensure!(last.to_string().contains(on_its_way), "{last}");

    let mut clean = start(
        &region,
        &url,
        "clean",
        &["--clean", "--within", "10m", "--json"],
    )?;
    wait_for("the deletion to begin", PATIENCE, async || {
        let (_, text) = api
            .raw(
                reqwest::Method::GET,
                "/resource-bundles?fields=id,deleted_at",
                None,
            )
            .await?;
        ensure!(text.contains("deleted_at"), "{text}");
        Ok(())
    })
    .await?;
    clean.signal("TERM")?;
    ensure!(clean.exited(PATIENCE).await?.code() == Some(1));
    ensure!(clean.stdout().contains(on_its_way), "{}", clean.stdout());

    // What it said is what to do.
    region.agent("cluster1")?.service.process().signal("CONT")?;
    let output = verify(&url, &["--clean"], &region.test_dir.dir("verify")?).await?;
    ensure!(
        output.status.success(),
        "{}{}",
        output.stdout,
        output.stderr
    );
    ensure!(api.bundles("").await?.items.is_empty());
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_goes_away_in_between_is_said_and_looked_at_again_when_it_is_back()
-> Result<()> {
    let mut region = RegionBuilder::new("verify-bridge-away", BrokerKind::Sandbox)
        .start()
        .await?;
    let api = region.api().await?;
    reported(&api, 1).await?;
    let address = async |region: &mut Region| -> Result<std::net::SocketAddr> {
        let url = api_url(&mut region.bridge).await?;
        Ok(url.trim_start_matches("http://").parse()?)
    };
    let proxy = RetargetableProxy::start(address(&mut region).await?).await?;
    let url = format!("http://{}", proxy.address());
    let mut for_ever = going_on(&url, &[], &region.test_dir.dir("for-ever")?)?;
    for_ever.ready().await?;
    rounds(&mut for_ever, 1).await?;

    region.agent("cluster1")?.service.process().signal("STOP")?;
    // One of its own: two verifiers with one canary are in each other's way.
    let line = ["--canary", "once", "--within", "10m", "--json"];
    let mut once = start(&region, &url, "once", &line)?;
    under_way(&api, "once-cluster1", 1).await?;
    region.bridge.kill()?;
    proxy.refuse();
    proxy.break_all();
    ensure!(once.exited(PATIENCE).await?.code() == Some(1));
    let report: Value = serde_json::from_str(&once.stdout())?;
    ensure!(severity(&report, "MQ920") == Some("error"), "{report}");
    ensure!(severity(&report, "MQ921").is_none(), "{report}");
    let left = "Canaries that were on their way then: `once-cluster1`";
    ensure!(report.to_string().contains(left), "{report}");

    for_ever.unready("could not look").await?;
    let page = for_ever.metrics().await?;
    ensure!(page.count("bridge_verify_rounds_total", &[("outcome", "failed")]) >= 1);
    region.agent("cluster1")?.service.process().signal("CONT")?;
    region.bridge.restart()?;
    proxy.retarget(address(&mut region).await?);
    proxy.pass();
    for_ever.ready().await?;
    let seen = rounds_of(&mut for_ever).await?;
    rounds(&mut for_ever, seen + 1).await?;
    // That nobody could look is no violation of what is looked at.
    let page = for_ever.metrics().await?;
    for invariant in ["ledger", "digest", "acknowledged"] {
        let violations = page.count("bridge_verify_violations", &[("invariant", invariant)]);
        ensure!(
            violations == 0,
            "{invariant}: {}",
            for_ever.process().output()
        );
    }
    region.passed();
    Ok(())
}

fn start(region: &Region, url: &str, label: &str, line: &[&str]) -> Result<Process> {
    let spec = ProcessSpec::binary("server-bridge")?
        .label(label)
        .args(["verify", "--api", url])
        .args(line);
    Ok(spec.start(&region.test_dir.dir(label)?)?)
}

/// Waits until a canary that no agent takes has this version.
async fn under_way(api: &Api, id: &str, version: i64) -> Result<()> {
    wait_for("a canary on its way", PATIENCE, async || {
        let canary = api.bundle(id).await?;
        let canary = canary.context("a canary")?;
        ensure!(canary.version >= version, "{canary:?}");
        Ok(())
    })
    .await?;
    Ok(())
}

const CANARY: &str = "maestro-canary-cluster1";
