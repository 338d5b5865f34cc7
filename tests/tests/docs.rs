//! The tables of `docs/CONFIGURATION.md` are what the code says: keys, metrics, and the flags of every command with their
//! environment variables, defaults and meanings. A flag that the page lacks fails, and so does one that no program takes.
//!
//! Pages of faults are compared with their catalogue (`faults`).
//!
//! Prose stands outside the `generated` marks and is written by hand; `UPDATE_DOCS=1 cargo test -p tests --test docs`
//! writes the tables anew.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use link::config::{Broker, reference_table};
use tests::process::ProcessSpec;
use tests::test_dir::TestDir;

#[path = "docs/faults.rs"]
mod faults;
#[path = "docs/flags.rs"]
mod flags;
#[path = "docs/man.rs"]
mod man;
#[path = "docs/metrics.rs"]
mod metrics;
#[path = "docs/provoked.rs"]
mod provoked;

#[test]
fn the_key_table_is_what_the_code_reads() -> Result<()> {
    hold("keys", &reference_table(Broker::KEYS))
}

#[test]
fn the_metrics_table_is_what_the_code_registers() -> Result<()> {
    hold("metrics", &metrics::table(&root())?)
}

#[tokio::test]
async fn the_tables_of_flags_are_what_the_programs_take() -> Result<()> {
    let test_dir = TestDir::new("docs-flags")?;
    let mut stale = Vec::new();
    for program in ["agent", "server-bridge", "probe", "provisioner", "sandbox"] {
        let directory = test_dir.dir(program)?;
        let spec = ProcessSpec::binary(program)?
            .label(program)
            .arg("man")
            .arg(&directory);
        let output = spec.run(test_dir.path(), PATIENCE).await?;
        ensure!(
            output.status.success(),
            "`{program} man`: {}",
            output.stderr
        );
        let commands = man::read(&directory)?;
        let tables = flags::tables(program, &commands);
        stale.extend(hold(&format!("flags of {program}"), &tables).err());
    }
    let stale: Vec<_> = stale.iter().map(|error| format!("{error:#}")).collect();
    ensure!(stale.is_empty(), "{}", stale.join("\n"));
    test_dir.passed();
    Ok(())
}

/// Compares the part of the document called `name` with `fresh`, or writes it.
fn hold(name: &str, fresh: &str) -> Result<()> {
    let path = root().join("docs/CONFIGURATION.md");
    // Three tests write one file.
    static FILE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _guard = FILE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let document = std::fs::read_to_string(&path)?;
    let begin = format!("<!-- generated: {name} -->\n");
    let end = format!("<!-- end of generated: {name} -->");
    let (before, rest) = document
        .split_once(&begin)
        .with_context(|| format!("`{begin}` is missing"))?;
    let (old, after) = rest
        .split_once(&end)
        .with_context(|| format!("`{end}` is missing"))?;
    let fresh = format!("\n{}\n\n", fresh.trim_end());
    if old != fresh && std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{begin}{fresh}{end}{after}"))?;
        return Ok(());
    }
    let difference = old
        .lines()
        .zip(fresh.lines())
        .find(|(old, fresh)| old != fresh)
        .map_or_else(
            || "one is longer".to_owned(),
            |(old, fresh)| format!("the document says\n  {old}\nthe code says\n  {fresh}"),
        );
    ensure!(
        old == fresh,
        "the part `{name}` of docs/CONFIGURATION.md is out of date: {difference}\n\
         hint: run `UPDATE_DOCS=1 cargo test -p tests --test docs`, read the difference, commit it"
    );
    Ok(())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

const PATIENCE: Duration = Duration::from_secs(20);
