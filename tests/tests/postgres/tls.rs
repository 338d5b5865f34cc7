//! TLS as RDS demands it: the server is known by its authority and its name, or gets no password.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use link::error::{Hint as _, chain};
use rcgen::{CertificateParams, Issuer, KeyPair};
use server_bridge::store::Store as _;
use server_bridge::store::postgres::{CredentialFiles, PostgresConfig, PostgresStore, TlsMode};
use tests::pki::Authority;
use tests::postgres::Server;
use tests::wait::wait_for;

/// A certificate of the authority for a name, from and to these many days from today.
pub(super) fn certificate(
    authority: &Authority,
    name: &str,
    from: i64,
    to: i64,
) -> Result<(String, String)> {
    let at = |days: i64| -> Result<std::time::SystemTime> {
        let now = link::clock::Clock::system().now();
        let then: Timestamp = now + jiff::SignedDuration::from_hours(24 * days);
        Ok(then.into())
    };
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    params.not_before = at(from)?.into();
    params.not_after = at(to)?.into();
    let issuer_key = KeyPair::from_pem(authority.key_pem())?;
    let issuer = Issuer::from_ca_cert_pem(authority.certificate_pem(), issuer_key)?;
    let key = KeyPair::generate()?;
    let signed = params.signed_by(&key, &issuer)?;
    Ok((signed.pem(), key.serialize_pem()))
}

/// Makes the server show this certificate from now on, and take nobody without TLS.
pub(super) async fn show(
    server: &Server,
    (certificate, key): (String, String),
    round: u32,
) -> Result<()> {
    let crt = format!("data/server{round}.crt");
    let key_file = format!("data/server{round}.key");
    server.file(&crt, &certificate)?;
    server.file(&key_file, &key)?;
    let hba = "local all all scram-sha-256\nhostssl all all 127.0.0.1/32 scram-sha-256\n";
    server.file("data/pg_hba.conf", hba)?;
    for setting in [
        format!("ssl_cert_file = 'server{round}.crt'"),
        format!("ssl_key_file = 'server{round}.key'"),
        "ssl = on".to_owned(),
    ] {
        server.sql("postgres", &format!("ALTER SYSTEM SET {setting}"))?;
    }
    server.sql("postgres", "SELECT pg_reload_conf()")?;
    let file = format!("server{round}.crt");
    wait_for("the settings to be read", PATIENCE, async || {
        match server.sql("postgres", "SHOW ssl_cert_file") {
            Ok(shown) if shown == file => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    Ok(())
}

async fn refused(config: &PostgresConfig) -> Result<String> {
    let opened = PostgresStore::open(config.clone()).await;
    let error = opened.err().context("it was opened")?;
    Ok(format!(
        "{}; {}",
        chain(&error),
        error.hint().unwrap_or_default()
    ))
}

fn says(text: &str, words: [&str; 2]) -> Result<()> {
    ensure!(
        words.iter().all(|word| text.contains(word)),
        "{words:?} in {text}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_known_by_its_authority_and_its_name_or_gets_no_password() -> Result<()> {
    let server = Server::start(&["max_connections=80"])?;
    let authority = Authority::new("database")?;
    let files = tempfile::tempdir()?;
    server.mount(files.path(), &server.database()?)?;
    let roots = files.path().join("roots.pem");
    // As RDS's bundle: many, and ours among them.
    let others = Authority::new("another region")?;
    let bundle = format!(
        "{}{}",
        others.certificate_pem(),
        authority.certificate_pem()
    );
    std::fs::write(&roots, bundle)?;
    let mut config = PostgresConfig::new(CredentialFiles::mounted(files.path()));
    config.limits.patience = Duration::ZERO;
    ensure!(config.tls == TlsMode::VerifyFull, "the default");
    config.root_cert = Some(roots.clone());

    show(&server, certificate(&authority, "127.0.0.1", -1, 9)?, 1).await?;
    let store = PostgresStore::open(config.clone()).await?;
    store.ping().await?;
    let database = std::fs::read_to_string(files.path().join("db.name"))?;
    let spoken = "SELECT count(*) > 0 AND bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
         WHERE application_name = 'server-bridge'";
    ensure!(server.sql(&database, spoken)? == "t");
    let plain = PostgresConfig {
        tls: TlsMode::Disable,
        ..config.clone()
    };
    says(
        &refused(&plain).await?,
        ["refuses the user", "no encryption"],
    )?;
    let unknown = PostgresConfig {
        root_cert: None,
        ..config.clone()
    };
    says(
        &refused(&unknown).await?,
        ["not signed by the given CA", "global-bundle.pem"],
    )?;
    std::fs::write(&roots, others.certificate_pem())?;
    says(
        &refused(&config).await?,
        ["not signed by the given CA", "does not hold the authority"],
    )?;
    std::fs::write(&roots, authority.certificate_pem())?;

    show(&server, certificate(&authority, "127.0.0.1", -9, -1)?, 2).await?;
    says(
        &refused(&config).await?,
        ["expired", "the clock of this machine"],
    )?;
    show(&server, certificate(&authority, "db.internal", -1, 9)?, 3).await?;
    says(
        &refused(&config).await?,
        ["not for", "exactly as in the server's certificate"],
    )?;
    store.close().await;
    Ok(())
}

const PATIENCE: Duration = Duration::from_secs(30);
