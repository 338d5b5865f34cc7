//! Authentication and authorisation of callers: one mechanism for REST and gRPC.
//!
//! [`CallersConfig`] (from flags, `args/callers.rs`) is built into an [`Access`], which both ask, the TLS of both, and a
//! [`CallersWatcher`] that reloads the files and keys behind them. A caller is known by a client certificate of an own CA, by a
//! token of an issuer whose keys are known, or by a token that a Kubernetes API reviews; what it may do is in a file, or
//! asked of a Kubernetes API. Without any of it nobody is asked, which `args` allows on loopback alone.
//!
//! **Contract:** each call is authenticated and allowed by itself, also on a connection that is old; a stream that was
//! allowed is not cut when its token expires, because Go clients read their token once (docs/GRPC.md §4); it is when its
//! certificate is refused.
//! **Invariant:** what is not allowed is refused. A rule, a key or a review that cannot be had refuses too, and says so as
//! [`Denied::Unavailable`].
//! **Invariant:** no text, log line or `Debug` holds a token or a key.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::{HeaderMap, header};
use link::http::ClientChain;
use link::id::ConsumerName;
use rustls_pki_types::CertificateDer;

use crate::store::SourceName;

mod accept;
mod cache;
mod certificate;
mod config;
mod control;
mod files;
mod metrics;
mod review;
mod review_limiter;
mod rules;
mod tls;
mod token;
mod watcher;

pub use accept::{Accepted, incoming};
pub use config::{Authorization, Callers, CallersConfig};
use control::AccessControl;
pub use link::http::{ActiveCall, ConnectionPermit, HealthCall, PermitsExhausted, ServerTls};
pub use review::Cluster;
pub use tls::CertificateFiles;
pub use token::{IssuerConfig, KeySource};
pub use watcher::CallersWatcher;

/// What REST and gRPC ask about a call. Clones share everything.
#[derive(Clone)]
pub struct Access(Arc<Inner>);

/// The other end of a connection.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Its address, which may be a proxy's.
    pub address: SocketAddr,
    /// The client certificate that the handshake verified.
    pub certificate: Option<CertificateDer<'static>>,
    /// What the client sent between its certificate and the CA.
    pub intermediates: Vec<CertificateDer<'static>>,
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its name.
    pub user: String,
    /// Its groups.
    pub groups: Vec<String>,
    /// Where the connection comes from.
    pub from: SocketAddr,
    /// How it is known.
    pub by: Mechanism,
}

/// How a caller is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// It is not: nobody is asked.
    Open,
    /// By its client certificate.
    Certificate,
    /// By a token whose signature was checked here.
    Token,
    /// By a token that a Kubernetes API reviewed.
    Review,
}

/// What a caller wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Read one object.
    Get,
    /// Read many.
    List,
    /// Make one by REST.
    Create,
    /// Change one by REST.
    Update,
    /// Delete one by REST.
    Delete,
    /// Make, change or delete bundles by gRPC.
    Publish,
    /// Hear statuses by gRPC.
    Subscribe,
}

/// One thing that somebody wants to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// What.
    pub verb: Verb,
    /// Whose bundle; `None` for what belongs to no source, such as a consumer.
    pub source: Option<SourceName>,
    /// For which cluster; `None` for what concerns none or all.
    pub consumer: Option<ConsumerName>,
}

/// What a caller sees of a list or a stream: the union of its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Each of them suffices.
    pub parts: Vec<Part>,
}

/// Bundles of these sources for these consumers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// `None`: of every source.
    pub sources: Option<BTreeSet<SourceName>>,
    /// `None`: for every consumer.
    pub consumers: Option<BTreeSet<ConsumerName>>,
}

/// Why a call is refused, in words for people, without secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It is not known who calls.
    #[error("{0}")]
    Unauthenticated(String),
    /// It is known, and may not.
    #[error("{0}")]
    Forbidden(String),
    /// Nobody can tell now.
    #[error("{0}")]
    Unavailable(String),
}

#[derive(Debug)]
enum Inner {
    Open,
    AccessControl(Box<AccessControl>),
}

/// The one header (or metadata) `authorization`; of two nobody knows which counts.
///
/// # Errors
/// It is there twice, or is no text.
pub fn authorization(headers: &HeaderMap) -> Result<Option<&str>, Denied> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    match (given.next(), given.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value
            .to_str()
            .map(Some)
            .map_err(|_| Denied::Unauthenticated("header `Authorization` is unreadable".into())),
        (Some(_), Some(_)) => Err(Denied::Unauthenticated(
            "header `Authorization` is there twice".into(),
        )),
    }
}

// === impl Access ===

impl Access {
    /// Nobody is asked: loopback, and tests.
    pub fn open() -> Self {
        Self(Arc::new(Inner::Open))
    }

