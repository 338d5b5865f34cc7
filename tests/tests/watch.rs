//! `probe watch` and `probe bench` on a region: the live screen in a real terminal (tmux), plain and JSON, ten thousand
//! clusters, an API that goes away, and a broker that limits rates.

#[path = "watch/ends.rs"]
mod ends;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use link::id::ClientId;
use link::iot::ArnPrefix;
use link::party::Party;
use link::topic::Scheme;
use sandbox::pki::{Layout, write_mount};
use serde_json::Value;
use tests::api::{Change, config_map};
use tests::process::{Output, ProcessSpec};
use tests::region::{BrokerKind, Region, RegionBuilder};
use tests::wait::{patient, quick_enough, wait_for};
use tokio::task::JoinSet;

const PATIENCE: Duration = Duration::from_secs(60);

async fn probe(region: &Region, args: &[&str]) -> Result<Output> {
    let logs = region.test_dir.dir(&uuid::Uuid::new_v4().to_string())?;
    Ok(ProcessSpec::binary("probe")?
        .args(args)
        .run(&logs, PATIENCE)
        .await?)
}

async fn address(region: &mut Region) -> Result<String> {
    let listening = region.bridge.listening().await?;
    let api = listening
        .api
        .context("the bridge says where its API listens")?;
    Ok(match api.starts_with("http") {
        true => api,
        false => format!("http://{api}"),
    })
}

/// A cluster without an agent that waits for a bundle.
async fn ghost(region: &mut Region) -> Result<()> {
    let api = region.api().await?;
    api.create_consumer("ghost").await?;
    api.create_bundle(&Change::create("ghost", vec![config_map("a", "1")]))
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_tells_who_waits_as_a_table_and_as_json() -> Result<()> {
    let mut region = RegionBuilder::new("watch-plain", BrokerKind::Sandbox)
        .start()
        .await?;
    ghost(&mut region).await?;
    let api = address(&mut region).await?;
    let line = ["watch", "--once", "--api", &api, "--stuck-after", "0.001"];
    let snapshot = wait_for("the bundle of `ghost` to be stuck", PATIENCE, async || {
        let done = probe(&region, &[&line[..], &["--json"]].concat()).await?;
        ensure!(done.status.success(), "{}", done.stderr);
        let snapshot: Value = serde_json::from_str(&done.stdout)?;
        ensure!(snapshot["stuck"] == 1, "{snapshot}");
        Ok(snapshot)
    })
    .await?;
    assert_eq!(snapshot["schema"], "maestro-watch/1");
    assert_eq!(snapshot["clusters"], 2);
    assert_eq!(
        snapshot["shown"][0]["name"], "ghost",
        "who waits comes first"
    );
    assert_eq!(snapshot["shown"][1]["name"], "cluster1");
    assert_eq!(snapshot["stuckBundles"][0]["cluster"], "ghost");
    let table = probe(&region, &line).await?.stdout;
    for word in ["CLUSTER", "ghost", "cluster1", "STUCK BUNDLES  1"] {
        assert!(table.contains(word), "no `{word}` in:\n{table}");
    }
    let filtered = probe(&region, &[&line[..], &["--filter", "cluster"]].concat())
        .await?
        .stdout;
    assert!(
        !filtered.contains("ghost") && filtered.contains("cluster1"),
        "{filtered}"
    );

    // Nothing was ever heard of it, and that not for long.
    let by_agent = ["--json", "--presence", "unknown"];
    wait_for("`ghost` alone to be unknown", PATIENCE, async || {
        let done = probe(&region, &[&line[..], &by_agent].concat()).await?;
        let unknown: Value = serde_json::from_str(&done.stdout)?;
        let shown = unknown["shown"].as_array().context("what is shown")?;
        let names: Vec<_> = shown.iter().map(|row| &row["name"]).collect();
        ensure!(names == ["ghost"] && unknown["clusters"] == 1, "{unknown}");
        anyhow::Ok(())
    })
    .await?;
    let none = [&line[..], &by_agent, &["--filter", "cluster"]].concat();
    let none: Value = serde_json::from_str(&probe(&region, &none).await?.stdout)?;
    assert_eq!(
        (&none["clusters"], &none["shown"]),
        (&0.into(), &Value::Array(vec![]))
    );
    let wrong = probe(&region, &[&line[..], &["--presence", "gone"]].concat()).await?;
    assert_eq!(wrong.status.code(), Some(2), "{}", wrong.stderr);

    // Nothing of one that is not there is stuck, which would look well.
    let of = async |name: &str| probe(&region, &[&line[..], &["--cluster", name]].concat()).await;
    let (there, gone) = (of("cluster1").await?, of("cluster9").await?);
    assert_eq!(there.status.code(), Some(0), "{}", there.stderr);
    assert_eq!((gone.status.code(), gone.stdout.as_str()), (Some(1), ""));
    let said = "there is no cluster `cluster9`\nhint: `probe watch --once";
    assert!(gone.stderr.contains(said), "{}", gone.stderr);

    let nobody = probe(&region, &["watch", "--once", "--api", "http://127.0.0.1:1"]).await?;
    assert_eq!(nobody.status.code(), Some(1));
    assert!(
        nobody.stderr.contains("nothing listens there"),
        "{}",
        nobody.stderr
    );
    region.passed();
    Ok(())
}

/// A terminal of its own with a command in it.
struct Terminal<'a> {
    socket: String,
    directory: &'a Path,
}

