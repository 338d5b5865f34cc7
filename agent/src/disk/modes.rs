//! At start: permissions of what the agent keeps are reduced to its owner's, whatever the umask was.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use link::private;
use tracing::{info, warn};

/// Takes away what group and others may do with directories and files, and says so. What is missing, a symbolic link, or
/// a directory that everybody shares (`/tmp`) is left alone; what belongs to somebody else is named in the log.
pub(crate) fn tighten(what: &str, paths: impl IntoIterator<Item = PathBuf>) {
    let mut tightened = 0_u64;
    for path in paths {
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        let shared = metadata.permissions().mode() & STICKY != 0;
        if shared || metadata.is_symlink() {
            continue;
        }
        match private::tighten(&path) {
            Ok(news) => tightened += u64::from(news),
            Err(error) => warn!(
                path = %path.display(), %error,
                hint = "let the agent's user own it, or keep others away from the directory above",
                "Others may read {what}"
            ),
        }
    }
    if tightened > 0 {
        info!(
            tightened,
            "Took away what group and others may do with {what}"
        );
    }
}

/// A directory and the files in it.
pub(crate) fn with_files(dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    let files = files.map(|file| file.path());
    std::iter::once(dir.to_path_buf()).chain(files).collect()
}

const STICKY: u32 = 0o1000;
