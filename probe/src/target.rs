//! Resolves what the user typed into a target: which broker, who we are to it, which topics a consumer has.
//!
//! Precedence: flags, then the environment, then `--config`, else the mount's own `config.yaml`.

mod url;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use link::clock::Clock;
use link::config::{Broker, BrokerCredentials, Layers, Material, ProcessEnv};
use link::error::{ExitKind, Failure, Hint};
use link::id::{ClientId, InvalidName};
use link::identity::{self, Identity, Location};
use link::iot::ArnPrefix;
use link::tls;
use link::topic::{Scheme, SchemeError, Topics};

pub use self::url::{BrokerUrl, UrlError};
use crate::args::{ConnectionArgs, TlsVersion};
use crate::output::Output;

/// A broker and the party we are to it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Host name, as dialled and as sent in the handshake.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Client id; probe's own unless one was given.
    pub client_id: ClientId,
    /// Keep-alive.
    pub keep_alive: Duration,
    /// Where certificate, key and CA are.
    pub location: Location,
    /// TLS options of the port.
    pub tls: tls::TlsOptions,
    /// The topics of consumers.
    pub scheme: Scheme,
    /// How resource names of this broker begin, as far as its host name tells.
    pub arn: ArnPrefix,
    /// The topic that `-L` names.
    pub topic: Option<String>,
}

/// Why there is no target.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// No host anywhere.
    #[error("no broker host given")]
    NoHost,
    /// No certificate anywhere.
    #[error("no client certificate given")]
    NoIdentity,
    /// `--cafile` on its own.
    #[error("a CA is given without `--cert` and `--key`")]
    OnlyCa,
    /// `--cert` and `--key` without a CA anywhere.
    #[error("`--cert` and `--key` are given without `--cafile` or `--capath`")]
    NoCa,
    /// The configuration holds a file's content in place of a path.
    #[error("the configuration gives `{key}` as data")]
    Data {
        /// The key.
        key: &'static str,
    },
    /// `-i` is not a client id, or `-I` makes none.
    #[error("option `{option}`")]
    ClientId {
        /// Which of them.
        option: &'static str,
        /// What is wrong with it.
        #[source]
        source: InvalidName,
    },
    /// `-L` is not taken.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// Neither `-t` nor `-L` names a topic.
    #[error("no topic given")]
    NoTopic,
    /// Both `-t` and `-L` name a topic, where there is one.
    #[error("`-t` and the URL of `-L` each name a topic")]
    TwoTopics,
    /// The topics in the configuration have no known shape.
    #[error("topics of the configuration")]
    Scheme(#[source] SchemeError),
}

// === impl Target ===

impl Target {
    /// Resolves the options; reads the configuration file but neither certificate nor key.
    ///
    /// # Errors
    /// A usage failure that names the options or keys involved.
    pub fn resolve(args: &ConnectionArgs, output: Output) -> Result<Self, Failure> {
        let url = args.url.as_ref().map(|url| url.0.parse::<BrokerUrl>());
        let url = url
            .transpose()
            .map_err(|e| TargetError::Url(e).into_failure())?;
        if url.as_ref().is_some_and(|url| url.has_user) {
            output.note("the user of the URL is not sent: the certificate says who we are");
        }
        let address = match &url {
            Some(url) => (Some(url.host.as_str()), url.port),
            None => (args.host.as_deref(), args.port),
        };
        let broker = read_config(args, address)?;
        let host = address.0.unwrap_or(&broker.host).to_owned();
        let port = address.1.unwrap_or(broker.port);
        let location = location(args, broker.credentials.as_ref())?;
        let client_id = client_id(args).map_err(TargetError::into_failure)?;
        let scheme = match &broker.topics {
            None => Scheme::default(),
            Some(topics) => Scheme::parse(&Topics {
                source_events: topics.source_events.clone(),
                agent_events: topics.agent_events.clone(),
                source_broadcast: topics.source_broadcast.clone(),
                agent_broadcast: topics.agent_broadcast.clone(),
            })
            .map_err(|e| TargetError::Scheme(e).into_failure())?,
        };
        let keep_alive = args
            .keepalive
            .map_or(broker.keep_alive, |s| Duration::from_secs(s.into()));
        Ok(Self {
            arn: arn_of(&host),
            tls: tls_options(args, port),
            topic: url.and_then(|url| url.topic),
            host,
            port,
            client_id,
            keep_alive,
            location,
            scheme,
        })
    }

