//! The deletions that are remembered, in one file: a line is added for each, and the file is written anew from time to
//! time. Not synced: what a power cut takes away is only that old events are known as such.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use link::private;
use tracing::warn;

use super::super::tombstones::{MOST, Tombstones};
use crate::disk::write_atomic;

/// The file.
#[derive(Debug)]
pub(super) struct Memory {
    dir: PathBuf,
    // As many lines as the file has at most; more than fit after a write that failed half-way.
    lines: Mutex<usize>,
}

// === impl Memory ===

impl Memory {
    /// Reads the file; one that cannot be read is as good as none.
    pub(super) fn open(dir: &Path) -> (Self, Tombstones) {
        let text = match fs::read_to_string(dir.join(FILE)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                warn!(%error, "Could not read which works were deleted lately");
                String::new()
            }
        };
        let memory = Self {
            dir: dir.into(),
            lines: Mutex::new(text.lines().count()),
        };
        (memory, Tombstones::read(&text))
    }

    /// Adds a line, or writes all of them anew.
    pub(super) fn note(&self, line: &str, all: impl FnOnce() -> String) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.dir.join(FILE);
        let (done, count) = if *lines < 2 * MOST {
            let mut options = private::write_options();
            let file = options.append(true).open(&path);
            let done = file.and_then(|mut file| file.write_all(line.as_bytes()));
            (done, *lines + 1)
        } else {
            let done = write_atomic(&self.dir, &path, all().as_bytes(), false);
            (done, MOST)
        };
        *lines = match done {
            Ok(()) => count,
            Err(error) => {
                // A deletion frees space: it does not wait for this.
                warn!(%error, "Could not note which work was deleted");
                usize::MAX
            }
        };
    }
}

const FILE: &str = "departed";
