//! Errors of opening a store, each with a hint and its fault.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use link::error::Hint;
use link::fault::Code;
use link::id::SourceId;
use link::tls::TlsProblem;
use sqlx::migrate::MigrateError;

use super::FailureClass;

/// The stage at which opening failed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Connecting failed.
    #[error(transparent)]
    Connect(#[from] sqlx::Error),
    /// Bringing the schema up to date failed.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// The files cannot be made or are not fit to hold the database.
    #[error(transparent)]
    Files(#[from] io::Error),
    /// A process that opens it by another name would not see this one.
    #[error("it has several names (hard links), and a bridge keeps files beside it")]
    HardLinks,
    /// The same by another mount; and what is kept beside it is not on its volume.
    #[error("it is mounted by itself, and a bridge keeps files beside it")]
    MountedAlone,
    /// Another process uses this file.
    #[error("another process holds `{}`{}", lock.display(), named(holder.as_deref()))]
    Locked {
        /// The file that is locked.
        lock: PathBuf,
        /// Process and host, where they are known.
        holder: Option<String>,
    },
    /// A file that says where the server is, who we are or whom to trust cannot be used.
    #[error("`{}` {problem}", file.display())]
    Given {
        /// What is wrong with it.
        problem: String,
        /// The file.
        file: PathBuf,
    },
    /// The server cannot be reached.
    #[error("the server cannot be reached")]
    Unreachable(#[source] sqlx::Error),
    /// The server does not speak TLS, or its certificate is not to be trusted.
    #[error("TLS with the server failed: {problem}")]
    Tls {
        /// What is wrong.
        problem: TlsProblem,
        /// Whether a file of authorities was given.
        given: bool,
    },
    /// The server does not offer TLS.
    #[error("the server offers no TLS")]
    NoTls,
    /// Without TLS the password would go over a network.
    #[error("a server that is not on loopback is not spoken to without TLS")]
    Plain,
    /// The server does not let the user in.
    #[error("the server refuses the user or its password")]
    Denied(#[source] sqlx::Error),
    /// The server does not let the user in with a token.
    #[error("the server refuses the user or its IAM token for region `{region}`")]
    TokenDenied {
        /// The region the token is for.
        region: String,
        /// What the server said.
        #[source]
        source: sqlx::Error,
    },
    /// No token could be made that stands for a password.
    #[error("no IAM token for the database: {problem}")]
    Token {
        /// What is wrong, and with which source of credentials.
        problem: String,
    },
    /// The server has no such database.
    #[error("the server has no such database")]
    NoDatabase(#[source] sqlx::Error),
    /// Every connection of the server is taken.
    #[error("every connection of the server is taken")]
    Connections(#[source] sqlx::Error),
    /// The server takes no writes.
    #[error("the server is read-only: a standby, or one that is being replaced")]
    ReadOnly,
    /// The disk of the server is full.
    #[error("the disk of the server is full")]
    Full(#[source] sqlx::Error),
    /// The server is too old, or its text is no UTF-8.
    #[error("{problem}")]
    Unfit {
        /// What is wrong with it.
        problem: String,
    },
    /// The user may not make the tables.
    #[error("the user may not make or change the tables of schema `{schema}`")]
    Privileges {
        /// The schema.
        schema: String,
        /// What the server said.
        #[source]
        source: sqlx::Error,
    },
    /// A newer version of the bridge has changed the tables so that this one would misread them.
    #[error("schema `{schema}` is at version {found}; this bridge knows versions up to {known}")]
    Newer {
        /// The schema.
        schema: String,
        /// The newest change made to it.
        found: i64,
        /// The newest change this binary knows.
        known: i64,
    },
    /// An older version of the bridge made the tables, and this is no time to change them.
    #[error("the tables are at version {found}, and this program reads those of version {known}")]
    Older {
        /// The newest change made to them.
        found: i64,
        /// The newest change this binary knows.
        known: i64,
    },
    /// A copy into it was begun and not finished.
    #[error("it holds a copy that is not finished")]
    Copying,
    /// Another process has the turn to change the tables.
    #[error("another process changes or copies the tables for more than {} s: {waited_for}", waited.as_secs())]
    Changing {
        /// Its name and process id.
        waited_for: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// Others use the tables that are to be changed.
    #[error("the tables could not be changed within {} s, others use them: {holders}", waited.as_secs())]
    Blocked {
        /// Their names and process ids.
        holders: String,
        /// How long it was tried.
        waited: Duration,
        /// What the server said last.
        #[source]
        source: sqlx::Error,
    },
    /// A statement was not answered.
    #[error("the server did not bring the tables up to date within {} s, nor say why", waited.as_secs())]
    Silent {
        /// How long it was waited for.
        waited: Duration,
    },
    /// The server refused something else.
    #[error("the server refused")]
    Server(#[source] sqlx::Error),
    /// The tables cannot be brought up to date.
    #[error("bring the tables of schema `{schema}` up to date")]
    Schema {
        /// The schema.
        schema: String,
        /// What went wrong.
        #[source]
        source: MigrateError,
    },
    /// Bridges of one source would send the bundles of another in their own name.
    #[error(
        "the tables in schema `{schema}` are those of source `{owner}`, and this bridge speaks for `{source_id}`"
    )]
    OtherSource {
        /// The schema.
        schema: String,
        /// Whose the tables are.
        owner: String,
        /// For whom this bridge speaks.
        source_id: SourceId,
    },
    /// Tables of something else are in the place of ours.
    #[error("schema `{schema}` holds tables that are not the bridge's, such as `{table}`")]
    Foreign {
        /// The schema.
        schema: String,
        /// One of the tables.
        table: String,
    },
}

impl OpenError {
    /// What kind of failure of the file it is, where it is one.
    fn class(&self) -> Option<FailureClass> {
        use MigrateError::{Execute, ExecuteMigration};
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        match self {
            Self::Connect(error) | Self::Migrate(Execute(error) | ExecuteMigration(error, _)) => {
                Some(FailureClass::of(error))
            }
            Self::Files(error) => {
                matches!(error.kind(), StorageFull | QuotaExceeded).then_some(FailureClass::Full)
            }
            _ => None,
        }
    }

    /// Its fault: of a server which of five, of a file the general one.
    pub fn code(&self) -> Code {
        match self {
            Self::Unreachable(_) => UNREACHED,
            Self::Tls { .. } | Self::NoTls | Self::Plain => UNTRUSTED,
            Self::Denied(_)
            | Self::TokenDenied { .. }
            | Self::Token { .. }
            | Self::Privileges { .. } => NOT_LET_IN,
            Self::NoDatabase(_)
            | Self::Unfit { .. }
            | Self::Newer { .. }
            | Self::Older { .. }
            | Self::Copying
            | Self::Schema { .. }
            | Self::OtherSource { .. }
            | Self::Foreign { .. } => UNFIT,
            Self::Connect(_)
            | Self::Migrate(_)
            | Self::Files(_)
            | Self::HardLinks
            | Self::MountedAlone
            | Self::Locked { .. }
            | Self::Given { .. }
            | Self::Connections(_)
            | Self::ReadOnly
            | Self::Full(_)
            | Self::Changing { .. }
            | Self::Blocked { .. }
            | Self::Silent { .. }
            | Self::Server(_) => UNUSABLE,
        }
    }
}

const UNUSABLE: Code = Code::new(700);
const UNREACHED: Code = Code::new(701);
const UNTRUSTED: Code = Code::new(702);
const NOT_LET_IN: Code = Code::new(703);
const UNFIT: Code = Code::new(704);

fn named(holder: Option<&str>) -> String {
    holder.map_or_else(String::new, |holder| format!(": {holder}"))
}

impl Hint for OpenError {
    fn hint(&self) -> Option<String> {
        let next: String = match self {
            Self::Locked { .. } => {
                "one bridge per file: stop the other one, or name another file with `--db`".into()
            }
            Self::Migrate(MigrateError::VersionMissing(_)) => NEWER.into(),
            Self::Files(error) if error.kind() == io::ErrorKind::NotFound => {
                "name the bridge's file (`--db`, `--store sqlite:FILE`) or its database (`--store postgres` with `--mount`)".into()
            }
            Self::Connect(_) | Self::Migrate(_) | Self::Files(_) => match self.class() {
                Some(FailureClass::Full) => "make room on the disk of the database, then start again",
                // SQLite does not say which.
                Some(FailureClass::Io) => "look into the system's log for a failing disk, and whether a quota is used up",
                _ => "check that this user may write in the directory and owns the file",
            }
            .into(),
            Self::HardLinks => {
                "leave one name, that which has `-wal` beside it if any has; `find DIR -xdev -samefile FILE` shows them".into()
            }
            Self::MountedAlone => {
                "mount its directory, with the `-wal` that is beside it if there is one".into()
            }
            Self::Given { .. } => {
                "check what is mounted there and the flags that begin with `--db-`".into()
            }
            Self::Unreachable(_) => {
                "check host and port, that the server runs, and that security groups and network policies let this pod reach it".into()
            }
            Self::Tls { problem, given } => match problem {
                TlsProblem::UnknownIssuer { .. } if !given => {
                    "give the authorities of the server with `--db-rootcert`; for RDS that is `global-bundle.pem`".into()
                }
                TlsProblem::UnknownIssuer { .. } => {
                    "`--db-rootcert` does not hold the authority that issued the server's certificate; for RDS take the newest `global-bundle.pem`".into()
                }
                TlsProblem::NameMismatch { .. } => {
                    "name the host exactly as in the server's certificate, for RDS its endpoint, never an address or an alias".into()
                }
                _ => "check the server's certificate, the file of `--db-rootcert` and the clock of this machine".into(),
            },
            Self::NoTls => "turn TLS on at the server (`ssl = on`); without it only a server on loopback is spoken to, with `--db-sslmode disable`".into(),
            Self::Plain => "leave out `--db-sslmode disable`, and give the server's authorities with `--db-rootcert`".into(),
            Self::Denied(_) => {
                "check that the mounted user and password belong together and that the server's `pg_hba.conf` admits them; they are read again by themselves".into()
            }
            Self::TokenDenied { region, .. } => format!(
                "check that the database is in `{region}` (`--db-iam-region`) and has IAM authentication on, that this user has `GRANT rds_iam TO …`, and that the role's policy allows `rds-db:connect` for it"
            ),
            Self::Token { .. } => {
                "check that the pod's service account has a role (Pod Identity) whose policy allows `rds-db:connect` for this user, and that the agent of Pod Identity runs on the node".into()
            }
            Self::NoDatabase(_) => "create it, or correct `db.name`".into(),
            Self::Connections(_) => {
                "lower `--db-max-open-connections` (replicas × (connections + 1) × 2 must fit during a rollout), or raise the server's `max_connections`".into()
            }
            Self::ReadOnly => "connect to the endpoint of the writer, not of a reader".into(),
            Self::Full(_) => "give the server more storage".into(),
            Self::Unfit { .. } => "use PostgreSQL 14 or newer with a database in UTF-8".into(),
            Self::Privileges { schema, .. } => format!(
                "`GRANT CREATE ON DATABASE … TO …`, or create schema `{schema}` for this user; after a change of user, make it a member of the role that owns the schema"
            ),
            Self::Newer { .. } => NEWER.into(),
            Self::Older { .. } => "bring them up to date first, with `server-bridge store migrate`".into(),
            Self::Copying => {
                "run the same `server-bridge store copy` again: it goes on where it stopped".into()
            }
            Self::Changing { .. } => {
                "wait until it is done; where it is gone for good, end its session with `SELECT pg_terminate_backend(…)`".into()
            }
            Self::Blocked { .. } => {
                "wait until they are done, such as a dump, or end their sessions with `SELECT pg_terminate_backend(…)`; the bridges that run go on meanwhile".into()
            }
            Self::Silent { .. } => "look into the server's log, and whether it is being replaced".into(),
            Self::Server(_) => "look into the server's log".into(),
            Self::Schema { .. } => {
                "restore the tables from a backup; what was changed by hand has to be changed back".into()
            }
            Self::OtherSource { schema, .. } => format!(
                "give it a schema of its own with `--db-schema`; to change the source of these for good, stop every bridge and \
                 set `{schema}.installation.source`"
            ),
            Self::Foreign { .. } => "name another schema with `--db-schema`".into(),
        };
        Some(self.code().with_page(&next))
    }
}

const NEWER: &str =
    "start the newer version of the bridge again, or restore a database from before it";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_to_open_a_file_has_its_own_hint() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let quota = io::Error::from(io::ErrorKind::QuotaExceeded);
        let executed = MigrateError::Execute(full().into());
        for error in [
            OpenError::Files(full()),
            OpenError::Files(quota),
            OpenError::Connect(full().into()),
            OpenError::Migrate(executed),
        ] {
            assert!(error.hint().unwrap().contains("make room"), "{error}");
        }
        // SQLx says only that a migration is missing.
        let newer = OpenError::Migrate(MigrateError::VersionMissing(10));
        let hint = newer.hint().unwrap();
        assert!(hint.contains("the newer version of the bridge"), "{hint}");
        let denied = OpenError::Files(io::ErrorKind::PermissionDenied.into());
        assert!(denied.hint().unwrap().contains("may write"));
    }

    #[test]
    fn the_hint_leads_to_the_page_of_the_fault() {
        let refused = || sqlx::Error::from(io::Error::from(io::ErrorKind::ConnectionRefused));
        for (error, page) in [
            (OpenError::ReadOnly, "docs/faults/MQ700.md"),
            (OpenError::Unreachable(refused()), "docs/faults/MQ701.md"),
            (OpenError::NoTls, "docs/faults/MQ702.md"),
            (OpenError::Denied(refused()), "docs/faults/MQ703.md"),
            (OpenError::Copying, "docs/faults/MQ704.md"),
        ] {
            assert!(error.hint().unwrap().ends_with(page), "{error}");
        }
    }
}
