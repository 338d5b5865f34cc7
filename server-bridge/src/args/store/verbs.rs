//! `server-bridge store`: what is done to a store while no bridge runs on it, and a look at it while one does.

use std::fmt::Write as _;

use clap::Subcommand;
use link::cli::stdout_line;
use link::clock::Clock;
use link::error::{ExitKind, Failure};

use super::super::Args;
use super::Engine;
use crate::store::{Began, CopyReport, Location, Overview, copy};

/// Looks after the store.
#[derive(Debug, Subcommand)]
pub enum StoreVerb {
    /// Make the tables or bring them up to date, and end: for a step before bridges start
    #[command(after_help = EXIT_CODES)]
    Migrate {
        /// Build the index of searches too, beside what runs, and wait for it: for many bundles, where the bridges' user
        /// does not own the tables. PostgreSQL only
        #[arg(long)]
        build_index: bool,
    },
    /// Show where the store is, the state of its tables, and how much they hold. Changes nothing, also while bridges run
    #[command(after_help = EXIT_CODES)]
    Status {
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Copy everything from one engine to the other: ids, versions, times and the order of changes stay. Both must be used
    /// by no bridge. Interrupted, it goes on where it stopped when it is started again
    #[command(after_help = COPY_EXIT_CODES)]
    Copy {
        /// What to copy: `sqlite:FILE`, or `postgres` with the same files and flags as the bridge
        #[arg(long, value_name = "STORE")]
        from: Engine,
        /// Where to: a file, or a schema, that is not there yet or holds nothing
        #[arg(long, value_name = "STORE")]
        to: Engine,
    },
}

// === impl StoreVerb ===

impl StoreVerb {
    pub(in crate::args) async fn run(&self, args: &Args) -> Result<(), Failure> {
        let mount = args.mount.as_deref();
        match self {
            Self::Migrate { build_index } => {
                let location = args.store.location(mount)?;
                if *build_index && matches!(location, Location::Sqlite(_)) {
                    return Err(Failure::usage(
                        "`--build-index` is for PostgreSQL; SQLite needs no index for searches",
                    ));
                }
                let place = location.migrate(*build_index).await?;
                print(&format!("the tables of `{place}` are up to date"))
            }
            Self::Status { json } => {
                let found = args.store.location(mount)?;
                let found = found.overview(Clock::system().now()).await?;
                print(&if *json {
                    as_json(&found)?
                } else {
                    shown(&found)
                })
            }
            Self::Copy { from, to } => {
                let from_there = args.store.of(from, "--from", mount)?;
                let to_there = args.store.of(to, "--to", mount)?;
                if from == to {
                    return Err(Failure::usage("`--from` and `--to` name the same store"));
                }
                let report = copy(from_there, to_there).await?;
                print(&compared(&report))?;
                match report.difference() {
                    None => Ok(()),
                    Some(table) => Err(Failure::new(
                        ExitKind::Failed,
                        format!("the copy differs from its source in `{}`", table.table),
                    )
                    .with_hint(
                        "no bridge opens the copy; remove it, see that nothing else writes to either side, and repeat"
                            .to_owned(),
                    )),
                }
            }
        }
    }
}

/// A reader that has seen enough is no failure.
fn print(text: &str) -> Result<(), Failure> {
    stdout_line(text).map(|_| ()).map_err(Failure::failed)
}

fn as_json(overview: &Overview) -> Result<String, Failure> {
    serde_json::to_string_pretty(overview).map_err(|error| Failure::new(ExitKind::Failed, error))
}

fn shown(overview: &Overview) -> String {
    let mut lines = vec![
        ("engine", overview.engine.to_owned()),
        ("place", overview.place.clone()),
        ("schema", schema(overview)),
    ];
    if let Some(holds) = &overview.holds {
        let unsent = match holds.oldest_unsent_seconds {
            Some(seconds) => format!("{}, the oldest for {seconds} s", holds.unsent),
            None => holds.unsent.to_string(),
        };
        lines.extend([
            ("consumers", holds.consumers.to_string()),
            (
                "bundles",
                format!(
                    "{}, {} of them being deleted",
                    holds.bundles, holds.deleting
                ),
            ),
            ("unsent", unsent),
            ("tombstones", holds.tombstones.to_string()),
        ]);
    }
    if let Some(of) = &overview.connections {
        let text = format!(
            "{} of {} in use, at most {} of each bridge",
            of.used, of.limit, of.each
        );
        lines.push(("connections", text));
    }
    if let Some(notify) = overview.notify {
        lines.push(("notify", if notify { "on" } else { "off" }.to_owned()));
    }
    if let Some(past) = &overview.history {
        let epochs = past.epochs.iter().take(EPOCHS);
        lines.extend(epochs.map(|epoch| ("epoch", began(epoch))));
        let text = format!(
            "{} bundles of {} consumers in this epoch",
            past.unconfirmed, past.unconfirmed_consumers
        );
        lines.push(("unconfirmed", text));
    }
    if let Some(reporting) = overview.reporting {
        let text = format!("{reporting} agents report of themselves");
        lines.push(("presence", text));
    }
    for replica in overview.replicas.iter().flatten() {
        let expired = if replica.expired { ", expired" } else { "" };
        let text = format!(
            "slot {}: {}, {} buckets{expired}",
            replica.slot, replica.name, replica.buckets
        );
        lines.push(("replica", text));
    }
    let lines: Vec<String> = lines
        .into_iter()
        .map(|(name, text)| format!("{name:<12} {text}"))
        .collect();
    lines.join("\n")
}

fn began(epoch: &Began) -> String {
    let Began {
        number,
        began_at,
        why,
    } = epoch;
    format!("{number} since {began_at}: {why}")
}

fn schema(overview: &Overview) -> String {
    let tables = &overview.schema;
    let (version, known) = (tables.version, tables.known);
    let mut text = match version {
        0 => format!("not made yet; this program makes version {known}"),
        _ if tables.current => format!("version {version}, that of this program"),
        _ if version < known => {
            format!("version {version}; this program brings it to {known} when it starts")
        }
        _ => format!("version {version}, of a newer program; this one knows {known}"),
    };
    if tables.copying {
        text.push_str("; a copy into it is not finished");
    }
    text
}

fn compared(report: &CopyReport) -> String {
    let mut text = format!(
        "{:<12} {:>10} {:>10}  {:<16}  {:<16}",
        "table", "source", "target", "sum of source", "sum of target"
    );
    for table in &report.tables {
        let (source, target) = (&table.source, &table.target);
        let differs = if source == target { "" } else { "  differs" };
        // Writing to a text cannot fail.
        let _ = write!(
            text,
            "\n{:<12} {:>10} {:>10}  {:<16}  {:<16}{differs}",
            table.table, source.rows, target.rows, source.sum, target.sum
        );
    }
    text
}

// JSON has them all.
const EPOCHS: usize = 3;

const EXIT_CODES: &str = "Exit codes: 0 done; 1 tried and failed; 2 wrong flags or files";

const COPY_EXIT_CODES: &str = "Exit codes: 0 both sides hold the same; 1 refused, failed, or they differ; 2 wrong flags or files";
