//! An add-on of an EKS cluster.

use std::collections::BTreeMap;

use crate::aws::{Cloud, Error, ErrorKind};

use super::{Difference, Facts, Manage, Observed, Scope, Tags, Want};

/// An add-on of an EKS cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addon {
    /// Whose account.
    pub scope: Scope,
    /// Its name.
    pub name: String,
    /// Its tags.
    pub tags: Tags,
    /// The EKS cluster.
    pub cluster: String,
    /// Settings that must hold, others are left alone; an object.
    pub configuration: serde_json::Value,
}

impl Manage for Addon {
    async fn observe(&self, _cloud: &Cloud) -> Result<Option<Observed>, Error> {
        Ok(None)
    }

    fn wanted(&self, _cloud: &Cloud, _facts: &Facts) -> BTreeMap<String, Want> {
        BTreeMap::new()
    }

    async fn create(&self, _cloud: &Cloud, _facts: &Facts) -> Result<(), Error> {
        Err(Error::new(ErrorKind::Other, "create", "addon", "not built"))
    }

    async fn update(
        &self,
        _cloud: &Cloud,
        _facts: &Facts,
        _differences: &[Difference],
    ) -> Result<(), Error> {
        Err(Error::new(ErrorKind::Other, "update", "addon", "not built"))
    }

    async fn delete(&self, _cloud: &Cloud) -> Result<(), Error> {
        Err(Error::new(ErrorKind::Other, "delete", "addon", "not built"))
    }

    async fn adopt(&self, _cloud: &Cloud) -> Result<(), Error> {
        Err(Error::new(ErrorKind::Other, "adopt", "addon", "not built"))
    }
}
