//! Regions for tests, of this member and of `provisioner`, which compiles this file as a module of its own.

use std::path::Path;

use crate::Region;

/// What must be in a file, and nothing else.
pub(crate) const LEAST: &str = r#"
name: regional-x8k2
region: us-east-2
account: "111111111111"
network:
  vpc: vpc-0123456789abcdef0
  privateSubnets: [subnet-0123456789abcdef0, subnet-0123456789abcdef1]
eks:
  cluster: regional-x8k2
  securityGroups: [sg-0123456789abcdef0]
"#;

/// Two management clusters in accounts of their own.
pub(crate) const CLUSTERS: &str = r#"
managementClusters:
  - {id: management-01, account: "222222222222"}
  - {id: management-02, account: "333333333333"}
"#;

/// The least region with more lines.
pub(crate) fn region(more: &str) -> Region {
    Region::parse(&format!("{LEAST}{more}"), Path::new("")).unwrap()
}

/// The least region with two clusters and more lines.
pub(crate) fn two_clusters(more: &str) -> Region {
    region(&format!("{CLUSTERS}{more}"))
}