    /// The one topic of a command: that of `-t`, or that of `-L`.
    ///
    /// # Errors
    /// A usage failure if there is none, or both.
    pub fn one_topic(&self, given: Option<&str>) -> Result<String, Failure> {
        match (given, &self.topic) {
            (Some(topic), None) => Ok(topic.to_owned()),
            (None, Some(topic)) => Ok(topic.clone()),
            (None, None) => Err(TargetError::NoTopic.into_failure()),
            (Some(_), Some(_)) => Err(TargetError::TwoTopics.into_failure()),
        }
    }

    /// The one topic of a command that has one of its own, `test/probe/CLIENT-ID`, if none is given.
    ///
    /// # Errors
    /// A usage failure if both are given.
    pub fn topic_or_own(&self, given: Option<&str>) -> Result<String, Failure> {
        if given.is_none() && self.topic.is_none() {
            return Ok(format!("test/probe/{}", self.client_id));
        }
        self.one_topic(given)
    }

    /// Reads and checks certificate, key and CA.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn load_identity(&self) -> Result<Arc<Identity>, identity::IdentityError> {
        Identity::load(&self.location, Clock::system().now()).map(Arc::new)
    }

    /// The address for people: `host:port`.
    pub fn address(&self) -> String {
        address(&self.host, self.port)
    }
}

// === impl TargetError ===

impl Hint for TargetError {
    fn hint(&self) -> Option<String> {
        Some(
            match self {
                Self::NoHost => "give `-h HOST`, or `--config FILE` with `brokerHost`; `--help` is help",
                Self::Url(source) => return source.hint(),
                Self::NoTopic => "give `-t TOPIC`",
                Self::TwoTopics => "leave one of them out",
                Self::NoIdentity => {
                    "give `--identity DIR`, or `--cafile`, `--cert` and `--key`: every connection uses mutual TLS"
                }
                Self::OnlyCa => "add `--cert FILE --key FILE`: every connection uses mutual TLS",
                Self::NoCa => "add `--cafile FILE`, for AWS IoT Core with Amazon Root CA 1",
                Self::Data { .. } => "write the PEM to a file and give its path",
                Self::ClientId { .. } => "use letters, digits and `-_.:`",
                Self::Scheme(source) => return source.hint(),
            }
            .into(),
        )
    }
}

// Beside the `Hint` conversion, which would make it exit code 1.
impl TargetError {
    fn into_failure(self) -> Failure {
        let hint = self.hint();
        Failure::new(ExitKind::Usage, self).with_hint(hint)
    }
}

type Address<'a> = (Option<&'a str>, Option<u16>);

fn read_config(args: &ConnectionArgs, (host, port): Address<'_>) -> Result<Broker, Failure> {
    let mut layers = Layers::new(Broker::KEYS);
    let mounted = args
        .identity
        .as_ref()
        .map(|directory| directory.join("config.yaml"));
    if let Some(file) = args
        .config
        .clone()
        .or_else(|| mounted.filter(|file| file.exists()))
    {
        layers.file(&file);
    }
    layers.env(&ProcessEnv);
    if let Some(host) = host {
        let address = address(host, port.unwrap_or(DEFAULT_PORT));
        layers.flag("brokerHost", "-h", Some(&address));
    } else if !layers.is_given("brokerHost") && !layers.has_problems() {
        return Err(TargetError::NoHost.into_failure());
    }
    check_flags(args, &layers)?;
    for (key, flag, value) in [
        ("caFile", "--cafile", ca(args)),
        ("clientCertFile", "--cert", args.cert.as_ref()),
        ("clientKeyFile", "--key", args.key.as_ref()),
    ] {
        let text = value.map(|path| path.to_string_lossy().into_owned());
        layers.flag(key, flag, text.as_deref());
    }
    let broker = Broker::read(&mut layers);
    layers
        .finish(broker)
        .map_err(link::config::ConfigProblems::into_failure)
}

