//! Whether a directory is a region's, so that nobody's own files end up among certificates and databases.

use std::fs;
use std::io;
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
        let text = link::file::read_text(&directory.join("lock"), LONGEST_MARK).ok()?;
        [Self::Kept, Self::ThrownAway]
            .into_iter()
            .find(|mark| mark.text() == text)
    }
}

/// Looks at a directory before anything in it is changed. A missing one, an empty one and a region's own are good; others
/// are if that was `accepted` and nothing in them lies where a region writes.
pub(super) fn check(path: &Path, accepted: bool) -> Result<(), HomeError> {
    let shown = || path.display().to_string();
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return leads_somewhere(path),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(HomeError::NoDirectory { path: shown() });
        }
        Err(error) => return Err(at("read", path)(error)),
    };
    if is_a_regions(path) {
        return Ok(());
    }
    if let Some(name) = OWN.into_iter().find(|name| would_be_lost(path, name)) {
        return Err(HomeError::Own {
            path: shown(),
            name,
        });
    }
    if accepted {
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

/// Refuses a path that is missing because a symbolic link in it leads nowhere: no directory can be made there.
fn leads_somewhere(path: &Path) -> Result<(), HomeError> {
    // Without a slash at the end, which would follow the link.
    let mut above = path.components().as_path().ancestors();
    let Some(link) = above.find(|path| path.is_symlink() && !path.exists()) else {
        return Ok(());
    };
    let target = fs::read_link(link).map_err(at("read", link))?;
    Err(HomeError::Dangling {
        link: link.display().to_string(),
        target: target.display().to_string(),
    })
}

/// Whether something of this name is there, be it a link that leads nowhere. A region that could not write its mark, for
/// want of space, left an empty `lock`: nothing of that can be lost.
fn would_be_lost(directory: &Path, name: &str) -> bool {
    fs::symlink_metadata(directory.join(name))
        .is_ok_and(|it| !(name == "lock" && it.is_file() && it.len() == 0))
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

/// What a region makes at the top of its directory.
const OWN: [&str; 8] = [
    "lock",
    "ca.crt",
    "ca.key",
    "registry.json",
    "registry.json.new",
    "bridge",
    "operator",
    "consumers",
];

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
    fn nothing_of_the_users_is_written_over_even_if_accepted() {
        use std::os::unix::fs::symlink;

        for name in OWN {
            let scratch = tempfile::tempdir().unwrap();
            let (path, victim) = (scratch.path().join("d"), scratch.path().join("victim"));
            fs::create_dir(&path).unwrap();
            let refused = || {
                let error = Home::kept(&path, true).unwrap_err().to_string();
                assert!(
                    error.contains(&format!("has a `{name}` of its own")),
                    "{error}"
                );
            };
            fs::write(path.join(name), "notes").unwrap();
            refused();
            assert_eq!(fs::read_to_string(path.join(name)).unwrap(), "notes");
            fs::remove_file(path.join(name)).unwrap();
            symlink("../victim", path.join(name)).unwrap();
            refused();
            assert!(!victim.exists());
            fs::write(&victim, "notes").unwrap();
            refused();
            assert_eq!(fs::read_to_string(&victim).unwrap(), "notes");
        }
    }

    #[test]
    fn an_empty_lock_of_a_region_that_had_no_space_is_taken_and_no_link_is() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path();
        fs::write(path.join("lock"), "").unwrap();
        drop(Home::kept(path, true).unwrap());
        fs::rename(path.join("lock"), path.join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("elsewhere", path.join("lock")).unwrap();
        let error = Home::kept(path, true).unwrap_err().to_string();
        assert!(error.starts_with("create `"), "{error}");
    }

    #[test]
    fn all_that_a_region_has_is_in_the_list() {
        let home = Home::throw_away().unwrap();
        let consumer = link::id::ConsumerName::new("a").unwrap();
        let paths = [
            home.registry_file(),
            home.bridge_identity(),
            home.database(),
            home.replica(0).unwrap(),
            home.operator_identity(),
            home.agent_identity(&consumer),
            home.target(&consumer),
            home.agent_state(&consumer),
            home.write_consumers(&[]).unwrap(),
        ];
        for path in paths {
            let inside = path.strip_prefix(home.path()).unwrap();
            let top = inside.iter().next().and_then(|name| name.to_str());
            assert!(OWN.contains(&top.unwrap()), "{top:?}");
        }
    }

    #[test]
    fn a_link_that_leads_nowhere_is_called_so() {
        let scratch = tempfile::tempdir().unwrap();
        let link = scratch.path().join("link");
        std::os::unix::fs::symlink("gone", &link).unwrap();
        for path in [link.clone(), link.join(""), link.join("below")] {
            let error = Home::kept(&path, true).unwrap_err().to_string();
            let expected = "/link` is a symbolic link to `gone`, which is not there";
            assert!(error.ends_with(expected), "{error}");
        }
        fs::create_dir(scratch.path().join("gone")).unwrap();
        drop(Home::kept(&link, false).unwrap());
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
