//! Where everything is kept: flags, what is mounted, and which of them decides.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::builder::FalseyValueParser;
use clap::{Args, ValueEnum};
use link::error::Failure;

use crate::store::Location;
use crate::store::postgres::{
    CredentialFiles, DEFAULT_CONNECTIONS, Iam, MIN_CONNECTIONS, PostgresConfig, Schema, TlsMode,
};

pub mod verbs;

/// What `--store` names. What it cannot be is said where it is used: whoever parses a command line shows the value that it
/// refuses, and this one may hold a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Engine {
    /// `postgres`
    Postgres,
    /// `sqlite:FILE`
    Sqlite(PathBuf),
    /// A URL of a server.
    Url,
    /// Anything else.
    Unknown,
}

/// Flags of the store. Those that upstream's server has keep their names.
#[derive(Debug, Args)]
pub struct StoreFlags {
    /// Where everything is kept: `postgres`, or `sqlite:FILE`. Without it PostgreSQL when files that name a database are
    /// mounted (`db.host` and the others) or given, and SQLite otherwise
    #[arg(
        long,
        global = true,
        env = "BRIDGE_STORE",
        hide_env_values = true,
        value_name = "STORE"
    )]
    pub store: Option<Engine>,
    /// SQLite file; made when missing. The same as `--store sqlite:FILE`; server-bridge.db when nothing says otherwise
    #[arg(
        long,
        global = true,
        env = "BRIDGE_DB",
        conflicts_with = "store",
        value_name = "FILE"
    )]
    pub db: Option<PathBuf>,
    /// File with the host of the PostgreSQL server; `db.host` in the mounted directory unless given
    #[arg(long, global = true, value_name = "FILE")]
    pub db_host_file: Option<PathBuf>,
    /// File with its port; `db.port` in the mounted directory unless given
    #[arg(long, global = true, value_name = "FILE")]
    pub db_port_file: Option<PathBuf>,
    /// File with the name of the database; `db.name` in the mounted directory unless given
    #[arg(long, global = true, value_name = "FILE")]
    pub db_name_file: Option<PathBuf>,
    /// File with the user; `db.user` in the mounted directory unless given. Read again when it changes
    #[arg(long, global = true, value_name = "FILE")]
    pub db_user_file: Option<PathBuf>,
    /// File with the password; `db.password` in the mounted directory unless given. Read again when it changes
    #[arg(long, global = true, value_name = "FILE")]
    pub db_password_file: Option<PathBuf>,
    /// Sign in with tokens made of the pod's IAM role (Pod Identity, or where else the AWS SDK finds credentials) instead of
    /// a password; no file of one is needed then. For RDS and Aurora, with a user that has `rds_iam`
    #[arg(long, global = true, env = "BRIDGE_DB_IAM_AUTH", value_parser = FalseyValueParser::new())]
    pub db_iam_auth: bool,
    /// Region of the database for those tokens; unless given that of the host name (NAME.ID.REGION.rds.amazonaws.com), and
    /// where it has none AWS_REGION
    #[arg(long, global = true, value_name = "REGION")]
    pub db_iam_region: Option<String>,
    /// How the PostgreSQL server proves who it is: `verify-full` by a certificate for its host name; `disable` is for a
    /// server on loopback or a Unix socket only
    #[arg(long, global = true, env = "BRIDGE_DB_SSLMODE", default_value_t = TlsMode::VerifyFull, value_name = "MODE")]
    pub db_sslmode: TlsMode,
    /// Authorities that may issue the server's certificate, in PEM, such as RDS's global-bundle.pem; the public ones are
    /// known. Read with every new connection
    #[arg(long, global = true, env = "BRIDGE_DB_ROOTCERT", value_name = "FILE")]
    pub db_rootcert: Option<PathBuf>,
    /// Connections to the PostgreSQL server at most. During a rollout twice as many of every replica must fit
    #[arg(
        long,
        global = true,
        default_value_t = DEFAULT_CONNECTIONS,
        value_parser = clap::value_parser!(u32).range(i64::from(MIN_CONNECTIONS)..=200),
        value_name = "N"
    )]
    pub db_max_open_connections: u32,
    /// Schema of the database that holds the tables; made when missing
    #[arg(long, global = true, default_value = "bridge", value_name = "NAME")]
    pub db_schema: Schema,
    /// Whether replicas on one schema tell each other at once what they commit, on one more connection to the server each
    /// (LISTEN, which needs a session of its own). Without it a look every two seconds finds what others committed
    #[arg(long, global = true, env = "BRIDGE_DB_NOTIFY", default_value_t = Switch::On, value_enum, value_name = "on|off")]
    pub db_notify: Switch,
}

