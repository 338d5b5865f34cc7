//! `sandbox broker`: a broker with a certificate authority and client identities in a state directory.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use link::error::{ExitKind, Failure, Hint};
use link::iot::Document;
use link::private;
use link::shutdown::Shutdown;
use link::telemetry::{self, LogOptions};

use crate::broker::{Broker, BrokerConfig, Fingerprint, Handle, Quotas, Registry};
use crate::control::{self, Control};
use crate::pki::{Authority, Layout, Set, write_mount};

/// Options of `sandbox broker`.
#[derive(Debug, clap::Args)]
pub(super) struct BrokerArgs {
    #[command(flatten)]
    log: LogOptions,

    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8883", value_parser = link::listen::address)]
    listen: SocketAddr,

    /// Another address, for clients with ALPN `x-amzn-mqtt-ca`, as port 443 of AWS IoT Core [default: none]
    #[arg(long, value_name = "ADDRESS", value_parser = link::listen::address)]
    alpn_listen: Option<SocketAddr>,

    /// Address that answers HTTPS with 403 and the time, as port 8443 of AWS IoT Core [default: none]
    #[arg(long, value_name = "ADDRESS", value_parser = link::listen::address)]
    https_listen: Option<SocketAddr>,

    /// Directory for the certificate authority, the registry and the clients' identities
    #[arg(long, value_name = "DIR", default_value = "sandbox-state")]
    state: PathBuf,

    /// A client to make an identity for, with its policy; without a policy everything is allowed
    #[arg(long = "client", value_name = "NAME[=POLICY.json]")]
    clients: Vec<Client>,

    /// Lift the quotas per second, for throughput measurements
    #[arg(long)]
    no_quotas: bool,

    /// Address of the control plane, which speaks the API of AWS IoT [default: none]; whoever reaches it is believed
    #[arg(long, value_name = "ADDRESS", value_parser = link::listen::address)]
    control: Option<SocketAddr>,

    /// Host that the control plane gives as the broker's [default: the listen address, `localhost` for loopback]
    #[arg(long, value_name = "HOST", requires = "control")]
    endpoint: Option<String>,

    /// Further names or addresses for the server certificate
    #[arg(long = "server-name", value_name = "NAME")]
    server_names: Vec<String>,
}

#[derive(Clone, Debug)]
struct Client {
    name: String,
    policy: Option<PathBuf>,
}

/// What went wrong in the state directory.
#[derive(Debug, thiserror::Error)]
enum StateError {
    #[error("{operation} `{path}`")]
    File {
        operation: &'static str,
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("parse policy `{path}`")]
    Policy {
        path: String,
        #[source]
        source: link::iot::policy::PolicyError,
    },
}

// === impl BrokerArgs ===

