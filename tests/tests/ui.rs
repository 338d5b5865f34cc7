//! The status page in a real browser, on a real bridge: what it shows of ten thousand clusters, what it does when the bridge
//! is silent, and who is let in.
//!
//! Scenarios are in `tests/browser`, which drives the machine's Chromium by playwright-core, and looks at each view by axe's
//! rules. Screenshots are in `target/test-artifacts/ui`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests::api::{Api, config_map};
use tests::pki::Authority;
use tests::process::ProcessSpec;
use tests::region::{BrokerKind, Region, RegionBuilder};
use tests::wait::wait_for;

#[tokio::test(flavor = "multi_thread")]
async fn every_view_shows_what_the_bridge_knows_of_ten_thousand_clusters() -> Result<()> {
    let others = (1..CLUSTERS).map(|number| format!("edge-{number:05}"));
    let mut region = RegionBuilder::new("ui-views", BrokerKind::Sandbox)
        .without_quotas()
        .registered(others)
        .bridge_args(["--broker-rates", "unlimited"])
        .start()
        .await?;
    let api = region.api().await?;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": "web", "namespace": "default"},
        "stringData": {"password": CANARY},
    });
    let manifests = json!([config_map("web", "here"), secret]);
    create(&api, "web", "cluster1", manifests).await?;
    create(
        &api,
        "to-nobody",
        "edge-00001",
        json!([config_map("x", "")]),
    )
    .await?;
    wait_for(
        "what cluster1 was sent to be applied",
        PATIENCE,
        async || match api.bundles("search=applied%3D'True'").await {
            Ok(list) if list.total == 1 => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await?;
    let total = CLUSTERS.to_string();
    let said = Browser::new(&mut region)
        .await?
        .run("views", &[&total, CANARY])
        .await?;
    // The test's own report, for whoever looks for the figure.
    for line in said.lines() {
        eprintln!("{line}");
    }
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_is_silent_is_called_stale_until_it_is_heard_again() -> Result<()> {
    let mut region = RegionBuilder::new("ui-stale", BrokerKind::Sandbox)
        .start()
        .await?;
    let bridge = region.bridge.process().id().to_string();
    Browser::new(&mut region)
        .await?
        .run("stale", &[&bridge])
        .await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_asked_for_and_kept_in_memory_and_a_wrong_one_is_refused_with_words()
-> Result<()> {
    let files = tempfile::tempdir()?;
    let file = |name: &str| files.path().join(name).display().to_string();
    let [keys, good, foreign, unknown] = ["keys", "good", "foreign", "unknown"].map(file);
    let tools = tools(files.path()).await?;
    let made = node("keys", &tools)?
        .arg(browser().join("keys.mjs"))
        .args([ISSUER, AUDIENCE, &keys, &good, &foreign, &unknown])
        .run(files.path(), WITHIN)
        .await?;
    ensure!(made.status.success(), "{}", made.stderr);
    std::fs::write(files.path().join("rules.yaml"), RULES)?;
    let rules = file("rules.yaml");
    let flags = [
        ("--token-issuer", ISSUER),
        ("--token-audience", AUDIENCE),
        ("--token-jwks-file", &keys),
        ("--authorization-file", &rules),
    ];
    let mut region = RegionBuilder::new("ui-token", BrokerKind::Sandbox)
        .bridge_args(flags.into_iter().flat_map(|(flag, value)| [flag, value]))
        .start()
        .await?;
    let tokens = [good.as_str(), &foreign, &unknown];
    Browser::new(&mut region)
        .await?
        .run("token", &tokens)
        .await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_a_client_certificate_is_asked_nothing() -> Result<()> {
    let files = tempfile::tempdir()?;
    let file = |name: &str| files.path().join(name).display().to_string();
    let authority = Authority::new("callers")?;
    let (server, client) = (authority.server(&[])?, authority.client("ann")?);
    for (name, content) in [
        ("server.crt", &server.certificate),
        ("server.key", &server.key),
        ("callers.ca", &client.ca),
        ("ann.crt", &client.certificate),
        ("ann.key", &client.key),
    ] {
        std::fs::write(file(name), content)?;
    }
    let [certificate, key, ca] = ["server.crt", "server.key", "callers.ca"].map(file);
    let flags = [
        ("--https-cert-file", &certificate),
        ("--https-key-file", &key),
        ("--client-ca-file", &ca),
    ];
    let mut region = RegionBuilder::new("ui-certificate", BrokerKind::Sandbox)
        .bridge_args(
            flags
                .into_iter()
                .flat_map(|(flag, value)| [flag, value.as_str()]),
        )
        .start()
        .await?;
    let mut browser = Browser::new(&mut region).await?;
    browser.url = browser.url.replace("http://", "https://");
    let own = [file("ann.crt"), file("ann.key")];
    browser
        .run("certificate", &own.each_ref().map(String::as_str))
        .await?;
    region.passed();
    Ok(())
}

/// A browser for one region.
struct Browser {
    /// `http://HOST:PORT` of the bridge.
    url: String,
    tools: PathBuf,
    artifacts: PathBuf,
    logs: PathBuf,
}

// === impl Browser ===

impl Browser {
    async fn new(region: &mut Region) -> Result<Self> {
        let url = region.bridge.listening().await?.api;
        let logs = region.test_dir.dir("browser")?;
        // Beside the directories of tests, and kept whatever becomes of this one.
        let target = region.test_dir.path().ancestors().nth(2);
        let artifacts = target.context("test directories are below the target")?;
        Ok(Self {
            url: url.context("the bridge has an API")?,
            tools: tools(&logs).await?,
            artifacts: artifacts.join("test-artifacts/ui"),
            logs,
        })
    }

    /// What the scenario says, if it holds.
    async fn run(&self, scenario: &str, arguments: &[&str]) -> Result<String> {
        let done = node(scenario, &self.tools)?
            .arg(browser().join("drive.mjs"))
            .arg(scenario)
            .arg(&self.url)
            .arg(&self.artifacts)
            .args(arguments)
            .run(&self.logs, WITHIN)
            .await?;
        ensure!(done.status.success(), "{}\n{}", done.stdout, done.stderr);
        Ok(done.stdout)
    }
}

/// Where scenarios are.
fn browser() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("browser")
}

/// Where what they stand on is.
async fn tools(logs: &Path) -> Result<PathBuf> {
    let fetched = ProcessSpec::at("fetch", browser().join("fetch"), REMEDY)
        .run(logs, WITHIN)
        .await?;
    ensure!(
        fetched.status.success(),
        "tests/browser/fetch: {}",
        fetched.stderr
    );
    Ok(fetched.stdout.trim().into())
}

fn node(label: &str, tools: &Path) -> Result<ProcessSpec> {
    let chromium = ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find_map(|name| ProcessSpec::installed(name, NO_BROWSER).ok())
        .map_or_else(|| ProcessSpec::installed("chromium", NO_BROWSER), Ok)?;
    let program = chromium.command().get_program().to_owned();
    Ok(ProcessSpec::at("node", "node".into(), REMEDY)
        .label(label.to_owned())
        .env("BROWSER", program)
        .env("BROWSER_TOOLS", tools))
}

async fn create(api: &Api, name: &str, consumer: &str, manifests: Value) -> Result<()> {
    let body = json!({ "name": name, "consumer_name": consumer, "manifests": manifests });
    let (status, text) = api
        .raw(reqwest::Method::POST, "/resource-bundles", Some(&body))
        .await?;
    ensure!(status == 201, "{status} {text}");
    Ok(())
}

const CLUSTERS: usize = 10_000;
const CANARY: &str = "canary-7f3a9c51";

const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "bridge";
const RULES: &str = "\
rules:
- users: [ann]
  sources: ['*']
  consumers: ['*']
  verbs: [get, list]
";

const REMEDY: &str = "install Node.js 20 or later: `sudo apt-get install nodejs npm` (Debian, Ubuntu) or `brew install node`";
const NO_BROWSER: &str =
    "run `sudo apt-get install chromium` (Debian, Ubuntu) or `brew install --cask chromium`";
const WITHIN: Duration = Duration::from_secs(300);
const PATIENCE: Duration = Duration::from_secs(120);
