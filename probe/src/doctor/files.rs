//! The first stage: configuration, mounted directory, certificate, key and CA on disk.

use std::path::{Path, PathBuf};
use std::time::Duration;

use link::clock::Clock;
use link::config::{ConfigProblem, ConfigProblems, Origin, ProcessEnv, from_mount};
use link::error::Failure;
use link::fault::{Code, Finding};
use link::file::ReadError;
use link::id::ConsumerName;
use link::identity::{Inspection, Location, inspect};
use tokio::time::Instant;

use super::context::Context;
use super::findings::Findings;
use super::mounts::Mounts;
use super::{identity, key_mode};
use crate::args::{ConnectionArgs, DoctorArgs};
use crate::off_thread;
use crate::output::Output;
use crate::redact::Misplaced;
use crate::target::{Target, TargetError};

/// Where the doctor begins.
pub(super) struct Start {
    /// What the stages use; `None` where it is not known which broker is meant.
    pub(super) context: Option<Context>,
    /// What is on disk, for the archive.
    pub(super) files: Looked,
}

/// What was looked at on disk.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// The configuration files, in the order in which they are looked for.
    pub(super) configuration: Vec<PathBuf>,
    /// Certificate, key and CA.
    pub(super) inspection: Inspection,
    /// What is mounted where.
    pub(super) mounts: Mounts,
}

/// Resolves the command line, looks at every file, and says what is wrong with each.
///
/// # Errors
/// A usage failure for a command line that is wrong by itself.
pub(super) async fn start(
    args: &DoctorArgs,
    output: Output,
    deadline: Instant,
    findings: &mut Findings,
) -> Result<Start, Failure> {
    let time = SHARE.min(deadline.saturating_duration_since(Instant::now()));
    let connection = args.connection.clone();
    let resolving = move || {
        let misplaced = misplaced(&connection);
        (misplaced, Target::resolve(&connection, output))
    };
    let (misplaced, resolved) = off_thread::within(time, resolving).await.unzip();
    findings.hide(misplaced.unwrap_or_default());
    let target = match resolved {
        Some(Ok(target)) => Some(target),
        Some(Err(failure)) => {
            findings.add(of_configuration(failure, &args.connection)?);
            None
        }
        None => {
            findings.add(hangs("the configuration", time));
            None
        }
    };
    let mut consumer = args
        .consumer
        .as_ref()
        .map(|name| ConsumerName::new(name.clone()))
        .transpose()
        .map_err(Failure::usage)?;
    let location = target.as_ref().map(|target| target.location.clone());
    let location = location.or_else(|| named(&args.connection));
    let mut looked = Looked {
        configuration: configuration(&args.connection),
        ..Looked::default()
    };
    let mut mounted = None;
    if let Some(location) = location {
        let time = SHARE.min(deadline.saturating_duration_since(Instant::now()));
        let directory = args.connection.identity.clone();
        let looking = move || Disk::look(&location, directory.as_deref());
        match off_thread::within(time, looking).await {
            Some(disk) => {
                disk.say(findings);
                mounted = disk.consumer;
                looked.inspection = disk.inspection;
                looked.mounts = disk.mounts;
            }
            None => findings.add(hangs("certificate, key and CA", time)),
        }
    }
    consumer = consumer.or(mounted);
    let set = looked.inspection.identity.take().map(std::sync::Arc::new);
    let context = target.map(|mut target| {
        target.arn.account.clone_from(&args.account);
        Context {
            target,
            args: args.clone(),
            consumer,
            identity: set,
            addresses: Vec::new(),
            reached: None,
            deadline,
        }
    });
    Ok(Start {
        context,
        files: looked,
    })
}

struct Disk {
    inspection: Inspection,
    mounts: Mounts,
    consumer: Option<ConsumerName>,
    found: Vec<Finding>,
}

// === impl Disk ===

impl Disk {
    fn look(location: &Location, directory: Option<&Path>) -> Self {
        let now = Clock::system().now();
        let inspection = inspect(location, now);
        let mounts = Mounts::here();
        let mut found: Vec<Finding> = inspection
            .problems
            .iter()
            .map(|problem| identity::of_problem(problem, is_pod()))
            .collect();
        // Without a directory there is nothing more to say.
        let mount = directory.filter(|directory| directory.is_dir());
        let mut consumer = None;
        if let Some(directory) = mount {
            match from_mount(directory) {
                Ok(mount) => consumer = mount.consumer,
                // That a file of the identity is missing is said above, by its name.
                Err(problems) => {
                    let told = !inspection.problems.is_empty();
                    found.extend(of_mount(directory, &problems, told));
                }
            }
        }
        if let Some(files) = &inspection.files {
            found.extend(key_mode::finding(&files.key, &mounts));
            found.extend(mounts.sub_paths([&files.certificate, &files.key, &files.ca]));
        }
        found.extend(identity::of_certificate(&inspection, now));
        Self {
            inspection,
            mounts,
            consumer,
            found,
        }
    }

    fn say(&self, findings: &mut Findings) {
        let Inspection {
            files, authorities, ..
        } = &self.inspection;
        if let (Some(files), Some(_)) = (files, &self.inspection.identity) {
            let ca: Vec<String> = authorities
                .iter()
                .take(SHOWN)
                .map(|it| format!("`{it}`"))
                .collect();
            findings.add(Finding::ok(
                FILES,
                format!(
                    "`{}`, `{}`, `{}` with {}{}",
                    files.certificate.display(),
                    files.key.display(),
                    files.ca.display(),
                    ca.join(", "),
                    more(authorities.len()),
                ),
            ));
        }
        for finding in &self.found {
            findings.add(finding.clone());
        }
    }
}

