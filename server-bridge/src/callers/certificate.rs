//! Authentication by client certificate: the user is the common name, the groups are the organisations.
//!
//! **Contract:** the handshake verified the certificate when the connection began; here it is verified again at each call,
//! so that one that expired or whose CA was withdrawn since is refused on a connection that is open.

use std::sync::Arc;

use link::clock::Clock;
use rustls::{CertificateError, Error};
use rustls_pki_types::CertificateDer;
use tokio::sync::watch;
use tokio::time::Instant;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::x509::X509Name;

use super::cache::{Cache, key};
use super::tls::Anchors;
use super::{Caller, Connection, Denied, Mechanism};

/// Knows callers by their certificates.
#[derive(Debug)]
pub(super) struct Certificates {
    anchors: watch::Receiver<Arc<Anchors>>,
    clock: Clock,
    /// By certificate and CA: verifying takes two signatures.
    known: Cache<Result<Named, String>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    user: String,
    groups: Vec<String>,
}

// === impl Certificates ===

impl Certificates {
    pub(super) fn new(anchors: watch::Receiver<Arc<Anchors>>, clock: Clock) -> Self {
        Self {
            anchors,
            clock,
            known: Cache::default(),
        }
    }

    pub(super) fn caller(
        &self,
        connection: &Connection,
        leaf: &CertificateDer<'_>,
    ) -> Result<Caller, Denied> {
        let anchors = Arc::clone(&self.anchors.borrow());
        let question = key([anchors.digest.as_slice(), leaf.as_ref()]);
        let named = match self.known.get(&question) {
            Some(named) => named,
            None => {
                let asked = Instant::now();
                let named = self.verify(&anchors, connection, leaf);
                self.known.put(question, asked, named.clone());
                named
            }
        };
        let Named { user, groups } = named.map_err(Denied::Unauthenticated)?;
        Ok(Caller {
            user,
            groups,
            from: connection.address,
            by: Mechanism::Certificate,
        })
    }

    fn verify(
        &self,
        anchors: &Anchors,
        connection: &Connection,
        leaf: &CertificateDer<'_>,
    ) -> Result<Named, String> {
        anchors
            .check(leaf, &connection.intermediates, self.clock.now())
            .map_err(|error| {
                let why = match error {
                    Error::InvalidCertificate(
                        CertificateError::Expired | CertificateError::ExpiredContext { .. },
                    ) => "it has expired; connect with a new one".to_owned(),
                    Error::InvalidCertificate(
                        CertificateError::UnknownIssuer | CertificateError::BadSignature,
                    ) => "no CA of the client CA file issued it".to_owned(),
                    other => other.to_string(),
                };
                format!("the client certificate is refused: {why}")
            })?;
        name(leaf)
    }
}

fn name(leaf: &CertificateDer<'_>) -> Result<Named, String> {
    let (_, certificate) = X509Certificate::from_der(leaf)
        .map_err(|_| "the client certificate cannot be parsed".to_owned())?;
    let subject = certificate.subject();
    let user = common_name(subject)?;
    let groups = subject
        .iter_organization()
        .filter_map(|value| value.as_str().ok())
        // Those are Kubernetes' own, as with tokens.
        .filter(|group| !group.is_empty() && !group.starts_with(RESERVED))
        .map(str::to_owned)
        .collect();
    Ok(Named { user, groups })
}

/// The one common name. Several could be read differently by whoever issued it.
fn common_name(subject: &X509Name<'_>) -> Result<String, String> {
    let names: Vec<&str> = subject
        .iter_common_name()
        .map(|value| value.as_str().unwrap_or(""))
        .collect();
    match names.as_slice() {
        // As with groups: whoever issues certificates for callers makes no account of a cluster, and rules and RBAC know
        // those by these names.
        [name] if name.starts_with(RESERVED) => Err(format!(
            "the client certificate is refused: its common name (CN) begins with `{RESERVED}`, and such names are Kubernetes' own"
        )),
        [name] if !name.is_empty() => Ok((*name).to_owned()),
        [] | [_] => Err(
            "the client certificate is refused: its subject has no common name (CN), which is the user".into(),
        ),
        _ => Err("the client certificate is refused: its subject has several common names (CN)".into()),
    }
}

/// What names of Kubernetes' own begin with.
const RESERVED: &str = "system:";

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_certificate_that_expires_is_refused_on_a_connection_that_is_open() {
        let mut ca = CertificateParams::default();
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = ca.self_signed(&key).unwrap().pem();
        let ca = rcgen::Issuer::new(ca, key);
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "ann");
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 1, 2);
        let leaf = params
            .signed_by(&KeyPair::generate().unwrap(), &ca)
            .unwrap();
        let (_, anchors) = watch::channel(Arc::new(Anchors::parse(&[pem.into()]).unwrap()));
        let now = Arc::new(std::sync::Mutex::new("2026-01-01T12:00:00Z"));
        let shown = Arc::clone(&now);
        let clock = Clock::from_fn(move || shown.lock().unwrap().parse().unwrap());
        let certificates = Certificates::new(anchors, clock);
        let connection = Connection::plain(([127, 0, 0, 1], 1).into());
        let known = || certificates.caller(&connection, leaf.der());
        assert_eq!(known().unwrap().user, "ann");
        *now.lock().unwrap() = "2026-01-02T00:00:01Z";
        // What was found before counts for ten seconds.
        assert!(known().is_ok());
        tokio::time::advance(super::super::cache::KEPT).await;
        assert_eq!(
            known().unwrap_err().to_string(),
            "the client certificate is refused: it has expired; connect with a new one"
        );
    }

    fn named(subject: &[(DnType, &str)]) -> Result<Named, String> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in subject {
            params.distinguished_name.push(kind.clone(), *value);
        }
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        name(certificate.der())
    }

    #[test]
    fn the_user_is_the_common_name_and_an_organisation_is_not_needed() {
        let (cn, o) = (DnType::CommonName, DnType::OrganizationName);
        let known = named(&[(cn.clone(), "ann"), (o.clone(), "ops")]).unwrap();
        assert_eq!(
            (known.user.as_str(), known.groups),
            ("ann", vec!["ops".to_owned()])
        );
        for none in [
            &[(cn.clone(), "ann")][..],
            &[(cn.clone(), "ann"), (o.clone(), "system:masters")],
        ] {
            assert_eq!(named(none).unwrap().groups, Vec::<String>::new());
        }
        for reserved in ["system:admin", "system:serviceaccount:shop:source"] {
            let refused = named(&[(cn.clone(), reserved)]).unwrap_err();
            assert!(refused.contains("begins with `system:`"), "{refused}");
        }
        assert_eq!(named(&[(cn.clone(), "systems")]).unwrap().user, "systems");
        for subject in [&[][..], &[(cn, "")], &[(o, "ops")]] {
            let refused = named(subject).unwrap_err();
            assert!(refused.contains("has no common name"), "{refused}");
        }
    }
}
