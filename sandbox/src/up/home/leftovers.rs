//! Throw-away directories of regions that were killed, and so could not remove them: there is a private key in each.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use tracing::{info, warn};

use super::contents::Mark;

/// Removes the directories below `parent` that a region of this user was to remove at its end, and that nobody uses. One
/// that cannot be removed is told.
pub(super) fn remove(parent: &Path, prefix: &str) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        let path = entry.path();
        if !entry.file_name().to_string_lossy().starts_with(prefix) || !is_left(&path) {
            continue;
        }
        match fs::remove_dir_all(&path) {
            Ok(()) => info!("Removed {}, which a killed sandbox left", path.display()),
            Err(error) => {
                let path = path.display();
                warn!(%error, "{path} is left of a killed sandbox and cannot be removed");
            }
        }
    }
}

fn is_left(path: &Path) -> bool {
    // Not through a symbolic link: whoever may write to the parent could lay one.
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return false;
    };
    let ours = metadata.uid() == rustix::process::geteuid().as_raw();
    if !metadata.is_dir() || !ours || Mark::of(path) != Some(Mark::ThrownAway) {
        return false;
    }
    let lock = fs::File::open(path.join("lock"));
    lock.is_ok_and(|file| file.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_region_left_goes_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let at = |name: &str| parent.path().join(name);
        let marked = |name: &str, mark: Mark| {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("lock"), mark.text()).unwrap();
        };
        marked("sandbox-left", Mark::ThrownAway);
        marked("sandbox-runs", Mark::ThrownAway);
        marked("sandbox-kept", Mark::Kept);
        marked("another", Mark::ThrownAway);
        let running = fs::File::open(at("sandbox-runs").join("lock")).unwrap();
        running.lock().unwrap();
        fs::create_dir(at("sandbox-foreign")).unwrap();
        std::os::unix::fs::symlink(at("another"), at("sandbox-link")).unwrap();
        remove(parent.path(), "sandbox-");
        let there = |name: &str| fs::symlink_metadata(at(name)).is_ok();
        assert!(!there("sandbox-left"));
        for name in ["runs", "kept", "foreign", "link"] {
            assert!(there(&format!("sandbox-{name}")), "{name}");
        }
        assert!(at("another").join("lock").is_file());
    }
}
