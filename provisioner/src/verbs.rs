//! One module for each verb of the command line.

pub(crate) mod adopt;
pub(crate) mod apply;
pub(crate) mod cost;
pub(crate) mod destroy;
pub(crate) mod enroll;
pub(crate) mod init;
pub(crate) mod outputs;
pub(crate) mod permissions;
pub(crate) mod plan;
pub(crate) mod policy;
pub(crate) mod revoke;
pub(crate) mod rotate;
pub(crate) mod status;
pub(crate) mod validate;

use link::cli::stdout_line;
use link::error::Failure;
use region_file::Problem;
use serde::Serialize;

use crate::progress::{Progress as _, ProgressLines};

/// Warnings of the region's file, on standard error: by `validate`, and with the plan that `plan` or `apply` shows.
fn warn(warnings: &[Problem]) {
    for warning in warnings {
        ProgressLines::default().note(&format!("warning: {warning}"));
    }
}

/// Data on standard output.
fn print(text: &str) -> Result<(), Failure> {
    // A reader that went away has seen enough.
    let _ = stdout_line(text.trim_end_matches('\n'))?;
    Ok(())
}

/// Data on standard output, as JSON for reading and for scripts alike.
fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::new(link::error::ExitKind::Failed, error))?;
    print(&text)
}
