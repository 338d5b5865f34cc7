//! moto as a process: Secrets Manager, IAM, STS, EC2, RDS and EKS clusters, kept in memory.
//!
//! `tests/aws/serve.py` repairs what it gets wrong. It ends when the test process ends, however that happens.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Mutex;

use crate::process::{Process, ProcessError, ProcessSpec};
use crate::test_dir::TestDir;

/// A running moto. Dropping it kills it.
#[derive(Debug)]
pub struct Moto {
    // Above its logs: it is killed before they are removed.
    process: Process,
    address: SocketAddr,
    test_dir: Option<TestDir>,
}

/// moto could not be started.
#[derive(Debug, thiserror::Error)]
pub enum MotoError {
    /// It is not installed, could not be executed, or ended at once for a reason of its own.
    #[error("start moto")]
    Process(#[from] ProcessError),
    /// Its log could not be made.
    #[error("make the log of moto")]
    Log(#[from] io::Error),
    /// It does not say where it listens in the words of this version.
    #[error("find the address of moto in `{0}`")]
    Address(String),
}

// === impl Moto ===

impl Moto {
    /// Starts one on a free port and waits until it listens: about a second.
    ///
    /// # Errors
    /// See [`MotoError`].
    pub async fn start() -> Result<Self, MotoError> {
        let spec = program(&cache())?
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("aws/serve.py"))
            .args(["-H", "127.0.0.1", "-p", "0"]);
        let test_dir = TestDir::new("moto")?;
        let mut process = spec.start(test_dir.path())?;
        let line = process.line_with(LISTENS, PATIENCE).await?;
        let address = line
            .split(LISTENS)
            .nth(1)
            .and_then(|text| text.trim().parse().ok());
        let address = address.ok_or(MotoError::Address(line))?;
        let test_dir = Some(test_dir);
        Ok(Self {
            process,
            address,
            test_dir,
        })
    }

    /// The one of this test process, started if nobody has it at the moment.
    ///
    /// # Errors
    /// See [`MotoError`].
    pub async fn shared() -> Result<Arc<Self>, MotoError> {
        // Weak: a static is never dropped.
        static SHARED: Mutex<Weak<Moto>> = Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(moto) = shared.upgrade() {
            return Ok(moto);
        }
        let moto = Arc::new(Self::start().await?);
        *shared = Arc::downgrade(&moto);
        Ok(moto)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its log is, for whoever keeps it in a static, which is never dropped.
    pub fn directory(&self) -> Option<&Path> {
        self.test_dir.as_ref().map(TestDir::path)
    }

    /// A line per call, and the stack of every failure of its own.
    pub fn log(&self) -> String {
        self.process.output()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        if let Some(test_dir) = self.test_dir.take()
            && !std::thread::panicking()
        {
            test_dir.passed();
        }
    }
}

/// The Python of moto's own environment.
fn program(cache: &Path) -> Result<ProcessSpec, ProcessError> {
    let python = cache.join("bin/python");
    // Written last by `fetch`.
    if !cache.join("installed").is_file() {
        return Err(ProcessError::Missing {
            program: cache.join("bin/moto_server").display().to_string(),
            remedy: REMEDY,
        });
    }
    Ok(ProcessSpec::at("moto", python, REMEDY))
}

fn cache() -> PathBuf {
    let version = REQUIREMENTS
        .lines()
        .find_map(|line| line.strip_prefix("moto==")?.split_whitespace().next());
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../.cache/moto")
        .join(version.unwrap_or_default())
}

const REQUIREMENTS: &str = include_str!("../../aws/requirements.txt");

const LISTENS: &str = "Running on http://";

// A start takes a second; this is for a machine that builds at the same time.
const PATIENCE: Duration = Duration::from_secs(60);

const REMEDY: &str = "run `tests/aws/fetch` (half a minute, once; it needs python3 with venv)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_moto_names_the_command_that_installs_it() {
        let error = program(Path::new("nowhere")).unwrap_err().to_string();
        assert!(error.contains("run `tests/aws/fetch`"), "{error}");
    }

    #[test]
    fn the_version_is_the_one_of_the_requirements() {
        assert!(cache().ends_with("moto/5.2.5"), "{}", cache().display());
    }
}
