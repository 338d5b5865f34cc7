//! The account's registry: certificates by fingerprint, policies by name, things; what a control plane changes and
//! every connection obeys.
//!
//! State changes act at once. Policy changes become visible after [`Registry::set_policy_delay`], because on IoT
//! Core they take minutes (docs/IOT-CORE.md §1.2). What may be changed when is decided here, under one lock, by the rules
//! of IoT Core's control plane; how a refusal is spelled there is `crate::control`'s work.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use link::clock::Clock;
use link::iot::Document;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{faults, lock};

pub use self::certificate::{Certificate, CertificateState, Fingerprint};
pub use self::error::RegistryError;
pub use self::policy::{Policy, PolicyVersion, Tags};
pub use self::pretence::{Pretence, PretendedState};
pub use self::thing::{RegisteredThing, ThingChange};

mod certificate;
mod certificates;
mod error;
mod file;
mod policies;
mod policy;
mod policy_versions;
mod pretence;
mod thing;
mod things;

/// Handle to the registry; clones share it.
#[derive(Clone, Debug)]
pub struct Registry {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    changed: watch::Sender<u64>,
    clock: Clock,
}

#[derive(Debug, Default)]
struct Inner {
    account: Account,
    visible: Arc<Grants>,
    pending: VecDeque<Edit>,
    delay: Duration,
    spread: Duration,
    pretence: Pretence,
}

/// A change of policies that is not visible everywhere.
#[derive(Debug)]
struct Edit {
    /// When the first see it.
    from: Instant,
    /// When all do.
    until: Instant,
    grants: Arc<Grants>,
}

/// Everything that is stored.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Account {
    certificates: BTreeMap<Fingerprint, Certificate>,
    policies: BTreeMap<String, Policy>,
    things: BTreeMap<String, RegisteredThing>,
}

/// Documents in force per certificate, in one immutable piece.
#[derive(Debug, Default)]
pub(super) struct Grants {
    by_certificate: BTreeMap<Fingerprint, Arc<[Document]>>,
}

// === impl Registry ===

impl Registry {
    /// An empty registry with the system's clock.
    pub fn new() -> Self {
        Self::with_clock(Clock::system())
    }

    /// An empty registry that dates its entries by another clock.
    pub fn with_clock(clock: Clock) -> Self {
        let shared = Shared {
            inner: Mutex::default(),
            changed: watch::Sender::new(0),
            clock,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The registry kept in a file; an empty one when there is no file yet.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn load(path: &Path) -> Result<Self, RegistryError> {
        let registry = Self::new();
        if let Some(account) = file::read(path)? {
            registry.change(|stored| *stored = account);
        }
        Ok(registry)
    }

    /// Writes the registry to a file, replacing it whole.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), RegistryError> {
        let account = self.read(Account::clone);
        file::write(path, &account)
    }

    /// From now on, policy changes become visible this much later.
    pub fn set_policy_delay(&self, delay: Duration) {
        lock(&self.shared.inner).delay = delay;
    }

    /// From now on, a policy change is seen by ever more decisions for so long once it is visible, and not by the others:
    /// answers flap, as while the hosts of IoT Core learn of it one by one.
    pub fn set_policy_spread(&self, spread: Duration) {
        lock(&self.shared.inner).spread = spread;
    }

    /// What its entries are dated by.
    pub(crate) fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// Whether the certificate may be used.
    pub(super) fn is_active(&self, certificate: &Fingerprint) -> bool {
        let inner = lock(&self.shared.inner);
        let known = inner.account.certificates.get(certificate);
        let state = known.and_then(|known| inner.pretence.state(known));
        state == Some(CertificateState::Active)
    }

    /// The policies in force.
    pub(super) fn grants(&self, now: Instant) -> Arc<Grants> {
        let mut inner = lock(&self.shared.inner);
        while inner.pending.front().is_some_and(|edit| edit.until <= now) {
            if let Some(edit) = inner.pending.pop_front() {
                inner.visible = edit.grants;
            }
        }
        let seen = inner.pending.iter().rev().find(|edit| edit.is_seen(now));
        seen.map_or(&inner.visible, |edit| &edit.grants).clone()
    }

    /// Changes whenever the registry does.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    fn read<T>(&self, read: impl FnOnce(&Account) -> T) -> T {
        read(&lock(&self.shared.inner).account)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Account) -> T) -> T {
        let mut inner = lock(&self.shared.inner);
        let outcome = change(&mut inner.account);
        let grants = Arc::new(inner.account.grants(&inner.pretence));
        if inner.delay.is_zero() && inner.spread.is_zero() {
            inner.pending.clear();
            inner.visible = grants;
        } else {
            let from = Instant::now() + inner.delay;
            let until = from + inner.spread;
            let edit = Edit {
                from,
                until,
                grants,
            };
            inner.pending.push_back(edit);
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
    fn certificate(
        &mut self,
        fingerprint: &Fingerprint,
    ) -> Result<&mut Certificate, RegistryError> {
        self.certificates
            .get_mut(fingerprint)
            .ok_or_else(|| RegistryError::UnknownCertificate(fingerprint.clone()))
    }

    fn policy(&mut self, name: &str) -> Result<&mut Policy, RegistryError> {
        self.policies
            .get_mut(name)
            .ok_or_else(|| RegistryError::UnknownPolicy(name.to_owned()))
    }

    fn thing(&mut self, name: &str) -> Result<&mut RegisteredThing, RegistryError> {
        self.things
            .get_mut(name)
            .ok_or_else(|| RegistryError::UnknownThing(name.to_owned()))
    }

    fn grants(&self, pretence: &Pretence) -> Grants {
        let documents = |names: &BTreeSet<String>| -> Arc<[Document]> {
            names
                .iter()
                .filter_map(|name| {
                    let version = self.policies.get(name)?.default_version()?;
                    Some(version.document().clone().named(name))
                })
                .collect()
        };
        let by_certificate = self
            .certificates
            .iter()
            .map(|(fingerprint, known)| {
                let documents = match pretence.is_without_policy(known) {
                    true => Arc::default(),
                    false => documents(&known.policies),
                };
                (fingerprint.clone(), documents)
            })
            .collect();
        Grants { by_certificate }
    }
}

// === impl Edit ===

impl Edit {
    /// Whether one decision sees it: ever more do.
    fn is_seen(&self, now: Instant) -> bool {
        let spread = self.until.saturating_duration_since(self.from);
        let passed = now.saturating_duration_since(self.from);
        !passed.is_zero() && faults::happens(passed.as_secs_f64() / spread.as_secs_f64())
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
