//! Web pages, slow clients and expensive questions: the REST API believes no browser, waits for nobody, and a search
//! keeps no bundle from its cluster.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use reqwest::header::{CONTENT_TYPE, HOST, HeaderName, ORIGIN};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tests::api::{Api, config_map};
use tests::region::{BrokerKind, Region, RegionBuilder};
use tests::wait::{patient, wait_for};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_web_page_can_send_to_a_loopback_address_is_refused() -> Result<()> {
    let mut region = RegionBuilder::new("web-page", BrokerKind::Sandbox)
        .start()
        .await?;
    let base = base(&mut region).await?;
    let address = base.trim_start_matches("http://").to_owned();
    let port = address.rsplit(':').next().unwrap_or_default().to_owned();
    let client = reqwest::Client::new();
    let attempt = async |name: &str, headers: &[(HeaderName, &str)]| -> Result<StatusCode> {
        let body = json!({
            "id": name,
            "consumer_name": "cluster1",
            "manifests": [config_map(name, "here")],
        });
        let mut request = client
            .post(format!("{base}{BUNDLES}"))
            .body(body.to_string());
        for (header, value) in headers {
            request = request.header(header, *value);
        }
        Ok(request.send().await?.status())
    };
    let json = (CONTENT_TYPE, "application/json");
    // The three types a form or a script may send without being asked about, and none at all.
    for kind in [
        "text/plain",
        "text/plain;application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ] {
        refused(kind, attempt("simple", &[(CONTENT_TYPE, kind)]).await?)?;
    }
    refused("no type", attempt("simple", &[]).await?)?;
    // A name of the attacker's that leads to 127.0.0.1.
    for host in [
        "rebound.example".to_owned(),
        format!("rebound.example:{port}"),
        format!("127.0.0.1.rebound.example:{port}"),
        format!("localhost.rebound.example:{port}"),
    ] {
        let status = attempt("rebound", &[json.clone(), (HOST, &host)]).await?;
        refused(&host, status)?;
        let read = client.get(format!("{base}{BUNDLES}")).header(HOST, &host);
        refused(&host, read.send().await?.status())?;
    }
    // A page that says where it comes from.
    for origin in ["https://attacker.example", "null", "http://localhost:1"] {
        let status = attempt("foreign", &[json.clone(), (ORIGIN, origin)]).await?;
        refused(origin, status)?;
    }
    ensure!(region.api().await?.bundles("").await?.total == 0);
    // People, programs and tunnels.
    let localhost = format!("localhost:{port}");
    for (name, headers) in [
        ("plain", vec![json.clone()]),
        (
            "charset",
            vec![(CONTENT_TYPE, "application/json; charset=utf-8")],
        ),
        ("localhost", vec![json.clone(), (HOST, &localhost)]),
    ] {
        let status = attempt(name, &headers).await?;
        ensure!(status == StatusCode::CREATED, "{name}: {status}");
    }
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_its_time_is_cut_off() -> Result<()> {
    let mut region = RegionBuilder::new("web-slow", BrokerKind::Sandbox)
        .start()
        .await?;
    let listening = region.bridge.listening().await?;
    let api = address(&listening.api.context("the bridge has an API")?)?;
    let admin = address(&listening.admin)?;
    let post = format!("POST {BUNDLES} HTTP/1.1\r\nHost: {api}\r\n");
    let body = "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n";
    // Each goes on with a byte a second.
    let slow = [
        ("nothing", api, String::new()),
        ("headers", api, format!("{post}X-Slow: ")),
        ("a body", api, format!("{post}{body}{{")),
        (
            "headers for the operator's port",
            admin,
            format!("GET /livez HTTP/1.1\r\nHost: {admin}\r\nX-Slow: "),
        ),
    ];
    let mut clients = JoinSet::new();
    for (what, address, begins) in slow {
        clients.spawn(async move { (what, drip(address, &begins).await) });
    }
    while let Some(ended) = clients.join_next().await {
        let (what, ended) = ended?;
        ended.with_context(|| format!("slow {what}"))?;
    }
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn six_clients_with_the_longest_search_keep_no_bundle_from_its_cluster() -> Result<()> {
    let free = ["--broker-rates", "unlimited"];
    let mut region = RegionBuilder::new("web-search", BrokerKind::Sandbox)
        .without_quotas()
        .bridge_args(free)
        .start()
        .await?;
    let api = region.api().await?;
    api.create_consumer("absent").await?;
    stream::iter(0..BUNDLES_SEARCHED)
        .map(|number| create(&api, "absent", number))
        .buffer_unordered(16)
        .try_collect::<Vec<_>>()
        .await?;
    wait_for("the outbox to be empty", PATIENCE, async || {
        let page = region.bridge.metrics().await?;
        let outcome = |name| page.count("bridge_spec_events_total", &[("outcome", name)]);
        let sent = outcome("acked") + outcome("unmatched");
        ensure!(sent >= BUNDLES_SEARCHED as u64, "{sent} were sent");
        anyhow::Ok(())
    })
    .await?;
    let past = TERMS + 1;
    let (status, text) = api.raw(Method::GET, &search(past), None).await?;
    ensure!(status == 400, "{past} terms: {status} {text}");
    let mut terms = TERMS;
    while terms > 1 && api.raw(Method::GET, &search(terms), None).await?.0 == 400 {
        terms -= 1;
    }
    ensure!(terms >= 5, "nobody can search for {terms} labels");

    let mut searching = JoinSet::new();
    for _ in 0..6 {
        let (api, path) = (api.clone(), search(terms));
        searching.spawn(async move {
            loop {
                // What it is answered is its own affair.
                let _ = api.raw(Method::GET, &path, None).await;
            }
        });
    }
    let mut slowest = Duration::ZERO;
    for number in 0..10 {
        let begun = Instant::now();
        let id = create(&api, "cluster1", BUNDLES_SEARCHED + number).await?;
        wait_for("a bundle to be applied", PATIENCE, async || {
            match api.bundle(&id).await {
                Ok(Some(bundle)) if bundle.is("Applied") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await?;
        slowest = slowest.max(begun.elapsed());
    }
    ensure!(
        slowest < patient(DELIVERED),
        "beside searches of {terms} terms a bundle took {slowest:?}"
    );
    searching.shutdown().await;
    region.passed();
    Ok(())
}

/// Sends a byte a second until the server has had enough.
async fn drip(address: SocketAddr, begins: &str) -> Result<()> {
    let mut socket = TcpStream::connect(address).await?;
    socket.write_all(begins.as_bytes()).await?;
    let (mut read, mut write) = socket.split();
    let mut byte = interval(Duration::from_secs(1));
    let dripping = async {
        loop {
            byte.tick().await;
            if begins.is_empty() || write.write_all(b"x").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let closed = async {
        let mut answer = Vec::new();
        // A reset is an end as good as any.
        let _ = read.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    let answer = tokio::select! {
        answer = timeout(DEADLINES, closed) => answer.context("it is still connected")?,
        () = dripping => String::new(),
    };
    ensure!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
        "{answer}"
    );
    Ok(())
}

async fn create(api: &Api, consumer: &str, number: usize) -> Result<String> {
    let name = format!("searched-{number}");
    let mut body = json!({
        "consumer_name": consumer,
        "name": name,
        "manifests": [config_map(&name, "here")],
    });
    for label in 0..5 {
        body["metadata"]["labels"][format!("l{label}")] = format!("v{number}").into();
    }
    let (status, text) = api
        .raw(Method::POST, "/resource-bundles", Some(&body))
        .await?;
    ensure!(status == 201, "{status} {text}");
    let bundle: tests::api::Bundle = serde_json::from_str(&text)?;
    Ok(bundle.id)
}

/// A search of so many labels that no bundle has.
fn search(terms: usize) -> String {
    let terms: Vec<String> = (0..terms)
        .map(|term| format!("labels.l{term}%3D%27nowhere%27"))
        .collect();
    format!("/resource-bundles?search={}", terms.join("%20or%20"))
}

fn refused(what: &str, status: StatusCode) -> Result<()> {
    ensure!(status.is_client_error(), "{what}: {status}");
    Ok(())
}

fn address(url: &str) -> Result<SocketAddr> {
    Ok(url.trim_start_matches("http://").parse()?)
}

async fn base(region: &mut Region) -> Result<String> {
    let api = region.bridge.listening().await?.api;
    api.context("the bridge has an API")
}

const BUNDLES: &str = "/api/maestro/v1/resource-bundles";
const BUNDLES_SEARCHED: usize = 1_000;
// No search may have more.
const TERMS: usize = 100;

// A fraction of a second on an idle machine; this one searches with both its cores.
const DELIVERED: Duration = Duration::from_secs(10);
const DEADLINES: Duration = Duration::from_secs(90);
const PATIENCE: Duration = Duration::from_secs(120);
