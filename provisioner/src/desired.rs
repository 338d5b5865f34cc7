//! The desired state: a [`Region`] as resources, in the order of their dependencies. Pure.
//!
//! [`region`] is what lives in the region's account, for its clusters too (their things and policies); [`cluster`] is
//! what lives in a management cluster's. Destroying goes backwards through the same lists.

use std::collections::BTreeMap;

use link::party::Party;
use region_file::{Addons, ManagementCluster, Region};
use serde_json::{Value, json};

use crate::resource::{
    Addon, Content, Database, IotPolicy, PodIdentity, Resource, Role, Secret, SecurityGroup,
    SubnetGroup, Thing, Undecided,
};
use crate::scope::Scope;

pub use self::identity::{agent_identity, server_identity};

mod config;
mod identity;

/// What lives in the region's account.
pub fn region(region: &Region) -> Vec<Resource> {
    let mut resources = database(region).to_vec();
    resources.extend(server_party(region));
    for cluster in &region.clusters {
        resources.extend(agent_party(region, cluster));
    }
    resources.push(Resource::Certificate(server_identity(region)));
    resources.push(server_config(region));
    resources.push(consumers(region));
    resources.push(server_role(region));
    resources.extend(addons(
        region,
        &Scope::Region,
        &region.eks.cluster,
        region.eks.addons,
    ));
    resources.push(Resource::PodIdentity(PodIdentity {
        scope: Scope::Region,
        tags: region.all_tags(),
        cluster: region.eks.cluster.clone(),
        namespace: region.server.workload.namespace.clone(),
        service_account: region.server.workload.service_account.clone(),
        role: region.names.server_role.clone(),
    }));
    resources
}

/// What lives in the account of one of the region's clusters.
pub fn cluster(region: &Region, cluster: &ManagementCluster) -> Vec<Resource> {
    let mut resources = vec![
        Resource::Certificate(agent_identity(region, cluster)),
        agent_config(region, cluster),
        agent_role(region, cluster),
    ];
    let shared = cluster.account == region.account
        && cluster.region == region.region
        && cluster.eks_cluster == region.eks.cluster;
    // Where the agent runs beside the server, the server's list has them.
    if !shared {
        resources.extend(addons(
            region,
            &scope(cluster),
            &cluster.eks_cluster,
            cluster.addons,
        ));
    }
    resources.push(Resource::PodIdentity(PodIdentity {
        scope: scope(cluster),
        tags: region.all_tags(),
        cluster: cluster.eks_cluster.clone(),
        namespace: region.agent.namespace.clone(),
        service_account: region.agent.service_account.clone(),
        role: cluster.names.role.clone(),
    }));
    resources
}

/// Everything of one cluster, in both accounts, and nothing of anybody else's.
pub fn everything_of(region: &Region, cluster: &ManagementCluster) -> Vec<Resource> {
    let mut resources = agent_party(region, cluster);
    resources.extend(self::cluster(region, cluster));
    resources
}

fn database(region: &Region) -> [Resource; 4] {
    let names = &region.names;
    let settings = &region.database;
    let text = |text: &String| Content::Text(text.clone());
    let iam = settings.iam_user.iter();
    let iam = iam.map(|user| (IAM_USER_KEY, text(user)));
    let credentials = [
        ("username", text(&settings.user)),
        ("password", Content::Password(PASSWORD_LENGTH)),
        ("host", Content::DatabaseHost),
        ("port", Content::DatabasePort),
        ("database", text(&settings.database)),
    ];
    [
        Resource::SecurityGroup(SecurityGroup {
            scope: Scope::Region,
            name: names.security_group.clone(),
            tags: region.all_tags(),
            vpc: region.network.vpc.clone(),
            sources: sources(region),
        }),
        Resource::SubnetGroup(SubnetGroup {
            scope: Scope::Region,
            name: names.subnet_group.clone(),
            tags: region.all_tags(),
            subnets: region.network.private_subnets.clone(),
        }),
        // Before the database, whose password it makes; host and port come to it later.
        secret(
            region,
            Scope::Region,
            &names.database_credentials,
            "Credentials of the database",
            credentials.into_iter().chain(iam),
        ),
        Resource::Database(Database {
            scope: Scope::Region,
            name: names.database.clone(),
            tags: region.all_tags(),
            settings: settings.clone(),
            subnet_group: names.subnet_group.clone(),
            credentials: names.database_credentials.clone(),
        }),
    ]
}

fn sources(region: &Region) -> BTreeMap<String, String> {
    let eks = &region.eks;
    let nodes = eks.security_groups.iter();
    let nodes = nodes.map(|id| {
        (
            id.clone(),
            format!("PostgreSQL from EKS cluster {}", eks.cluster),
        )
    });
    let bastion = eks.bastion_security_group.iter();
    let bastion = bastion.map(|id| (id.clone(), "PostgreSQL from bastion".to_owned()));
    bastion.chain(nodes).collect()
}

fn server_party(region: &Region) -> Vec<Resource> {
    let names = &region.names;
    let attributes = [
        ("party", "server"),
        ("source", region.server.source.as_str()),
    ];
    let mut resources = party(
        region,
        &names.server_thing,
        &attributes,
        &names.server_policy,
        &region.server.party,
    );
    for resource in &mut resources {
        if let Resource::IotPolicy(policy) = resource {
            policy.undecided = undecided(region);
        }
    }
    resources
}

