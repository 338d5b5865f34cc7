//! The registry acts on live connections (points 18 and 19 of docs/IOT-CORE.md §2), and survives a restart.

use std::time::Duration;

use link::iot::{Document, Thing};
use rmqtt_codec::v3;
use rmqtt_codec::v5::{self, DisconnectReasonCode, PublishAckReason};
use sandbox::broker::{CertificateState, Registry, RegistryError};
use serde_json::Value;

use super::client::V5;
use super::rig::{Rig, connect3, connect5, policy};

#[tokio::test(start_paused = true)]
async fn point_18_a_certificate_that_leaves_active_ends_its_connections_and_no_others() {
    for state in [CertificateState::Inactive, CertificateState::Revoked] {
        let rig = Rig::new().await;
        let (_, other) = rig.register("other", policy(&[("iot:*", "*")]));
        let mut stays = rig.v5_as("stays", &other).await;
        let mut goes = rig.v5("goes").await;
        let (mut also, _) = rig.v3("also", true).await;
        rig.broker
            .registry()
            .set_state(&rig.certificate, state)
            .unwrap();
        assert_eq!(
            goes.disconnected().await,
            DisconnectReasonCode::NotAuthorized
        );
        assert!(also.recv().await.is_none());
        assert_eq!(stays.publish("t", "x").await, PublishAckReason::Success);
    }
}

#[tokio::test(start_paused = true)]
async fn policy_edits_act_at_once_on_live_connections() {
    let rig = Rig::new().await;
    let (_, certificate) = rig.register("p", policy(&[("iot:Connect", "client/*")]));
    let mut client = rig.v5_as("a", &certificate).await;
    let registry = rig.broker.registry();
    assert_eq!(
        client.publish("t", "x").await,
        PublishAckReason::NotAuthorized
    );
    registry.attach_policy(&certificate, "all").unwrap();
    assert_eq!(client.publish("t", "x").await, PublishAckReason::Success);
    registry.detach_policy(&certificate, "all").unwrap();
    assert_eq!(
        client.publish("t", "x").await,
        PublishAckReason::NotAuthorized
    );
}

#[tokio::test(start_paused = true)]
async fn thing_and_certificate_variables_resolve() {
    let rig = Rig::new().await;
    let grants = [
        ("iot:Connect", "client/${iot:Connection.Thing.ThingName}"),
        (
            "iot:Publish",
            "topic/${iot:Certificate.Subject.CommonName}/*",
        ),
    ];
    let (_, certificate) = rig.register("cn", policy(&grants));
    let pipe = || rig.broker.connect_in_process(&certificate);
    assert!(
        super::client::V3::connect(pipe(), connect3("thing", true))
            .await
            .is_none()
    );
    let thing = Thing {
        name: "thing".into(),
        ..Thing::default()
    };
    rig.broker
        .registry()
        .attach_thing(&certificate, thing)
        .unwrap();
    let mut client = rig.v5_as("thing", &certificate).await;
    assert_eq!(client.publish("cn/x", "x").await, PublishAckReason::Success);
    assert_eq!(
        client.publish("other/x", "x").await,
        PublishAckReason::NotAuthorized
    );
}

