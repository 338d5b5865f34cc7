//! `probe doctor --static`: region.yaml, values of the charts, IoT policies and configuration files, held against what will
//! read them and against each other, before anything runs.
//!
//! Nothing is dialled, AWS is not asked, and of the environment nothing is read. What a file is, its content tells
//! ([`kind`]). Files are read with bounds and on a thread of their own, because a pipe may never end; what follows is pure.
//!
//! **Invariant:** of values, configuration and files of another kind no value is shown but names that the files are compared
//! by, and those only while they look like names ([`agree`]).

mod agree;
mod arn;
mod demand;
mod excess;
mod file;
mod holder;
mod kind;
mod misfit;
mod needs;
mod schema;
mod values;

use std::path::PathBuf;

use link::error::{Failure, Hint};
use link::fault::{Code, Finding};
use link::id::{ClientId, ConsumerName, SourceId};
use link::iot::Document;
use link::iot::limits::{POLICIES_PER_PRINCIPAL, POLICY_CHARACTERS};

use self::file::Files;
use self::holder::Holder;
use super::findings::Findings;
use crate::args::DoctorArgs;
use crate::off_thread;
use crate::output::Output;

/// What is to be looked at, and for whom.
#[derive(Clone, Debug, Default)]
struct Asked {
    files: Vec<PathBuf>,
    /// Whose agent's policies these are.
    consumer: Option<ConsumerName>,
    /// Whose bridge's policies these are.
    source: Option<SourceId>,
    /// The client id in place of the usual one.
    id: Option<ClientId>,
}

/// More files than are looked at.
#[derive(Debug, thiserror::Error)]
#[error("`--static` is given {0} times")]
struct TooMany(usize);

impl Hint for TooMany {
    fn hint(&self) -> Option<String> {
        Some(format!("give at most {MAX_FILES} files at once"))
    }
}

/// Checks the files, and says how many they were.
///
/// # Errors
/// A usage failure for names that are none or too many files.
pub(super) async fn look(args: &DoctorArgs, output: Output) -> Result<(Findings, String), Failure> {
    let asked = asked(args)?;
    let about = match asked.files.as_slice() {
        [one] => format!("`{}`", one.display()),
        many => format!("{} files", many.len()),
    };
    let mut findings = Findings::new(output);
    let looked = off_thread::within(args.timeout, move || check(&asked)).await;
    let found = looked.unwrap_or_else(|| {
        let within = args.timeout.as_secs_f32();
        vec![
            Finding::error(READ, format!("not looked at to the end within {within} s"))
                .why("a file that does not end, such as a pipe that nobody writes to, or a slow file system")
                .next("give regular files, or more time with `-W SECONDS`"),
        ]
    });
    found.into_iter().for_each(|finding| findings.add(finding));
    Ok((findings, about))
}

fn asked(args: &DoctorArgs) -> Result<Asked, Failure> {
    let files = args.static_files.clone();
    if files.len() > MAX_FILES {
        return Err(Failure::misuse(TooMany(files.len())));
    }
    let consumer = args.consumer.clone().map(ConsumerName::new).transpose();
    let source = args.far.source.clone().map(SourceId::new).transpose();
    let id = args.connection.id.clone().map(ClientId::new).transpose();
    Ok(Asked {
        files,
        consumer: consumer.map_err(Failure::usage)?,
        source: source.map_err(Failure::usage)?,
        id: id.map_err(Failure::usage)?,
    })
}

fn check(asked: &Asked) -> Vec<Finding> {
    let mut found = Vec::new();
    let files = Files::read(&asked.files, &mut found);
    found.extend(policies(asked, &files));
    found.extend(agree::check(asked, &files));
    found
}

// Each policy by itself; with a party named, all of them are attached to its certificate.
fn policies(asked: &Asked, files: &Files) -> Vec<Finding> {
    let mut found = Vec::new();
    let is_named = asked.consumer.is_some() || asked.source.is_some();
    let groups: Vec<&[(String, Document)]> = match (files.policies.as_slice(), is_named) {
        ([], _) => Vec::new(),
        (all, true) => vec![all],
        (all, false) => all.chunks(1).collect(),
    };
    for group in groups {
        let names: Vec<String> = group.iter().map(|(name, _)| format!("`{name}`")).collect();
        let names = names.join(", ");
        let documents: Vec<Document> = group.iter().map(|(_, document)| document.clone()).collect();
        let characters: usize = documents.iter().map(Document::size).sum();
        if characters > MAX_CHARACTERS {
            found.extend(unchecked(&names, &format!(
                "{characters} characters are more than all policies of one certificate have ({MAX_CHARACTERS})"
            )));
            continue;
        }
        let arn = arn::of(&documents, files.region());
        match Holder::of(asked, files, &documents, &arn) {
            Ok(holder) => {
                found.extend(needs::check(&names, &documents, &holder, &arn));
                found.extend(excess::check(&names, &documents, &holder, &arn));
            }
            Err(why) => found.extend(unchecked(&names, &why)),
        }
    }
    found
}

fn unchecked(names: &str, why: &str) -> [Finding; 2] {
    [NEEDS, EXCESS].map(|code| Finding::info(code, format!("{names}: not checked: {why}")))
}

// Each statement is held against names of each pattern: what AWS would never take may not cost minutes.
const MAX_CHARACTERS: usize = POLICIES_PER_PRINCIPAL * POLICY_CHARACTERS;

// Many times what a region of one file has; each file has its own bound besides.
const MAX_FILES: usize = 64;

const READ: Code = Code::new(800);
const REGION: Code = Code::new(801);
const VALUES: Code = Code::new(802);
const NEEDS: Code = Code::new(803);
const EXCESS: Code = Code::new(804);
const AGREE: Code = Code::new(805);

#[cfg(test)]
mod tests;
