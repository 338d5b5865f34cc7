//! Maestro's database: read in one snapshot, changed in nothing (docs/MAESTRO.md §5.5).
//!
//! Everything is read by one connection in one read-only transaction, so that consumers and bundles are of one moment. A
//! second connection looks whether Maestro lives, which a snapshot cannot show.

use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use sqlx::postgres::{PgConnectOptions, PgRow, PgSslMode};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, Row as _};

use super::error::ImportError;
use super::row::{BundleRow, ConsumerRow};

mod heartbeat;

pub(super) use heartbeat::Heartbeats;

/// Where Maestro's database is. Its `Debug` shows no password.
#[derive(Clone)]
pub struct Database {
    options: PgConnectOptions,
}

/// One state of the database.
pub(super) struct Snapshot {
    connection: PgConnection,
    /// When it is of, in microseconds, by the server's clock.
    pub(super) at: i64,
    /// The newest migration.
    pub(super) migration: String,
}

// === impl Database ===

impl Database {
    /// From a URL without a password, which comes from a file, or from where PostgreSQL's own programs find it.
    ///
    /// # Errors
    /// What is wrong with the URL; the file.
    pub fn new(url: &str, password_file: Option<&Path>) -> Result<Self, ImportError> {
        let rest = url
            .strip_prefix("postgres://")
            .or_else(|| url.strip_prefix("postgresql://"))
            .ok_or(ImportError::Given("is no URL of PostgreSQL"))?;
        let (place, asked) = rest.split_once('?').unwrap_or((rest, ""));
        let user = place.rsplit_once('@').map_or("", |(user, _)| user);
        if user.contains(':') || asked.split('&').any(|one| one.starts_with("password=")) {
            return Err(ImportError::Given("holds a password"));
        }
        let mut options = PgConnectOptions::from_str(url)
            .map_err(|_| ImportError::Given("is no URL of PostgreSQL"))?
            .application_name(NAME)
            .disable_statement_logging();
        let host = options.get_host();
        let local = options.get_socket().is_some()
            || host.starts_with('/')
            || host == "localhost"
            || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        // Without a word about it the driver would go on without TLS where there is none.
        let given = asked.contains("sslmode=") || asked.contains("ssl-mode=");
        match options.get_ssl_mode() {
            PgSslMode::VerifyFull => {}
            _ if local => {}
            _ if !given => options = options.ssl_mode(PgSslMode::VerifyFull),
            _ => {
                return Err(ImportError::Given(
                    "names a server that is not on loopback, which is spoken to with `sslmode=verify-full` alone",
                ));
            }
        }
        if let Some(file) = password_file {
            let text =
                link::file::read_text(file, PASSWORD_BYTES).map_err(ImportError::Password)?;
            options = options.password(text.trim_end_matches(['\r', '\n']));
        }
        Ok(Self { options })
    }

    /// Where, without secrets.
    pub fn place(&self) -> String {
        let options = &self.options;
        let name = options.get_database().unwrap_or_default();
        let (host, port) = (options.get_host(), options.get_port());
        format!("postgres://{}@{host}:{port}/{name}", options.get_username())
    }

    async fn connect(&self) -> Result<PgConnection, ImportError> {
        PgConnection::connect_with(&self.options)
            .await
            .map_err(ImportError::during("connect to Maestro's database"))
    }

    /// Begins to read, once the tables are those that are known.
    pub(super) async fn snapshot(&self) -> Result<Snapshot, ImportError> {
        let mut connection = self.connect().await?;
        let begin = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; \
             BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        sqlx::raw_sql(begin)
            .execute(&mut connection)
            .await
            .map_err(ImportError::during("begin to read Maestro's database"))?;
        let here = settle(&mut connection).await?;
        for table in TABLES {
            let there: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
                .bind(table)
                .fetch_one(&mut connection)
                .await
                .map_err(ImportError::during("look for Maestro's tables"))?;
            if !there {
                let place = self.place();
                let missing = table;
                return Err(ImportError::NotMaestro { place, missing });
            }
        }
        if !here {
            let place = self.place();
            let missing = "resources";
            return Err(ImportError::NotMaestro { place, missing });
        }
        let found: Vec<String> =
            sqlx::query_scalar("SELECT id::text FROM migrations ORDER BY id COLLATE \"C\"")
                .fetch_all(&mut connection)
                .await
                .map_err(ImportError::during("read Maestro's migrations"))?;
        let migration = known(&found)?;
        let at = sqlx::query_scalar("SELECT (extract(epoch FROM now()) * 1000000)::bigint")
            .fetch_one(&mut connection)
            .await
            .map_err(ImportError::during("begin to read Maestro's database"))?;
        Ok(Snapshot {
            connection,
            at,
            migration,
        })
    }
}