impl BrokerArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        telemetry::init(&self.log).map_err(Failure::misuse)?;
        create(&self.state)?;
        let authority = Authority::persisted_in(&self.state, "sandbox certificate authority")?;
        let authority = Arc::new(authority);
        let names: Vec<&str> = self.server_names.iter().map(String::as_str).collect();
        let server = authority.server(&names)?;
        let registry_file = self.state.join("registry.json");
        let registry = Registry::load(&registry_file)?;
        for client in &self.clients {
            client.prepare(&self.state, &authority, &registry)?;
        }
        registry.save(&registry_file)?;

        let mut config = BrokerConfig::new(self.listen, server.certificate, server.key);
        config.registry = registry.clone();
        config.alpn_listen = self.alpn_listen;
        config.https_listen = self.https_listen;
        if self.no_quotas {
            config.quotas = Quotas::none();
        }
        let shutdown = Shutdown::listen().map_err(|error| Failure::new(ExitKind::Failed, error))?;
        let drain = shutdown.drain();
        let broker = Broker::bind(config).await?;
        let more = [
            ("MQTT with ALPN", broker.alpn_addr()),
            ("HTTPS", broker.https_addr()),
        ];
        let control = match self.control {
            Some(listen) => Some(self.control(listen, authority, broker.handle()).await?),
            None => None,
        };
        self.say_what_to_try(broker.local_addr(), more, control.as_ref())
            .map_err(|error| Failure::new(ExitKind::Failed, error))?;
        let control = control.map(Control::start);
        broker.run(async { drain.requested().await }).await;
        if let Some(control) = control {
            control.shutdown().await;
        }
        registry.save(&registry_file)?;
        Ok(())
    }

    async fn control(
        &self,
        listen: SocketAddr,
        authority: Arc<Authority>,
        broker: Handle,
    ) -> Result<Control, Failure> {
        let host = broker.local_addr().ip();
        let mut config = control::ControlConfig::new(listen, authority, broker);
        if let Some(endpoint) = &self.endpoint {
            config.endpoint.clone_from(endpoint);
        } else if !host.is_loopback() {
            config.endpoint = host.to_string();
        }
        Ok(Control::bind(config).await?)
    }

    fn say_what_to_try(
        &self,
        address: SocketAddr,
        more: [(&str, Option<SocketAddr>); 2],
        control: Option<&Control>,
    ) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        let (host, port) = (address.ip(), address.port());
        writeln!(
            out,
            "broker listening on {host}:{port} (mutual TLS, MQTT 5 and 3.1.1)"
        )?;
        for (what, address) in more {
            if let Some(address) = address {
                writeln!(out, "{what} on {address}")?;
            }
        }
        if let Some(url) = control.map(Control::url) {
            writeln!(
                out,
                "control plane listening on {url} (API of AWS IoT); for tools of AWS:"
            )?;
            writeln!(
                out,
                "  export AWS_ENDPOINT_URL_IOT={url} AWS_ENDPOINT_URL_IOT_DATA_PLANE={url} AWS_REGION=us-east-1 \
                 AWS_ACCESS_KEY_ID=sandbox AWS_SECRET_ACCESS_KEY=sandbox"
            )?;
            writeln!(
                out,
                "faults to rehearse: sandbox fault list --control {url}"
            )?;
        }
        let Some(client) = self.clients.first() else {
            return writeln!(out, "no clients yet: stop it and add `--client NAME`");
        };
        let identity = self.state.join("clients").join(&client.name);
        let dir = identity.display();
        writeln!(out, "try:")?;
        writeln!(
            out,
            "  mosquitto_pub -V mqttv5 -q 1 -h {host} -p {port} --cafile {dir}/ca.crt --cert {dir}/certificate \
             --key {dir}/privateKey -i {} -t test -m hello",
            client.name,
        )?;
        writeln!(
            out,
            "  probe publish -h {host} -p {port} --identity {dir} -i {} -t test -m hello",
            client.name
        )
    }
}

// === impl Client ===

impl Client {
    /// Makes the identity if there is none, puts the policy and registers the certificate.
    fn prepare(
        &self,
        state: &Path,
        authority: &Authority,
        registry: &Registry,
    ) -> Result<Fingerprint, Failure> {
        let directory = state.join("clients").join(&self.name);
        let set: Set = authority.client_in(&directory, &self.name)?;
        write_mount(&directory, &set, &[], Layout::PerFileRename)?;
        let document = match &self.policy {
            Some(path) => {
                let text = read(path)?;
                Document::parse(&text).map_err(|source| {
                    Failure::usage(StateError::Policy {
                        path: path.display().to_string(),
                        source,
                    })
                })?
            }
            None => {
                Document::parse(ALLOW_ALL).map_err(|error| Failure::new(ExitKind::Failed, error))?
            }
        };
        registry.put_policy(&self.name, document)?;
        Ok(registry.register_pem(&set.certificate, &[&self.name])?)
    }
}

impl FromStr for Client {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, policy) = match text.split_once('=') {
            Some((name, policy)) => (name, Some(PathBuf::from(policy))),
            None => (text, None),
        };
        let name = link::id::ClientId::new(name)
            .map_err(|error| error.to_string())?
            .to_string();
        Ok(Self { name, policy })
    }
}

// === impl StateError ===

impl Hint for StateError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::File { .. } => Some("choose another directory with `--state DIR`".into()),
            Self::Policy { .. } => None,
        }
    }
}

fn create(path: &Path) -> Result<(), StateError> {
    private::create_dir_all(path).map_err(at("create", path))?;
    private::tighten(path).map_err(at("make private", path))?;
    Ok(())
}

fn read(path: &Path) -> Result<String, StateError> {
    std::fs::read_to_string(path).map_err(at("read", path))
}

fn at(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StateError {
    let path = path.display().to_string();
    move |source| StateError::File {
        operation,
        path,
        source,
    }
}

const ALLOW_ALL: &str = r#"{
  "Version": "2012-10-17",
  "Statement": [{"Effect": "Allow", "Action": "iot:*", "Resource": "*"}]
}"#;
