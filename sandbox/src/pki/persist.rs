//! An authority and its certificates that survive a restart: used again as long as they are good.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use link::clock::Clock;
use link::error::Hint;
use link::identity::{Identity, Location};
use link::private;

use super::{Authority, PkiError, Set};

/// An authority could not be kept in a directory.
#[derive(Debug, thiserror::Error)]
pub enum PersistError {
    /// Its files cannot be read or written.
    #[error("{operation} `{path}`")]
    File {
        /// `read`, `write` or `make private`.
        operation: &'static str,
        /// The file.
        path: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It cannot be made, or what is there is no authority.
    #[error("keep a certificate authority in `{directory}`")]
    Authority {
        /// The directory.
        directory: String,
        /// Why.
        #[source]
        source: PkiError,
    },
}

// === impl Authority ===

impl Authority {
    /// The authority in `ca.crt` and `ca.key` of a directory; a new one when there is none.
    ///
    /// # Errors
    /// When the files cannot be read or written, or hold something else.
    pub fn persisted_in(directory: &Path, common_name: &str) -> Result<Self, PersistError> {
        let failed = |source| PersistError::Authority {
            directory: directory.display().to_string(),
            source,
        };
        let (certificate, key) = (directory.join("ca.crt"), directory.join("ca.key"));
        if certificate.exists() && key.exists() {
            for file in [&certificate, &key] {
                private::tighten(file).map_err(at("make private", file))?;
            }
            return Self::from_pem(&read(&certificate)?, &read(&key)?).map_err(failed);
        }
        let authority = Self::new(common_name).map_err(failed)?;
        write(&key, authority.key_pem())?;
        write(&certificate, authority.certificate_pem())?;
        Ok(authority)
    }

    /// The client certificate in a mounted directory if it is good and ours; a new one otherwise.
    ///
    /// # Errors
    /// Only if the machine has no randomness.
    pub fn client_in(&self, directory: &Path, common_name: &str) -> Result<Set, PkiError> {
        match self.laid_down(directory) {
            Some(set) => Ok(set),
            None => self.client(common_name),
        }
    }

    fn laid_down(&self, directory: &Path) -> Option<Set> {
        let location = Location::Directory(directory.to_path_buf());
        Identity::load(&location, Clock::system().now()).ok()?;
        let read = |name| fs::read_to_string(directory.join(name)).ok();
        let set = Set {
            certificate: read("certificate")?,
            key: read("privateKey")?,
            ca: read("ca.crt")?,
        };
        (set.ca == self.certificate_pem).then_some(set)
    }
}

// === impl PersistError ===

impl Hint for PersistError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::File { .. } => "choose another directory".into(),
            Self::Authority { .. } => {
                "remove the directory to begin with a new certificate authority".into()
            }
        })
    }
}

fn read(path: &Path) -> Result<String, PersistError> {
    fs::read_to_string(path).map_err(at("read", path))
}

/// Whole or not at all, readable by its owner only, and in place of a symbolic link rather than where it leads.
fn write(path: &Path, text: &str) -> Result<(), PersistError> {
    let directory = path.parent().unwrap_or(path);
    // It goes again if anything fails.
    let beside = tempfile::NamedTempFile::new_in(directory);
    let written = beside.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)
    });
    written.map(drop).map_err(at("write", path))
}

fn at(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PersistError {
    let path = path.display().to_string();
    move |source| PersistError::File {
        operation,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::{CertificateRequest, Layout, write_mount};

    #[test]
    fn an_authority_that_others_could_read_is_closed_to_them() {
        use std::os::unix::fs::PermissionsExt as _;

        let directory = tempfile::tempdir().unwrap();
        Authority::persisted_in(directory.path(), "test").unwrap();
        let key = directory.path().join("ca.key");
        let mode = || fs::metadata(&key).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        Authority::persisted_in(directory.path(), "test").unwrap();
        assert_eq!(mode(), 0o600);
    }

    #[test]
    fn files_are_written_whole_or_not_at_all_and_nowhere_else() {
        use std::os::unix::fs::symlink;

        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("d");
        fs::create_dir(&directory).unwrap();
        let (certificate, key) = (directory.join("ca.crt"), directory.join("ca.key"));
        let names = |path: &Path| fs::read_dir(path).unwrap().count();

        // Linked, it shows whether the file itself was written to.
        let other = scratch.path().join("other");
        fs::write(&other, "notes").unwrap();
        fs::hard_link(&other, &certificate).unwrap();
        symlink("../nokey", &key).unwrap();
        Authority::persisted_in(&directory, "test").unwrap();
        assert_eq!(fs::read_to_string(&other).unwrap(), "notes");
        assert_eq!((names(scratch.path()), names(&directory)), (2, 2));
        assert!(!key.is_symlink());
        Authority::persisted_in(&directory, "test").unwrap();

        fs::remove_file(&key).unwrap();
        fs::create_dir(&key).unwrap();
        write(&key, "").unwrap_err();
        assert_eq!(names(&directory), 2, "nothing is left beside it");
    }

    #[test]
    fn an_authority_and_a_good_certificate_are_used_again_and_a_bad_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let mount = directory.path().join("mount");
        let first = Authority::persisted_in(directory.path(), "test").unwrap();
        let set = first.client_in(&mount, "a").unwrap();
        write_mount(&mount, &set, &[], Layout::PerFileRename).unwrap();

        let second = Authority::persisted_in(directory.path(), "test").unwrap();
        assert_eq!(first.certificate_pem(), second.certificate_pem());
        assert!(second.client_in(&mount, "a").unwrap() == set);

        let other = Authority::new("other").unwrap();
        assert!(other.client_in(&mount, "a").unwrap() != set);

        let past = |text: &str| text.parse().unwrap();
        let (from, to) = ("2020-01-01T00:00:00Z", "2020-02-01T00:00:00Z");
        let expired = second
            .issue(&CertificateRequest::new("a").valid(past(from), past(to)))
            .unwrap();
        write_mount(&mount, &expired, &[], Layout::PerFileRename).unwrap();
        assert!(second.client_in(&mount, "a").unwrap() != expired);
    }
}
