//! A directory per test for state, identities and logs, kept when the test did not pass.

use std::io;
use std::path::{Path, PathBuf};

/// A directory below `target/test-dirs`. Removed by [`TestDir::passed`]; dropped otherwise, it stays for
/// whoever looks into the failure.
#[derive(Debug)]
pub struct TestDir {
    path: PathBuf,
    keep: bool,
}

// === impl TestDir ===

impl TestDir {
    /// A fresh directory named after the test.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(test: &str) -> io::Result<Self> {
        let root = target_directory()?.join("test-dirs");
        std::fs::create_dir_all(&root)?;
        let path = tempfile::Builder::new()
            .prefix(&format!("{test}-"))
            .tempdir_in(root)?
            .keep();
        Ok(Self { path, keep: true })
    }

    /// Where it is; absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A directory below it, made if missing.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn dir(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        std::fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// The test passed: nothing to look at. Call it last.
    pub fn passed(mut self) {
        self.keep = false;
    }
}

impl Drop for TestDir {
    #[expect(
        clippy::print_stderr,
        reason = "the test runner shows it when the test fails"
    )]
    fn drop(&mut self) {
        if self.keep {
            eprintln!("logs and state kept in {}", self.path.display());
        } else {
            // A process that is still ending may write into it; a left-over directory harms nobody.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// The directory of this profile's binaries, from the running test's own place (`…/debug/deps/test-hash`).
///
/// # Errors
/// When the running executable cannot be found.
pub fn profile_directory() -> io::Result<PathBuf> {
    let exe = std::env::current_exe()?;
    let mut directory = exe.parent().unwrap_or(Path::new("."));
    if directory.ends_with("deps") {
        directory = directory.parent().unwrap_or(directory);
    }
    Ok(directory.to_path_buf())
}

/// The root of the workspace that these tests belong to.
pub fn workspace() -> PathBuf {
    let member = Path::new(env!("CARGO_MANIFEST_DIR"));
    member.parent().unwrap_or(member).to_path_buf()
}

/// The directory of what cargo builds, whatever the profile.
///
/// # Errors
/// When the running executable cannot be found.
pub fn target_directory() -> io::Result<PathBuf> {
    let profile = profile_directory()?;
    Ok(profile.parent().map_or(profile.clone(), Path::to_path_buf))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_stays_unless_the_test_passed() {
        let kept = TestDir::new("kept").unwrap();
        let path = kept.path().to_path_buf();
        drop(kept);
        assert!(path.is_dir());
        std::fs::remove_dir(&path).unwrap();

        let removed = TestDir::new("removed").unwrap();
        let path = removed.path().to_path_buf();
        removed.passed();
        assert!(!path.exists());
    }
}