/// What is on or off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// It is done.
    #[default]
    On,
    /// It is not done.
    Off,
}

// === impl Engine ===

impl FromStr for Engine {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.split_once(':') {
            None if text == "postgres" => Self::Postgres,
            Some(("sqlite", file)) if !file.is_empty() => Self::Sqlite(file.into()),
            Some(("postgres" | "postgresql", _)) => Self::Url,
            _ => Self::Unknown,
        })
    }
}

// === impl StoreFlags ===

impl StoreFlags {
    /// The store these flags and the mounted directory name.
    ///
    /// # Errors
    /// Exit code 2 when PostgreSQL is meant and a file is neither given nor mounted.
    pub fn location(&self, mount: Option<&Path>) -> Result<Location, Failure> {
        match (&self.store, &self.db) {
            (Some(engine), _) => self.of(engine, "--store", mount),
            (None, Some(file)) => Ok(Location::Sqlite(file.clone())),
            (None, None) if self.is_named(mount) => self.postgres(mount),
            (None, None) => Ok(Location::Sqlite(DEFAULT_FILE.into())),
        }
    }

    /// The store that a flag of this name names.
    pub(super) fn of(
        &self,
        engine: &Engine,
        flag: &str,
        mount: Option<&Path>,
    ) -> Result<Location, Failure> {
        match engine {
            Engine::Postgres => self.postgres(mount),
            Engine::Sqlite(file) => Ok(Location::Sqlite(file.clone())),
            Engine::Url => Err(Failure::usage(format!(
                "`{flag}` takes no URL: it is `postgres` alone, or `sqlite:FILE`"
            ))
            .with_hint(
                "host, port, name, user and password come from files (`--mount`, or `--db-host-file` and the others), which no list of processes shows"
                    .to_owned(),
            )),
            Engine::Unknown => Err(Failure::usage(format!(
                "`{flag}` is `postgres` or `sqlite:FILE`"
            ))),
        }
    }

    pub(super) fn is_named(&self, mount: Option<&Path>) -> bool {
        self.given().iter().any(|(_, file)| file.is_some())
            || mount.is_some_and(|mount| CredentialFiles::mounted(mount).any_exists())
    }

