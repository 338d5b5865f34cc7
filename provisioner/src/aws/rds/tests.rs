use super::*;

const ARN: &str = "arn:aws:rds:eu-west-1:111122223333:db:r1";
const TAGS: [(&str, &str); 1] = [("provisioner:region", "r1")];

fn form<T>(call: &Call<T>) -> String {
    let form = call.request.form(SERVICE.version);
    let version = format!("&Version={}&", SERVICE.version);
    assert!(form.contains(&version), "{form}");
    form.replacen(&version, "&", 1)
}

fn read<T>(call: &Call<T>, answer: &str) -> Result<T, Malformed> {
    let read = call.read.expect("the answer is read");
    read(&Element::parse(answer.as_bytes()).unwrap())
}

// The forms of all calls but those of `resource::database`, with the names that the serialisers of `aws-sdk-rds` 1.159
// write.
#[test]
fn everything_is_asked_for_under_its_name_in_the_api() {
    let subnets = ["subnet-a".to_owned(), "subnet-b".to_owned()];
    for (call, expected) in [
        (
            add_tags(ARN, TAGS),
            "Action=AddTagsToResource\
             &ResourceName=arn%3Aaws%3Ards%3Aeu-west-1%3A111122223333%3Adb%3Ar1\
             &Tags.Tag.1.Key=provisioner%3Aregion&Tags.Tag.1.Value=r1",
        ),
        (
            create_db_subnet_group("r1", "Subnets of r1", &subnets, TAGS),
            "Action=CreateDBSubnetGroup&DBSubnetGroupName=r1\
             &DBSubnetGroupDescription=Subnets%20of%20r1\
             &SubnetIds.SubnetIdentifier.1=subnet-a&SubnetIds.SubnetIdentifier.2=subnet-b\
             &Tags.Tag.1.Key=provisioner%3Aregion&Tags.Tag.1.Value=r1",
        ),
        (
            modify_db_subnet_group("r1", &subnets),
            "Action=ModifyDBSubnetGroup&DBSubnetGroupName=r1\
             &SubnetIds.SubnetIdentifier.1=subnet-a&SubnetIds.SubnetIdentifier.2=subnet-b",
        ),
        (
            delete_db_subnet_group("r1"),
            "Action=DeleteDBSubnetGroup&DBSubnetGroupName=r1",
        ),
        (
            delete_db_instance("r1", None),
            "Action=DeleteDBInstance&DBInstanceIdentifier=r1&SkipFinalSnapshot=true",
        ),
        (
            delete_db_instance("r1", Some("r1-final")),
            "Action=DeleteDBInstance&DBInstanceIdentifier=r1&SkipFinalSnapshot=false\
             &FinalDBSnapshotIdentifier=r1-final",
        ),
    ] {
        assert_eq!(form(&call), expected);
        assert!(call.read.is_none());
    }
    assert_eq!(
        form(&describe_db_instances("r1")),
        "Action=DescribeDBInstances&DBInstanceIdentifier=r1"
    );
    assert_eq!(
        form(&describe_db_subnet_groups("r1")),
        "Action=DescribeDBSubnetGroups&DBSubnetGroupName=r1"
    );
    assert_eq!(
        form(&list_tags(ARN)),
        "Action=ListTagsForResource\
         &ResourceName=arn%3Aaws%3Ards%3Aeu-west-1%3A111122223333%3Adb%3Ar1"
    );
}

