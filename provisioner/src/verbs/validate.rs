//! `provisioner validate`: the region's file alone, without AWS and without a network.

use link::error::{ExitKind, Failure};
use region_file::{Problem, Region};
use serde::Serialize;

use super::{print, print_json, warn};
use crate::args::{GlobalArgs, JsonArgs};

/// What is printed as JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Validation {
    format_version: u32,
    valid: bool,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

pub(crate) fn run(global: &GlobalArgs, args: &JsonArgs) -> Result<Option<ExitKind>, Failure> {
    let file = global.file.display();
    let read = Region::read(&global.file);
    if args.json {
        let validation = Validation {
            format_version: FORMAT_VERSION,
            valid: read.is_ok(),
            warnings: read.as_ref().map(Region::warnings).unwrap_or_default(),
            problems: read.err().map(|all| all.problems).unwrap_or_default(),
        };
        print_json(&validation)?;
        return Ok((!validation.valid).then_some(ExitKind::Usage));
    }
    let region = read.map_err(Failure::misuse)?;
    let warnings = region.warnings();
    warn(&warnings);
    print(&match warnings.len() {
        0 => format!("`{file}` is valid"),
        1 => format!("`{file}` is valid, with a warning"),
        count => format!("`{file}` is valid, with {count} warnings"),
    })?;
    Ok(None)
}

// Fields may be added within one version.
const FORMAT_VERSION: u32 = 1;
