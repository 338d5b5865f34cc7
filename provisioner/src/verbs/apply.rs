//! `provisioner apply`.

use link::error::{ExitKind, Failure};

use super::plan::{make_plan, note_skipped};
use super::{print, print_json, warn};
use crate::args::{ApplyArgs, GlobalArgs};
use crate::ask;
use crate::context::Context;
use crate::converge::{StoppedError, converge};
use crate::plan::PlanTable;
use crate::preflight;
use crate::progress::ProgressLines;

pub(crate) async fn run(
    global: &GlobalArgs,
    args: &ApplyArgs,
) -> Result<Option<ExitKind>, Failure> {
    let context = Context::open(global).await?;
    let (resources, plan) = make_plan(&context).await?;
    let table = PlanTable::full(&plan).to_string();
    if let Some(row) = plan.obstacle() {
        print(&table)?;
        return Err(StoppedError::obstacle(row).into_failure());
    }
    preflight::allowed(&context.cloud, &plan)
        .await
        .map_err(Failure::failed)?;
    if !args.json {
        print(&table)?;
        note_skipped(&context);
        if !args.yes {
            warn(&context.region.warnings());
        }
    }
    if !args.yes && plan.to_do().next().is_some() {
        ask::confirm("Make these changes?", "yes", "--yes")?;
    }
    let left = converge(&context.cloud, &resources, plan, &ProgressLines::default())
        .await
        .map_err(StoppedError::into_failure)?;
    if args.json {
        print_json(&left)?;
    } else if left.is_empty() {
        print("everything is as the file says")?;
    } else {
        print(&PlanTable::full(&left).to_string())?;
    }
    // What only a person can settle is not as the file says, and a script must notice.
    Ok((!left.is_empty()).then_some(ExitKind::Failed))
}