/// Makes the schema of Maestro's tables the only one in which names are looked up: others on the path, such as that of a
/// bridge whose user has its name, may have tables of the same names. False: no schema on the path is Maestro's.
async fn settle(connection: &mut PgConnection) -> Result<bool, ImportError> {
    let schema: Option<String> = sqlx::query_scalar(
        "SELECT n.nspname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relname = 'resources' AND n.nspname = ANY (current_schemas(false)) \
           AND (SELECT COUNT(*) FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND NOT a.attisdropped \
             AND a.attname IN ('consumer_name', 'version', 'payload', 'status')) = 4 \
           AND EXISTS (SELECT 1 FROM pg_catalog.pg_class m WHERE m.relnamespace = n.oid AND m.relname = 'migrations') \
         ORDER BY array_position(current_schemas(false)::text[], n.nspname::text) LIMIT 1",
    )
    .fetch_optional(&mut *connection)
    .await
    .map_err(ImportError::during("look for Maestro's tables"))?;
    let Some(schema) = schema else {
        return Ok(false);
    };
    sqlx::query("SELECT set_config('search_path', quote_ident($1), false)")
        .bind(schema)
        .execute(connection)
        .await
        .map_err(ImportError::during("look for Maestro's tables"))?;
    Ok(true)
}

/// A time in microseconds since 1970. One that no bridge can keep, such as `infinity`, is one of an age that is out of
/// range: its row is named, and the others are read.
macro_rules! micros {
    ($time:literal) => {
        concat!(
            "CASE WHEN ",
            $time,
            " IS NOT NULL THEN (GREATEST(LEAST(extract(epoch FROM ",
            $time,
            "), 9000000000000), -9000000000000) * 1000000)::bigint END"
        )
    };
}
use micros;

// === impl Snapshot ===

impl Snapshot {
    pub(super) async fn consumers(&mut self) -> Result<Vec<ConsumerRow>, ImportError> {
        let failed = ImportError::during("read Maestro's consumers");
        let rows = sqlx::query(
            concat!("SELECT id::text AS id, name::text AS name, labels::text AS labels, COALESCE(", micros!("created_at"),
                ", 0) AS created_at, COALESCE(", micros!("updated_at"),
                ", 0) AS updated_at, deleted_at IS NOT NULL AS deleted FROM consumers ORDER BY created_at, id"),
        )
        .fetch_all(&mut self.connection)
        .await
        .map_err(&failed)?;
        let row = |row: &PgRow| {
            Ok(ConsumerRow {
                id: row.try_get("id")?,
                name: row.try_get("name")?,
                labels: row.try_get("labels")?,
                created_at: row.try_get("created_at")?,
                updated_at: row.try_get("updated_at")?,
                deleted: row.try_get("deleted")?,
            })
        };
        let rows: Result<_, sqlx::Error> = rows.iter().map(row).collect();
        rows.map_err(&failed)
    }

    /// The bundles, oldest first, as they come.
    pub(super) fn bundles(&mut self) -> BoxStream<'_, Result<BundleRow, ImportError>> {
        let rows = sqlx::query(
            concat!("SELECT id::text AS id, name::text AS name, source::text AS source, \
                 consumer_name::text AS consumer_name, version::bigint AS version, COALESCE(", micros!("created_at"),
                ", 0) AS created_at, COALESCE(", micros!("updated_at"), ", 0) AS updated_at, ", micros!("deleted_at"),
                " AS deleted_at, payload::text AS payload, status::text AS status FROM resources ORDER BY created_at, id"),
        )
        .fetch(&mut self.connection);
        let read = |row: PgRow| {
            Ok(BundleRow {
                id: row.try_get("id")?,
                name: row.try_get("name")?,
                source: row.try_get("source")?,
                consumer_name: row.try_get("consumer_name")?,
                version: row.try_get("version")?,
                created_at: row.try_get("created_at")?,
                updated_at: row.try_get("updated_at")?,
                deleted_at: row.try_get("deleted_at")?,
                payload: row.try_get("payload")?,
                status: row.try_get("status")?,
            })
        };
        rows.map(move |row| {
            row.and_then(read)
                .map_err(ImportError::during("read Maestro's bundles"))
        })
        .boxed()
    }

    pub(super) async fn close(self) {
        let _ = self.connection.close().await;
    }
}

