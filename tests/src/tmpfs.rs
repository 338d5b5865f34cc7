//! A file system of a few megabytes that a test can fill to the last byte and empty again.
//!
//! It is a tmpfs, so mounting takes root's rights: without them there is none, and the test says so and ends.

use std::fs::{File, remove_file};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted file system; dropping it unmounts it.
#[derive(Debug)]
pub struct Tmpfs {
    at: PathBuf,
}

// === impl Tmpfs ===

impl Tmpfs {
    /// Mounts one of this size on a directory, which hides what was in it; `None`, and a line for the reader, where
    /// this user may not mount.
    ///
    /// # Errors
    /// When there is no `mount`.
    #[expect(
        clippy::print_stderr,
        reason = "the test runner shows why nothing was tested"
    )]
    pub fn mount(at: &Path, kilobytes: u32) -> io::Result<Option<Self>> {
        let ended = Command::new("mount")
            .args(["-t", "tmpfs", "-o"])
            .arg(format!("size={kilobytes}k,mode=0700"))
            .arg("tests")
            .arg(at)
            .output()?;
        if ended.status.success() {
            return Ok(Some(Self { at: at.into() }));
        }
        let why = String::from_utf8_lossy(&ended.stderr);
        eprintln!("not tested, because nothing can be mounted here: {why}");
        Ok(None)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Writes until no byte is free.
    ///
    /// # Errors
    /// When something else goes wrong first.
    pub fn fill(&self) -> io::Result<()> {
        let mut ballast = File::options()
            .create(true)
            .append(true)
            .open(self.ballast())?;
        loop {
            match ballast.write(&[0; PAGE]) {
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error),
                Ok(_) => {}
            }
        }
    }

    /// Gives back what [`Self::fill`] took.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn free(&self) -> io::Result<()> {
        remove_file(self.ballast())
    }

    fn ballast(&self) -> PathBuf {
        self.at.join("ballast")
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: a process of the test may still be ending. What fails here is a mount left behind, no wrong result.
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

// What a tmpfs gives out at a time.
const PAGE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_dir::TestDir;

    #[test]
    fn a_full_file_system_takes_a_byte_again_once_it_is_freed() {
        let test_dir = TestDir::new("tmpfs").unwrap();
        let Some(disk) = Tmpfs::mount(test_dir.path(), 256).unwrap() else {
            return;
        };
        let file = disk.path().join("file");
        disk.fill().unwrap();
        let refused = std::fs::write(&file, "a").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
        disk.free().unwrap();
        std::fs::write(&file, "a").unwrap();
        drop(disk);
        assert!(!file.exists());
        test_dir.passed();
    }
}
