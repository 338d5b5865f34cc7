//! Values for our charts, `deploy/charts/server-bridge` and `deploy/charts/agent`. Names only: secrets stay where they are.

use region_file::{Budget, ManagementCluster, POOL, Region, Store};
use serde::Serialize;
use serde_json::Value;

use crate::desired::IAM_USER_KEY;

/// Values of the server's chart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerValues {
    source: String,
    client_id: String,
    connections: u16,
    store: Store,
    replicas: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    slots: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lifecycle_events: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<DatabaseValues>,
    secrets: ServerSecrets,
    service_account: ServiceAccount,
}

/// Values of an agent's chart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentValues {
    consumer_name: String,
    secrets: AgentSecrets,
    service_account: ServiceAccount,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    extra_args: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct DatabaseValues {
    max_open_connections: u32,
    ca_config_map: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    iam_auth: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ServerSecrets {
    provider: &'static str,
    region: String,
    certificate: String,
    config: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    database_user_key: Option<&'static str>,
    consumers: String,
    csi: Csi,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct AgentSecrets {
    provider: &'static str,
    region: String,
    certificate: String,
    config: String,
    csi: Csi,
}

/// The Secrets Store CSI driver, which the provisioner installs and lets the pods' roles read the secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Csi {
    create: bool,
    name: &'static str,
    use_pod_identity: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct ServiceAccount {
    create: bool,
    name: String,
}

// === impl ServerValues ===

impl ServerValues {
    /// Values of the region's server.
    pub fn new(region: &Region) -> Self {
        let names = &region.names;
        let shared = region.server.store == Store::Postgres;
        let replicas = region.server.replicas;
        // What a file would do with it: nothing.
        let iam = shared && region.database.iam_user.is_some();
        let pool = Budget::of(&region.database).map_or(POOL, |budget| budget.pool(replicas));
        Self {
            source: region.server.source.to_string(),
            client_id: region.server.client_id.to_string(),
            connections: region.server.connections,
            store: region.server.store,
            replicas,
            slots: shared.then_some(region.server.slots),
            lifecycle_events: region.server.lifecycle_events.then_some(true),
            database: shared.then_some(DatabaseValues {
                max_open_connections: pool,
                ca_config_map: RDS_CA,
                iam_auth: iam.then_some(true),
            }),
            secrets: ServerSecrets {
                provider: CSI,
                region: region.region.clone(),
                certificate: names.server_certificate.clone(),
                config: names.server_config.clone(),
                database: shared.then(|| names.database_credentials.clone()),
                database_user_key: iam.then_some(IAM_USER_KEY),
                consumers: names.consumers.clone(),
                csi: Csi::named(SERVER),
            },
            service_account: ServiceAccount {
                create: true,
                name: region.server.workload.service_account.clone(),
            },
        }
    }
}

// === impl AgentValues ===

impl AgentValues {
    /// Values of the agent of one of the region's clusters.
    pub fn new(region: &Region, cluster: &ManagementCluster) -> Self {
        let usual = format!("{}-work-agent", cluster.id);
        let id = (cluster.agent_client_id != usual).then_some(&cluster.agent_client_id);
        Self {
            consumer_name: cluster.id.to_string(),
            secrets: AgentSecrets {
                provider: CSI,
                region: cluster.region.clone(),
                certificate: cluster.names.certificate.clone(),
                config: cluster.names.config.clone(),
                csi: Csi::named(AGENT),
            },
            service_account: ServiceAccount {
                create: true,
                name: region.agent.service_account.clone(),
            },
            extra_args: id
                .map(|id| format!("--cloudevents-client-id={id}"))
                .into_iter()
                .collect(),
        }
    }
}

// === impl Csi ===

impl Csi {
    fn named(name: &'static str) -> Self {
        Self {
            create: true,
            name,
            use_pod_identity: true,
        }
    }
}

/// Values as a file for `helm --values`.
pub fn yaml(values: &impl Serialize) -> String {
    // Plain structs: nothing that YAML cannot say.
    serde_saphyr::to_string(values).unwrap_or_default()
}

pub(super) fn tree(values: &impl Serialize) -> Value {
    serde_json::to_value(values).unwrap_or_default()
}

/// Name of the server's release and SecretProviderClass, as in the first deployment.
pub const SERVER: &str = "maestro-server";
/// Name of an agent's release and SecretProviderClass, as in the first deployment.
pub const AGENT: &str = "maestro-agent";
const CSI: &str = "csi";
/// Name of the ConfigMap with Amazon's authorities for RDS (`global-bundle.pem`), which the operator makes.
pub const RDS_CA: &str = "rds-ca-bundle";
