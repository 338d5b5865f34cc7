//! Texts that end up as mounted files: upstream's `config.yaml` and the registrations of clusters.

use link::topic::Topics;
use region_file::Region;
use serde::Serialize;

/// `config.yaml` as the first deployment wrote it, for agent, bridge and the Go implementation alike. `{endpoint}` stands
/// for the broker's host name.
pub(super) fn text(port: u16, topics: Topics) -> String {
    let file = ConfigFile {
        broker_host: format!("{{endpoint}}:{port}"),
        username: "",
        password: "",
        client_cert_file: "/mnt/secrets-store/certificate",
        client_key_file: "/mnt/secrets-store/privateKey",
        ca_file: "/mnt/secrets-store/ca.crt",
        topics,
    };
    yaml(&file)
}

/// What the bridge's `--consumers` takes, with the labels the first deployment gave. A text, because the CSI driver
/// mounts nothing else out of a JSON object.
pub(super) fn consumers(region: &Region) -> String {
    let clusters = region.clusters.iter();
    let registrations: Vec<Registration<'_>> = clusters
        .map(|cluster| Registration {
            name: cluster.id.as_str(),
            labels: Labels {
                cluster_type: "management",
                region: &cluster.region,
                cluster_id: cluster.id.as_str(),
            },
        })
        .collect();
    yaml(&registrations)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConfigFile {
    broker_host: String,
    // Empty, but upstream's file has them.
    username: &'static str,
    password: &'static str,
    client_cert_file: &'static str,
    client_key_file: &'static str,
    ca_file: &'static str,
    topics: Topics,
}

#[derive(Serialize)]
struct Registration<'a> {
    name: &'a str,
    labels: Labels<'a>,
}

#[derive(Serialize)]
struct Labels<'a> {
    cluster_type: &'static str,
    region: &'a str,
    cluster_id: &'a str,
}

// Plain structs of texts: nothing that YAML cannot say.
fn yaml(value: &impl Serialize) -> String {
    serde_saphyr::to_string(value).unwrap_or_default()
}
