use aws_sdk_rds::types::builders::DbInstanceBuilder;
use aws_sdk_rds::types::{
    DbSubnetGroup, Endpoint, PendingCloudwatchLogsExports, PendingModifiedValues,
    VpcSecurityGroupMembership,
};
use serde_json::{Value, json};

use super::super::{Owner, State, compare};
use super::*;

fn database() -> Database {
    Database {
        scope: Scope::Region,
        name: "r1-maestro".into(),
        tags: Tags::new("r1", &BTreeMap::new()),
        instance_class: "db.t4g.micro".into(),
        storage: 20,
        max_storage: None,
        engine_version: "18".into(),
        database: "maestro".into(),
        user: "maestro_admin".into(),
        multi_az: false,
        backup_days: 7,
        backup_window: "03:00-04:00".into(),
        maintenance_window: "mon:04:00-mon:05:00".into(),
        deletion_protection: false,
        final_snapshot: true,
        performance_insights_days: 7,
        kms_key: None,
        subnet_group: "r1-maestro".into(),
        credentials: "maestro/db-credentials".into(),
    }
}

fn facts() -> Facts {
    Facts {
        security_group: Some("sg-db".into()),
        ..Facts::default()
    }
}

fn live() -> DbInstanceBuilder {
    let group = VpcSecurityGroupMembership::builder().vpc_security_group_id("sg-db");
    let subnets = DbSubnetGroup::builder().db_subnet_group_name("r1-maestro");
    let endpoint = Endpoint::builder().address("db.example").port(5432);
    DbInstance::builder()
        .db_instance_identifier("r1-maestro")
        .dbi_resource_id("db-ABCD")
        .db_instance_status("available")
        .db_instance_class("db.t4g.micro")
        .allocated_storage(20)
        .engine_version("18.3")
        .storage_type("gp3")
        .storage_encrypted(true)
        .kms_key_id("arn:aws:kms:eu-west-1:111122223333:key/k-1")
        .db_name("maestro")
        .master_username("maestro_admin")
        .multi_az(false)
        .backup_retention_period(7)
        .preferred_backup_window("03:00-04:00")
        .preferred_maintenance_window("mon:04:00-mon:05:00")
        .deletion_protection(false)
        .performance_insights_enabled(true)
        .performance_insights_retention_period(7)
        .publicly_accessible(false)
        .copy_tags_to_snapshot(true)
        .auto_minor_version_upgrade(true)
        .enabled_cloudwatch_logs_exports("upgrade")
        .enabled_cloudwatch_logs_exports("postgresql")
        .vpc_security_groups(group.status("active").build())
        .db_subnet_group(subnets.build())
        .endpoint(endpoint.build())
        .tag_list(Tag::builder().key("provisioner:region").value("r1").build())
}

fn differences(database: &Database, live: DbInstanceBuilder) -> Vec<Difference> {
    let observed = database.observed(&live.build());
    let wanted = database.wishes(&facts());
    assert!(wanted.keys().eq(observed.attributes.keys()));
    compare(&wanted, &observed.attributes).0
}

fn difference(attribute: &str, have: Value, want: Value) -> Difference {
    Difference {
        attribute: attribute.to_owned(),
        have,
        want,
    }
}

fn is_impossible(attribute: &str, have: Value, want: Value) -> bool {
    let change = changes::meaning(&difference(attribute, have, want));
    matches!(change, Change::Impossible { .. })
}

fn disrupts(attribute: &str, have: Value, want: Value) -> bool {
    let change = changes::meaning(&difference(attribute, have, want));
    matches!(change, Change::Disrupts(_))
}

#[test]
fn a_database_as_it_should_be_has_no_difference() {
    assert_eq!(differences(&database(), live()), []);
    let observed = database().observed(&live().build());
    assert_eq!(
        (observed.owner, observed.state),
        (Owner::Ours, State::Ready)
    );
    assert_eq!(observed.facts.database, Some(("db.example".into(), 5432)));
    assert_eq!(observed.notes, []);
}

#[test]
fn minor_versions_come_by_themselves_unless_one_is_pinned() {
    assert_eq!(differences(&database(), live().engine_version("18.9")), []);
    let mut pinned = database();
    pinned.engine_version = "18.3".into();
    let found = differences(&pinned, live());
    assert_eq!(
        found,
        [difference(
            "autoMinorVersionUpgrade",
            json!(true),
            json!(false)
        )]
    );
    let live = live()
        .auto_minor_version_upgrade(false)
        .engine_version("18.4");
    let found = differences(&pinned, live);
    assert_eq!(
        found,
        [difference("engineVersion", json!("18.4"), json!("18.3"))]
    );
}

#[test]
fn versions_go_up_only() {
    assert!(is_impossible("engineVersion", json!("18"), json!("17")));
    assert!(is_impossible("engineVersion", json!("18.4"), json!("18.3")));
    assert!(disrupts("engineVersion", json!("9"), json!("18")));
    assert!(disrupts("engineVersion", json!("18.3"), json!("18.10")));
    let major = difference("engineVersion", json!("17"), json!("18.1"));
    assert!(changes::is_major(&major));
    let minor = difference("engineVersion", json!("18.1"), json!("18.2"));
    assert!(!changes::is_major(&minor));
}

