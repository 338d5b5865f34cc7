//! The lock that keeps a second process from writing to the file: the operating system's on a file beside the database, so
//! that it ends with its process however that ends. Reads beside a bridge (a look, a backup) need none.
//!
//! The file says which process holds it, for the one that is refused; and it keeps the seal by which an older copy of the
//! database is known ([`super::history`]). It stays when nobody holds it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process;
use std::time::Duration;

use link::private;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::super::OpenError;
use super::files::beside;

/// Held for as long as a process uses the database; dropped, the next one may.
#[derive(Debug)]
pub(super) struct Lock(File);

// === impl Lock ===

impl Lock {
    /// Takes the lock beside the database, whose path has no symbolic links left; waits a moment for a process that is just
    /// ending.
    ///
    /// # Errors
    /// [`OpenError::Locked`] when another process keeps it.
    pub(super) async fn take(database: &Path) -> Result<Self, OpenError> {
        let path = beside(database, ".lock");
        let file = private::write_options()
            .read(true)
            .truncate(false)
            .open(&path)?;
        let until = Instant::now() + PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < until => sleep(PAUSE).await,
                Err(TryLockError::WouldBlock) => {
                    let holder = Self(file).holder();
                    return Err(OpenError::Locked { lock: path, holder });
                }
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
        }
        let lock = Self(file);
        // A full disk keeps nobody from reading what is there: the next one is told of an earlier process then.
        if let Err(error) = lock.seals().and_then(|seals| lock.seal(&seals)) {
            debug!(file = %path.display(), %error, "Could not note which process holds the lock");
        }
        Ok(lock)
    }

    /// The seals, one a line; none where the file was lost.
    pub(super) fn seals(&self) -> io::Result<String> {
        let text = self.text()?;
        let seals: Vec<&str> = text.lines().filter(|line| !is_holder(line)).collect();
        Ok(seals.join("\n"))
    }

    /// Replaces the seals, durably. Cut only afterwards: a full disk has room for what is written over.
    pub(super) fn seal(&self, seals: &str) -> io::Result<()> {
        let text = format!("{seals}\n{}\n", this_process());
        self.0.write_all_at(text.as_bytes(), 0)?;
        self.0.set_len(text.len() as u64)?;
        self.0.sync_all()
    }

    /// Which process holds it, as far as that one could say.
    fn holder(&self) -> Option<String> {
        let text = self.text().ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(HOLDER))?;
        let (pid, host) = line.split_once(' ')?;
        Some(match host {
            "" => format!("process {pid}"),
            host => format!("process {pid} on host `{host}`"),
        })
    }

    /// What the last process wrote into it; nothing if it cannot be read as text.
    fn text(&self) -> io::Result<String> {
        let mut text = [0; MOST_BYTES];
        let length = self.0.read_at(&mut text, 0)?;
        Ok(String::from_utf8_lossy(&text[..length]).into_owned())
    }
}

fn is_holder(line: &str) -> bool {
    line.starts_with(HOLDER)
}

fn this_process() -> String {
    // A pod's is its name. Elsewhere than on Linux a shell may know it.
    let host = fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let host = host.or_else(|| std::env::var("HOSTNAME").ok());
    let host: String = host
        .unwrap_or_default()
        .trim()
        .chars()
        .take(HOST_CHARS)
        .collect();
    format!("{HOLDER}{} {host}", process::id())
}

// A seal is a UUID, which begins otherwise.
const HOLDER: &str = "held by ";

// Linux cuts names of hosts at 64 bytes.
const HOST_CHARS: usize = 64;

// Two UUIDs, a process id and the name of a host.
const MOST_BYTES: usize = 512;

// A process that was told to stop closes its database within a second.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn seals_stay_while_holders_come_and_go_and_a_file_of_before_is_understood() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("bridge.db");
        fs::write(beside(&path, ".lock"), "one\ntwo").unwrap();
        let lock = Lock::take(&path).await.unwrap();
        assert_eq!(lock.seals().unwrap(), "one\ntwo");
        lock.seal("three").unwrap();
        assert_eq!(lock.seals().unwrap(), "three");
        let pid = format!("process {}", process::id());
        assert!(lock.holder().unwrap().starts_with(&pid));
        drop(lock);
        assert_eq!(Lock::take(&path).await.unwrap().seals().unwrap(), "three");
        // One that was lost has none, whoever took it since.
        let lost = scratch.path().join("lost.db");
        drop(Lock::take(&lost).await.unwrap());
        assert_eq!(Lock::take(&lost).await.unwrap().seals().unwrap(), "");
    }
}