fn more(count: usize) -> String {
    match count.saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    }
}

/// A failure of the configuration is a finding, one of the command line is the user's.
fn of_configuration(failure: Failure, args: &ConnectionArgs) -> Result<Finding, Failure> {
    let from_file = args.config.is_some() || args.identity.is_some();
    let is_configuration = match failure.cause::<TargetError>() {
        Some(TargetError::NoHost | TargetError::NoIdentity) => from_file,
        Some(TargetError::Scheme(_) | TargetError::Data { .. }) => true,
        Some(_) => false,
        None => failure.cause::<ConfigProblems>().is_some(),
    };
    if !is_configuration {
        return Err(failure);
    }
    let missing = args.config.as_ref().filter(|file| !file.exists());
    if let Some(file) = missing {
        let seen = format!("configuration file `{}` does not exist", file.display());
        return Ok(Finding::error(MISSING, seen)
            .why("it names the broker")
            .next("correct `--config`, or the volume that should hold it"));
    }
    let finding = Finding::error(CONFIGURATION, failure.to_string())
        .why("agent and bridge read the same file, and end with the same words")
        .next(failure.hint().unwrap_or("correct the configuration"));
    Ok(finding)
}

/// What is wrong with the mount beside its identity. Nothing of a file's content is said: it may be anything.
fn of_mount(
    directory: &Path,
    problems: &ConfigProblems,
    identity_is_told: bool,
) -> Option<Finding> {
    let name = directory.join("consumerName");
    let told = |problem: &&ConfigProblem| match problem.origin() {
        Some(Origin::File { path, .. }) => *path == name || identity_is_told,
        _ => false,
    };
    let left: Vec<String> = problems
        .iter()
        .filter(|problem| !told(problem))
        .map(ToString::to_string)
        .chain(of_name(&name))
        .collect();
    (!left.is_empty()).then(|| {
        Finding::error(CONFIGURATION, left.join("\n"))
            .why("an agent does not start with it")
            .next("correct the value in the secret that is mounted there")
    })
}

fn of_name(file: &Path) -> Option<String> {
    let shown = file.display();
    match link::file::read_text(file, NAME_BYTES) {
        Ok(text) if ConsumerName::new(text.trim()).is_ok() => None,
        Ok(text) => Some(format!(
            "`{shown}` holds no name of a consumer ({} bytes): lower-case letters, digits, `-` and `.`",
            text.len()
        )),
        Err(ReadError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => Some(format!("`{shown}` {}", link::error::chain(&error))),
    }
}

fn named(args: &ConnectionArgs) -> Option<Location> {
    if let Some(directory) = &args.identity {
        return Some(Location::Directory(directory.clone()));
    }
    let ca = args.cafile.as_ref().or(args.capath.as_ref())?;
    Some(Location::Files {
        certificate: args.cert.clone()?,
        key: args.key.clone()?,
        ca: ca.clone(),
    })
}

// What is at the wrong place in the files or the environment. `consumerName` is left aside: what is no name is never quoted.
fn misplaced(args: &ConnectionArgs) -> Misplaced {
    let files = configuration(args);
    let texts = files
        .iter()
        .filter(|file| !file.ends_with("consumerName"))
        .filter_map(|file| link::file::read_text(file, CONFIGURATION_BYTES).ok());
    texts.fold(Misplaced::of_environment(&ProcessEnv), |all, text| {
        all.and(Misplaced::of_file(&text))
    })
}

fn configuration(args: &ConnectionArgs) -> Vec<PathBuf> {
    let mounted = args.identity.as_ref();
    let mounted = mounted
        .into_iter()
        .flat_map(|directory| ["config.yaml", "consumerName"].map(|name| directory.join(name)));
    args.config.iter().cloned().chain(mounted).collect()
}

fn hangs(what: &str, within: Duration) -> Finding {
    if within < SHARE {
        let within = within.as_secs_f32();
        let seen =
            format!("reading {what} did not end within {within} s, which was all the time left");
        return Finding::warning(FILES, seen)
            .why("that is less than a healthy machine may need")
            .next("give more time with `-W SECONDS`");
    }
    Finding::error(FILES, format!("reading {what} does not end"))
        .why("the file system that holds it does not answer")
        .next("look for a network file system that is gone: `cat /proc/mounts`")
}

/// Whether this runs in a pod, which every kubelet says in this variable.
fn is_pod() -> bool {
    use link::config::Env as _;
    ProcessEnv.var("KUBERNETES_SERVICE_HOST").is_some()
}

// A file system of a healthy machine answers in milliseconds.
const SHARE: Duration = Duration::from_millis(1500);

// A name has 253 characters at most; an editor may have added line breaks.
const NAME_BYTES: u64 = 1024;

// As much as `link::config` reads.
const CONFIGURATION_BYTES: u64 = 1024 * 1024;

// A system trust store has more than a hundred.
const SHOWN: usize = 3;

const FILES: Code = Code::new(100);
const MISSING: Code = Code::new(101);
const CONFIGURATION: Code = Code::new(106);

#[cfg(test)]
mod tests {
    use link::fault::Severity;

    use super::*;

    #[test]
    fn no_file_system_is_blamed_where_there_was_no_time_to_read() {
        let short = hangs("a file", SHARE - Duration::from_millis(1));
        assert_eq!(short.severity, Severity::Warning);
        assert!(short.next.contains("-W"), "{short:?}");
        assert_eq!(hangs("a file", SHARE).severity, Severity::Error);
    }
}
