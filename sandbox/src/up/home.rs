//! The directory of a region: what lies where, one region at a time, and removed at the end unless it is kept.
//!
//! ```text
//! ca.crt  ca.key  registry.json  lock
//! bridge/identity  bridge/server-bridge.db  bridge/consumers.json  bridge/NUMBER/log
//! operator/identity
//! consumers/NAME/identity  consumers/NAME/target  consumers/NAME/state
//! ```

use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use link::error::Hint;
use link::id::ConsumerName;
use link::private;
use tempfile::TempDir;

use self::contents::Mark;

mod contents;
mod leftovers;

/// The directory of a running region. Dropping it removes a throw-away one.
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
    // Held for as long as the region runs.
    _lock: File,
    throw_away: Option<TempDir>,
}

/// The directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// The system refuses.
    #[error("{operation} `{path}`")]
    File {
        /// `create`, `make private`, `write`, `lock` or `remove`.
        operation: &'static str,
        /// The file or directory.
        path: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Another region runs in it.
    #[error("`{path}` is in use by another region")]
    InUse {
        /// The directory.
        path: String,
    },
    /// It holds files, and no region.
    #[error("`{path}` holds files that are not a region's ({})", contents::few(.holds))]
    Foreign {
        /// The directory.
        path: String,
        /// Names of some of them.
        holds: Vec<String>,
    },
    /// It holds something where a region has its own, which would be written over.
    #[error("`{path}` has a `{name}` of its own, and so would a region")]
    Own {
        /// The directory.
        path: String,
        /// What it has.
        name: &'static str,
    },
    /// It, or a directory above it, is a symbolic link that leads nowhere.
    #[error("`{link}` is a symbolic link to `{target}`, which is not there")]
    Dangling {
        /// The link.
        link: String,
        /// Where it leads.
        target: String,
    },
    /// It is none.
    #[error("`{path}` is no directory")]
    NoDirectory {
        /// What it is.
        path: String,
    },
}

// === impl Home ===

impl Home {
    /// A throw-away directory below the system's one for temporary files. Those of regions that were killed go first.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn throw_away() -> Result<Self, HomeError> {
        leftovers::remove(&std::env::temp_dir(), PREFIX);
        let made = tempfile::Builder::new().prefix(PREFIX).tempdir();
        let directory = made.map_err(at("create", &std::env::temp_dir()))?;
        Ok(Self {
            path: directory.path().to_path_buf(),
            _lock: lock(directory.path(), Mark::ThrownAway)?,
            throw_away: Some(directory),
        })
    }

    /// A directory that stays, made if missing. One that holds other files than a region's is used only if that is
    /// `accepted`; nothing in it is changed otherwise, not even its mode. One with files where a region has its own is
    /// never used.
    ///
    /// # Errors
    /// When it cannot be made, another region runs in it, or it holds other files.
    pub fn kept(path: &Path, accepted: bool) -> Result<Self, HomeError> {
        let path = std::path::absolute(path).map_err(at("create", path))?;
        contents::check(&path, accepted)?;
        create(&path)?;
        Ok(Self {
            _lock: lock(&path, Mark::Kept)?,
            path,
            throw_away: None,
        })
    }

    /// Where it is; absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it stays.
    pub fn is_kept(&self) -> bool {
        self.throw_away.is_none()
    }

    /// Removes a throw-away directory, and says so when that fails.
    ///
    /// # Errors
    /// When something is left of it.
    pub async fn close(self) -> Result<(), HomeError> {
        let Some(directory) = self.throw_away else {
            return Ok(());
        };
        // Removed again and again below, by its path.
        let path = directory.keep();
        let mut tries = TRIES;
        loop {
            tries -= 1;
            match std::fs::remove_dir_all(&path) {
                // A part that was cut short may still write for a moment.
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && tries > 0 => {
                    tokio::time::sleep(BETWEEN_TRIES).await;
                }
                removed => return removed.map_err(at("remove", &path)),
            }
        }
    }

    pub(super) fn registry_file(&self) -> PathBuf {
        self.path.join("registry.json")
    }

    pub(super) fn bridge_identity(&self) -> PathBuf {
        self.path.join("bridge/identity")
    }

    pub(super) fn database(&self) -> PathBuf {
        self.path.join("bridge/server-bridge.db")
    }

    /// The private directory of one of several bridges, made if missing.
    pub(super) fn replica(&self, number: usize) -> Result<PathBuf, HomeError> {
        let path = self.path.join("bridge").join(number.to_string());
        create(&path)?;
        Ok(path)
    }

    pub(super) fn operator_identity(&self) -> PathBuf {
        self.path.join("operator/identity")
    }

    pub(super) fn agent_identity(&self, consumer: &ConsumerName) -> PathBuf {
        self.consumer(consumer).join("identity")
    }

    pub(super) fn target(&self, consumer: &ConsumerName) -> PathBuf {
        self.consumer(consumer).join("target")
    }

    pub(super) fn agent_state(&self, consumer: &ConsumerName) -> PathBuf {
        self.consumer(consumer).join("state")
    }

    /// Writes the file that the bridge preloads its consumers from.
    pub(super) fn write_consumers(&self, consumers: &[ConsumerName]) -> Result<PathBuf, HomeError> {
        let names: Vec<_> = consumers.iter().map(ConsumerName::as_str).collect();
        let file = self.path.join("bridge/consumers.json");
        let text = serde_json::Value::from(names).to_string();
        let opened = private::write_options().truncate(true).open(&file);
        let written = opened.and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(at("write", &file))?;
        Ok(file)
    }

    fn consumer(&self, consumer: &ConsumerName) -> PathBuf {
        self.path.join("consumers").join(consumer.as_str())
    }
}

