//! Ownership records on disk: one JSON file per owner in the state directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use link::private;
use tracing::error;

use crate::applier::ownership::{Ownership, Record};
use crate::disk::{TEMP_PREFIX, modes, safe_name, sync_directory, write_atomic};
use crate::work_id::WorkId;

/// Where the records are.
#[derive(Debug)]
pub(super) struct Records {
    dir: PathBuf,
}

// === impl Records ===

impl Records {
    /// Loads every record; a damaged one is reported and skipped: its work claims its objects again.
    pub(super) fn open(dir: &Path) -> io::Result<(Self, Ownership)> {
        private::create_dir_all(dir)?;
        modes::tighten("the records of what is held", modes::with_files(dir));
        let mut ownership = Ownership::default();
        for file in fs::read_dir(dir)? {
            let path = file?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(TEMP_PREFIX) {
                // The rest of an interrupted write.
                drop(fs::remove_file(&path));
            }
            if path.extension().is_none_or(|extension| extension != "json") {
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
        write_atomic(&self.dir, &self.path(owner), &bytes, durable)?;
        if durable {
            sync_directory(&self.dir)
        } else {
            Ok(())
        }
    }

    /// Removes an owner's record, durably: one that comes back would hold objects for a work that is gone.
    pub(super) fn forget(&self, owner: &WorkId) -> io::Result<()> {
        match fs::remove_file(self.path(owner)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => sync_directory(&self.dir),
        }
    }

    fn path(&self, owner: &WorkId) -> PathBuf {
        self.dir.join(format!("{}.json", safe_name(owner.as_str())))
    }
}
