//! Outputs for charts, Argo CD and people, each in its own format. Pure.
//!
//! [`TerraformOutputs`] has the names of the Terraform module's outputs, [`helm`] the values of our charts, [`argocd`] the
//! same for Argo CD, [`secret_provider_class`] what other charts need, [`sql`] what must be run in the database.
//! Values that AWS assigns come in as [`LiveValues`]. There is deliberately no `maestro_agent_certificates`: an agent's key
//! is made where it is kept, and no output, log or state ever holds it.

use std::collections::BTreeMap;

use region_file::{ManagementCluster, Region};
use serde::Serialize;

use crate::resource::{Address, Observed};
use crate::scope::Scope;

pub mod argocd;
pub mod helm;
pub mod secret_provider_class;
pub mod sql;

/// Values that AWS assigns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveValues {
    /// The broker's host name.
    pub endpoint: Option<String>,
    /// Host and port of the database.
    pub database: Option<(String, u16)>,
    /// ARNs of secrets by name, certificates' too.
    pub secrets: BTreeMap<(Scope, String), String>,
    /// ARNs of roles by name.
    pub roles: BTreeMap<(Scope, String), String>,
}

/// The outputs of the Terraform module, under its names and in its order; null for what is not there yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TerraformOutputs {
    /// The broker's host name.
    pub iot_mqtt_endpoint: Option<String>,
    /// The server's thing; null when things are off.
    pub maestro_server_thing_name: Option<String>,
    /// The agents' things by management cluster; empty when things are off.
    pub maestro_agent_thing_names: BTreeMap<String, String>,
    /// `host:port` of the database.
    pub rds_endpoint: Option<String>,
    /// Its host.
    pub rds_address: Option<String>,
    /// Its port.
    pub rds_port: Option<u16>,
    /// Name of the database in it.
    pub rds_database_name: String,
    /// Its instance.
    pub rds_instance_id: String,
    /// Secret with the server's certificate.
    pub maestro_server_mqtt_cert_secret_arn: Option<String>,
    /// Its name.
    pub maestro_server_mqtt_cert_secret_name: String,
    /// Secret with the database's credentials.
    pub maestro_db_credentials_secret_arn: Option<String>,
    /// Its name.
    pub maestro_db_credentials_secret_name: String,
    /// Secret with the registrations.
    pub maestro_consumers_secret_arn: Option<String>,
    /// Its name.
    pub maestro_consumers_secret_name: String,
    /// Secret with the server's configuration.
    pub maestro_server_config_secret_arn: Option<String>,
    /// Its name.
    pub maestro_server_config_secret_name: String,
    /// The server's role.
    pub maestro_server_role_arn: Option<String>,
    /// Its name.
    pub maestro_server_role_name: String,
    /// The agents' roles by management cluster; null where this account cannot see them.
    pub maestro_agent_role_arns: BTreeMap<String, Option<String>>,
    /// Their names.
    pub maestro_agent_role_names: BTreeMap<String, String>,
    /// Everything a chart needs.
    pub maestro_configuration_summary: Summary,
    /// Which of the above are null because they are not there yet.
    pub pending: Vec<String>,
}

/// Everything a chart needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The broker.
    pub mqtt: MqttSummary,
    /// PostgreSQL.
    pub database: DatabaseSummary,
    /// The server.
    pub server: ServerSummary,
}

/// The broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MqttSummary {
    /// Its host name.
    pub endpoint: Option<String>,
    /// Its port.
    pub port: u16,
    /// What topics begin with, up to the cluster.
    pub topic_prefix: String,
}

/// PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DatabaseSummary {
    /// Its host.
    pub host: Option<String>,
    /// Its port.
    pub port: Option<u16>,
    /// Name of the database in it.
    pub name: String,
}

/// The server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerSummary {
    /// Its role.
    pub role_arn: Option<String>,
    /// Secret with its certificate.
    pub mqtt_secret_name: String,
    /// Secret with the database's credentials.
    pub db_secret_name: String,
}

// === impl LiveValues ===

impl LiveValues {
    /// Takes over what one observed resource tells.
    pub fn learn(&mut self, address: &Address, observed: &Observed) {
        let facts = &observed.facts;
        if let Some(endpoint) = &facts.endpoint {
            self.endpoint = Some(endpoint.clone());
        }
        if let Some(database) = &facts.database {
            self.database = Some(database.clone());
        }
        let Some(arn) = &observed.id else { return };
        let key = || (address.scope.clone(), address.name.clone());
        // A certificate's id may be that of the certificate or of the secret that keeps its key.
        if matches!(address.kind, "secret" | "certificate") && arn.contains(":secretsmanager:") {
            self.secrets.insert(key(), arn.clone());
        } else if address.kind == "role" && arn.contains(":role/") {
            self.roles.insert(key(), arn.clone());
        }
    }
}

