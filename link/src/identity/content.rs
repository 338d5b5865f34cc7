//! The PEM sections of a file, or else an error with the class of what was found instead, never the content itself.

use std::path::Path;

use rustls_pki_types::pem::{self, PemObject, SectionKind};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};

use super::class::Class;
use super::error::{IdentityError, Role};

/// Every certificate of a file, in order; at least one.
pub(super) fn certificates(
    role: Role,
    path: &Path,
    bytes: &[u8],
) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let sections = sections(role, path, bytes)?;
    let certificates: Vec<_> = sections
        .into_iter()
        .filter(|(kind, _)| *kind == SectionKind::Certificate)
        .map(|(_, der)| CertificateDer::from(der))
        .collect();
    if certificates.is_empty() {
        return Err(refuse(role, path, bytes));
    }
    Ok(certificates)
}

/// The first private key of a file.
pub(super) fn private_key(
    path: &Path,
    bytes: &[u8],
) -> Result<PrivateKeyDer<'static>, IdentityError> {
    if is_encrypted(bytes) {
        return Err(IdentityError::Encrypted {
            path: path.to_owned(),
        });
    }
    sections(Role::Key, path, bytes)?
        .into_iter()
        .find_map(|(kind, der)| match kind {
            SectionKind::RsaPrivateKey => Some(PrivatePkcs1KeyDer::from(der).into()),
            SectionKind::EcPrivateKey => Some(PrivateSec1KeyDer::from(der).into()),
            SectionKind::PrivateKey => Some(PrivatePkcs8KeyDer::from(der).into()),
            _ => None,
        })
        .ok_or_else(|| refuse(Role::Key, path, bytes))
}

fn sections(
    role: Role,
    path: &Path,
    bytes: &[u8],
) -> Result<Vec<(SectionKind, Vec<u8>)>, IdentityError> {
    <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes)
        .collect::<Result<Vec<_>, pem::Error>>()
        .map_err(|_| match Class::of(bytes) {
            // The parser's own error quotes the file, so only our class of it goes on.
            Class::Pem(label) => content(role, path, Class::Damaged(label)),
            class => content(role, path, class),
        })
}

fn refuse(role: Role, path: &Path, bytes: &[u8]) -> IdentityError {
    let class = Class::of(bytes);
    // Sections of the wanted kind would have been found if they had been whole.
    let wanted = |label: &str| match role {
        Role::Key => {
            label.ends_with("PRIVATE KEY")
                && label != "OPENSSH PRIVATE KEY"
                && label != "DSA PRIVATE KEY"
        }
        Role::Certificate | Role::Ca => label == "CERTIFICATE",
    };
    match class {
        Class::Pem(label) if wanted(label) => content(role, path, Class::Damaged(label)),
        class => content(role, path, class),
    }
}

fn content(role: Role, path: &Path, class: Class) -> IdentityError {
    IdentityError::Content {
        role,
        path: path.to_owned(),
        class,
    }
}

fn is_encrypted(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
        || text.contains("\nProc-Type: 4,ENCRYPTED")
}
