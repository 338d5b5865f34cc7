//! Versions of the registry's policies.

use link::iot::limits::POLICY_VERSIONS;

use super::policies::{log_warnings, refused};
use super::{Policy, PolicyVersion, Registry, RegistryError};

// === impl Registry ===

impl Registry {
    /// Adds a version to a policy, perhaps as the one in force; its number and the version.
    ///
    /// # Errors
    /// For an unknown policy, a malformed or too long document, and a sixth version (docs/IOT-CORE.md §1.2).
    pub fn create_policy_version(
        &self,
        name: &str,
        json: &str,
        as_default: bool,
    ) -> Result<(u64, PolicyVersion), RegistryError> {
        let now = self.clock().now();
        let version = PolicyVersion::parse(json, now).map_err(refused(name))?;
        log_warnings(name, version.document());
        self.change(|account| {
            let policy = account.policy(name)?;
            if policy.versions.len() >= POLICY_VERSIONS {
                return Err(RegistryError::TooManyVersions(name.to_owned()));
            }
            let number = policy.add(version.clone(), as_default);
            Ok((number, version))
        })
    }

    /// Puts another version of a policy in force.
    ///
    /// # Errors
    /// For an unknown policy or version.
    pub fn set_default_policy_version(
        &self,
        name: &str,
        version: u64,
    ) -> Result<(), RegistryError> {
        let now = self.clock().now();
        self.change(|account| {
            let policy = existing(account.policy(name)?, name, version)?;
            policy.default_version = version;
            policy.modified = now;
            Ok(())
        })
    }

    /// Deletes a version that is not in force.
    ///
    /// # Errors
    /// For an unknown policy or version, and for the version in force.
    pub fn delete_policy_version(&self, name: &str, version: u64) -> Result<(), RegistryError> {
        self.change(|account| {
            let policy = existing(account.policy(name)?, name, version)?;
            if policy.default_version == version {
                return Err(RegistryError::DefaultVersion {
                    policy: name.to_owned(),
                    version,
                });
            }
            policy.versions.remove(&version);
            Ok(())
        })
    }
}

fn existing<'p>(
    policy: &'p mut Policy,
    name: &str,
    version: u64,
) -> Result<&'p mut Policy, RegistryError> {
    if policy.versions.contains_key(&version) {
        return Ok(policy);
    }
    Err(RegistryError::UnknownVersion {
        policy: name.to_owned(),
        version,
    })
}
