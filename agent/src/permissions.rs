//! `agent permissions`: the smallest role for the works that the cluster holds now, as YAML to read and to apply.
//!
//! It reads the ManifestWorks of a consumer page by page, keeps only which kinds they need in which way (`needs`), and
//! writes what follows from that (`role`). It changes nothing.

use std::collections::BTreeMap;
use std::io::{self, Write};

use kube::api::ListParams;
use kube::core::GroupVersionKind;
use kube::discovery::pinned_kind;
use kube::error::DiscoveryError;
use kube::{Api, Client};
use link::bundle::manifest::ObjectRef;
use link::bundle::{ServiceAccount, Spec};
use link::error::{Failure, Hint};
use link::id::ConsumerName;
use link::supervise::Restarts;
use prometheus::Registry;

use crate::cluster::definitions::served;
use crate::cluster::{self, ClusterOptions};
use crate::crd::{self, ManifestWork};
use crate::health::Health;

use self::needs::Needs;
use self::role::Subject;

mod needs;
mod role;

/// Whose works count, and who is to have the role.
#[derive(Clone, Debug)]
pub struct PermissionsOptions {
    /// The cluster and the namespace of the works.
    pub cluster: ClusterOptions,
    /// Whose works.
    pub consumer: ConsumerName,
    /// Service account to bind the role to, as `NAMESPACE/NAME`; `None` prints no bindings.
    pub service_account: Option<String>,
}

/// Why no role could be printed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("`{0}` is no service account")]
    Account(String),
    #[error("{operation}: {}", cluster::error_message(.source))]
    Api {
        operation: &'static str,
        source: kube::Error,
    },
    #[error("write the role")]
    Write(#[source] io::Error),
}

/// A kind by group, version and name.
type Kind = (String, String, String);

/// The plural of every kind that was asked for; `None` for kinds the cluster does not have.
type Plurals = BTreeMap<Kind, Option<String>>;

// === impl PermissionsOptions ===

impl PermissionsOptions {
    /// Reads the works and prints the role.
    ///
    /// # Errors
    /// When the service account is none, or the cluster cannot be read.
    pub async fn run(self, out: &mut impl Write) -> Result<(), Failure> {
        let account = self.service_account.as_deref().map(account).transpose()?;
        let cluster = self
            .cluster
            .connect(
                &Registry::new(),
                &Restarts::unregistered(),
                Health::ignored(),
            )
            .await?;
        let needs = read(&cluster.client, &cluster.namespace, &self.consumer).await?;
        let subject = Subject {
            consumer: self.consumer.as_str(),
            namespace: &cluster.namespace,
            account: account.as_ref(),
        };
        role::write(out, &subject, &needs).map_err(Error::Write)?;
        Ok(())
    }
}

fn account(text: &str) -> Result<ServiceAccount, Failure> {
    match text.split_once('/') {
        Some((namespace, name))
            if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
        {
            Ok(ServiceAccount {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            })
        }
        _ => Err(Failure::misuse(Error::Account(text.to_owned()))),
    }
}

async fn read(client: &Client, namespace: &str, consumer: &ConsumerName) -> Result<Needs, Error> {
    let works: Api<ManifestWork> = Api::namespaced(client.clone(), namespace);
    let selector = format!("{}={consumer}", crd::CONSUMER);
    let mut params = ListParams::default().labels(&selector).limit(PAGE);
    let mut plurals = Plurals::new();
    let mut needs = Needs::default();
    loop {
        let page = served(client, || works.list(&params))
            .await
            .map_err(refused("list ManifestWorks"))?;
        for work in page.items {
            let name = work.metadata.name.unwrap_or_default();
            match work.spec.bundle() {
                Ok(spec) => {
                    learn(client, &spec, &mut plurals).await?;
                    needs.add(&name, spec, |object| {
                        plurals.get(&kind(object)).cloned().flatten()
                    });
                }
                Err(error) => needs.unread(&name, &error.to_string()),
            }
        }
        match page.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => params.continue_token = Some(next),
            None => return Ok(needs),
        }
    }
}

/// Asks the cluster for the kinds of a work that were not asked for before.
async fn learn(client: &Client, spec: &Spec, plurals: &mut Plurals) -> Result<(), Error> {
    for manifest in &spec.manifests {
        let kind = kind(&ObjectRef::of(manifest));
        if plurals.contains_key(&kind) {
            continue;
        }
        let (group, version, name) = &kind;
        let plural = match pinned_kind(client, &GroupVersionKind::gvk(group, version, name)).await {
            Ok((resource, _)) => Some(resource.plural),
            Err(kube::Error::Discovery(
                DiscoveryError::MissingKind(_)
                | DiscoveryError::MissingResource(_)
                | DiscoveryError::InvalidGroupVersion(_),
            )) => None,
            Err(kube::Error::Api(status)) if status.is_not_found() => None,
            // A manifest may say anything; what makes no path is no kind of a cluster.
            Err(kube::Error::HttpError(_)) => None,
            Err(source) => return Err(refused("read the kinds of the cluster")(source)),
        };
        plurals.insert(kind, plural);
    }
    Ok(())
}

fn kind(object: &ObjectRef) -> Kind {
    let ObjectRef {
        group,
        version,
        kind,
        ..
    } = object;
    (group.clone(), version.clone(), kind.clone())
}

fn refused(operation: &'static str) -> impl FnOnce(kube::Error) -> Error {
    move |source| Error::Api { operation, source }
}

// === impl Error ===

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Account(_) => Some("write it as `NAMESPACE/NAME`".into()),
            Self::Api {
                source: kube::Error::Api(status),
                ..
            } if status.is_not_found() => {
                Some("run `agent crds | kubectl apply -f -` first, and check `--namespace`".into())
            }
            Self::Api {
                source: kube::Error::Api(status),
                ..
            } if status.is_forbidden() => {
                Some("run it as somebody who may list ManifestWorks in the namespace".into())
            }
            Self::Api { source, .. } => cluster::hint(source),
            Self::Write(_) => None,
        }
    }
}

// A ManifestWork may have a megabyte.
const PAGE: u32 = 50;
