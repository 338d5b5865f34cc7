//! A deployment is rehearsed in every phase, a broken one is noticed, and the document's own commands work as they
//! stand.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use tests::process::ProcessSpec;
use tests::rehearse::{RehearsalOptions, passed, run};
use tests::test_dir::TestDir;
use tests::wait::wait_for;

#[tokio::test(flavor = "multi_thread")]
async fn every_phase_passes() -> Result<()> {
    let reports = run(&RehearsalOptions::default(), |_| ()).await?;
    assert_eq!(reports.len(), 6);
    assert!(passed(&reports), "{reports:#?}");
    assert!(
        reports.iter().all(|report| !report.looked_at.is_empty()),
        "a phase looked at nothing: {reports:#?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_policy_detached_behind_its_back_fails_phase_3_by_name() -> Result<()> {
    let test_dir = TestDir::new("rehearsal-sabotage")?;
    let spec = ProcessSpec::binary("rehearse")?.args(["--json", "--sabotage", "management-01"]);
    let output = spec.run(test_dir.path(), PATIENCE).await?;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let reports: Vec<Value> = output
        .stdout
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let verdicts: Vec<&str> = reports
        .iter()
        .filter_map(|report| report["verdict"].as_str())
        .collect();
    assert_eq!(
        verdicts,
        ["PASS", "PASS", "FAIL", "SKIPPED", "SKIPPED", "SKIPPED"]
    );
    let failed = &reports[2];
    assert_eq!(failed["title"], "MQTT connectivity");
    let error = failed["error"].as_str().unwrap_or_default();
    assert!(error.contains("as `management-01`"), "{error}");
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn the_commands_of_the_document_work_as_they_stand() -> Result<()> {
    let test_dir = TestDir::new("rehearsal-document")?;
    let text = std::fs::read_to_string(root().join("docs/TESTING-END-TO-END.md"))?;
    let hold = blocks(&text, "sh hold").concat();
    let script = blocks(&text, "sh run").concat();
    let variables = root().join("target/rehearsal.env");
    if variables.exists() {
        std::fs::remove_file(&variables)?;
    }
    let here = root();
    let shell = |label: &str, text: &str| {
        // What the document starts in the background ends with the shell, wherever that stops.
        let tidy = "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT";
        let text = format!("{tidy}\ncd '{}'\n{text}", here.display());
        let spec = ProcessSpec::installed("bash", "install bash");
        spec.map(|spec| spec.label(label).args(["-euo", "pipefail", "-c", &text]))
    };
    let mut holding = shell("hold", &format!("exec {hold}"))?.start(test_dir.path())?;
    wait_for("the variables of the testbed", PATIENCE, async || {
        ensure!(variables.exists(), "no file: {}", holding.output());
        Ok(())
    })
    .await?;
    let output = shell("run", &script)?
        .run(test_dir.path(), PATIENCE)
        .await?;
    ensure!(
        output.status.success(),
        "ended with {}\n{}\n{}",
        output.status,
        output.stdout,
        output.stderr
    );
    holding.stop(PATIENCE).await?;
    test_dir.passed();
    Ok(())
}

/// The fenced blocks of this kind, each with its last line end.
fn blocks(text: &str, kind: &str) -> Vec<String> {
    let fence = format!("```{kind}\n");
    let parts = text.split(&fence).skip(1);
    parts
        .filter_map(|part| part.split_once("```"))
        .map(|(block, _)| block.to_owned())
        .collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

// A rehearsal takes about twenty seconds on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(240);
