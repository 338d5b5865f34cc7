//! `provisioner init`.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use link::error::{ExitKind, Failure};

use super::print;
use crate::args::{GlobalArgs, InitArgs};
use crate::aws::default_region;
use crate::region::init::{Answers, template};

/// The file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("write `{path}`")]
struct InitError {
    path: String,
    #[source]
    source: io::Error,
}

pub(crate) async fn run(global: &GlobalArgs, args: &InitArgs) -> Result<(), Failure> {
    let region = match &args.region {
        Some(region) => Some(region.clone()),
        None => default_region().await,
    };
    let answers = Answers {
        name: args.name.clone(),
        region,
        account: args.account.clone(),
        ..Answers::default()
    };
    let path = &global.file;
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
