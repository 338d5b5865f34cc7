//! `provisioner status`: what is there, what is attached to what, and when certificates expire.

use std::collections::BTreeMap;

use link::error::{ExitKind, Failure};
use serde::Serialize;
use serde_json::Value;

use super::{print, print_json};
use crate::args::{GlobalArgs, JsonArgs};
use crate::context::Context;
use crate::converge::StoppedError;
use crate::leftovers::leftovers;
use crate::plan::{Plan, PlanTable, ResourcePlan};
use crate::resource::{Note, Observed, State};
use crate::snapshot::Snapshot;
use crate::verbs::plan::note_skipped;

/// One resource as it is.
#[derive(Debug, Serialize)]
struct ResourceStatus<'a> {
    #[serde(flatten)]
    row: &'a ResourcePlan,
    state: String,
    /// What it is like; nothing secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes: Option<&'a BTreeMap<String, Value>>,
}

#[derive(Debug, Serialize)]
struct Status<'a> {
    endpoint: Option<&'a str>,
    #[serde(skip_serializing_if = "<[Note]>::is_empty")]
    leftovers: &'a [Note],
    resources: Vec<ResourceStatus<'a>>,
}

pub(crate) async fn run(global: &GlobalArgs, args: &JsonArgs) -> Result<Option<ExitKind>, Failure> {
    let context = Context::open(global).await?;
    let resources = context.resources();
    let snapshot = Snapshot::take(&context.cloud, &resources)
        .await
        .map_err(|error| StoppedError::observe(error).into_failure())?;
    let mut plan = snapshot.plan(&context.cloud, &resources);
    plan.leftovers = leftovers(&context.cloud, &context.region)
        .await
        .map_err(Failure::failed)?;
    let status = status(&plan, &snapshot);
    if args.json {
        print_json(&status)?;
    } else {
        print(&describe(&status))?;
        print(&PlanTable::brief(&plan).to_string())?;
        note_skipped(&context);
    }
    Ok((!plan.is_empty()).then_some(ExitKind::Failed))
}

fn status<'a>(plan: &'a Plan, snapshot: &'a Snapshot) -> Status<'a> {
    let rows = plan.resources.iter().zip(&snapshot.observations);
    let standing = |(row, observed): (&'a ResourcePlan, &'a Result<Option<Observed>, _>)| {
        let there = observed.as_ref().ok().and_then(Option::as_ref);
        let state = match (observed, there) {
            (Err(_), _) => "unknown".to_owned(),
            (Ok(_), None) => "absent".to_owned(),
            (Ok(_), Some(there)) => match &there.state {
                State::Ready => "ready".to_owned(),
                State::Settling(state) => state.clone(),
                State::Broken { .. } => "broken".to_owned(),
            },
        };
        let attributes = there.map(|there| &there.attributes);
        ResourceStatus {
            row,
            state,
            attributes,
        }
    };
    Status {
        endpoint: snapshot.facts.endpoint.as_deref(),
        leftovers: &plan.leftovers,
        resources: rows.map(standing).collect(),
    }
}

fn describe(status: &Status<'_>) -> String {
    let mut text = format!("broker: {}\n", status.endpoint.unwrap_or("not looked at"));
    for standing in &status.resources {
        let ResourcePlan { resource, id, .. } = standing.row;
        let id = id.as_deref().unwrap_or("-");
        text.push_str(&format!("{:<8} {resource}  {id}\n", standing.state));
        if resource.kind == "certificate" {
            for key in ["id", "expires", "certificate", "policy", "thing"] {
                let value = standing.attributes.and_then(|all| all.get(key));
                if let Some(value) = value.and_then(Value::as_str) {
                    text.push_str(&format!("         {key}: {value}\n"));
                }
            }
        }
    }
    text
}