impl<'a> Terminal<'a> {
    async fn start(directory: &'a Path, script: &str) -> Result<Self> {
        Self::start_sized(directory, script, (110, 30)).await
    }

    async fn start_sized(
        directory: &'a Path,
        script: &str,
        (columns, lines): (u16, u16),
    ) -> Result<Self> {
        let (columns, lines) = (columns.to_string(), lines.to_string());
        let socket = directory.join("tmux").display().to_string();
        let terminal = Self { socket, directory };
        terminal
            .tmux(&[
                "new-session",
                "-d",
                "-x",
                &columns,
                "-y",
                &lines,
                "sh",
                "-c",
                script,
            ])
            .await?;
        Ok(terminal)
    }

    async fn tmux(&self, args: &[&str]) -> Result<String> {
        let logs = self.directory.join(uuid::Uuid::new_v4().to_string());
        std::fs::create_dir_all(&logs)?;
        let tmux = ProcessSpec::installed("tmux", "install it: `apt-get install tmux`")?;
        let tmux = tmux
            .env("TERM", "xterm-256color")
            .args(["-S", &self.socket, "-f", "/dev/null"]);
        let done = tmux.args(args).run(&logs, PATIENCE).await?;
        ensure!(done.status.success(), "tmux {args:?}: {}", done.stderr);
        Ok(done.stdout)
    }

    async fn shows(&self, words: &[&str]) -> Result<String> {
        let what = format!("{words:?} on the screen");
        let shown = wait_for(&what, PATIENCE, async || {
            let screen = self.tmux(&["capture-pane", "-p"]).await?;
            match words.iter().all(|word| screen.contains(word)) {
                true => Ok(screen),
                false => bail!("{screen}"),
            }
        });
        Ok(shown.await?)
    }

