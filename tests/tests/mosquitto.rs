//! The harness' mosquitto is what it says: mutual TLS, one identity per certificate, and sessions that survive.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tests::mosquitto::{Instance, MosquittoBuilder, acl, client};
use tests::pki::{Authority, Layout, write_mount};
use tests::process::ProcessSpec;
use tests::test_dir::TestDir;
use tests::wait::wait_for;

const PATIENCE: Duration = Duration::from_secs(20);

fn identity(test_dir: &TestDir, authority: &Authority, name: &str) -> Result<PathBuf> {
    let directory = test_dir.dir(name)?;
    write_mount(
        &directory,
        &authority.client(name)?,
        &[],
        Layout::DataSymlink,
    )?;
    Ok(directory)
}

#[tokio::test]
async fn a_message_passes_between_two_certificates() -> Result<()> {
    let test_dir = TestDir::new("mosquitto-passes")?;
    let authority = Authority::new("test CA")?;
    let broker = MosquittoBuilder::new(&authority)
        .start(test_dir.path())
        .await?;
    let (up, down) = (
        identity(&test_dir, &authority, "up")?,
        identity(&test_dir, &authority, "down")?,
    );

    // The session exists before the first publish, so the order of the two clients does not matter.
    subscribe(&broker, &down)?
        .label("first")
        .args(["-E"])
        .run(test_dir.path(), PATIENCE)
        .await?;
    let sent = publish(&broker, &up)?
        .run(test_dir.path(), PATIENCE)
        .await?;
    assert!(sent.status.success(), "{}", sent.stderr);
    let received = subscribe(&broker, &down)?
        .args(["-C", "1", "-W", "15"])
        .run(test_dir.path(), PATIENCE)
        .await?;
    assert_eq!(received.stdout, "hello\n");
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() -> Result<()> {
    let test_dir = TestDir::new("mosquitto-refuses")?;
    let authority = Authority::new("test CA")?;
    let broker = MosquittoBuilder::new(&authority)
        .start(test_dir.path())
        .await?;
    std::fs::write(test_dir.path().join("ca.crt"), authority.certificate_pem())?;
    let outcome = ProcessSpec::installed("mosquitto_pub", tests::mosquitto::INSTALL)?
        .args(["-h", "127.0.0.1", "-t", "a", "-m", "b", "-q", "1", "-p"])
        .arg(broker.address().port().to_string())
        .arg("--cafile")
        .arg(test_dir.path().join("ca.crt"))
        .run(test_dir.path(), PATIENCE)
        .await?;
    assert!(!outcome.status.success());
    wait_for("the broker's words", PATIENCE, async || {
        let log = broker.log();
        let told = log.contains("peer did not return a certificate");
        told.then_some(()).ok_or(log)
    })
    .await?;
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn a_certificate_of_a_foreign_authority_is_refused() -> Result<()> {
    let test_dir = TestDir::new("mosquitto-foreign")?;
    let authority = Authority::new("test CA")?;
    let broker = MosquittoBuilder::new(&authority)
        .start(test_dir.path())
        .await?;
    let mut foreign = Authority::new("other CA")?.client("up")?;
    authority.certificate_pem().clone_into(&mut foreign.ca);
    let directory = test_dir.dir("foreign")?;
    write_mount(&directory, &foreign, &[], Layout::PerFileRename)?;
    let outcome = publish(&broker, &directory)?
        .run(test_dir.path(), PATIENCE)
        .await?;
    assert!(!outcome.status.success());
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn access_rules_go_by_the_common_name() -> Result<()> {
    let test_dir = TestDir::new("mosquitto-acl")?;
    let authority = Authority::new("test CA")?;
    let topics = ["greeting".to_owned()];
    let rules = acl([("up", &topics[..], &[][..]), ("down", &[][..], &topics[..])]);
    let broker = MosquittoBuilder::new(&authority)
        .acl(rules)
        .start(test_dir.path())
        .await?;
    for (name, allowed) in [("up", true), ("down", false)] {
        let directory = identity(&test_dir, &authority, name)?;
        let outcome = publish(&broker, &directory)?
            .label(name)
            .args(["-d"])
            .run(test_dir.path(), PATIENCE)
            .await?;
        // The client exits 0 either way; only the reason code of the PUBACK tells.
        let text = outcome.stdout + &outcome.stderr;
        let denied = text.contains("RC:135") || text.contains("Not authorized");
        assert_eq!(denied, !allowed, "{name}: {text}");
    }
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn a_session_survives_a_restart_on_the_same_port() -> Result<()> {
    let test_dir = TestDir::new("mosquitto-restart")?;
    let authority = Authority::new("test CA")?;
    let mut broker = MosquittoBuilder::new(&authority)
        .start(test_dir.path())
        .await?;
    let (up, down) = (
        identity(&test_dir, &authority, "up")?,
        identity(&test_dir, &authority, "down")?,
    );
    subscribe(&broker, &down)?
        .label("first")
        .args(["-E"])
        .run(test_dir.path(), PATIENCE)
        .await?;
    publish(&broker, &up)?
        .run(test_dir.path(), PATIENCE)
        .await?;

    let address = broker.address();
    broker.stop().await.context("first stop")?;
    broker.restart().await?;
    assert_eq!(broker.address(), address);
    broker.kill()?;
    broker.restart().await?;

    let received = subscribe(&broker, &down)?
        .args(["-C", "1", "-W", "15"])
        .run(test_dir.path(), PATIENCE)
        .await?;
    assert_eq!(received.stdout, "hello\n");
    test_dir.passed();
    Ok(())
}

fn publish(broker: &Instance, identity: &std::path::Path) -> Result<ProcessSpec> {
    let args = ["-V", "mqttv5", "-q", "1", "-t", "greeting", "-m", "hello"];
    Ok(client("mosquitto_pub", broker.address(), identity)?.args(args))
}

fn subscribe(broker: &Instance, identity: &std::path::Path) -> Result<ProcessSpec> {
    let args = [
        "-V", "mqttv5", "-q", "1", "-t", "greeting", "-i", "down", "-c", "-x", "600",
    ];
    Ok(client("mosquitto_sub", broker.address(), identity)?.args(args))
}