#[test]
fn a_database_is_read_with_what_is_pending() {
    let answer = r#"<DescribeDBInstancesResponse xmlns="http://rds.amazonaws.com/doc/2014-10-31/">
      <DescribeDBInstancesResult><DBInstances><DBInstance>
        <DBInstanceIdentifier>r1</DBInstanceIdentifier>
        <DBInstanceClass>db.t4g.micro</DBInstanceClass><Engine>postgres</Engine>
        <DBInstanceStatus>available</DBInstanceStatus>
        <MasterUsername>maestro_admin</MasterUsername><DBName>maestro</DBName>
        <Endpoint><Address>db.example</Address><Port>5432</Port><HostedZoneId>Z</HostedZoneId></Endpoint>
        <AllocatedStorage>20</AllocatedStorage>
        <InstanceCreateTime>2026-01-02T03:04:05.678Z</InstanceCreateTime>
        <PreferredBackupWindow>03:00-04:00</PreferredBackupWindow>
        <BackupRetentionPeriod>7</BackupRetentionPeriod>
        <VpcSecurityGroups><VpcSecurityGroupMembership>
          <VpcSecurityGroupId>sg-db</VpcSecurityGroupId><Status>active</Status>
        </VpcSecurityGroupMembership></VpcSecurityGroups>
        <DBSubnetGroup><DBSubnetGroupName>r1</DBSubnetGroupName><Subnets/></DBSubnetGroup>
        <PreferredMaintenanceWindow>mon:04:00-mon:05:00</PreferredMaintenanceWindow>
        <PendingModifiedValues>
          <DBInstanceClass>db.t4g.large</DBInstanceClass><AllocatedStorage>40</AllocatedStorage>
          <MasterUserPassword>****</MasterUserPassword>
          <BackupRetentionPeriod>1</BackupRetentionPeriod><MultiAZ>true</MultiAZ>
          <EngineVersion>18.4</EngineVersion><StorageType>gp3</StorageType>
          <IAMDatabaseAuthenticationEnabled>true</IAMDatabaseAuthenticationEnabled>
          <PendingCloudwatchLogsExports>
            <LogTypesToEnable><member>upgrade</member></LogTypesToEnable>
          </PendingCloudwatchLogsExports>
        </PendingModifiedValues>
        <MultiAZ>false</MultiAZ><EngineVersion>18.3</EngineVersion>
        <AutoMinorVersionUpgrade>true</AutoMinorVersionUpgrade>
        <PubliclyAccessible>false</PubliclyAccessible><StorageType>gp2</StorageType>
        <StorageEncrypted>true</StorageEncrypted><KmsKeyId>key</KmsKeyId>
        <DbiResourceId>db-ABCD</DbiResourceId><CopyTagsToSnapshot>true</CopyTagsToSnapshot>
        <DBInstanceArn>arn</DBInstanceArn>
        <PerformanceInsightsEnabled>true</PerformanceInsightsEnabled>
        <PerformanceInsightsRetentionPeriod>7</PerformanceInsightsRetentionPeriod>
        <EnabledCloudwatchLogsExports><member>postgresql</member></EnabledCloudwatchLogsExports>
        <DeletionProtection>false</DeletionProtection>
        <IAMDatabaseAuthenticationEnabled>false</IAMDatabaseAuthenticationEnabled>
        <MaxAllocatedStorage>100</MaxAllocatedStorage>
        <TagList><Tag><Key>provisioner:region</Key><Value>r1</Value></Tag></TagList>
      </DBInstance></DBInstances></DescribeDBInstancesResult>
      <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata>
    </DescribeDBInstancesResponse>"#;
    let text = |text: &str| Some(text.to_owned());
    let expected = DbInstance {
        arn: text("arn"),
        resource_id: text("db-ABCD"),
        status: text("available"),
        class: text("db.t4g.micro"),
        engine: text("postgres"),
        engine_version: text("18.3"),
        auto_minor_version_upgrade: Some(true),
        database: text("maestro"),
        master_username: text("maestro_admin"),
        address: text("db.example"),
        port: Some(5432),
        allocated_storage: Some(20),
        max_allocated_storage: Some(100),
        storage_type: text("gp2"),
        storage_encrypted: Some(true),
        kms_key_id: text("key"),
        multi_az: Some(false),
        publicly_accessible: Some(false),
        subnet_group: text("r1"),
        security_groups: vec![(text("sg-db"), text("active"))],
        backup_retention_period: Some(7),
        preferred_backup_window: text("03:00-04:00"),
        preferred_maintenance_window: text("mon:04:00-mon:05:00"),
        copy_tags_to_snapshot: Some(true),
        deletion_protection: Some(false),
        iam_auth: Some(false),
        performance_insights_enabled: Some(true),
        performance_insights_retention_period: Some(7),
        enabled_log_exports: vec!["postgresql".into()],
        tags: vec![("provisioner:region".into(), "r1".into())],
        pending: Pending {
            any: true,
            class: text("db.t4g.large"),
            engine_version: text("18.4"),
            allocated_storage: Some(40),
            storage_type: text("gp3"),
            multi_az: Some(true),
            backup_retention_period: Some(1),
            iam_auth: Some(true),
            log_exports: vec!["upgrade".into()],
        },
    };
    assert_eq!(
        read(&describe_db_instances("r1"), answer),
        Ok(vec![expected])
    );
}

