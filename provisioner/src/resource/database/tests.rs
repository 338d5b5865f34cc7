use region_file::tags::Owner;
use serde_json::{Value, json};

use crate::aws::rds::Pending;

use super::super::{State, compare};

use super::*;

mod requests;

fn database() -> Database {
    Database {
        scope: Scope::Region,
        name: "r1-maestro".into(),
        tags: Tags::new("r1", &BTreeMap::new()),
        settings: DatabaseSettings {
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
            iam_auth: None,
            iam_user: None,
        },
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

fn live() -> DbInstance {
    let text = |text: &str| Some(text.to_owned());
    DbInstance {
        arn: text("arn:aws:rds:eu-west-1:111122223333:db:r1-maestro"),
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
        max_allocated_storage: None,
        storage_type: text("gp3"),
        storage_encrypted: Some(true),
        kms_key_id: text("arn:aws:kms:eu-west-1:111122223333:key/k-1"),
        multi_az: Some(false),
        publicly_accessible: Some(false),
        subnet_group: text("r1-maestro"),
        security_groups: vec![(text("sg-db"), text("active"))],
        backup_retention_period: Some(7),
        preferred_backup_window: text("03:00-04:00"),
        preferred_maintenance_window: text("mon:04:00-mon:05:00"),
        copy_tags_to_snapshot: Some(true),
        deletion_protection: Some(false),
        iam_auth: Some(false),
        performance_insights_enabled: Some(true),
        performance_insights_retention_period: Some(7),
        enabled_log_exports: vec!["upgrade".into(), "postgresql".into()],
        tags: vec![("provisioner:region".into(), "r1".into())],
        pending: Pending::default(),
    }
}

/// The same but for what `change` makes of it.
fn live_but(change: impl FnOnce(&mut DbInstance)) -> DbInstance {
    let mut live = live();
    change(&mut live);
    live
}

fn differences(database: &Database, live: &DbInstance) -> Vec<Difference> {
    let observed = database.observed(live);
    let wanted = database.desired_attributes(&facts());
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
    assert_eq!(differences(&database(), &live()), []);
    let observed = database().observed(&live());
    assert_eq!(
        (observed.owner, observed.state),
        (Owner::Ours, State::Ready)
    );
    assert_eq!(observed.facts.database, Some(("db.example".into(), 5432)));
    assert_eq!(observed.notes, []);
}

#[test]
fn sign_in_by_iam_is_left_as_it_is_unless_the_file_says() {
    let on = live_but(|live| live.iam_auth = Some(true));
    let coming = live_but(|live| live.pending.iam_auth = Some(true));
    let with = |iam_auth| {
        let mut database = database();
        database.settings.iam_auth = iam_auth;
        database
    };
    assert_eq!(differences(&with(None), &on), []);
    assert_eq!(differences(&with(Some(true)), &on), []);
    assert_eq!(differences(&with(Some(true)), &coming), []);
    let missing = differences(&with(Some(true)), &live());
    let expected = difference("iamAuth", json!(false), json!(true));
    assert_eq!(missing, [expected]);
    assert!(!disrupts("iamAuth", json!(false), json!(true)));
    assert_eq!(differences(&with(Some(false)), &on).len(), 1);
    assert!(disrupts("iamAuth", json!(true), json!(false)));
    assert_eq!(
        with(None).observed(&on).facts.database_resource.as_deref(),
        Some("db-ABCD")
    );
}

#[test]
fn minor_versions_come_by_themselves_unless_one_is_pinned() {
    let newer = live_but(|live| live.engine_version = Some("18.9".into()));
    assert_eq!(differences(&database(), &newer), []);
    let mut pinned = database();
    pinned.settings.engine_version = "18.3".into();
    let found = differences(&pinned, &live());
    assert_eq!(
        found,
        [difference(
            "autoMinorVersionUpgrade",
            json!(true),
            json!(false)
        )]
    );
    let moved = live_but(|live| {
        live.auto_minor_version_upgrade = Some(false);
        live.engine_version = Some("18.4".into());
    });
    let found = differences(&pinned, &moved);
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
    growing.settings.max_storage = Some(100);
    let sizes = |storage, limit| {
        let live = live_but(|live| {
            live.allocated_storage = Some(storage);
            live.max_allocated_storage = Some(limit);
        });
        differences(&growing, &live)
    };
    assert_eq!(sizes(40, 100), []);
    // At the limit.
    assert_eq!(sizes(100, 100), []);
    assert_eq!(
        sizes(20, 20),
        [difference("maxStorage", Value::Null, json!(100))]
    );
}

#[test]
fn storage_never_shrinks() {
    let large = live_but(|live| live.allocated_storage = Some(40));
    let found = differences(&database(), &large);
    assert_eq!(found, [difference("storage", json!(40), json!(20))]);
    assert!(is_impossible("storage", json!(40), json!(20)));
    let more = difference("storage", json!(10), json!(20));
    assert_eq!(changes::meaning(&more), Change::Quiet);
}

#[test]
fn what_rds_has_accepted_is_not_asked_for_again() {
    let old = live_but(|live| {
        live.class = Some("db.t4g.large".into());
        live.allocated_storage = Some(10);
        live.multi_az = Some(true);
        live.engine_version = Some("17.9".into());
        live.backup_retention_period = Some(0);
        live.storage_type = Some("gp2".into());
        live.enabled_log_exports = vec!["postgresql".into()];
        live.pending = Pending {
            any: true,
            class: Some("db.t4g.micro".into()),
            engine_version: Some("18.3".into()),
            allocated_storage: Some(20),
            storage_type: Some("gp3".into()),
            multi_az: Some(false),
            backup_retention_period: Some(7),
            iam_auth: None,
            log_exports: vec!["upgrade".into()],
        };
    });
    assert_eq!(differences(&database(), &old), []);
    assert_eq!(database().observed(&old).notes.len(), 1);
}

#[test]
fn a_group_that_is_being_taken_off_is_gone() {
    let other = (Some("sg-x".to_owned()), Some("removing".to_owned()));
    let live = live_but(|live| live.security_groups.push(other));
    assert_eq!(differences(&database(), &live), []);
}

#[test]
fn the_security_group_comes_later_than_the_plan() {
    let observed = database().observed(&live());
    let wanted = database().desired_attributes(&Facts::default());
    let (differences, later) = compare(&wanted, &observed.attributes);
    assert_eq!(differences, []);
    assert_eq!(later, [("securityGroups".to_owned(), "the security group")]);
}

#[test]
fn a_wanted_key_is_compared_and_aws_own_is_not() {
    let mut encrypted = database();
    encrypted.settings.kms_key = Some("k-1".into());
    assert_eq!(differences(&encrypted, &live()), []);
    encrypted.settings.kms_key = Some("k-2".into());
    let found = differences(&encrypted, &live());
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
        let live = live_but(|live| live.status = Some(status.to_owned()));
        database().observed(&live).state
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
    let name = database().last_snapshot(&live());
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
    let mut database = database();
    database.settings.max_storage = Some(100);
    database.settings.iam_auth = Some(true);
    for attribute in database.desired_attributes(&facts()).into_keys() {
        let difference = difference(&attribute, Value::Null, Value::Null);
        let impossible = matches!(changes::meaning(&difference), Change::Impossible { .. });
        // Tags have a call of their own.
        if impossible || attribute == "tags" {
            continue;
        }
        let before = database.modification();
        let after = database.modify(before.clone(), &difference, &facts());
        assert_ne!(before, after, "`{attribute}`");
    }
}
