//! The files of the database: private, and checked to be still the ones that were opened.
//!
//! SQLite goes on writing to a file that somebody removed or replaced, and every commit succeeds until the process ends.
//! So the identity of each file is remembered when it is opened and compared before a write is answered. Nothing here
//! opens the database itself once SQLite has: closing any descriptor of it would drop SQLite's own locks.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use link::private;
use tracing::{info, warn};

use super::super::OpenError;

/// The files that were opened.
#[derive(Clone, Debug)]
pub(super) struct Files(Arc<Vec<Opened>>);

#[derive(Debug)]
struct Opened {
    path: PathBuf,
    identity: (u64, u64),
}

/// Makes directory and file where they are missing, 0700 and 0600, takes from existing files what others may, and
/// gives the path with symbolic links resolved: the only one, since lock and log are beside it.
///
/// # Errors
/// The file system's, or the path names something that is no file or has another name.
pub(super) fn prepare(path: &Path) -> Result<PathBuf, OpenError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if directory.exists() {
        let mode = fs::metadata(directory)?.permissions().mode();
        if mode & WRITABLE_BY_ALL == WRITABLE_BY_ALL && mode & STICKY == 0 {
            warn!(
                directory = %directory.display(),
                "Anybody may replace files in the directory of the database; hint: chmod o-w"
            );
        }
    } else {
        private::create_dir_all(directory)?;
    }
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => {
            return Err(
                io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file").into(),
            );
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            private::write_options().create_new(true).open(path)?;
        }
        Err(error) => return Err(error.into()),
    }
    let path = fs::canonicalize(path)?;
    only_name(&path)?;
    for file in [path.clone(), beside(&path, "-wal"), beside(&path, "-shm")] {
        match private::tighten(&file) {
            Ok(true) => {
                info!(file = %file.display(), "Others could read the database; now they cannot");
            }
            Ok(false) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // A volume may hold the files of another user and let this one in as a group.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                warn!(file = %file.display(), %error, "Others may be able to read the database");
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(path)
}

/// Refuses a file that can be reached by another path: a process that comes by that one finds neither lock nor log, and
/// both write.
fn only_name(path: &Path) -> Result<(), OpenError> {
    if fs::metadata(path)?.nlink() > 1 {
        return Err(OpenError::HardLinks);
    }
    // Elsewhere than on Linux there is none.
    match fs::read("/proc/self/mountinfo") {
        Ok(mounts) if is_mounted(&mounts, path) => Err(OpenError::MountedAlone),
        _ => Ok(()),
    }
}

/// Whether one of these mounts, as in `proc_pid_mountinfo(5)`, is at the path.
fn is_mounted(mounts: &[u8], path: &Path) -> bool {
    let path = path.as_os_str().as_bytes();
    mounts.split(|byte| *byte == b'\n').any(|line| {
        let point = line.split(|byte| *byte == b' ').nth(4);
        point.is_some_and(|point| unescaped(point) == path)
    })
}

/// Spaces, tabs, line ends and backslashes are written as three octal digits.
fn unescaped(mut field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    while let Some((&first, rest)) = field.split_first() {
        let (byte, rest) = match rest {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', rest @ ..] if first == b'\\' => {
                (((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'), rest)
            }
            _ => (first, rest),
        };
        bytes.push(byte);
        field = rest;
    }
    bytes
}

// === impl Files ===

impl Files {
    /// Remembers database, log and index as they are now, which is after SQLite has made them.
    pub(super) fn remember(database: &Path) -> io::Result<Self> {
        let files = [
            database.to_owned(),
            beside(database, "-wal"),
            beside(database, "-shm"),
        ];
        let opened = files.into_iter().map(|path| {
            let identity = identity(&path)?;
            Ok(Opened { path, identity })
        });
        Ok(Self(Arc::new(opened.collect::<io::Result<_>>()?)))
    }

    /// What is wrong with them: a file is gone or another one.
    pub(super) fn problem(&self) -> Option<String> {
        self.0.iter().find_map(|file| match identity(&file.path) {
            Ok(found) if found == file.identity => None,
            Ok(_) => Some(format!(
                "`{}` was replaced while the bridge runs; restart the bridge",
                file.path.display()
            )),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(format!(
                "`{}` was removed while the bridge runs; restore the database and restart the bridge",
                file.path.display()
            )),
            Err(error) => Some(format!("look at `{}`: {error}", file.path.display())),
        })
    }

    /// What is wrong with the space left for them.
    pub(super) fn shortage(&self) -> Option<String> {
        let path = &self.0.first()?.path;
        let space = rustix::fs::statvfs(path.parent()?).ok()?;
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        (free < SPACE_BYTES).then(|| {
            format!(
                "the disk of the database is full: {free} bytes are free, {SPACE_BYTES} are needed"
            )
        })
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// The path with a suffix after its whole name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

const WRITABLE_BY_ALL: u32 = 0o002;
const STICKY: u32 = 0o1000;

// The largest bundle (512 000 bytes) in the log and again in the database, and as much for a status beside it.
const SPACE_BYTES: u64 = 2 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn directory_and_database_are_made_for_their_owner_alone_and_old_ones_are_tightened() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("made/bridge.db");
        let real = prepare(&path).unwrap();
        assert_eq!(mode(&scratch.path().join("made")), 0o700);
        assert_eq!(mode(&real), 0o600);
        let log = beside(&real, "-wal");
        fs::write(&log, "").unwrap();
        for file in [&real, &log] {
            fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
        }
        prepare(&path).unwrap();
        assert_eq!((mode(&real), mode(&log)), (0o600, 0o600));
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        for path in [scratch.path(), Path::new("/dev/null")] {
            let error = prepare(path).unwrap_err();
            assert_eq!(error.to_string(), "it is not a regular file");
        }
    }

    #[test]
    fn a_file_with_two_names_is_refused_by_either_until_one_is_left() {
        let scratch = tempfile::tempdir().unwrap();
        let [one, two] = ["one.db", "two.db"].map(|name| scratch.path().join(name));
        prepare(&one).unwrap();
        fs::hard_link(&one, &two).unwrap();
        for path in [&one, &two] {
            let error = prepare(path).unwrap_err();
            assert!(matches!(error, OpenError::HardLinks), "{error}");
        }
        fs::remove_file(&two).unwrap();
        prepare(&one).unwrap();
    }

    #[test]
    fn a_mount_is_found_at_its_point_alone_however_that_is_written() {
        let mounts = concat!(
            "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n",
            "36 21 8:2 /x.db /data/x.db rw,noatime master:1 - ext4 /data/source.db rw\n",
            "37 21 8:2 / /volume rw - ext4 /dev/vdb rw\n",
            "38 21 8:2 /y /a\\040b\\134040\\011.db rw - ext4 /dev/vdb rw\n",
            "39 21 8:2 /z /odd\\04\\900 rw - ext4 /dev/vdb rw\n",
            "short line\n",
        );
        for (path, found) in [
            ("/data/x.db", true),
            ("/a b\\040\t.db", true),
            ("/odd\\04\\900", true),
            ("/x.db", false),
            ("/data", false),
            ("/data/source.db", false),
            ("/data/x.db-wal", false),
            ("/volume/x.db", false),
        ] {
            assert_eq!(
                is_mounted(mounts.as_bytes(), Path::new(path)),
                found,
                "{path}"
            );
        }
        // The kernel's own.
        if let Ok(mounts) = fs::read("/proc/self/mountinfo") {
            assert!(is_mounted(&mounts, Path::new("/proc")));
        }
    }

    #[test]
    fn a_removed_and_a_replaced_file_are_noticed() {
        let scratch = tempfile::tempdir().unwrap();
        let path = prepare(&scratch.path().join("bridge.db")).unwrap();
        for suffix in ["-wal", "-shm"] {
            fs::write(beside(&path, suffix), "").unwrap();
        }
        let files = Files::remember(&path).unwrap();
        assert_eq!(files.problem(), None);
        let aside = scratch.path().join("aside");
        for suffix in ["", "-wal", "-shm"] {
            let file = beside(&path, suffix);
            fs::rename(&file, &aside).unwrap();
            assert!(files.problem().unwrap().contains("was removed"));
            fs::write(&file, "").unwrap();
            assert!(files.problem().unwrap().contains("was replaced"));
            fs::rename(&aside, &file).unwrap();
            assert_eq!(files.problem(), None);
        }
    }
}
