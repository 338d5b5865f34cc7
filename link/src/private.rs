//! Files and directories that only their owner reads (0600 and 0700), whatever the umask.
//!
//! What is kept on disk holds Secrets and keys. Modes are given when a file is made, never afterwards, so that there is
//! no moment in which somebody else can open it.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::Path;

/// Makes a directory and its missing parents, each 0700. One that exists stays as it is; see [`tighten`].
///
/// # Errors
/// The file system's.
pub fn create_dir_all(path: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(path)
}

/// Options to create a file and write to it; one that is made is 0600. Add `truncate` or `create_new` as needed.
pub fn write_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).write(true).mode(FILE_MODE);
    options
}

/// Takes away what group and others may do with a file or directory of ours; returns whether something had to go.
/// Follows symbolic links.
///
/// # Errors
/// `PermissionDenied` when it belongs to another user, who could read it in any case; otherwise the file system's.
pub fn tighten(path: &Path) -> io::Result<bool> {
    // Opened first, so that what is looked at is what is changed; without waiting for the other end of a pipe.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    let metadata = file.metadata()?;
    let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner != user {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("it belongs to user {owner}, this process runs as user {user}"),
        ));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & OTHERS == 0 {
        return Ok(false);
    }
    file.set_permissions(Permissions::from_mode(mode & !OTHERS))?;
    Ok(true)
}

const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// What group and others may do.
const OTHERS: u32 = 0o077;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn what_is_made_is_its_owners_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let deep = scratch.path().join("a/b");
        create_dir_all(&deep).unwrap();
        create_dir_all(&deep).unwrap();
        assert_eq!(mode(&scratch.path().join("a")), 0o700);
        assert_eq!(mode(&deep), 0o700);
        let path = deep.join("f");
        let mut file = write_options().truncate(true).open(&path).unwrap();
        file.write_all(b"secret").unwrap();
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn tightening_takes_away_what_others_may_and_says_so() {
        let scratch = tempfile::tempdir().unwrap();
        for (before, after) in [
            (0o644, 0o600),
            (0o755, 0o700),
            (0o600, 0o600),
            (0o400, 0o400),
        ] {
            let path = scratch.path().join("f");
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(before)).unwrap();
            assert_eq!(tighten(&path).unwrap(), before != after);
            assert_eq!(mode(&path), after);
            assert!(!tighten(&path).unwrap());
        }
        fs::set_permissions(scratch.path(), Permissions::from_mode(0o755)).unwrap();
        assert!(tighten(scratch.path()).unwrap());
        assert_eq!(mode(scratch.path()), 0o700);
    }

    #[test]
    fn what_belongs_to_somebody_else_is_an_error() {
        // Root owns it; a test that runs as root makes it somebody else's.
        let scratch = tempfile::tempdir().unwrap();
        let theirs = scratch.path().join("f");
        fs::write(&theirs, "").unwrap();
        let path = match std::os::unix::fs::chown(&theirs, Some(12_345), None) {
            Ok(()) => theirs.as_path(),
            Err(_) => Path::new("/etc/passwd"),
        };
        let error = tighten(path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(error.to_string().contains("belongs to user"), "{error}");
        assert!(tighten(&scratch.path().join("missing")).is_err());
    }
}
