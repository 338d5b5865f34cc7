//! The handshake (point 1 of docs/IOT-CORE.md §2), with real sockets.

use std::net::SocketAddr;
use std::sync::Arc;

use rmqtt_codec::v5;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use sandbox::broker::{BrokerConfig, CertificateState};
use sandbox::pki::{CertificateRequest, KeyKind, Set};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::client::{V3, V5};
use super::rig::{Rig, connect3, connect5, eventually};

pub(crate) struct Dial<'a> {
    pub(crate) set: Option<&'a Set>,
    pub(crate) name: &'static str,
    pub(crate) version: &'static SupportedProtocolVersion,
    pub(crate) alpn: &'static [&'static [u8]],
    pub(crate) address: Option<SocketAddr>,
}

impl<'a> Dial<'a> {
    pub(crate) fn new(set: &'a Set) -> Self {
        Self {
            set: Some(set),
            name: "localhost",
            version: &TLS13,
            alpn: &[],
            address: None,
        }
    }

    pub(crate) async fn open(&self, rig: &Rig) -> std::io::Result<TlsStream<TcpStream>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        let ca =
            CertificateDer::from_pem_slice(rig.authority.certificate_pem().as_bytes()).unwrap();
        roots.add(ca).unwrap();
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[self.version])
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match self.set {
            Some(set) => {
                let chain =
                    vec![CertificateDer::from_pem_slice(set.certificate.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(set.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn.iter().map(|name| name.to_vec()).collect();
        let address = self.address.unwrap_or_else(|| rig.broker.local_addr());
        let tcp = TcpStream::connect(address).await?;
        let name = ServerName::try_from(self.name).unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await
    }

    /// Whether the broker answers a CONNECT.
    pub(crate) async fn works(&self, rig: &Rig) -> bool {
        let Ok(stream) = self.open(rig).await else {
            return false;
        };
        let mut client = V5::new(stream);
        client.frames.get_ref();
        use futures_util::SinkExt as _;
        let connect = v5::Connect {
            clean_start: true,
            ..connect5("tls")
        };
        if client.frames.send(connect.into()).await.is_err() {
            return false;
        }
        matches!(client.recv().await, Some(v5::Packet::ConnectAck(_)))
    }
}

#[tokio::test]
async fn point_1_tls_1_2_and_1_3_with_elliptic_and_rsa_keys() {
    let rig = Rig::new().await;
    for key in [KeyKind::P256, KeyKind::P384, KeyKind::Rsa2048] {
        let set = rig
            .authority
            .issue(&CertificateRequest::new("key").key(key))
            .unwrap();
        rig.broker
            .registry()
            .register_pem(&set.certificate, &["all"])
            .unwrap();
        for version in [&TLS12, &TLS13] {
            assert!(
                Dial {
                    version,
                    ..Dial::new(&set)
                }
                .works(&rig)
                .await,
                "{key:?} {version:?}"
            );
        }
    }
}

#[tokio::test]
async fn point_1_a_client_without_certificate_gets_nowhere() {
    let rig = Rig::new().await;
    for version in [&TLS12, &TLS13] {
        assert!(
            !Dial {
                set: None,
                version,
                ..Dial::new(&rig.set)
            }
            .works(&rig)
            .await
        );
    }
}

#[tokio::test]
async fn point_1_an_unknown_certificate_passes_the_handshake_and_fails_at_connect() {
    let rig = Rig::new().await;
    let foreign = rig.authority.client("foreign").unwrap();
    let stream = Dial::new(&foreign)
        .open(&rig)
        .await
        .expect("the handshake proves nothing");
    let (_, ack) = V5::connect(
        stream,
        v5::Connect {
            clean_start: true,
            ..connect5("x")
        },
    )
    .await;
    assert_eq!(ack.reason_code, v5::ConnectAckReason::NotAuthorized);
    let stream = Dial::new(&foreign).open(&rig).await.unwrap();
    assert!(
        V3::connect(stream, connect3("x", true)).await.is_none(),
        "3.1.1 sees a bare close"
    );
    assert_eq!(rig.broker.counts().connect_denied, 2);
}

#[tokio::test]
async fn point_1_only_active_certificates_connect() {
    let rig = Rig::new().await;
    for (state, works) in [
        (CertificateState::Inactive, false),
        (CertificateState::Active, true),
        (CertificateState::Revoked, false),
    ] {
        rig.broker
            .registry()
            .set_state(&rig.certificate, state)
            .unwrap();
        let stream = Dial::new(&rig.set).open(&rig).await.unwrap();
        let (_, ack) = V5::connect(
            stream,
            v5::Connect {
                clean_start: true,
                ..connect5("x")
            },
        )
        .await;
        assert_eq!(
            ack.reason_code == v5::ConnectAckReason::Success,
            works,
            "{state:?}"
        );
    }
}

#[tokio::test]
async fn point_1_a_wrong_server_name_fails() {
    let named = |config: &mut BrokerConfig| config.server_names = vec!["localhost".into()];
    let rig = Rig::with(named).await;
    assert!(Dial::new(&rig.set).works(&rig).await);
    assert!(
        !Dial {
            name: "elsewhere",
            ..Dial::new(&rig.set)
        }
        .works(&rig)
        .await
    );
}

#[tokio::test]
async fn point_1_a_port_443_listener_wants_its_alpn() {
    let rig = Rig::with(|config| {
        config.require_alpn = true;
        config.quotas = sandbox::broker::Quotas::none();
    })
    .await;
    let right: &[&[u8]] = &[b"x-amzn-mqtt-ca"];
    assert!(
        Dial {
            alpn: right,
            ..Dial::new(&rig.set)
        }
        .works(&rig)
        .await
    );
    assert!(!Dial::new(&rig.set).works(&rig).await);
    let wrong: &[&[u8]] = &[b"mqtt"];
    assert!(
        !Dial {
            alpn: wrong,
            ..Dial::new(&rig.set)
        }
        .works(&rig)
        .await
    );
}

#[tokio::test]
async fn a_lost_socket_frees_the_connection() {
    let rig = Rig::new().await;
    let stream = Dial::new(&rig.set).open(&rig).await.unwrap();
    let (client, _) = V5::connect(
        stream,
        v5::Connect {
            clean_start: true,
            ..connect5("x")
        },
    )
    .await;
    assert_eq!(rig.broker.connections().len(), 1);
    drop(client);
    eventually("the connection to go", || {
        rig.broker.connections().is_empty()
    })
    .await;
}

#[tokio::test]
async fn one_connection_too_many_is_closed_and_one_that_ends_makes_room() {
    let rig = Rig::with(|config| {
        config.limits.connections = 2;
        config.limits.connect_timeout = std::time::Duration::from_secs(60);
    })
    .await;
    let dial = Dial::new(&rig.set);
    let (mut client, _) = V5::connect(dial.open(&rig).await.unwrap(), connect5("a")).await;
    let silent = TcpStream::connect(rig.broker.local_addr()).await.unwrap();
    assert!(dial.open(&rig).await.is_err());
    client.subscribe(&["x"]).await;
    drop(silent);
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        if let Ok(stream) = dial.open(&rig).await {
            V5::connect(stream, connect5("b")).await;
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "no room was made");
    }
    client.subscribe(&["y"]).await;
}
