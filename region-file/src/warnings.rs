//! What is allowed but probably not meant.

use std::time::Duration;

use super::problem::Problem;
use super::{Budget, POOL, Profile, Region, Store};

/// Warnings in the order of the file.
pub(super) fn of(region: &Region) -> Vec<Problem> {
    let mut warnings = Vec::new();
    if region.profile == Profile::Production {
        production(region, &mut warnings);
    }
    let database = &region.database;
    if database.engine_version.contains('.') {
        warnings.push(Problem::new(
            "database.engineVersion",
            format!(
                "is `{}`: once AWS has raised the minor version, the plan shows a difference that nothing can settle",
                database.engine_version
            ),
            "write the major version only",
        ));
    }
    connections(region, &mut warnings);
    if database.backup_days == 0 {
        warnings.push(Problem::new(
            "database.backupDays",
            "is 0, which turns automatic backups off",
            "keep at least one day",
        ));
    }
    if database.deletion_protection && !database.final_snapshot {
        warnings.push(Problem::new(
            "database.finalSnapshot",
            "is false while the database is protected from deletion",
            "write true: who must protect it will want its last state",
        ));
    }
    if region.secrets.recovery_days == 0 {
        warnings.push(Problem::new(
            "secrets.recoveryDays",
            "is 0: a secret deleted by mistake is gone at once",
            "write 7 or more",
        ));
    }
    if region.eks.rotation_poll_interval > Duration::from_secs(60 * 60) {
        warnings.push(Problem::new(
            "eks.rotationPollInterval",
            "is longer than an hour: each rotation waits that long for the new certificate to be mounted",
            "write an hour or less",
        ));
    }
    warnings
}

// During a rollout twice as many replicas run.
fn connections(region: &Region, warnings: &mut Vec<Problem>) {
    let server = &region.server;
    if server.store != Store::Postgres {
        return;
    }
    let Some(budget) = Budget::of(&region.database) else {
        let what = format!(
            "is `{}`: how many connections it admits is not known here; during a rollout the replicas take {}",
            region.database.instance_class,
            Budget::taken(server.replicas, POOL)
        );
        let fix =
            "check `SHOW max_connections`, and write fewer replicas if it is not well above that";
        warnings.push(Problem::new("database.instanceClass", what, fix));
        return;
    };
    let pool = budget.pool(server.replicas);
    let taken = Budget::taken(server.replicas, pool);
    if taken <= budget.usable {
        return;
    }
    let what = format!(
        "is {}: with {pool} connections and a listener each, twice during a rollout, they take {taken}, but `{}` \
         admits about {} and leaves {}",
        server.replicas, region.database.instance_class, budget.max_connections, budget.usable
    );
    let fix = "write a larger `database.instanceClass`, or fewer replicas";
    warnings.push(Problem::new("server.replicas", what, fix));
}

fn production(region: &Region, warnings: &mut Vec<Problem>) {
    let database = &region.database;
    let mut warn = |field: &str, what: &str, fix: &str| {
        warnings.push(Problem::new(field, format!("{what} in production"), fix));
    };
    if database.instance_class.starts_with("db.t") {
        let what = "is a class that slows down when its CPU credits are used up";
        warn(
            "database.instanceClass",
            what,
            "write one such as `db.m7g.large`",
        );
    }
    if !database.multi_az {
        let what = "is false: losing one zone stops the server until the database is restored";
        warn("database.multiAz", what, "write true");
    }
    if database.backup_days < 7 {
        warn(
            "database.backupDays",
            "keeps backups for less than a week",
            "write 7 or more",
        );
    }
    if !database.deletion_protection {
        warn("database.deletionProtection", "is false", "write true");
    }
    if !database.final_snapshot {
        warn("database.finalSnapshot", "is false", "write true");
    }
    if region.server.replicas == 1 {
        let what = "is 1: the API is away while its pod moves";
        warn("server.replicas", what, "write 2 or more");
    }
    for (index, cluster) in region.clusters.iter().enumerate() {
        if cluster.account == region.account {
            let what = "is the region's own, so that whoever administers the cluster administers the broker";
            let field = format!("managementClusters[{index}].account");
            warn(
                &field,
                what,
                "give each management cluster an account of its own",
            );
        }
    }
}
