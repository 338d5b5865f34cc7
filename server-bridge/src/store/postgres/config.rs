//! What a connection is made from: files that say where and who, whom to trust, how many and how long.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use link::clock::Clock;

use super::super::OpenError;
use super::doorbell::Metrics;
use super::iam::Iam;

mod limits;

pub use limits::Limits;
pub(super) use limits::Span;

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

/// How the server proves who it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsMode {
    /// Its certificate is of a known authority and for the host that is dialled.
    #[default]
    VerifyFull,
    /// No TLS, which is for loopback and Unix sockets only.
    Disable,
}

/// The schema that holds the tables: 1 to 40 lower-case letters, digits and `_`, beginning with a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema(String);

/// Everything that opening a store needs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the server is and who we are; read again whenever they change.
    pub files: CredentialFiles,
    /// How the server proves who it is.
    pub tls: TlsMode,
    /// A token for each connection instead of the password, whose file is not read then.
    pub iam: Option<Iam>,
    /// Authorities to trust, in PEM, besides the public ones; read with every new connection.
    pub root_cert: Option<PathBuf>,
    /// Connections at most, at least [`MIN_CONNECTIONS`].
    pub max_connections: u32,
    /// The schema that holds the tables.
    pub schema: Schema,
    /// What the server calls these connections in its views and logs.
    pub application_name: String,
    /// Whether replicas ring each other, on a connection besides the others.
    pub notify: bool,
    /// Counts those rings.
    pub metrics: Metrics,
    /// Time-outs and bounds.
    pub limits: Limits,
    /// This machine's clock, which may be wrong: times that are stored are the database's ([`super::PostgresStore::clock`]).
    pub clock: Clock,
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

// === impl TlsMode ===

impl FromStr for TlsMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "verify-full" => Ok(Self::VerifyFull),
            "disable" => Ok(Self::Disable),
            // Authorities that sign for everybody are known, so any of their certificates would do for `verify-ca`.
            "verify-ca" | "require" | "prefer" | "allow" => Err(format!(
                "`{text}` does not check to whom the password goes; use `verify-full` and `--db-rootcert`"
            )),
            _ => Err("`verify-full` or `disable`".into()),
        }
    }
}

impl fmt::Display for TlsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::VerifyFull => "verify-full",
            Self::Disable => "disable",
        })
    }
}

// === impl Schema ===

impl Schema {
    /// The name, which needs no quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Schema {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let letter = text.starts_with(|c: char| c.is_ascii_lowercase());
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if !letter || text.len() > SCHEMA_BYTES || !text.bytes().all(plain) {
            return Err(format!(
                "1 to {SCHEMA_BYTES} lower-case letters, digits and `_`, beginning with a letter"
            ));
        }
        if text == "public" || text == "information_schema" || text.starts_with("pg_") {
            return Err("the bridge needs a schema of its own".into());
        }
        Ok(Self(text.to_owned()))
    }
}

impl Default for Schema {
    fn default() -> Self {
        Self("bridge".into())
    }
}

// === impl Config ===

impl Config {
    /// With the defaults of everything else.
    pub fn new(files: CredentialFiles) -> Self {
        Self {
            files,
            tls: TlsMode::default(),
            iam: None,
            root_cert: None,
            max_connections: DEFAULT_CONNECTIONS,
            schema: Schema::default(),
            application_name: "server-bridge".into(),
            notify: true,
            metrics: Metrics::unregistered(),
            limits: Limits::default(),
            clock: Clock::system(),
        }
    }

    /// Where the server is and who we are now.
    pub(super) async fn credentials(&self) -> Result<Credentials, OpenError> {
        let (files, with_password) = (self.files.clone(), self.iam.is_none());
        let read = tokio::task::spawn_blocking(move || files.read(with_password)).await;
        let mut read = read.map_err(|_| OpenError::Unfit {
            problem: "reading files panicked".into(),
        })??;
        if let Some(iam) = &self.iam {
            read.password = iam.token(&read, &self.limits).await?;
        }
        Ok(read)
    }
}

/// Searches, the API, delivery and the heartbeat need one each.
pub const MIN_CONNECTIONS: u32 = 4;

/// Fits twice, for a rollout, four replicas into the 80 connections of the smallest RDS class.
pub const DEFAULT_CONNECTIONS: u32 = 8;

const DEFAULT_PORT: u16 = 5432;

// PostgreSQL's names have at most 63 bytes; a password of RDS 128, a token instead of one about 1 500.
const FILE_BYTES: u64 = 16 * 1024;

// Leaves room in PostgreSQL's 63 bytes for what is derived from it.
const SCHEMA_BYTES: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_that_check_nothing_and_schemas_of_others_are_refused_with_what_to_do() {
        let mode = |text: &str| text.parse::<TlsMode>();
        assert_eq!(mode("verify-full"), Ok(TlsMode::VerifyFull));
        for text in ["verify-ca", "require", "prefer", "allow"] {
            assert!(mode(text).unwrap_err().contains("--db-rootcert"));
        }
        for text in [
            "public",
            "pg_x",
            "",
            "1a",
            "a b",
            "a\"b",
            "A",
            &"a".repeat(41),
        ] {
            assert!(text.parse::<Schema>().is_err(), "{text}");
        }
        assert_eq!("bridge_2".parse::<Schema>().unwrap().as_str(), "bridge_2");
    }

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
