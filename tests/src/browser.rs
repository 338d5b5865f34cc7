//! The machine's Chromium on the status page of a region.
//!
//! Scenarios are in `tests/browser`, which drives Chromium by playwright-core and looks at each view by axe's rules.
//! Screenshots are in `target/test-artifacts/ui`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::process::ProcessSpec;
use crate::region::Region;

/// A browser for one region.
#[derive(Debug)]
pub struct Browser {
    /// `http://HOST:PORT` of the bridge.
    pub url: String,
    tools: PathBuf,
    artifacts: PathBuf,
    logs: PathBuf,
}

// === impl Browser ===

impl Browser {
    /// Fetches what drives it when that is not there.
    ///
    /// # Errors
    /// The bridge has no API, or Node.js is not there; the text says how to install it.
    pub async fn new(region: &mut Region) -> Result<Self> {
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
    ///
    /// # Errors
    /// It does not hold, with what the page showed; Chromium is not there, with how to install it.
    pub async fn run(&self, scenario: &str, arguments: &[&str]) -> Result<String> {
        let done = node(scenario, &self.tools)?
            .arg(scripts().join("drive.mjs"))
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

/// Runs `tests/browser/keys.mjs`: a key set and tokens, for a bridge that asks for one.
///
/// # Errors
/// Node.js is not there, or a file cannot be written.
pub async fn keys(arguments: &[&str], logs: &Path) -> Result<()> {
    let made = node("keys", &tools(logs).await?)?
        .arg(scripts().join("keys.mjs"))
        .args(arguments)
        .run(logs, WITHIN)
        .await?;
    ensure!(made.status.success(), "{}", made.stderr);
    Ok(())
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("browser")
}

/// The folder of what the scripts stand on.
async fn tools(logs: &Path) -> Result<PathBuf> {
    let fetched = ProcessSpec::at("fetch", scripts().join("fetch"), REMEDY)
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

const REMEDY: &str = "install Node.js 20 or later: `sudo apt-get install nodejs npm` (Debian, Ubuntu) or `brew install node`";
const NO_BROWSER: &str =
    "run `sudo apt-get install chromium` (Debian, Ubuntu) or `brew install --cask chromium`";
const WITHIN: Duration = Duration::from_secs(300);
