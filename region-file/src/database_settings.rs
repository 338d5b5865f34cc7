//! What the region's file says of the database, checked and complete.

/// Settings of PostgreSQL on RDS, as in the section `database` of the region's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseSettings {
    /// Such as `db.t4g.micro`.
    pub instance_class: String,
    /// GiB of gp3 storage.
    pub storage: u32,
    /// GiB that storage may grow to by itself.
    pub max_storage: Option<u32>,
    /// Major version, or a full one to pin it.
    pub engine_version: String,
    /// Name of the database.
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
    /// ARN of the KMS key for storage.
    pub kms_key: Option<String>,
    /// Whether roles may sign in with tokens of IAM; none for whatever it is.
    pub iam_auth: Option<bool>,
    /// The user that the server signs in as by IAM; none for the master user with its password.
    pub iam_user: Option<String>,
}
