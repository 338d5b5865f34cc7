//! The account's registry: certificates by fingerprint, policies by name, things; what a control plane changes and
//! every connection obeys.
//!
//! State changes act at once. Policy changes become visible after [`Registry::set_policy_delay`], because on IoT
//! Core they take minutes (iot-core.md §1.2).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use link::iot::{Document, Thing};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

use super::lock;

pub use self::certificate::{Certificate, CertificateState, Fingerprint};
pub use self::error::Error;

mod certificate;
mod error;
mod file;

/// Handle to the registry; clones share it.
#[derive(Clone, Debug)]
pub struct Registry {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    account: Account,
    visible: Arc<Grants>,
    pending: VecDeque<(Instant, Arc<Grants>)>,
    delay: Duration,
}

/// Everything that is stored.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Account {
    certificates: BTreeMap<Fingerprint, Certificate>,
    policies: BTreeMap<String, StoredPolicy>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct StoredPolicy(Document);

/// Documents in force per certificate, in one immutable piece.
#[derive(Debug, Default)]
pub(super) struct Grants {
    by_certificate: BTreeMap<Fingerprint, Arc<[Document]>>,
}

// === impl Registry ===

impl Registry {
    /// An empty registry.
    pub fn new() -> Self {
        let shared = Shared {
            inner: Mutex::default(),
            changed: watch::Sender::new(0),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The registry kept in a file; an empty one when there is no file yet.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let registry = Self::new();
        if let Some(account) = file::read(path)? {
            registry.change(|inner| inner.account = account);
        }
        Ok(registry)
    }

    /// Writes the registry to a file, replacing it whole.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let account = lock(&self.shared.inner).account.clone();
        file::write(path, &account)
    }

