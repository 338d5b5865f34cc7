//! Real handshakes in memory, and the messages a person would see when they fail.

use std::io;
use std::sync::Arc;

use rcgen::{ExtendedKeyUsagePurpose, SanType};
use rustls::server::WebPkiClientVerifier;
use rustls::{AlertDescription, ClientConnection, ServerConfig, ServerConnection};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::*;
use crate::identity::Location;
use crate::identity::fixture::{Ca, Set, named};

/// Client and server in one thread; the first failure of either side ends it.
struct Handshake {
    client: Result<ClientConnection, rustls::Error>,
    server: Result<ServerConnection, rustls::Error>,
}

fn identity(set: &Set) -> Identity {
    let directory = set.in_directory();
    // The real clock, which the library's verifier reads too.
    Identity::load(
        &Location::Directory(directory.path().into()),
        crate::clock::Clock::system().now(),
    )
    .unwrap()
}

/// A client set that is valid now, whatever day it is.
fn client(ca: &Ca) -> Set {
    let mut params = current("agent");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    ca.issue(&params, &rcgen::PKCS_ECDSA_P256_SHA256)
}

fn server(ca: &Ca) -> Set {
    ca.issue(&server_params(), &rcgen::PKCS_ECDSA_P256_SHA256)
}

fn server_params() -> rcgen::CertificateParams {
    let mut params = current("broker");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.subject_alt_names = vec![SanType::DnsName("iot.example".try_into().unwrap())];
    params
}

fn current(name: &str) -> rcgen::CertificateParams {
    let mut params = named(name);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2120, 1, 1);
    params
}

fn server_config(
    set: &Set,
    clients: &Ca,
    versions: &[&'static SupportedProtocolVersion],
) -> ServerConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(clients.pem.as_bytes()).unwrap())
        .unwrap();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .unwrap();
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(set.certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(set.key.as_bytes()).unwrap(),
        )
        .unwrap()
}

fn shake(client: Arc<ClientConfig>, server: ServerConfig, name: &str) -> Handshake {
    let mut client =
        ClientConnection::new(client, ServerName::try_from(name.to_owned()).unwrap()).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    let (mut client_failed, mut server_failed) = (None, None);
    // A full handshake takes three flights; failures add an alert.
    for _ in 0..6 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut flight = wire.as_slice();
        while server_failed.is_none() && !flight.is_empty() {
            server.read_tls(&mut flight).unwrap();
            server_failed = server.process_new_packets().err();
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut flight = wire.as_slice();
        while client_failed.is_none() && !flight.is_empty() {
            client.read_tls(&mut flight).unwrap();
            client_failed = client.process_new_packets().err();
        }
    }
    Handshake {
        client: client_failed.map_or(Ok(client), Err),
        server: server_failed.map_or(Ok(server), Err),
    }
}

fn said(problem: &TlsProblem) -> String {
    format!("{problem}\nhint: {}", problem.hint().unwrap_or_default())
}

fn client_problem(client: Arc<ClientConfig>, server: ServerConfig, name: &str) -> TlsProblem {
    // As a caller gets it: inside an `io::Error`.
    let error = shake(client, server, name).client.expect_err("a failure");
    diagnose(&io::Error::new(io::ErrorKind::InvalidData, error))
}

#[test]
fn both_versions_shake_hands_with_the_clients_certificate_and_the_hosts_name() {
    let ca = Ca::new("root");
    let identity = identity(&client(&ca));
    for versions in [rustls::ALL_VERSIONS, &[&version::TLS12], &[&version::TLS13]] {
        let config = client_config(&identity, &TlsOptions::default()).unwrap();
        let done = shake(
            config,
            server_config(&server(&ca), &ca, versions),
            "iot.example",
        );
        let peer = done.server.unwrap();
        assert_eq!(peer.server_name(), Some("iot.example"));
        assert_eq!(peer.peer_certificates(), Some(identity.certificate_chain()));
        assert_eq!(peer.alpn_protocol(), None);
        assert!(!done.client.unwrap().is_handshaking());
    }
}

#[test]
fn port_443_asks_for_the_mqtt_protocol() {
    let ca = Ca::new("root");
    let config = client_config(&identity(&client(&ca)), &TlsOptions::for_port(443)).unwrap();
    let mut server = server_config(&server(&ca), &ca, rustls::ALL_VERSIONS);
    server.alpn_protocols = vec![b"http/1.1".to_vec(), b"x-amzn-mqtt-ca".to_vec()];
    let done = shake(Arc::clone(&config), server.clone(), "iot.example");
    assert_eq!(
        done.server.unwrap().alpn_protocol(),
        Some(ALPN_MQTT.as_bytes())
    );
    assert_eq!(TlsOptions::for_port(8883), TlsOptions::default());
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    assert_eq!(
        client_problem(config, server, "iot.example"),
        TlsProblem::Alpn
    );
}

