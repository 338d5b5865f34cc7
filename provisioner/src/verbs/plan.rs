//! `provisioner plan`.

use link::error::{ExitKind, Failure};

use super::{print, print_json, warn};
use crate::args::{GlobalArgs, PlanArgs};
use crate::context::Context;
use crate::converge::StoppedError;
use crate::leftovers::leftovers;
use crate::outcome::CommandOutcome;
use crate::plan::{Plan, PlanTable};
use crate::preflight;
use crate::resource::Resource;
use crate::snapshot::Snapshot;

pub(crate) async fn run(global: &GlobalArgs, args: &PlanArgs) -> Result<CommandOutcome, Failure> {
    let exit_code = args.wants_exit_code();
    match Box::pin(show(global, args)).await {
        Ok(plan) if plan.obstacle().is_some() => Ok(CommandOutcome::Ended(ExitKind::Failed)),
        Ok(plan) if exit_code && !plan.is_empty() => Ok(CommandOutcome::Changes),
        Ok(_) => Ok(CommandOutcome::Done),
        // 2 means differences here, so that a wrong file must not end with it.
        Err(failure) if exit_code => {
            let hint = failure.hint().map(str::to_owned);
            Err(Failure::new(ExitKind::Failed, failure.to_string()).with_hint(hint))
        }
        Err(failure) => Err(failure),
    }
}

async fn show(global: &GlobalArgs, args: &PlanArgs) -> Result<Plan, Failure> {
    let context = Context::open(global).await?;
    let (_, mut plan) = make_plan(&context).await?;
    plan.warnings = context.region.warnings();
    if args.json {
        print_json(&plan)?;
    } else {
        print(&PlanTable::full(&plan).to_string())?;
        warn(&plan.warnings);
        note_skipped(&context);
    }
    Ok(plan)
}

/// The resources and their plan, after checking what they need.
pub(crate) async fn make_plan(context: &Context) -> Result<(Vec<Resource>, Plan), Failure> {
    let resources = context.resources();
    preflight::prerequisites(&context.cloud, &resources)
        .await
        .map_err(Failure::failed)?;
    let snapshot = Snapshot::take(&context.cloud, &resources)
        .await
        .map_err(|error| StoppedError::observe(error).into_failure())?;
    let mut plan = snapshot.plan(&context.cloud, &resources);
    plan.leftovers = leftovers(&context.cloud, &context.region)
        .await
        .map_err(Failure::failed)?;
    Ok((resources, plan))
}

/// Says which parts of the file were left out.
pub(crate) fn note_skipped(context: &Context) {
    use crate::progress::{Progress as _, ProgressLines};
    for scope in &context.skipped {
        ProgressLines::default().note(&format!(
            "note: the account of `{scope}` was not looked at: no credentials (give `--profile {scope}=NAME`)"
        ));
    }
}
