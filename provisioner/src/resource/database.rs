//! The region's PostgreSQL on RDS.
//!
//! Its password is read from the credentials secret when the instance is made, and never again. Changes are applied at
//! once, not in the next maintenance window: the plan says what they disrupt, and a person has agreed. What RDS has
//! accepted but not done yet counts as done, so that nothing is asked for twice.
//!
//! No parameter group is named: RDS's default one for the major version requires TLS since PostgreSQL 15, and a name
//! such as `default.postgres18` would stand in the way of every major upgrade.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_rds::error::ProvideErrorMetadata;
use aws_sdk_rds::operation::modify_db_instance::builders::ModifyDBInstanceFluentBuilder;
use aws_sdk_rds::types::{CloudwatchLogsExportConfiguration, DbInstance, Tag};

use crate::aws::{Account, Cloud, Error, ErrorKind, Optional, Outcome};

use super::{Change, Difference, Facts, Manage, Observed, Scope, Tags, Want, secret};

mod attributes;
mod changes;

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
    async fn observe(&self, cloud: &Cloud) -> Result<Option<Observed>, Error> {
        let live = self.describe(cloud.of(&self.scope)?).await?;
        Ok(live.map(|live| self.observed(&live)))
    }

    fn wanted(&self, _cloud: &Cloud, facts: &Facts) -> BTreeMap<String, Want> {
        self.wishes(facts)
    }

    fn change(&self, difference: &Difference) -> Change {
        changes::meaning(difference)
    }

    async fn create(&self, cloud: &Cloud, facts: &Facts) -> Result<(), Error> {
        let account = cloud.of(&self.scope)?;
        let Some(security_group) = &facts.security_group else {
            return Err(self.not_yet("its security group is not there yet"));
        };
        let password = self.password(account).await?;
        let insights = self.performance_insights_days > 0;
        let request = account
            .rds
            .create_db_instance()
            .db_instance_identifier(&self.name)
            .set_tags(Some(self.sdk_tags()))
            .engine("postgres")
            .engine_version(&self.engine_version)
            .db_instance_class(&self.instance_class)
            .allocated_storage(gib(self.storage))
            .set_max_allocated_storage(self.max_storage.map(gib))
            .storage_type(STORAGE_TYPE)
            .storage_encrypted(true)
            .set_kms_key_id(self.kms_key.clone())
            .db_name(&self.database)
            .master_username(&self.user)
            .master_user_password(&password)
            .port(PORT)
            .multi_az(self.multi_az)
            .db_subnet_group_name(self.subnet_group.to_lowercase())
            .vpc_security_group_ids(security_group)
            .publicly_accessible(false)
            .backup_retention_period(i32::from(self.backup_days))
            .preferred_backup_window(&self.backup_window)
            .preferred_maintenance_window(&self.maintenance_window)
            .copy_tags_to_snapshot(true)
            .auto_minor_version_upgrade(self.auto_minor())
            .deletion_protection(self.deletion_protection)
            .enable_performance_insights(insights)
            .set_performance_insights_retention_period(
                insights.then_some(i32::from(self.performance_insights_days)),
            )
            .set_enable_cloudwatch_logs_exports(Some(logs()));
        let done = request.send().await;
        let action = "rds:CreateDBInstance";
        let quotes = done
            .as_ref()
            .is_err_and(|error| quotes(error.message(), &password));
        match quotes {
            true => done.during_secret(action, &self.name)?,
            false => done.during(action, &self.name)?,
        };
        Ok(())
    }

    async fn update(
        &self,
        cloud: &Cloud,
        facts: &Facts,
        differences: &[Difference],
    ) -> Result<(), Error> {
        let account = cloud.of(&self.scope)?;
        if differences.iter().any(|it| it.attribute == "tags") {
            self.tag(account).await?;
        }
        let rest = differences.iter().filter(|it| it.attribute != "tags");
        let mut rest = rest.peekable();
        if rest.peek().is_none() {
            return Ok(());
        }
        let mut request = account
            .rds
            .modify_db_instance()
            .db_instance_identifier(&self.name)
            .apply_immediately(true);
        for difference in rest {
            request = match difference.attribute.as_str() {
                "maxStorage" if self.max_storage.is_none() => {
                    request.set_max_allocated_storage(self.allocated(account).await?)
                }
                _ => self.modify(request, difference, facts),
            };
        }
        let done = request.send().await;
        done.during("rds:ModifyDBInstance", &self.name)?;
        Ok(())
    }

    /// The name of the final snapshot holds RDS's own id of the instance: another database of the same name gets
    /// another, and asking twice asks for the same.
    async fn delete(&self, cloud: &Cloud) -> Result<(), Error> {
        let account = cloud.of(&self.scope)?;
        let Some(live) = self.describe(account).await? else {
            return Ok(());
        };
        let action = "rds:DeleteDBInstance";
        if live.db_instance_status() == Some("deleting") {
            return Ok(());
        }
        if live.deletion_protection() == Some(true) {
            let why = "deletion protection is on; set `database.deletionProtection: false` in the file and apply it first";
            return Err(Error::new(ErrorKind::Invalid, action, &self.name, why));
        }
        let request = account.rds.delete_db_instance();
        let request = request
            .db_instance_identifier(&self.name)
            .skip_final_snapshot(!self.final_snapshot)
            .set_final_db_snapshot_identifier(
                self.final_snapshot.then(|| self.last_snapshot(&live)),
            );
        request
            .send()
            .await
            .during(action, &self.name)
            .was_there()?;
        Ok(())
    }

    async fn adopt(&self, cloud: &Cloud) -> Result<(), Error> {
        self.tag(cloud.of(&self.scope)?).await
    }

    /// A new instance takes five to fifteen minutes, a major upgrade or a standby up to forty.
    fn patience(&self) -> Duration {
        Duration::from_secs(45 * 60)
    }
}

