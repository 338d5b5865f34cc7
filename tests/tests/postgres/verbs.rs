//! `server-bridge store` as processes: exit codes, a copy that is killed, and credentials from where a pod gets them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use jiff::Timestamp;
use link::id::ConsumerName;
use server_bridge::store::sqlite::SqliteStore;
use server_bridge::store::{Content, Json, Labels, NewBundle, NewConsumer, SourceName, Store as _};
use tests::pki::Authority;
use tests::postgres::Server;
use tests::process::{Output, ProcessSpec};
use tests::test_dir::TestDir;
use tests::wait::wait_for;
use tokio::net::TcpListener;

use super::tls::{certificate, show};

/// `server-bridge store …` with the files of a database.
fn store(files: &Path, args: &[&str]) -> Result<ProcessSpec> {
    // A label is a file of output.
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let files = files.display().to_string();
    let spec = ProcessSpec::binary("server-bridge")?
        .label(format!("store-{number}"))
        .arg("store")
        .args(args)
        .args(["--mount", &files]);
    Ok(spec)
}

fn ended(output: &Output, code: i32, words: &[&str]) -> Result<()> {
    let said = format!("{}{}", output.stdout, output.stderr);
    ensure!(output.status.code() == Some(code), "{said}");
    for word in words {
        ensure!(said.contains(word), "`{word}` in {said}");
    }
    Ok(())
}

