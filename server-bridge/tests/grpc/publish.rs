//! Publishing: what is stored, and what is told of what is not.

use server_bridge::store::Store;
use tonic::Code;

use crate::client::proto::cloud_event::Data;
use crate::client::proto::cloud_event_attribute_value::Attr;
use crate::client::proto::{CloudEvent, CloudEventAttributeValue};
use crate::client::{DATA_TYPE, bundle, refused};
use crate::server::Server;

#[tokio::test]
async fn a_bundle_is_made_changed_and_deleted_as_its_source_says() {
    let server = Server::start().await;
    let source = server.source("mw-client").await;
    source.create("b1", "1").await.unwrap();
    // The answer was lost, the client tries again.
    source.create("b1", "1").await.unwrap();
    let stored = server.store.get_bundle("b1").await.unwrap().unwrap();
    assert_eq!(stored.source.as_str(), "mw-client");
    assert_eq!((stored.name.as_str(), stored.version.get()), ("b1", 1));
    assert_eq!(
        stored.metadata.unwrap().as_str(),
        r#"{"labels":{"app":"web"},"name":"work-b1","namespace":"c1"}"#
    );
    let manifests = stored.content.unwrap().manifests.to_value();
    assert_eq!(manifests, bundle("1")["manifests"]);
    let origin = stored.origin.unwrap().to_value();
    assert_eq!(origin["extensions"]["logtracing"], "{}");

    source.update("b1", 0, "2").await.unwrap();
    source.update("b1", 2, "3").await.unwrap();
    let stored = server.store.get_bundle("b1").await.unwrap().unwrap();
    assert_eq!(stored.version.get(), 3);
    for _ in 0..2 {
        source.delete("b1").await.unwrap();
    }
    source.delete("b2").await.unwrap();
    let stored = server.store.get_bundle("b1").await.unwrap().unwrap();
    assert!(stored.deleted_at.is_some());
}

