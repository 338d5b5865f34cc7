//! What all operations share: the broker, the authority, and the names of resources.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use link::iot::ArnPrefix;
use link::telemetry::Throttle;

use super::ControlConfig;
use super::answer::Refusal;
use super::settling::{Resource, Settling};
use crate::broker::{Fingerprint, Handle, Policy, Registry};
use crate::pki::Authority;

/// One account in one region.
pub(super) struct Plane {
    pub(super) authority: Arc<Authority>,
    pub(super) broker: Handle,
    pub(super) endpoint: String,
    pub(super) settling: Settling,
    /// Values of the faults that were set by name.
    set_faults: Mutex<BTreeMap<&'static str, String>>,
    /// Of log lines about requests that are no operation.
    pub(super) unknown: Throttle<()>,
}

// === impl Plane ===

impl Plane {
    pub(super) fn new(config: ControlConfig) -> Self {
        Self {
            authority: config.authority,
            broker: config.broker,
            endpoint: config.endpoint,
            settling: Settling::new(config.settle),
            set_faults: Mutex::default(),
            unknown: Throttle::new(QUIET, 1),
        }
    }

    pub(super) fn registry(&self) -> &Registry {
        self.broker.registry()
    }

    pub(super) fn faults(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        let set = self.set_faults.lock();
        set.unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn account(&self) -> &str {
        let ArnPrefix { account, .. } = self.broker.arn();
        account
    }

    pub(super) fn certificate_arn(&self, certificate: &Fingerprint) -> String {
        format!("{}:cert/{certificate}", self.broker.arn())
    }

    pub(super) fn policy_arn(&self, name: &str) -> String {
        format!("{}:policy/{name}", self.broker.arn())
    }

    pub(super) fn thing_arn(&self, name: &str) -> String {
        format!("{}:thing/{name}", self.broker.arn())
    }

    /// A policy that is there and has settled, so that reads see it.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn policy(&self, name: &str) -> Result<Policy, Refusal> {
        let known = self.registry().policy_entry(name);
        known
            .filter(|_| self.settling.sees(Resource::Policy, name))
            .ok_or_else(|| Refusal::not_found(format!("no policy `{name}`")))
    }

    /// What comes after `arn:…:<account>:` in a resource name of this account and region.
    pub(super) fn local<'a>(&self, arn: &'a str) -> Option<&'a str> {
        arn.strip_prefix(&self.broker.arn().to_string())?
            .strip_prefix(':')
    }

    /// The certificate that a resource name names, known or not.
    ///
    /// # Errors
    /// When it names something else: a thing group or a Cognito identity, which this control plane does not keep, or
    /// something in another account.
    pub(super) fn principal(&self, arn: &str) -> Result<Fingerprint, Refusal> {
        self.local(arn)
            .and_then(|local| local.strip_prefix("cert/"))
            .and_then(Fingerprint::parse)
            .ok_or_else(|| Refusal::invalid(format!("Invalid Target: `{arn}` is no certificate")))
    }

    /// Only if the registry knows the certificate.
    ///
    /// # Errors
    /// As [`Self::principal`], and when it is unknown.
    pub(super) fn known_principal(&self, arn: &str) -> Result<Fingerprint, Refusal> {
        let certificate = self.principal(arn)?;
        match self.registry().certificate(&certificate) {
            Some(_) => Ok(certificate),
            None => Err(Refusal::not_found(format!("no certificate `{arn}`"))),
        }
    }
}

impl fmt::Debug for Plane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plane")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// Time in JSON: seconds since 1970 with milliseconds.
pub(super) fn epoch(at: Timestamp) -> f64 {
    at.as_second() as f64 + f64::from(at.subsec_millisecond()) / 1000.0
}

// Who tries one unknown operation tries it again.
const QUIET: Duration = Duration::from_secs(1);
