//! `provisioner outputs`. Reads names and addresses only, never a certificate or a key.

use link::error::Failure;
use link::id::ConsumerName;
use serde_json::json;

use super::{print, print_json};
use crate::args::{OutputFormat, OutputsArgs, Place};
use crate::context::{self, Context, UnknownCluster};
use crate::converge::StoppedError;
use crate::outputs::{Found, Terraform, argocd, helm, secret_provider_class};
use crate::region::{ManagementCluster, Region};
use crate::survey::Survey;

pub(crate) async fn run(place: &Place, args: &OutputsArgs) -> Result<(), Failure> {
    if args.format == OutputFormat::Json {
        return terraform(place).await;
    }
    // These follow from the file alone.
    let region = context::read(place)?;
    let cluster = args.cluster.as_ref();
    let cluster = cluster.map(|id| find(&region, id)).transpose()?;
    match args.format {
        OutputFormat::Json => Ok(()),
        OutputFormat::Helm => print(&match cluster {
            None => helm::yaml(&helm::Server::new(&region)),
            Some(cluster) => helm::yaml(&helm::Agent::new(&region, cluster)),
        }),
        OutputFormat::ArgoCd => {
            let parameters = match cluster {
                None => argocd::parameters(&helm::Server::new(&region)),
                Some(cluster) => argocd::parameters(&helm::Agent::new(&region, cluster)),
            };
            print_json(&json!({ "parameters": parameters }))
        }
        OutputFormat::ArgoCdApplication => print(&match cluster {
            None => helm::yaml(&argocd::application(
                "server-bridge",
                &region.server.workload.namespace,
                &helm::Server::new(&region),
            )),
            Some(cluster) => helm::yaml(&argocd::application(
                "agent",
                &region.agent.namespace,
                &helm::Agent::new(&region, cluster),
            )),
        }),
        OutputFormat::SecretProviderClass => print(&match cluster {
            None => secret_provider_class::server(&region),
            Some(cluster) => secret_provider_class::agent(&region, cluster),
        }),
    }
}

async fn terraform(place: &Place) -> Result<(), Failure> {
    let context = Context::open(place).await?;
    let resources = context.resources();
    let survey = Survey::of(&context.cloud, &resources)
        .await
        .map_err(|error| StoppedError::look(error).into_failure())?;
    let mut found = Found {
        endpoint: survey.facts.endpoint.clone(),
        ..Found::default()
    };
    for (resource, observed) in resources.iter().zip(&survey.observations) {
        if let Ok(Some(observed)) = observed {
            found.learn(&resource.address(), observed);
        }
    }
    print(&Terraform::new(&context.region, &found).to_json())
}

fn find<'a>(region: &'a Region, id: &ConsumerName) -> Result<&'a ManagementCluster, Failure> {
    let found = region.cluster(id.as_str());
    found.ok_or_else(|| Failure::misuse(UnknownCluster(id.to_string())))
}