#[test]
fn a_database_that_is_being_made_says_little() {
    let answer = |database: &str| {
        let answer = format!(
            "<DescribeDBInstancesResponse><DescribeDBInstancesResult><DBInstances>{database}\
             </DBInstances></DescribeDBInstancesResult></DescribeDBInstancesResponse>"
        );
        read(&describe_db_instances("r1"), &answer)
    };
    let new = "<DBInstance><DBInstanceStatus>creating</DBInstanceStatus><PendingModifiedValues/>\
         <Endpoint/><VpcSecurityGroups/><TagList/></DBInstance>";
    let bare = DbInstance {
        status: Some("creating".into()),
        ..DbInstance::default()
    };
    assert_eq!(answer(new), Ok(vec![bare]));
    assert_eq!(answer(""), Ok(vec![]));
    let other =
        "<DBInstance><PendingModifiedValues><New>1</New></PendingModifiedValues></DBInstance>";
    assert!(answer(other).unwrap()[0].pending.any);
    assert!(answer("<DBInstance><MultiAZ>maybe</MultiAZ></DBInstance>").is_err());
    assert!(
        read(
            &describe_db_instances("r1"),
            "<DescribeDBInstancesResponse/>"
        )
        .is_err()
    );
}

#[test]
fn subnet_groups_and_tags_are_read() {
    let answer = "<R><DescribeDBSubnetGroupsResult><DBSubnetGroups><DBSubnetGroup>\
         <DBSubnetGroupName>r1</DBSubnetGroupName><SubnetGroupStatus>Complete</SubnetGroupStatus>\
         <Subnets><Subnet><SubnetIdentifier>subnet-a</SubnetIdentifier><SubnetAvailabilityZone>\
         <Name>eu-west-1a</Name></SubnetAvailabilityZone></Subnet>\
         <Subnet><SubnetIdentifier>subnet-b</SubnetIdentifier></Subnet></Subnets>\
         <DBSubnetGroupArn>arn</DBSubnetGroupArn></DBSubnetGroup></DBSubnetGroups>\
         </DescribeDBSubnetGroupsResult></R>";
    let group = DbSubnetGroup {
        arn: Some("arn".into()),
        status: Some("Complete".into()),
        subnets: vec!["subnet-a".into(), "subnet-b".into()],
    };
    assert_eq!(
        read(&describe_db_subnet_groups("r1"), answer),
        Ok(vec![group])
    );
    let tags = "<R><ListTagsForResourceResult><TagList><Tag><Key>a</Key><Value>b</Value></Tag>\
         <Tag><Key>c</Key><Value/></Tag></TagList></ListTagsForResourceResult></R>";
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(
        read(&list_tags(ARN), tags),
        Ok(vec![pair("a", "b"), pair("c", "")])
    );
    let none = "<R><ListTagsForResourceResult><TagList/></ListTagsForResourceResult></R>";
    assert_eq!(read(&list_tags(ARN), none), Ok(vec![]));
}