#[test]
fn storage_that_has_grown_by_itself_is_no_difference() {
    let mut growing = database();
    growing.max_storage = Some(100);
    let grown = live().allocated_storage(40).max_allocated_storage(100);
    assert_eq!(differences(&growing, grown), []);
    let at_the_limit = live().allocated_storage(100).max_allocated_storage(100);
    assert_eq!(differences(&growing, at_the_limit), []);
    let fixed = differences(&growing, live().max_allocated_storage(20));
    assert_eq!(fixed, [difference("maxStorage", Value::Null, json!(100))]);
}

#[test]
fn storage_never_shrinks() {
    let found = differences(&database(), live().allocated_storage(40));
    assert_eq!(found, [difference("storage", json!(40), json!(20))]);
    assert!(is_impossible("storage", json!(40), json!(20)));
    let more = difference("storage", json!(10), json!(20));
    assert_eq!(changes::meaning(&more), Change::Quiet);
}

#[test]
fn what_rds_has_accepted_is_not_asked_for_again() {
    let logs = PendingCloudwatchLogsExports::builder().log_types_to_enable("upgrade");
    let pending = PendingModifiedValues::builder()
        .db_instance_class("db.t4g.micro")
        .allocated_storage(20)
        .multi_az(false)
        .engine_version("18.3")
        .backup_retention_period(7)
        .storage_type("gp3")
        .pending_cloudwatch_logs_exports(logs.build())
        .build();
    let live = live()
        .db_instance_class("db.t4g.large")
        .allocated_storage(10)
        .multi_az(true)
        .engine_version("17.9")
        .backup_retention_period(0)
        .storage_type("gp2")
        .set_enabled_cloudwatch_logs_exports(Some(vec!["postgresql".into()]))
        .pending_modified_values(pending);
    assert_eq!(differences(&database(), live.clone()), []);
    assert_eq!(database().observed(&live.build()).notes.len(), 1);
}

#[test]
fn a_group_that_is_being_taken_off_is_gone() {
    let other = VpcSecurityGroupMembership::builder().vpc_security_group_id("sg-x");
    let live = live().vpc_security_groups(other.status("removing").build());
    assert_eq!(differences(&database(), live), []);
}

#[test]
fn the_security_group_comes_later_than_the_plan() {
    let observed = database().observed(&live().build());
    let wanted = database().wishes(&Facts::default());
    let (differences, later) = compare(&wanted, &observed.attributes);
    assert_eq!(differences, []);
    assert_eq!(later, [("securityGroups".to_owned(), "the security group")]);
}

#[test]
fn a_wanted_key_is_compared_and_aws_own_is_not() {
    let mut encrypted = database();
    encrypted.kms_key = Some("k-1".into());
    assert_eq!(differences(&encrypted, live()), []);
    encrypted.kms_key = Some("k-2".into());
    let found = differences(&encrypted, live());
    assert_eq!(found[0].attribute, "kmsKey");
    assert!(is_impossible("kmsKey", json!("a"), json!("k-2")));
}

#[test]
fn what_is_noticed_is_told() {
    assert!(disrupts("instanceClass", json!("a"), json!("b")));
    assert!(disrupts("backupDays", json!(7), json!(0)));
    assert!(disrupts("backupDays", json!(0), json!(7)));
    assert!(disrupts("multiAz", json!(false), json!(true)));
    assert!(!disrupts("backupDays", json!(1), json!(7)));
    assert!(!disrupts("deletionProtection", json!(false), json!(true)));
}

#[test]
fn a_status_says_whether_to_use_to_wait_or_to_give_up() {
    let state = |status: &str| {
        database()
            .observed(&live().db_instance_status(status).build())
            .state
    };
    for status in ["available", "storage-optimization", "storage-full"] {
        assert_eq!(state(status), State::Ready);
    }
    for status in [
        "creating",
        "modifying",
        "backing-up",
        "upgrading",
        "deleting",
        "new-word",
    ] {
        assert_eq!(state(status), State::Settling(status.into()));
    }
    for status in ["failed", "incompatible-network", "stopped", "restore-error"] {
        assert!(matches!(state(status), State::Broken { .. }));
    }
}

#[test]
fn the_final_snapshot_has_one_name_per_instance() {
    let name = database().last_snapshot(&live().build());
    assert_eq!(name, "r1-maestro-final-db-abcd");
}

#[test]
fn a_text_that_may_hold_the_password_is_not_told() {
    assert!(quotes(Some("value hunter2 is bad"), "hunter2"));
    assert!(quotes(Some("MasterUserPassword is too short"), "hunter2"));
    assert!(!quotes(
        Some("cannot find version 99 for postgres"),
        "hunter2"
    ));
    assert!(!quotes(None, "hunter2"));
}

#[test]
fn every_attribute_that_can_change_is_in_the_request() {
    let config = aws_config::SdkConfig::builder()
        .behavior_version(aws_config::BehaviorVersion::latest())
        .build();
    let client = aws_sdk_rds::Client::new(&config);
    let mut database = database();
    database.max_storage = Some(100);
    for attribute in database.wishes(&facts()).into_keys() {
        let difference = difference(&attribute, Value::Null, Value::Null);
        let impossible = matches!(changes::meaning(&difference), Change::Impossible { .. });
        // Tags have a call of their own.
        if impossible || attribute == "tags" {
            continue;
        }
        let before = client.modify_db_instance();
        let after = database.modify(before.clone(), &difference, &facts());
        assert_ne!(before.as_input(), after.as_input(), "`{attribute}`");
    }
}
