//! What runs where, as data: the one line that scripts read.

use std::net::SocketAddr;
use std::path::PathBuf;

use link::id::ConsumerName;
use serde::Serialize;

use super::Home;

/// Addresses and directories of a region. Its JSON is what `sandbox up --json` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Base URL of the REST API, without a path.
    pub api: String,
    /// Base URLs of the REST API at each bridge; `api` is the first.
    pub apis: Vec<String>,
    /// Host and port of the gRPC endpoint for sources, plaintext; of the first bridge.
    pub grpc: String,
    /// The MQTT broker.
    pub broker: BrokerAddress,
    /// Base URL of the control plane, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<String>,
    /// Base URL of the data plane, which tells of connections and ends them: the control plane's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_plane: Option<String>,
    /// The bridge, the first of several.
    pub bridge: Bridge,
    /// Each bridge with its process.
    pub replicas: Vec<ReplicaSummary>,
    /// Every consumer with its agent.
    pub consumers: Vec<Consumer>,
    /// The operator's tools.
    pub operator: Operator,
    /// What is not as it is by default, as sentences.
    #[serde(skip)]
    pub notes: Vec<String>,
}

/// Where the broker listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BrokerAddress {
    /// An IP address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Host and port for clients with ALPN, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpn: Option<String>,
    /// Base URL of what answers HTTPS with the time, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub https: Option<String>,
}

/// The bridge of a region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bridge {
    /// Its mounted directory.
    pub identity: PathBuf,
    /// Base URL of its `/livez`, `/readyz` and `/metrics`.
    pub admin: String,
}

/// One bridge of a region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReplicaSummary {
    /// Its process: with a database of its own the bridge runs in the sandbox's.
    pub pid: u32,
    /// Base URL of its REST API.
    pub api: String,
    /// Host and port of its gRPC endpoint.
    pub grpc: String,
    /// Base URL of its `/livez`, `/readyz` and `/metrics`.
    pub admin: String,
}

/// A consumer of a region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Consumer {
    /// Its name.
    pub name: String,
    /// Its agent's mounted directory.
    pub identity: PathBuf,
    /// Where its agent applies objects: a directory, or the kubeconfig of a cluster.
    pub target: PathBuf,
    /// Base URL of its agent's `/livez`, `/readyz` and `/metrics`.
    pub admin: String,
}

/// Whoever looks into a region by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Operator {
    /// A mounted directory with the right to use test topics.
    pub identity: PathBuf,
}

// === impl Summary ===

impl Summary {
    /// Of a region with these bridges; `None` without one.
    pub(super) fn new(
        home: &Home,
        broker: SocketAddr,
        replicas: Vec<ReplicaSummary>,
    ) -> Option<Self> {
        let first = replicas.first()?.clone();
        Some(Self {
            api: first.api,
            grpc: first.grpc,
            apis: replicas.iter().map(|replica| replica.api.clone()).collect(),
            broker: BrokerAddress {
                host: broker.ip().to_string(),
                port: broker.port(),
                alpn: None,
                https: None,
            },
            control: None,
            data_plane: None,
            bridge: Bridge {
                identity: home.bridge_identity(),
                admin: first.admin,
            },
            replicas,
            consumers: Vec::new(),
            operator: Operator {
                identity: home.operator_identity(),
            },
            notes: Vec::new(),
        })
    }

    /// Says where others than this machine can do what they like, if anywhere.
    pub(super) fn open_to_others(&self) -> Option<String> {
        let bridges = self.replicas.iter();
        let addresses = bridges.flat_map(|replica| [replica.api.as_str(), replica.grpc.as_str()]);
        let open: Vec<&str> = addresses
            .map(|text| text.split_once("://").map_or(text, |(_, host)| host))
            .filter(|host| !host.is_empty() && !is_loopback(host))
            .collect();
        (!open.is_empty()).then(|| format!("whoever reaches {} may do everything", open.join(", ")))
    }

    pub(super) fn add_consumer(
        &mut self,
        home: &Home,
        name: &ConsumerName,
        target: PathBuf,
        admin: String,
    ) {
        self.consumers.push(Consumer {
            name: name.to_string(),
            identity: home.agent_identity(name),
            target,
            admin,
        });
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.parse::<SocketAddr>();
    address.is_ok_and(|address| address.ip().to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_reach_is_named() {
        let replica = |api: &str, grpc: &str| ReplicaSummary {
            pid: 1,
            api: format!("http://{api}"),
            grpc: grpc.into(),
            admin: String::new(),
        };
        let home = Home::throw_away().unwrap();
        let said = |replicas| {
            let broker = ([127, 0, 0, 1], 1).into();
            Summary::new(&home, broker, replicas)
                .unwrap()
                .open_to_others()
        };
        assert_eq!(said(vec![replica("127.0.0.1:1", "[::1]:2")]), None);
        let open = vec![
            replica("0.0.0.0:1", "127.0.0.1:2"),
            replica("192.0.2.1:3", "[::]:4"),
        ];
        assert_eq!(
            said(open).unwrap(),
            "whoever reaches 0.0.0.0:1, 192.0.2.1:3, [::]:4 may do everything"
        );
    }
}
