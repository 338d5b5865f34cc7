//! The harness' mosquitto is what it says: mutual TLS, one identity per certificate, and sessions that survive.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tests::mosquitto::{Builder, Instance, acl, client};
use tests::pki::{Authority, Layout, lay_down};
use tests::process::Spec;
use tests::scratch::Scratch;

const PATIENCE: Duration = Duration::from_secs(20);

fn identity(scratch: &Scratch, authority: &Authority, name: &str) -> Result<PathBuf> {
    let directory = scratch.dir(name)?;
    lay_down(
        &directory,
        &authority.client(name)?,
        &[],
        Layout::DataSymlink,
    )?;
    Ok(directory)
}

#[tokio::test]
async fn a_message_passes_between_two_certificates() -> Result<()> {
    let scratch = Scratch::new("mosquitto-passes")?;
    let authority = Authority::new("test CA")?;
    let broker = Builder::new(&authority).start(scratch.path()).await?;
    let (up, down) = (
        identity(&scratch, &authority, "up")?,
        identity(&scratch, &authority, "down")?,
    );

    // The session exists before the first publish, so the order of the two clients does not matter.
    subscribe(&broker, &down)?
        .label("first")
        .args(["-E"])
        .run(scratch.path(), PATIENCE)
        .await?;
    let sent = publish(&broker, &up)?.run(scratch.path(), PATIENCE).await?;
    assert!(sent.status.success(), "{}", sent.stderr);
    let received = subscribe(&broker, &down)?
        .args(["-C", "1", "-W", "15"])
        .run(scratch.path(), PATIENCE)
        .await?;
    assert_eq!(received.stdout, "hello\n");
    scratch.passed();
    Ok(())
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() -> Result<()> {
    let scratch = Scratch::new("mosquitto-refuses")?;
    let authority = Authority::new("test CA")?;
    let broker = Builder::new(&authority).start(scratch.path()).await?;
    std::fs::write(scratch.path().join("ca.crt"), authority.certificate_pem())?;
    let outcome = Spec::installed("mosquitto_pub", tests::mosquitto::INSTALL)?
        .args(["-h", "127.0.0.1", "-t", "a", "-m", "b", "-q", "1", "-p"])
        .arg(broker.address().port().to_string())
        .arg("--cafile")
        .arg(scratch.path().join("ca.crt"))
        .run(scratch.path(), PATIENCE)
        .await?;
    assert!(!outcome.status.success());
    let log = broker.log();
    assert!(log.contains("peer did not return a certificate"), "{log}");
    scratch.passed();
    Ok(())
}

#[tokio::test]
async fn a_certificate_of_a_foreign_authority_is_refused() -> Result<()> {
    let scratch = Scratch::new("mosquitto-foreign")?;
    let authority = Authority::new("test CA")?;
    let broker = Builder::new(&authority).start(scratch.path()).await?;
    let mut foreign = Authority::new("other CA")?.client("up")?;
    authority.certificate_pem().clone_into(&mut foreign.ca);
    let directory = scratch.dir("foreign")?;
    lay_down(&directory, &foreign, &[], Layout::PerFileRename)?;
    let outcome = publish(&broker, &directory)?
        .run(scratch.path(), PATIENCE)
        .await?;
    assert!(!outcome.status.success());
    scratch.passed();
    Ok(())
}

#[tokio::test]
async fn access_rules_go_by_the_common_name() -> Result<()> {
    let scratch = Scratch::new("mosquitto-acl")?;
    let authority = Authority::new("test CA")?;
    let topics = ["greeting".to_owned()];
    let rules = acl([("up", &topics[..], &[][..]), ("down", &[][..], &topics[..])]);
    let broker = Builder::new(&authority)
        .acl(rules)
        .start(scratch.path())
        .await?;
    for (name, allowed) in [("up", true), ("down", false)] {
        let directory = identity(&scratch, &authority, name)?;
        let outcome = publish(&broker, &directory)?
            .label(name)
            .args(["-d"])
            .run(scratch.path(), PATIENCE)
            .await?;
        // The client exits 0 either way; only the reason code of the PUBACK tells (components.md §1).
        let text = outcome.stdout + &outcome.stderr;
        let denied = text.contains("RC:135") || text.contains("Not authorized");
        assert_eq!(denied, !allowed, "{name}: {text}");
    }
    scratch.passed();
    Ok(())
}

#[tokio::test]
async fn a_session_survives_a_restart_on_the_same_port() -> Result<()> {
    let scratch = Scratch::new("mosquitto-restart")?;
    let authority = Authority::new("test CA")?;
    let mut broker = Builder::new(&authority).start(scratch.path()).await?;
    let (up, down) = (
        identity(&scratch, &authority, "up")?,
        identity(&scratch, &authority, "down")?,
    );
    subscribe(&broker, &down)?
        .label("first")
        .args(["-E"])
        .run(scratch.path(), PATIENCE)
        .await?;
    publish(&broker, &up)?.run(scratch.path(), PATIENCE).await?;

    let address = broker.address();
    broker.stop().await.context("first stop")?;
    broker.restart().await?;
    assert_eq!(broker.address(), address);
    broker.kill()?;
    broker.restart().await?;

    let received = subscribe(&broker, &down)?
        .args(["-C", "1", "-W", "15"])
        .run(scratch.path(), PATIENCE)
        .await?;
    assert_eq!(received.stdout, "hello\n");
    scratch.passed();
    Ok(())
}

fn publish(broker: &Instance, identity: &std::path::Path) -> Result<Spec> {
    let args = ["-V", "mqttv5", "-q", "1", "-t", "greeting", "-m", "hello"];
    Ok(client("mosquitto_pub", broker.address(), identity)?.args(args))
}

fn subscribe(broker: &Instance, identity: &std::path::Path) -> Result<Spec> {
    let args = [
        "-V", "mqttv5", "-q", "1", "-t", "greeting", "-i", "down", "-c", "-x", "600",
    ];
    Ok(client("mosquitto_sub", broker.address(), identity)?.args(args))
}
