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

use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use region_file::DatabaseSettings;
use region_file::tags::Tags;
use serde_json::Value;

use crate::aws::rds::{self, DbInstance};
use crate::aws::{Account, AwsError, AwsErrorKind, Cloud, Optional, Outcome, QueryRequest};
use crate::scope::Scope;

use super::{Change, DesiredValue, Difference, Facts, Manage, Observed, attributes, secret};

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
    /// Its settings.
    pub settings: DatabaseSettings,
    /// Name of its subnet group.
    pub subnet_group: String,
    /// Secret whose key `password` holds the master password; it exists before the database does.
    pub credentials: String,
}

impl Manage for Database {
    async fn observe(&self, cloud: &Cloud) -> Result<Option<Observed>, AwsError> {
        let live = self.describe(cloud.of(&self.scope)?).await?;
        Ok(live.map(|live| self.observed(&live)))
    }

    fn wanted(&self, _cloud: &Cloud, facts: &Facts) -> BTreeMap<String, DesiredValue> {
        self.desired_attributes(facts)
    }

    fn change(&self, difference: &Difference) -> Change {
        changes::meaning(difference)
    }

    fn set_at_creation(&self) -> BTreeMap<String, Value> {
        attributes([
            ("finalSnapshot", self.settings.final_snapshot.into()),
            ("port", PORT.into()),
        ])
    }

    async fn create(&self, cloud: &Cloud, facts: &Facts) -> Result<(), AwsError> {
        let account = cloud.of(&self.scope)?;
        let Some(security_group) = &facts.security_group else {
            return Err(self.not_yet("its security group is not there yet"));
        };
        let password = self.password(account).await?;
        let request = self.creation(security_group, &password);
        let done = account.rds.call(rds::told(request)).await;
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
    ) -> Result<(), AwsError> {
        let account = cloud.of(&self.scope)?;
        if differences.iter().any(|it| it.attribute == "tags") {
            self.tag(account).await?;
        }
        let rest = differences.iter().filter(|it| it.attribute != "tags");
        let mut rest = rest.peekable();
        if rest.peek().is_none() {
            return Ok(());
        }
        let mut request = self.modification();
        for difference in rest {
            request = match difference.attribute.as_str() {
                "maxStorage" if self.settings.max_storage.is_none() => {
                    request.maybe("MaxAllocatedStorage", self.allocated(account).await?)
                }
                _ => self.modify(request, difference, facts),
            };
        }
        let done = account.rds.call(rds::told(request)).await;
        done.during("rds:ModifyDBInstance", &self.name)?;
        Ok(())
    }

    /// The name of the final snapshot holds RDS's own id of the instance: another database of the same name gets
    /// another, and asking twice asks for the same.
    async fn delete(&self, cloud: &Cloud) -> Result<(), AwsError> {
        let account = cloud.of(&self.scope)?;
        let Some(live) = self.describe(account).await? else {
            return Ok(());
        };
        let action = "rds:DeleteDBInstance";
        if live.status.as_deref() == Some("deleting") {
            return Ok(());
        }
        if live.deletion_protection == Some(true) {
            let why = "deletion protection is on; set `database.deletionProtection: false` in the file and apply it first";
            return Err(AwsError::new(
                AwsErrorKind::Invalid,
                action,
                &self.name,
                why,
            ));
        }
        let snapshot = self
            .settings
            .final_snapshot
            .then(|| self.last_snapshot(&live));
        let call = rds::delete_db_instance(&self.name, snapshot.as_deref());
        let done = account.rds.call(call).await;
        done.during(action, &self.name).was_there()?;
        Ok(())
    }

    async fn adopt(&self, cloud: &Cloud) -> Result<(), AwsError> {
        self.tag(cloud.of(&self.scope)?).await
    }

    /// A new instance takes five to fifteen minutes, a major upgrade or a standby up to forty.
    fn patience(&self) -> Duration {
        Duration::from_secs(45 * 60)
    }
}

impl Database {
    async fn describe(&self, account: &Account) -> Result<Option<DbInstance>, AwsError> {
        let call = rds::describe_db_instances(&self.name);
        let instances = account.rds.call(call).await;
        let instances = instances
            .during("rds:DescribeDBInstances", &self.name)
            .optional()?;
        Ok(instances.unwrap_or_default().into_iter().next())
    }

    /// From the credentials secret, which is made before the database.
    async fn password(&self, account: &Account) -> Result<String, AwsError> {
        let stored = secret::stored(account, &self.credentials).await?;
        if matches!(stored, secret::SecretValue::Nothing) {
            let why = format!(
                "the secret `{}` with its password is not there yet",
                self.credentials
            );
            return Err(self.not_yet(&why));
        }
        let password = stored.text("password").map(str::to_owned);
        password.ok_or_else(|| {
            let why = format!("the secret `{}` has no key `password`", self.credentials);
            AwsError::new(
                AwsErrorKind::Invalid,
                "rds:CreateDBInstance",
                &self.name,
                why,
            )
        })
    }