    /// Who calls. `authorization` is the header (the metadata) of that name, if there is one.
    ///
    /// # Errors
    /// Which mechanism was tried and what was wrong with it.
    pub async fn authenticate(
        &self,
        connection: &Connection,
        authorization: Option<&str>,
    ) -> Result<Caller, Denied> {
        match &*self.0 {
            Inner::Open => Ok(Caller::unknown(connection.address)),
            Inner::AccessControl(control) => control.authenticate(connection, authorization).await,
        }
    }

    /// Whether the caller may do this.
    ///
    /// # Errors
    /// [`Denied::Forbidden`] names who, what and whose.
    pub async fn allow(&self, caller: &Caller, action: &Action) -> Result<(), Denied> {
        match &*self.0 {
            Inner::Open => Ok(()),
            Inner::AccessControl(control) => control.allow(caller, action).await,
        }
    }

    /// What the caller sees of a list or a stream: what it may not see is left out, not refused.
    ///
    /// # Errors
    /// [`Denied::Forbidden`] when the verb is allowed for nothing at all.
    pub async fn scope(&self, caller: &Caller, verb: Verb) -> Result<Scope, Denied> {
        match &*self.0 {
            Inner::Open => Ok(Scope::all()),
            Inner::AccessControl(control) => control.scope(caller, verb),
        }
    }

    /// Whether the caller may remove a consumer with all bundles for it, whoever's they are, where it may remove consumers.
    ///
    /// # Errors
    /// As [`Access::allow`].
    pub async fn allow_removal(&self, caller: &Caller) -> Result<(), Denied> {
        match &*self.0 {
            Inner::Open => Ok(()),
            Inner::AccessControl(control) => control.allow_removal(caller).await,
        }
    }

    /// Whether the caller may send a REST request with this method and path at all, before anybody looks at what it is for.
    ///
    /// # Errors
    /// As [`Access::allow`].
    pub async fn allow_request(
        &self,
        caller: &Caller,
        method: &str,
        path: &str,
    ) -> Result<(), Denied> {
        match &*self.0 {
            Inner::Open => Ok(()),
            Inner::AccessControl(control) => control.allow_request(caller, method, path).await,
        }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Access")
    }
}

// === impl Connection ===

impl Connection {
    /// One without a client certificate.
    pub fn plain(address: SocketAddr) -> Self {
        Self {
            address,
            certificate: None,
            intermediates: Vec::new(),
        }
    }

    /// One whose client showed this chain, if any.
    pub fn new(address: SocketAddr, chain: Option<&ClientChain>) -> Self {
        match chain.and_then(|ClientChain(chain)| chain.split_first()) {
            None => Self::plain(address),
            Some((leaf, rest)) => Self {
                address,
                certificate: Some(leaf.clone()),
                intermediates: rest.to_vec(),
            },
        }
    }
}

// === impl Caller ===

impl Caller {
    /// Somebody who was not asked.
    pub fn unknown(from: SocketAddr) -> Self {
        Self {
            user: "anonymous".into(),
            groups: Vec::new(),
            from,
            by: Mechanism::Open,
        }
    }
}

// === impl Mechanism ===

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "none",
            Self::Certificate => "certificate",
            Self::Token => "token",
            Self::Review => "token review",
        })
    }
}

// === impl Verb ===

impl Verb {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Get,
        Self::List,
        Self::Create,
        Self::Update,
        Self::Delete,
        Self::Publish,
        Self::Subscribe,
    ];

    /// As rules and log lines write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
        }
    }

    /// Whether it leaves everything as it is.
    pub const fn reads(self) -> bool {
        matches!(self, Self::Get | Self::List | Self::Subscribe)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Scope ===

impl Scope {
    /// Everything.
    pub fn all() -> Self {
        Self {
            parts: vec![Part::default()],
        }
    }

    /// Whether nothing is left out.
    pub fn is_all(&self) -> bool {
        self.parts
            .iter()
            .any(|part| part.sources.is_none() && part.consumers.is_none())
    }

    /// Whether it leaves no source out at any consumer it has: what is counted of all sources may be shown.
    pub fn has_every_source(&self) -> bool {
        self.is_all() || self.parts.iter().all(|part| part.sources.is_none())
    }

    /// Whether a bundle of this source for this consumer is within it.
    pub fn permits(&self, source: &SourceName, consumer: &ConsumerName) -> bool {
        self.parts
            .iter()
            .any(|part| part.has_source(source) && part.has_consumer(consumer))
    }

    /// Whether a consumer is within it, whoever's bundles it may see there.
    pub fn permits_consumer(&self, consumer: &ConsumerName) -> bool {
        self.parts.iter().any(|part| part.has_consumer(consumer))
    }
}

// === impl Part ===

impl Part {
    fn has_source(&self, source: &SourceName) -> bool {
        self.sources
            .as_ref()
            .is_none_or(|names| names.contains(source))
    }

    fn has_consumer(&self, consumer: &ConsumerName) -> bool {
        self.consumers
            .as_ref()
            .is_none_or(|names| names.contains(consumer))
    }
}
