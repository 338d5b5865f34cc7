//! The database: defaults of the profile, forms, windows that do not overlap.

use super::Check;
use crate::DatabaseSettings;
use crate::file::{self, Profile};
use crate::{grammar, window};

impl Check<'_> {
    pub(super) fn database(
        &mut self,
        file: file::DatabaseSection,
        profile: Profile,
    ) -> DatabaseSettings {
        let production = profile == Profile::Production;
        let by = |development: &'static str, in_production| {
            if production {
                in_production
            } else {
                development
            }
        };
        let field = |key: &str| format!("database.{key}");
        let storage = file.storage.unwrap_or(if production { 100 } else { 20 });
        if let Some(most) = file.max_storage
            && u64::from(most) * 10 < u64::from(storage) * 11
        {
            self.report(
                "database.maxStorage",
                format!("is {most}, less than a tenth above the storage of {storage}"),
                format!(
                    "write at least {}, or leave it out",
                    (u64::from(storage) * 11).div_ceil(10)
                ),
            );
        }
        let insights = file.performance_insights_days.unwrap_or(7);
        self.form(
            "database.performanceInsightsDays",
            grammar::insights_days(insights),
        );
        let kms_key = self.kms_key("database.kmsKey", file.kms_key);
        let backup_window = file.backup_window.unwrap_or_else(|| "03:00-04:00".into());
        let maintenance_window = file
            .maintenance_window
            .unwrap_or_else(|| "mon:04:00-mon:05:00".into());
        self.windows(&backup_window, &maintenance_window);
        let user = self.text(
            &field("user"),
            file.user.or_else(|| Some("maestro_admin".into())),
            "",
            grammar::user,
        );
        let iam_user = self.iam_user(file.iam_auth, file.iam_user, &user);
        DatabaseSettings {
            instance_class: self.text(
                &field("instanceClass"),
                file.instance_class
                    .or_else(|| Some(by("db.t4g.micro", PRODUCTION_CLASS).into())),
                "",
                grammar::instance_class,
            ),
            storage,
            max_storage: file.max_storage,
            // The major version only: AWS raises the minor one by itself, which would show as drift for ever.
            engine_version: self.text(
                &field("engineVersion"),
                file.engine_version.or_else(|| Some("18".into())),
                "",
                grammar::engine_version,
            ),
            database: self.text(
                &field("database"),
                file.database.or_else(|| Some("maestro".into())),
                "",
                grammar::database,
            ),
            user,
            multi_az: file.multi_az.unwrap_or(production),
            backup_days: file.backup_days.unwrap_or(if production { 30 } else { 7 }),
            backup_window,
            maintenance_window,
            deletion_protection: file.deletion_protection.unwrap_or(production),
            final_snapshot: file.final_snapshot.unwrap_or(production),
            performance_insights_days: insights,
            kms_key,
            iam_auth: file.iam_auth,
            iam_user,
        }
    }

    // With `iamAuth: true` only: any other time the key would do nothing.
    fn iam_user(&mut self, on: Option<bool>, user: Option<String>, master: &str) -> Option<String> {
        const FIELD: &str = "database.iamUser";
        if on != Some(true) {
            if user.is_some() {
                let what = "is written, but `database.iamAuth` is not true";
                self.report(FIELD, what, "write `iamAuth: true` too, or leave it out");
            }
            return None;
        }
        let user = user.or_else(|| Some("maestro_iam".into()));
        let user = self.text(FIELD, user, "", grammar::user);
        if user == master {
            let what = format!("is `{user}`, the master user, which would lose its password");
            self.report(FIELD, what, "write another name");
        }
        Some(user)
    }

    fn windows(&mut self, backup: &str, maintenance: &str) {
        let daily = window::daily(backup);
        let weekly = window::weekly(maintenance);
        if let (Ok(daily), Ok(weekly)) = (&daily, &weekly)
            && window::overlap(daily, weekly)
        {
            self.report(
                "database.maintenanceWindow",
                format!("is `{maintenance}`, which overlaps the backup window `{backup}`"),
                "write a window that does not",
            );
        }
        self.form("database.backupWindow", daily.map(|_| ()));
        self.form("database.maintenanceWindow", weekly.map(|_| ()));
    }
}

// Two dedicated Graviton cores with 8 GiB: the smallest class whose speed does not depend on saved-up CPU credits,
// so that a resync of every cluster at once is not slowed down by the hour before it.
const PRODUCTION_CLASS: &str = "db.m7g.large";
