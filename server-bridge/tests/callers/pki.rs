//! Throw-away authorities and what they sign.

use std::path::Path;
use std::time::SystemTime;

use jiff::ToSpan as _;
use link::clock::Clock;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};

pub(crate) struct Ca {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, both PEM.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// For whom, and from when to when, in days from now.
pub(crate) struct Wish<'w> {
    pub(crate) common_name: &'w str,
    pub(crate) organisation: Option<&'w str>,
    pub(crate) days: (i64, i64),
    pub(crate) usage: Option<ExtendedKeyUsagePurpose>,
}

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    /// A server's on loopback.
    pub(crate) fn server(&self, days: (i64, i64)) -> Pair {
        let mut params = params(&Wish {
            common_name: "bridge",
            organisation: None,
            days,
            usage: Some(ExtendedKeyUsagePurpose::ServerAuth),
        });
        params.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
        self.sign(&params)
    }

    /// A caller's that is good.
    pub(crate) fn client(&self, common_name: &str, organisation: Option<&str>) -> Pair {
        self.issue(&Wish {
            common_name,
            organisation,
            days: (-1, 1),
            usage: Some(ExtendedKeyUsagePurpose::ClientAuth),
        })
    }

    pub(crate) fn issue(&self, wish: &Wish<'_>) -> Pair {
        self.sign(&params(wish))
    }

    fn sign(&self, params: &CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        Pair {
            certificate: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }
}

impl Pair {
    pub(crate) fn write(&self, directory: &Path) {
        std::fs::write(directory.join("tls.crt"), &self.certificate).unwrap();
        std::fs::write(directory.join("tls.key"), &self.key).unwrap();
    }

    /// Both in one text, as clients take them.
    pub(crate) fn identity(&self) -> reqwest::Identity {
        let both = format!("{}{}", self.key, self.certificate);
        reqwest::Identity::from_pem(both.as_bytes()).unwrap()
    }
}

fn params(wish: &Wish<'_>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, wish.common_name);
    if let Some(organisation) = wish.organisation {
        params
            .distinguished_name
            .push(DnType::OrganizationName, organisation);
    }
    params.not_before = day(wish.days.0).into();
    params.not_after = day(wish.days.1).into();
    params.extended_key_usages = wish.usage.clone().into_iter().collect();
    params
}

fn day(days: i64) -> SystemTime {
    SystemTime::from(Clock::system().now() + (days * 24).hours())
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    Clock::system().now().as_second()
}
