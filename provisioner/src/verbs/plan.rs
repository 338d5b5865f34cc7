//! `provisioner plan`.

use link::error::{ExitKind, Failure};

use super::{print, print_json};
use crate::args::{Place, PlanArgs};
use crate::context::Context;
use crate::converge::StoppedError;
use crate::leftovers::leftovers;
use crate::plan::{Plan, Table};
use crate::preflight;
use crate::resource::Resource;
use crate::survey::Survey;

pub(crate) async fn run(place: &Place, args: &PlanArgs) -> Result<Option<ExitKind>, Failure> {
    let context = Context::open(place).await?;
    let (_, plan) = look(&context).await?;
    if args.json {
        print_json(&plan)?;
    } else {
        print(&Table(&plan).to_string())?;
        tell_unseen(&context);
    }
    let blocked = plan.obstacle().is_some();
    let asked = args.exit_code && !plan.is_empty();
    Ok((blocked || asked).then_some(ExitKind::Failed))
}

/// The resources and what would change, after making sure of the ground they stand on.
pub(crate) async fn look(context: &Context) -> Result<(Vec<Resource>, Plan), Failure> {
    let resources = context.resources();
    preflight::ground(&context.cloud, &resources)
        .await
        .map_err(Failure::failed)?;
    let survey = Survey::of(&context.cloud, &resources)
        .await
        .map_err(|error| StoppedError::look(error).into_failure())?;
    let mut plan = survey.plan(&context.cloud, &resources);
    plan.leftovers = leftovers(&context.cloud, &context.region)
        .await
        .map_err(Failure::failed)?;
    Ok((resources, plan))
}

/// Says which parts of the file were left out.
pub(crate) fn tell_unseen(context: &Context) {
    use crate::progress::{Lines, Progress as _};
    for scope in &context.unseen {
        Lines::default().note(&format!(
            "note: the account of `{scope}` was not looked at: no credentials (give `--profile {scope}=NAME`)"
        ));
    }
}