    fn given(&self) -> [(&'static str, &Option<PathBuf>); 5] {
        [
            ("--db-host-file", &self.db_host_file),
            ("--db-port-file", &self.db_port_file),
            ("--db-name-file", &self.db_name_file),
            ("--db-user-file", &self.db_user_file),
            ("--db-password-file", &self.db_password_file),
        ]
    }

    fn postgres(&self, mount: Option<&Path>) -> Result<Location, Failure> {
        let mut files = CredentialFiles::mounted(mount.unwrap_or(Path::new("")));
        let mut places = [
            &mut files.host,
            &mut files.port,
            &mut files.name,
            &mut files.user,
            &mut files.password,
        ];
        for ((flag, given), place) in self.given().into_iter().zip(&mut places) {
            match given {
                Some(file) => (*place).clone_from(file),
                None if mount.is_some() => {}
                // A token stands in for it.
                None if self.db_iam_auth && flag == "--db-password-file" => {}
                None => {
                    return Err(Failure::usage(format!(
                        "PostgreSQL needs `{flag}`, or `--mount` with the files of the database"
                    )));
                }
            }
        }
        let mut config = PostgresConfig::new(files);
        config.tls = self.db_sslmode;
        if self.db_iam_auth {
            if self.db_sslmode != TlsMode::VerifyFull {
                return Err(Failure::usage(
                    "`--db-iam-auth` goes with `--db-sslmode verify-full` only: a token is as good as a password",
                ));
            }
            let usual = std::env::var("AWS_REGION").ok();
            config.iam = Some(Iam::new(self.db_iam_region.clone()).usually_in(usual));
        }
        // Upstream's deployments give an empty one for none.
        config.root_cert = self
            .db_rootcert
            .clone()
            .filter(|file| !file.as_os_str().is_empty());
        config.max_connections = self.db_max_open_connections;
        config.schema = self.db_schema.clone();
        config.notify = self.db_notify == Switch::On;
        if let Ok(host) = std::env::var("HOSTNAME") {
            config.application_name = format!("server-bridge {host}");
        }
        Ok(Location::Postgres(Box::new(config)))
    }
}

const DEFAULT_FILE: &str = "server-bridge.db";

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        store: StoreFlags,
    }

    fn chosen(args: &[&str], mount: Option<&Path>) -> Result<String, String> {
        let args = ["server-bridge"].iter().chain(args);
        let parsed = Command::try_parse_from(args).map_err(|error| error.to_string())?;
        let location = parsed.store.location(mount).map_err(|e| e.to_string())?;
        Ok(match location {
            Location::Sqlite(file) => file.display().to_string(),
            Location::Postgres(config) => format!("postgres {}", config.files.user.display()),
        })
    }

    #[test]
    fn what_is_named_decides_then_what_is_mounted_then_the_file_of_one_command() {
        let mount = tempfile::tempdir().unwrap();
        let mount = mount.path();
        assert_eq!(chosen(&[], Some(mount)).unwrap(), "server-bridge.db");
        std::fs::write(mount.join("db.host"), "h").unwrap();
        let mounted = format!("postgres {}/db.user", mount.display());
        assert_eq!(chosen(&[], Some(mount)).unwrap(), mounted);
        assert_eq!(chosen(&["--db", "a.db"], Some(mount)).unwrap(), "a.db");
        assert_eq!(
            chosen(&["--store", "sqlite:b.db"], Some(mount)).unwrap(),
            "b.db"
        );
        let user = ["--db-user-file", "u"];
        assert_eq!(chosen(&user, Some(mount)).unwrap(), "postgres u");
        let error = chosen(&user, None).unwrap_err();
        assert!(error.contains("--db-host-file"), "{error}");
    }

    #[test]
    fn tokens_need_no_password_and_a_server_that_proves_who_it_is() {
        let files = ["host", "port", "name", "user"]
            .map(|file| [format!("--db-{file}-file"), file.to_owned()]);
        let mut args: Vec<&str> = files.iter().flatten().map(String::as_str).collect();
        let error = chosen(&args, None).unwrap_err();
        assert!(error.contains("--db-password-file"), "{error}");
        args.push("--db-iam-auth");
        assert_eq!(chosen(&args, None).unwrap(), "postgres user");
        args.extend(["--db-sslmode", "disable"]);
        let error = chosen(&args, None).unwrap_err();
        assert!(error.contains("verify-full"), "{error}");
    }

    #[test]
    fn modes_that_check_nothing_too_few_connections_and_urls_are_refused() {
        for (args, hint) in [
            (["--db-sslmode", "require"], "verify-full"),
            (["--db-max-open-connections", "3"], "4..=200"),
            (["--store", "postgres://u:p@h/d"], "takes no URL"),
            (["--store", "mysql"], "`postgres` or `sqlite:FILE`"),
            (["--db-schema", "public"], "of its own"),
        ] {
            let error = chosen(&args, None).unwrap_err();
            assert!(error.contains(hint), "{error}");
        }
    }
}
