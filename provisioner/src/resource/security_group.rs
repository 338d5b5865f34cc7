//! The security group of the database: PostgreSQL's port from the named groups, and nothing else.

use std::collections::BTreeMap;

use crate::aws::{Cloud, Error, ErrorKind};

use super::{Difference, Facts, Manage, Observed, Scope, Tags, Want};

/// The security group of the database: PostgreSQL's port from the named groups, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityGroup {
    /// Whose account.
    pub scope: Scope,
    /// Its name.
    pub name: String,
    /// Its tags.
    pub tags: Tags,
    /// The VPC it is in.
    pub vpc: String,
    /// Security groups that may reach port 5432, and why each.
    pub sources: BTreeMap<String, String>,
}

impl Manage for SecurityGroup {
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
            "security_group",
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
            "security_group",
            "not built",
        ))
    }

    async fn delete(&self, _cloud: &Cloud) -> Result<(), Error> {
        Err(Error::new(
            ErrorKind::Other,
            "delete",
            "security_group",
            "not built",
        ))
    }

    async fn adopt(&self, _cloud: &Cloud) -> Result<(), Error> {
        Err(Error::new(
            ErrorKind::Other,
            "adopt",
            "security_group",
            "not built",
        ))
    }
}
