//! Who this process is to the broker: a certificate chain, its private key and the CA it trusts.
//!
//! The three files are read together, checked together and published together (docs/ARCHITECTURE.md, invariant D), so
//! that an [`Identity`] is always a set that fits. A set that does not load is an [`IdentityError`] that names the
//! file, what kind of thing is in it and what to do; it never carries content. [`watch`] follows a mounted directory
//! and publishes each new good set; the session tries it and keeps the old one until the broker has accepted it.

mod certificate;
mod class;
mod content;
mod error;
#[cfg(test)]
pub(crate) mod fixture;
mod inspection;
mod key;
mod key_kind;
mod location;
mod metrics;
mod watcher;

use std::fmt;

use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use self::location::Contents;

pub use self::certificate::{Description, subject_and_issuer};
pub use self::class::Class;
pub use self::error::{IdentityError, Role};
pub use self::inspection::{Inspection, inspect};
pub use self::key_kind::KeyKind;
pub use self::location::{Digest, Files, Location};
pub use self::metrics::IdentityMetrics;
pub use self::watcher::{IdentityProblem, WatchOptions, Watcher, watch};

/// A checked set of certificate chain, private key and CA certificates. `Debug` hides the key.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    ca: Vec<CertificateDer<'static>>,
    description: Description,
    files: Files,
    digest: Digest,
}

// === impl Identity ===

impl Identity {
    /// Reads and checks the set at `location` as of `now`.
    ///
    /// The client certificate is not checked against the CA file: that file is the *server's* root, and on
    /// AWS the client certificate is signed by Amazon's own CA (docs/IOT-CORE.md §1.6).
    pub fn load(location: &Location, now: Timestamp) -> Result<Self, IdentityError> {
        let mut contents = Contents::read(location)?;
        for _ in 0..REREADS {
            match Self::check(&contents, now) {
                // A writer may have swapped the files between our reads: look again, once the bytes differ.
                Err(IdentityError::KeyMismatch { .. }) => {
                    let again = Contents::read(location)?;
                    if again.digest() == contents.digest() {
                        break;
                    }
                    contents = again;
                }
                outcome => return outcome,
            }
        }
        Self::check(&contents, now)
    }

    /// Checks a set that is in memory. Its parts are named in errors as if `name` were a directory that holds them.
    pub fn from_pem(
        name: &str,
        certificate: &str,
        key: &str,
        ca: &str,
        now: Timestamp,
    ) -> Result<Self, IdentityError> {
        let files = Files::in_directory(name.as_ref());
        let contents = Contents::new(files, certificate.into(), key.into(), ca.into());
        Self::check(&contents, now)
    }

    /// The description of the client certificate.
    pub fn describe(&self) -> &Description {
        &self.description
    }

    /// The client certificate chain, leaf first, as it is sent in the handshake.
    pub fn certificate_chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// A copy of the private key, to build a TLS configuration from.
    pub fn clone_key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }

    /// The certificates of the CA file: the only roots a server certificate may lead to.
    pub fn ca_certificates(&self) -> &[CertificateDer<'static>] {
        &self.ca
    }

    /// Subjects of the certificates of the CA file, in file order.
    pub fn ca_subjects(&self) -> Vec<String> {
        self.ca
            .iter()
            .map(|der| {
                subject_and_issuer(der)
                    .map_or_else(|| "(unreadable)".into(), |(subject, _)| subject)
            })
            .collect()
    }

    /// The files the set came from.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// SHA-256 over the contents of the three files; equal digests mean the same set.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    fn check(contents: &Contents, now: Timestamp) -> Result<Self, IdentityError> {
        let files = contents.files();
        let chain = content::certificates(
            Role::Certificate,
            &files.certificate,
            contents.certificate(),
        )?;
        let description = certificate::check_client(&files.certificate, &chain)?;
        let key = content::private_key(&files.key, contents.key())?;
        key::check(files, &key, &chain)?;
        let ca = content::certificates(Role::Ca, &files.ca, contents.ca())?;
        certificate::check_ca(&files.ca, &ca)?;
        // Dates last: that a set is torn or broken is the more useful error.
        certificate::check_dates(&files.certificate, &description, now)?;
        Ok(Self {
            chain,
            key,
            ca,
            description,
            files: files.clone(),
            digest: contents.digest(),
        })
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("certificate", &self.description.to_string())
            .field("key", &"...")
            .field("ca", &self.ca_subjects())
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

// Each re-read needs a writer that changed the files during the last few microseconds; two are generous.
const REREADS: usize = 2;

#[cfg(test)]
mod tests;
