//! The PostgreSQL database of a region, as a URL names it, and the files that the bridges read it from.

use std::fmt;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use link::error::Hint;
use link::private;
use percent_encoding::percent_decode_str;
use url::Url;

/// Where a database is and who we are there. Neither `Debug` nor an error shows the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Database {
    host: String,
    port: u16,
    name: String,
    user: String,
    password: String,
    /// Whether the server has to prove who it is; without it nothing is encrypted.
    tls: bool,
    root_cert: Option<PathBuf>,
}

/// Why a URL names no database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDatabase {
    /// It is none.
    #[error("not a URL such as postgres://USER:PASSWORD@HOST:PORT/DATABASE")]
    Url,
    /// A part is missing or cannot be read.
    #[error("the URL has no usable {0}")]
    Part(&'static str),
    /// An option that means nothing here. What stands in its place may be the rest of a password.
    #[error("the URL has another option than `sslmode`, `sslrootcert` and `host`")]
    Option,
    /// A mode that is not offered.
    #[error(
        "`sslmode` is `verify-full`, which is what hosts other than this one get by default, or `disable`"
    )]
    Mode,
    /// Passwords do not cross a network in clear text.
    #[error("`sslmode=disable` is for databases on this host")]
    Plain,
    /// A server that is not on this host asks for a password.
    #[error("the URL has no password, which only a database on this host may do without")]
    NoPassword,
}

impl Hint for InvalidDatabase {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Url | Self::Part(_) | Self::Option => Some(
                "write what user and password hold besides letters, digits and `-._~` in percent-encoding: `@` is `%40`, `/` is `%2F`, `?` is `%3F`, `#` is `%23`, `%` is `%25`"
                    .into(),
            ),
            Self::NoPassword => Some(
                "write `postgres://USER:PASSWORD@HOST/DATABASE`; of a server on this host that asks for none, `postgres://USER@/DATABASE?host=/var/run/postgresql`"
                    .into(),
            ),
            Self::Mode | Self::Plain => None,
        }
    }
}

// === impl Database ===

impl Database {
    /// Its URL without the password, for people.
    pub fn location(&self) -> String {
        format!("{}@{}:{}/{}", self.user, self.host, self.port, self.name)
    }

    /// Whether the connection to it is not encrypted.
    pub fn is_plain(&self) -> bool {
        !self.tls
    }

    /// What `server-bridge` is given besides the files.
    pub(super) fn arguments(&self) -> Vec<String> {
        let mode = if self.tls { "verify-full" } else { "disable" };
        let mut arguments = vec![
            "--store=postgres".to_owned(),
            format!("--db-sslmode={mode}"),
        ];
        if let Some(file) = &self.root_cert {
            arguments.push(format!("--db-rootcert={}", file.display()));
        }
        arguments
    }

    /// Writes the five files into a mounted directory, for its owner alone.
    pub(super) fn mount(&self, directory: &Path) -> io::Result<()> {
        let port = self.port.to_string();
        for (file, text) in [
            ("db.host", self.host.as_str()),
            ("db.port", &port),
            ("db.name", &self.name),
            ("db.user", &self.user),
            ("db.password", &self.password),
        ] {
            let opened = private::write_options()
                .truncate(true)
                .open(directory.join(file));
            opened?.write_all(text.as_bytes())?;
        }
        Ok(())
    }
}

