//! What somebody may take whom nobody knows, or who sends half of something: others are served as before.

use std::time::Duration;

use server_bridge::callers::Access;
use server_bridge::grpc::GrpcOptions;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tonic::Code;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::client::{PATIENCE, bundle, refused, worded};
use crate::server::{Place, Server, quick};

/// Whether the other end closes a connection, and after how long.
async fn closed(socket: &mut TcpStream) -> Duration {
    let began = Instant::now();
    let mut read = [0; 1024];
    let closing = async { while let Ok(1..) = socket.read(&mut read).await {} };
    timeout(PATIENCE, closing).await.expect("it is closed");
    began.elapsed()
}

#[tokio::test]
async fn a_question_for_health_is_short() {
    let server = Server::start().await;
    let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    let mut client = HealthClient::new(endpoint.connect().await.unwrap());
    // Its tag and length take three bytes.
    for (length, code) in [(4093, Code::NotFound), (4094, Code::OutOfRange)] {
        let service = "x".repeat(length);
        let asked = client.check(HealthCheckRequest { service }).await;
        assert_eq!(asked.unwrap_err().code(), code, "{length}");
    }
}

#[tokio::test]
async fn silent_connections_give_way_to_one_that_calls_and_end_by_themselves() {
    let server = Server::few_connections(4).await;
    let connect = || TcpStream::connect(&server.address);
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(connect().await.unwrap());
    }
    let source = server.source("a").await;
    source.create("b1", "1").await.unwrap();
    let mut stream = source.follow().await;
    assert!(closed(&mut silent[0]).await < Duration::from_secs(8));
    // And however many more come, it stays.
    for _ in 0..8 {
        silent.push(connect().await.unwrap());
    }
    stream.silent(3).await;
    let mut last = silent.pop().unwrap();
    assert!(closed(&mut last).await < Duration::from_secs(15));
    server.report("b1", "heard").await;
    assert_eq!(stream.status().await.unwrap().said(), "heard");
}

#[tokio::test]
async fn a_watch_of_health_and_a_silent_connection_delay_no_stop() {
    let server = Server::start().await;
    let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    let mut client = HealthClient::new(endpoint.connect().await.unwrap());
    let watching = client.watch(HealthCheckRequest::default()).await.unwrap();
    let mut watching = watching.into_inner();
    watching.message().await.unwrap();
    let _silent = TcpStream::connect(&server.address).await.unwrap();
    let began = Instant::now();
    server.stopped().await;
    // What is cut only at the end of the grace takes ten.
    assert!(began.elapsed() < Duration::from_secs(9));
}

#[tokio::test]
async fn who_is_not_known_watches_health_a_few_times_on_a_connection_and_no_more() {
    let server = Server::start().await;
    let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    let client = HealthClient::new(endpoint.connect().await.unwrap());
    let watch = async || {
        let mut client = client.clone();
        client.watch(HealthCheckRequest::default()).await
    };
    let mut watching = Vec::new();
    for _ in 0..16 {
        watching.push(watch().await.unwrap().into_inner());
    }
    insta::assert_snapshot!(refused(watch().await.map(|_| ())), @"Unavailable ServiceUnavailable 503: too many questions for health on this connection");
    for stream in &mut watching {
        assert!(stream.message().await.unwrap().is_some());
    }
    watching.clear();
    let deadline = Instant::now() + PATIENCE;
    while watch().await.is_err() {
        assert!(
            Instant::now() < deadline,
            "a watch that ended keeps its place"
        );
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn messages_that_do_not_end_take_a_share_of_the_places_and_are_given_up() {
    let server = Server::start().await;
    let source = server.source("a").await;
    let mut attempts = Vec::new();
    // A machine that has other things to do may be late once.
    while attempts
        .last()
        .is_none_or(|took| *took >= Duration::from_secs(4))
    {
        assert!(attempts.len() < 8, "{attempts:?}");
        let halves: Vec<_> = {
            let source = server.source("half").await;
            let sent = (0..40).map(|_| {
                let source = source.clone();
                tokio::spawn(async move { source.half().await })
            });
            sent.collect()
        };
        let began = Instant::now();
        let name = format!("b{}", attempts.len());
        source.create(&name, "1").await.unwrap();
        attempts.push(began.elapsed());
        let mut late = 0;
        for half in halves {
            let told = worded(&half.await.unwrap().unwrap_err());
            if told == "Unavailable ServiceUnavailable 503: the message was not there within 5 s" {
                late += 1;
            } else {
                assert!(told.contains("have begun and are not there yet"), "{told}");
            }
        }
        assert!(late >= 8, "{late}");
    }
}

#[tokio::test]
async fn connections_whose_messages_do_not_end_give_way_to_a_new_one() {
    let server = Server::few_connections(4).await;
    let mut halves = Vec::new();
    for _ in 0..4 {
        let source = server.source("half").await;
        halves.push(tokio::spawn(async move { source.half().await }));
    }
    // So that all of them have begun.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let source = server.source("a").await;
    source.create("b1", "1").await.unwrap();
    let mut stream = source.follow().await;
    stream.silent(1).await;
    assert!(halves.remove(0).await.unwrap().is_err());
}

#[tokio::test]
async fn data_with_more_values_than_can_be_stored_is_refused_before_it_is_read() {
    let place = Place::sqlite();
    let server = Server::over(
        place.open().await,
        GrpcOptions { ..quick() },
        Access::open(),
    )
    .await;
    let source = server.source("a").await;
    let listed = |count: usize| {
        let mut data = bundle("1");
        data["manifests"][0]["list"] = vec![0; count].into();
        source.event("spec.create_request", "b1", 0, Some(data))
    };
    insta::assert_snapshot!(refused(source.send(listed(70_000)).await), @"InvalidArgument Invalid 422: data: more than 65536 JSON values, which no bundle has");
    if let Err(status) = source.send(listed(65_000)).await {
        let told = worded(&status);
        assert!(!told.contains("JSON values"), "{told}");
    }
    source.create("b2", "1").await.unwrap();
}