impl Database {
    async fn describe(&self, account: &Account) -> Result<Option<DbInstance>, Error> {
        let request = account.rds.describe_db_instances();
        let answer = request.db_instance_identifier(&self.name).send().await;
        let answer = answer
            .during("rds:DescribeDBInstances", &self.name)
            .optional()?;
        let instances = answer.and_then(|answer| answer.db_instances);
        Ok(instances.unwrap_or_default().into_iter().next())
    }

    /// From the credentials secret, which is made before the database.
    async fn password(&self, account: &Account) -> Result<String, Error> {
        let stored = secret::stored(account, &self.credentials).await?;
        if matches!(stored, secret::Stored::Nothing) {
            let why = format!(
                "the secret `{}` with its password is not there yet",
                self.credentials
            );
            return Err(self.not_yet(&why));
        }
        let password = stored.text("password").map(str::to_owned);
        password.ok_or_else(|| {
            let why = format!("the secret `{}` has no key `password`", self.credentials);
            Error::new(ErrorKind::Invalid, "rds:CreateDBInstance", &self.name, why)
        })
    }

    fn modify(
        &self,
        request: ModifyDBInstanceFluentBuilder,
        difference: &Difference,
        facts: &Facts,
    ) -> ModifyDBInstanceFluentBuilder {
        let insights = self.performance_insights_days > 0;
        match difference.attribute.as_str() {
            "autoMinorVersionUpgrade" => request.auto_minor_version_upgrade(self.auto_minor()),
            "backupDays" => request.backup_retention_period(i32::from(self.backup_days)),
            "backupWindow" => request.preferred_backup_window(&self.backup_window),
            "copyTagsToSnapshot" => request.copy_tags_to_snapshot(true),
            "deletionProtection" => request.deletion_protection(self.deletion_protection),
            "engineVersion" => request
                .engine_version(&self.engine_version)
                .allow_major_version_upgrade(changes::is_major(difference)),
            "instanceClass" => request.db_instance_class(&self.instance_class),
            "logExports" => {
                let enable = CloudwatchLogsExportConfiguration::builder();
                let enable = enable.set_enable_log_types(Some(logs())).build();
                request.cloudwatch_logs_export_configuration(enable)
            }
            "maintenanceWindow" => request.preferred_maintenance_window(&self.maintenance_window),
            "maxStorage" => request.set_max_allocated_storage(self.max_storage.map(gib)),
            "multiAz" => request.multi_az(self.multi_az),
            "performanceInsightsDays" => request
                .enable_performance_insights(insights)
                .set_performance_insights_retention_period(
                    insights.then_some(i32::from(self.performance_insights_days)),
                ),
            "publiclyAccessible" => request.publicly_accessible(false),
            "securityGroups" => request
                .set_vpc_security_group_ids(facts.security_group.clone().map(|group| vec![group])),
            "storage" => request.allocated_storage(gib(self.storage)),
            "storageType" => request.storage_type(STORAGE_TYPE),
            _ => request,
        }
    }

    /// The limit that switches growing off: what is there already, or what is asked for in the same call.
    async fn allocated(&self, account: &Account) -> Result<Option<i32>, Error> {
        let live = self.describe(account).await?;
        let size = live.and_then(|live| live.allocated_storage);
        Ok(size.map(|size| size.max(gib(self.storage))))
    }

    async fn tag(&self, account: &Account) -> Result<(), Error> {
        let arn = account.arn("rds", &format!("db:{}", self.name.to_lowercase()));
        let request = account.rds.add_tags_to_resource().resource_name(arn);
        let done = request.set_tags(Some(self.sdk_tags())).send().await;
        done.during("rds:AddTagsToResource", &self.name)?;
        Ok(())
    }

    fn last_snapshot(&self, live: &DbInstance) -> String {
        let id = live.dbi_resource_id().unwrap_or("db").to_lowercase();
        format!("{}-final-{id}", self.name)
    }

    fn not_yet(&self, why: &str) -> Error {
        Error::new(ErrorKind::Settling, "rds:CreateDBInstance", &self.name, why)
    }

    /// A version that is pinned to the minor must not move by itself.
    fn auto_minor(&self) -> bool {
        !self.engine_version.contains('.')
    }

    fn sdk_tags(&self) -> Vec<Tag> {
        let tags = self.tags.iter();
        tags.map(|(key, value)| Tag::builder().key(key).value(value).build())
            .collect()
    }
}

/// Whether an error's text may hold the password, or a part of it. The other texts are needed: most of what can be
/// wrong with a database is told in words only.
fn quotes(message: Option<&str>, password: &str) -> bool {
    message.is_some_and(|message| {
        message.contains(password) || message.to_lowercase().contains("password")
    })
}

/// What PostgreSQL on RDS can send to CloudWatch Logs.
fn logs() -> Vec<String> {
    LOGS.iter().map(|log| (*log).to_owned()).collect()
}

/// The SDK's sizes are signed.
fn gib(size: u32) -> i32 {
    i32::try_from(size).unwrap_or(i32::MAX)
}

// PostgreSQL's.
const PORT: i32 = 5432;
// Cheaper than gp2, and its speed does not depend on its size.
const STORAGE_TYPE: &str = "gp3";
// Sorted.
const LOGS: [&str; 2] = ["postgresql", "upgrade"];

#[cfg(test)]
mod tests;
