//! Errors of opening a store, each with its fault; what to do is in `hint`.

mod hint;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

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

// === impl OpenError ===

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
