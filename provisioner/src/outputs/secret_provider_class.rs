//! `SecretProviderClass` objects for those who do not use our charts: which key of which secret becomes which file.
//!
//! Keys of the secrets have no hyphens, so that paths need no second pair of quotes; every value is a text, because
//! the AWS provider mounts nothing else.

use std::fmt::Write as _;

use region_file::{ManagementCluster, Region, Store};

use super::helm::{AGENT, SERVER};
use crate::desired::IAM_USER_KEY;

/// The server's: identity, configuration, database and registrations.
pub fn server(region: &Region) -> String {
    let names = &region.names;
    let mut secrets: Vec<(&str, Files<'_>)> = vec![
        (&names.server_certificate, IDENTITY),
        (&names.server_config, &[("config", "config.yaml")]),
    ];
    if region.server.store == Store::Postgres {
        let files = match region.database.iam_user {
            Some(_) => DATABASE_BY_IAM,
            None => DATABASE,
        };
        secrets.push((&names.database_credentials, files));
    }
    secrets.push((&names.consumers, &[("consumers", "consumers.yaml")]));
    let namespace = &region.server.workload.namespace;
    manifest(SERVER, namespace, &region.region, &secrets)
}

/// An agent's: identity, configuration and name.
pub fn agent(region: &Region, cluster: &ManagementCluster) -> String {
    let names = &cluster.names;
    manifest(
        AGENT,
        &region.agent.namespace,
        &cluster.region,
        &[
            (&names.certificate, IDENTITY),
            (
                &names.config,
                &[("config", "config.yaml"), ("consumerName", "consumerName")],
            ),
        ],
    )
}

type Files<'a> = &'a [(&'a str, &'a str)];

fn manifest(name: &str, namespace: &str, region: &str, secrets: &[(&str, Files<'_>)]) -> String {
    let mut text = format!(
        "apiVersion: secrets-store.csi.x-k8s.io/v1\nkind: SecretProviderClass\nmetadata:\n  name: {name}\n  \
         namespace: \"{namespace}\"\nspec:\n  provider: aws\n  parameters:\n    region: {region}\n    \
         usePodIdentity: \"true\"\n    objects: |\n"
    );
    for (secret, files) in secrets {
        // Writing to a text cannot fail. The names' grammars have nothing that YAML's quotes would mind.
        let _ = write!(
            text,
            "      - objectName: \"{secret}\"\n        objectType: secretsmanager\n        jmesPath:\n"
        );
        for (key, file) in *files {
            let _ = writeln!(text, "          - {{path: {key}, objectAlias: {file}}}");
        }
    }
    text
}

const IDENTITY: Files<'static> = &[
    ("certificate", "certificate"),
    ("privateKey", "privateKey"),
    ("caCert", "ca.crt"),
];
// No password: a token of the pod's role stands for it.
const DATABASE_BY_IAM: Files<'static> = &[
    (IAM_USER_KEY, "db.user"),
    ("host", "db.host"),
    ("port", "db.port"),
    ("database", "db.name"),
];
const DATABASE: Files<'static> = &[
    ("username", "db.user"),
    ("password", "db.password"),
    ("host", "db.host"),
    ("port", "db.port"),
    ("database", "db.name"),
];
