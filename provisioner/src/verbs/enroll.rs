//! `provisioner enroll`: all three steps, or one of them with the credentials of one account.

use std::io;
use std::path::{Path, PathBuf};

use link::clock::Clock;
use link::error::{Failure, Hint};
use link::id::ConsumerName;
use region_file::{ManagementCluster, input};

use crate::args::{EnrollArgs, EnrollStep, GlobalArgs};
use crate::context::{Context, cluster_name, find_cluster};
use crate::converge::{StoppedError, converge};
use crate::enroll::{self, EnrollOptions, Requested};
use crate::identity::{EnrollmentRequest, IdentitySpec, SignedEnrollment};
use crate::plan::PlanTable;
use crate::progress::{Progress as _, ProgressLines};
use crate::resource::Resource;
use crate::scope::Scope;
use crate::snapshot::Snapshot;
use crate::{desired, preflight};

use super::print;

/// A document could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{operation} `{path}`")]
struct DocumentFileError {
    operation: &'static str,
    path: String,
    #[source]
    source: io::Error,
}

pub(crate) async fn run(global: &GlobalArgs, args: &EnrollArgs) -> Result<(), Failure> {
    let options = EnrollOptions {
        renew: args.renew,
        new_key: args.new_key,
    };
    match (&args.step, &args.cluster) {
        (
            Some(EnrollStep::Request {
                cluster,
                out,
                renew,
                new_key,
            }),
            _,
        ) => {
            let options = EnrollOptions {
                renew: *renew,
                new_key: *new_key,
            };
            Box::pin(request(global, cluster, out.as_deref(), options)).await
        }
        (Some(EnrollStep::Sign { request, out }), _) => {
            Box::pin(sign(global, request, out.as_deref())).await
        }
        (Some(EnrollStep::Complete { signed }), _) => Box::pin(complete(global, signed)).await,
        (None, Some(cluster)) => Box::pin(all(global, cluster, options)).await,
        // clap asks for one of them.
        (None, None) => Ok(()),
    }
}

/// The region's half first (thing, policy), then the identity, then what the agent reads.
async fn all(
    global: &GlobalArgs,
    cluster: &ConsumerName,
    options: EnrollOptions,
) -> Result<(), Failure> {
    if *cluster.as_str() == *Scope::Region.party() {
        return Box::pin(server(global, options)).await;
    }
    let scopes = [Scope::Region, Scope::Cluster(cluster.clone())];
    let context = Context::open(&only(global, &scopes)).await?;
    let (cluster, party) = party(&context, cluster.as_str())?;
    settle(&context, desired::agent_party(&context.region, cluster)).await?;
    let enrolled = Box::pin(enroll::all(
        &context.cloud,
        &party,
        options,
        &Clock::system(),
        &|line| ProgressLines::default().note(line),
    ))
    .await
    .map_err(failed)?;
    settle(
        &context,
        vec![desired::agent_config(&context.region, cluster)],
    )
    .await?;
    let (id, certificate) = (&cluster.id, &enrolled.certificate);
    print(&match enrolled.new {
        true => format!("`{id}` is enrolled with certificate `{certificate}`"),
        false => format!("`{id}` is enrolled already, with certificate `{certificate}`"),
    })
}

/// The server's key is kept in the region's account, so there is nothing to carry.
async fn server(global: &GlobalArgs, options: EnrollOptions) -> Result<(), Failure> {
    let context = Context::open(&only(global, &[Scope::Region])).await?;
    let party = desired::server_identity(&context.region);
    let note = |line: &str| ProgressLines::default().note(line);
    let clock = Clock::system();
    let enrolled = enroll::all(&context.cloud, &party, options, &clock, &note);
    let enrolled = Box::pin(enrolled).await.map_err(failed)?;
    print(&format!(
        "the server has certificate `{}`",
        enrolled.certificate
    ))
}

async fn request(
    global: &GlobalArgs,
    cluster: &ConsumerName,
    out: Option<&Path>,
    options: EnrollOptions,
) -> Result<(), Failure> {
    let context = Context::open(&only(global, &[Scope::Cluster(cluster.clone())])).await?;
    let (_, party) = party(&context, cluster.as_str())?;
    let clock = Clock::system();
    let requested = enroll::request(&context.cloud, &party, options, &clock);
    match requested.await.map_err(failed)? {
        Requested::Complete { certificate } => print(&format!(
            "`{cluster}` is enrolled already, with certificate `{}`; nothing was written",
            certificate.unwrap_or_default()
        )),
        Requested::Request(request) => write(
            out,
            &request.to_json(),
            "give it to the region's operator, who runs `provisioner enroll sign`",
        ),
    }
}

