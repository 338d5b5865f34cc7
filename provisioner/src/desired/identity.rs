//! Certificates: of the server and of each agent.

use link::party::Party;
use region_file::{ManagementCluster, Region, ServerSettings, Store};

use super::scope;
use crate::identity::IdentitySpec;
use crate::scope::Scope;

/// The server's identity.
pub fn server_identity(region: &Region) -> IdentitySpec {
    let names = &region.names;
    IdentitySpec {
        key_scope: Scope::Region,
        secret: names.server_certificate.clone(),
        tags: region.all_tags(),
        description: "MQTT identity of the server".to_owned(),
        kms_key: region.secrets.kms_key.clone(),
        recovery_days: region.secrets.recovery_days,
        subject: names.server_thing.clone(),
        policy: names.server_policy.clone(),
        thing: region.things.then(|| names.server_thing.clone()),
        client_ids: client_ids(&region.server.party),
        in_use: in_use(&region.server),
        ca: region.broker.ca.clone(),
    }
}

/// The identity of a cluster's agent.
pub fn agent_identity(region: &Region, cluster: &ManagementCluster) -> IdentitySpec {
    let names = &cluster.names;
    IdentitySpec {
        key_scope: scope(cluster),
        secret: names.certificate.clone(),
        tags: region.all_tags(),
        description: format!("MQTT identity of the agent of {}", cluster.id),
        kms_key: region.secrets.management_kms_key.clone(),
        recovery_days: region.secrets.recovery_days,
        subject: names.thing.clone(),
        policy: names.policy.clone(),
        thing: region.things.then(|| names.thing.clone()),
        client_ids: client_ids(&cluster.party),
        in_use: cluster.party.client_ids().len(),
        ca: region.broker.ca.clone(),
    }
}

fn client_ids(party: &Party) -> Vec<String> {
    party.client_ids().into_iter().map(String::from).collect()
}

// Not none: without a client nothing would prove that a certificate works.
fn in_use(server: &ServerSettings) -> usize {
    let replicas = match server.store {
        Store::Postgres => server.replicas.max(1),
        Store::Sqlite => 1,
    };
    usize::from(replicas) * usize::from(server.connections)
}
