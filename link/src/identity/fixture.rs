//! Certificates, keys and mounted directories for tests, with both writers of docs/IOT-CORE.md §4.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use base64::Engine as _;
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SignatureAlgorithm,
};

/// One set as file contents.
#[derive(Clone)]
pub(crate) struct Set {
    pub(crate) certificate: String,
    pub(crate) key: String,
    pub(crate) ca: String,
}

/// A throw-away CA.
pub(crate) struct Ca {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// The time all fixtures are made around.
pub(crate) fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

// === impl Ca ===

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    /// A good P-256 client set named `name`.
    pub(crate) fn client(&self, name: &str) -> Set {
        self.issue(&client_params(name), &rcgen::PKCS_ECDSA_P256_SHA256)
    }

    pub(crate) fn issue(
        &self,
        params: &CertificateParams,
        algorithm: &'static SignatureAlgorithm,
    ) -> Set {
        self.sign(params, &KeyPair::generate_for(algorithm).unwrap())
    }

    pub(crate) fn sign(&self, params: &CertificateParams, key: &KeyPair) -> Set {
        Set {
            certificate: params.signed_by(key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
            ca: self.pem.clone(),
        }
    }
}

// === impl Set ===

impl Set {
    pub(crate) fn in_directory(&self) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        self.provider_writes(directory.path());
        directory
    }

    /// What the AWS provider does at every poll: each file as a temporary one beside it, then renamed.
    pub(crate) fn provider_writes(&self, directory: &Path) {
        replace(directory, "certificate", &self.certificate);
        replace(directory, "privateKey", &self.key);
        replace(directory, "ca.crt", &self.ca);
    }

    /// What the CSI driver's atomic writer does: a new timestamped directory, then `..data` swapped by one rename.
    pub(crate) fn driver_writes(&self, directory: &Path, version: &str) {
        let fresh = directory.join(format!("..{version}"));
        fs::create_dir(&fresh).unwrap();
        for (name, content) in [
            ("tls.crt", &self.certificate),
            ("tls.key", &self.key),
            ("ca.crt", &self.ca),
        ] {
            fs::write(fresh.join(name), content).unwrap();
        }
        let old = fs::read_link(directory.join("..data")).ok();
        symlink(format!("..{version}"), directory.join("..data_tmp")).unwrap();
        fs::rename(directory.join("..data_tmp"), directory.join("..data")).unwrap();
        for name in ["tls.crt", "tls.key", "ca.crt"] {
            if !directory.join(name).is_symlink() {
                symlink(format!("..data/{name}"), directory.join(name)).unwrap();
            }
        }
        if let Some(old) = old {
            fs::remove_dir_all(directory.join(old)).unwrap();
        }
    }
}

/// One file as temporary, then renamed.
pub(crate) fn replace(directory: &Path, name: &str, content: impl AsRef<[u8]>) {
    let temporary = directory.join(format!("{name}12345"));
    fs::write(&temporary, content).unwrap();
    fs::rename(temporary, directory.join(name)).unwrap();
}

pub(crate) fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(2026, 11, 1);
    params.not_after = rcgen::date_time_ymd(2027, 11, 1);
    params
}

pub(crate) fn client_params(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = body
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

/// The SEC1 or PKCS#1 structure inside a PKCS#8 one.
pub(crate) fn inside_pkcs8(pkcs8: &[u8]) -> Vec<u8> {
    use x509_parser::asn1_rs::{Any, FromDer, Sequence};
    let (_, info) = Sequence::from_der(pkcs8).unwrap();
    let (rest, _version) = Any::from_der(&info.content).unwrap();
    let (rest, _algorithm) = Any::from_der(rest).unwrap();
    Any::from_der(rest).unwrap().1.data.to_vec()
}
