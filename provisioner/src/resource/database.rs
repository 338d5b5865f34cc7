//! The region's PostgreSQL on RDS.

use std::collections::BTreeMap;

use crate::aws::{Cloud, Error, ErrorKind};

use super::{Difference, Facts, Manage, Observed, Scope, Tags, Want};

/// The region's PostgreSQL on RDS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// Whose account.
    pub scope: Scope,
    /// Its name.
    pub name: String,
    /// Its tags.
    pub tags: Tags,
    /// Such as `db.t4g.micro`.
    pub instance_class: String,
    /// GiB of gp3 storage at least.
    pub storage: u32,
    /// GiB that storage may grow to by itself; none for not at all.
    pub max_storage: Option<u32>,
    /// PostgreSQL's major version, such as `18`, or a full one to pin it.
    pub engine_version: String,
    /// Name of the database in it.
    pub database: String,
    /// Name of the master user.
    pub user: String,
    /// A standby in another zone.
    pub multi_az: bool,
    /// Days that automatic backups are kept.
    pub backup_days: u8,
    /// Daily, `hh:mm-hh:mm` UTC.
    pub backup_window: String,
    /// Weekly, `ddd:hh:mm-ddd:hh:mm` UTC.
    pub maintenance_window: String,
    /// AWS refuses to delete it.
    pub deletion_protection: bool,
    /// A snapshot is taken before it is deleted.
    pub final_snapshot: bool,
    /// Days that Performance Insights keeps, 0 for off.
    pub performance_insights_days: u16,
    /// KMS key for storage; none for AWS's own.
    pub kms_key: Option<String>,
    /// Name of its subnet group.
    pub subnet_group: String,
    /// Secret whose key `password` holds the master password; it exists before the database does.
    pub credentials: String,
}

impl Manage for Database {
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
            "database",
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
            "database",
            "not built",
        ))
    }

    async fn delete(&self, _cloud: &Cloud) -> Result<(), Error> {
        Err(Error::new(
            ErrorKind::Other,
            "delete",
            "database",
            "not built",
        ))
    }

    async fn adopt(&self, _cloud: &Cloud) -> Result<(), Error> {
        Err(Error::new(
            ErrorKind::Other,
            "adopt",
            "database",
            "not built",
        ))
    }
}
