//! `region.yaml` as it is written: every key, optional as in the file, with the text that documents it.
//!
//! The JSON schema, the check of keys, types and ranges, and the reference in editors all come from these types.
//! What a value must look like besides, and what stands in for an absent one, is `check`'s work.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Everything a region needs on AWS: the desired state that `provisioner plan` compares with what is there
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(title = "region.yaml")]
pub(super) struct RegionFile {
    /// Base of every name, such as `regional-x8k2`
    #[schemars(required)]
    pub(super) name: Option<String>,
    /// AWS region, such as `us-east-2`
    #[schemars(required)]
    pub(super) region: Option<String>,
    /// The region's AWS account, 12 digits in quotes
    #[schemars(required, regex(pattern = ACCOUNT))]
    pub(super) account: Option<String>,
    /// Which defaults: `development` (the first deployment's) or `production`
    pub(super) profile: Option<Profile>,
    /// Credentials for the region's account
    pub(super) access: Option<AccessSection>,
    /// Where the database is
    #[schemars(required)]
    pub(super) network: Option<NetworkSection>,
    /// The server's EKS cluster
    #[schemars(required)]
    pub(super) eks: Option<EksSection>,
    /// The region's PostgreSQL
    pub(super) database: Option<DatabaseSection>,
    /// AWS IoT Core's endpoint as parties see it
    pub(super) broker: Option<BrokerSection>,
    /// Topics; absent: `maestro/consumers/{cluster}/sourceevents` and `…/agentevents`
    pub(super) topics: Option<TopicsSection>,
    /// The server
    pub(super) server: Option<ServerSection>,
    /// All agents
    pub(super) agent: Option<AgentSection>,
    /// The management clusters
    pub(super) management_clusters: Option<Vec<ClusterSection>>,
    /// Whether parties are registered as IoT things; nothing but a person and fleet tools need them
    pub(super) things: Option<bool>,
    /// What all secrets share
    pub(super) secrets: Option<SecretsSection>,
    /// Tags of every resource
    pub(super) tags: Option<BTreeMap<String, String>>,
    /// Names in AWS; `{name}` and `{region}` stand for those above, in names of an agent `{cluster}` for its id
    pub(super) names: Option<NamesSection>,
}

/// Which defaults
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// The first deployment's: small, one zone, may be destroyed
    #[default]
    Development,
    /// Two zones, protected from deletion, long backups
    Production,
}

/// Credentials
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AccessSection {
    /// Profile of the AWS configuration; absent: the usual chain (environment, SSO, instance)
    pub(super) profile: Option<String>,
    /// Role to assume with those credentials
    pub(super) role_arn: Option<String>,
}

/// Where the database is
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NetworkSection {
    /// The VPC, such as `vpc-0123456789abcdef0`
    #[schemars(required)]
    pub(super) vpc: Option<String>,
    /// Private subnets in at least two zones
    #[schemars(required)]
    pub(super) private_subnets: Option<Vec<String>>,
}

/// The server's EKS cluster
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct EksSection {
    /// Name of the EKS cluster the server runs in
    #[schemars(required)]
    pub(super) cluster: Option<String>,
    /// Security groups of its nodes and its primary one; they may reach the database
    #[schemars(required)]
    pub(super) security_groups: Option<Vec<String>>,
    /// Security group of a bastion that may reach the database too
    pub(super) bastion_security_group: Option<String>,
    /// Whether to install add-on `eks-pod-identity-agent`; false on EKS Auto Mode, which has it built in
    pub(super) pod_identity_agent: Option<bool>,
    /// Whether to install add-on `aws-secrets-store-csi-driver-provider`
    pub(super) secrets_store_driver: Option<bool>,
    /// How often mounted secrets are looked up again, such as `5m`; a new certificate arrives no sooner
    pub(super) rotation_poll_interval: Option<String>,
}