impl FromStr for Database {
    type Err = InvalidDatabase;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        use InvalidDatabase::{Mode, NoPassword, Option as Unknown, Part, Plain};
        let (text, without_host) = with_host(text);
        let url = Url::parse(&text).map_err(|_| InvalidDatabase::Url)?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err(InvalidDatabase::Url);
        }
        let mut host = match without_host {
            true => String::new(),
            false => decoded(url.host_str().unwrap_or_default()).ok_or(Part("host"))?,
        };
        let (mut mode, mut root_cert) = (None, None);
        for (key, value) in url.query_pairs() {
            match key.as_ref() {
                "host" => host = value.into_owned(),
                "sslmode" => mode = Some(value.into_owned()),
                "sslrootcert" => root_cert = Some(PathBuf::from(value.as_ref())),
                _ => return Err(Unknown),
            }
        }
        // An address of version 6 stands in brackets.
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let user = decoded(url.username()).filter(|user| !user.is_empty());
        let user = user.ok_or(Part("user"))?;
        if host.is_empty() {
            return Err(Part("host"));
        }
        let name = decoded(url.path().trim_start_matches('/')).ok_or(Part("database"))?;
        let tls = match mode.as_deref() {
            None => !is_here(&host),
            Some("verify-full") => true,
            Some("disable") if is_here(&host) => false,
            Some("disable") => return Err(Plain),
            Some(_) => return Err(Mode),
        };
        let password = decoded(url.password().unwrap_or_default()).ok_or(Part("password"))?;
        if password.is_empty() && !is_here(&host) {
            return Err(NoPassword);
        }
        Ok(Self {
            port: url.port().unwrap_or(5432),
            name: if name.is_empty() { user.clone() } else { name },
            password,
            host,
            user,
            tls,
            root_cert,
        })
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Database({})", self.location())
    }
}

/// A URL with a user and no host, as PostgreSQL knows it, is none to others: it gets one; whether it did.
fn with_host(text: &str) -> (String, bool) {
    let Some((scheme, rest)) = text.split_once("://") else {
        return (text.to_owned(), false);
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.ends_with('@') {
        (format!("{scheme}://{authority}none{path}"), true)
    } else {
        (text.to_owned(), false)
    }
}

fn decoded(text: &str) -> Option<String> {
    let decoded = percent_decode_str(text).decode_utf8().ok()?;
    // A line break would end the file's line early.
    (!decoded.contains(['\0', '\n', '\r'])).then(|| decoded.into_owned())
}

fn is_here(host: &str) -> bool {
    let address: Option<IpAddr> = host.parse().ok();
    host == "localhost"
        || host.starts_with('/')
        || address.is_some_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Database, String> {
        text.parse()
            .map_err(|error: InvalidDatabase| error.to_string())
    }

    #[test]
    fn a_url_names_a_database_and_hides_its_password() {
        let database = parsed("postgres://app:p%40ss@127.0.0.1:5433/region").unwrap();
        assert_eq!(database.location(), "app@127.0.0.1:5433/region");
        assert_eq!(database.password, "p@ss");
        assert!(!format!("{database:?}").contains("ss@"), "{database:?}");
        assert_eq!(
            database.arguments(),
            ["--store=postgres", "--db-sslmode=disable"]
        );
        let far = parsed("postgresql://app:p@db.example.com?sslrootcert=/ca.pem").unwrap();
        assert_eq!(far.location(), "app@db.example.com:5432/app");
        assert_eq!(
            far.arguments()[1..],
            ["--db-sslmode=verify-full", "--db-rootcert=/ca.pem"]
        );
        let socket = parsed("postgres://app@/region?host=/var/run/postgresql").unwrap();
        assert_eq!(
            (socket.host.as_str(), socket.tls),
            ("/var/run/postgresql", false)
        );
        let six = parsed("postgres://app@[::1]/region").unwrap();
        assert_eq!((six.host.as_str(), six.tls), ("::1", false));
    }

    #[test]
    fn what_names_no_database_is_refused_without_its_password() {
        for (text, part) in [
            ("sqlite:file", "not a URL such as postgres://"),
            ("region", "not a URL such as postgres://"),
            ("postgres://127.0.0.1/region", "no usable user"),
            ("postgres://app:secret@/region", "no usable host"),
            (
                "postgres://app:secret@db/region?sslmode=disable",
                "on this host",
            ),
            (
                "postgres://app:secret@db/region?sslmode=require",
                "verify-full",
            ),
            (
                "postgres://app:secret@db/region?pool=3",
                "another option than",
            ),
            ("postgres://app:12?secret@db/region", "another option than"),
            ("postgres://app:x?secret@db/region", "not a URL"),
            ("postgres://app@db/region", "no password"),
            ("postgres://app:secret%0A@db/region", "no usable password"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(
                error.contains(part) && !error.contains("secret"),
                "{text}: {error}"
            );
        }
    }
}
