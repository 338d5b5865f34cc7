//! Clients that open sockets and say little: health, the broker's connection and memory survive them, and the API is
//! there again while they still hold what they have.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use tests::api::{Api, config_map};
use tests::measure;
use tests::region::{BRIDGE_CLIENT, BrokerKind, Region, RegionBuilder};
use tests::wait::wait_for;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{applied, lives};

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_idle_sockets_leave_room_for_health_and_for_the_broker() -> Result<()> {
    let mut region = RegionBuilder::new("edges-sockets", BrokerKind::Sandbox)
        .bridge_limits("ulimit -n 256")
        .start()
        .await?;
    let address = api_address(&mut region).await?;
    let connecting = (0..SOCKETS).map(|_| timeout(CONNECT, TcpStream::connect(address)));
    // What the system has no place for in its queue either is not held, but was tried.
    let idle: Vec<TcpStream> = join_all(connecting)
        .await
        .into_iter()
        .filter_map(|connected| connected.ok()?.ok())
        .collect();
    ensure!(idle.len() >= 256, "only {} are there", idle.len());
    survives(&mut region).await?;
    comes_back(&mut region, "sockets").await?;
    drop(idle);
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn six_hundred_half_sent_bodies_hold_little_memory_and_are_cut_off() -> Result<()> {
    let mut region = RegionBuilder::new("edges-bodies", BrokerKind::Sandbox)
        .start()
        .await?;
    let address = api_address(&mut region).await?;
    let bridge = region.bridge.process().id();
    let before = measure::memory(bridge)?.resident;
    let mut halves = JoinSet::new();
    for _ in 0..BODIES {
        halves.spawn(half_a_body(address));
    }
    // Each ends once its part was taken, or was not taken in time.
    let mut held = Vec::new();
    while let Some(half) = halves.join_next().await {
        held.extend(half?);
    }
    survives(&mut region).await?;
    comes_back(&mut region, "bodies").await?;
    let grown = measure::memory(bridge)?.peak.saturating_sub(before);
    ensure!(
        grown < MEMORY,
        "{} MB for bodies that never came",
        grown / 1_000_000
    );
    drop(held);
    region.passed();
    Ok(())
}

/// Health answers, and the broker's connection is there or comes back.
async fn survives(region: &mut Region) -> Result<()> {
    lives(region).await?;
    ensure!(
        region.broker.sandbox()?.disconnect(BRIDGE_CLIENT, false),
        "the bridge lost its broker"
    );
    region.bridge.ready().await?;
    lives(region).await
}

/// A create is answered and applied while the others still hold what they have.
async fn comes_back(region: &mut Region, id: &str) -> Result<()> {
    let api = region.api().await?;
    let body = json!({
        "id": id,
        "consumer_name": "cluster1",
        "manifests": [config_map(id, "here")],
    });
    wait_for("a create to be answered", DEADLINES, async || {
        let answer = api.raw(Method::POST, "/resource-bundles", Some(&body));
        match answer.await {
            // 409: it was taken by an attempt whose answer did not come.
            Ok((201 | 409, _)) => Ok(()),
            Ok((status, text)) => Err(format!("{status} {text}")),
            Err(error) => Err(link::error::chain(&error)),
        }
    })
    .await?;
    applied(&Api::clone(&api), id, 1).await
}

async fn api_address(region: &mut Region) -> Result<SocketAddr> {
    let api = region.bridge.listening().await?.api;
    let api = api.context("the bridge has an API")?;
    Ok(api.trim_start_matches("http://").parse()?)
}

/// Sends all but the end of a long body, and keeps the socket; `None` when the server would not have it.
async fn half_a_body(address: SocketAddr) -> Option<TcpStream> {
    let head = format!(
        "POST /api/maestro/v1/resource-bundles HTTP/1.1\r\nHost: {address}\r\n\
         Content-Type: application/json\r\nContent-Length: {BODY}\r\n\r\n"
    );
    let connected = timeout(CONNECT, TcpStream::connect(address)).await.ok()?;
    let mut socket = connected.ok()?;
    let sent = async {
        socket.write_all(head.as_bytes()).await?;
        socket.write_all(&vec![b' '; BODY - 1]).await
    };
    // A server that does not read takes what its system has room for.
    match timeout(SENT, sent).await {
        Ok(Err(_)) => None,
        _ => Some(socket),
    }
}

const SOCKETS: usize = 1_000;
const BODIES: usize = 600;
const BODY: usize = 1_900_000;
// All of them would be 1.1 GB; a few at a time are what a person sends.
const MEMORY: u64 = 250_000_000;
const CONNECT: Duration = Duration::from_secs(5);
const SENT: Duration = Duration::from_secs(5);
// Whoever says nothing is cut off within half a minute, and a request may have to wait for that.
const DEADLINES: Duration = Duration::from_secs(90);
