//! Streams: what is told, to whom, and how often.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::json;
use server_bridge::grpc::GrpcOptions;
use tokio::time::Instant;

use crate::client::proto::cloud_event_attribute_value::Attr;
use crate::client::{DATA_TYPE, HEARTBEAT, PATIENCE, bundle, string};
use crate::server::Server;

#[tokio::test]
async fn a_stream_begins_with_its_id_and_a_heartbeat_and_goes_on_with_heartbeats() {
    let server = Server::with(GrpcOptions {
        heartbeat: Duration::from_millis(500),
        ..GrpcOptions::default()
    })
    .await;
    let source = server.source("a").await;
    let began = Instant::now();
    let mut stream = source.follow().await;
    let [id] = stream.subscription.as_slice() else {
        panic!("{:?}", stream.subscription);
    };
    uuid::Uuid::parse_str(id).unwrap();
    for beat in 0..4 {
        let event = stream.any().await.unwrap();
        assert_eq!(
            (event.r#type.as_str(), event.source.as_str()),
            (HEARTBEAT, "")
        );
        assert!(event.attributes.is_empty() && event.data.is_none());
        let least = Duration::from_millis(350) * beat;
        assert!(
            began.elapsed() >= least,
            "beat {beat} after {:?}",
            began.elapsed()
        );
    }
}

#[tokio::test]
async fn a_status_is_told_with_all_that_a_manifest_work_is_made_of() {
    let server = Server::start().await;
    let source = server.source("mw-client").await;
    let mut stream = source.follow().await;
    source.create("b1", "1").await.unwrap();
    server.report("b1", "first").await;
    let told = stream.status().await.unwrap();
    assert_eq!(
        told.event.r#type,
        format!("{DATA_TYPE}.status.update_request")
    );
    assert_eq!(told.event.source, "c1-work-agent");
    for (name, value) in [
        ("contenttype", "application/json"),
        ("ce-resourceid", "b1"),
        ("ce-clustername", "c1"),
        ("ce-originalsource", "mw-client"),
        ("ce-statushash", "hash of first"),
        (
            "ce-metadata",
            r#"{"labels":{"app":"web"},"name":"work-b1","namespace":"c1"}"#,
        ),
    ] {
        assert_eq!(string(&told.event, name), value, "{name}");
    }
    assert!(string(&told.event, "ce-sequenceid").parse::<i64>().unwrap() > 0);
    let version = &told.event.attributes["ce-resourceversion"].attr;
    assert_eq!(*version, Some(Attr::CeInteger(1)));
    assert_eq!(told.said(), "first");
    assert_eq!(told.data["resourceStatus"], json!([]));
    assert_eq!(told.data["manifestBundle"], bundle("1"));

    source.delete("b1").await.unwrap();
    server.confirm_deletion("b1").await;
    let told = stream.status().await.unwrap();
    assert_eq!(told.data["conditions"][0]["type"], "Deleted");
    assert_eq!(told.id, "b1");
}

#[tokio::test]
async fn a_new_stream_repeats_the_last_quarter_of_an_hour_and_nothing_older() {
    let server = Server::start().await;
    let source = server.source("a").await;
    for (id, minutes) in [("old", 16), ("recent", 14), ("new", 0), ("gone", 5)] {
        source.create(id, "1").await.unwrap();
        server
            .report_ago(id, id, SignedDuration::from_mins(minutes))
            .await;
    }
    source.create("silent", "1").await.unwrap();
    source.delete("gone").await.unwrap();
    server.confirm_deletion("gone").await;
    server.settled().await;
    let mut stream = source.follow().await;
    let mut told = BTreeMap::new();
    while told.len() < 3 {
        let status = stream.status().await.unwrap();
        told.insert(status.id.clone(), status.said().to_owned());
    }
    let expected = [("gone", "gone"), ("new", "new"), ("recent", "recent")];
    assert_eq!(
        told,
        expected.map(|(id, said)| (id.into(), said.into())).into()
    );
    stream.silent(5).await;
}

#[tokio::test]
async fn a_bundle_that_changes_all_the_time_is_told_ten_times_a_second_at_most_and_last_as_it_is() {
    let server = Server::start().await;
    let source = server.source("a").await;
    source.create("b1", "1").await.unwrap();
    let mut stream = source.follow().await;
    stream.silent(1).await;
    let began = Instant::now();
    for turn in 0..=100 {
        server.report("b1", &turn.to_string()).await;
    }
    let mut told = 1;
    while stream.status().await.unwrap().said() != "100" {
        told += 1;
    }
    // What the store showed before the news of it came is told once more, and nothing older.
    for again in stream.until_silent(5).await {
        assert_eq!(again.said(), "100");
        told += 1;
    }
    let most = began.elapsed().as_millis() / 100 + 2;
    assert!(told <= most, "{told} in {:?}", began.elapsed());
}

#[tokio::test]
async fn each_of_a_hundred_sources_hears_of_its_own_bundles_alone() {
    let server = Server::start().await;
    let mut streams = Vec::new();
    for number in 0..100 {
        let source = server.source(&format!("s{number}")).await;
        source.create(&format!("b{number}"), "1").await.unwrap();
        streams.push(source.follow().await);
    }
    for number in 0..100 {
        let id = format!("b{number}");
        server.report(&id, &id).await;
    }
    for (number, stream) in streams.iter_mut().enumerate() {
        let told = stream.status().await.unwrap();
        assert_eq!(told.id, format!("b{number}"));
    }
    let more = streams[7].until_silent(3).await;
    assert!(more.iter().all(|told| told.id == "b7"));
}

#[tokio::test]
async fn a_resync_is_answered_on_the_streams_of_its_source_with_what_differs_or_all() {
    let server = Server::start().await;
    let (source, other) = (server.source("a").await, server.source("b").await);
    for id in ["b1", "b2", "b3"] {
        source.create(id, "1").await.unwrap();
        server
            .report_ago(id, "x", SignedDuration::from_mins(60))
            .await;
    }
    other.create("theirs", "1").await.unwrap();
    server
        .report_ago("theirs", "x", SignedDuration::from_mins(60))
        .await;
    server.settled().await;
    let (mut stream, mut theirs) = (source.follow().await, other.follow().await);
    stream.silent(3).await;
    let held = [
        ("b1", "hash of x"),
        ("b2", "another"),
        ("none", ""),
        ("theirs", "another"),
    ];
    source.resync(&held).await.unwrap();
    assert_eq!(stream.status().await.unwrap().id, "b2");
    stream.silent(3).await;
    source.resync(&[]).await.unwrap();
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(stream.status().await.unwrap().id);
    }
    told.sort();
    assert_eq!(told, ["b1", "b2", "b3"]);
    stream.silent(3).await;
    theirs.silent(3).await;
}

