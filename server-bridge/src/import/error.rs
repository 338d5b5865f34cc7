//! Why nothing was imported.

use link::error::Hint;
use link::id::SourceId;

use crate::store::{CopyError, StoreError};

/// Why nothing was imported. The store is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// What names Maestro's database cannot be used.
    #[error("`--from` {0}")]
    Given(&'static str),
    /// The file of the password cannot be read.
    #[error("read the password of Maestro's database")]
    Password(#[source] link::file::ReadError),
    /// Maestro's database refused, or went away.
    #[error("{operation}")]
    Maestro {
        /// What was being done.
        operation: &'static str,
        /// What the driver said.
        #[source]
        source: sqlx::Error,
    },
    /// It is another database.
    #[error("`{place}` is no database of Maestro: there is no table `{missing}`")]
    NotMaestro {
        /// Where.
        place: String,
        /// The first table that is not there.
        missing: &'static str,
    },
    /// Its tables may be others than those that are known.
    #[error("the tables of Maestro are of a version that is not known here: {problem}")]
    Migrations {
        /// Which migrations are missing or unknown.
        problem: String,
    },
    /// Maestro runs.
    #[error("Maestro runs: {instances}")]
    Alive {
        /// Who, and when it was heard.
        instances: String,
    },
    /// Something was written while it was read.
    #[error("Maestro's database has changed since it was read: {problem}")]
    Changed {
        /// What shows it.
        problem: String,
    },
    /// Agents answer another source.
    #[error(
        "agents answer Maestro as source `{found}`, and this bridge would speak for `{source_id}`"
    )]
    OtherSource {
        /// The source that statuses name.
        found: String,
        /// What `--source-id` says.
        source_id: SourceId,
    },
    /// The store to import into cannot be used.
    #[error(transparent)]
    Target(#[from] CopyError),
}

impl From<StoreError> for ImportError {
    fn from(error: StoreError) -> Self {
        Self::Target(error.into())
    }
}

impl ImportError {
    /// Names the operation that the database interrupted.
    pub(super) fn during(operation: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |source| Self::Maestro { operation, source }
    }
}

impl Hint for ImportError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Given(_) => "it is `postgres://USER@HOST:PORT/DATABASE`; the password is in the file of `--from-password-file`, in PGPASSWORD or in ~/.pgpass, which no list of processes shows. Authorities of the server's certificate are added with `?sslrootcert=FILE`, a schema other than `public` with `?options=-csearch_path%3DNAME`".into(),
            Self::Password(_) => "check the file of `--from-password-file`".into(),
            Self::Maestro { .. } => "nothing was written; check that Maestro's database is there and lets this user read, and repeat".into(),
            Self::NotMaestro { .. } => "check the name of the database in `--from`".into(),
            Self::Migrations { .. } => "bring Maestro to a version that is known here (`maestro migration`), or take a newer server-bridge; nothing was written".into(),
            Self::Alive { .. } => "scale Maestro to 0 and wait for a minute: what it takes meanwhile would be lost. `--dry-run --while-maestro-runs` shows what an import would do".into(),
            Self::Changed { .. } => "see that nothing writes to Maestro's database, and repeat; nothing was written".into(),
            Self::OtherSource { found, .. } => format!(
                "give `--source-id {found}` here and to the bridge: agents drop what another source sends, and topics name it"
            ),
            Self::Target(error) => return error.hint(),
        })
    }
}
