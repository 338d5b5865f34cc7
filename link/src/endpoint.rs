//! Where a party connects and with which certificate: config file, environment, flags and the mounted directory put
//! together, all problems reported at once.

use std::path::Path;

use crate::config::{self, Broker, BrokerFlags, ConfigProblems, Env, Layers, Mount, Rates};
use crate::error::{Failure, Hint};
use crate::id::{ClientId, ConsumerName};
use crate::identity::Location;
use crate::iot::limits::ConnectionLimits;
use crate::mqtt;
use crate::topic::{Scheme, SchemeError, Topics};

mod links;

pub use links::{Links, Runner, SessionSpec};

/// Where to connect and as whom.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The broker and how to connect to it.
    pub broker: Broker,
    /// The topics of the deployment.
    pub scheme: Scheme,
    /// Where certificate, key and CA are.
    pub identity: Location,
    /// The consumer that the mounted directory names, if it does.
    pub consumer: Option<ConsumerName>,
}

/// Where the pieces of an [`Endpoint`] come from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sources<'a> {
    /// The directory that the CSI driver mounts.
    pub mount: Option<&'a Path>,
    /// A config file; wins over the one in the mount.
    pub file: Option<&'a Path>,
    /// Flags; win over everything.
    pub flags: Option<&'a BrokerFlags>,
}

/// Why there is no endpoint, beyond what the configuration itself reports.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The topics make no scheme.
    #[error("read the topics of the configuration")]
    Topics(#[source] SchemeError),
    /// No certificate is named anywhere.
    #[error("no client certificate is configured")]
    NoIdentity,
    /// Certificates as data cannot be watched.
    #[error("certificate, key or CA are given as data in the configuration")]
    IdentityAsData,
}

// === impl Endpoint ===

impl Endpoint {
    /// Puts the sources together: defaults < config file < environment < flags.
    ///
    /// # Errors
    /// Everything that is wrong, at once; exit code 2.
    pub fn resolve(sources: Sources<'_>, env: &dyn Env) -> Result<Self, Failure> {
        let mount = sources
            .mount
            .map(config::from_mount)
            .transpose()
            .map_err(ConfigProblems::into_failure)?;
        let mut layers = Layers::new(Broker::KEYS);
        if let Some(file) = sources.file.or_else(|| mount.as_ref()?.config.as_deref()) {
            layers.file(file);
        }
        layers.env(env);
        if let Some(flags) = sources.flags {
            flags.apply(&mut layers);
        }
        let broker = Broker::read(&mut layers);
        let broker = layers
            .finish(broker)
            .map_err(ConfigProblems::into_failure)?;
        Self::assemble(broker, mount.as_ref()).map_err(Failure::misuse)
    }

    fn assemble(broker: Broker, mount: Option<&Mount>) -> Result<Self, EndpointError> {
        let scheme = match &broker.topics {
            None => Scheme::default(),
            Some(topics) => Scheme::parse(&Topics {
                source_events: topics.source_events.clone(),
                agent_events: topics.agent_events.clone(),
                source_broadcast: topics.source_broadcast.clone(),
                agent_broadcast: topics.agent_broadcast.clone(),
            })
            .map_err(EndpointError::Topics)?,
        };
        let identity = match (&broker.credentials, mount) {
            (Some(credentials), _) => {
                let [certificate, key, ca] =
                    credentials.files().ok_or(EndpointError::IdentityAsData)?;
                Location::Files {
                    certificate: certificate.into(),
                    key: key.into(),
                    ca: ca.into(),
                }
            }
            (None, Some(mount)) if mount.has_identity => {
                Location::Directory(mount.directory.clone())
            }
            (None, _) => return Err(EndpointError::NoIdentity),
        };
        Ok(Self {
            broker,
            scheme,
            identity,
            consumer: mount.and_then(|mount| mount.consumer.clone()),
        })
    }

    /// The session of one connection to this endpoint.
    pub fn session(&self, client_id: ClientId) -> mqtt::Config {
        mqtt::Config {
            keep_alive: self.broker.keep_alive,
            connect_timeout: self.broker.dial_timeout,
            limits: match self.broker.rates {
                Rates::IotCore => ConnectionLimits::IOT_CORE,
                Rates::Unlimited => ConnectionLimits::without_rates(),
            },
            ..mqtt::Config::new(&self.broker.host, self.broker.port, client_id)
        }
    }
}

// === impl EndpointError ===

impl Hint for EndpointError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Topics(source) => return source.hint(),
            Self::NoIdentity => {
                "name `clientCertFile`, `clientKeyFile` and `caFile` in the config file, or mount a directory that holds `certificate`, `privateKey` and `ca.crt`".into()
            }
            Self::IdentityAsData => {
                "write them to files and name those: only files can be replaced while the process runs".into()
            }
        })
    }
}
