//! `region.yaml`: everything a region should be, read once and checked as a whole.
//!
//! [`Region`] holds nothing that AWS would refuse for its form, no two things of one name, and parties whose client
//! ids, topics and policies fit each other; what follows from it (resources, values of charts,
//! policies, costs) need not check again. Problems are reported all at once, each by its field. The
//! only file read besides is the one `broker.ca` names.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use link::id::{ClientId, ConsumerName, SourceId};
use link::iot::ArnPrefix;
use link::party::Party;
use link::topic::Scheme;
use serde_json::Value;

use self::tags::Tags;

pub use self::access::Access;
pub use self::budget::{Budget, POOL};
pub use self::database_settings::DatabaseSettings;
pub use self::file::{Profile, Store};
pub use self::names::{ClusterNames, Names};
pub use self::problem::{Problem, Problems};
pub use self::tree::Tree;

mod access;
mod budget;
mod check;
mod database_settings;
mod file;
mod grammar;
pub mod init;
pub mod input;
mod names;
mod problem;
mod shape;
pub mod tags;
mod tree;
mod warnings;
mod window;

/// A region as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    /// Base of every name.
    pub name: String,
    /// AWS region, such as `us-east-2`.
    pub region: String,
    /// The region's account, 12 digits.
    pub account: String,
    /// Where defaults come from.
    pub profile: Profile,
    /// Credentials for the region's account.
    pub access: Access,
    /// Where the database is.
    pub network: NetworkSettings,
    /// The server's EKS cluster.
    pub eks: EksSettings,
    /// PostgreSQL.
    pub database: DatabaseSettings,
    /// IoT Core's endpoint as parties see it.
    pub broker: BrokerSettings,
    /// Topics of everybody; with replicas, which share what they hear, the server's filter names their group.
    pub scheme: Scheme,
    /// The server.
    pub server: ServerSettings,
    /// All agents.
    pub agent: Workload,
    /// The management clusters, in the order of the file.
    pub clusters: Vec<ManagementCluster>,
    /// Whether parties are registered as IoT things.
    pub things: bool,
    /// What all secrets share.
    pub secrets: SecretSettings,
    /// The operator's tags, without the ownership tag.
    pub tags: BTreeMap<String, String>,
    /// Names of what is the region's.
    pub names: Names,
}

/// Where the database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkSettings {
    /// The VPC's id.
    pub vpc: String,
    /// Ids of private subnets, at least two.
    pub private_subnets: Vec<String>,
}

/// An EKS cluster with a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EksSettings {
    /// Its name.
    pub cluster: String,
    /// Security groups that may reach the database.
    pub security_groups: Vec<String>,
    /// Security group of a bastion that may too.
    pub bastion_security_group: Option<String>,
    /// The add-ons.
    pub addons: Addons,
    /// How often mounted secrets are looked up again, in whole seconds.
    pub rotation_poll_interval: Duration,
}

/// Which add-ons are ours to install.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addons {
    /// `eks-pod-identity-agent`.
    pub pod_identity_agent: bool,
    /// `aws-secrets-store-csi-driver-provider`.
    pub secrets_store_driver: bool,
}

/// IoT Core's endpoint as parties see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerSettings {
    /// 8883 or 443; any with roots of one's own.
    pub port: u16,
    /// Roots of the broker's certificate, PEM.
    pub ca: String,
}

/// The server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// Source id of its events.
    pub source: SourceId,
    /// Base of its client ids.
    pub client_id: ClientId,
    /// How many MQTT connections each replica has.
    pub connections: u16,
    /// Where it keeps its state.
    pub store: Store,
    /// How many of it run.
    pub replicas: u16,
    /// Numbered places for replicas; one of them is each replica's. 1 without a shared store.
    pub slots: u16,
    /// Where it runs.
    pub workload: Workload,
    /// Its client ids, topics and policy.
    pub party: Party,
    /// What its party would be with `store: sqlite`, while the file says nothing of `server.store`.
    pub alone: Option<Party>,
    /// Whether it hears which clients connect and go.
    pub lifecycle_events: bool,
}

/// Where a pod runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Kubernetes namespace.
    pub namespace: String,
    /// Kubernetes service account.
    pub service_account: String,
}

