//! Plans and makes everything a region needs on AWS, and hands its names to Helm.
//!
//! ```text
//! region.yaml ─▶ Region ─▶ desired ─▶ resources ─┐
//!                                                ├▶ plan ─▶ converge (apply), destroy, adopt
//!                         AWS ─▶ snapshot ───────┘
//! ```
//! There is no state file: what should be is the file, what is there is AWS, and what is ours carries a tag. Every
//! verb can be interrupted anywhere and run again.
//!
//! # Exit codes
//! | code | meaning |
//! |---|---|
//! | 0 | done; everything is as the file says |
//! | 1 | tried and failed, or not as it should be (`status`, `policy check`); any failure of `plan --exit-code` |
//! | 2 | the command line or the file is wrong, or the credentials are another account's; nothing was tried. Of `plan --exit-code`: something differs |
//! | 3 | not in time: a certificate was not seen in use (`rotate`); run it again |
//! | 4 | refused: a document that does not belong here (`enroll`), an action that is denied (`policy explain`) |

pub mod adopt;
pub mod args;
mod ask;
pub mod aws;
mod context;
pub mod converge;
pub mod cost;
pub mod desired;
pub mod destroy;
pub mod enroll;
#[cfg(test)]
#[path = "../../region-file/src/fixture.rs"]
mod fixture;
pub mod identity;
pub mod leftovers;
pub mod outcome;
pub mod outputs;
pub mod permissions;
pub mod plan;
pub mod policy;
pub mod preflight;
pub mod progress;
pub mod resource;
pub mod revoke;
pub mod rotate;
pub mod scope;
pub mod snapshot;
mod verbs;

use link::cli::stdout_line;
use link::error::Failure;
use link::telemetry;
use region_file::Region;

use crate::args::{Args, Command};
use crate::outcome::CommandOutcome;

/// Runs the command that was asked for.
///
/// # Errors
/// What the user is to read, with the exit code.
pub async fn run(args: Args) -> Result<CommandOutcome, Failure> {
    telemetry::init_quieting(&args.log, WHOLE_REQUESTS).map_err(|wrong| match &args.command {
        Command::Plan(plan) if plan.wants_exit_code() => Failure::failed(wrong),
        _ => Failure::misuse(wrong),
    })?;
    let global = &args.global;
    match &args.command {
        Command::Plan(args) => return Box::pin(verbs::plan::run(global, args)).await,
        Command::Apply(args) => {
            return Box::pin(verbs::apply::run(global, args))
                .await
                .map(CommandOutcome::of);
        }
        Command::Status(args) => {
            return Box::pin(verbs::status::run(global, args))
                .await
                .map(CommandOutcome::of);
        }
        Command::Policy { command } => {
            return Box::pin(verbs::policy::run(global, command))
                .await
                .map(CommandOutcome::of);
        }
        Command::Validate(args) => {
            return verbs::validate::run(global, args).map(CommandOutcome::of);
        }
        Command::Init(args) => verbs::init::run(global, args).await,
        Command::Schema => print_schema(),
        Command::Destroy(args) => Box::pin(verbs::destroy::run(global, args)).await,
        Command::Outputs(args) => Box::pin(verbs::outputs::run(global, args)).await,
        Command::Enroll(args) => Box::pin(verbs::enroll::run(global, args)).await,
        Command::Rotate(args) => Box::pin(verbs::rotate::run(global, args)).await,
        Command::Revoke(args) => Box::pin(verbs::revoke::run(global, args)).await,
        Command::Cost(args) => Box::pin(verbs::cost::run(global, args)).await,
        Command::Adopt(args) => Box::pin(verbs::adopt::run(global, args)).await,
        Command::Permissions => verbs::permissions::run(global),
    }
    .map(|()| CommandOutcome::Done)
}

fn print_schema() -> Result<(), Failure> {
    let _ = stdout_line(&format!("{:#}", Region::schema()))?;
    Ok(())
}

// Their detailed lines hold requests as they are sent, passwords and keys included.
const WHOLE_REQUESTS: &[&str] = &["aws_", "hyper", "h2", "rustls"];