    async fn keys(&self, keys: &[&str]) -> Result<()> {
        self.tmux(&[&["send-keys"][..], keys].concat()).await?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_live_screen_follows_keys_sizes_and_outages_and_gives_the_terminal_back() -> Result<()>
{
    let mut region = RegionBuilder::new("watch-screen", BrokerKind::Sandbox)
        .start()
        .await?;
    ghost(&mut region).await?;
    let api = address(&mut region).await?;
    let directory = region.test_dir.dir("terminal")?;
    let probe = ProcessSpec::binary("probe")?.command();
    let probe = probe.get_program().to_string_lossy().into_owned();
    let file = |name: &str| directory.join(name).display().to_string();
    let watch = format!("{probe} watch --api {api} --interval 0.3 --stuck-after 0.01");
    // Twice: ended by SIGTERM, and by a key.
    let script = format!(
        "stty -g > {before}; sh -c 'echo $$ > {pid}; exec {watch}'; echo first $?; stty -g > {signal}; \
         {watch}; echo second $?; stty -g > {key}; cat",
        before = file("before"),
        key = file("key"),
        pid = file("pid"),
        signal = file("signal"),
    );
    let terminal = Terminal::start(&directory, &script).await?;
    terminal.shows(&["probe watch", "2 clusters"]).await?;
    let kill = format!("kill -TERM $(cat {})", file("pid"));
    terminal.tmux(&["run-shell", &kill]).await?;
    // Written between the two; then the first screen is gone.
    wait_for("the end by SIGTERM", PATIENCE, async || {
        ensure!(
            std::fs::read(directory.join("signal"))?.len() > 1,
            "not yet"
        );
        Ok(())
    })
    .await?;
    let screen = terminal
        .shows(&["probe watch", "2 clusters", "> ghost", "STUCK BUNDLES  1"])
        .await?;
    assert!(screen.contains("VERSION"), "{screen}");
    terminal.keys(&["s"]).await?;
    terminal.shows(&["sort (name)", "> cluster1"]).await?;
    terminal.keys(&["Down"]).await?;
    terminal.shows(&["> ghost"]).await?;
    terminal.keys(&["Enter"]).await?;
    terminal
        .shows(&["STUCK BUNDLES of ghost", "ghost/"])
        .await?;
    terminal.keys(&["/", "c", "l", "Enter"]).await?;
    terminal
        .shows(&["1 clusters with `cl`", "> cluster1"])
        .await?;
    terminal.keys(&["a"]).await?;
    terminal.shows(&["0 away clusters with `cl`"]).await?;
    terminal.keys(&["a"]).await?;
    terminal
        .shows(&["1 clusters with `cl`", "> cluster1"])
        .await?;
    terminal
        .tmux(&["resize-window", "-x", "80", "-y", "20"])
        .await?;
    let screen = wait_for("the narrow table", PATIENCE, async || {
        let screen = terminal.tmux(&["capture-pane", "-p"]).await?;
        ensure!(
            !screen.contains("VERSION") && screen.contains("LAG"),
            "{screen}"
        );
        Ok(screen)
    })
    .await?;
    assert!(screen.lines().count() <= 20, "{screen}");
    region.bridge.kill()?;
    terminal.shows(&["API away", "cluster1", "old"]).await?;
    terminal.keys(&["C-c"]).await?;
    // What was on the screen before is there again, and typing is as it was.
    terminal.shows(&["first 0", "second 0"]).await?;
    let modes = |name: &str| std::fs::read_to_string(directory.join(name));
    wait_for("the modes of the terminal", PATIENCE, async || {
        let (before, signal, key) = (modes("before")?, modes("signal")?, modes("key")?);
        ensure!(
            !key.is_empty() && before == signal && before == key,
            "{before}{signal}{key}"
        );
        Ok(())
    })
    .await?;
    terminal.tmux(&["kill-server"]).await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_clusters_are_shown_within_a_second() -> Result<()> {
    let mut region = RegionBuilder::new("watch-many", BrokerKind::Sandbox)
        .start()
        .await?;
    let api = Arc::new(region.api().await?);
    let mut making = JoinSet::new();
    for part in 0..32 {
        let api = api.clone();
        making.spawn(async move {
            for number in (part..9_999).step_by(32) {
                api.create_consumer(&format!("c{number:04}")).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(made) = making.join_next().await {
        made??;
    }
    ghost(&mut region).await?;
    let api = address(&mut region).await?;
    for sort in ["waiting", "name", "seen", "presence"] {
        let line = ["watch", "--once", "--json", "--api", &api, "--sort", sort];
        quick_enough(
            "a first picture",
            patient(Duration::from_secs(1)),
            async || {
                let begun = Instant::now();
                let done = probe(&region, &line).await?;
                let took = begun.elapsed();
                let snapshot: Value = serde_json::from_str(&done.stdout)?;
                assert_eq!(snapshot["clusters"], 10_001);
                assert_eq!(snapshot["shown"].as_array().map(Vec::len), Some(50));
                Ok(took)
            },
        )
        .await?;
    }
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_limits_rates_is_told_as_throttling_by_numbers_that_add_up() -> Result<()> {
    let region = RegionBuilder::new("bench-throttled", BrokerKind::Sandbox)
        .start()
        .await?;
    // The operator's policy as the provisioner writes it allows the topics of a bench.
    let operator = Party::operator(&Scheme::default(), &ClientId::new("operator")?);
    let registry = region.broker.sandbox()?.registry();
    registry.put_policy("operator", operator.policy(&ArnPrefix::default()))?;
    let set = region.authority.client("operator")?;
    registry.register_pem(&set.certificate, &["operator"])?;
    let mount = region.test_dir.dir("operator")?.join("mount");
    write_mount(&mount, &set, &[], Layout::PerFileRename)?;
    let (port, mount) = (
        region.broker.address().port().to_string(),
        mount.display().to_string(),
    );
    // In and out together a connection may have 100 a second (docs/IOT-CORE.md §1.2).
    let bench = async |rate: &str, connections: &str| {
        let done = probe(
            &region,
            &[
                "bench",
                "--json",
                "-h",
                "localhost",
                "-p",
                &port,
                "--identity",
                &mount,
                "-i",
                "operator",
                "--rate",
                rate,
                "-c",
                connections,
                "--duration",
                "2",
                "--warm-up",
                "1",
                "-W",
                "20",
            ],
        )
        .await?;
        let line = done.stdout.lines().next().context(done.stderr.clone())?;
        let result: Value = serde_json::from_str(line)?;
        let of = |name: &str| result[name].as_u64().unwrap_or_default();
        ensure!(of("due") == of("sent") + of("unsent"), "{result}");
        let ended = of("acknowledged") + of("throttled") + of("refused") + of("unanswered");
        ensure!(of("sent") == ended, "{result}");
        Ok((done.status.code(), result))
    };
    let (code, result) = bench("80", "4").await?;
    assert_eq!(
        (code, &result["received"]),
        (Some(0), &160.into()),
        "{result}"
    );
    let (code, result) = bench("300", "1").await?;
    assert_eq!(code, Some(1), "{result}");
    assert!(result["throttled"].as_u64() > Some(0), "{result}");
    region.passed();
    Ok(())
}