fn undecided(region: &Region) -> Option<Box<Undecided>> {
    let undecided = Undecided {
        arn: region.arn_prefix(),
        alone: region.server.alone.clone()?,
        shared: region.server.party.clone(),
    };
    Some(Box::new(undecided))
}

/// What an agent's certificate is attached to: its thing, if there are things, and its policy.
pub fn agent_party(region: &Region, cluster: &ManagementCluster) -> Vec<Resource> {
    let names = &cluster.names;
    let attributes = [("party", "agent"), ("cluster", cluster.id.as_str())];
    party(
        region,
        &names.thing,
        &attributes,
        &names.policy,
        &cluster.party,
    )
}

fn party(
    region: &Region,
    thing: &str,
    attributes: &[(&str, &str)],
    policy: &str,
    party: &Party,
) -> Vec<Resource> {
    let attributes = attributes.iter();
    let thing = Resource::Thing(Thing {
        scope: Scope::Region,
        name: thing.to_owned(),
        tags: region.all_tags(),
        attributes: attributes
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
    });
    let policy = Resource::IotPolicy(IotPolicy {
        scope: Scope::Region,
        name: policy.to_owned(),
        tags: region.all_tags(),
        document: party.policy(&region.arn_prefix()).named(policy),
        undecided: None,
    });
    let thing = region.things.then_some(thing);
    thing.into_iter().chain([policy]).collect()
}

fn server_config(region: &Region) -> Resource {
    let config = config::text(region.broker.port, region.scheme.bridge_topics());
    secret(
        region,
        Scope::Region,
        &region.names.server_config,
        "Configuration of the server",
        [("config", Content::WithEndpoint(config))],
    )
}

/// What an agent reads beside its identity.
pub fn agent_config(region: &Region, cluster: &ManagementCluster) -> Resource {
    let config = config::text(region.broker.port, region.scheme.agent_topics(&cluster.id));
    secret(
        region,
        scope(cluster),
        &cluster.names.config,
        &format!("Configuration of the agent of {}", cluster.id),
        [
            ("config", Content::WithEndpoint(config)),
            ("consumerName", Content::Text(cluster.id.to_string())),
        ],
    )
}

fn consumers(region: &Region) -> Resource {
    secret(
        region,
        Scope::Region,
        &region.names.consumers,
        "Registrations of the management clusters",
        [("consumers", Content::Text(config::consumers(region)))],
    )
}

fn server_role(region: &Region) -> Resource {
    let names = &region.names;
    Resource::Role(Role {
        scope: Scope::Region,
        name: names.server_role.clone(),
        tags: region.all_tags(),
        description: "Lets the server's pod read its secrets".to_owned(),
        reads: vec![
            names.server_certificate.clone(),
            names.server_config.clone(),
            names.database_credentials.clone(),
            names.consumers.clone(),
        ],
        connects_as: region.database.iam_user.clone(),
        kms_key: region.secrets.kms_key.clone(),
    })
}

fn agent_role(region: &Region, cluster: &ManagementCluster) -> Resource {
    let names = &cluster.names;
    Resource::Role(Role {
        scope: scope(cluster),
        name: names.role.clone(),
        tags: region.all_tags(),
        description: format!("Lets the agent's pod of {} read its secrets", cluster.id),
        reads: vec![names.certificate.clone(), names.config.clone()],
        connects_as: None,
        kms_key: region.secrets.management_kms_key.clone(),
    })
}

fn addons(region: &Region, scope: &Scope, eks: &str, wanted: Addons) -> Vec<Resource> {
    let addon = |name: &str, configuration: Value| {
        Resource::Addon(Addon {
            scope: scope.clone(),
            name: name.to_owned(),
            tags: region.all_tags(),
            cluster: eks.to_owned(),
            configuration,
        })
    };
    let mut addons = Vec::new();
    if wanted.pod_identity_agent {
        addons.push(addon("eks-pod-identity-agent", json!({})));
    }
    if wanted.secrets_store_driver {
        let interval = format!("{}s", region.eks.rotation_poll_interval.as_secs());
        let driver = json!({
            "enableSecretRotation": true,
            "rotationPollInterval": interval,
            // What is mounted is used as files; no Kubernetes Secret is made of it unless a chart of old asks for one.
            "syncSecret": {"enabled": true},
        });
        let configuration = json!({"secrets-store-csi-driver": driver});
        addons.push(addon(
            "aws-secrets-store-csi-driver-provider",
            configuration,
        ));
    }
    addons
}

fn secret<'a>(
    region: &Region,
    scope: Scope,
    name: &str,
    description: &str,
    content: impl IntoIterator<Item = (&'a str, Content)>,
) -> Resource {
    let kms_key = match scope {
        Scope::Region => region.secrets.kms_key.clone(),
        Scope::Cluster(_) => region.secrets.management_kms_key.clone(),
    };
    Resource::Secret(Secret {
        scope,
        name: name.to_owned(),
        tags: region.all_tags(),
        description: description.to_owned(),
        kms_key,
        recovery_days: region.secrets.recovery_days,
        content: content
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    })
}

fn scope(cluster: &ManagementCluster) -> Scope {
    Scope::Cluster(cluster.id.clone())
}

/// Key of the credentials secret with the user who signs in by IAM, beside the master user's.
pub const IAM_USER_KEY: &str = "iamUsername";
// As the first deployment's; of letters and digits alone it holds 190 bits.
const PASSWORD_LENGTH: usize = 32;

#[cfg(test)]
mod tests;
