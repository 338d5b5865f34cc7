//! The calls of RDS that are made here, and as much of their answers as is read.
//!
//! Names are those of the API (RDS API Reference, version 2014-10-31): lists have the name of their items, in requests
//! and in answers, and an answer is in a `…Result` in a `…Response`.

use aws_config::SdkConfig;

use super::Query;
use super::query::{Call, Element, Malformed, QueryRequest, Service};

/// Amazon RDS.
const SERVICE: Service = Service {
    name: "rds",
    id: "RDS",
    version: "2014-10-31",
};

/// A client with these settings.
pub(crate) fn client(config: &SdkConfig) -> Query {
    Query::new(SERVICE, config)
}

/// A database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DbInstance {
    pub(crate) arn: Option<String>,
    /// RDS's own id of it, which no other instance gets.
    pub(crate) resource_id: Option<String>,
    pub(crate) status: Option<String>,
    pub(crate) class: Option<String>,
    pub(crate) engine: Option<String>,
    pub(crate) engine_version: Option<String>,
    pub(crate) auto_minor_version_upgrade: Option<bool>,
    pub(crate) database: Option<String>,
    pub(crate) master_username: Option<String>,
    pub(crate) address: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) allocated_storage: Option<u32>,
    pub(crate) max_allocated_storage: Option<u32>,
    pub(crate) storage_type: Option<String>,
    pub(crate) storage_encrypted: Option<bool>,
    pub(crate) kms_key_id: Option<String>,
    pub(crate) multi_az: Option<bool>,
    pub(crate) publicly_accessible: Option<bool>,
    pub(crate) subnet_group: Option<String>,
    /// Id and status of each.
    pub(crate) security_groups: Vec<(Option<String>, Option<String>)>,
    pub(crate) backup_retention_period: Option<u32>,
    pub(crate) preferred_backup_window: Option<String>,
    pub(crate) preferred_maintenance_window: Option<String>,
    pub(crate) copy_tags_to_snapshot: Option<bool>,
    pub(crate) deletion_protection: Option<bool>,
    pub(crate) iam_auth: Option<bool>,
    pub(crate) performance_insights_enabled: Option<bool>,
    pub(crate) performance_insights_retention_period: Option<u32>,
    pub(crate) enabled_log_exports: Vec<String>,
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) pending: Pending,
}

/// What RDS has accepted and not done yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pending {
    /// Whether there is anything at all, also what is not read.
    pub(crate) any: bool,
    pub(crate) class: Option<String>,
    pub(crate) engine_version: Option<String>,
    pub(crate) allocated_storage: Option<u32>,
    pub(crate) storage_type: Option<String>,
    pub(crate) multi_az: Option<bool>,
    pub(crate) backup_retention_period: Option<u32>,
    pub(crate) iam_auth: Option<bool>,
    pub(crate) log_exports: Vec<String>,
}

/// Subnets that a database may be in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DbSubnetGroup {
    pub(crate) arn: Option<String>,
    pub(crate) status: Option<String>,
    pub(crate) subnets: Vec<String>,
}

/// The database of that name.
pub(crate) fn describe_db_instances(name: &str) -> Call<Vec<DbInstance>> {
    Call {
        request: QueryRequest::new("DescribeDBInstances").with("DBInstanceIdentifier", name),
        read: Some(|answer| {
            let answer = answer.required("DescribeDBInstancesResult")?;
            answer.read_items("DBInstances", "DBInstance", DbInstance::read)
        }),
    }
}

/// The subnet group of that name.
pub(crate) fn describe_db_subnet_groups(name: &str) -> Call<Vec<DbSubnetGroup>> {
    Call {
        request: QueryRequest::new("DescribeDBSubnetGroups").with("DBSubnetGroupName", name),
        read: Some(|answer| {
            let answer = answer.required("DescribeDBSubnetGroupsResult")?;
            answer.read_items("DBSubnetGroups", "DBSubnetGroup", DbSubnetGroup::read)
        }),
    }
}

/// The tags of a resource.
pub(crate) fn list_tags(arn: &str) -> Call<Vec<(String, String)>> {
    Call {
        request: QueryRequest::new("ListTagsForResource").with("ResourceName", arn),
        read: Some(|answer| Ok(tags(answer.required("ListTagsForResourceResult")?))),
    }
}

/// Puts tags on a resource; others stay.
pub(crate) fn add_tags<'a>(
    arn: &str,
    tags: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Call<()> {
    let request = QueryRequest::new("AddTagsToResource").with("ResourceName", arn);
    told(request.tags("Tags.Tag", tags))
}

/// Makes a subnet group.
pub(crate) fn create_db_subnet_group<'a>(
    name: &str,
    description: &str,
    subnets: &[String],
    tags: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Call<()> {
    let request = QueryRequest::new("CreateDBSubnetGroup")
        .with("DBSubnetGroupName", name)
        .with("DBSubnetGroupDescription", description)
        .list(SUBNETS, subnets)
        .tags("Tags.Tag", tags);
    told(request)
}

