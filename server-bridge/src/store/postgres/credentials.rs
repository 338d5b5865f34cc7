//! Host, database, user and password, read from files that may change at any time.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::super::OpenError;

/// The five files that the CSI driver mounts, or that flags name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialFiles {
    /// Host name, or a directory with a Unix socket.
    pub host: PathBuf,
    /// Port; 5432 when the file is empty.
    pub port: PathBuf,
    /// Name of the database.
    pub name: PathBuf,
    /// User.
    pub user: PathBuf,
    /// Password; the file may be empty for a server on this machine.
    pub password: PathBuf,
}

/// Where the server is and who we are, as read.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) name: String,
    pub(super) user: String,
    pub(super) password: String,
}

// === impl CredentialFiles ===

impl CredentialFiles {
    /// `db.host`, `db.port`, `db.name`, `db.user` and `db.password` in a directory.
    pub fn mounted(directory: &Path) -> Self {
        Self {
            host: directory.join("db.host"),
            port: directory.join("db.port"),
            name: directory.join("db.name"),
            user: directory.join("db.user"),
            password: directory.join("db.password"),
        }
    }

    /// Whether any of them is there.
    pub fn any_exists(&self) -> bool {
        self.all().iter().any(|file| file.exists())
    }

    fn all(&self) -> [&Path; 5] {
        [
            &self.host,
            &self.port,
            &self.name,
            &self.user,
            &self.password,
        ]
    }

    /// Reads them all. They may be of different moments: only the server knows whether user and password are a pair.
    pub(super) fn read(&self, with_password: bool) -> Result<Credentials, OpenError> {
        let text = |file: &Path| match link::file::read_text(file, FILE_BYTES) {
            Ok(text) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
            Err(error) => Err(given(file, link::error::chain(&error))),
        };
        let filled = |file: &Path| match text(file)? {
            text if text.is_empty() => Err(given(file, "is empty".into())),
            text if text.contains('\0') => Err(given(file, "holds a NUL".into())),
            text => Ok(text),
        };
        let port = text(&self.port)?;
        let port = match port.trim() {
            "" => DEFAULT_PORT,
            port => port
                .parse()
                .map_err(|_| given(&self.port, "holds no port".into()))?,
        };
        let mut read = Credentials {
            host: filled(&self.host)?.trim().to_owned(),
            port,
            name: filled(&self.name)?,
            user: filled(&self.user)?,
            password: String::new(),
        };
        if with_password {
            // A server on this machine may know who we are, or trust everybody.
            read.password = match text(&self.password)? {
                none if none.is_empty() && read.is_local() => none,
                _ => filled(&self.password)?,
            };
        }
        Ok(read)
    }
}

fn given(file: &Path, problem: String) -> OpenError {
    OpenError::Given {
        problem,
        file: file.to_owned(),
    }
}

// === impl Credentials ===

impl Credentials {
    /// Whether nobody stands between us and the server.
    pub(super) fn is_local(&self) -> bool {
        self.host.starts_with('/')
            || self.host == "localhost"
            || self.host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    }

    /// Whether these lead to another database than those.
    pub(super) fn is_elsewhere(&self, other: &Self) -> bool {
        (&self.host, self.port, &self.name) != (&other.host, other.port, &other.name)
    }

    /// `user@host:port/name`, for messages.
    pub(super) fn place(&self) -> String {
        let Self {
            host,
            port,
            name,
            user,
            ..
        } = self;
        format!("postgres://{user}@{host}:{port}/{name}")
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Credentials").field(&self.place()).finish()
    }
}

const DEFAULT_PORT: u16 = 5432;

// PostgreSQL's names have at most 63 bytes; a password of RDS 128, a token instead of one about 1 500.
const FILE_BYTES: u64 = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_to_the_letter_and_a_fault_is_named_with_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let files = CredentialFiles::mounted(directory.path());
        assert!(!files.any_exists());
        for (file, text) in [
            ("host", "db.internal\n"),
            ("port", ""),
            ("name", "maestro"),
            ("user", "app"),
            ("password", " s p\n"),
        ] {
            std::fs::write(directory.path().join(format!("db.{file}")), text).unwrap();
        }
        let read = files.read(true).unwrap();
        assert_eq!((read.port, read.password.as_str()), (5432, " s p"));
        assert_eq!(read.place(), "postgres://app@db.internal:5432/maestro");
        assert!(!format!("{read:?}").contains("s p"));
        std::fs::write(&files.password, "").unwrap();
        let error = files.read(true).unwrap_err().to_string();
        assert!(error.ends_with("db.password` is empty"), "{error}");
        std::fs::write(&files.host, "/var/run/postgresql").unwrap();
        assert_eq!(files.read(true).unwrap().password, "");
        std::fs::write(&files.port, "x").unwrap();
        let error = files.read(true).unwrap_err().to_string();
        assert!(error.ends_with("db.port` holds no port"), "{error}");
    }
}
