//! `provisioner outputs`. Reads names and addresses only, never a certificate or a key.

use link::error::{Failure, Hint};

use super::print;
use crate::args::{GlobalArgs, OutputFormat, OutputsArgs};
use crate::context::{self, Context, find_cluster};
use crate::converge::StoppedError;
use crate::outputs::{LiveValues, TerraformOutputs, argocd, helm, secret_provider_class, sql};
use crate::snapshot::Snapshot;

pub(crate) async fn run(global: &GlobalArgs, args: &OutputsArgs) -> Result<(), Failure> {
    let region = context::read(global)?;
    let cluster = args.cluster.as_ref();
    let cluster = cluster
        .map(|id| find_cluster(&region, id.as_str()))
        .transpose()?;
    // All but the first follow from the file alone.
    match args.format {
        OutputFormat::Json if cluster.is_some() => Err(Failure::misuse(WholeRegionError)),
        OutputFormat::Json => terraform(global).await,
        OutputFormat::Helm => print(&match cluster {
            None => helm::yaml(&helm::ServerValues::new(&region)),
            Some(cluster) => helm::yaml(&helm::AgentValues::new(&region, cluster)),
        }),
        OutputFormat::ArgoCd => print(&helm::yaml(&argocd::application(&region, cluster))),
        OutputFormat::ArgoCdCluster => print(&helm::yaml(&argocd::cluster(&region, cluster))),
        OutputFormat::ArgoCdValues => print(&helm::yaml(&argocd::values(&region, cluster))),
        OutputFormat::SecretProviderClass => print(&match cluster {
            None => secret_provider_class::server(&region),
            Some(cluster) => secret_provider_class::agent(&region, cluster),
        }),
        OutputFormat::Sql => match sql::iam_user(&region) {
            Some(sql) if cluster.is_none() => print(&sql),
            _ => Err(Failure::misuse(NoUserError)),
        },
    }
}

/// There is nobody to make.
#[derive(Debug, thiserror::Error)]
#[error(
    "only a region's server has a user in the database, and only with `database.iamAuth: true`"
)]
struct NoUserError;

/// The outputs are those of the whole region.
#[derive(Debug, thiserror::Error)]
#[error("`--format json` prints the outputs of the whole region, of every management cluster")]
struct WholeRegionError;

async fn terraform(global: &GlobalArgs) -> Result<(), Failure> {
    let context = Context::open(global).await?;
    let resources = context.resources();
    let snapshot = Snapshot::take(&context.cloud, &resources)
        .await
        .map_err(|error| StoppedError::observe(error).into_failure())?;
    let mut found = LiveValues {
        endpoint: snapshot.facts.endpoint.clone(),
        ..LiveValues::default()
    };
    for (resource, observed) in resources.iter().zip(&snapshot.observations) {
        if let Ok(Some(observed)) = observed {
            found.learn(&resource.address(), observed);
        }
    }
    print(&TerraformOutputs::new(&context.region, &found).to_json())
}

// === impl NoUserError ===

impl Hint for NoUserError {
    fn hint(&self) -> Option<String> {
        Some("leave `--cluster` out, and write `iamAuth: true` below `database` if the server is to sign in by IAM".into())
    }
}

// === impl WholeRegionError ===

impl Hint for WholeRegionError {
    fn hint(&self) -> Option<String> {
        Some("leave `--cluster` out, or name another `--format`".into())
    }
}
