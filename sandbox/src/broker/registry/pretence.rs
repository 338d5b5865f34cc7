//! What is pretended of certificates without any change to the registry: the broker and the control plane both see it, and
//! nothing of it is saved.

use std::collections::{HashMap, HashSet};

use super::{Certificate, CertificateState, Registry, lock};

/// What is pretended, by the common name of certificates; `*` is every certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pretence {
    /// In which state certificates seem to be.
    pub states: HashMap<String, PretendedState>,
    /// Certificates that seem to have no policy.
    pub without_policy: HashSet<String>,
}

/// How a certificate seems to be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PretendedState {
    /// In this state.
    Registered(CertificateState),
    /// Not at all.
    Unknown,
}

// === impl Registry ===

impl Registry {
    /// Changes what is pretended, at once.
    pub fn pretend(&self, change: impl FnOnce(&mut Pretence)) {
        let mut inner = lock(&self.shared.inner);
        change(&mut inner.pretence);
        let grants = inner.account.grants(&inner.pretence);
        inner.pending.clear();
        inner.visible = std::sync::Arc::new(grants);
        drop(inner);
        self.shared.changed.send_modify(|version| *version += 1);
    }
}

// === impl Pretence ===

impl Pretence {
    /// A certificate as it seems to be; `None` when it seems unknown.
    pub(super) fn seen(&self, certificate: &Certificate) -> Option<Certificate> {
        let state = self.state(certificate)?;
        let mut seen = Certificate {
            state,
            ..certificate.clone()
        };
        if self.is_without_policy(certificate) {
            seen.policies.clear();
        }
        Some(seen)
    }

    /// The state in which a certificate seems to be; `None` when it seems unknown.
    pub(super) fn state(&self, certificate: &Certificate) -> Option<CertificateState> {
        match names(certificate).find_map(|name| self.states.get(name)) {
            None => Some(certificate.state),
            Some(PretendedState::Registered(state)) => Some(*state),
            Some(PretendedState::Unknown) => None,
        }
    }

    /// Whether a certificate seems to have no policy.
    pub(super) fn is_without_policy(&self, certificate: &Certificate) -> bool {
        let mut names = names(certificate);
        names.any(|name| self.without_policy.contains(name))
    }
}

fn names(certificate: &Certificate) -> impl Iterator<Item = &str> {
    let own = certificate.attributes.get("Subject.CommonName");
    let own = own.into_iter().flatten().map(String::as_str);
    own.chain(std::iter::once("*"))
}
