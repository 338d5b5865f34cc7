//! The PostgreSQL server that a testbed's RDS leads to: it takes nobody without TLS, and has nothing in it until somebody
//! does what RDS does when it makes an instance.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::pki::Authority;
use crate::postgres::Server;
use crate::wait::wait_for;

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub struct RdsDatabase {
    server: Server,
    host: Ipv4Addr,
}

// === impl RdsDatabase ===

impl RdsDatabase {
    /// At this address of the machine, with as many connections as the smallest class of RDS has, and a certificate of
    /// this authority for the address.
    ///
    /// # Errors
    /// When PostgreSQL is missing or does not start.
    pub async fn start(authority: &Authority, host: Ipv4Addr) -> Result<Self> {
        let listen = format!("listen_addresses={host}");
        let server = Server::start(&["max_connections=80", &listen])?;
        let shown = authority.server(&[&host.to_string()])?;
        server.file("data/server.crt", &shown.certificate)?;
        server.file("data/server.key", &shown.key)?;
        // It listens at one address; who reaches that may knock.
        let hba = "local all all scram-sha-256\nhostssl all all all scram-sha-256\n";
        server.file("data/pg_hba.conf", hba)?;
        server.sql("postgres", "ALTER SYSTEM SET ssl = on")?;
        server.sql("postgres", "SELECT pg_reload_conf()")?;
        wait_for("the server's certificate", PATIENCE, async || match server
            .sql("postgres", "SHOW ssl")
        {
            Ok(on) if on == "on" => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await?;
        Ok(Self { server, host })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (self.host, self.server.port()).into()
    }

    /// Makes the database of these credentials (`username`, `password`, `database`) and its user, who is no superuser, as
    /// RDS's master user is none. What is there already stays.
    ///
    /// # Errors
    /// What the server said, or that the credentials lack something.
    pub fn make(&self, credentials: &Value) -> Result<()> {
        let text = |key: &str| {
            let found = credentials[key].as_str();
            let found = found.with_context(|| format!("the credentials have no `{key}`"))?;
            // Quoted below, and nothing that the quotes would mind.
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
            ensure!(found.chars().all(plain), "`{key}` is no plain text");
            Ok(found)
        };
        let (user, password) = (text("username")?, text("password")?);
        let database = text("database")?;
        let there = |table: &str, column: &str, name: &str| {
            let asked = format!("SELECT count(*) FROM {table} WHERE {column} = '{name}'");
            Ok::<_, anyhow::Error>(self.server.sql("postgres", &asked)? == "1")
        };
        if !there("pg_roles", "rolname", user)? {
            let make =
                format!("CREATE ROLE \"{user}\" LOGIN CREATEDB CREATEROLE PASSWORD '{password}'");
            self.server.sql("postgres", &make)?;
        }
        if !there("pg_database", "datname", database)? {
            let make = format!("CREATE DATABASE \"{database}\" OWNER \"{user}\"");
            self.server.sql("postgres", &make)?;
        }
        Ok(())
    }

    /// Asks the database `name` as its superuser; rows come one a line.
    ///
    /// # Errors
    /// What the server said.
    pub fn ask(&self, name: &str, sql: &str) -> Result<String> {
        Ok(self.server.sql(name, sql)?)
    }
}

const PATIENCE: Duration = Duration::from_secs(30);