#[tokio::test(start_paused = true)]
async fn point_19_lifecycle_events_say_who_came_went_and_why() {
    let rig = Rig::new().await;
    let mut witness = rig.v5("witness").await;
    witness
        .subscribe(&[
            "$aws/events/presence/#",
            "$aws/events/subscriptions/subscribed/a",
        ])
        .await;
    let mut next = async || {
        let message = witness.message().await;
        let body: Value = serde_json::from_slice(&message.payload).unwrap();
        (message.topic.to_string(), body)
    };
    let mut a = rig.v5("a").await;
    let (topic, body) = next().await;
    assert_eq!(topic, "$aws/events/presence/connected/a");
    assert_eq!(body["principalIdentifier"], rig.certificate.as_str());
    let session = body["sessionIdentifier"].clone();
    assert!(session.is_string());
    let version = body["versionNumber"].as_u64().unwrap();
    a.subscribe(&["t"]).await;
    let (_, body) = next().await;
    assert_eq!(body["topics"], serde_json::json!(["t"]));
    assert_eq!(body["sessionIdentifier"], session);
    assert_eq!(body["principalIdentifier"], rig.certificate.as_str());
    a.disconnect().await;
    let (topic, body) = next().await;
    assert_eq!(topic, "$aws/events/presence/disconnected/a");
    assert_eq!(body["disconnectReason"], "CLIENT_INITIATED_DISCONNECT");
    assert_eq!(body["versionNumber"], version);

    let (_, nobody) = rig.register("nobody", policy(&[("iot:Connect", "client/x")]));
    let pipe = rig.broker.connect_in_process(&nobody);
    let connect = v5::Connect {
        clean_start: true,
        ..connect5("b")
    };
    V5::connect(pipe, connect).await;
    let (topic, body) = next().await;
    assert_eq!(topic, "$aws/events/presence/connect_failed/b");
    assert_eq!(body["connectFailureReason"], "AUTHORIZATION_FAILED");
    assert!(body["sessionIdentifier"].is_string() && body.get("versionNumber").is_none());

    let (mut c, _) = rig.v3("c", true).await;
    next().await;
    rig.broker.faults().set(|knobs| {
        knobs.refuse_publishes.insert("c".into());
    });
    c.send(v3::Packet::from(super::client::publish("t", "x", None)))
        .await;
    assert_eq!(next().await.1["disconnectReason"], "FORBIDDEN_ACCESS");
    let _d = rig.v5("d").await;
    next().await;
    rig.broker.disconnect("d", true);
    assert_eq!(
        next().await.1["disconnectReason"],
        "API_INITIATED_DISCONNECT"
    );
    drop(rig.v5("e").await);
    next().await;
    assert_eq!(next().await.1["disconnectReason"], "CONNECTION_LOST");
}

#[test]
fn the_registry_survives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("registry.json");
    let authority = sandbox::pki::Authority::new("test").unwrap();
    let set = authority.client("a").unwrap();
    let registry = Registry::load(&file).unwrap();
    registry
        .put_policy("p", policy(&[("iot:Connect", "client/a")]))
        .unwrap();
    let certificate = registry.register_pem(&set.certificate, &["p"]).unwrap();
    registry
        .set_state(&certificate, CertificateState::Inactive)
        .unwrap();
    registry.save(&file).unwrap();
    let again = Registry::load(&file).unwrap();
    assert_eq!(
        again.certificate(&certificate),
        registry.certificate(&certificate)
    );
    assert_eq!(
        again.policy("p").unwrap().to_json(),
        registry.policy("p").unwrap().to_json()
    );
    assert!(!std::fs::read_to_string(&file).unwrap().contains("PRIVATE"));
}

#[test]
fn bad_changes_are_refused_with_what_is_wrong() {
    let registry = Registry::new();
    let authority = sandbox::pki::Authority::new("test").unwrap();
    let set = authority.client("a").unwrap();
    let error = registry.register_pem("not a certificate", &[]).unwrap_err();
    assert!(matches!(error, RegistryError::Pem(_)), "{error}");
    let error = registry
        .register_pem(&set.certificate, &["missing"])
        .unwrap_err();
    assert_eq!(error.to_string(), "policy `missing` does not exist");
    let certificate = registry.register_pem(&set.certificate, &[]).unwrap();
    for n in 0..11 {
        let name = format!("p{n}");
        registry
            .put_policy(&name, Document::new(Vec::new()))
            .unwrap();
        assert_eq!(
            registry.attach_policy(&certificate, &name).is_ok(),
            n < 10,
            "{n}"
        );
    }
    registry
        .set_state(&certificate, CertificateState::Revoked)
        .unwrap();
    let error = registry
        .set_state(&certificate, CertificateState::Active)
        .unwrap_err();
    assert!(error.to_string().ends_with("is revoked"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_snapshot_names_clients_subscriptions_and_backlog() {
    let rig = Rig::new().await;
    let mut a = rig.v5("a").await;
    a.subscribe(&["y", "x"]).await;
    rig.v5("p").await.publish("x", "1").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let connections = rig.broker.connections();
    assert_eq!(connections[0].client_id, "a");
    assert_eq!(connections[0].subscriptions, ["x", "y"]);
    assert_eq!(connections[0].backlog, 1);
    assert_eq!(connections[0].fingerprint, rig.certificate.as_str());
}
