//! The verbs that every binary has: `completions` for a shell, and `man` for packagers.
//!
//! They are made of the same declaration as the command line itself, so they cannot fall behind it.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, CommandFactory, value_parser};
use clap_complete::Shell;

use crate::error::{Failure, Hint};

/// The whole command line of a binary: its own, and the verbs that every binary has.
pub fn command<A: CommandFactory>() -> Command {
    let shell = Arg::new(SHELL)
        .help("The shell to complete for")
        .required(true)
        .value_parser(value_parser!(Shell));
    let directory = Arg::new(DIRECTORY)
        .help("Where to write the pages; it is made if need be")
        .value_name("DIR")
        .required(true)
        .value_parser(value_parser!(PathBuf));
    A::command()
        .subcommand(
            Command::new(COMPLETIONS)
                .about("Print a completion script")
                .arg(shell),
        )
        .subcommand(
            Command::new(MAN)
                .about("Write the manual pages")
                .hide(true)
                .arg(directory),
        )
}

/// What was asked for.
#[derive(Debug)]
pub(super) enum Verb {
    Completions(Shell),
    Man(PathBuf),
}

#[derive(Debug, thiserror::Error)]
#[error("write the completion script")]
struct ScriptError(#[source] io::Error);

#[derive(Debug, thiserror::Error)]
#[error("write the manual pages to {}", directory.display())]
struct PagesError {
    directory: PathBuf,
    #[source]
    source: io::Error,
}

// === impl Verb ===

impl Verb {
    /// One of these verbs, if the command line has one.
    pub(super) fn of(matches: &ArgMatches) -> Option<Self> {
        match matches.subcommand()? {
            (COMPLETIONS, matches) => matches.get_one(SHELL).copied().map(Self::Completions),
            (MAN, matches) => matches.get_one(DIRECTORY).cloned().map(Self::Man),
            _ => None,
        }
    }

    /// Does it. A reader of a script that has closed the pipe has seen enough.
    pub(super) fn run(self, mut command: Command, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::Completions(shell) => {
                let name = command.get_name().to_owned();
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut command, name, &mut script);
                match out.write_all(&script).and_then(|()| out.flush()) {
                    Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                        Err(ScriptError(error).into())
                    }
                    _ => Ok(()),
                }
            }
            Self::Man(directory) => {
                let written = std::fs::create_dir_all(&directory)
                    .and_then(|()| clap_mangen::generate_to(command, &directory));
                written.map_err(|source| PagesError { directory, source }.into())
            }
        }
    }
}

impl Hint for ScriptError {
    fn hint(&self) -> Option<String> {
        Some("write it to a disk that has room".into())
    }
}

impl Hint for PagesError {
    fn hint(&self) -> Option<String> {
        Some("name a directory that you may write to".into())
    }
}

const COMPLETIONS: &str = "completions";
const SHELL: &str = "shell";
const MAN: &str = "man";
const DIRECTORY: &str = "directory";
