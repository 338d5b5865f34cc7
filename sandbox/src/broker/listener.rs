//! The TLS front: mutual TLS 1.2 and 1.3 without tickets, any client certificate taken (docs/IOT-CORE.md §2 point 1).
//!
//! As on IoT Core a handshake proves only possession of a key; whether the certificate is known and ACTIVE is
//! decided at CONNECT.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use link::tls::ALPN_MQTT;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{self, Peer};
use super::notices::Notice;
use super::registry::Fingerprint;
use super::shared::Shared;
use super::{BrokerBindError, BrokerConfig};

/// A bound socket and the TLS it speaks.
pub(super) struct Listener {
    socket: TcpListener,
    acceptor: TlsAcceptor,
    address: SocketAddr,
    require_alpn: bool,
}

/// Takes any certificate whose key the client holds.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

/// Presents the one server certificate, but not under a foreign name.
#[derive(Debug)]
struct NamedServer {
    key: Arc<CertifiedKey>,
    names: Vec<String>,
}

// === impl Listener ===

impl Listener {
    pub(super) async fn bind(config: &BrokerConfig) -> Result<Self, BrokerBindError> {
        let tls = server_config(config)?;
        let failed = |source| BrokerBindError::Listen {
            address: config.listen,
            source,
        };
        let socket = TcpListener::bind(config.listen).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self {
            socket,
            acceptor: TlsAcceptor::from(Arc::new(tls)),
            address,
            require_alpn: config.require_alpn,
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts until stopped; each connection is one task on the tracker, and there are at most as many as the limits
    /// say: one more is closed at once, so that connected clients keep their descriptors and memory.
    pub(super) async fn run(
        self,
        shared: Arc<Shared>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) {
        let room = Arc::new(Semaphore::new(shared.environment.limits.connections));
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let (stream, from) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: waiting is all there is to do.
                    let text = format!("Accept failed: {error}");
                    shared.notices.write(&Notice::Accept, self.address, text);
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(permit) = room.clone().try_acquire_owned() else {
                let text = "Closed a connection: there are as many as this broker takes";
                shared.notices.write(&Notice::Full, from, text);
                continue;
            };
            let (acceptor, shared, stop) = (self.acceptor.clone(), shared.clone(), stop.clone());
            let require_alpn = self.require_alpn;
            tasks.spawn(async move {
                tokio::select! {
                    () = serve(stream, from, acceptor, require_alpn, shared) => {}
                    () = stop.cancelled() => {}
                }
                drop(permit);
            });
        }
    }
}

async fn serve(
    stream: TcpStream,
    from: SocketAddr,
    acceptor: TlsAcceptor,
    require_alpn: bool,
    shared: Arc<Shared>,
) {
    let _ = stream.set_nodelay(true);
    let to = stream.local_addr().ok();
    // One deadline for the handshake and CONNECT: a client that sends nothing, or a byte now and then, is closed.
    let deadline = Instant::now() + shared.environment.limits.connect_timeout;
    let handshake = timeout_at(deadline, acceptor.accept(stream)).await;
    let stream = match handshake {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            let text = format!("TLS handshake failed: {error}");
            shared.notices.write(&Notice::Tls, from, text);
            return;
        }
        Err(_) => return,
    };
    let (_, tls) = stream.get_ref();
    if require_alpn && tls.alpn_protocol() != Some(ALPN_MQTT.as_bytes()) {
        let text = "Refused a client without ALPN `x-amzn-mqtt-ca`";
        shared.notices.write(&Notice::Alpn, from, text);
        return;
    }
    let Some(certificate) = tls.peer_certificates().and_then(<[_]>::first) else {
        return;
    };
    let peer = Peer {
        certificate: Fingerprint::of(certificate),
        sockets: to.map(|to| (from, to)),
        deadline,
    };
    Box::pin(connection::serve(stream, peer, shared)).await;
}

fn server_config(config: &BrokerConfig) -> Result<ServerConfig, BrokerBindError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(config.certificate_pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(BrokerBindError::CertificatePem)?;
    let key = PrivateKeyDer::from_pem_slice(config.key_pem.as_bytes())
        .map_err(BrokerBindError::KeyPem)?;
    let key = CertifiedKey::from_der(chain, key, &provider).map_err(BrokerBindError::Tls)?;
    let mut tls = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(BrokerBindError::Tls)?
        .with_client_cert_verifier(Arc::new(AnyCertificate(provider)))
        .with_cert_resolver(Arc::new(NamedServer {
            key: Arc::new(key),
            names: config.server_names.clone(),
        }));
    // "No SessionTicket support" (docs/IOT-CORE.md §1.6).
    tls.send_tls13_tickets = 0;
    tls.session_storage = Arc::new(NoServerSessionStorage {});
    if config.require_alpn {
        tls.alpn_protocols = vec![ALPN_MQTT.into()];
    }
    Ok(tls)
}

// === impl AnyCertificate ===

impl ClientCertVerifier for AnyCertificate {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    /// Dates are not looked at: whether IoT Core refuses an expired client certificate is not known
    /// (docs/IOT-CORE.md §7), and the registry's state is what counts.
    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

// === impl NamedServer ===

impl ResolvesServerCert for NamedServer {
    /// A wrong name fails; none at all is "recommended" against but works (docs/IOT-CORE.md §1.6).
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let wrong = hello
            .server_name()
            .is_some_and(|name| !self.names.is_empty() && !self.names.iter().any(|n| n == name));
        (!wrong).then(|| self.key.clone())
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
