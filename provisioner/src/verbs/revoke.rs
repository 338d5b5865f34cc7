//! `provisioner revoke`. The region's account is enough, so it works when a management cluster is lost.

use link::error::Failure;

use super::enroll::failed;
use super::rotate::{party, scopes};
use super::{print, print_json};
use crate::args::{GlobalArgs, RevokeArgs};
use crate::ask;
use crate::context::Context;
use crate::progress::{Progress as _, ProgressLines};
use crate::revoke::{self, RevokeOptions};
use crate::scope::Scope;

pub(crate) async fn run(global: &GlobalArgs, args: &RevokeArgs) -> Result<(), Failure> {
    // Only checks the name.
    scopes(global, &args.party)?;
    let only = vec![Scope::Region];
    let context = Context::open(&GlobalArgs {
        only,
        ..global.clone()
    })
    .await?;
    let party = party(&context.region, &args.party)?;
    if !args.yes {
        let what = if args.deactivate {
            "switched off"
        } else {
            "revoked for ever"
        };
        let question = format!(
            "Certificates of `{}` are {what}, and it is cut off.",
            args.party
        );
        ask::confirm(&question, &args.party, "--yes")?;
    }
    let options = RevokeOptions {
        deactivate: args.deactivate,
    };
    let note = |line: &str| ProgressLines::default().note(line);
    let revoked = match &args.certificate {
        None => revoke::party(&context.cloud, &party, options, &note).await,
        Some(id) => revoke::certificate(&context.cloud, &[&party], id, options, &note).await,
    };
    let revoked = revoked.map_err(failed)?;
    if args.json {
        return print_json(&revoked);
    }
    for left in &revoked.notes {
        print(&format!("note: {}\nhint: {}", left.text, left.hint))?;
    }
    print(&format!(
        "{} out of service, {} connections ended",
        revoked.certificates.len(),
        revoked.disconnected.len()
    ))
}