async fn sign(global: &GlobalArgs, request: &Path, out: Option<&Path>) -> Result<(), Failure> {
    let request = EnrollmentRequest::parse(&read(request)?).map_err(Failure::misuse)?;
    let context = Context::open(&only(global, &[Scope::Region])).await?;
    let (cluster, party) = party(&context, &request.party)?;
    settle(&context, desired::agent_party(&context.region, cluster)).await?;
    let signed = enroll::sign(&context.cloud, &party, &request, &cluster.account);
    let signed = signed.await.map_err(failed)?;
    write(
        out,
        &signed.to_json(),
        "give it to the cluster's operator, who runs `provisioner enroll complete`",
    )
}

async fn complete(global: &GlobalArgs, signed: &Path) -> Result<(), Failure> {
    let signed = SignedEnrollment::parse(&read(signed)?).map_err(Failure::misuse)?;
    let cluster = cluster_name(global, &signed.party)?;
    let context = Context::open(&only(global, &[Scope::Cluster(cluster.clone())])).await?;
    let (cluster, party) = party(&context, cluster.as_str())?;
    let enrolled = enroll::complete(&context.cloud, &party, &signed)
        .await
        .map_err(failed)?;
    let config = vec![desired::agent_config(&context.region, cluster)];
    settle_at(&context, config, Some(signed.endpoint.clone())).await?;
    let (id, certificate) = (&cluster.id, &enrolled.certificate);
    print(&match enrolled.new {
        true => format!("`{id}` is enrolled with certificate `{certificate}`"),
        false => format!("`{id}` has had certificate `{certificate}` already"),
    })
}

/// Makes what an identity needs beside it.
async fn settle(context: &Context, resources: Vec<Resource>) -> Result<(), Failure> {
    settle_at(context, resources, None).await
}

async fn settle_at(
    context: &Context,
    resources: Vec<Resource>,
    endpoint: Option<String>,
) -> Result<(), Failure> {
    let mut snapshot = Snapshot::take(&context.cloud, &resources)
        .await
        .map_err(|error| StoppedError::observe(error).into_failure())?;
    snapshot.facts.endpoint = snapshot.facts.endpoint.or(endpoint);
    let plan = snapshot.plan(&context.cloud, &resources);
    preflight::allowed(&context.cloud, &plan)
        .await
        .map_err(Failure::failed)?;
    let left = converge(&context.cloud, &resources, plan, &ProgressLines::default())
        .await
        .map_err(StoppedError::into_failure)?;
    if !left.is_empty() {
        ProgressLines::default().note(&PlanTable::full(&left).to_string());
    }
    Ok(())
}

fn party<'a>(
    context: &'a Context,
    id: &str,
) -> Result<(&'a ManagementCluster, IdentitySpec), Failure> {
    let cluster = find_cluster(&context.region, id)?;
    Ok((cluster, desired::agent_identity(&context.region, cluster)))
}

fn only(global: &GlobalArgs, scopes: &[Scope]) -> GlobalArgs {
    GlobalArgs {
        only: scopes.to_vec(),
        ..global.clone()
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    input::read_text(path).map_err(|source| {
        let path = path.display().to_string();
        Failure::misuse(DocumentFileError {
            operation: "read",
            path,
            source,
        })
    })
}

fn write(out: Option<&Path>, text: &str, next: &str) -> Result<(), Failure> {
    let Some(path) = out else {
        return print(text);
    };
    std::fs::write(path, text).map_err(|source| {
        let path = path.display().to_string();
        Failure::failed(DocumentFileError {
            operation: "write",
            path,
            source,
        })
    })?;
    let path: PathBuf = path.to_owned();
    print(&format!(
        "wrote `{}`; it holds no secret: {next}",
        path.display()
    ))
}

/// With the exit code that fits.
pub(super) fn failed(error: crate::identity::IdentityError) -> Failure {
    let (kind, hint) = (error.exit(), error.hint());
    Failure::new(kind, error).with_hint(hint)
}

// === impl DocumentFileError ===

impl Hint for DocumentFileError {
    fn hint(&self) -> Option<String> {
        Some(match self.operation {
            "read" => "name the file that the step before wrote".into(),
            _ => "name a file in a directory that can be written; nothing is lost, run it again"
                .into(),
        })
    }
}
