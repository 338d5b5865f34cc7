//! `sandbox broker`: a broker with a certificate authority and client identities in a state directory.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use link::error::{ExitKind, Failure, Hint};
use link::iot::Document;
use link::shutdown::Shutdown;

use crate::broker::{Broker, Config, Fingerprint, Quotas, Registry};
use crate::pki::{Authority, Layout, Set, lay_down};

/// Options of `sandbox broker`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8883")]
    listen: SocketAddr,

    /// Directory for the certificate authority, the registry and the clients' identities
    #[arg(long, value_name = "DIR", default_value = "sandbox-state")]
    state: PathBuf,

    /// A client to make an identity for, with its policy; without a policy everything is allowed
    #[arg(long = "client", value_name = "NAME[=POLICY.json]")]
    clients: Vec<Client>,

    /// Lift the quotas per second, for throughput measurements
    #[arg(long)]
    no_quotas: bool,

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

// === impl Args ===

impl Args {
    pub(super) async fn run(self) -> Result<(), Failure> {
        create(&self.state)?;
        let authority = authority(&self.state)?;
        let names: Vec<&str> = self.server_names.iter().map(String::as_str).collect();
        let server = authority.server(&names)?;
        let registry_file = self.state.join("registry.json");
        let registry = Registry::load(&registry_file)?;
        for client in &self.clients {
            client.prepare(&self.state, &authority, &registry)?;
        }
        registry.save(&registry_file)?;

        let mut config = Config::new(self.listen, server.certificate, server.key);
        config.registry = registry.clone();
        if self.no_quotas {
            config.quotas = Quotas::none();
        }
        let shutdown = Shutdown::listen().map_err(|error| Failure::new(ExitKind::Failed, error))?;
        let drain = shutdown.drain();
        let broker = Broker::bind(config).await?;
        self.say_what_to_try(broker.local_addr())
            .map_err(|error| Failure::new(ExitKind::Failed, error))?;
        broker.run(async { drain.requested().await }).await;
        registry.save(&registry_file)?;
        Ok(())
    }

    fn say_what_to_try(&self, address: SocketAddr) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        let (host, port) = (address.ip(), address.port());
        writeln!(
            out,
            "broker listening on {host}:{port} (mutual TLS, MQTT 5 and 3.1.1)"
        )?;
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
        let certificate = match std::fs::read_to_string(directory.join("certificate")) {
            Ok(certificate) => certificate,
            Err(_) => {
                let set: Set = authority.client(&self.name)?;
                lay_down(&directory, &set, &[], Layout::PerFileRename)?;
                set.certificate
            }
        };
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
        Ok(registry.register_pem(&certificate, &[&self.name])?)
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

fn authority(state: &Path) -> Result<Authority, Failure> {
    let (certificate, key) = (state.join("ca.crt"), state.join("ca.key"));
    if certificate.exists() && key.exists() {
        return Ok(Authority::from_pem(&read(&certificate)?, &read(&key)?)?);
    }
    let authority = Authority::new("sandbox certificate authority")?;
    write(&key, authority.key_pem())?;
    write(&certificate, authority.certificate_pem())?;
    Ok(authority)
}

fn create(path: &Path) -> Result<(), StateError> {
    std::fs::create_dir_all(path).map_err(at("create", path))
}

fn read(path: &Path) -> Result<String, StateError> {
    std::fs::read_to_string(path).map_err(at("read", path))
}

fn write(path: &Path, text: &str) -> Result<(), StateError> {
    let mut options = std::fs::File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(at("write", path))
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
