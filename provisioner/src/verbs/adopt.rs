//! `provisioner adopt`.

use link::error::Failure;

use super::print;
use crate::adopt::{Adoption, adopt};
use crate::args::{AdoptArgs, Place};
use crate::ask;
use crate::context::Context;
use crate::converge::StoppedError;
use crate::progress::Lines;
use crate::survey::Survey;

pub(crate) async fn run(place: &Place, args: &AdoptArgs) -> Result<(), Failure> {
    let context = Context::open(place).await?;
    let resources = context.resources();
    let survey = Survey::of(&context.cloud, &resources)
        .await
        .map_err(|error| StoppedError::look(error).into_failure())?;
    let adoption = Adoption::of(&resources, &survey);
    print(&describe(&adoption))?;
    if args.dry_run || adoption.unmarked.is_empty() {
        return Ok(());
    }
    if !args.yes {
        let name = &context.region.name;
        let question = format!("Mark them as belonging to the region `{name}`?");
        ask::agree(&question, "yes", "--yes")?;
    }
    let adopted = adopt(&context.cloud, &resources, &survey, &Lines::default())
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
