//! What it means to change an attribute of a running database (RDS User Guide, "Settings for DB instances").

use serde_json::Value;

use super::super::{Change, Difference};

/// What a difference means to those who use the database.
pub(super) fn meaning(difference: &Difference) -> Change {
    let Difference {
        attribute,
        have,
        want,
    } = difference;
    match attribute.as_str() {
        "engineVersion" => engine(difference),
        "instanceClass" => {
            disrupts("restarts the database on other hardware, which takes some minutes")
        }
        "storage" if have.as_u64() > want.as_u64() => Change::Impossible {
            why: "RDS cannot shrink storage".into(),
            hint: format!("set `database.storage` to {have} in the file"),
        },
        "storageType" if have.as_str() == Some("standard") => {
            disrupts("interrupts the database while its storage is moved")
        }
        "multiAz" if *want == Value::Bool(true) => {
            disrupts("slows the database down while its standby is filled")
        }
        "backupDays" if want.as_u64() == Some(0) => {
            disrupts("restarts the database and deletes its automatic backups")
        }
        "backupDays" if have.as_u64() == Some(0) => disrupts("restarts the database"),
        "iamAuth" if *want == Value::Bool(false) => {
            disrupts("refuses everybody who signs in with a token of IAM")
        }
        "publiclyAccessible" => disrupts("cuts off who reaches the database over the Internet"),
        "securityGroups" => {
            disrupts("cuts off who reaches the database through other security groups")
        }
        "database" | "engine" | "user" | "kmsKey" | "encrypted" | "subnetGroup" => {
            Change::Impossible {
                why: format!("RDS sets `{attribute}` when a database is made and never after"),
                hint: "write what it is into the file, or restore a snapshot into a new database"
                    .into(),
            }
        }
        _ => Change::Quiet,
    }
}

/// Whether a difference of `engineVersion` is one of major versions.
pub(super) fn is_major(difference: &Difference) -> bool {
    let major = |version: &Value| numbers(version).first().copied();
    major(&difference.have) != major(&difference.want)
}

fn engine(difference: &Difference) -> Change {
    let Difference { have, want, .. } = difference;
    let (from, to) = (
        have.as_str().unwrap_or_default(),
        want.as_str().unwrap_or_default(),
    );
    if numbers(have) > numbers(want) {
        return Change::Impossible {
            why: format!("RDS cannot go back from PostgreSQL {from} to {to}"),
            hint: format!("set `database.engineVersion` to \"{from}\" in the file"),
        };
    }
    match is_major(difference) {
        true => Change::Disrupts(format!(
            "upgrades PostgreSQL from {from} to {to}: no connections for ten to thirty minutes, and no way back but a snapshot"
        )),
        false => {
            disrupts("restarts the database with a newer minor version, which takes some minutes")
        }
    }
}

/// PostgreSQL's versions are numbers with dots; what is none sorts first.
fn numbers(version: &Value) -> Vec<u32> {
    let parts = version.as_str().unwrap_or_default().split('.');
    parts.map(|part| part.parse().unwrap_or(0)).collect()
}

fn disrupts(what: &str) -> Change {
    Change::Disrupts(what.to_owned())
}