#[test]
fn the_oldest_version_is_kept() {
    let ca = Ca::new("root");
    let options = TlsOptions {
        min_version: MinVersion::Tls13,
        ..TlsOptions::default()
    };
    let config = client_config(&identity(&client(&ca)), &options).unwrap();
    let problem = client_problem(
        config,
        server_config(&server(&ca), &ca, &[&version::TLS12]),
        "iot.example",
    );
    insta::assert_snapshot!(said(&problem), @r"
    no TLS version in common with the broker
    hint: compare the broker's TLS policy with the oldest version allowed here: IoT Core's default policy takes TLS 1.2 and 1.3
    ");
}

#[test]
fn an_unknown_issuer_is_named_beside_the_given_ones() {
    let (ours, theirs) = (Ca::new("Amazon Root CA 1"), Ca::new("VeriSign G5"));
    let identity = identity(&client(&ours));
    let config = client_config(&identity, &TlsOptions::default()).unwrap();
    let problem = client_problem(
        config,
        server_config(&server(&theirs), &ours, rustls::ALL_VERSIONS),
        "iot.example",
    );
    let text = said(&problem).replace(&identity.files().ca.display().to_string(), "CA");
    insta::assert_snapshot!(text, @r"
    server certificate is not signed by the given CA: server certificate `CN=broker` leads to issuer `CN=VeriSign G5`, but CA file `CA` has `CN=Amazon Root CA 1`
    hint: for IoT Core use the Data-ATS endpoint (`aws iot describe-endpoint --endpoint-type iot:Data-ATS`) and Amazon Root CA 1 and 3 as CA file
    ");
}

#[test]
fn a_name_mismatch_shows_both_sides() {
    let ca = Ca::new("root");
    let config = client_config(&identity(&client(&ca)), &TlsOptions::default()).unwrap();
    let problem = client_problem(
        config,
        server_config(&server(&ca), &ca, rustls::ALL_VERSIONS),
        "other.example",
    );
    insta::assert_snapshot!(said(&problem), @r"
    server certificate is not for `other.example`, only for `iot.example`
    hint: dial the endpoint by exactly the name it has, never by address; through PrivateLink make a private hosted zone for that name
    ");
}

#[test]
fn an_expired_server_certificate_shows_its_time_and_ours() {
    let ca = Ca::new("root");
    let config = client_config(&identity(&client(&ca)), &TlsOptions::default()).unwrap();
    let mut params = server_params();
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let old = ca.issue(&params, &rcgen::PKCS_ECDSA_P256_SHA256);
    let problem = client_problem(
        config,
        server_config(&old, &ca, rustls::ALL_VERSIONS),
        "iot.example",
    );
    let TlsProblem::ServerExpired { now: Some(now), .. } = &problem else {
        panic!("{problem:?}");
    };
    let text = said(&problem).replace(&crate::clock::rfc3339_seconds(*now), "NOW");
    insta::assert_snapshot!(text, @r"
    server certificate expired: its limit is 2021-01-01T00:00:00Z, the clock here shows NOW
    hint: check the clock of this machine first, then the broker's certificate
    ");
}

#[test]
fn a_refused_client_certificate_is_not_taken_for_a_server_fault() {
    let (ours, theirs) = (Ca::new("root"), Ca::new("another root"));
    let config = client_config(&identity(&client(&ours)), &TlsOptions::default()).unwrap();
    let problem = client_problem(
        config,
        server_config(&server(&ours), &theirs, rustls::ALL_VERSIONS),
        "iot.example",
    );
    assert!(problem.is_client_refused());
    insta::assert_snapshot!(said(&problem), @r"
    broker refused the client certificate (alert unknown_ca)
    hint: check, in the endpoint's account and region, that the certificate is registered and ACTIVE: `aws iot describe-certificate`; it may be INACTIVE, REVOKED, or belong to another account or region
    ");
}

#[test]
fn every_other_failure_says_what_it_means() {
    let alert = |alert| rustls::Error::AlertReceived(alert);
    let mut report = String::new();
    for error in [
        alert(AlertDescription::CertificateUnknown),
        alert(AlertDescription::CertificateExpired),
        alert(AlertDescription::ProtocolVersion),
        alert(AlertDescription::HandshakeFailure),
        alert(AlertDescription::UnrecognisedName),
        alert(AlertDescription::InternalError),
        rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType),
    ] {
        report += &format!("{}\n", diagnose(&error));
    }
    report += &said(&diagnose(&io::Error::from(io::ErrorKind::UnexpectedEof)));
    insta::assert_snapshot!(report, @r"
    broker refused the client certificate (alert certificate_unknown)
    broker says the client certificate expired (alert certificate_expired)
    no TLS version in common with the broker
    no cipher suite or signature algorithm in common with the broker
    broker does not know the host name sent in the handshake (alert unrecognized_name)
    TLS failed: broker sent alert InternalError
    peer does not speak TLS
    connection closed during the TLS handshake
    hint: check in this order: the endpoint's name and port (443 needs the application protocol `x-amzn-mqtt-ca`), that the certificate is registered and ACTIVE there, and whether a proxy or firewall cuts TLS
    ");
}

#[test]
fn installing_the_provider_twice_is_harmless() {
    install_provider();
    install_provider();
    assert!(CryptoProvider::get_default().is_some());
}

#[test]
fn an_application_protocol_must_fit_its_length_byte() {
    let options = TlsOptions {
        alpn: Some(String::new()),
        ..TlsOptions::default()
    };
    let error = client_config(&identity(&client(&Ca::new("root"))), &options).unwrap_err();
    assert_eq!(error.to_string(), "application protocol of 0 bytes");
}
