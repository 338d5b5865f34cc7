//! Sets that can be read and are still not fit: kinds of key, pairs, dates, places.

use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa};
use rustls_pki_types::pem::PemObject as _;
use x509_parser::asn1_rs::{Any, Class, FromDer as _, Sequence};

use super::*;
use crate::identity::fixture::named;

#[test]
fn kinds_of_key_that_iot_core_does_not_take_are_refused() {
    let ca = Ca::new("root");
    let p521 = ca.issue(&client_params("agent"), &rcgen::PKCS_ECDSA_P521_SHA512);
    let ed25519 = ca.issue(&client_params("agent"), &rcgen::PKCS_ED25519);
    insta::assert_snapshot!(refusal_in(&p521.in_directory()), @r"
    certificate in `DIR/certificate` uses a key of kind EC P-521, which IoT Core does not accept
    hint: make a new key and certificate: IoT Core accepts RSA of 2048 bits or more, EC P-256 and EC P-384
    ");
    assert!(
        refusal_in(&ed25519.in_directory())
            .contains("certificate in `DIR/certificate` uses a key of kind Ed25519")
    );
    assert!(
        refusal_with("privateKey", &ed25519.key)
            .contains("private key in `DIR/privateKey` uses a key of kind Ed25519")
    );
    assert!(refusal_with("privateKey", &p521.key).contains("uses a key of kind EC P-521"));
    let weak = refusal_with("privateKey", pem("RSA PRIVATE KEY", &rsa_of_1024_bits()));
    assert!(
        weak.starts_with("private key in `DIR/privateKey` uses a key of kind RSA 1024, which"),
        "{weak}"
    );
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let other = Ca::new("root").client("other");
    insta::assert_snapshot!(refusal_with("privateKey", &other.key), @r"
    private key in `DIR/privateKey` does not match the certificate in `DIR/certificate`
    hint: store certificate and key of the same pair; during a rotation the second file may only be late, which passes by itself
    ");
}

#[test]
fn a_certificate_of_an_old_version_is_named_and_its_key_is_not_blamed() {
    let mut set = Ca::new("root").client("device");
    let der = CertificateDer::from_pem_slice(set.certificate.as_bytes()).unwrap();
    set.certificate = pem("CERTIFICATE", &of_version_1(&der));
    insta::assert_snapshot!(refusal_in(&set.in_directory()), @r"
    certificate in `DIR/certificate` (`CN=device`) is of X.509 version 1, and TLS takes version 3 only
    hint: make it again with extensions, which make it version 3; its key may stay: `echo basicConstraints=CA:FALSE > v3.ext`, then `openssl x509 -req -in CSR -CA CA -CAkey CAKEY -CAcreateserial -days 365 -extfile v3.ext -out CERTIFICATE`
    ");
}

/// The certificate without what came after version 1: its version and its extensions. The signature is wrong then, which
/// nobody but a broker would look at.
fn of_version_1(certificate: &[u8]) -> Vec<u8> {
    let sequence = |content: &[u8]| {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[0x30, 0x82], &length[..], content].concat()
    };
    let (_, whole) = Sequence::from_der(certificate).unwrap();
    let (signature, tbs) = Sequence::from_der(&whole.content).unwrap();
    let mut rest: &[u8] = &tbs.content;
    let mut old = Vec::new();
    while !rest.is_empty() {
        let (after, part) = Any::from_der(rest).unwrap();
        if part.class() != Class::ContextSpecific {
            old.extend(&rest[..rest.len() - after.len()]);
        }
        rest = after;
    }
    sequence(&[&sequence(&old), signature].concat())
}

#[test]
fn dates_are_refused_with_both_times() {
    let ca = Ca::new("root");
    let mut expired = client_params("agent");
    expired.not_after = rcgen::date_time_ymd(2026, 11, 20);
    let mut early = client_params("agent");
    early.not_before = rcgen::date_time_ymd(2026, 12, 24);
    let issue = |params| {
        ca.issue(params, &rcgen::PKCS_ECDSA_P256_SHA256)
            .in_directory()
    };
    insta::assert_snapshot!(refusal_in(&issue(&expired)), @r"
    certificate in `DIR/certificate` expired at 2026-11-20T00:00:00Z; the clock here shows 2026-11-24T12:00:00Z
    hint: check the clock, then issue a new certificate and store it with its key
    ");
    insta::assert_snapshot!(refusal_in(&issue(&early)), @r"
    certificate in `DIR/certificate` is not valid before 2026-12-24T00:00:00Z; the clock here shows 2026-11-24T12:00:00Z
    hint: check the clock of this machine, then the validity of the certificate
    ");
}

#[test]
fn a_certificate_without_expiry_loads() {
    let mut params = client_params("agent");
    params.not_after = rcgen::date_time_ymd(9999, 12, 31);
    let identity = load(&Ca::new("root").issue(&params, &rcgen::PKCS_ECDSA_P256_SHA256)).unwrap();
    assert_eq!(identity.describe().not_after, Timestamp::MAX);
}

#[test]
fn a_ca_that_is_not_one_is_refused() {
    let ca = Ca::new("root");
    let leaf = ca.client("a server");
    insta::assert_snapshot!(refusal_with("ca.crt", &leaf.certificate), @r"
    certificate 1 in CA file `DIR/ca.crt` (`CN=a server`) is not a CA
    hint: put only root certificates there: for IoT Core Amazon Root CA 1 and 3, not the certificate of a server or device
    ");
    let both = refusal_with("ca.crt", format!("{}{}", ca.pem, leaf.certificate));
    assert!(
        both.starts_with("certificate 2 in CA file `DIR/ca.crt` (`CN=a server`) is not a CA"),
        "{both}"
    );
    let mut marked = named("no ca");
    marked.is_ca = IsCa::ExplicitNoCa;
    let marked = ca.issue(&marked, &rcgen::PKCS_ECDSA_P256_SHA256);
    assert!(refusal_with("ca.crt", marked.certificate).contains("(`CN=no ca`) is not a CA"));
}

#[test]
fn a_certificate_not_meant_for_clients_is_refused() {
    let ca = Ca::new("root");
    let mut authority = named("intermediate");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = ca.issue(&authority, &rcgen::PKCS_ECDSA_P256_SHA256);
    insta::assert_snapshot!(refusal_in(&authority.in_directory()), @r"
    certificate in `DIR/certificate` is a CA certificate (`CN=intermediate`), not a client certificate
    hint: put the device's own certificate first in the file; the CA belongs into the CA file
    ");
    let mut server = named("server");
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let server = ca.issue(&server, &rcgen::PKCS_ECDSA_P256_SHA256);
    insta::assert_snapshot!(refusal_in(&server.in_directory()), @r"
    certificate in `DIR/certificate` (`CN=server`) is not for clients: its extended key usage lacks clientAuth
    hint: issue the certificate with the extended key usage clientAuth, or without that extension
    ");
    // Without the extension a certificate may be used for anything; AWS's own are of that kind.
    load(&ca.issue(&named("plain"), &rcgen::PKCS_ECDSA_P256_SHA256)).unwrap();
}

/// The outline of a key, enough to be measured; nobody's key.
fn rsa_of_1024_bits() -> Vec<u8> {
    let mut der = vec![
        0x30, 0x81, 0x89, 0x02, 0x01, 0x00, 0x02, 0x81, 0x81, 0x00, 0xc1,
    ];
    der.extend([0x11; 127]);
    der.extend([0x02, 0x01, 0x03]);
    let length = der.len() - 3;
    der[2] = length as u8;
    der
}
