//! What our charts find where they are installed: an AWS IoT Core that the node's pods reach, with everybody's own
//! policy, and the secrets that the provisioner would have written. The values that make a chart use them are here and
//! nowhere else.

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::ByteString;
use link::id::{ClientId, ConsumerName, SourceId};
use link::iot::ArnPrefix;
use link::party::Party;
use link::topic::Scheme;
use sandbox::broker::{Broker, BrokerConfig, RunningBroker};
use sandbox::pki::{Authority, Set};
use serde_json::{Value, json};

use super::Node;
use crate::api::Api;
use crate::region::{BRIDGE_CLIENT, SOURCE};
use crate::test_dir::workspace;
use crate::wait::wait_for;

/// How the files of a chart come to its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSource {
    /// The CSI driver mounts them: [`ChartFixture::provide`] is enough.
    Csi,
    /// The operator for external secrets makes a Secret of them; likewise.
    External,
    /// Somebody makes a Secret: [`ChartFixture::hand_over`].
    Existing,
}

/// What a program is given.
struct ProgramFiles {
    set: Set,
    /// `config.yaml`.
    config: String,
    /// The file that only this program has.
    own: (&'static str, String),
}

/// A broker and names of secrets that nobody else on the node has. Dropping it stops the broker.
pub struct ChartFixture<'a> {
    node: &'a Node,
    name: String,
    authority: Authority,
    broker: RunningBroker,
}

// === impl ChartFixture ===

impl<'a> ChartFixture<'a> {
    /// A fixture of this name, which is the first part of its secrets' names.
    ///
    /// # Errors
    /// When the broker does not start.
    pub async fn start(node: &'a Node, name: &str) -> Result<Self> {
        let authority = Authority::new("fixture")?;
        let host = format!("{name}.test");
        let server = authority.server(&[&host])?;
        let any = (node.host(), 0).into();
        let config = BrokerConfig::new(any, server.certificate, server.key);
        let broker = Broker::bind(config).await?.spawn();
        node.resolve(&host, node.host());
        Ok(Self {
            node,
            name: name.to_owned(),
            authority,
            broker,
        })
    }

    /// Writes the secrets of a chart, `agent` or `server-bridge`, into Secrets Manager. A second time it gives the program
    /// a new identity, which its pods get to see when they look again. The one cluster of a fixture has the fixture's name.
    ///
    /// # Errors
    /// When a secret cannot be written.
    pub async fn provide(&self, chart: &str) -> Result<()> {
        let ProgramFiles { set, config, own } = self.program_files(chart)?;
        let mut config = json!({ "config": config });
        match chart {
            "agent" => config["consumerName"] = own.1.into(),
            _ => {
                let consumers = json!({ "consumers": own.1 });
                self.put("consumers", &consumers).await?;
            }
        }
        let (certificate, configuration) = secrets(chart);
        self.put(configuration, &config).await?;
        let Set {
            certificate: public,
            key,
            ca,
        } = set;
        let identity = json!({ "certificate": public, "privateKey": key, "caCert": ca });
        self.put(certificate, &identity).await
    }

