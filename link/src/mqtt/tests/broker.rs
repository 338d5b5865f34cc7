//! A broker that does what a test tells it, packet by packet, over real mutual TLS.

use std::sync::Arc;

use bytes::BytesMut;
use rcgen::{ExtendedKeyUsagePurpose, SanType};
use rumqttc::tokio_rustls::TlsAcceptor;
use rumqttc::tokio_rustls::server::TlsStream;
use rumqttc::{
    ConnAck, ConnAckProperties, Connect, ConnectReturnCode, Error, Packet, PubAck, Publish, QoS,
    SubAck, Subscribe, SubscribeReasonCode, UnsubAck, UnsubAckReason, Unsubscribe,
};
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::id::ClientId;
use crate::identity::fixture::{Ca, Set, named};
use crate::identity::{Identity, Location};
use crate::iot::limits::ConnectionLimits;
use crate::mqtt::{Config, Inbound, Reconnect, Session, SessionMetrics};

/// Accepts one connection after the other.
pub(super) struct Broker {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    ca: Ca,
}

type Stream = TlsStream<TcpStream>;

/// One connection, after its CONNECT.
pub(super) struct Peer<S = Stream> {
    stream: S,
    read: BytesMut,
}

/// A session under test. Its driver ends with it.
pub(super) struct Client {
    pub(super) session: Session,
    pub(super) inbound: Inbound,
    pub(super) metrics: SessionMetrics,
    pub(super) stop: CancellationToken,
    pub(super) driver: JoinHandle<()>,
    pub(super) identity: watch::Sender<Arc<Identity>>,
}

/// What CONNACK says.
#[derive(Default)]
pub(super) struct Welcome {
    pub(super) session_present: bool,
    pub(super) max_packet_size: Option<u32>,
    pub(super) receive_max: Option<u16>,
    pub(super) retain_available: Option<u8>,
}

// === impl Broker ===

impl Broker {
    pub(super) async fn start() -> Self {
        crate::tls::install_provider();
        let ca = Ca::new("test CA");
        let set = issue(&ca, "broker", ExtendedKeyUsagePurpose::ServerAuth);
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(ca.pem.as_bytes()).unwrap())
            .unwrap();
        let clients = WebPkiClientVerifier::builder(Arc::new(roots))
            .build()
            .unwrap();
        let config = rustls::ServerConfig::builder()
            .with_client_cert_verifier(clients)
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(set.certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(set.key.as_bytes()).unwrap(),
            )
            .unwrap();
        Self {
            listener: TcpListener::bind(("127.0.0.1", 0)).await.unwrap(),
            acceptor: TlsAcceptor::from(Arc::new(config)),
            ca,
        }
    }

    /// The next connection, up to its CONNECT.
    pub(super) async fn connection(&self) -> Peer {
        self.connect().await.0
    }

    /// The same with the CONNECT.
    pub(super) async fn connect(&self) -> (Peer, Connect) {
        let (stream, _) = self.listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let stream = self.acceptor.accept(stream).await.unwrap();
        let mut peer = Peer {
            stream,
            read: BytesMut::new(),
        };
        match peer.next().await {
            Some(Packet::Connect(connect, ..)) => (peer, connect),
            other => panic!("no CONNECT: {other:?}"),
        }
    }

    /// The next connection with its CONNACK sent and its SUBSCRIBE answered, if one is expected.
    pub(super) async fn ready(&self, welcome: Welcome) -> Peer {
        let subscribes = !welcome.session_present;
        let mut peer = self.connection().await;
        peer.welcome(welcome).await;
        if subscribes {
            peer.subscribed().await;
        }
        peer
    }

    pub(super) fn config(&self) -> Config {
        let port = self.listener.local_addr().unwrap().port();
        Config {
            subscriptions: vec!["in".into()],
            limits: ConnectionLimits::without_rates(),
            reconnect: Reconnect {
                first: std::time::Duration::from_millis(5),
                max: std::time::Duration::from_millis(20),
                ..Reconnect::default()
            },
            ..Config::new("localhost", port, ClientId::new("client").unwrap())
        }
    }

    pub(super) fn client(&self, config: Config) -> Client {
        self.client_while(config, watch::channel(None).1)
    }

    /// One that is connected only while nothing is said.
    pub(super) fn client_while(
        &self,
        config: Config,
        withheld: watch::Receiver<Option<&'static str>>,
    ) -> Client {
        let set = issue(&self.ca, "client", ExtendedKeyUsagePurpose::ClientAuth);
        let directory = set.in_directory();
        let location = Location::Directory(directory.path().into());
        let identity = Identity::load(&location, Clock::system().now()).unwrap();
        let (sender, identity) = watch::channel(Arc::new(identity));
        let metrics = SessionMetrics::unregistered().unwrap();
        let (session, inbound, driver) = config.build(identity, metrics.clone()).unwrap();
        let stop = CancellationToken::new();
        Client {
            session,
            inbound,
            metrics,
            driver: tokio::spawn(driver.only_while(withheld).run(stop.clone())),
            stop,
            identity: sender,
        }
    }
}