/// The region's PostgreSQL
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct DatabaseSection {
    /// RDS instance class, such as `db.t4g.micro`
    pub(super) instance_class: Option<String>,
    /// GiB of gp3 storage
    #[schemars(range(min = 20, max = 65536))]
    pub(super) storage: Option<u32>,
    /// GiB that storage may grow to by itself; absent: not at all
    #[schemars(range(min = 22, max = 65536))]
    pub(super) max_storage: Option<u32>,
    /// PostgreSQL's major version; a full one such as `18.1` pins it, and AWS's own upgrades then show as drift
    pub(super) engine_version: Option<String>,
    /// Name of the database
    pub(super) database: Option<String>,
    /// Name of the master user
    pub(super) user: Option<String>,
    /// A standby in a second zone
    pub(super) multi_az: Option<bool>,
    /// Days that automatic backups are kept
    #[schemars(range(min = 0, max = 35))]
    pub(super) backup_days: Option<u8>,
    /// Daily, UTC, `hh:mm-hh:mm`
    pub(super) backup_window: Option<String>,
    /// Weekly, UTC, `ddd:hh:mm-ddd:hh:mm`
    pub(super) maintenance_window: Option<String>,
    /// AWS refuses to delete it
    pub(super) deletion_protection: Option<bool>,
    /// A snapshot is taken before it is deleted
    pub(super) final_snapshot: Option<bool>,
    /// Days that Performance Insights keeps: 0 (off), 7, a multiple of 31 up to 713, or 731
    #[schemars(range(min = 0, max = 731))]
    pub(super) performance_insights_days: Option<u16>,
    /// ARN of the KMS key for storage; absent: AWS's own
    pub(super) kms_key: Option<String>,
    /// Whether roles may sign in with tokens of IAM: true also lets the server's pod do so, which then has no password; absent: left as it is
    pub(super) iam_auth: Option<bool>,
    /// The user that the server signs in as with `iamAuth: true`, another than the master user; absent: `maestro_iam`
    pub(super) iam_user: Option<String>,
}

/// AWS IoT Core's endpoint as parties see it
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct BrokerSection {
    /// 8883, or 443 where only that is open
    pub(super) port: Option<u16>,
    /// File of root certificates, PEM, relative to this file; absent: Amazon Root CA 1 and 3
    pub(super) ca: Option<String>,
}

/// Topics: a scheme by name, or each topic with `+` for the cluster
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct TopicsSection {
    /// `maestro` (the first deployment's) or `sources` (upstream's `sources/{source}/consumers/…`)
    pub(super) scheme: Option<SchemeName>,
    /// Source id in scheme `sources`; absent: `server.source`
    pub(super) source: Option<String>,
    /// Instead of a scheme: where the server speaks to clusters
    pub(super) source_events: Option<String>,
    /// Instead of a scheme: where clusters answer
    pub(super) agent_events: Option<String>,
    /// Where the server speaks to all clusters at once
    pub(super) source_broadcast: Option<String>,
    /// Where clusters speak to all servers at once
    pub(super) agent_broadcast: Option<String>,
}

/// A scheme of topics
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum SchemeName {
    /// `maestro/consumers/{cluster}/…`
    Maestro,
    /// `sources/{source}/consumers/{cluster}/…`
    Sources,
}

/// The server
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ServerSection {
    /// Source id of its events
    pub(super) source: Option<String>,
    /// MQTT client id; `-<slot>` is appended, or with `store: sqlite` and several connections `-0`, `-1`, …
    pub(super) client_id: Option<String>,
    /// MQTT connections of each replica; each carries 100 publishes a second
    #[schemars(range(min = 1, max = 64))]
    pub(super) connections: Option<u16>,
    /// Where the server keeps its state: `postgres` (the region's database) or `sqlite` (a file of one replica); absent: `postgres`, but not for a region that has a server with a file
    pub(super) store: Option<Store>,
    /// Replicas; absent: 2, with `store: sqlite` 1
    #[schemars(range(min = 0, max = 16))]
    pub(super) replicas: Option<u16>,
    /// Whether the server hears from AWS IoT Core which agents connect and go, and why; it is told of every client of the account and region. Absent: false
    pub(super) lifecycle_events: Option<bool>,
    /// Numbered places for replicas, which their client ids end in; absent: twice as many as replicas, at least 8
    #[schemars(range(min = 1, max = 64))]
    pub(super) slots: Option<u16>,
    /// Kubernetes namespace
    pub(super) namespace: Option<String>,
    /// Kubernetes service account
    pub(super) service_account: Option<String>,
}

