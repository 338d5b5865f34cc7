//! `server-bridge import …`: taking over what another system keeps.

use std::path::PathBuf;

use clap::Subcommand;
use link::cli::{Stdout, stdout_line};
use link::error::{ExitKind, Failure};
use link::id::SourceId;

use super::Args;
use crate::import::{Database, Import, ImportReport, PATIENCE};

/// From where.
#[derive(Debug, Subcommand)]
pub enum ImportVerb {
    /// Put what Maestro's database holds into the store that `--store` names, so that a bridge goes on where Maestro
    /// stopped. Maestro's tables are only read; both must be used by nobody meanwhile. May be repeated
    #[command(after_help = EXIT_CODES)]
    Maestro(Maestro),
}

/// Maestro's database, and what to do with it.
#[derive(Debug, clap::Args)]
pub struct Maestro {
    /// URL of Maestro's database, without a password: `postgres://USER@HOST:PORT/DATABASE`
    #[arg(long, value_name = "URL")]
    pub from: String,
    /// File with the password; without it PGPASSWORD or ~/.pgpass
    #[arg(long, value_name = "FILE")]
    pub from_password_file: Option<PathBuf>,
    /// Maestro's `--source-id`, for which the bridge will speak
    #[arg(long, env = "SOURCE_ID", default_value = "maestro", value_name = "ID")]
    pub source_id: SourceId,
    /// Write nothing, and show what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Look although Maestro runs: what is shown is of the moment
    #[arg(long, requires = "dry_run")]
    pub while_maestro_runs: bool,
    /// Go on without the rows that are left out
    #[arg(long)]
    pub skip_unusable: bool,
    /// As one JSON object
    #[arg(long)]
    pub json: bool,
}

// === impl ImportVerb ===

impl ImportVerb {
    /// Does it.
    ///
    /// # Errors
    /// Exit code 2 for what is wrong with the command line; 1 when it was refused or failed, and when rows have to be
    /// decided about.
    pub(super) async fn run(&self, args: &Args) -> Result<(), Failure> {
        let Self::Maestro(maestro) = self;
        let from = Database::new(&maestro.from, maestro.from_password_file.as_deref());
        let import = Import {
            from: from.map_err(Failure::misuse)?,
            to: args.store.location(args.mount.as_deref())?,
            source: maestro.source_id.clone(),
            dry_run: maestro.dry_run,
            while_maestro_runs: maestro.while_maestro_runs,
            skip_unusable: maestro.skip_unusable,
            patience: PATIENCE,
        };
        let report = Box::pin(import.run()).await?;
        maestro.show(&report)
    }
}

// === impl Maestro ===

impl Maestro {
    fn show(&self, report: &ImportReport) -> Result<(), Failure> {
        let failed = |error| Failure::new(ExitKind::Failed, error);
        let text = match self.json {
            true => serde_json::to_string_pretty(report).map_err(failed)?,
            false => report.text(),
        };
        // Whoever does not read it any more has seen enough.
        let (Stdout::Open | Stdout::Closed) = stdout_line(&text)?;
        if report.written {
            return Ok(());
        }
        let count = report.left_out.len();
        let undecided = format!("{count} rows cannot be imported, and nothing was written");
        Err(Failure::new(ExitKind::Failed, undecided).with_hint(
            "put them right in Maestro, or go on without them with `--skip-unusable`: what their agents hold stays as it is, and nobody looks after it"
                .to_owned(),
        ))
    }
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 refused, failed, or rows have to be decided about, and nothing was written; 2 wrong flags or files";