    /// Holds the password.
    fn creation(&self, security_group: &str, password: &str) -> QueryRequest {
        let request = QueryRequest::new("CreateDBInstance")
            .with("DBName", &self.settings.database)
            .with("DBInstanceIdentifier", &self.name)
            .with("AllocatedStorage", self.settings.storage)
            .with("DBInstanceClass", &self.settings.instance_class)
            .with("Engine", ENGINE)
            .with("MasterUsername", &self.settings.user)
            .with("MasterUserPassword", password)
            .list(SECURITY_GROUPS, [security_group])
            .with("DBSubnetGroupName", self.subnet_group.to_lowercase())
            .with(
                "PreferredMaintenanceWindow",
                &self.settings.maintenance_window,
            )
            .with("BackupRetentionPeriod", self.settings.backup_days)
            .with("PreferredBackupWindow", &self.settings.backup_window)
            .with("Port", PORT)
            .with("MultiAZ", self.settings.multi_az)
            .with("EngineVersion", &self.settings.engine_version)
            .with("AutoMinorVersionUpgrade", self.auto_minor())
            .with("PubliclyAccessible", false)
            .tags("Tags.Tag", self.tags.iter())
            .with("StorageType", STORAGE_TYPE)
            .with("StorageEncrypted", true)
            .maybe("KmsKeyId", self.settings.kms_key.as_deref())
            .with("CopyTagsToSnapshot", true)
            .with("DeletionProtection", self.settings.deletion_protection)
            .maybe("EnableIAMDatabaseAuthentication", self.settings.iam_auth)
            .maybe("MaxAllocatedStorage", self.settings.max_storage)
            .list("EnableCloudwatchLogsExports.member", LOGS);
        self.insights(request)
    }

    /// Of nothing so far.
    fn modification(&self) -> QueryRequest {
        QueryRequest::new("ModifyDBInstance")
            .with("DBInstanceIdentifier", &self.name)
            .with("ApplyImmediately", true)
    }

    fn modify(
        &self,
        request: QueryRequest,
        difference: &Difference,
        facts: &Facts,
    ) -> QueryRequest {
        match difference.attribute.as_str() {
            "autoMinorVersionUpgrade" => request.with("AutoMinorVersionUpgrade", self.auto_minor()),
            "backupDays" => request.with("BackupRetentionPeriod", self.settings.backup_days),
            "backupWindow" => request.with("PreferredBackupWindow", &self.settings.backup_window),
            "copyTagsToSnapshot" => request.with("CopyTagsToSnapshot", true),
            "deletionProtection" => {
                request.with("DeletionProtection", self.settings.deletion_protection)
            }
            "engineVersion" => request
                .with("EngineVersion", &self.settings.engine_version)
                .with("AllowMajorVersionUpgrade", changes::is_major(difference)),
            "iamAuth" => request.maybe("EnableIAMDatabaseAuthentication", self.settings.iam_auth),
            "instanceClass" => request.with("DBInstanceClass", &self.settings.instance_class),
            "logExports" => request.list(
                "CloudwatchLogsExportConfiguration.EnableLogTypes.member",
                LOGS,
            ),
            "maintenanceWindow" => request.with(
                "PreferredMaintenanceWindow",
                &self.settings.maintenance_window,
            ),
            "maxStorage" => request.maybe("MaxAllocatedStorage", self.settings.max_storage),
            "multiAz" => request.with("MultiAZ", self.settings.multi_az),
            "performanceInsightsDays" => self.insights(request),
            "publiclyAccessible" => request.with("PubliclyAccessible", false),
            "securityGroups" => request.list(SECURITY_GROUPS, &facts.security_group),
            "storage" => request.with("AllocatedStorage", self.settings.storage),
            "storageType" => request.with("StorageType", STORAGE_TYPE),
            _ => request,
        }
    }

    fn insights(&self, request: QueryRequest) -> QueryRequest {
        let days = self.settings.performance_insights_days;
        request.with("EnablePerformanceInsights", days > 0).maybe(
            "PerformanceInsightsRetentionPeriod",
            (days > 0).then_some(days),
        )
    }

    /// The limit that switches growing off: what is there already, or what is asked for in the same call.
    async fn allocated(&self, account: &Account) -> Result<Option<u32>, AwsError> {
        let live = self.describe(account).await?;
        let size = live.and_then(|live| live.allocated_storage);
        Ok(size.map(|size| size.max(self.settings.storage)))
    }

    async fn tag(&self, account: &Account) -> Result<(), AwsError> {
        let arn = account.arn("rds", &format!("db:{}", self.name.to_lowercase()));
        let call = rds::add_tags(&arn, self.tags.iter());
        let done = account.rds.call(call).await;
        done.during("rds:AddTagsToResource", &self.name)?;
        Ok(())
    }

    fn last_snapshot(&self, live: &DbInstance) -> String {
        let id = live.resource_id.as_deref().unwrap_or("db").to_lowercase();
        format!("{}-final-{id}", self.name)
    }

    fn not_yet(&self, why: &str) -> AwsError {
        AwsError::new(
            AwsErrorKind::Settling,
            "rds:CreateDBInstance",
            &self.name,
            why,
        )
    }

    /// A version that is pinned to the minor must not move by itself.
    fn auto_minor(&self) -> bool {
        !self.settings.engine_version.contains('.')
    }
}

/// Whether an error's text may hold the password, or a part of it. The other texts are needed: most of what can be
/// wrong with a database has no code of its own.
fn quotes(message: Option<&str>, password: &str) -> bool {
    message.is_some_and(|message| {
        message.contains(password) || message.to_lowercase().contains("password")
    })
}

const ENGINE: &str = "postgres";
// PostgreSQL's.
const PORT: u16 = 5432;
// Cheaper than gp2, and its speed does not depend on its size.
const STORAGE_TYPE: &str = "gp3";
// Of requests.
const SECURITY_GROUPS: &str = "VpcSecurityGroupIds.VpcSecurityGroupId";
// What PostgreSQL on RDS can send to CloudWatch Logs, sorted.
const LOGS: [&str; 2] = ["postgresql", "upgrade"];

#[cfg(test)]
mod tests;