fn issue(ca: &Ca, name: &str, usage: ExtendedKeyUsagePurpose) -> Set {
    let mut params = named(name);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2120, 1, 1);
    params.extended_key_usages = vec![usage];
    params.subject_alt_names = vec![SanType::DnsName("localhost".try_into().unwrap())];
    ca.issue(&params, &rcgen::PKCS_ECDSA_P256_SHA256)
}

// === impl Peer ===

impl Peer {
    /// One to read from and one to write to.
    pub(super) fn split(self) -> (Peer<ReadHalf<Stream>>, Peer<WriteHalf<Stream>>) {
        let (from, to) = tokio::io::split(self.stream);
        let from = Peer {
            stream: from,
            read: self.read,
        };
        let to = Peer {
            stream: to,
            read: BytesMut::new(),
        };
        (from, to)
    }
}

impl<S: AsyncRead + Unpin> Peer<S> {
    /// The next packet that is no ping; none is answered.
    pub(super) async fn next_but_pingreq(&mut self) -> Option<Packet> {
        loop {
            match self.next().await {
                Some(Packet::PingReq) => {}
                other => return other,
            }
        }
    }

    /// The next packet; `None` when the client hung up.
    pub(super) async fn next(&mut self) -> Option<Packet> {
        loop {
            match Packet::read(&mut self.read, None) {
                Ok(packet) => return Some(packet),
                Err(Error::InsufficientBytes(_)) => {}
                Err(error) => panic!("the client sent what cannot be read: {error}"),
            }
            match self.stream.read_buf(&mut self.read).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }
}

impl Peer {
    /// The next PUBLISH; pings are answered on the way.
    pub(super) async fn publish(&mut self) -> Publish {
        match self.next_but_pings().await {
            Some(Packet::Publish(publish)) => publish,
            other => panic!("no PUBLISH: {other:?}"),
        }
    }

    /// The packet id of the next PUBACK; pings are answered on the way.
    pub(super) async fn acked(&mut self) -> u16 {
        match self.next_but_pings().await {
            Some(Packet::PubAck(ack)) => ack.pkid,
            other => panic!("no PUBACK: {other:?}"),
        }
    }

    pub(super) async fn next_but_pings(&mut self) -> Option<Packet> {
        loop {
            match self.next().await {
                Some(Packet::PingReq) => self.send(Packet::PingResp).await,
                other => return other,
            }
        }
    }

    pub(super) async fn ack(&mut self, publish: &Publish) {
        self.send(Packet::PubAck(PubAck::new(publish.pkid, None)))
            .await;
    }

    pub(super) async fn welcome(&mut self, welcome: Welcome) {
        self.answer(welcome, ConnectReturnCode::Success).await;
    }

    /// A CONNACK that refuses.
    pub(super) async fn refuse(&mut self) {
        self.answer(Welcome::default(), ConnectReturnCode::ServerBusy)
            .await;
    }

    async fn answer(&mut self, welcome: Welcome, code: ConnectReturnCode) {
        let properties = ConnAckProperties {
            session_expiry_interval: None,
            receive_max: welcome.receive_max,
            max_qos: None,
            retain_available: welcome.retain_available,
            max_packet_size: welcome.max_packet_size,
            assigned_client_identifier: None,
            topic_alias_max: None,
            reason_string: None,
            user_properties: Vec::new(),
            wildcard_subscription_available: None,
            subscription_identifiers_available: None,
            shared_subscription_available: None,
            server_keep_alive: None,
            response_information: None,
            server_reference: None,
            authentication_method: None,
            authentication_data: None,
        };
        let answer = ConnAck {
            session_present: welcome.session_present,
            code,
            properties: Some(properties),
        };
        self.send(Packet::ConnAck(answer)).await;
    }

    /// Answers the SUBSCRIBE that comes next.
    pub(super) async fn subscribed(&mut self) {
        let Some(Packet::Subscribe(request)) = self.next().await else {
            panic!("no SUBSCRIBE");
        };
        self.subscribe(&request).await;
    }

    /// Confirms a SUBSCRIBE.
    pub(super) async fn subscribe(&mut self, request: &Subscribe) {
        let answer = SubAck {
            pkid: request.pkid,
            return_codes: vec![
                SubscribeReasonCode::Success(QoS::AtLeastOnce);
                request.filters.len()
            ],
            properties: None,
        };
        self.send(Packet::SubAck(answer)).await;
    }
}

impl Peer {
    pub(super) async fn unsubscribed(&mut self, request: &Unsubscribe) {
        let answer = UnsubAck {
            pkid: request.pkid,
            reasons: vec![UnsubAckReason::Success; request.filters.len()],
            properties: None,
        };
        self.send(Packet::UnsubAck(answer)).await;
    }
}

impl<S: AsyncWrite + Unpin> Peer<S> {
    pub(super) async fn send(&mut self, packet: Packet) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, None).unwrap();
        self.stream.write_all(&bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Delivers a QoS 1 message.
    pub(super) async fn deliver(&mut self, packet_id: u16, payload: impl Into<bytes::Bytes>) {
        let mut publish = Publish::new("in", QoS::AtLeastOnce, payload, None);
        publish.pkid = packet_id;
        self.send(Packet::Publish(publish)).await;
    }
}