#[tokio::test]
async fn every_refusal_is_what_go_clients_parse_with_a_fitting_code() {
    let server = Server::start().await;
    let (source, other) = (server.source("a").await, server.source("b").await);
    source.create("b1", "1").await.unwrap();
    source.update("b1", 1, "2").await.unwrap();
    source.create("gone", "1").await.unwrap();
    source.delete("gone").await.unwrap();
    let mut nowhere = source.event("spec.create_request", "b2", 0, Some(bundle("1")));
    nowhere.attributes.insert(
        "ce-clustername".into(),
        CloudEventAttributeValue {
            attr: Some(Attr::CeString("c9".into())),
        },
    );
    let mut nameless = source.event("spec.create_request", "b2", 0, Some(bundle("1")));
    nameless.source.clear();
    let response = source.event("spec.resync_response", "b2", 0, Some(bundle("1")));
    let mut foreign = source.event("spec.create_request", "b2", 0, Some(bundle("1")));
    foreign.r#type =
        "io.open-cluster-management.works.v1alpha1.manifests.spec.create_request".into();
    let told = [
        refused(source.update("b1", 1, "3").await),
        refused(source.update("none", 0, "3").await),
        refused(source.update("gone", 0, "3").await),
        refused(source.create("b1", "9").await),
        refused(other.create("b1", "2").await),
        refused(other.update("b1", 0, "3").await),
        refused(source.send(nowhere).await),
        refused(source.send(nameless).await),
        refused(source.send(response).await),
        refused(source.send(foreign).await),
        refused(source.send(CloudEvent::default()).await),
    ];
    insta::assert_snapshot!(told.join("\n"), @r#"
Aborted Conflict 409: the resource version is not the latest, the latest version: 2
NotFound NotFound 404: resource bundle `none` does not exist
Aborted Conflict 409: the resource is under deletion, id: gone
AlreadyExists AlreadyExists 409: resource bundle `b1` already exists with another content
AlreadyExists AlreadyExists 409: resource bundle `b1` already exists
NotFound NotFound 404: resource bundle `b1` does not exist
InvalidArgument Invalid 422: consumer `c9` is not registered (violates foreign key constraint "fk_resources_consumers"); register it with `POST /api/maestro/v1/consumers`
InvalidArgument Invalid 422: source `` is empty
InvalidArgument Invalid 422: type: `io.open-cluster-management.works.v1alpha1.manifestbundles.spec.resync_response` is not taken here; sources publish `io.open-cluster-management.works.v1alpha1.manifestbundles` with `spec.create_request`, `spec.update_request`, `spec.delete_request` or `status.resync_request`
InvalidArgument Invalid 422: type: `io.open-cluster-management.works.v1alpha1.manifests.spec.create_request` is not taken here; sources publish `io.open-cluster-management.works.v1alpha1.manifestbundles` with `spec.create_request`, `spec.update_request`, `spec.delete_request` or `status.resync_request`
InvalidArgument Invalid 422: `ce-specversion` is ``, not `1.0`
"#);
}

#[tokio::test]
async fn what_is_refused_before_a_handler_is_json_too() {
    let server = Server::start().await;
    let source = server.source("a").await;
    let publish = "/io.cloudevents.v1.CloudEventService/Publish";
    let compressed = source.call(publish, "gzip").await;
    let encodings = compressed.as_ref().unwrap_err().metadata().clone();
    assert_eq!(encodings.get("grpc-accept-encoding").unwrap(), "identity");
    let told = [
        refused(compressed),
        refused(
            source
                .call("/io.cloudevents.v1.CloudEventService/Get", "identity")
                .await,
        ),
        refused(
            source
                .call("/io.cloudevents.v2.Other/Get", "identity")
                .await,
        ),
    ];
    insta::assert_snapshot!(told.join("\n"), @r"
Unimplemented UnsupportedMediaType 415: Content is compressed with `gzip` which isn't supported
Unimplemented MethodNotAllowed 405: there is no such method; `io.cloudevents.v1.CloudEventService` has `Publish` and `Subscribe`
Unimplemented MethodNotAllowed 405: there is no such method; `io.cloudevents.v1.CloudEventService` has `Publish` and `Subscribe`
");
}

#[tokio::test]
async fn an_update_that_is_sent_again_succeeds_until_the_bundle_changes() {
    let server = Server::start().await;
    let source = server.source("a").await;
    source.create("b1", "1").await.unwrap();
    let update = source.event("spec.update_request", "b1", 1, Some(bundle("2")));
    for _ in 0..2 {
        source.send(update.clone()).await.unwrap();
    }
    let version = async || {
        server
            .store
            .get_bundle("b1")
            .await
            .unwrap()
            .unwrap()
            .version
    };
    assert_eq!(version().await.get(), 2);
    let mut other = update.clone();
    other.data = Some(Data::BinaryData(bundle("3").to_string().into()));
    let told = [
        // Another change from the same version, by its content and by its event.
        refused(source.send(other).await),
        refused(source.update("b1", 1, "2").await),
    ];
    insta::assert_snapshot!(told.join("\n"), @r"
Aborted Conflict 409: the resource version is not the latest, the latest version: 2
Aborted Conflict 409: the resource version is not the latest, the latest version: 2
");
    source.update("b1", 2, "3").await.unwrap();
    insta::assert_snapshot!(refused(source.send(update).await), @"Aborted Conflict 409: the resource version is not the latest, the latest version: 3");
    assert_eq!(version().await.get(), 3);
}

#[tokio::test]
async fn a_message_is_read_up_to_four_mebibytes_and_refused_one_byte_past() {
    let server = Server::start().await;
    let source = server.source("a").await;
    let sized = |length: usize| {
        let mut event = source.event("spec.create_request", "b1", 0, None);
        let data = vec![b' '; length];
        event.data = Some(Data::BinaryData(data.into()));
        event
    };
    // Beside the data: its own tag and length, and those of the event in its request.
    let around = prost::Message::encoded_len(&sized(0)) - 2 + 2 * (1 + 4);
    let most = server_bridge::grpc::MESSAGE_BYTES - around;
    let read = refused(source.send(sized(most)).await);
    insta::assert_snapshot!(read.replace(&most.to_string(), "N"), @"InvalidArgument Invalid 422: data: N bytes, and a bundle has 2097152 at most");
    insta::assert_snapshot!(refused(source.send(sized(most + 1)).await), @"ResourceExhausted RequestEntityTooLarge 413: the message is longer than 4194304 bytes");
    // And the connection is as good as before.
    source.create("b1", "1").await.unwrap();
}

#[tokio::test]
async fn a_bundle_that_agents_refuse_is_refused_with_everything_that_is_wrong() {
    let server = Server::start().await;
    let source = server.source("a").await;
    let mut data = bundle("1");
    data["manifests"][0]["metadata"]["generateName"] = "x".into();
    data["deleteOption"] = serde_json::json!({"propagationPolicy": "Never"});
    let event = source.event("spec.create_request", "b1", 0, Some(data));
    insta::assert_snapshot!(refused(source.send(event).await), @"InvalidArgument Invalid 422: manifests[0].metadata.generateName: must not be set; delete_option.propagationPolicy: must be one of `Foreground`, `Orphan`, `SelectivelyOrphan`");
    let long = "x".repeat(140_000);
    let too_long = source.create("b1", &long).await.unwrap_err();
    assert_eq!(too_long.code(), Code::InvalidArgument);
    assert!(server.store.get_bundle("b1").await.unwrap().is_none());
}

#[tokio::test]
async fn a_structured_event_and_text_instead_of_numbers_are_taken() {
    let server = Server::start().await;
    let source = server.source("a").await;
    let attribute = |text: &str| CloudEventAttributeValue {
        attr: Some(Attr::CeString(text.into())),
    };
    let mut event = source.event("spec.create_request", "b1", 0, Some(bundle("1")));
    event
        .attributes
        .insert("ce-resourceversion".into(), attribute("0"));
    event
        .attributes
        .insert("ce-time".into(), attribute("2026-08-01T10:00:00Z"));
    source.send(event).await.unwrap();
    let structured = serde_json::json!({
        "specversion": "1.0", "id": "1", "source": "a", "type": format!("{DATA_TYPE}.spec.update_request"),
        "datacontenttype": "application/json", "clustername": "c1", "resourceid": "b1", "resourceversion": 1,
        "data": bundle("2"),
    });
    let mut event = source.event("spec.update_request", "", 0, None);
    event.attributes = [(
        "contenttype".to_owned(),
        attribute("application/cloudevents+json"),
    )]
    .into();
    event.data = Some(Data::BinaryData(structured.to_string().into()));
    source.send(event).await.unwrap();
    let stored = server.store.get_bundle("b1").await.unwrap().unwrap();
    assert_eq!(stored.version.get(), 2);
}

#[tokio::test]
async fn calls_are_counted_under_maestros_names() {
    let server = Server::start().await;
    let source = server.source("a").await;
    source.create("b1", "1").await.unwrap();
    source.update("b1", 9, "1").await.unwrap_err();
    let stream = source.follow().await;
    for (line, value) in [
        (
            "grpc_server_called_total{source=\"a\",type=\"Publish\"}",
            2.0,
        ),
        (
            "grpc_server_processed_total{code=\"OK\",source=\"a\",type=\"Publish\"}",
            1.0,
        ),
        (
            "grpc_server_processed_total{code=\"Aborted\",source=\"a\",type=\"Publish\"}",
            1.0,
        ),
        (
            "grpc_server_processed_duration_seconds_count{source=\"a\",type=\"Publish\"}",
            2.0,
        ),
        (
            "grpc_server_message_received_total{source=\"a\",type=\"Publish\"}",
            2.0,
        ),
        (
            "grpc_server_called_total{source=\"a\",type=\"Subscribe\"}",
            1.0,
        ),
        ("grpc_server_registered_source_clients{source=\"a\"}", 1.0),
    ] {
        assert_eq!(server.metric(line), value, "{line}");
    }
    drop(stream);
    crate::server::eventually(async || {
        match server.metric("grpc_server_registered_source_clients{source=\"a\"}") {
            0.0 => Ok(()),
            other => Err(other),
        }
    })
    .await;
}
