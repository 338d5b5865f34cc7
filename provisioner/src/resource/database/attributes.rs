//! What the database should be and what it is, attribute by attribute.

use std::collections::BTreeMap;

use region_file::tags::pairs;
use serde_json::{Value, json};

use crate::aws::rds::DbInstance;

use super::super::{DesiredValue, Facts, Note, Observed, State, kms};
use super::{Database, ENGINE, LOGS, STORAGE_TYPE};

impl Database {
    pub(super) fn desired_attributes(&self, facts: &Facts) -> BTreeMap<String, DesiredValue> {
        let security_groups = match &facts.security_group {
            Some(group) => DesiredValue::Known(json!([group])),
            None => DesiredValue::After("the security group"),
        };
        let desired = [
            ("autoMinorVersionUpgrade", self.auto_minor().into()),
            ("backupDays", self.settings.backup_days.into()),
            ("backupWindow", self.settings.backup_window.as_str().into()),
            ("copyTagsToSnapshot", true.into()),
            ("database", self.settings.database.as_str().into()),
            (
                "deletionProtection",
                self.settings.deletion_protection.into(),
            ),
            ("encrypted", true.into()),
            ("engine", ENGINE.into()),
            (
                "engineVersion",
                self.settings.engine_version.as_str().into(),
            ),
            ("iamAuth", self.settings.iam_auth.into()),
            (
                "instanceClass",
                self.settings.instance_class.as_str().into(),
            ),
            ("kmsKey", self.settings.kms_key.as_deref().into()),
            ("logExports", json!(LOGS)),
            (
                "maintenanceWindow",
                self.settings.maintenance_window.as_str().into(),
            ),
            ("maxStorage", self.settings.max_storage.into()),
            ("multiAz", self.settings.multi_az.into()),
            (
                "performanceInsightsDays",
                self.settings.performance_insights_days.into(),
            ),
            ("publiclyAccessible", false.into()),
            ("storage", self.settings.storage.into()),
            ("storageType", STORAGE_TYPE.into()),
            ("subnetGroup", self.subnet_group.to_lowercase().into()),
            ("tags", self.tags.wanted()),
            ("user", self.settings.user.as_str().into()),
        ];
        let mut desired: BTreeMap<_, _> = desired
            .into_iter()
            .map(|(name, value)| (name.to_owned(), DesiredValue::Known(value)))
            .collect();
        desired.insert("securityGroups".to_owned(), security_groups);
        desired
    }

    pub(super) fn observed(&self, live: &DbInstance) -> Observed {
        let (owner, tags) = self.tags.observed(pairs(&live.tags));
        let pending = &live.pending;
        let backup_days = pending
            .backup_retention_period
            .or(live.backup_retention_period);
        let attributes = [
            (
                "autoMinorVersionUpgrade",
                live.auto_minor_version_upgrade.into(),
            ),
            ("backupDays", backup_days.into()),
            (
                "backupWindow",
                live.preferred_backup_window.as_deref().into(),
            ),
            ("copyTagsToSnapshot", live.copy_tags_to_snapshot.into()),
            ("database", live.database.as_deref().into()),
            ("deletionProtection", live.deletion_protection.into()),
            ("encrypted", live.storage_encrypted.into()),
            ("engine", live.engine.as_deref().into()),
            ("engineVersion", self.version(live)),
            ("iamAuth", self.iam_auth(live)),
            (
                "instanceClass",
                pending
                    .class
                    .as_ref()
                    .or(live.class.as_ref())
                    .map(String::as_str)
                    .into(),
            ),
            ("kmsKey", self.key(live)),
            ("logExports", logs(live)),
            (
                "maintenanceWindow",
                live.preferred_maintenance_window.as_deref().into(),
            ),
            ("maxStorage", self.max_storage(live)),
            ("multiAz", pending.multi_az.or(live.multi_az).into()),
            ("performanceInsightsDays", insights(live)),
            ("publiclyAccessible", live.publicly_accessible.into()),
            ("securityGroups", security_groups(live)),
            ("storage", self.storage(live)),
            (
                "storageType",
                pending
                    .storage_type
                    .as_ref()
                    .or(live.storage_type.as_ref())
                    .map(String::as_str)
                    .into(),
            ),
            ("subnetGroup", live.subnet_group.as_deref().into()),
            ("tags", tags),
            ("user", live.master_username.as_deref().into()),
        ];
        let attributes = attributes.map(|(name, value): (&str, Value)| (name.to_owned(), value));
        let mut observed = Observed::ready(owner, BTreeMap::from(attributes), live.arn.clone());
        observed.state = self.state(live);
        // Known from the moment RDS has given it an address, minutes before it is available.
        observed.facts.database = live.address.clone().zip(live.port);
        observed.facts.database_resource = live.resource_id.clone();
        observed.notes = notes(live);
        observed
    }

