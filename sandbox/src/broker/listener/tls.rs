//! Mutual TLS 1.2 and 1.3 without tickets, any client certificate taken (docs/IOT-CORE.md §2 point 1), unless a fault has it
//! otherwise.

use std::sync::Arc;

use jiff::Timestamp;
use link::clock::Clock;
use link::tls::ALPN_MQTT;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
};
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::broker::faults::{AlpnRule, CertificateRefusal, Front, TlsVersion};
use crate::broker::registry::{Fingerprint, Registry};
use crate::broker::{BrokerBindError, BrokerConfig};

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// MQTT, on IoT Core port 8883; perhaps with ALPN.
    Mqtt { alpn: bool },
    /// MQTT or HTTPS as ALPN says, on IoT Core port 443.
    Either,
    /// HTTPS, on IoT Core port 8443.
    Https,
}

/// The broker's side of handshakes.
pub(super) struct Tls {
    certificate_pem: String,
    key_pem: String,
    names: Vec<String>,
    registry: Registry,
    clock: Clock,
}

/// Takes any certificate whose key the client holds, unless told otherwise.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
    active_in: Option<Registry>,
    valid_at: Option<Clock>,
}

/// Presents the one server certificate, but not under a foreign name.
#[derive(Debug)]
struct NamedServer {
    key: Arc<CertifiedKey>,
    names: Vec<String>,
    name_required: bool,
}

// === impl Purpose ===

impl Purpose {
    /// Whether MQTT needs ALPN here.
    pub(super) fn wants_alpn(self, front: &Front) -> bool {
        front.alpn != AlpnRule::Own || !matches!(self, Self::Mqtt { alpn: false })
    }
}

// === impl Tls ===

impl Tls {
    pub(super) fn new(config: &BrokerConfig) -> Self {
        Self {
            certificate_pem: config.certificate_pem.clone(),
            key_pem: config.key_pem.clone(),
            names: config.server_names.clone(),
            registry: config.registry.clone(),
            clock: config.clock.clone(),
        }
    }

    /// How connections to a listener are accepted under these faults.
    ///
    /// # Errors
    /// When certificate and key do not make a server.
    pub(super) fn acceptor(
        &self,
        purpose: Purpose,
        front: &Front,
    ) -> Result<TlsAcceptor, BrokerBindError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let (certificate, key) = match &front.identity {
            Some(set) => (&set.certificate, &set.key),
            None => (&self.certificate_pem, &self.key_pem),
        };
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(certificate.as_bytes())
                .collect::<Result<_, _>>()
                .map_err(BrokerBindError::CertificatePem)?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(BrokerBindError::KeyPem)?;
        let key = CertifiedKey::from_der(chain, key, &provider).map_err(BrokerBindError::Tls)?;
        let versions: &[&'static SupportedProtocolVersion] = match front.tls_version {
            None => &[&TLS12, &TLS13],
            Some(TlsVersion::Tls12) => &[&TLS12],
            Some(TlsVersion::Tls13) => &[&TLS13],
        };
        let verifier = AnyCertificate {
            provider: provider.clone(),
            active_in: (front.certificate_refusal == CertificateRefusal::Handshake)
                .then(|| self.registry.clone()),
            valid_at: front.check_dates.then(|| self.clock.clone()),
        };
        let names = match &front.server_name {
            Some(name) => vec![name.clone()],
            None => self.names.clone(),
        };
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(BrokerBindError::Tls)?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::new(NamedServer {
                key: Arc::new(key),
                names,
                name_required: front.server_name.is_some(),
            }));
        // "No SessionTicket support" (docs/IOT-CORE.md §1.6).
        tls.send_tls13_tickets = 0;
        tls.session_storage = Arc::new(NoServerSessionStorage {});
        tls.alpn_protocols = match (front.alpn, purpose) {
            (AlpnRule::Foreign, _) => vec![FOREIGN.into()],
            (_, Purpose::Either) => vec![ALPN_MQTT.into(), ALPN_HTTPS.into()],
            (AlpnRule::Required, Purpose::Mqtt { .. }) | (_, Purpose::Mqtt { alpn: true }) => {
                vec![ALPN_MQTT.into()]
            }
            (_, Purpose::Mqtt { alpn: false } | Purpose::Https) => Vec::new(),
        };
        Ok(TlsAcceptor::from(Arc::new(tls)))
    }
}

// === impl AnyCertificate ===

impl AnyCertificate {
    fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), CertificateError> {
        if let Some(registry) = &self.active_in
            && !registry.is_active(&Fingerprint::of(certificate))
        {
            return Err(CertificateError::Revoked);
        }
        if let Some(clock) = &self.valid_at {
            let (_, parsed) = X509Certificate::from_der(certificate)
                .map_err(|_| CertificateError::BadEncoding)?;
            let now: Timestamp = clock.now();
            let validity = parsed.validity();
            if now.as_second() > validity.not_after.timestamp() {
                return Err(CertificateError::Expired);
            }
            if now.as_second() < validity.not_before.timestamp() {
                return Err(CertificateError::NotValidYet);
            }
        }
        Ok(())
    }
}

impl ClientCertVerifier for AnyCertificate {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    /// Dates are not looked at by default: whether IoT Core refuses an expired client certificate is not known
    /// (docs/IOT-CORE.md §7), and the registry's state is what counts.
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.check(end_entity)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

// === impl NamedServer ===

impl ResolvesServerCert for NamedServer {
    /// A wrong name fails; none at all is "recommended" against but works (docs/IOT-CORE.md §1.6).
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let right = match hello.server_name() {
            None => !self.name_required,
            Some(name) => self.names.is_empty() || self.names.iter().any(|known| known == name),
        };
        right.then(|| self.key.clone())
    }
}

/// ALPN of HTTPS with a certificate on port 443 (the protocols page of the AWS IoT Developer Guide).
pub(super) const ALPN_HTTPS: &str = "x-amzn-http-ca";

const FOREIGN: &str = "http/1.1";
