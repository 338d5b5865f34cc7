//! An identity: a key pair made where it is kept, its certificate in IoT Core, and what it is attached to.

use std::collections::BTreeMap;

use crate::aws::{Cloud, Error, ErrorKind};

use super::{Difference, Facts, Manage, Observed, Scope, Tags, Want};

/// An identity: a key pair made where it is kept, its certificate in IoT Core, and what it is attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Whose account keeps the key; the certificate itself is always in the region's account.
    pub keeper: Scope,
    /// Name of the secret with `certificate`, `privateKey` and `caCert`.
    pub secret: String,
    /// Tags of the secret.
    pub tags: Tags,
    /// What the secret is for.
    pub description: String,
    /// KMS key of the secret; none for AWS's own.
    pub kms_key: Option<String>,
    /// Days the secret can be restored after deletion, 0 for not at all.
    pub recovery_days: u8,
    /// Common name in the certificate's subject.
    pub subject: String,
    /// Name of the IoT policy it carries.
    pub policy: String,
    /// Name of the thing it belongs to.
    pub thing: Option<String>,
    /// Client ids it connects under.
    pub client_ids: Vec<String>,
    /// Roots that the broker's certificate is checked against, PEM; public.
    pub ca: String,
}

impl Manage for Certificate {
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
            "certificate",
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
            "certificate",
            "not built",
        ))
    }

    async fn delete(&self, _cloud: &Cloud) -> Result<(), Error> {
        Err(Error::new(
            ErrorKind::Other,
            "delete",
            "certificate",
            "not built",
        ))
    }

    async fn adopt(&self, _cloud: &Cloud) -> Result<(), Error> {
        Err(Error::new(
            ErrorKind::Other,
            "adopt",
            "certificate",
            "not built",
        ))
    }
}
