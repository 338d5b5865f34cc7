//! What is shipped: container images, manual pages, completions, versions, and the script that puts a release together.
//!
//! All of it is made of the programs that the other tests run, so that no program is built once more.

mod archive;
mod assembled;
mod commands;
mod image;
mod materials;
mod revision;
mod steps;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use tests::process::{Output, ProcessSpec};

const PROGRAMS: &[&str] = &["agent", "server-bridge", "probe", "provisioner", "sandbox"];

/// The repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Runs a script of the repository as of a certain commit.
async fn script(path: &str, arguments: &[&str], logs: &Path) -> Result<Output> {
    Ok(spec(path).args(arguments).run(logs, PATIENCE).await?)
}

fn spec(path: &str) -> ProcessSpec {
    ProcessSpec::at(path, root().join(path), "install Python 3.11 or newer")
        .label(label())
        .env("BUILD_COMMIT", COMMIT)
        .env("SOURCE_DATE_EPOCH", "1795910400")
}

/// A name for the logs of one run, of which there are several in a test.
fn label() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("run-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

// Packages may have to be fetched first.
const PATIENCE: Duration = Duration::from_secs(180);
