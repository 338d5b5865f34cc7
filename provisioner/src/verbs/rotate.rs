//! `provisioner rotate`.

use std::time::Duration;

use link::clock::Clock;
use link::error::Failure;
use region_file::Region;

use super::enroll::failed;
use super::print;
use crate::args::{GlobalArgs, RotateArgs};
use crate::context::{Context, cluster_name, find_cluster};
use crate::desired;
use crate::identity::IdentitySpec;
use crate::progress::{Progress as _, ProgressLines};
use crate::rotate::{RotateOptions, rotate};
use crate::scope::Scope;

pub(crate) async fn run(global: &GlobalArgs, args: &RotateArgs) -> Result<(), Failure> {
    let only = scopes(global, &args.party)?;
    let context = Context::open(&GlobalArgs {
        only,
        ..global.clone()
    })
    .await?;
    let party = party(&context.region, &args.party)?;
    let options = RotateOptions {
        port: context.region.broker.port,
        deadline: args.within,
        settle: context.region.eks.rotation_poll_interval + SETTLE,
        reconnect: args.reconnect,
        without_proof: args.insecure_without_proof,
    };
    let clock = Clock::system();
    let note = |line: &str| ProgressLines::default().note(line);
    let rotated = Box::pin(rotate(&context.cloud, &party, options, &clock, &note))
        .await
        .map_err(failed)?;
    let removed = rotated.removed.len();
    print(&format!(
        "`{}` uses certificate `{}`; {removed} older removed",
        args.party, rotated.certificate
    ))
}

/// The accounts that a party's certificate and key are in.
pub(super) fn scopes(global: &GlobalArgs, party: &str) -> Result<Vec<Scope>, Failure> {
    if party == SERVER {
        return Ok(vec![Scope::Region]);
    }
    let cluster = cluster_name(global, party)?;
    Ok(vec![Scope::Region, Scope::Cluster(cluster)])
}

/// The identity of `server` or of a management cluster's agent.
pub(super) fn party(region: &Region, party: &str) -> Result<IdentitySpec, Failure> {
    if party == SERVER {
        return Ok(desired::server_identity(region));
    }
    let cluster = find_cluster(region, party)?;
    Ok(desired::agent_identity(region, cluster))
}

const SERVER: &str = "server";

// After the CSI driver's next look: its work for every pod, and the program's own look at its files.
const SETTLE: Duration = Duration::from_secs(60);
