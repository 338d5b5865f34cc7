//! Classes of driver errors.

use std::io;

use sqlx::postgres::PgDatabaseError;

/// What kind of failure a driver's error is: a closed set for answers, readiness and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// Somebody else holds the database, or every reader is taken.
    Busy,
    /// No space is left.
    Full,
    /// The file system failed.
    Io,
    /// The file cannot be written.
    ReadOnly,
    /// The file is not a sound database.
    Corrupt,
    /// The file cannot be opened.
    CannotOpen,
    /// The store is closed.
    Closed,
    /// The server of the database cannot be reached, or hung up.
    Unreachable,
    /// The server does not let this user in, or not do this.
    Denied,
    /// The query was stopped.
    Interrupted,
    /// The database refuses this content, or a stored value is of another type than it should be.
    Content,
    /// Anything else.
    Other,
}

// === impl FailureClass ===

impl FailureClass {
    /// The class of a driver's error: from PostgreSQL's SQLSTATE, or SQLite's result code, where it has one.
    pub fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => {
                if let Some(error) = error.try_downcast_ref::<PgDatabaseError>() {
                    return Self::of_state(error.code());
                }
                error
                    .code()
                    .and_then(|code| code.parse::<u32>().ok())
                    .map_or(Self::Other, Self::of_code)
            }
            sqlx::Error::Io(error) if is_network(error) => Self::Unreachable,
            sqlx::Error::Tls(_) => Self::Unreachable,
            sqlx::Error::PoolTimedOut => Self::Busy,
            sqlx::Error::Io(error) if error.kind() == io::ErrorKind::StorageFull => Self::Full,
            sqlx::Error::Io(_) => Self::Io,
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => Self::Closed,
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Self::Content,
            _ => Self::Other,
        }
    }

    /// In words, for a caller or an operator.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Busy => "the database is busy",
            Self::Full => "the disk of the database is full",
            Self::Io => "the disk of the database fails",
            Self::ReadOnly => "the database cannot be written",
            Self::Corrupt => "the database is damaged",
            Self::CannotOpen => "the database cannot be opened",
            Self::Closed => "the store is closed",
            Self::Unreachable => "the database cannot be reached",
            Self::Denied => "the database denies access",
            Self::Interrupted => "the query took too long",
            Self::Content => "the database refuses this content",
            Self::Other => "the database failed",
        }
    }

    /// <https://www.sqlite.org/rescode.html>; what the system said is not in the driver's errors.
    const fn of_code(code: u32) -> Self {
        // IOERR_SHMSIZE: the index cannot grow, which it does by writing a byte into each new page; of all files it is the
        // first to find no room. IOERR_WRITE is never ENOSPC, for which SQLite says FULL.
        if code == 4874 {
            return Self::Full;
        }
        match code & 0xff {
            // BUSY, LOCKED, NOMEM, PROTOCOL: pass by themselves.
            5 | 6 | 7 | 15 => Self::Busy,
            13 => Self::Full,
            10 => Self::Io,
            // PERM, READONLY, AUTH.
            3 | 8 | 23 => Self::ReadOnly,
            // CORRUPT, NOTADB.
            11 | 26 => Self::Corrupt,
            14 => Self::CannotOpen,
            9 => Self::Interrupted,
            // TOOBIG, CONSTRAINT, MISMATCH, RANGE.
            18 | 19 | 20 | 25 => Self::Content,
            _ => Self::Other,
        }
    }

    /// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
    fn of_state(state: &str) -> Self {
        match state {
            // disk_full
            "53100" => Self::Full,
            // Too many connections, out of memory, locks that were not had in time, deadlocks, conflicts: pass by themselves.
            "40001" | "40P01" | "55P03" => Self::Busy,
            // query_canceled: the statement's time-out, or a person.
            "57014" => Self::Interrupted,
            // read_only_sql_transaction: a standby.
            "25006" => Self::ReadOnly,
            // Sessions that were ended: while idle in a transaction, idle, or in one that took too long.
            "25P03" | "25P04" | "57P05" => Self::Unreachable,
            // io_error
            "58030" => Self::Io,
            // invalid_catalog_name
            "3D000" => Self::CannotOpen,
            // insufficient_privilege
            "42501" => Self::Denied,
            _ => match state.get(..2) {
                Some("08" | "57") => Self::Unreachable,
                Some("53") => Self::Busy,
                Some("28") => Self::Denied,
                Some("XX") if state != "XX000" => Self::Corrupt,
                // Data, integrity, limits such as the length of a key.
                Some("22" | "23" | "54") => Self::Content,
                _ => Self::Other,
            },
        }
    }
}

/// Whether it is the way to a server that failed. SQLite's own failures come with a result code.
fn is_network(error: &io::Error) -> bool {
    use io::ErrorKind::{
        AddrNotAvailable, BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset,
        HostUnreachable, InvalidData, NetworkDown, NetworkUnreachable, NotConnected, TimedOut,
        UnexpectedEof,
    };
    matches!(
        error.kind(),
        ConnectionRefused
            | ConnectionReset
            | ConnectionAborted
            | BrokenPipe
            | UnexpectedEof
            | NotConnected
            | TimedOut
            | HostUnreachable
            | NetworkUnreachable
            | NetworkDown
            | AddrNotAvailable
            // How a failed handshake comes.
            | InvalidData
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_without_room_is_a_full_disk_and_a_failed_write_a_failing_one() {
        for (code, class) in [
            (13, FailureClass::Full),
            (4874, FailureClass::Full),
            (10, FailureClass::Io),
            (778, FailureClass::Io),
            (5386, FailureClass::Io),
            (264, FailureClass::ReadOnly),
        ] {
            assert_eq!(FailureClass::of_code(code), class, "{code}");
        }
    }

    #[test]
    fn a_state_is_of_its_class_before_it_is_of_its_family() {
        use FailureClass::{
            Busy, CannotOpen, Content, Corrupt, Denied, Full, Interrupted, Io, Other, ReadOnly,
            Unreachable,
        };
        for (state, class) in [
            ("08006", Unreachable),
            ("22021", Content),
            ("23505", Content),
            ("25006", ReadOnly),
            ("25P03", Unreachable),
            ("28P01", Denied),
            ("3D000", CannotOpen),
            ("40001", Busy),
            ("40P01", Busy),
            ("42501", Denied),
            ("42P01", Other),
            ("53100", Full),
            ("53300", Busy),
            ("54000", Content),
            ("55P03", Busy),
            ("57014", Interrupted),
            ("57P01", Unreachable),
            ("58030", Io),
            ("XX000", Other),
            ("XX001", Corrupt),
            ("", Other),
        ] {
            assert_eq!(FailureClass::of_state(state), class, "{state}");
        }
    }
}
