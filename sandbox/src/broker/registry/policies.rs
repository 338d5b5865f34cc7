//! Policies of the registry: making, tagging, attaching and deleting them.

use link::iot::Document;
use link::iot::limits::{POLICIES_PER_PRINCIPAL, TAGS_PER_RESOURCE};
use link::iot::policy::PolicyError;
use link::telemetry::clip;

use super::{Fingerprint, Policy, PolicyVersion, Registry, RegistryError, Tags};

// === impl Registry ===

impl Registry {
    /// Creates a policy, or replaces what its default version says. Unlike what the control plane does, it makes no
    /// new version.
    ///
    /// # Errors
    /// For a document of more than 2 048 characters without white space (docs/IOT-CORE.md §1.2).
    pub fn put_policy(&self, name: &str, document: Document) -> Result<(), RegistryError> {
        let now = self.clock().now();
        let version = PolicyVersion::of(document, now).map_err(refused(name))?;
        self.change(|account| {
            if let Some(policy) = account.policies.get_mut(name) {
                policy.replace(version);
            } else {
                let policy = Policy::new(version, Tags::new());
                account.policies.insert(name.to_owned(), policy);
            }
        });
        Ok(())
    }

    /// Creates a policy with version 1 in force.
    ///
    /// # Errors
    /// When there is one of that name, even with the same document; for a malformed or too long document; and for
    /// too many tags.
    pub fn create_policy(
        &self,
        name: &str,
        json: &str,
        tags: Tags,
    ) -> Result<Policy, RegistryError> {
        let now = self.clock().now();
        let version = PolicyVersion::parse(json, now).map_err(refused(name))?;
        check_tags(name, &tags)?;
        log_warnings(name, version.document());
        self.change(|account| {
            if account.policies.contains_key(name) {
                return Err(RegistryError::PolicyExists(name.to_owned()));
            }
            let policy = Policy::new(version, tags);
            account.policies.insert(name.to_owned(), policy.clone());
            Ok(policy)
        })
    }

    /// Deletes a policy with its one version.
    ///
    /// # Errors
    /// For an unknown policy, one with other versions than the default one, and one that is attached.
    pub fn delete_policy(&self, name: &str) -> Result<(), RegistryError> {
        self.change(|account| {
            if account.policy(name)?.versions.len() > 1 {
                return Err(RegistryError::PolicyHasVersions(name.to_owned()));
            }
            let mut certificates = account.certificates.values();
            if certificates.any(|known| known.policies.contains(name)) {
                return Err(RegistryError::PolicyAttached(name.to_owned()));
            }
            account.policies.remove(name);
            Ok(())
        })
    }

    /// Attaches a policy to a certificate.
    ///
    /// # Errors
    /// When either does not exist, and for an eleventh policy.
    pub fn attach_policy(
        &self,
        certificate: &Fingerprint,
        policy: &str,
    ) -> Result<(), RegistryError> {
        self.change(|account| {
            account.policy(policy)?;
            let known = account.certificate(certificate)?;
            if known.policies.len() >= POLICIES_PER_PRINCIPAL && !known.policies.contains(policy) {
                return Err(RegistryError::TooManyPolicies {
                    policy: policy.to_owned(),
                    certificate: certificate.clone(),
                });
            }
            known.policies.insert(policy.to_owned());
            Ok(())
        })
    }

    /// Detaches a policy from a certificate; whether it was attached.
    ///
    /// # Errors
    /// For an unknown certificate.
    pub fn detach_policy(
        &self,
        certificate: &Fingerprint,
        policy: &str,
    ) -> Result<bool, RegistryError> {
        self.change(|account| Ok(account.certificate(certificate)?.policies.remove(policy)))
    }

    /// Changes the tags of a policy: gives it some and takes some away.
    ///
    /// # Errors
    /// For an unknown policy and for too many tags.
    pub fn tag_policy(
        &self,
        name: &str,
        add: Tags,
        remove: &[String],
    ) -> Result<(), RegistryError> {
        self.change(|account| {
            let policy = account.policy(name)?;
            let mut tags = policy.tags.clone();
            tags.extend(add);
            tags.retain(|key, _| !remove.contains(key));
            check_tags(name, &tags)?;
            policy.tags = tags;
            Ok(())
        })
    }

    /// The document in force of a policy, as last put.
    pub fn policy(&self, name: &str) -> Option<Document> {
        let policy = self.policy_entry(name)?;
        Some(policy.default_version()?.document().clone().named(name))
    }

    /// A policy with its versions and tags.
    pub fn policy_entry(&self, name: &str) -> Option<Policy> {
        self.read(|account| account.policies.get(name).cloned())
    }

    /// All policies by name.
    pub fn policies(&self) -> Vec<(String, Policy)> {
        self.read(|account| {
            let all = account.policies.iter();
            all.map(|(name, policy)| (name.clone(), policy.clone()))
                .collect()
        })
    }

    /// The certificates that a policy is attached to.
    ///
    /// # Errors
    /// For an unknown policy.
    pub fn policy_targets(&self, name: &str) -> Result<Vec<Fingerprint>, RegistryError> {
        self.read(|account| {
            if !account.policies.contains_key(name) {
                return Err(RegistryError::UnknownPolicy(name.to_owned()));
            }
            let carrying = account
                .certificates
                .iter()
                .filter(|(_, known)| known.policies.contains(name));
            Ok(carrying
                .map(|(fingerprint, _)| fingerprint.clone())
                .collect())
        })
    }
}

pub(super) fn refused(name: &str) -> impl FnOnce(PolicyError) -> RegistryError {
    let name = name.to_owned();
    move |source| RegistryError::Policy { name, source }
}

/// Says in the log what is legal but probably not meant, and what the broker will refuse as unknown.
pub(super) fn log_warnings(policy: &str, document: &Document) {
    for warning in document.warnings().iter().take(SHOWN) {
        tracing::warn!("Policy `{}`: {}", clip(policy, 128), clip(warning, 512));
    }
}

fn check_tags(policy: &str, tags: &Tags) -> Result<(), RegistryError> {
    if tags.len() > TAGS_PER_RESOURCE {
        return Err(RegistryError::TooManyTags(policy.to_owned()));
    }
    Ok(())
}

// What more there is shows once these are mended.
const SHOWN: usize = 5;