/// Gives a subnet group other subnets.
pub(crate) fn modify_db_subnet_group(name: &str, subnets: &[String]) -> Call<()> {
    let request = QueryRequest::new("ModifyDBSubnetGroup").with("DBSubnetGroupName", name);
    told(request.list(SUBNETS, subnets))
}

/// Deletes a subnet group.
pub(crate) fn delete_db_subnet_group(name: &str) -> Call<()> {
    told(QueryRequest::new("DeleteDBSubnetGroup").with("DBSubnetGroupName", name))
}

/// Deletes a database, after a snapshot of that name or without one.
pub(crate) fn delete_db_instance(name: &str, snapshot: Option<&str>) -> Call<()> {
    let request = QueryRequest::new("DeleteDBInstance")
        .with("DBInstanceIdentifier", name)
        .with("SkipFinalSnapshot", snapshot.is_none())
        .maybe("FinalDBSnapshotIdentifier", snapshot);
    told(request)
}

/// A request whose answer nobody reads.
pub(crate) fn told(request: QueryRequest) -> Call<()> {
    let read = None;
    Call { request, read }
}

// === impl DbInstance ===

impl DbInstance {
    fn read(item: &Element) -> Result<Self, Malformed> {
        let groups = item.items("VpcSecurityGroups", "VpcSecurityGroupMembership");
        let subnet_group = item.child("DBSubnetGroup");
        let endpoint = item.child("Endpoint");
        let pending = item.child("PendingModifiedValues");
        Ok(Self {
            arn: item.text("DBInstanceArn"),
            resource_id: item.text("DbiResourceId"),
            status: item.text("DBInstanceStatus"),
            class: item.text("DBInstanceClass"),
            engine: item.text("Engine"),
            engine_version: item.text("EngineVersion"),
            auto_minor_version_upgrade: item.value("AutoMinorVersionUpgrade")?,
            database: item.text("DBName"),
            master_username: item.text("MasterUsername"),
            address: endpoint.and_then(|endpoint| endpoint.text("Address")),
            port: endpoint
                .map(|endpoint| endpoint.value("Port"))
                .transpose()?
                .flatten(),
            allocated_storage: item.value("AllocatedStorage")?,
            max_allocated_storage: item.value("MaxAllocatedStorage")?,
            storage_type: item.text("StorageType"),
            storage_encrypted: item.value("StorageEncrypted")?,
            kms_key_id: item.text("KmsKeyId"),
            multi_az: item.value("MultiAZ")?,
            publicly_accessible: item.value("PubliclyAccessible")?,
            subnet_group: subnet_group.and_then(|group| group.text("DBSubnetGroupName")),
            security_groups: groups
                .map(|group| (group.text("VpcSecurityGroupId"), group.text("Status")))
                .collect(),
            backup_retention_period: item.value("BackupRetentionPeriod")?,
            preferred_backup_window: item.text("PreferredBackupWindow"),
            preferred_maintenance_window: item.text("PreferredMaintenanceWindow"),
            copy_tags_to_snapshot: item.value("CopyTagsToSnapshot")?,
            deletion_protection: item.value("DeletionProtection")?,
            iam_auth: item.value("IAMDatabaseAuthenticationEnabled")?,
            performance_insights_enabled: item.value("PerformanceInsightsEnabled")?,
            performance_insights_retention_period: item
                .value("PerformanceInsightsRetentionPeriod")?,
            enabled_log_exports: item.texts("EnabledCloudwatchLogsExports", "member"),
            tags: tags(item),
            pending: pending.map(Pending::read).transpose()?.unwrap_or_default(),
        })
    }
}

// === impl Pending ===

impl Pending {
    fn read(item: &Element) -> Result<Self, Malformed> {
        let logs = item.child("PendingCloudwatchLogsExports");
        Ok(Self {
            any: item.has_children(),
            class: item.text("DBInstanceClass"),
            engine_version: item.text("EngineVersion"),
            allocated_storage: item.value("AllocatedStorage")?,
            storage_type: item.text("StorageType"),
            multi_az: item.value("MultiAZ")?,
            backup_retention_period: item.value("BackupRetentionPeriod")?,
            iam_auth: item.value("IAMDatabaseAuthenticationEnabled")?,
            log_exports: logs
                .map(|logs| logs.texts("LogTypesToEnable", "member"))
                .unwrap_or_default(),
        })
    }
}

// === impl DbSubnetGroup ===

impl DbSubnetGroup {
    fn read(item: &Element) -> Result<Self, Malformed> {
        let subnets = item.items("Subnets", "Subnet");
        Ok(Self {
            arn: item.text("DBSubnetGroupArn"),
            status: item.text("SubnetGroupStatus"),
            subnets: subnets
                .filter_map(|subnet| subnet.text("SubnetIdentifier"))
                .collect(),
        })
    }
}

fn tags(of: &Element) -> Vec<(String, String)> {
    let tags = of.items("TagList", "Tag");
    tags.filter_map(|tag| Some((tag.text("Key")?, tag.text("Value")?)))
        .collect()
}

// Of requests.
const SUBNETS: &str = "SubnetIds.SubnetIdentifier";

#[cfg(test)]
mod tests;