/// A file with as many bundles of 49 KB.
async fn filled(file: &Path, bundles: usize) -> Result<()> {
    let store = SqliteStore::open(file).await?;
    let now = Timestamp::from_second(1_780_000_000)?;
    let consumer = ConsumerName::new("c1")?;
    let new = NewConsumer {
        id: "id-c1".into(),
        name: consumer.clone(),
        labels: Labels::new(),
    };
    store.create_consumer(new, now).await?;
    for number in 0..bundles {
        let manifests = format!("[{{\"data\":\"{}\"}}]", "x".repeat(49_000));
        let new = NewBundle {
            id: format!("b{number}"),
            name: format!("b{number}"),
            source: SourceName::default(),
            consumer_name: consumer.clone(),
            metadata: None,
            origin: None,
            content: Content {
                manifests: Json::parse(&manifests)?,
                delete_option: None,
                manifest_configs: None,
                executer: None,
            },
        };
        store.create_bundle(new, now).await?;
    }
    store.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_killed_goes_on_and_every_verb_says_how_it_ended() -> Result<()> {
    let test_dir = TestDir::new("store-verbs")?;
    let server = Server::start(&["max_connections=80"])?;
    let database = server.database()?;
    let files = tempfile::tempdir()?;
    server.mount(files.path(), &database)?;
    let run = async |args: &[&str]| -> Result<Output> {
        let spec = store(files.path(), args)?.args(["--db-sslmode", "disable"]);
        Ok(spec.run(test_dir.path(), PATIENCE).await?)
    };
    let status = run(&["status"]).await?;
    ended(
        &status,
        0,
        &[
            "postgres://postgres@127.0.0.1",
            "not made yet",
            "of 80 in use",
        ],
    )?;
    ended(&run(&["migrate"]).await?, 0, &["up to date"])?;
    ended(&run(&["migrate"]).await?, 0, &["up to date"])?;
    let replica = "INSERT INTO bridge.replicas (slot, instance, name, expires_at) \
         VALUES (3, 'i', 'pod-x', clock_timestamp() + interval '1 hour'); \
         UPDATE bridge.bucket_leases SET instance = 'i' WHERE bucket < 64";
    server.sql(&database, replica)?;
    let status = run(&["status"]).await?;
    let words = [
        "epoch        1 since ",
        "unconfirmed  0 bundles of 0 consumers",
        "replica      slot 3: pod-x, 64 buckets",
    ];
    ended(&status, 0, &words)?;
    let status = run(&["status", "--json"]).await?;
    let found: serde_json::Value = serde_json::from_str(&status.stdout)?;
    ensure!(found["replicas"][0]["buckets"] == 64, "{found}");
    ensure!(found["history"]["epochs"][0]["number"] == 1, "{found}");
    server.sql(
        &database,
        "DELETE FROM bridge.replicas; UPDATE bridge.bucket_leases SET instance = NULL",
    )?;

    // So that it is killed in its middle.
    let slow = "CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN PERFORM pg_sleep(0.02); RETURN NEW; END $$; \
         CREATE TRIGGER slow BEFORE INSERT ON bridge.contents FOR EACH ROW EXECUTE FUNCTION public.slow()";
    server.sql(&database, slow)?;
    let file = test_dir.path().join("bridge.db");
    filled(&file, BUNDLES).await?;
    let from = format!("sqlite:{}", file.display());
    let copy = ["copy", "--from", &from, "--to", "postgres"];
    let spec = store(files.path(), &copy)?.args(["--db-sslmode", "disable"]);
    let mut running = spec.start(test_dir.path())?;
    let count = || server.sql(&database, "SELECT count(*) FROM bridge.contents");
    wait_for("rows to be copied", PATIENCE, async || match count() {
        Ok(rows) if rows != "0" => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await?;
    running.kill()?;
    let rows = count()?;
    ensure!(rows != BUNDLES.to_string(), "it was killed too late");
    server.sql(&database, "DROP FUNCTION public.slow CASCADE")?;
    let status = run(&["status", "--json"]).await?;
    let found: serde_json::Value = serde_json::from_str(&status.stdout)?;
    ensure!(found["schema"]["copying"] == true, "{found}");
    ensure!(found["holds"]["bundles"] == BUNDLES, "{found}");
    let output = run(&copy).await?;
    ended(&output, 0, &["Going on with a copy", "contents", "ledger"])?;
    ensure!(count()? == BUNDLES.to_string());
    let status = run(&["status", "--json"]).await?;
    let found: serde_json::Value = serde_json::from_str(&status.stdout)?;
    ensure!(found["schema"]["copying"] == false, "{found}");
    ensure!(found["holds"]["unsent"] == BUNDLES, "{found}");

    ended(
        &run(&["copy", "--from", &from, "--to", &from]).await?,
        2,
        &["the same store"],
    )?;
    let other = test_dir.path().join("other.db");
    filled(&other, 1).await?;
    let from = format!("sqlite:{}", other.display());
    let output = run(&["copy", "--from", &from, "--to", "postgres"]).await?;
    ended(&output, 1, &["is not empty", "--db-schema"])?;
    std::fs::write(files.path().join("db.password"), "wrong")?;
    ended(
        &run(&["status"]).await?,
        1,
        &["refuses the user", "hint: ", "see docs/faults/MQ703.md"],
    )?;
    test_dir.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_the_database_leads_to_its_page() -> Result<()> {
    let test_dir = TestDir::new("postgres-faults")?;
    let server = Server::start(&["max_connections=80"])?;
    let files = tempfile::tempdir()?;
    server.mount(files.path(), &server.database()?)?;
    let run = async |options: &[&str]| {
        let status = [&["status"][..], options].concat();
        let spec = store(files.path(), &status)?;
        Ok::<_, anyhow::Error>(spec.run(test_dir.path(), PATIENCE).await?)
    };
    let plain = ["--db-sslmode", "disable"];
    ended(&run(&plain).await?, 0, &[])?;
    // A server that offers no TLS, and one of another authority than the file's.
    let no_tls = ["hint: ", "see docs/faults/MQ702.md"];
    ended(&run(&["--db-sslmode", "verify-full"]).await?, 1, &no_tls)?;
    let authority = Authority::new("database")?;
    show(&server, certificate(&authority, "localhost", -1, 30)?, 1).await?;
    let put = |name: &str, text: &str| std::fs::write(files.path().join(name), text);
    put("db.host", "localhost")?;
    let other = test_dir.path().join("other.crt");
    std::fs::write(&other, Authority::new("other")?.certificate_pem())?;
    let other = other.display().to_string();
    let foreign = ["--db-sslmode", "verify-full", "--db-rootcert", &other];
    ended(&run(&foreign).await?, 1, &no_tls)?;
    let right = test_dir.path().join("right.crt");
    std::fs::write(&right, authority.certificate_pem())?;
    let right = right.display().to_string();
    let tls = ["--db-sslmode", "verify-full", "--db-rootcert", &right];
    ended(&run(&tls).await?, 0, &[])?;
    let name = std::fs::read_to_string(files.path().join("db.name"))?;
    put("db.name", "nobodys")?;
    let unfit = ["hint: create it", "see docs/faults/MQ704.md"];
    ended(&run(&tls).await?, 1, &unfit)?;
    put("db.name", &name)?;
    // Files that say nothing.
    put("db.user", "")?;
    ended(
        &run(&tls).await?,
        1,
        &["hint: ", "see docs/faults/MQ700.md"],
    )?;
    put("db.user", tests::postgres::USER)?;
    server.stop()?;
    let away = ["cannot be reached", "hint: ", "see docs/faults/MQ701.md"];
    ended(&run(&tls).await?, 1, &away)?;
    test_dir.passed();
    Ok(())
}

#[derive(Default)]
struct Endpoint {
    asked: AtomicU32,
    fails: AtomicBool,
}

impl Endpoint {
    fn answer(&self, headers: &HeaderMap) -> (StatusCode, String) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let known = headers
            .get("authorization")
            .is_some_and(|word| word == "pod-token");
        if self.fails.load(Ordering::Relaxed) || !known {
            return (StatusCode::INTERNAL_SERVER_ERROR, "not now".into());
        }
        let keys = serde_json::json!({
            "AccessKeyId": "ASIAEXAMPLE", "SecretAccessKey": "secret-of-a-pod", "Token": "session",
            "AccountId": "123456789012", "Expiration": "2126-01-01T00:00:00Z",
        });
        (StatusCode::OK, keys.to_string())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_of_a_pod_make_tokens_and_an_endpoint_that_fails_is_named() -> Result<()> {
    let test_dir = TestDir::new("store-iam")?;
    let server = Server::start(&["max_connections=80"])?;
    let authority = Authority::new("database")?;
    show(&server, certificate(&authority, "localhost", -1, 1)?, 1).await?;
    let files = tempfile::tempdir()?;
    server.mount(files.path(), &server.database()?)?;
    std::fs::write(files.path().join("db.host"), "localhost")?;
    std::fs::remove_file(files.path().join("db.password"))?;
    let roots = files.path().join("roots.pem");
    std::fs::write(&roots, authority.certificate_pem())?;

    let endpoint = Arc::new(Endpoint::default());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}/v1/credentials", listener.local_addr()?);
    let shared = endpoint.clone();
    let answer = move |headers: HeaderMap| async move { shared.answer(&headers) };
    let routes = axum::Router::new().route("/v1/credentials", get(answer));
    tokio::spawn(async move { axum::serve(listener, routes).await });

    let roots = roots.display().to_string();
    let status = async || -> Result<Output> {
        let spec = store(files.path(), &["status"])?
            .args(["--db-iam-auth", "--db-iam-region", "eu-west-1"])
            .args(["--db-rootcert", &roots])
            .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &address)
            .env("AWS_CONTAINER_AUTHORIZATION_TOKEN", "pod-token")
            .env("AWS_EC2_METADATA_DISABLED", "true");
        Ok(spec.run(test_dir.path(), PATIENCE).await?)
    };
    // A server that is not RDS takes the token for a wrong password: it was made and sent.
    let output = status().await?;
    ended(&output, 1, &["refuses the user", "localhost"])?;
    ensure!(endpoint.asked.load(Ordering::Relaxed) == 1);
    endpoint.fails.store(true, Ordering::Relaxed);
    let failed = status().await?;
    let named = format!("credentials from `{address}`");
    ended(&failed, 1, &["no IAM token", &named, "rds-db:connect"])?;
    for output in [output, failed] {
        let said = format!("{}{}", output.stdout, output.stderr);
        ensure!(
            !said.contains("secret-of-a-pod") && !said.contains("X-Amz"),
            "{said}"
        );
    }
    test_dir.passed();
    Ok(())
}

// Several batches.
const BUNDLES: usize = 400;

const PATIENCE: Duration = Duration::from_secs(60);
