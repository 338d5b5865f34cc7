//! `provisioner destroy`.

use link::error::{Failure, Hint};
use serde::Serialize;

use super::{print, print_json};
use crate::args::{DestroyArgs, GlobalArgs};
use crate::ask;
use crate::context::{Context, find_cluster};
use crate::converge::StoppedError;
use crate::desired;
use crate::destroy::{RemovalDecision, RemovalItem, RemovalPlan, destroy};
use crate::progress::{Progress as _, ProgressLines};
use crate::resource::{Address, Note, Resource};
use crate::scope::Scope;
use crate::snapshot::Snapshot;

/// It was not done.
#[derive(Debug, thiserror::Error)]
enum DestroyError {
    #[error("nothing was removed: {resource}: {why}")]
    Obstacle {
        resource: String,
        why: String,
        hint: Option<String>,
    },
    #[error("nothing was removed: `{0}` holds data")]
    Data(String),
}

/// The part of a removal that is in an account this command does not reach.
#[derive(Debug, Serialize)]
struct Unreached {
    /// Whose account.
    scope: String,
    /// What belongs there, whether it is there or not.
    resources: Vec<String>,
    #[serde(flatten)]
    note: Note,
}

pub(crate) async fn run(global: &GlobalArgs, args: &DestroyArgs) -> Result<(), Failure> {
    let context = Context::open(global).await?;
    let (resources, unreached) = resources(&context, args)?;
    let snapshot = Snapshot::take(&context.cloud, &resources)
        .await
        .map_err(|error| StoppedError::observe(error).into_failure())?;
    let removal = RemovalPlan::of(&resources, &snapshot);
    if !args.json {
        print(&describe(&removal))?;
    }
    for part in &unreached {
        ProgressLines::default().note(&format!(
            "note: {}\nhint: {}",
            part.note.text, part.note.hint
        ));
    }
    if let Some(item) = removal.obstacle() {
        return Err(Failure::failed(DestroyError::obstacle(item)));
    }
    confirm(&removal, args)?;
    let removed = destroy(&context.cloud, &resources, &ProgressLines::default())
        .await
        .map_err(StoppedError::into_failure)?;
    if args.json {
        return print_json(&serde_json::json!({
            "removed": removed,
            "resources": removal.resources,
            "unreached": unreached,
        }));
    }
    print(&format!("{removed} removed"))
}

/// What is to go, and what belongs to it in accounts that this command does not reach.
fn resources(
    context: &Context,
    args: &DestroyArgs,
) -> Result<(Vec<Resource>, Vec<Unreached>), Failure> {
    let region = &context.region;
    if let Some(id) = &args.cluster {
        let cluster = find_cluster(region, id.as_str())?;
        let all = desired::everything_of(region, cluster).into_iter();
        let reached = |resource: &Resource| context.cloud.reaches(&resource.address().scope);
        let (within, beyond): (Vec<_>, Vec<_>) = all.partition(reached);
        return Ok((
            within,
            Unreached::of(id.as_str(), &beyond).into_iter().collect(),
        ));
    }
    let mut unreached = Vec::new();
    // The region's part takes every agent's policy along, also of clusters that `--only` leaves out.
    if context.scopes.contains(&Scope::Region) {
        for cluster in &region.clusters {
            if !context.scopes.contains(&Scope::Cluster(cluster.id.clone())) {
                let beyond = desired::cluster(region, cluster);
                unreached.extend(Unreached::of(cluster.id.as_str(), &beyond));
            }
        }
    }
    Ok((context.resources(), unreached))
}

fn confirm(removal: &RemovalPlan, args: &DestroyArgs) -> Result<(), Failure> {
    for name in &removal.data {
        match &args.delete_database {
            Some(given) if given == name => {}
            Some(_) => return Err(Failure::misuse(DestroyError::Data(name.clone()))),
            None if args.yes => return Err(Failure::misuse(DestroyError::Data(name.clone()))),
            None => ask::confirm(
                &format!("The database `{name}` is deleted with its data."),
                name,
                &format!("--delete-database {name}"),
            )?,
        }
    }
    if !args.yes && removal.count() > 0 {
        ask::confirm(
            &format!("Remove {} resources?", removal.count()),
            "yes",
            "--yes",
        )?;
    }
    Ok(())
}

fn describe(removal: &RemovalPlan) -> String {
    let line = |item: &RemovalItem| match &item.decision {
        RemovalDecision::Delete => format!("- {}\n", item.resource),
        RemovalDecision::Stay { why } => format!("  {}: stays, {why}\n", item.resource),
        RemovalDecision::Protected { why, .. } => format!("! {}: {why}\n", item.resource),
        RemovalDecision::Unknown { why } => format!("? {}: {why}\n", item.resource),
    };
    let mut text: String = removal.resources.iter().map(line).collect();
    text.push_str(&format!("{} to remove", removal.count()));
    text
}

// === impl Unreached ===

impl Unreached {
    fn of(cluster: &str, beyond: &[Resource]) -> Option<Self> {
        let addresses: Vec<Address> = beyond.iter().map(Resource::address).collect();
        let scope = addresses.first()?.scope.clone();
        let what: Vec<String> = addresses
            .iter()
            .map(|address| format!("{}/{}", address.kind, address.name))
            .collect();
        let then = match scope {
            Scope::Region => "",
            Scope::Cluster(_) => {
                "; its agent is cut off, and the agent's certificate stays ACTIVE without a policy"
            }
        };
        let text = format!(
            "the account of `{scope}` is left out; what is there of these stays: {}{then}",
            what.join(", ")
        );
        let hint = format!(
            "run `provisioner destroy --cluster {cluster}` with credentials for both accounts (`--profile {scope}=NAME`), better before this than after"
        );
        Some(Self {
            scope: scope.to_string(),
            resources: addresses.iter().map(Address::to_string).collect(),
            note: Note { text, hint },
        })
    }
}

// === impl DestroyError ===

impl DestroyError {
    fn obstacle(item: &RemovalItem) -> Self {
        let (why, hint) = match &item.decision {
            RemovalDecision::Protected { why, hint } => (why.clone(), Some(hint.clone())),
            RemovalDecision::Unknown { why } => (why.clone(), None),
            RemovalDecision::Delete | RemovalDecision::Stay { .. } => (String::new(), None),
        };
        Self::Obstacle {
            resource: item.resource.clone(),
            why,
            hint,
        }
    }
}

impl Hint for DestroyError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Obstacle { hint, .. } => hint.clone(),
            Self::Data(name) => Some(format!(
                "add `--delete-database {name}` if its data may go, or leave it with `--only`"
            )),
        }
    }
}
