//! An IoT thing: a name for a party in the registry.

use std::collections::BTreeMap;

use crate::aws::{Cloud, Error, ErrorKind};

use super::{Difference, Facts, Manage, Observed, Scope, Tags, Want};

/// An IoT thing: a name for a party in the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thing {
    /// Whose account.
    pub scope: Scope,
    /// Its name.
    pub name: String,
    /// Its tags.
    pub tags: Tags,
    /// Attributes besides the mark of ownership.
    pub attributes: BTreeMap<String, String>,
}

impl Manage for Thing {
    async fn observe(&self, _cloud: &Cloud) -> Result<Option<Observed>, Error> {
        Ok(None)
    }

    fn wanted(&self, _cloud: &Cloud, _facts: &Facts) -> BTreeMap<String, Want> {
        BTreeMap::new()
    }

    async fn create(&self, _cloud: &Cloud, _facts: &Facts) -> Result<(), Error> {
        Err(Error::new(ErrorKind::Other, "create", "thing", "not built"))
    }

    async fn update(
        &self,
        _cloud: &Cloud,
        _facts: &Facts,
        _differences: &[Difference],
    ) -> Result<(), Error> {
        Err(Error::new(ErrorKind::Other, "update", "thing", "not built"))
    }

    async fn delete(&self, _cloud: &Cloud) -> Result<(), Error> {
        Err(Error::new(ErrorKind::Other, "delete", "thing", "not built"))
    }

    async fn adopt(&self, _cloud: &Cloud) -> Result<(), Error> {
        Err(Error::new(ErrorKind::Other, "adopt", "thing", "not built"))
    }
}
