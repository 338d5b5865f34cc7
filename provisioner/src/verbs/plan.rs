//! `provisioner plan`.

use link::error::{ExitKind, Failure};

use super::{print, print_json};
use crate::args::{GlobalArgs, PlanArgs};
use crate::context::Context;
use crate::converge::StoppedError;
use crate::leftovers::leftovers;
use crate::plan::{Plan, PlanTable};
use crate::preflight;
use crate::resource::Resource;
use crate::snapshot::Snapshot;

pub(crate) async fn run(global: &GlobalArgs, args: &PlanArgs) -> Result<Option<ExitKind>, Failure> {
    let context = Context::open(global).await?;
    let (_, plan) = look(&context).await?;
    if args.json {
        print_json(&plan)?;
    } else {
        print(&PlanTable(&plan).to_string())?;
        tell_unseen(&context);
    }
    let blocked = plan.obstacle().is_some();
    let asked = args.exit_code && !plan.is_empty();
    Ok((blocked || asked).then_some(ExitKind::Failed))
}

/// The resources and their plan, after checking what they need.
pub(crate) async fn look(context: &Context) -> Result<(Vec<Resource>, Plan), Failure> {
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
pub(crate) fn tell_unseen(context: &Context) {
    use crate::progress::{Progress as _, ProgressLines};
    for scope in &context.unseen {
        ProgressLines::default().note(&format!(
            "note: the account of `{scope}` was not looked at: no credentials (give `--profile {scope}=NAME`)"
        ));
    }
}