/// Where the server keeps its state
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// The region's database, shared by all replicas
    #[default]
    Postgres,
    /// A file on a volume of the only replica
    Sqlite,
}

/// All agents
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AgentSection {
    /// Kubernetes namespace
    pub(super) namespace: Option<String>,
    /// Kubernetes service account
    pub(super) service_account: Option<String>,
}

/// A management cluster
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ClusterSection {
    /// Its name as the server knows it, such as `management-01`
    #[schemars(required)]
    pub(super) id: Option<String>,
    /// Its AWS account, 12 digits in quotes
    #[schemars(required, regex(pattern = ACCOUNT))]
    pub(super) account: Option<String>,
    /// Its AWS region; absent: the region's
    pub(super) region: Option<String>,
    /// Name of its EKS cluster; absent: its id
    pub(super) eks_cluster: Option<String>,
    /// Credentials for its account; absent: none, its own people enroll it
    pub(super) access: Option<AccessSection>,
    /// The agent's `--cloudevents-client-id`, the broker sees it with `-client` after it; absent: `<id>-work-agent`
    pub(super) agent_client_id: Option<String>,
    /// As `eks.podIdentityAgent`, for this cluster; absent: the same
    pub(super) pod_identity_agent: Option<bool>,
    /// As `eks.secretsStoreDriver`, for this cluster; absent: the same
    pub(super) secrets_store_driver: Option<bool>,
}

/// What all secrets share
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SecretsSection {
    /// Days a deleted secret can be restored: 7 to 30, or 0 for not at all
    #[schemars(range(min = 0, max = 30))]
    pub(super) recovery_days: Option<u8>,
    /// ARN of the KMS key in the region's account; absent: AWS's own
    pub(super) kms_key: Option<String>,
    /// ARN of the KMS key for secrets of management clusters; absent: AWS's own
    pub(super) management_kms_key: Option<String>,
}

/// Names in AWS, as templates
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NamesSection {
    /// RDS instance
    pub(super) database: Option<String>,
    /// DB subnet group
    pub(super) subnet_group: Option<String>,
    /// Security group of the database
    pub(super) security_group: Option<String>,
    /// Secret with the server's certificate and key
    pub(super) server_certificate: Option<String>,
    /// Secret with the server's configuration
    pub(super) server_config: Option<String>,
    /// Secret with the database's credentials
    pub(super) database_credentials: Option<String>,
    /// Secret with the registrations of clusters
    pub(super) consumers: Option<String>,
    /// The server's IoT policy
    pub(super) server_policy: Option<String>,
    /// The server's IoT thing
    pub(super) server_thing: Option<String>,
    /// The server's IAM role
    pub(super) server_role: Option<String>,
    /// Secret with an agent's certificate and key, in the cluster's account
    pub(super) agent_certificate: Option<String>,
    /// Secret with an agent's configuration, in the cluster's account
    pub(super) agent_config: Option<String>,
    /// An agent's IoT policy, in the region's account
    pub(super) agent_policy: Option<String>,
    /// An agent's IoT thing, in the region's account
    pub(super) agent_thing: Option<String>,
    /// An agent's IAM role, in the cluster's account
    pub(super) agent_role: Option<String>,
}

/// What an AWS account's number looks like.
pub(super) const ACCOUNT: &str = "^[0-9]{12}$";