// === impl HomeError ===

impl Hint for HomeError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::File {
                operation: "remove",
                ..
            } => "remove it by hand".into(),
            Self::File { .. } => {
                "choose another directory with `--keep DIR`, or with `TMPDIR` for one that is thrown away".into()
            }
            Self::InUse { .. } => {
                "stop that region, or choose another directory with `--keep DIR`".into()
            }
            Self::Foreign { .. } => {
                "choose an empty directory, or add `--yes` to make this one a region's: only you can read it then".into()
            }
            Self::Own { .. } => {
                "choose another directory; nothing in this one was changed".into()
            }
            Self::Dangling { .. } => "make the directory that the link names, or choose another".into(),
            Self::NoDirectory { .. } => "name a directory; it is made if it is missing".into(),
        })
    }
}

fn create(path: &Path) -> Result<(), HomeError> {
    // Private keys are in it.
    private::create_dir_all(path).map_err(at("create", path))?;
    private::tighten(path).map_err(at("make private", path))?;
    Ok(())
}

fn lock(directory: &Path, mark: Mark) -> Result<File, HomeError> {
    let path = directory.join("lock");
    // Nothing that a link leads to is written over.
    let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let opened = private::write_options().custom_flags(flags).open(&path);
    let mut file = opened.map_err(at("create", &path))?;
    match file.try_lock() {
        Ok(()) => {
            // What tells a region's directory from others.
            let written = file.set_len(0);
            let written = written.and_then(|()| file.write_all(mark.text().as_bytes()));
            written.map_err(at("write", &path))?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => Err(HomeError::InUse {
            path: directory.display().to_string(),
        }),
        Err(TryLockError::Error(source)) => Err(at("lock", &path)(source)),
    }
}

fn at(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> HomeError {
    let path = path.display().to_string();
    move |source| HomeError::File {
        operation,
        path,
        source,
    }
}

const PREFIX: &str = "sandbox-";

// A second together: what was aborted ends within milliseconds.
const TRIES: usize = 20;
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_holds_one_region_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let first = Home::kept(directory.path(), false).unwrap();
        let error = Home::kept(directory.path(), false).unwrap_err();
        assert!(
            error.to_string().ends_with("is in use by another region"),
            "{error}"
        );
        drop(first);
        Home::kept(directory.path(), false).unwrap();
    }

    #[test]
    fn a_kept_directory_is_its_owners_alone_whatever_it_was() {
        use std::fs::{self, Permissions};
        use std::os::unix::fs::PermissionsExt as _;

        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("kept");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        let home = Home::kept(&path, false).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&path.join("lock")), 0o600);
        private::create_dir_all(&path.join("bridge")).unwrap();
        let consumers = home.write_consumers(&[]).unwrap();
        assert_eq!(mode(&consumers), 0o600);
    }

    #[tokio::test]
    async fn a_throw_away_directory_is_gone_afterwards_and_a_kept_one_is_not() {
        let home = Home::throw_away().unwrap();
        let path = home.path().to_path_buf();
        assert!(path.is_dir() && !home.is_kept());
        home.close().await.unwrap();
        assert!(!path.exists());

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kept");
        let home = Home::kept(&path, false).unwrap();
        assert!(home.is_kept());
        home.close().await.unwrap();
        assert!(path.is_dir());
    }
}