#[tokio::test]
async fn what_is_told_once_more_is_the_bundle_as_it_is_now() {
    let server = Server::start().await;
    let source = server.source("a").await;
    source.create("b1", "1").await.unwrap();
    let mut stream = source.follow().await;
    // It has repeated what there was: what comes is news, and remembered.
    stream.silent(2).await;
    server.report("b1", "first").await;
    let told = stream.status().await.unwrap();
    assert_eq!(told.data["manifestBundle"], bundle("1"));
    for (turn, (data, name)) in [("2", "two"), ("3", "three")].into_iter().enumerate() {
        let mut update = source.event("spec.update_request", "b1", 0, Some(bundle(data)));
        let metadata = Attr::CeString(json!({"name": name}).to_string());
        update.attributes.get_mut("ce-metadata").unwrap().attr = Some(metadata);
        source.send(update).await.unwrap();
        if turn == 0 {
            stream = source.follow().await;
        } else {
            source.resync(&[("b1", "another")]).await.unwrap();
        }
        let told = stream.status().await.unwrap();
        assert_eq!(told.data["manifestBundle"], bundle(data));
        let metadata = json!({"name": name}).to_string();
        assert_eq!(string(&told.event, "ce-metadata"), metadata);
        assert_eq!(told.said(), "first");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_connects_again_and_again_in_a_burst_has_seen_every_last_state() {
    let server = Server::start().await;
    let source = server.source("a").await;
    for number in 0..BUNDLES {
        source.create(&format!("b{number}"), "1").await.unwrap();
    }
    let burst = async {
        for turn in 0..TURNS {
            for number in 0..BUNDLES {
                server
                    .report(&format!("b{number}"), &turn.to_string())
                    .await;
            }
        }
    };
    let watch = async {
        let mut seen = BTreeMap::new();
        let deadline = Instant::now() + PATIENCE;
        let mut streams = 0;
        loop {
            // Each stream reads little, so that most are lost with something on the way.
            let mut stream = source.follow().await;
            streams += 1;
            for _ in 0..BUNDLES / 2 {
                let told = stream.status().await.unwrap();
                seen.insert(told.id.clone(), told.said().to_owned());
            }
            let last = (TURNS - 1).to_string();
            if streams > 5 && seen.len() == BUNDLES && seen.values().all(|said| *said == last) {
                return;
            }
            if streams > 5 {
                // What is left comes on this one, without another repetition.
                while seen.len() < BUNDLES || seen.values().any(|said| *said != last) {
                    let told = stream.status().await.unwrap();
                    seen.insert(told.id.clone(), told.said().to_owned());
                    assert!(Instant::now() < deadline, "{seen:?}");
                }
                return;
            }
        }
    };
    tokio::join!(burst, watch);
}

const BUNDLES: usize = 40;
const TURNS: usize = 25;