/// A management cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagementCluster {
    /// Its name as the server knows it.
    pub id: ConsumerName,
    /// Its account, 12 digits.
    pub account: String,
    /// Its AWS region.
    pub region: String,
    /// Name of its EKS cluster.
    pub eks_cluster: String,
    /// Credentials for its account; `None` when its own people enroll it.
    pub access: Option<Access>,
    /// The add-ons.
    pub addons: Addons,
    /// Names of what is this cluster's.
    pub names: ClusterNames,
    /// Its agent's event source, upstream's `--cloudevents-client-id`.
    pub agent_client_id: String,
    /// Its agent's client id, topics and policy.
    pub party: Party,
}

/// What all secrets share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretSettings {
    /// Days a deleted secret can be restored, 0 for not at all.
    pub recovery_days: u8,
    /// ARN of the KMS key in the region's account.
    pub kms_key: Option<String>,
    /// ARN of the KMS key for secrets of management clusters.
    pub management_kms_key: Option<String>,
}

// === impl Region ===

impl Region {
    /// Reads a region's file.
    ///
    /// # Errors
    /// [`Problems`]: all that is wrong with it, or that it cannot be read.
    pub fn read(path: &Path) -> Result<Self, Problems> {
        let text = input::read_text(path).map_err(|error| Problems {
            path: Some(path.to_owned()),
            problems: vec![Problem::unreadable(&error)],
            readable: false,
        })?;
        let directory = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, directory).map_err(|problems| Problems {
            path: Some(path.to_owned()),
            ..problems
        })
    }

    /// Reads a region's text; `directory` is what relative paths in it begin from.
    ///
    /// # Errors
    /// [`Problems`]: all that is wrong with it.
    pub fn parse(text: &str, directory: &Path) -> Result<Self, Problems> {
        let pathless = |problems| Problems {
            path: None,
            problems,
            readable: true,
        };
        let mut tree = Tree::parse(text).map_err(|problem| pathless(vec![problem]))?;
        let mut problems = Vec::new();
        shape::check(&mut tree.root, &Self::schema(), &mut problems);
        let file = match serde_json::from_value(tree.root.take()) {
            Ok(file) => file,
            // Cannot be: what does not fit the schema of the same types is out.
            Err(error) => {
                let what = format!("cannot be read: {error}");
                problems.push(Problem::new("", what, "compare it with `provisioner init`"));
                return Err(pathless(problems));
            }
        };
        let region = check::check(file, directory, &mut problems);
        match region {
            Some(region) if problems.is_empty() => Ok(region),
            _ => {
                for problem in &mut problems {
                    problem.line = problem.line.or_else(|| tree.line(&problem.field));
                }
                problems.sort_by_key(|problem| problem.line);
                Err(pathless(problems))
            }
        }
    }

    /// JSON schema (2020-12) of the file, for editors.
    pub fn schema() -> Value {
        let settings = schemars::generate::SchemaSettings::draft2020_12()
            .with(|settings| settings.inline_subschemas = true);
        let generator = settings.into_generator();
        generator
            .into_root_schema_for::<file::RegionFile>()
            .to_value()
    }

    /// What is allowed but probably not meant; one sentence each, with the field and what to write.
    pub fn warnings(&self) -> Vec<Problem> {
        warnings::of(self)
    }

    /// `aws`, `aws-cn` or `aws-us-gov`.
    pub fn partition(&self) -> &'static str {
        partition(&self.region)
    }

    /// What names of IoT resources begin with.
    pub fn arn_prefix(&self) -> ArnPrefix {
        arn_prefix(&self.region, &self.account)
    }

    /// Tags of every resource, with the ownership tag.
    pub fn all_tags(&self) -> Tags {
        Tags::new(&self.name, &self.tags)
    }

    /// The management cluster of that id.
    pub fn cluster(&self, id: &str) -> Option<&ManagementCluster> {
        self.clusters
            .iter()
            .find(|cluster| cluster.id.as_str() == id)
    }
}

fn partition(region: &str) -> &'static str {
    match region {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

fn arn_prefix(region: &str, account: &str) -> ArnPrefix {
    ArnPrefix {
        partition: partition(region).to_owned(),
        region: region.to_owned(),
        account: account.to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
