//! `provisioner adopt`.

use link::error::Failure;

use super::print;
use crate::adopt::{Adoption, adopt};
use crate::args::{AdoptArgs, GlobalArgs};
use crate::ask;
use crate::context::Context;
use crate::converge::StoppedError;
use crate::progress::ProgressLines;
use crate::snapshot::Snapshot;

pub(crate) async fn run(global: &GlobalArgs, args: &AdoptArgs) -> Result<(), Failure> {
    let context = Context::open(global).await?;
    let resources = context.resources();
    let snapshot = Snapshot::take(&context.cloud, &resources)
        .await
        .map_err(|error| StoppedError::observe(error).into_failure())?;
    let adoption = Adoption::of(&resources, &snapshot);
    print(&describe(&adoption))?;
    if args.dry_run || adoption.unmarked.is_empty() {
        return Ok(());
    }
    if !args.yes {
        let name = &context.region.name;
        let question = format!("Mark them as belonging to the region `{name}`?");
        ask::confirm(&question, "yes", "--yes")?;
    }
    let adopted = adopt(
        &context.cloud,
        &resources,
        &snapshot,
        &ProgressLines::default(),
    )
    .await
    .map_err(StoppedError::into_failure)?;
    print(&format!(
        "{adopted} adopted; `provisioner plan` shows what is not as the file says"
    ))
}

fn describe(adoption: &Adoption) -> String {
    let mut text = String::new();
    for address in &adoption.unmarked {
        text.push_str(&format!("> {address}\n"));
    }
    for (address, region) in &adoption.others {
        text.push_str(&format!("  {address}: belongs to the region `{region}`\n"));
    }
    text.push_str(&format!(
        "{} to adopt, {} ours already",
        adoption.unmarked.len(),
        adoption.ours
    ));
    text
}
