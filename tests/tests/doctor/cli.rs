//! The doctor as a process: exit code and report, as whoever calls it gets them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::process::ProcessSpec;
use tests::test_dir::TestDir;

/// What a run ended with.
pub(crate) struct Run {
    exit: Option<i32>,
    findings: Vec<Value>,
}

/// Runs `probe doctor --json` with these arguments, and nothing of AWS or Kubernetes from the tester's environment.
pub(crate) async fn doctor(
    dir: &TestDir,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> Result<Run> {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let mut spec = ProcessSpec::binary("probe")?
        .label(format!("doctor-{run}"))
        .args(["doctor", "--json"])
        .args(arguments);
    // What is empty is not set, for the SDK too.
    for name in [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "KUBERNETES_SERVICE_HOST",
    ] {
        spec = spec.env(name, "");
    }
    spec = spec
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("AWS_EC2_METADATA_DISABLED", "true");
    for (name, value) in environment {
        spec = spec.env(name, value);
    }
    let output = spec.run(dir.path(), PATIENCE).await?;
    let report: Value = serde_json::from_str(&output.stdout)
        .with_context(|| format!("{}{}", output.stdout, output.stderr))?;
    ensure!(report["schema"] == "maestro-findings/1", "{report}");
    let findings = report["findings"].as_array().cloned();
    Ok(Run {
        exit: output.status.code(),
        findings: findings.context("findings")?,
    })
}

// === impl Run ===

impl Run {
    /// These are the warnings and errors, and no others; each says why it matters and what to do; the exit code fits.
    ///
    /// # Errors
    /// What is not so.
    pub(crate) fn says_only(&self, codes: &[u16]) -> Result<()> {
        let mut found: Vec<u16> = self.wrong().filter_map(number).collect();
        found.sort_unstable();
        found.dedup();
        ensure!(found == codes, "{found:?} in place of {codes:?}: {self}");
        let exit = i32::from(!codes.is_empty());
        ensure!(self.exit == Some(exit), "exit code {:?}", self.exit);
        for finding in self.wrong() {
            for part in ["seen", "why", "next"] {
                let text = finding[part].as_str().unwrap_or_default();
                ensure!(!text.is_empty(), "no `{part}`: {finding}");
            }
        }
        Ok(())
    }

    /// The finding of a code has these words in what is seen, why or next.
    ///
    /// # Errors
    /// It has not.
    pub(crate) fn tells(&self, code: u16, severity: &str, words: &[&str]) -> Result<()> {
        let is_it = |finding: &&Value| {
            let text = format!("{} {} {}", finding["seen"], finding["why"], finding["next"]);
            number(finding) == Some(code)
                && finding["severity"] == severity
                && words.iter().all(|word| text.contains(word))
        };
        let found = self.findings.iter().find(is_it);
        found
            .map(|_| ())
            .with_context(|| format!("no {severity} MQ{code} with {words:?}: {self}"))
    }

    fn wrong(&self) -> impl Iterator<Item = &Value> {
        let wrong =
            |finding: &&Value| finding["severity"] == "error" || finding["severity"] == "warning";
        self.findings.iter().filter(wrong)
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for finding in &self.findings {
            write!(f, "\n  {finding}")?;
        }
        Ok(())
    }
}

fn number(finding: &Value) -> Option<u16> {
    finding["code"].as_str()?.strip_prefix("MQ")?.parse().ok()
}

// The doctor itself ends within ten seconds; many run side by side.
const PATIENCE: Duration = Duration::from_secs(60);
