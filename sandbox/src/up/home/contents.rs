//! Whether a directory is a region's, so that nobody's own files end up among certificates and databases.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use super::{HomeError, at};

/// What the file `lock` of a region's directory says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// It stays.
    Kept,
    /// It is removed at the end, by whoever comes next if need be.
    ThrownAway,
}

// === impl Mark ===

impl Mark {
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Kept => "sandbox up: kept\n",
            Self::ThrownAway => "sandbox up: removed at the end\n",
        }
    }

    /// That of a directory; `None` without one.
    pub(super) fn of(directory: &Path) -> Option<Self> {
        let file = fs::File::open(directory.join("lock")).ok()?;
        let mut text = String::new();
        file.take(LONGEST_MARK).read_to_string(&mut text).ok()?;
        [Self::Kept, Self::ThrownAway]
            .into_iter()
            .find(|mark| mark.text() == text)
    }
}

/// Looks at a directory before anything in it is changed. A missing one, an empty one and a region's own are good; others
/// are if that was `accepted`.
pub(super) fn check(path: &Path, accepted: bool) -> Result<(), HomeError> {
    let shown = || path.display().to_string();
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(HomeError::NoDirectory { path: shown() });
        }
        Err(error) => return Err(at("read", path)(error)),
    };
    if accepted || is_a_regions(path) {
        return Ok(());
    }
    let names = entries.filter_map(Result::ok);
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut holds: Vec<String> = names.take(SHOWN + 1).collect();
    if holds.is_empty() {
        return Ok(());
    }
    holds.sort_unstable();
    Err(HomeError::Foreign {
        path: shown(),
        holds,
    })
}

/// Whether a region ran here. One of a version that left no mark has a registry beside its authority.
fn is_a_regions(path: &Path) -> bool {
    let is_file = |name| path.join(name).is_file();
    let is_empty = |name| fs::metadata(path.join(name)).is_ok_and(|it| it.len() == 0);
    Mark::of(path).is_some() || is_empty("lock") && is_file("ca.key") && is_file("registry.json")
}

/// The first names, and whether there are more.
pub(super) fn few(names: &[String]) -> String {
    let shown: Vec<String> = names
        .iter()
        .take(SHOWN)
        .map(|name| format!("`{}`", link::telemetry::clip(name, LONGEST)))
        .collect();
    let more = if names.len() > SHOWN { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

// Enough to know the directory again.
const SHOWN: usize = 3;
const LONGEST: usize = 60;
// More than any has.
const LONGEST_MARK: u64 = 64;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::Home;
    use super::*;

    #[test]
    fn a_directory_with_other_files_stays_as_it_is_until_that_is_accepted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["a", "b", "c", "d"] {
            fs::write(path.join(name), "").unwrap();
        }
        let error = Home::kept(path, false).unwrap_err().to_string();
        assert!(
            error.contains("holds files that are not a region's (`"),
            "{error}"
        );
        assert!(error.ends_with(", …)"), "{error}");
        let mode = || fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(), fs::read_dir(path).unwrap().count()), (0o755, 4));

        drop(Home::kept(path, true).unwrap());
        assert_eq!(mode(), 0o700);
        // From now on it is a region's.
        drop(Home::kept(path, false).unwrap());
    }

    #[test]
    fn a_region_that_left_no_mark_is_known_by_its_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        for name in ["lock", "ca.key"] {
            fs::write(path.join(name), "").unwrap();
            assert!(!is_a_regions(path));
        }
        fs::write(path.join("registry.json"), "").unwrap();
        assert!(is_a_regions(path));
        fs::write(path.join("lock"), "another program's").unwrap();
        assert!(!is_a_regions(path));
    }

    #[test]
    fn a_file_is_no_directory() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Home::kept(file.path(), false).unwrap_err().to_string();
        assert!(error.ends_with("is no directory"), "{error}");
    }
}
