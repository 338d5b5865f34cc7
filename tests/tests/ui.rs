//! The status page in a real browser, on a real bridge: what it shows of ten thousand clusters, what it does when the bridge
//! is silent, and who is let in.
//!
//! Scenarios are in `tests/browser`. How soon the page is there is measured by the benchmark `page`.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::api::{Api, config_map};
use tests::browser::{self, Browser};
use tests::pki::Authority;
use tests::region::{BrokerKind, RegionBuilder};
use tests::wait::wait_for;

#[tokio::test(flavor = "multi_thread")]
async fn every_view_shows_what_the_bridge_knows_of_ten_thousand_clusters() -> Result<()> {
    let others = (1..CLUSTERS).map(|number| format!("edge-{number:05}"));
    let mut region = RegionBuilder::new("ui-views", BrokerKind::Sandbox)
        .without_quotas()
        .registered(others)
        .bridge_args(["--broker-rates", "unlimited"])
        .start()
        .await?;
    let api = region.api().await?;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": "web", "namespace": "default"},
        "stringData": {"password": CANARY},
    });
    let manifests = json!([config_map("web", "here"), secret]);
    create(&api, "web", "cluster1", manifests).await?;
    create(
        &api,
        "to-nobody",
        "edge-00001",
        json!([config_map("x", "")]),
    )
    .await?;
    wait_for(
        "what cluster1 was sent to be applied",
        PATIENCE,
        async || match api.bundles("search=applied%3D'True'").await {
            Ok(list) if list.total == 1 => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await?;
    let total = CLUSTERS.to_string();
    Browser::new(&mut region)
        .await?
        .run("views", &[&total, CANARY])
        .await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_is_silent_is_called_stale_until_it_is_heard_again() -> Result<()> {
    let mut region = RegionBuilder::new("ui-stale", BrokerKind::Sandbox)
        .start()
        .await?;
    let bridge = region.bridge.process().id().to_string();
    Browser::new(&mut region)
        .await?
        .run("stale", &[&bridge])
        .await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_asked_for_and_kept_in_memory_and_a_wrong_one_is_refused_with_words()
-> Result<()> {
    let files = tempfile::tempdir()?;
    let file = |name: &str| files.path().join(name).display().to_string();
    let [keys, good, foreign, unknown] = ["keys", "good", "foreign", "unknown"].map(file);
    let made = [ISSUER, AUDIENCE, &keys, &good, &foreign, &unknown];
    browser::keys(&made, files.path()).await?;
    std::fs::write(files.path().join("rules.yaml"), RULES)?;
    let rules = file("rules.yaml");
    let flags = [
        ("--token-issuer", ISSUER),
        ("--token-audience", AUDIENCE),
        ("--token-jwks-file", &keys),
        ("--authorization-file", &rules),
    ];
    let mut region = RegionBuilder::new("ui-token", BrokerKind::Sandbox)
        .bridge_args(flags.into_iter().flat_map(|(flag, value)| [flag, value]))
        .start()
        .await?;
    let tokens = [good.as_str(), &foreign, &unknown];
    Browser::new(&mut region)
        .await?
        .run("token", &tokens)
        .await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_a_client_certificate_is_asked_nothing() -> Result<()> {
    let files = tempfile::tempdir()?;
    let file = |name: &str| files.path().join(name).display().to_string();
    let authority = Authority::new("callers")?;
    let (server, client) = (authority.server(&[])?, authority.client("ann")?);
    for (name, content) in [
        ("server.crt", &server.certificate),
        ("server.key", &server.key),
        ("callers.ca", &client.ca),
        ("ann.crt", &client.certificate),
        ("ann.key", &client.key),
    ] {
        std::fs::write(file(name), content)?;
    }
    let [certificate, key, ca] = ["server.crt", "server.key", "callers.ca"].map(file);
    let flags = [
        ("--https-cert-file", &certificate),
        ("--https-key-file", &key),
        ("--client-ca-file", &ca),
    ];
    let mut region = RegionBuilder::new("ui-certificate", BrokerKind::Sandbox)
        .bridge_args(
            flags
                .into_iter()
                .flat_map(|(flag, value)| [flag, value.as_str()]),
        )
        .start()
        .await?;
    let mut browser = Browser::new(&mut region).await?;
    browser.url = browser.url.replace("http://", "https://");
    let own = [file("ann.crt"), file("ann.key")];
    browser
        .run("certificate", &own.each_ref().map(String::as_str))
        .await?;
    region.passed();
    Ok(())
}

async fn create(api: &Api, name: &str, consumer: &str, manifests: Value) -> Result<()> {
    let body = json!({ "name": name, "consumer_name": consumer, "manifests": manifests });
    let (status, text) = api
        .raw(reqwest::Method::POST, "/resource-bundles", Some(&body))
        .await?;
    ensure!(status == 201, "{status} {text}");
    Ok(())
}

const CLUSTERS: usize = 10_000;
const CANARY: &str = "canary-7f3a9c51";

const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "bridge";
const RULES: &str = "\
rules:
- users: [ann]
  sources: ['*']
  consumers: ['*']
  verbs: [get, list]
";

const PATIENCE: Duration = Duration::from_secs(120);