    /// With the precision of the desired version: minor versions come by themselves.
    fn version(&self, live: &DbInstance) -> Value {
        let pending = live.pending.engine_version.as_ref();
        let Some(version) = pending.or(live.engine_version.as_ref()) else {
            return Value::Null;
        };
        let parts = self.settings.engine_version.split('.').count();
        let parts: Vec<_> = version.split('.').take(parts).collect();
        parts.join(".").into()
    }

    /// AWS reports its own key by an ARN like any other, so without a desired key nothing is compared.
    fn key(&self, live: &DbInstance) -> Value {
        match (self.settings.kms_key.as_deref(), live.kms_key_id.as_deref()) {
            (None, _) | (_, None) => Value::Null,
            (Some(wanted), Some(live)) if kms::same(wanted, live) => wanted.into(),
            (Some(_), Some(live)) => live.into(),
        }
    }

    /// Without a desired value it is not compared: somebody may have switched it on for others.
    fn iam_auth(&self, live: &DbInstance) -> Value {
        let live = live.pending.iam_auth.or(live.iam_auth).unwrap_or(false);
        self.settings.iam_auth.map(|_| live).into()
    }

    /// Storage that has grown by itself is as it should be.
    fn storage(&self, live: &DbInstance) -> Value {
        match allocated(live) {
            Some(size) if self.settings.max_storage.is_some() && size > self.settings.storage => {
                self.settings.storage.into()
            }
            size => size.into(),
        }
    }

    /// A limit that is reached stays the limit; one that was never above the storage is none.
    fn max_storage(&self, live: &DbInstance) -> Value {
        match (live.max_allocated_storage, allocated(live)) {
            (Some(limit), _) if self.settings.max_storage == Some(limit) => limit.into(),
            (Some(limit), Some(size)) if limit <= size => Value::Null,
            (limit, _) => limit.into(),
        }
    }

    fn state(&self, live: &DbInstance) -> State {
        let status = live.status.as_deref().unwrap_or("unknown");
        let broken = |hint: String| State::Broken {
            why: format!("its status is `{status}`"),
            hint,
        };
        match status {
            _ if USABLE.contains(&status) => State::Ready,
            "stopped" => broken(format!(
                "start it with `aws rds start-db-instance --db-instance-identifier {}`",
                self.name
            )),
            _ if FAILED.contains(&status) || status.starts_with("incompatible-") => {
                broken(format!(
                    "read why with `aws rds describe-events --source-type db-instance --source-identifier {}`",
                    self.name
                ))
            }
            // Creating, modifying, upgrading, backing up, and what RDS may add.
            _ => State::Settling(status.to_owned()),
        }
    }
}

fn allocated(live: &DbInstance) -> Option<u32> {
    live.pending.allocated_storage.or(live.allocated_storage)
}

/// Only those that are wanted; more do no harm.
fn logs(live: &DbInstance) -> Value {
    let present = || {
        let coming = &live.pending.log_exports;
        live.enabled_log_exports.iter().chain(coming)
    };
    let logs = LOGS.into_iter();
    json!(
        logs.filter(|log| present().any(|it| it == log))
            .collect::<Vec<_>>()
    )
}

fn insights(live: &DbInstance) -> Value {
    match live.performance_insights_enabled {
        Some(true) => live.performance_insights_retention_period.into(),
        _ => 0.into(),
    }
}

fn security_groups(live: &DbInstance) -> Value {
    let groups = live.security_groups.iter();
    let groups = groups.filter(|(_, status)| status.as_deref() != Some("removing"));
    let mut ids: Vec<_> = groups.filter_map(|(id, _)| id.as_deref()).collect();
    ids.sort_unstable();
    ids.into()
}

fn notes(live: &DbInstance) -> Vec<Note> {
    let mut notes = Vec::new();
    if live.status.as_deref() == Some("storage-full") {
        notes.push(Note {
            text: "its storage is full, and it takes no writes".into(),
            hint: "raise `database.storage` in the file and apply it".into(),
        });
    }
    if live.status.as_deref() == Some("available") && live.pending.any {
        notes.push(Note {
            text: "has accepted changes that are not made yet".into(),
            hint: format!(
                "wait, or reboot it if they wait for its maintenance window ({})",
                live.preferred_maintenance_window
                    .as_deref()
                    .unwrap_or("unknown")
            ),
        });
    }
    notes
}

// Statuses in which it can be used and modified; a full one can be put right by more storage only.
const USABLE: [&str; 4] = [
    "available",
    "storage-optimization",
    "storage-initialization",
    "storage-full",
];
// Statuses that do not come right by waiting, besides `incompatible-…`.
const FAILED: [&str; 5] = [
    "failed",
    "restore-error",
    "insufficient-capacity",
    "inaccessible-encryption-credentials",
    "inaccessible-encryption-credentials-recoverable",
];
