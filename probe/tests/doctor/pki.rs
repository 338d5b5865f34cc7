//! Certificates, keys and mounted directories.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// An authority.
pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

pub(crate) fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// For these names, valid from and until so many days from now.
pub(crate) fn leaf(ca: &Authority, names: &[&str], from_days: i64, until_days: i64) -> Pair {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params
        .distinguished_name
        .push(DnType::CommonName, "a party");
    let day = |days: i64| {
        let at = link::clock::Clock::system().now() + jiff::SignedDuration::from_hours(24 * days);
        let date = at.to_zoned(jiff::tz::TimeZone::UTC).date();
        rcgen::date_time_ymd(
            date.year().into(),
            date.month().unsigned_abs(),
            date.day().unsigned_abs(),
        )
    };
    params.not_before = day(from_days);
    params.not_after = day(until_days);
    let key = KeyPair::generate().unwrap();
    Pair {
        certificate: params.signed_by(&key, ca).unwrap().pem(),
        key: key.serialize_pem(),
    }
}

/// Good for localhost, for years.
pub(crate) fn good(ca: &Authority) -> Pair {
    leaf(ca, &["localhost", "127.0.0.1"], -1, 1000)
}

/// A mounted directory with a good set.
pub(crate) fn mount(ca: &Authority, pair: &Pair) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    put(directory.path(), "certificate", &pair.certificate);
    put(directory.path(), "privateKey", &pair.key);
    put(directory.path(), "ca.crt", &ca.pem());
    directory
}

/// A file that is its owner's alone.
pub(crate) fn put(directory: &Path, name: &str, content: impl AsRef<[u8]>) {
    let path = directory.join(name);
    std::fs::write(&path, content).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