    /// Registers the first certificate of a PEM text as ACTIVE and attaches policies, which must exist.
    /// A known certificate keeps its state and gains the policies.
    ///
    /// # Errors
    /// When there is no certificate in the text or a policy does not exist.
    pub fn register_pem(&self, pem: &str, policies: &[&str]) -> Result<Fingerprint, Error> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(Error::Pem)?;
        let fingerprint = Fingerprint::of(&der);
        let certificate =
            Certificate::describe(&der).ok_or_else(|| Error::Certificate(fingerprint.clone()))?;
        self.change(|inner| {
            inner
                .account
                .certificates
                .entry(fingerprint.clone())
                .or_insert(certificate);
        });
        for policy in policies {
            self.attach_policy(&fingerprint, policy)?;
        }
        Ok(fingerprint)
    }

    /// Changes a certificate's state. Leaving ACTIVE ends its connections.
    ///
    /// # Errors
    /// For an unknown certificate, and for one that is revoked.
    pub fn set_state(
        &self,
        certificate: &Fingerprint,
        state: CertificateState,
    ) -> Result<(), Error> {
        self.change(|inner| {
            let known = inner.account.certificate(certificate)?;
            if known.state == CertificateState::Revoked && state != CertificateState::Revoked {
                return Err(Error::Revoked(certificate.clone()));
            }
            known.state = state;
            Ok(())
        })
    }

    /// Creates or replaces a policy.
    ///
    /// # Errors
    /// For a document of more than 2 048 characters without white space (iot-core.md §1.2).
    pub fn put_policy(&self, name: &str, document: Document) -> Result<(), Error> {
        document.check_size().map_err(|source| Error::Policy {
            name: name.to_owned(),
            source,
        })?;
        let document = document.named(name);
        self.change(|inner| {
            inner
                .account
                .policies
                .insert(name.to_owned(), StoredPolicy(document));
        });
        Ok(())
    }

    /// Attaches a policy to a certificate.
    ///
    /// # Errors
    /// When either does not exist, and for an eleventh policy.
    pub fn attach_policy(&self, certificate: &Fingerprint, policy: &str) -> Result<(), Error> {
        self.change(|inner| {
            if !inner.account.policies.contains_key(policy) {
                return Err(Error::UnknownPolicy(policy.to_owned()));
            }
            let known = inner.account.certificate(certificate)?;
            if known.policies.len() >= POLICIES_PER_CERTIFICATE && !known.policies.contains(policy)
            {
                return Err(Error::TooManyPolicies {
                    policy: policy.to_owned(),
                    certificate: certificate.clone(),
                });
            }
            known.policies.insert(policy.to_owned());
            Ok(())
        })
    }

    /// Detaches a policy from a certificate.
    ///
    /// # Errors
    /// For an unknown certificate.
    pub fn detach_policy(&self, certificate: &Fingerprint, policy: &str) -> Result<(), Error> {
        self.change(|inner| {
            inner
                .account
                .certificate(certificate)?
                .policies
                .remove(policy);
            Ok(())
        })
    }

    /// Attaches a certificate to a thing, whose variables policies may then use.
    ///
    /// # Errors
    /// For an unknown certificate.
    pub fn attach_thing(&self, certificate: &Fingerprint, thing: Thing) -> Result<(), Error> {
        self.change(|inner| {
            inner.account.certificate(certificate)?.thing = Some(thing.into());
            Ok(())
        })
    }

    /// A registered certificate.
    pub fn certificate(&self, certificate: &Fingerprint) -> Option<Certificate> {
        lock(&self.shared.inner)
            .account
            .certificates
            .get(certificate)
            .cloned()
    }

    /// All registered certificates.
    pub fn certificates(&self) -> Vec<(Fingerprint, Certificate)> {
        let inner = lock(&self.shared.inner);
        inner
            .account
            .certificates
            .iter()
            .map(|(f, c)| (f.clone(), c.clone()))
            .collect()
    }

    /// The document of a policy, as last put.
    pub fn policy(&self, name: &str) -> Option<Document> {
        lock(&self.shared.inner)
            .account
            .policies
            .get(name)
            .map(|policy| policy.0.clone())
    }

    /// From now on, policy changes become visible this much later.
    pub fn set_policy_delay(&self, delay: Duration) {
        lock(&self.shared.inner).delay = delay;
    }

    /// Whether the certificate may be used.
    pub(super) fn is_active(&self, certificate: &Fingerprint) -> bool {
        let inner = lock(&self.shared.inner);
        let known = inner.account.certificates.get(certificate);
        known.is_some_and(|known| known.state == CertificateState::Active)
    }

    /// The policies in force.
    pub(super) fn grants(&self, now: Instant) -> Arc<Grants> {
        let mut inner = lock(&self.shared.inner);
        while inner
            .pending
            .front()
            .is_some_and(|(visible_at, _)| *visible_at <= now)
        {
            if let Some((_, grants)) = inner.pending.pop_front() {
                inner.visible = grants;
            }
        }
        inner.visible.clone()
    }

    /// Changes whenever the registry does.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = lock(&self.shared.inner);
        let outcome = change(&mut inner);
        let grants = Arc::new(inner.account.grants());
        if inner.delay.is_zero() {
            inner.pending.clear();
            inner.visible = grants;
        } else {
            let visible_at = Instant::now() + inner.delay;
            inner.pending.push_back((visible_at, grants));
        }
        drop(inner);
        self.shared.changed.send_modify(|version| *version += 1);
        outcome
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Account ===

impl Account {
    fn certificate(&mut self, fingerprint: &Fingerprint) -> Result<&mut Certificate, Error> {
        self.certificates
            .get_mut(fingerprint)
            .ok_or_else(|| Error::UnknownCertificate(fingerprint.clone()))
    }

    fn grants(&self) -> Grants {
        let documents = |names: &BTreeSet<String>| -> Arc<[Document]> {
            names
                .iter()
                .filter_map(|name| self.policies.get(name))
                .map(|p| p.0.clone())
                .collect()
        };
        let by_certificate = self
            .certificates
            .iter()
            .map(|(fingerprint, known)| (fingerprint.clone(), documents(&known.policies)))
            .collect();
        Grants { by_certificate }
    }
}

// === impl Grants ===

impl Grants {
    /// The documents of a certificate; none for an unknown one.
    pub(super) fn of(&self, certificate: &Fingerprint) -> &[Document] {
        self.by_certificate
            .get(certificate)
            .map_or(&[], |documents| documents)
    }
}

// === impl StoredPolicy ===

impl TryFrom<String> for StoredPolicy {
    type Error = link::iot::policy::PolicyError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Document::parse(&text).map(Self)
    }
}

impl From<StoredPolicy> for String {
    fn from(policy: StoredPolicy) -> Self {
        policy.0.to_json()
    }
}

/// Policies that one certificate may carry (iot-core.md §1.2).
const POLICIES_PER_CERTIFICATE: usize = 10;
