//! `provisioner init`.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use link::error::{ExitKind, Failure, Hint};
use region_file::Problem;
use region_file::init::{Answers, template};

use super::print;
use crate::args::{GlobalArgs, InitArgs};
use crate::aws::default_region;
use crate::context;
use crate::scope::Scope;

/// The file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("write `{path}`")]
struct InitError {
    path: String,
    #[source]
    source: io::Error,
}

/// What was answered would be refused in the file. Nothing was written.
#[derive(Debug)]
struct AnswersError {
    path: String,
    problems: Vec<Problem>,
}

pub(crate) async fn run(global: &GlobalArgs, args: &InitArgs) -> Result<(), Failure> {
    let profile = context::profile(global, &Scope::Region);
    let mut region = args.region.clone();
    // A profile that is named is there, also when nothing is taken from it.
    if region.is_none() || profile.is_some() {
        let found = default_region(profile).await.map_err(context::refused)?;
        region = region.or(found);
    }
    let answers = Answers {
        name: args.name.clone(),
        region,
        account: args.account.clone(),
        ..Answers::default()
    };
    let path = &global.file;
    let problems = answers.problems();
    if !problems.is_empty() {
        let path = path.display().to_string();
        return Err(Failure::misuse(AnswersError { path, problems }));
    }
    write(path, &template(&answers), args.force).map_err(|source| {
        let taken = source.kind() == io::ErrorKind::AlreadyExists;
        let path = path.display().to_string();
        let failure = Failure::new(ExitKind::Failed, InitError { path, source });
        failure.with_hint(
            taken.then(|| "replace it with `--force`, or name another with `--file`".to_owned()),
        )
    })?;
    print(&format!(
        "wrote `{}`: fill in what is empty, then run `provisioner plan`",
        path.display()
    ))
}

// === impl AnswersError ===

impl fmt::Display for AnswersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "write `{}`: ", self.path)?;
        for (place, problem) in self.problems.iter().enumerate() {
            let gap = if place == 0 { "" } else { "\n  " };
            write!(f, "{gap}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for AnswersError {}

impl Hint for AnswersError {
    fn hint(&self) -> Option<String> {
        Some("correct `--name`, `--region` or `--account`, or leave it out and fill it in".into())
    }
}

fn write(path: &Path, text: &str, force: bool) -> io::Result<()> {
    if force {
        return fs::write(path, text);
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)?
        .write_all(text.as_bytes())
}
