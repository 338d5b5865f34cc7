//! A value in Secrets Manager: a JSON object of strings.

use std::collections::BTreeMap;

use crate::aws::{Cloud, Error, ErrorKind};

use super::{Difference, Facts, Manage, Observed, Scope, Tags, Want};

/// A value in Secrets Manager: a JSON object of strings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// Whose account.
    pub scope: Scope,
    /// Its name.
    pub name: String,
    /// Its tags.
    pub tags: Tags,
    /// What it is for.
    pub description: String,
    /// KMS key; none for AWS's own.
    pub kms_key: Option<String>,
    /// Days it can be restored after deletion, 0 for not at all.
    pub recovery_days: u8,
    /// Keys of its JSON object.
    pub content: BTreeMap<String, Content>,
}

/// What one key of a secret holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A text that is no secret.
    Text(String),
    /// A text in which `{endpoint}` stands for the broker's host name.
    WithEndpoint(String),
    /// The database's host name.
    DatabaseHost,
    /// The database's port, as a string.
    DatabasePort,
    /// Made once, of this many letters and digits, kept for ever and never printed.
    Password(usize),
}

impl Manage for Secret {
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
            "secret",
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
            "secret",
            "not built",
        ))
    }

    async fn delete(&self, _cloud: &Cloud) -> Result<(), Error> {
        Err(Error::new(
            ErrorKind::Other,
            "delete",
            "secret",
            "not built",
        ))
    }

    async fn adopt(&self, _cloud: &Cloud) -> Result<(), Error> {
        Err(Error::new(ErrorKind::Other, "adopt", "secret", "not built"))
    }
}
