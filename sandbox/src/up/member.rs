//! What a provisioner does for each party: a certificate, its policy, and the mounted directory with both named in it.

use std::net::SocketAddr;
use std::path::Path;

use link::error::Hint;
use link::id::{ConsumerName, InvalidName};
use link::iot::ArnPrefix;
use link::party::Party;

use crate::broker::{Registry, RegistryError};
use crate::pki::{Authority, Layout, PkiError, WriteMountError, write_mount};

/// Provisions the parties of one region.
pub(super) struct Provisioner<'a> {
    pub(super) authority: &'a Authority,
    pub(super) registry: &'a Registry,
    pub(super) broker: SocketAddr,
}

/// A party could not be provisioned.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// A name breaks the rules of names.
    #[error("name the parties")]
    Name(#[source] InvalidName),
    /// A party cannot be named.
    #[error("give out client ids and topics")]
    Party(#[source] link::party::PartyError),
    /// No certificate.
    #[error("issue the certificate of `{name}`")]
    Certificate {
        /// The party.
        name: String,
        /// Why.
        #[source]
        source: PkiError,
    },
    /// The mounted directory cannot be written.
    #[error("lay down the identity of `{name}`")]
    LayDown {
        /// The party.
        name: String,
        /// Why.
        #[source]
        source: WriteMountError,
    },
    /// The broker's registry refuses the certificate or the policy.
    #[error("register the certificate of `{name}`")]
    Register {
        /// The party.
        name: String,
        /// Why.
        #[source]
        source: RegistryError,
    },
}

// === impl Provisioner ===

impl Provisioner<'_> {
    /// Issues, or finds again, the certificate of a party, registers it with the party's policy and lays it down with
    /// `config.yaml` and, for an agent, `consumerName` (docs/CONFIGURATION.md#mounted-files).
    pub(super) fn provision(
        &self,
        name: &str,
        party: &Party,
        mount: &Path,
        consumer: Option<&ConsumerName>,
    ) -> Result<(), MemberError> {
        let issued = self.authority.client_in(mount, name);
        let set = issued.map_err(|source| MemberError::Certificate {
            name: name.to_owned(),
            source,
        })?;
        let registered = self
            .registry
            .put_policy(name, party.policy(&ArnPrefix::default()))
            .and_then(|()| self.registry.register_pem(&set.certificate, &[name]));
        registered.map_err(|source| MemberError::Register {
            name: name.to_owned(),
            source,
        })?;
        // By address: `localhost` may also be `::1`, where another broker may listen.
        let config = format!("brokerHost: {}\n", self.broker);
        let mut files = vec![("config.yaml", config.as_str())];
        files.extend(consumer.map(|name| ("consumerName", name.as_str())));
        write_mount(mount, &set, &files, Layout::PerFileRename).map_err(|source| {
            MemberError::LayDown {
                name: name.to_owned(),
                source,
            }
        })
    }
}

// === impl MemberError ===

impl Hint for MemberError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Name(_) | Self::Certificate { .. } => None,
            Self::Party(source) => source.hint(),
            Self::LayDown { source, .. } => source.hint(),
            Self::Register { source, .. } => source.hint(),
        }
    }
}