    /// The same as a Secret in a namespace, for [`FileSource::Existing`].
    ///
    /// # Errors
    /// When it is refused.
    pub async fn hand_over(&self, chart: &str, namespace: &str) -> Result<()> {
        let ProgramFiles { set, config, own } = self.program_files(chart)?;
        let bytes = |text: String| ByteString(text.into_bytes());
        let space =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": { "name": own_secret(chart), "namespace": namespace },
            "data": {
                "certificate": bytes(set.certificate), "privateKey": bytes(set.key), "ca.crt": bytes(set.ca),
                "config.yaml": bytes(config), own.0: bytes(own.1),
            },
        });
        self.node.apply(&[space, secret]).await
    }

    fn program_files(&self, chart: &str) -> Result<ProgramFiles> {
        let set = self.authority.client(chart)?;
        let registry = self.broker.registry();
        if registry.policy(chart).is_none() {
            registry.put_policy(chart, self.party(chart)?.policy(&ArnPrefix::default()))?;
        }
        registry.register_pem(&set.certificate, &[chart])?;
        let own = match chart {
            "agent" => ("consumerName", self.name.clone()),
            _ => ("consumers.yaml", json!([{ "name": self.name }]).to_string()),
        };
        let config = format!("brokerHost: {}.test:{}\n", self.name, self.port());
        Ok(ProgramFiles { set, config, own })
    }

    /// The values that make a chart, `agent` or `server-bridge`, take an image of this profile's program and this fixture's
    /// secrets.
    ///
    /// # Errors
    /// When there is no such image.
    pub async fn values(&self, chart: &str, source: FileSource) -> Result<Value> {
        let secret = |what: &str| format!("{}/{what}", self.name);
        let (certificate, config) = secrets(chart);
        let mut secrets = json!({
            "region": crate::aws::REGION,
            "certificate": secret(certificate),
            "config": secret(config),
        });
        if chart != "agent" {
            secrets["consumers"] = secret("consumers").into();
        }
        match source {
            FileSource::Csi => secrets["provider"] = "csi".into(),
            FileSource::External => {
                secrets["provider"] = "external".into();
                let store = json!({ "create": true, "kind": "SecretStore", "name": chart });
                secrets["external"] = json!({ "store": store, "refreshInterval": "1s" });
            }
            FileSource::Existing => {
                secrets["provider"] = "existing".into();
                secrets["existing"] = own_secret(chart).into();
            }
        }
        Ok(json!({
            "image": { "repository": self.node.image(chart).await? },
            "check": { "image": { "repository": self.node.image("probe").await? } },
            "secrets": secrets,
        }))
    }

    /// The same with a SecretProviderClass that the chart does not bring.
    ///
    /// # Errors
    /// When there is no such image.
    pub async fn values_with_class(&self, chart: &str, class: &str) -> Result<Value> {
        let mut values = self.values(chart, FileSource::Csi).await?;
        values["secrets"]["csi"] = json!({ "create": false, "name": class });
        Ok(values)
    }

    /// Installs a chart, or upgrades it, and waits until its pod is ready, after an upgrade the new one.
    ///
    /// # Errors
    /// When helm refuses or the pod does not become ready.
    pub async fn install(&self, chart: &str, namespace: &str, source: FileSource) -> Result<()> {
        let values = self.values(chart, source).await?;
        self.release("upgrade", chart, namespace, &values).await?;
        let kind = if chart == "agent" {
            "deployment"
        } else {
            "statefulset"
        };
        let object = format!("{kind}/{chart}");
        let rollout = [
            "rollout",
            "status",
            &object,
            "--namespace",
            namespace,
            "--timeout=120s",
        ];
        self.node.kubectl(&rollout).await?;
        self.node.pod_ready(namespace, &selector(chart)).await?;
        Ok(())
    }

    /// Runs `helm VERB` for a release with the name of its chart, and waits for nothing.
    ///
    /// # Errors
    /// When helm refuses.
    pub async fn release(
        &self,
        verb: &str,
        chart: &str,
        namespace: &str,
        values: &Value,
    ) -> Result<String> {
        let file = self.node.path().join(format!("{namespace}-{chart}.json"));
        std::fs::write(&file, values.to_string())?;
        let path = workspace().join("deploy/charts").join(chart);
        let (path, file) = (path.display().to_string(), file.display().to_string());
        let place = [
            "--namespace",
            namespace,
            "--create-namespace",
            "--values",
            &file,
        ];
        let mut helm = vec![verb, chart, &path];
        helm.extend(place);
        if verb == "upgrade" {
            helm.push("--install");
        }
        self.node.helm(&helm).await
    }

    /// A client of the server's REST API, which listens in its pod, with a token that may do everything.
    ///
    /// # Errors
    /// When there is no such pod.
    pub async fn api(&self, namespace: &str) -> Result<Api> {
        let server = selector("server-bridge");
        self.node.bridge(namespace, &server).await
    }

    /// Waits until the program of a chart is connected with a certificate other than this one, and gives the fingerprint
    /// of the one it has.
    ///
    /// # Errors
    /// When it is not in time.
    pub async fn connected(&self, chart: &str, but: Option<&str>) -> Result<String> {
        let party = self.party(chart)?;
        let ids: Vec<_> = party.client_ids().iter().map(ToString::to_string).collect();
        let what = format!("a connection of {chart}");
        let fingerprint = wait_for(&what, PATIENCE, async || {
            let connections = self.broker.connections();
            let ours = connections.iter().find(|it| ids.contains(&it.client_id));
            match ours {
                Some(ours) if but != Some(&ours.fingerprint) => Ok(ours.fingerprint.clone()),
                _ => Err(format!("{connections:?}")),
            }
        });
        Ok(fingerprint.await?)
    }

    fn party(&self, chart: &str) -> Result<Party> {
        let scheme = Scheme::default();
        Ok(match chart {
            "agent" => Party::agent(&scheme, &ConsumerName::new(self.name.as_str())?)?,
            _ => {
                let (source, client) = (SourceId::new(SOURCE)?, ClientId::new(BRIDGE_CLIENT)?);
                Party::bridge(&scheme, &source, &client, 1)?
            }
        })
    }

    fn port(&self) -> u16 {
        self.broker.local_addr().port()
    }

    async fn put(&self, what: &str, value: &Value) -> Result<()> {
        self.node
            .secret(&format!("{}/{what}", self.name), value)
            .await
    }
}

/// The secrets of a chart's program: its identity and its configuration.
fn secrets(chart: &str) -> (&'static str, &'static str) {
    match chart {
        "agent" => ("agent-cert", "agent-config"),
        _ => ("server-cert", "server-config"),
    }
}

/// A Secret that no chart makes.
fn own_secret(chart: &str) -> String {
    format!("{chart}-own")
}

/// The labels by which pods of a release with the name of its chart are found.
pub fn selector(chart: &str) -> String {
    format!("app.kubernetes.io/name={chart},app.kubernetes.io/instance={chart}")
}

const PATIENCE: Duration = Duration::from_secs(60);
