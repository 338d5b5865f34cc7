//! Certificates for the tests of the stages.

use jiff::Timestamp;
use link::identity::Identity;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// A set that is good from 1975 to 4096.
pub(super) fn identity() -> Identity {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &ca).unwrap();
    let now: Timestamp = "2026-06-01T00:00:00Z".parse().unwrap();
    Identity::from_pem(
        "fixture",
        &certificate.pem(),
        &key.serialize_pem(),
        &ca.pem(),
        now,
    )
    .unwrap()
}