/// The newest of migrations that are known in this order, without a gap.
fn known(found: &[String]) -> Result<String, ImportError> {
    let unknown = found.iter().find(|id| !MIGRATIONS.contains(&id.as_str()));
    let missing = MIGRATIONS
        .iter()
        .enumerate()
        .find(|(place, id)| found.get(*place).is_none_or(|found| found != *id));
    let problem = match (unknown, missing) {
        (Some(id), _) => format!("migration `{id}` is not known"),
        (None, Some((place, id))) if place < NEEDED || place < found.len() => {
            format!("migration `{id}` is missing")
        }
        _ => return Ok(found.last().cloned().unwrap_or_default()),
    };
    Err(ImportError::Migrations { problem })
}

const TABLES: [&str; 4] = ["migrations", "consumers", "resources", "server_instances"];

/// Maestro's migrations in their order. The last two, of September 2026, add an index and what its retries of deletions
/// need: nothing that is read here.
const MIGRATIONS: [&str; 12] = [
    "201911212019",
    "202309020925",
    "202311151850",
    "202311151856",
    "202311151859",
    "202401151014",
    "202406241426",
    "202406241506",
    "202412171429",
    "202412181141",
    "202609101040",
    "202609141000",
];

// Those without which a table that is read is not there, or is another one.
const NEEDED: usize = 10;

// No name of a bridge.
const NAME: &str = "server-bridge-import";

const PASSWORD_BYTES: u64 = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn told(url: &str) -> Result<String, String> {
        let database = Database::new(url, None).map_err(|error| error.to_string())?;
        let mode = database.options.get_ssl_mode();
        Ok(format!("{} {mode:?}", database.place()))
    }

    #[test]
    fn a_password_in_a_url_and_a_server_that_proves_nothing_are_refused() {
        assert_eq!(
            told("postgres://u@db.example:5433/maestro").unwrap(),
            "postgres://u@db.example:5433/maestro VerifyFull"
        );
        assert!(
            told("postgres://u@127.0.0.1/m")
                .unwrap()
                .starts_with("postgres://u@127.0.0.1:5432/m ")
        );
        assert!(
            told("postgresql://u@localhost/m?sslmode=disable")
                .unwrap()
                .ends_with("Disable")
        );
        for (url, why) in [
            ("mysql://h/d", "no URL"),
            ("postgres://u:p@h/d", "holds a password"),
            ("postgres://u@h/d?password=p", "holds a password"),
            ("postgres://u@h/d?sslmode=disable", "verify-full"),
            ("postgres://u@h/d?sslmode=require", "verify-full"),
        ] {
            let error = told(url).unwrap_err();
            assert!(error.contains(why) && !error.contains(":p@"), "{error}");
        }
    }

    #[test]
    fn migrations_are_known_to_the_last_one_and_named_where_they_are_not() {
        let set = |ids: &[&str]| known(&ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>());
        assert_eq!(set(&MIGRATIONS[..10]).unwrap(), "202412181141");
        assert_eq!(set(&MIGRATIONS[..11]).unwrap(), "202609101040");
        assert_eq!(set(&MIGRATIONS).unwrap(), "202609141000");
        let named = |ids: &[&str]| set(ids).unwrap_err().to_string();
        assert!(named(&MIGRATIONS[..9]).contains("`202412181141` is missing"));
        assert!(named(&MIGRATIONS[1..]).contains("`201911212019` is missing"));
        let mut gap = MIGRATIONS.to_vec();
        gap.remove(10);
        assert!(named(&gap).contains("`202609101040` is missing"));
        let mut newer = MIGRATIONS.to_vec();
        newer.push("202701010000");
        assert!(named(&newer).contains("`202701010000` is not known"));
    }
}
