//! Makes a cluster ready for an agent on a laptop or in a test; in production a chart does it.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::runtime::conditions::is_crd_established;
use kube::runtime::wait::await_condition;
use kube::{Api, Client};
use link::error::{ExitKind, Failure};
use link::supervise::Restarts;
use prometheus::Registry;
use serde_json::json;

use super::{ClusterOptions, error_message, hint};
use crate::crd;
use crate::health::Health;

/// Installs the definitions, or brings them up to date, and makes the namespace where it is missing.
///
/// # Errors
/// When the cluster cannot be reached or does not allow it.
pub async fn prepare(options: ClusterOptions) -> Result<(), Failure> {
    let cluster = options
        .connect(
            &Registry::new(),
            &Restarts::unregistered(),
            Health::ignored(),
        )
        .await?;
    let prepared = tokio::time::timeout(
        PATIENCE,
        install(cluster.client.clone(), &cluster.namespace),
    );
    match prepared.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            let failure = Failure::new(ExitKind::Failed, PrepareError(error_message(&error)));
            Err(match hint(&error) {
                Some(hint) => failure.with_hint(hint),
                None => failure,
            })
        }
        Err(_) => Err(Failure::new(
            ExitKind::Failed,
            PrepareError("no answer within 30 s".into()),
        )),
    }
}

/// The cluster could not be prepared.
#[derive(Debug, thiserror::Error)]
#[error("prepare the cluster: {0}")]
struct PrepareError(String);

async fn install(client: Client, namespace: &str) -> Result<(), kube::Error> {
    let params = PatchParams::apply(PREPARED_BY).force();
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in crd::definitions() {
        let name = definition.metadata.name.clone().unwrap_or_default();
        definitions
            .patch(&name, &params, &Patch::Apply(&definition))
            .await?;
        // A watch that ends early is no harm: whoever uses the kind waits for it too.
        drop(await_condition(definitions.clone(), &name, is_crd_established()).await);
    }
    let namespaces: Api<Namespace> = Api::all(client);
    let manifest =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    namespaces
        .patch(namespace, &params, &Patch::Apply(&manifest))
        .await?;
    Ok(())
}

/// The field manager of what is brought here.
pub(super) const PREPARED_BY: &str = "agent";

// A healthy cluster takes a second or two.
const PATIENCE: Duration = Duration::from_secs(30);
