//! The charts' values for Argo CD: as an Application, or as what an ApplicationSet makes one of.
//!
//! Everything but the values is the repository's `deploy/argocd/`, so that what is printed and what is kept there cannot
//! differ: [`application`] fills one of its Applications, and [`cluster`] and [`values`] are what its ApplicationSet reads,
//! the labels and annotations of a cluster's secret and a file of values.

use std::collections::BTreeMap;

use region_file::{ManagementCluster, Profile, Region};
use serde::Serialize;
use serde_json::Value;

use super::helm;

/// Labels and annotations of the secret by which Argo CD knows a cluster, as a patch of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClusterMetadata {
    metadata: Metadata,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Metadata {
    labels: BTreeMap<&'static str, String>,
    annotations: BTreeMap<&'static str, String>,
}

/// The Application of a cluster of the region, or of its server: that of `deploy/argocd/` with the region's values, and with
/// the `callers` that it has there.
pub fn application(region: &Region, cluster: Option<&ManagementCluster>) -> Value {
    let (text, namespace, values) = match cluster {
        None => (
            SERVER,
            &region.server.workload.namespace,
            helm::tree(&helm::ServerValues::new(region)),
        ),
        Some(cluster) => (
            AGENT,
            &region.agent.namespace,
            helm::tree(&helm::AgentValues::new(region, cluster)),
        ),
    };
    // Built in, and read by the tests.
    let mut application: Value = serde_saphyr::from_str(text).unwrap_or_default();
    // Who calls the server the region's file does not say; what the Application says of it stays.
    let kept = &mut application["spec"]["source"]["helm"]["valuesObject"];
    let callers = kept.get("callers").cloned();
    *kept = values;
    if let Some(callers) = callers {
        kept["callers"] = callers;
    }
    application["spec"]["destination"]["namespace"] = namespace.as_str().into();
    application
}

/// What the secret of a cluster of the region, or of its server's cluster, says of it.
pub fn cluster(region: &Region, cluster: Option<&ManagementCluster>) -> ClusterMetadata {
    let (kind, name, aws_region, account) = match cluster {
        None => (
            "regional-cluster",
            &region.eks.cluster,
            &region.region,
            &region.account,
        ),
        Some(cluster) => (
            "management-cluster",
            &cluster.eks_cluster,
            &cluster.region,
            &cluster.account,
        ),
    };
    let environment = match region.profile {
        Profile::Development => "development",
        Profile::Production => "production",
    };
    ClusterMetadata {
        metadata: Metadata {
            labels: BTreeMap::from([
                ("argocd.argoproj.io/secret-type", "cluster".to_owned()),
                ("cluster_type", kind.to_owned()),
                ("environment", environment.to_owned()),
            ]),
            annotations: BTreeMap::from([
                ("cluster_name", name.clone()),
                ("aws_region", aws_region.clone()),
                ("aws_account_id", account.clone()),
                ("rc_aws_account_id", region.account.clone()),
            ]),
        },
    }
}

/// The values under the name that the charts of `deploy/argocd/config/` give ours.
pub fn values(region: &Region, cluster: Option<&ManagementCluster>) -> Value {
    match cluster {
        None => {
            serde_json::json!({ "server-bridge": helm::tree(&helm::ServerValues::new(region)) })
        }
        Some(cluster) => {
            serde_json::json!({ "agent": helm::tree(&helm::AgentValues::new(region, cluster)) })
        }
    }
}

const SERVER: &str = include_str!("../../../deploy/argocd/regional-cluster/maestro-server.yaml");
const AGENT: &str = include_str!("../../../deploy/argocd/management-cluster/maestro-agent.yaml");
