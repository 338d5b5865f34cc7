//! An IoT policy: what the certificates it is attached to may do.

use std::collections::BTreeMap;

use crate::aws::{Cloud, Error, ErrorKind};

use super::{Difference, Facts, Manage, Observed, Scope, Tags, Want};

/// An IoT policy: what the certificates it is attached to may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IotPolicy {
    /// Whose account.
    pub scope: Scope,
    /// Its name.
    pub name: String,
    /// Its tags.
    pub tags: Tags,
    /// What it allows.
    pub document: link::iot::Document,
}

impl Manage for IotPolicy {
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
            "iot_policy",
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
            "iot_policy",
            "not built",
        ))
    }

    async fn delete(&self, _cloud: &Cloud) -> Result<(), Error> {
        Err(Error::new(
            ErrorKind::Other,
            "delete",
            "iot_policy",
            "not built",
        ))
    }

    async fn adopt(&self, _cloud: &Cloud) -> Result<(), Error> {
        Err(Error::new(
            ErrorKind::Other,
            "adopt",
            "iot_policy",
            "not built",
        ))
    }
}