// === impl TerraformOutputs ===

impl TerraformOutputs {
    /// The outputs of a region of which that much is there.
    pub fn new(region: &Region, found: &LiveValues) -> Self {
        let names = &region.names;
        let secret = |name: &String| found.secrets.get(&(Scope::Region, name.clone())).cloned();
        let role = found
            .roles
            .get(&(Scope::Region, names.server_role.clone()))
            .cloned();
        let (host, port) = found.database.clone().unzip();
        let mut outputs = Self {
            iot_mqtt_endpoint: found.endpoint.clone(),
            maestro_server_thing_name: region.things.then(|| names.server_thing.clone()),
            maestro_agent_thing_names: if region.things {
                each(region, |cluster| cluster.names.thing.clone())
            } else {
                BTreeMap::new()
            },
            rds_endpoint: found
                .database
                .as_ref()
                .map(|(host, port)| format!("{host}:{port}")),
            rds_address: host.clone(),
            rds_port: port,
            rds_database_name: region.database.database.clone(),
            rds_instance_id: names.database.clone(),
            maestro_server_mqtt_cert_secret_arn: secret(&names.server_certificate),
            maestro_server_mqtt_cert_secret_name: names.server_certificate.clone(),
            maestro_db_credentials_secret_arn: secret(&names.database_credentials),
            maestro_db_credentials_secret_name: names.database_credentials.clone(),
            maestro_consumers_secret_arn: secret(&names.consumers),
            maestro_consumers_secret_name: names.consumers.clone(),
            maestro_server_config_secret_arn: secret(&names.server_config),
            maestro_server_config_secret_name: names.server_config.clone(),
            maestro_server_role_arn: role.clone(),
            maestro_server_role_name: names.server_role.clone(),
            maestro_agent_role_arns: each(region, |cluster| {
                let key = (
                    Scope::Cluster(cluster.id.clone()),
                    cluster.names.role.clone(),
                );
                found.roles.get(&key).cloned()
            }),
            maestro_agent_role_names: each(region, |cluster| cluster.names.role.clone()),
            maestro_configuration_summary: Summary {
                mqtt: MqttSummary {
                    endpoint: found.endpoint.clone(),
                    port: region.broker.port,
                    topic_prefix: topic_prefix(region),
                },
                database: DatabaseSummary {
                    host,
                    port,
                    name: region.database.database.clone(),
                },
                server: ServerSummary {
                    role_arn: role,
                    mqtt_secret_name: names.server_certificate.clone(),
                    db_secret_name: names.database_credentials.clone(),
                },
            },
            pending: Vec::new(),
        };
        outputs.pending = outputs.missing();
        outputs
    }

    /// As JSON, one output a line.
    pub fn to_json(&self) -> String {
        // Texts and numbers: nothing that JSON cannot say.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    fn missing(&self) -> Vec<String> {
        let one = [
            ("iot_mqtt_endpoint", self.iot_mqtt_endpoint.is_none()),
            ("rds_endpoint", self.rds_endpoint.is_none()),
            ("rds_address", self.rds_address.is_none()),
            ("rds_port", self.rds_port.is_none()),
            (
                "maestro_server_mqtt_cert_secret_arn",
                self.maestro_server_mqtt_cert_secret_arn.is_none(),
            ),
            (
                "maestro_db_credentials_secret_arn",
                self.maestro_db_credentials_secret_arn.is_none(),
            ),
            (
                "maestro_consumers_secret_arn",
                self.maestro_consumers_secret_arn.is_none(),
            ),
            (
                "maestro_server_config_secret_arn",
                self.maestro_server_config_secret_arn.is_none(),
            ),
            (
                "maestro_server_role_arn",
                self.maestro_server_role_arn.is_none(),
            ),
        ];
        let one = one.into_iter().filter(|(_, missing)| *missing);
        let roles = self
            .maestro_agent_role_arns
            .iter()
            .filter(|(_, arn)| arn.is_none());
        one.map(|(name, _)| name.to_owned())
            .chain(roles.map(|(cluster, _)| format!("maestro_agent_role_arns.{cluster}")))
            .collect()
    }
}

fn each<T>(region: &Region, what: impl Fn(&ManagementCluster) -> T) -> BTreeMap<String, T> {
    let clusters = region.clusters.iter();
    clusters
        .map(|cluster| (cluster.id.to_string(), what(cluster)))
        .collect()
}

fn topic_prefix(region: &Region) -> String {
    let topic = region.scheme.bridge_topics().source_events;
    let (prefix, _) = topic.split_once("/+").unwrap_or((&topic, ""));
    prefix.to_owned()
}

#[cfg(test)]
mod tests;
