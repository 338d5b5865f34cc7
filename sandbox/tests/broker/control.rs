//! The control plane acts on the broker: what it signs connects, and what it switches off is thrown out.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{CertificateParams, DnType, KeyPair};
use rmqtt_codec::v5::{self, DisconnectReasonCode, PublishAckReason};
use sandbox::control::{Control, ControlConfig, RunningControl};
use sandbox::pki::{Authority, Set};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::client::V5;
use super::rig::{Rig, connect5, policy_json};
use super::tls::Dial;

pub(crate) async fn control(rig: &Rig) -> RunningControl {
    let (certificate, key) = (rig.authority.certificate_pem(), rig.authority.key_pem());
    let authority = Authority::from_pem(certificate, key).unwrap();
    let listen: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let config = ControlConfig::new(listen, Arc::new(authority), rig.broker.handle());
    Control::bind(config).await.unwrap().start()
}

/// One request on a connection of its own; the status and the body.
pub(crate) async fn call(
    control: &RunningControl,
    method: &str,
    path: &str,
    body: &Value,
) -> (u16, Value) {
    call_with(control, method, path, "", body).await
}

/// The same with further header lines, each with its end.
pub(crate) async fn call_with(
    control: &RunningControl,
    method: &str,
    path: &str,
    headers: &str,
    body: &Value,
) -> (u16, Value) {
    let body = body.to_string();
    let text = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         authorization: AWS4-HMAC-SHA256 Credential=a, SignedHeaders=b, Signature=c\r\n{headers}\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(control.local_addr()).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

pub(crate) async fn ok(control: &RunningControl, method: &str, path: &str, body: &Value) -> Value {
    let (status, answer) = call(control, method, path, body).await;
    assert_eq!(status, 200, "{method} {path}: {answer}");
    answer
}

/// A certificate for a key that the control plane never sees, with a policy that allows one client id.
async fn enroll(rig: &Rig, control: &RunningControl, name: &str) -> (Set, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    let csr = params.serialize_request(&key).unwrap().pem().unwrap();
    let body = json!({ "certificateSigningRequest": csr });
    let made = ok(control, "POST", "/certificates?setAsActive=true", &body).await;
    let document = policy_json(&[
        ("iot:Connect", &format!("client/{name}")),
        ("iot:Publish", "topic/t"),
    ]);
    let body = json!({ "policyDocument": document });
    ok(control, "POST", &format!("/policies/{name}"), &body).await;
    let target = json!({ "target": made["certificateArn"] });
    ok(control, "PUT", &format!("/target-policies/{name}"), &target).await;
    let set = Set {
        certificate: made["certificatePem"].as_str().unwrap().to_owned(),
        key: key.serialize_pem(),
        ca: rig.authority.certificate_pem().to_owned(),
    };
    (set, made["certificateId"].as_str().unwrap().to_owned())
}

async fn connect(
    rig: &Rig,
    set: &Set,
    name: &str,
) -> (V5<TlsStream<TcpStream>>, v5::ConnectAckReason) {
    let stream = Dial::new(set).open(rig).await.unwrap();
    let connect = v5::Connect {
        clean_start: true,
        ..connect5(name)
    };
    let (client, ack) = V5::connect(stream, connect).await;
    (client, ack.reason_code)
}

#[tokio::test]
async fn a_certificate_from_a_signing_request_connects_until_it_is_made_inactive() {
    let rig = Rig::new().await;
    let control = control(&rig).await;
    let (set, id) = enroll(&rig, &control, "agent").await;
    let (mut client, reason) = connect(&rig, &set, "agent").await;
    assert_eq!(reason, v5::ConnectAckReason::Success);
    assert_eq!(client.publish("t", "x").await, PublishAckReason::Success);

    let path = format!("/certificates/{id}?newStatus=INACTIVE");
    ok(&control, "PUT", &path, &Value::Null).await;
    let told = client.disconnected().await;
    assert_eq!(told, DisconnectReasonCode::NotAuthorized);
    let (_, reason) = connect(&rig, &set, "agent").await;
    assert_eq!(reason, v5::ConnectAckReason::NotAuthorized);
    control.shutdown().await;
}

#[tokio::test]
async fn a_connection_is_deleted_by_its_client_id() {
    let rig = Rig::new().await;
    let control = control(&rig).await;
    let mut client = rig.v5("a/b").await;
    let path = "/connections/a%2Fb?cleanSession=true&preventWillMessage=true";
    ok(&control, "DELETE", path, &Value::Null).await;
    let told = client.disconnected().await;
    assert_eq!(told, DisconnectReasonCode::AdministrativeAction);
    let (status, _) = call(&control, "DELETE", path, &Value::Null).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn another_default_version_is_in_force_at_once() {
    let rig = Rig::new().await;
    let control = control(&rig).await;
    let (set, _) = enroll(&rig, &control, "agent").await;
    let (mut client, _) = connect(&rig, &set, "agent").await;
    let document = policy_json(&[("iot:Connect", "client/agent")]);
    let body = json!({ "policyDocument": document });
    let versions = "/policies/agent/version";
    ok(&control, "POST", versions, &body).await;
    assert_eq!(client.publish("t", "x").await, PublishAckReason::Success);
    let second = format!("{versions}/2");
    ok(&control, "PATCH", &second, &Value::Null).await;
    let denied = client.publish("t", "x").await;
    assert_eq!(denied, PublishAckReason::NotAuthorized);
}
