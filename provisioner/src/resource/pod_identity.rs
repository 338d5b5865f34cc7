//! An EKS Pod Identity association: which service account gets which role.

use std::collections::BTreeMap;

use crate::aws::{Cloud, Error, ErrorKind};

use super::{Difference, Facts, Manage, Observed, Scope, Tags, Want};

/// An EKS Pod Identity association: which service account gets which role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodIdentity {
    /// Whose account.
    pub scope: Scope,
    /// Its tags.
    pub tags: Tags,
    /// The EKS cluster.
    pub cluster: String,
    /// Namespace of the service account.
    pub namespace: String,
    /// The service account.
    pub service_account: String,
    /// Name of the role, in the same account.
    pub role: String,
}

impl Manage for PodIdentity {
    async fn observe(&self, _cloud: &Cloud) -> Result<Option<Observed>, Error> {
        Ok(None)
    }

    fn wanted(&self, _cloud: &Cloud, _facts: &Facts) -> BTreeMap<String, Want> {
        BTreeMap::new()
    }

    async fn create(&self, _cloud: &Cloud, _facts: &Facts) -> Result<(), Error> {
        Err(Error::new(
            ErrorKind::Other,
            "create",
            "pod_identity",
            "not built",
        ))
    }

    async fn update(
        &self,
        _cloud: &Cloud,
        _facts: &Facts,
        _differences: &[Difference],
    ) -> Result<(), Error> {
        Err(Error::new(
            ErrorKind::Other,
            "update",
            "pod_identity",
            "not built",
        ))
    }

    async fn delete(&self, _cloud: &Cloud) -> Result<(), Error> {
        Err(Error::new(
            ErrorKind::Other,
            "delete",
            "pod_identity",
            "not built",
        ))
    }

    async fn adopt(&self, _cloud: &Cloud) -> Result<(), Error> {
        Err(Error::new(
            ErrorKind::Other,
            "adopt",
            "pod_identity",
            "not built",
        ))
    }
}
