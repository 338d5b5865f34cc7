//! The configuration of a PostgreSQL store.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use link::clock::Clock;

use super::super::OpenError;
use super::credentials::{CredentialFiles, Credentials};
use super::iam::Iam;
use super::limits::Limits;
use super::metrics::NotifyMetrics;

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
pub struct PostgresConfig {
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
    /// Whether replicas notify each other, on one more connection each.
    pub notify: bool,
    /// Counts those notifications.
    pub metrics: NotifyMetrics,
    /// Time-outs and bounds.
    pub limits: Limits,
    /// This machine's clock, which may be wrong: times that are stored are the database's ([`super::PostgresStore::clock`]).
    pub clock: Clock,
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

// === impl PostgresConfig ===

impl PostgresConfig {
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
            metrics: NotifyMetrics::unregistered(),
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
}
