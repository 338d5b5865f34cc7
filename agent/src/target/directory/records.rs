//! Ownership records on disk: one JSON file per owner in the state directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tracing::error;

use crate::target::ownership::{Ownership, Record};
use crate::work::{WorkId, safe_name, write_atomic};

/// Where the records are.
#[derive(Debug)]
pub(super) struct Records {
    dir: PathBuf,
}

// === impl Records ===

impl Records {
    /// Loads every record; a damaged one is reported and skipped: its work claims its objects again.
    pub(super) fn open(dir: &Path) -> io::Result<(Self, Ownership)> {
        fs::create_dir_all(dir)?;
        let mut ownership = Ownership::default();
        for file in fs::read_dir(dir)? {
            let path = file?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                // The rest of an interrupted write.
                drop(fs::remove_file(&path));
                continue;
            }
            match serde_json::from_slice::<Record>(&fs::read(&path)?) {
                Ok(record) => ownership.take(record),
                Err(error) => {
                    error!(path = %path.display(), %error, "Ignored a damaged ownership record");
                    fs::rename(&path, path.with_extension("corrupt"))?;
                }
            }
        }
        Ok((Self { dir: dir.into() }, ownership))
    }

    /// Writes an owner's record down; `durable` when objects may be touched on the strength of it.
    pub(super) fn write(&self, owner: &WorkId, record: &Record, durable: bool) -> io::Result<()> {
        let bytes = serde_json::to_vec(record).map_err(io::Error::other)?;
        write_atomic(&self.dir, &self.path(owner), &bytes, durable)
    }

    /// Removes an owner's record.
    pub(super) fn forget(&self, owner: &WorkId) -> io::Result<()> {
        match fs::remove_file(self.path(owner)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn path(&self, owner: &WorkId) -> PathBuf {
        self.dir.join(format!("{}.json", safe_name(owner.as_str())))
    }
}
