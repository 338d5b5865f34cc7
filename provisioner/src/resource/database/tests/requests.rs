//! What RDS is asked, with the names that the serialisers of `aws-sdk-rds` 1.159 write.

use super::*;

#[test]
fn a_database_is_made_with_all_that_is_wanted() {
    let mut database = database();
    let form = |database: &Database| database.creation("sg-db", "a&b").form("2014-10-31");
    let start = "Action=CreateDBInstance&Version=2014-10-31\
         &DBName=maestro&DBInstanceIdentifier=r1-maestro&AllocatedStorage=20\
         &DBInstanceClass=db.t4g.micro&Engine=postgres&MasterUsername=maestro_admin\
         &MasterUserPassword=a%26b&VpcSecurityGroupIds.VpcSecurityGroupId.1=sg-db\
         &DBSubnetGroupName=r1-maestro&PreferredMaintenanceWindow=mon%3A04%3A00-mon%3A05%3A00\
         &BackupRetentionPeriod=7&PreferredBackupWindow=03%3A00-04%3A00&Port=5432&MultiAZ=false\
         &EngineVersion=18&AutoMinorVersionUpgrade=true&PubliclyAccessible=false\
         &Tags.Tag.1.Key=provisioner%3Aregion&Tags.Tag.1.Value=r1\
         &StorageType=gp3&StorageEncrypted=true";
    let logs = "&EnableCloudwatchLogsExports.member.1=postgresql\
         &EnableCloudwatchLogsExports.member.2=upgrade";
    assert_eq!(
        form(&database),
        format!(
            "{start}&CopyTagsToSnapshot=true&DeletionProtection=false{logs}\
             &EnablePerformanceInsights=true&PerformanceInsightsRetentionPeriod=7"
        )
    );
    database.settings.kms_key = Some("k-1".into());
    database.settings.iam_auth = Some(true);
    database.settings.max_storage = Some(100);
    database.settings.performance_insights_days = 0;
    assert_eq!(
        form(&database),
        format!(
            "{start}&KmsKeyId=k-1&CopyTagsToSnapshot=true&DeletionProtection=false\
             &EnableIAMDatabaseAuthentication=true&MaxAllocatedStorage=100{logs}&EnablePerformanceInsights=false"
        )
    );
}

#[test]
fn a_change_is_asked_for_under_its_name_in_the_api() {
    let mut database = database();
    database.settings.max_storage = Some(100);
    database.settings.iam_auth = Some(false);
    let asked = |attribute: &str, have: Value, want: Value| {
        let difference = difference(attribute, have, want);
        let request = database.modify(database.modification(), &difference, &facts());
        let form = request.form("2014-10-31");
        let start = "Action=ModifyDBInstance&Version=2014-10-31\
             &DBInstanceIdentifier=r1-maestro&ApplyImmediately=true&";
        form.strip_prefix(start).expect("a modification").to_owned()
    };
    for (attribute, expected) in [
        ("autoMinorVersionUpgrade", "AutoMinorVersionUpgrade=true"),
        ("backupDays", "BackupRetentionPeriod=7"),
        ("backupWindow", "PreferredBackupWindow=03%3A00-04%3A00"),
        ("copyTagsToSnapshot", "CopyTagsToSnapshot=true"),
        ("deletionProtection", "DeletionProtection=false"),
        ("iamAuth", "EnableIAMDatabaseAuthentication=false"),
        ("instanceClass", "DBInstanceClass=db.t4g.micro"),
        (
            "logExports",
            "CloudwatchLogsExportConfiguration.EnableLogTypes.member.1=postgresql\
             &CloudwatchLogsExportConfiguration.EnableLogTypes.member.2=upgrade",
        ),
        (
            "maintenanceWindow",
            "PreferredMaintenanceWindow=mon%3A04%3A00-mon%3A05%3A00",
        ),
        ("maxStorage", "MaxAllocatedStorage=100"),
        ("multiAz", "MultiAZ=false"),
        (
            "performanceInsightsDays",
            "EnablePerformanceInsights=true&PerformanceInsightsRetentionPeriod=7",
        ),
        ("publiclyAccessible", "PubliclyAccessible=false"),
        (
            "securityGroups",
            "VpcSecurityGroupIds.VpcSecurityGroupId.1=sg-db",
        ),
        ("storage", "AllocatedStorage=20"),
        ("storageType", "StorageType=gp3"),
    ] {
        assert_eq!(asked(attribute, Value::Null, Value::Null), expected);
    }
    assert_eq!(
        asked("engineVersion", json!("17.9"), json!("18")),
        "EngineVersion=18&AllowMajorVersionUpgrade=true"
    );
    assert_eq!(
        asked("engineVersion", json!("18.1"), json!("18.2")),
        "EngineVersion=18&AllowMajorVersionUpgrade=false"
    );
}
