//! What callers may take: connections end, readers that do not read are cut, nothing is told to whom nobody knows.

use std::time::Duration;

use jiff::SignedDuration;
use link::admin::Checks;
use link::clock::Clock;
use prometheus::Registry;
use server_bridge::callers::{self, Access};
use server_bridge::grpc::GrpcOptions;
use server_bridge::store::Store;
use tokio::time::Instant;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

use crate::client::{Source, refused, worded};
use crate::server::{Place, Server, eventually, quick};

async fn channel(server: &Server) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    endpoint.connect().await.unwrap()
}

async fn health(channel: Channel, service: &str) -> ServingStatus {
    let request = HealthCheckRequest {
        service: service.into(),
    };
    let answer = HealthClient::new(channel).check(request).await.unwrap();
    answer.into_inner().status()
}

async fn services(channel: Channel) -> Result<Vec<String>, tonic::Status> {
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let requests = futures_util::stream::iter([request]);
    let mut client = ServerReflectionClient::new(channel);
    let mut answers = client.server_reflection_info(requests).await?.into_inner();
    let answer = format!("{:?}", answers.message().await?.unwrap());
    let known = [
        "io.cloudevents.v1.CloudEventService",
        "grpc.health.v1.Health",
    ];
    let known = known.into_iter().filter(|name| answer.contains(name));
    Ok(known.map(str::to_owned).collect())
}

#[tokio::test]
async fn health_is_not_serving_while_the_store_is_away() {
    let server = Server::start().await;
    let channel = channel(&server).await;
    let names = ["", "io.cloudevents.v1.CloudEventService"];
    for name in names {
        eventually(async || match health(channel.clone(), name).await {
            ServingStatus::Serving => Ok(()),
            other => Err(other),
        })
        .await;
    }
    server.store.close().await;
    for name in names {
        eventually(async || match health(channel.clone(), name).await {
            ServingStatus::NotServing => Ok(()),
            other => Err(other),
        })
        .await;
    }
}

#[tokio::test]
async fn services_are_listed_only_where_that_is_wanted() {
    let server = Server::start().await;
    let refused = services(channel(&server).await).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    let server = Server::with(GrpcOptions {
        reflection: true,
        ..quick()
    })
    .await;
    let listed = services(channel(&server).await).await.unwrap();
    assert_eq!(listed.len(), 2, "{listed:?}");
}

#[tokio::test]
async fn nothing_but_health_is_answered_before_the_caller_is_known() {
    let place = Place::sqlite();
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.crt");
    let key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    std::fs::write(&ca, authority.self_signed(&key).unwrap().pem()).unwrap();
    let callers = callers::CallersConfig {
        client_ca: Some(ca),
        ..callers::CallersConfig::default()
    };
    let (registry, checks) = (Registry::new(), Checks::new());
    let built = callers.build(Clock::system(), &registry, &checks);
    let access: Access = built.await.unwrap().access;
    let options = GrpcOptions {
        reflection: true,
        ..quick()
    };
    let server = Server::over(place.open().await, options, access).await;
    let source = server.source("a").await;
    let told = [
        refused(source.create("b1", "1").await),
        refused(source.try_follow().await.map(|_| ())),
        refused(services(channel(&server).await).await.map(|_| ())),
    ];
    for told in told {
        assert!(
            told.starts_with("Unauthenticated Unauthorized 401: "),
            "{told}"
        );
    }
    eventually(async || match health(channel(&server).await, "").await {
        ServingStatus::Serving => Ok(()),
        other => Err(other),
    })
    .await;
}

#[tokio::test]
async fn a_connection_ends_at_its_age_and_its_client_goes_on_with_another() {
    let server = Server::with(GrpcOptions {
        max_connection_age: Some(Duration::from_secs(2)),
        ..quick()
    })
    .await;
    let began = Instant::now();
    let source = server.source("a").await;
    source.create("b1", "1").await.unwrap();
    let mut stream = source.follow().await;
    let ended = loop {
        if let Err(status) = stream.any().await {
            break status;
        }
    };
    insta::assert_snapshot!(worded(&ended), @"Unavailable ServiceUnavailable 503: this connection is at its end, so that clients spread over the servers; connect again");
    let lasted = began.elapsed();
    assert!(lasted > Duration::from_millis(1500), "{lasted:?}");
    server.report("b1", "after").await;
    // The other one ends at its age too.
    let told = loop {
        if let Ok(told) = source.follow().await.status().await {
            break told;
        }
    };
    assert_eq!(told.said(), "after");
}

#[tokio::test]
async fn streams_end_when_the_server_stops_and_it_waits_for_them() {
    let server = Server::start().await;
    let source = server.source("a").await;
    let mut stream = source.follow().await;
    stream.silent(1).await;
    server.stop();
    let ended = loop {
        if let Err(status) = stream.any().await {
            break status;
        }
    };
    assert_eq!(ended.code(), Code::Unavailable);
    drop((stream, source));
    server.stopped().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_does_not_read_is_cut_and_delays_nobody() {
    let server = Server::start().await;
    let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    let lazy = Source::over(endpoint.initial_stream_window_size(65_535), "lazy").await;
    let other = server.source("other").await;
    let long = "x".repeat(100_000);
    for number in 0..20 {
        lazy.create(&format!("b{number}"), &long).await.unwrap();
        server
            .report_ago(&format!("b{number}"), "x", SignedDuration::ZERO)
            .await;
    }
    other.create("quick", "1").await.unwrap();
    let mut reading = other.follow().await;
    // Never read: two megabytes do not fit into what HTTP/2 takes ahead.
    let mut stuck = lazy.follow().await;
    // As behind a proxy: somebody else's stream on the same connection.
    let beside = lazy.beside("beside");
    beside.create("innocent", "1").await.unwrap();
    let mut innocent = beside.follow().await;
    let gauge = "grpc_server_registered_source_clients{source=\"lazy\"}";
    assert_eq!(server.metric(gauge), 1.0);
    let began = Instant::now();
    let mut turn = 0;
    while server.metric(gauge) > 0.0 {
        turn += 1;
        server.report("quick", &turn.to_string()).await;
        let told = reading.until(|told| told.said() == turn.to_string()).await;
        assert_eq!(told.id, "quick");
        assert!(began.elapsed() < Duration::from_secs(60), "it is not cut");
    }
    assert!(began.elapsed() >= Duration::from_secs(20));
    // It was reset alone.
    let reset = loop {
        if let Err(status) = stuck.any().await {
            break status;
        }
    };
    assert_eq!(reset.code(), Code::Cancelled, "{reset:?}");
    server.report("innocent", "still there").await;
    assert_eq!(innocent.status().await.unwrap().said(), "still there");
    drop((stuck, innocent));
    // What the reader missed is told to the next stream.
    let mut again = lazy.follow().await;
    for _ in 0..20 {
        again.status().await.unwrap();
    }
}
