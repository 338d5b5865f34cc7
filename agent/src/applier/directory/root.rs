//! Files below the root of the target, reached without following a symbolic link: whoever may write into the directory
//! must not have the agent write, read or remove something elsewhere.
//!
//! The root itself may be a link, because whoever starts the agent names it. Between check and use somebody who
//! may write here could still put a link in place; what it takes to win that race once is not worth much, because each
//! look starts anew.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use link::private;

use crate::disk::write_atomic;

/// The directory that manifests are applied to.
#[derive(Debug)]
pub(super) struct Root {
    root: PathBuf,
    temp: PathBuf,
}

/// Time and size of a file, by which changes are noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileStamp {
    modified: Option<SystemTime>,
    pub(super) bytes: u64,
}

// === impl Root ===

impl Root {
    /// Makes the directory when it is missing, and removes what an interrupted write left.
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        let temp = root.join(TEMP_DIR);
        match fs::symlink_metadata(&temp) {
            Ok(there) if there.is_dir() => fs::remove_dir_all(&temp)?,
            Ok(_) => fs::remove_file(&temp)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        private::create_dir_all(&temp)?;
        Ok(Self {
            root: root.into(),
            temp,
        })
    }

    /// Where a file is, and the directories above it up to the root.
    pub(super) fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    /// Whether there is anything of that name, be it a link.
    pub(super) fn exists(&self, key: &str) -> io::Result<bool> {
        self.check(key)?;
        missing_is_none(fs::symlink_metadata(self.path(key))).map(|found| found.is_some())
    }

    /// The stamp of a file; `None` when it is missing or no file.
    pub(super) fn stamp(&self, key: &str) -> Option<FileStamp> {
        self.check(key).ok()?;
        let metadata = fs::symlink_metadata(self.path(key)).ok()?;
        metadata.is_file().then(|| FileStamp {
            modified: metadata.modified().ok(),
            bytes: metadata.len(),
        })
    }

    /// What is in a file; `None` when there is none.
    pub(super) fn read(&self, key: &str) -> io::Result<Option<Vec<u8>>> {
        self.check(key)?;
        let path = self.path(key);
        match missing_is_none(fs::symlink_metadata(&path))? {
            None => Ok(None),
            Some(metadata) if metadata.is_file() => missing_is_none(fs::read(&path)),
            Some(_) => Err(io::Error::other(format!("`{}` is no file", path.display()))),
        }
    }

    /// Replaces a file as a whole; a link in its place is replaced, not followed.
    pub(super) fn write(&self, key: &str, bytes: &[u8]) -> io::Result<()> {
        self.check(key)?;
        let path = self.path(key);
        // A release may remove the empty directory in between; once more is enough, the lock is the caller's.
        private::create_dir_all(path.parent().unwrap_or(&self.root))?;
        write_atomic(&self.temp, &path, bytes, false)
    }

    /// Removes a file, or the link in its place, and the directories that are empty then.
    pub(super) fn remove(&self, key: &str) -> io::Result<()> {
        self.check(key)?;
        let path = self.path(key);
        missing_is_none(fs::remove_file(&path))?;
        // A full one refuses, which is right.
        for parent in path.ancestors().skip(1).take(DEPTH) {
            drop(fs::remove_dir(parent));
        }
        Ok(())
    }

    /// The root, the directories above a file, and the file.
    pub(super) fn chain(&self, key: &str) -> Vec<PathBuf> {
        let path = self.path(key);
        let chain = path.ancestors().take(DEPTH + 2);
        chain.map(Path::to_path_buf).collect()
    }

    // A directory on the way that is a link leads elsewhere.
    fn check(&self, key: &str) -> io::Result<()> {
        for parent in self.path(key).ancestors().skip(1).take(DEPTH) {
            if let Some(there) = missing_is_none(fs::symlink_metadata(parent))?
                && there.is_symlink()
            {
                return Err(io::Error::other(format!(
                    "`{}` is a symbolic link, which is not followed; hint: remove the link",
                    parent.display()
                )));
            }
        }
        Ok(())
    }
}

fn missing_is_none<T>(done: io::Result<T>) -> io::Result<Option<T>> {
    match done {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

// `<namespace>/<kind>/<name>.yaml`: two directories.
const DEPTH: usize = 2;
const TEMP_DIR: &str = ".agent-tmp";
