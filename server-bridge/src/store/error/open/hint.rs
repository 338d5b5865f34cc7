//! What to do about a store that cannot be opened.

use std::io;

use link::error::Hint;
use link::tls::TlsProblem;
use sqlx::migrate::MigrateError;

use super::super::FailureClass;
use super::OpenError;

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
