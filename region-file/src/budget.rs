//! How many connections the database takes, and how many the server's replicas may have. Pure.
//!
//! RDS sets `max_connections` to `LEAST({DBInstanceClassMemory/9531392}, 5000)`, where the class's memory excludes what
//! the operating system and RDS's own processes need. How much that is AWS does not say; the estimate here is at the
//! lower end of what is seen on such instances.

use crate::DatabaseSettings;

/// Connections of a database, of a class whose memory is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Estimate of `max_connections`.
    pub max_connections: u32,
    /// What is left of it for the server.
    pub usable: u32,
}

// === impl Budget ===

impl Budget {
    /// `None` for a class that is not known here.
    pub fn of(database: &DatabaseSettings) -> Option<Self> {
        let mib = memory(&database.instance_class)?;
        let left = mib.saturating_sub(SYSTEM_MIB) * 95 / 100;
        let max = (left * 1024 * 1024 / PER_CONNECTION).min(MOST);
        let max_connections = u32::try_from(max).unwrap_or(u32::MAX);
        Some(Self {
            max_connections,
            usable: max_connections.saturating_sub(RESERVED),
        })
    }

    /// What so many replicas take with a pool of this size each: during a rollout twice as many run, and each listens
    /// on one connection besides.
    pub fn taken(replicas: u16, pool: u32) -> u32 {
        u32::from(replicas) * 2 * (pool + 1)
    }

    /// The pool of each of so many replicas: the bridge's default, or what fits, but never less than it works with.
    pub fn pool(self, replicas: u16) -> u32 {
        let each = self.usable / (u32::from(replicas).max(1) * 2);
        each.saturating_sub(1).clamp(MIN_POOL, POOL)
    }
}

// MiB of memory of a class, by its size; memory is a multiple of the size within a family.
fn memory(class: &str) -> Option<u64> {
    let mut parts = class.strip_prefix("db.")?.split('.');
    let (family, size) = (parts.next()?, parts.next()?);
    let large = match family.chars().next()? {
        't' | 'm' => 8,
        'r' => 16,
        _ => return None,
    };
    let gib = match size {
        "micro" => large / 8,
        "small" => large / 4,
        "medium" => large / 2,
        "large" => large,
        "xlarge" => large * 2,
        // AWS has 48xlarge; whatever fits into two bytes can be multiplied.
        size => u64::from(size.strip_suffix("xlarge")?.parse::<u16>().ok()?) * large * 2,
    };
    Some(gib * 1024)
}

/// The bridge's own default of `--db-max-open-connections`.
pub const POOL: u32 = 8;
// The fewest the bridge takes: searches, the API, delivery and its lease need one each.
const MIN_POOL: u32 = 4;

// `DBInstanceClassMemory/9531392`, and never more than this.
const PER_CONNECTION: u64 = 9_531_392;
const MOST: u64 = 5000;
// With it db.t4g.micro comes to 80, small to 187, medium to 401, m7g.large to 829.
const SYSTEM_MIB: u64 = 256;
// Three for superusers, two that RDS reserves, and some for RDS's own agent and a person with psql.
const RESERVED: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::region;

    fn budget(class: &str) -> Option<Budget> {
        Budget::of(&DatabaseSettings {
            instance_class: class.to_owned(),
            ..region("").database
        })
    }

    #[test]
    fn estimates_are_at_the_lower_end_of_what_is_seen() {
        let max = |class| budget(class).map(|budget| budget.max_connections);
        assert_eq!(max("db.t4g.micro"), Some(80));
        assert_eq!(max("db.t4g.small"), Some(187));
        assert_eq!(max("db.t4g.medium"), Some(401));
        assert_eq!(max("db.m7g.large"), Some(829));
        assert_eq!(max("db.r7g.16xlarge"), Some(5000));
        assert_eq!(max("db.x2g.large"), None);
        assert_eq!(max("db.m7g.65535xlarge"), Some(5000));
        assert_eq!(max("db.m7g.65536xlarge"), None);
    }

    #[test]
    fn a_pool_shrinks_until_a_rollout_fits_and_not_below_what_works() {
        let micro = budget("db.t4g.micro").unwrap();
        for (replicas, pool) in [(0, 8), (2, 8), (3, 8), (5, 6), (7, 4), (16, 4)] {
            assert_eq!(micro.pool(replicas), pool, "{replicas}");
        }
        assert!(Budget::taken(7, micro.pool(7)) <= micro.usable);
        assert!(Budget::taken(8, micro.pool(8)) > micro.usable);
    }
}
