//! Tokens instead of passwords, before a gate that lets connections to a real server in as RDS does: by whose keys signed
//! the token, and how old they are.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use server_bridge::store::postgres::{Iam, PostgresConfig, PostgresStore};
use server_bridge::store::{FailureClass, Store};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::rotation::Load;
use super::{passing, until, within};
use crate::engines::{Server, fresh};
use crate::{at, name, with_consumers};

/// A service of credentials, and the gate that knows what it gave out.
#[derive(Debug, Default)]
struct Shared {
    given: Mutex<HashMap<String, Instant>>,
    let_in: Mutex<Vec<String>>,
    count: AtomicU32,
    away: AtomicBool,
    shut: AtomicBool,
}

#[derive(Clone, Debug)]
struct Keys(Arc<Shared>);

impl ProvideCredentials for Keys {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let Self(shared) = self;
        if shared.away.load(Ordering::Relaxed) {
            let error = CredentialsError::provider_error("the agent on the node does not answer");
            return future::ProvideCredentials::ready(Err(error));
        }
        let key = format!("KEY{}", shared.count.fetch_add(1, Ordering::Relaxed));
        let mut given = shared.given.lock().unwrap();
        given.insert(key.clone(), Instant::now());
        let keys = Credentials::new(key, "secret", Some("session".into()), None, "test");
        future::ProvideCredentials::ready(Ok(keys))
    }
}

impl Shared {
    fn admits(&self, token: &str) -> bool {
        let Some((_, rest)) = token.split_once("X-Amz-Credential=") else {
            return false;
        };
        let key = rest.split("%2F").next().unwrap().to_owned();
        let given = self.given.lock().unwrap();
        let good = given.get(&key).is_some_and(|at| at.elapsed() < GOOD)
            && token.contains("DBUser=postgres&")
            && token.contains("%2Feu-west-1%2Frds-db%2Faws4_request")
            && !self.shut.load(Ordering::Relaxed);
        if good {
            self.let_in.lock().unwrap().push(key);
        }
        good
    }

    fn keys_let_in(&self) -> usize {
        let mut keys = self.let_in.lock().unwrap().clone();
        keys.sort();
        keys.dedup();
        keys.len()
    }
}

/// Asks for the token in the clear, as RDS does within TLS, and passes on whom it lets in.
async fn admit(mut client: TcpStream, server: u16, shared: Arc<Shared>) -> io::Result<()> {
    let length = client.read_u32().await?;
    let mut startup = vec![0; length as usize - 4];
    client.read_exact(&mut startup).await?;
    client.write_all(b"R\0\0\0\x08\0\0\0\x03").await?;
    assert_eq!(client.read_u8().await?, b'p');
    let length = client.read_u32().await?;
    let mut token = vec![0; length as usize - 4];
    client.read_exact(&mut token).await?;
    let token = String::from_utf8_lossy(&token[..token.len() - 1]).into_owned();
    if !shared.admits(&token) {
        let said = b"SFATAL\0VFATAL\0C28P01\0MPAM authentication failed\0\0";
        client.write_u8(b'E').await?;
        client.write_u32(4 + said.len() as u32).await?;
        return client.write_all(said).await;
    }
    let mut server = TcpStream::connect(("127.0.0.1", server)).await?;
    server.write_u32(4 + startup.len() as u32).await?;
    server.write_all(&startup).await?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

struct Place {
    server: Server,
    config: PostgresConfig,
    shared: Arc<Shared>,
    _files: TempDir,
}

impl Place {
    async fn new() -> Self {
        let server = Server::start(&[]).unwrap();
        // Whoever comes through the gate is trusted.
        let rules = server.sql("postgres", "SHOW hba_file").unwrap();
        let trust = format!(
            "COPY (VALUES ('local all all scram-sha-256'), ('host all all 127.0.0.1/32 trust')) TO '{rules}'"
        );
        server.sql("postgres", &trust).unwrap();
        server.sql("postgres", "SELECT pg_reload_conf()").unwrap();
        let files = tempfile::tempdir().unwrap();
        let mut config = fresh(&server, &files);
        let shared = Arc::<Shared>::default();
        let gate = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = gate.local_addr().unwrap().port();
        std::fs::write(&config.files.port, port.to_string()).unwrap();
        std::fs::remove_file(&config.files.password).unwrap();
        config.iam = Some(Iam::new(Some("eu-west-1".into())).with_keys(Keys(shared.clone())));
        config.limits.look = Duration::from_millis(50);
        tokio::spawn({
            let (shared, server) = (shared.clone(), server.port());
            async move {
                while let Ok((client, _)) = gate.accept().await {
                    tokio::spawn(admit(client, server, shared.clone()));
                }
            }
        });
        Self {
            server,
            config,
            shared,
            _files: files,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_renewed_in_time_and_no_request_fails() {
    let mut place = Place::new().await;
    place.config.limits.token_renewal = Duration::from_millis(400);
    // So that new connections are made all the time.
    place.config.limits.lifetime = Duration::from_millis(20);
    place.config.limits.acquire = Duration::from_secs(30);
    let store = PostgresStore::open(place.config.clone()).await.unwrap();
    let mut load = Load::start(&store).await;
    until("eight tokens to be used", async || {
        place.shared.keys_let_in() >= 8
    })
    .await;
    load.goes_on().await;
    // For less than a token lasts nobody notices that there are no new ones.
    place.shared.away.store(true, Ordering::Relaxed);
    load.goes_on().await;
    place.shared.away.store(false, Ordering::Relaxed);
    load.goes_on().await;
    load.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_credentials_open_connections_go_on_and_readiness_names_what_is_missing() {
    let mut place = Place::new().await;
    place.config.limits.token_renewal = Duration::from_millis(100);
    place.config.limits.token_life = Duration::from_millis(200);
    place.config.limits.acquire = Duration::from_secs(5);
    let store = PostgresStore::open(place.config.clone()).await.unwrap();
    with_consumers(&store, &["c1"]).await;
    until("readiness", async || store.ping().await.is_ok()).await;
    place.shared.away.store(true, Ordering::Relaxed);
    place.shared.shut.store(true, Ordering::Relaxed);
    for _ in 0..5 {
        assert_eq!(store.consumer_names().await.unwrap(), [name("c1")]);
        store.prune_tombstones(at(0)).await.unwrap();
    }
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE application_name = 'server-bridge'";
    place.server.sql("postgres", end).unwrap();
    until("readiness to say why", async || {
        let Err(error) = store.ping().await else {
            return false;
        };
        let said = error.to_string();
        said.contains("no IAM token for the database: credentials from")
            && said.contains("the agent on the node does not answer")
            && said.contains("rds-db:connect")
    })
    .await;
    let error = store.prune_tombstones(at(0)).await.unwrap_err();
    passing(&error, FailureClass::Denied);
    place.shared.away.store(false, Ordering::Relaxed);
    place.shared.shut.store(false, Ordering::Relaxed);
    until("it to work again", async || store.ping().await.is_ok()).await;
    let names = within("reading", store.consumer_names()).await.unwrap();
    assert_eq!(names, [name("c1")], "nothing was lost");
}

/// For how long the gate takes what was signed with a key.
const GOOD: Duration = Duration::from_secs(120);
