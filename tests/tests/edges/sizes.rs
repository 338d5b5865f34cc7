//! Sizes of what is sent: what the API takes arrives, what cannot arrive is refused by the field, and what was stored
//! before there was such a rule waits with its reason and holds up nobody.

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use link::event::{decode, encode};
use link::iot::limits::PAYLOAD_BYTES;
use link::mqtt::PublishError;
use reqwest::Method;
use serde_json::{Value, json};
use server_bridge::store::sqlite::SqliteStore;
use server_bridge::store::{Content, Json, NewBundle, SourceName, Store as _};
use tests::api::{Api, config_map};
use tests::peer_events::{self, agent_topic, source_topic};
use tests::region::{BrokerKind, Region, RegionBuilder};
use tests::session::Client;
use tests::wait::{timeout, wait_for};

use super::{PATIENCE, applied, failure, goes_on, gone};

#[tokio::test(flavor = "multi_thread")]
async fn an_annotation_that_grows_when_it_is_written_is_refused_with_its_field() -> Result<()> {
    let mut region = RegionBuilder::new("edges-annotation", BrokerKind::Sandbox)
        .start()
        .await?;
    let id = goes_on(&mut region, "cluster1", "a").await?;
    let api = region.api().await?;
    // 11 000 bytes as a person counts them, 66 000 as JSON of Go writes them.
    let metadata = annotated(&"<".repeat(11_000));
    let create = json!({
        "consumer_name": "cluster1",
        "metadata": metadata,
        "manifests": [config_map("b", "here")],
    });
    let path = format!("/resource-bundles/{id}");
    let change = json!({ "version": 1, "metadata": metadata });
    for (method, path, body) in [
        (Method::POST, "/resource-bundles", create),
        (Method::PATCH, path.as_str(), change),
    ] {
        let (status, text) = api.raw(method.clone(), path, Some(&body)).await?;
        ensure!(status == 400, "{method}: {status} {text}");
        ensure!(text.contains("metadata"), "{method} names no field: {text}");
        ensure!(text.len() < 2_000, "{method} repeats it: {text}");
    }
    goes_on(&mut region, "cluster1", "c").await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_older_bridge_stored_and_nobody_can_send_waits_with_its_reason_and_nothing_else_does()
-> Result<()> {
    let mut region = RegionBuilder::new("edges-stored", BrokerKind::Sandbox)
        .agents(2)
        .start()
        .await?;
    region.bridge.process().stop(PATIENCE).await?;
    let large = "x".repeat(PAYLOAD_BYTES);
    let half = "x".repeat(PAYLOAD_BYTES - 2_000);
    let stored = [
        // Past a property's 65 535 bytes once it is escaped.
        (
            "property",
            annotated(&"<".repeat(11_000)),
            config_map("a", ""),
        ),
        // Past the payload's 128 KiB.
        ("payload", json!({}), config_map("b", &large)),
        // Neither is too long, both together are.
        (
            "packet",
            annotated(&"x".repeat(40_000)),
            config_map("c", &half),
        ),
    ];
    let store = SqliteStore::open(region.database()).await?;
    for (id, metadata, manifest) in &stored {
        let new = NewBundle {
            id: (*id).into(),
            name: (*id).into(),
            source: SourceName::default(),
            consumer_name: link::id::ConsumerName::new("cluster1")?,
            metadata: Some(Json::from_value(metadata)),
            origin: None,
            content: Content {
                manifests: Json::from_value(&json!([manifest])),
                delete_option: None,
                manifest_configs: None,
                executer: None,
            },
        };
        store.create_bundle(new, peer_events::now()).await?;
    }
    store.close().await;
    drop(store);
    for round in ["first", "second"] {
        region.bridge.restart()?;
        region.bridge.ready().await?;
        for consumer in ["cluster1", "cluster2"] {
            goes_on(&mut region, consumer, &format!("{round}-{consumer}")).await?;
        }
        let api = region.api().await?;
        for (id, ..) in &stored {
            let reason = failure(&api, id).await?;
            ensure!(reason.contains("bytes"), "`{id}`: {reason}");
            ensure!(reason.len() < 1_000, "`{id}`: {reason}");
        }
        let page = region.bridge.metrics().await?;
        let connections = page.count("mqtt_connections_total", &[]);
        ensure!(connections == 1, "connected {connections} times");
        // Counted behind what is stored of each.
        let counted = wait_for("the count of what waits", PATIENCE, async || {
            let page = region.bridge.metrics().await?;
            let waiting = page.count("bridge_quarantined_bundles", &[]);
            ensure!(waiting == 3, "{waiting} wait");
            anyhow::Ok(())
        });
        counted.await?;
    }
    // Whoever reads the reason can mend the bundle, or take it away.
    let api = region.api().await?;
    let small = json!({ "version": 1, "metadata": {} });
    let answer = api
        .raw(Method::PATCH, "/resource-bundles/property", Some(&small))
        .await?;
    ensure!(answer.0 == 200, "{answer:?}");
    applied(&api, "property", 2).await?;
    api.delete_bundle("payload").await?;
    gone(&api, "payload").await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_bundles_that_the_api_takes_arrive_and_can_be_deleted() -> Result<()> {
    let mut region = RegionBuilder::new("edges-largest", BrokerKind::Sandbox)
        .without_quotas()
        .start()
        .await?;
    let api = region.api().await?;
    let note = |text: &str, value: &str| {
        json!({
            "consumer_name": "cluster1",
            "metadata": annotated(text),
            "manifests": [config_map("sized", value)],
        })
    };
    let plain = |bytes: usize| {
        let value = "x".repeat(bytes);
        json!({ "consumer_name": "cluster1", "manifests": [config_map("sized", &value)] })
    };
    let shapes: [(&str, &str, Shape<'_>); 5] = [
        (
            "letters",
            "metadata",
            Box::new(|n| note(&"x".repeat(n), "")),
        ),
        (
            "escapes",
            "metadata",
            Box::new(|n| note(&"<".repeat(n), "")),
        ),
        (
            "quotes",
            "metadata",
            Box::new(|n| note(&"\"".repeat(n), "")),
        ),
        ("payload", "manifests", Box::new(plain)),
        // With a payload of 100 000 bytes beside them.
        (
            "packet",
            "metadata",
            Box::new(|n| note(&"x".repeat(n), &"y".repeat(100_000))),
        ),
    ];
    let mut largest = Vec::new();
    for (shape, field, body) in &shapes {
        let size = bisect(&api, body).await?;
        let (status, text) = post(&api, &body(size + 1)).await?;
        ensure!(status == 400, "{shape} of {}: {status} {text}", size + 1);
        ensure!(text.contains(field), "{shape} names no field: {text}");
        ensure!(size > 1_000, "no more than {size} {shape} are taken");
        let mut body = body(size);
        // What the others declare is another object.
        body["manifests"][0]["metadata"]["name"] = format!("{shape:-<5.5}").into();
        largest.push((*shape, body));
    }
    let payload = json!({ "manifests": largest[3].1["manifests"] }).to_string();
    ensure!(
        payload.len() == PAYLOAD_BYTES,
        "the largest payload is {} bytes",
        payload.len()
    );
    let posting = &api;
    let ids = try_join_all(largest.iter().map(|(shape, body)| async move {
        let (status, text) = post(posting, body).await?;
        ensure!(status == 201, "{shape}: {status} {text}");
        let bundle: Value = serde_json::from_str(&text)?;
        anyhow::Ok(bundle["id"].as_str().unwrap_or_default().to_owned())
    }))
    .await?;
    for (id, (shape, body)) in ids.iter().zip(&largest) {
        applied(&api, id, 1)
            .await
            .with_context(|| shape.to_string())?;
        let manifest = &body["manifests"][0];
        let there = region.agent("cluster1")?.applied(manifest)?;
        ensure!(there.as_ref() == Some(manifest), "{shape}");
    }
    // A deletion says more than a creation, and must fit all the same.
    for id in &ids {
        api.delete_bundle(id).await?;
    }
    for id in &ids {
        gone(&api, id).await?;
    }
    for service in [
        &mut region.bridge,
        &mut region
            .agents
            .get_mut("cluster1")
            .context("it is there")?
            .service,
    ] {
        let page = service.metrics().await?;
        ensure!(page.count("mqtt_connections_total", &[]) == 1);
    }
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_property_of_65535_bytes_arrives_and_one_more_is_the_fault_of_its_message() -> Result<()>
{
    let mut region = RegionBuilder::new("edges-property", BrokerKind::Sandbox)
        .start()
        .await?;
    let mut peer = source(&region).await?;
    for (id, bytes, fits) in [
        ("longer", PROPERTY_BYTES + 1, false),
        ("longest", PROPERTY_BYTES, true),
    ] {
        let mut event = peer_events::spec("cluster1", id, 1, &[config_map(id, "here")]);
        event.metadata = Some(metadata_of(id, bytes));
        let message = encode(&event, source_topic("cluster1"));
        if fits {
            peer_events::publish(&peer, message).await?;
            status_of(&mut peer, id).await?;
            let there = region.agent("cluster1")?.applied(&config_map(id, ""))?;
            ensure!(there.is_some(), "`{id}` is not applied");
        } else {
            let sent = timeout(PATIENCE, peer.session.publish(message)).await?;
            ensure!(
                matches!(sent, Err(PublishError::Limit { .. })),
                "{:?}",
                sent.map(|_| "taken")
            );
        }
    }
    ensure!(peer.counter("mqtt_connections_total") == 1);
    goes_on(&mut region, "cluster1", "after").await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_status_beside_long_metadata_leaves_the_agent_and_holds_up_nothing() -> Result<()> {
    let mut region = RegionBuilder::new("edges-status", BrokerKind::Sandbox)
        .start()
        .await?;
    let mut peer = source(&region).await?;
    // Each object is a line of its own in the status, some 600 bytes: together more than one status may have.
    let manifests: Vec<Value> = (0..OBJECTS)
        .map(|number| config_map(&format!("object-{number}"), ""))
        .collect();
    let mut event = peer_events::spec("cluster1", "long", 1, &manifests);
    event.metadata = Some(metadata_of("long", METADATA_BYTES));
    peer_events::publish(&peer, encode(&event, source_topic("cluster1"))).await?;
    let agent = region.agent("cluster1")?;
    let last = agent.file_of(&manifests[OBJECTS - 1]);
    wait_for("the last object", PATIENCE, async || {
        last.exists().then_some(()).ok_or("not there")
    })
    .await?;
    goes_on(&mut region, "cluster1", "beside").await?;
    status_of(&mut peer, "long").await?;
    let page = region.agent("cluster1")?.service.metrics().await?;
    let connections = page.count("mqtt_connections_total", &[]);
    ensure!(connections == 1, "connected {connections} times");
    region.passed();
    Ok(())
}

/// Somebody who speaks like the source and hears the agent.
async fn source(region: &Region) -> Result<Client> {
    let peer = region.peer("source", &[&agent_topic("cluster1")])?;
    ensure!(peer.session.ready().await);
    Ok(peer)
}

/// Waits for a status of a bundle that says `Applied`.
async fn status_of(peer: &mut Client, id: &str) -> Result<()> {
    let heard = async {
        loop {
            let delivery = peer.inbound.recv().await.context("the session is open")?;
            let event = decode(&delivery.message)?;
            delivery.ack();
            let said = String::from_utf8_lossy(event.data_bytes()).contains("\"Applied\"");
            if said && event.resource_id.as_deref() == Some(id) {
                return anyhow::Ok(());
            }
        }
    };
    let heard = timeout(PATIENCE, heard).await;
    heard.with_context(|| format!("no status of `{id}` arrives"))?
}

/// The largest size that is taken; what was taken on the way is deleted again.
async fn bisect(api: &Api, body: impl Fn(usize) -> Value) -> Result<usize> {
    let (mut taken, mut refused) = (0, PAYLOAD_BYTES + 1);
    while taken + 1 < refused {
        let size = taken.midpoint(refused);
        let (status, text) = post(api, &body(size)).await?;
        match status {
            201 => {
                let bundle: Value = serde_json::from_str(&text)?;
                api.delete_bundle(bundle["id"].as_str().unwrap_or_default())
                    .await?;
                taken = size;
            }
            400 => refused = size,
            _ => anyhow::bail!("{size}: {status} {text}"),
        }
    }
    Ok(taken)
}

async fn post(api: &Api, body: &Value) -> Result<(u16, String)> {
    Ok(api
        .raw(Method::POST, "/resource-bundles", Some(body))
        .await?)
}

fn annotated(note: &str) -> Value {
    json!({ "annotations": { "note": note } })
}

/// An ObjectMeta whose text has exactly this length.
fn metadata_of(id: &str, bytes: usize) -> String {
    let meta =
        |note: &str| json!({ "name": id, "uid": id, "annotations": { "note": note } }).to_string();
    meta(&"x".repeat(bytes - meta("").len()))
}

// MQTT counts the bytes of a property in sixteen bits.
const PROPERTY_BYTES: usize = 65_535;
const METADATA_BYTES: usize = 60_000;
const OBJECTS: usize = 400;

/// A bundle of a size.
type Shape<'a> = Box<dyn Fn(usize) -> Value + 'a>;
