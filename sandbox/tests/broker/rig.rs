//! A broker, an authority and clients in one place.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use link::iot::Document;
use rmqtt_codec::v5;
use sandbox::broker::{Broker, BrokerConfig, Fingerprint, Limits, Quotas, RunningBroker};
use sandbox::pki::{Authority, Set};
use tokio::io::DuplexStream;
use tokio::time::Instant;

use super::client::{V3, V5};

/// A running broker with one certificate that may do everything.
pub(crate) struct Rig {
    pub(crate) broker: RunningBroker,
    pub(crate) authority: Authority,
    pub(crate) set: Set,
    pub(crate) certificate: Fingerprint,
}

impl Rig {
    /// IoT Core's limits without its rates, which most tests would only trip over.
    pub(crate) async fn new() -> Self {
        Self::with(|config| config.quotas = Quotas::none()).await
    }

    /// IoT Core's limits and rates.
    pub(crate) async fn strict() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut BrokerConfig)) -> Self {
        let authority = Authority::new("test").unwrap();
        let server = authority.server(&[]).unwrap();
        let listen: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let mut config = BrokerConfig::new(listen, server.certificate, server.key);
        config.limits = Limits::IOT_CORE;
        change(&mut config);
        let registry = config.registry.clone();
        registry
            .put_policy("all", policy(&[("iot:*", "*")]))
            .unwrap();
        let set = authority.client("tester").unwrap();
        let certificate = registry.register_pem(&set.certificate, &["all"]).unwrap();
        let broker = Broker::bind(config).await.unwrap().spawn();
        Self {
            broker,
            authority,
            set,
            certificate,
        }
    }

    /// Registers another certificate with a policy of its own.
    pub(crate) fn register(&self, name: &str, document: Document) -> (Set, Fingerprint) {
        let set = self.authority.client(name).unwrap();
        self.broker.registry().put_policy(name, document).unwrap();
        let certificate = self
            .broker
            .registry()
            .register_pem(&set.certificate, &[name])
            .unwrap();
        (set, certificate)
    }

    pub(crate) fn pipe(&self) -> DuplexStream {
        self.broker.connect_in_process(&self.certificate)
    }

    /// An MQTT 5 client with a clean start.
    pub(crate) async fn v5(&self, client_id: &str) -> V5 {
        self.v5_as(client_id, &self.certificate).await
    }

    pub(crate) async fn v5_as(&self, client_id: &str, certificate: &Fingerprint) -> V5 {
        let connect = v5::Connect {
            clean_start: true,
            ..connect5(client_id)
        };
        let (client, ack) = V5::connect(self.broker.connect_in_process(certificate), connect).await;
        assert_eq!(ack.reason_code, v5::ConnectAckReason::Success);
        client
    }

    /// An MQTT 5 client with a session of an hour that is resumed; and whether there was one.
    pub(crate) async fn v5_persistent(&self, client_id: &str) -> (V5, bool) {
        let connect = v5::Connect {
            clean_start: false,
            session_expiry_interval_secs: 3600,
            ..connect5(client_id)
        };
        let (client, ack) = V5::connect(self.pipe(), connect).await;
        assert_eq!(ack.reason_code, v5::ConnectAckReason::Success);
        (client, ack.session_present)
    }

    /// A 3.1.1 client; and whether there was a session.
    pub(crate) async fn v3(&self, client_id: &str, clean: bool) -> (V3, bool) {
        self.v3_as(client_id, clean, &self.certificate).await
    }

    pub(crate) async fn v3_as(
        &self,
        client_id: &str,
        clean: bool,
        certificate: &Fingerprint,
    ) -> (V3, bool) {
        let pipe = self.broker.connect_in_process(certificate);
        V3::connect(pipe, connect3(client_id, clean))
            .await
            .expect("the broker closed instead of CONNACK")
    }
}

pub(crate) fn connect5(client_id: &str) -> v5::Connect {
    v5::Connect {
        keep_alive: 60,
        client_id: client_id.into(),
        ..v5::Connect::default()
    }
}

pub(crate) fn connect3(client_id: &str, clean_session: bool) -> rmqtt_codec::v3::Connect {
    rmqtt_codec::v3::Connect {
        clean_session,
        keep_alive: 60,
        client_id: client_id.into(),
        ..rmqtt_codec::v3::Connect::default()
    }
}

/// A policy that allows each action on each resource; a resource without `arn:` gets the prefix.
pub(crate) fn policy(grants: &[(&str, &str)]) -> Document {
    Document::parse(&policy_json(grants)).unwrap()
}

pub(crate) fn policy_json(grants: &[(&str, &str)]) -> String {
    let statements: Vec<_> = grants
        .iter()
        .map(|(action, resource)| {
            let resource = match *resource {
                "*" => "*".to_owned(),
                rest => format!("arn:aws:iot:us-east-1:000000000000:{rest}"),
            };
            serde_json::json!({ "Effect": "Allow", "Action": action, "Resource": resource })
        })
        .collect();
    serde_json::json!({ "Version": "2012-10-17", "Statement": statements }).to_string()
}

/// Waits for a condition with a deadline, asking again as often as the runtime lets it.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Fails instead of waiting for ever.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(30), future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain: {what}"),
    }
}
