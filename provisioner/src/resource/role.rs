//! The IAM role of a pod: may read exactly its secrets.

use std::collections::BTreeMap;

use crate::aws::{Cloud, Error, ErrorKind};

use super::{Difference, Facts, Manage, Observed, Scope, Tags, Want};

/// The IAM role of a pod: may read exactly its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Whose account.
    pub scope: Scope,
    /// Its name.
    pub name: String,
    /// Its tags.
    pub tags: Tags,
    /// What it is for.
    pub description: String,
    /// Names of the secrets it may read, in its own account.
    pub reads: Vec<String>,
    /// KMS key those are encrypted with; none for AWS's own.
    pub kms_key: Option<String>,
}

impl Manage for Role {
    async fn observe(&self, _cloud: &Cloud) -> Result<Option<Observed>, Error> {
        Ok(None)
    }

    fn wanted(&self, _cloud: &Cloud, _facts: &Facts) -> BTreeMap<String, Want> {
        BTreeMap::new()
    }

    async fn create(&self, _cloud: &Cloud, _facts: &Facts) -> Result<(), Error> {
        Err(Error::new(ErrorKind::Other, "create", "role", "not built"))
    }

    async fn update(
        &self,
        _cloud: &Cloud,
        _facts: &Facts,
        _differences: &[Difference],
    ) -> Result<(), Error> {
        Err(Error::new(ErrorKind::Other, "update", "role", "not built"))
    }

    async fn delete(&self, _cloud: &Cloud) -> Result<(), Error> {
        Err(Error::new(ErrorKind::Other, "delete", "role", "not built"))
    }

    async fn adopt(&self, _cloud: &Cloud) -> Result<(), Error> {
        Err(Error::new(ErrorKind::Other, "adopt", "role", "not built"))
    }
}