// In the words of the flags, before the section speaks of its keys.
fn check_flags(args: &ConnectionArgs, layers: &Layers) -> Result<(), Failure> {
    let given = |names: [&str; 2]| names.iter().any(|name| layers.is_given(name));
    if args.identity.is_some() {
        return Ok(());
    }
    let pair = args.cert.is_some() || given(["clientCertFile", "clientCertData"]);
    let has_ca = ca(args).is_some() || given(["caFile", "caData"]);
    match (has_ca, pair) {
        (true, false) if ca(args).is_some() => Err(TargetError::OnlyCa.into_failure()),
        (false, true) if args.cert.is_some() => Err(TargetError::NoCa.into_failure()),
        _ => Ok(()),
    }
}

fn location(
    args: &ConnectionArgs,
    credentials: Option<&BrokerCredentials>,
) -> Result<Location, Failure> {
    if let Some(directory) = &args.identity {
        return Ok(Location::Directory(directory.clone()));
    }
    let credentials = credentials.ok_or_else(|| TargetError::NoIdentity.into_failure())?;
    // A flag names a file, whatever data the configuration has for the same thing.
    let path = |flag: Option<&PathBuf>, key, material: &Material| match (flag, material) {
        (Some(path), _) | (None, Material::File(path)) => Ok(path.clone()),
        (None, Material::Pem(_)) => Err(TargetError::Data { key }.into_failure()),
    };
    Ok(Location::Files {
        certificate: path(
            args.cert.as_ref(),
            "clientCertData",
            &credentials.certificate,
        )?,
        key: path(args.key.as_ref(), "clientKeyData", &credentials.key)?,
        ca: path(ca(args), "caData", &credentials.ca)?,
    })
}

fn ca(args: &ConnectionArgs) -> Option<&PathBuf> {
    args.cafile.as_ref().or(args.capath.as_ref())
}

fn tls_options(args: &ConnectionArgs, port: u16) -> tls::TlsOptions {
    let mut options = tls::TlsOptions::for_port(port);
    if let Some(alpn) = &args.tls_alpn {
        options.alpn = Some(alpn.clone());
    }
    if args.tls_version == Some(TlsVersion::Tls13) {
        options.min_version = tls::MinVersion::Tls13;
    }
    options
}

fn client_id(args: &ConnectionArgs) -> Result<ClientId, TargetError> {
    let of = |option| move |source| TargetError::ClientId { option, source };
    match (&args.id, &args.id_prefix) {
        (Some(id), _) => ClientId::new(id.clone()).map_err(of("-i")),
        (None, Some(prefix)) => {
            ClientId::new(format!("{prefix}{}", std::process::id())).map_err(of("-I"))
        }
        (None, None) => own_client_id().map_err(of("-i")),
    }
}

// Fits the policy of `Party::operator` named `probe`: `client/probe-*`.
fn own_client_id() -> Result<ClientId, InvalidName> {
    let random = uuid::Uuid::new_v4().simple().to_string();
    ClientId::new(format!("probe-{}", &random[..8]))
}

/// How resource names begin at an endpoint; words in capitals stand for what the host name does not tell.
pub fn arn_of(host: &str) -> ArnPrefix {
    let labels: Vec<&str> = host.trim_end_matches('.').split('.').collect();
    let after_iot = labels
        .iter()
        .position(|label| *label == "iot")
        .and_then(|at| labels.get(at + 1));
    let region = match after_iot {
        Some(region) if labels.contains(&"amazonaws") => *region,
        _ => "REGION",
    };
    let partition = match region {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    };
    ArnPrefix {
        partition: partition.into(),
        region: region.into(),
        account: "ACCOUNT".into(),
    }
}

fn address(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

const DEFAULT_PORT: u16 = 8883;

#[cfg(test)]
mod tests;
