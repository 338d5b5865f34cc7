//! `probe doctor`: which hop, why, and what to do.
//!
//! Stages run in the order in which a message needs what they look at, each within its share of the time, and all within
//! `--timeout`. A stage adds findings and says whether what needs it can go on; what is not looked at is said with the
//! reason. Nothing that a stage meets ends the doctor: a file that cannot be read is a finding, not a failure.
//!
//! With `--static` no stage runs: files are held against each other before anything does (`static_files`).
//!
//! **Contract of a stage:** `check(&Context, &mut Findings) -> Next`. It ends within `Context::share` of a constant of its
//! own, may be dropped at any await, and puts no secret into a finding ([`Findings::add`] looks once more).

mod api;
mod archive;
mod aws;
mod beyond;
mod clock;
mod context;
mod endpoint;
mod evidence;
mod far_end;
mod files;
mod findings;
#[cfg(test)]
mod fixture;
mod identity;
mod key_mode;
mod limits;
mod mounts;
mod names;
mod network;
mod policy;
mod session;
mod statement;
mod static_files;
mod tls;
mod who;

use link::cli::StdoutError;
use link::error::{ExitKind, Failure};
use link::fault::{Code, Finding, FindingsReport};
use link::http::client::ApiError;
use tokio::time::{Instant, timeout_at};

pub use self::context::Context;
pub use self::findings::{Findings, Next};
use crate::args::DoctorArgs;
use crate::output::Output;
use crate::stage::Stage;

/// Runs the command; prints its own outcome.
///
/// # Errors
/// Only for a wrong command line, standard output that cannot be written, and an archive that cannot.
pub async fn run(args: &DoctorArgs) -> Result<Option<ExitKind>, Failure> {
    let output = Output::of(args.output);
    let Look {
        report,
        about,
        files,
        printed,
    } = look(args, output).await?;
    let printed = printed.and_then(|()| {
        let summary = || findings::summary(&report, &about);
        let json = || serde_json::to_value(&report).unwrap_or_default();
        output.print(summary, json).map(drop)
    });
    // Where nothing can be printed it is all that is left.
    if let Some(file) = &args.bundle {
        archive::write(file, &report, &about, &files).map_err(Failure::failed)?;
        output.note(&format!(
            "wrote `{}`: read it before it leaves the house",
            file.display()
        ));
    }
    printed?;
    Ok((!report.is_healthy()).then_some(ExitKind::Failed))
}

/// The findings alone, for callers in this process; nothing is printed with `--quiet`, and no archive is written.
///
/// # Errors
/// As [`run`].
pub async fn report(args: &DoctorArgs) -> Result<FindingsReport, Failure> {
    let look = look(args, Output::of(args.output)).await?;
    look.printed?;
    Ok(look.report)
}

struct Look {
    report: FindingsReport,
    /// About whom.
    about: String,
    /// What was looked at on disk.
    files: files::Looked,
    /// Whether the findings could be printed.
    printed: Result<(), StdoutError>,
}

async fn look(args: &DoctorArgs, output: Output) -> Result<Look, Failure> {
    // What would fail at the end fails at the beginning.
    args.far.api.check().map_err(ApiError::into_failure)?;
    if let Some(file) = &args.bundle {
        archive::check(file).map_err(Failure::misuse)?;
    }
    if !args.static_files.is_empty() {
        let (findings, about) = static_files::look(args, output).await?;
        return Ok(Look::of(findings, &about, files::Looked::default()));
    }
    let deadline = Instant::now() + args.timeout;
    let mut findings = Findings::new(output);
    let start = files::start(args, output, deadline, &mut findings).await?;
    let about = match &start.context {
        Some(context) => format!(
            "{} as `{}`",
            context.target.address(),
            context.target.client_id
        ),
        None => "the configuration".into(),
    };
    match start.context {
        Some(context) => stages(context, &mut findings).await,
        None => {
            for code in [DNS, CONNECTION, TLS, SESSION] {
                findings.skip(code, "it is not known which broker is meant");
            }
        }
    }
    Ok(Look::of(findings, &about, start.files))
}

// === impl Look ===

impl Look {
    fn of(findings: Findings, about: &str, files: files::Looked) -> Self {
        let about = findings.clean(about);
        let (report, printed) = findings.finish();
        Self {
            report,
            about,
            files,
            printed,
        }
    }
}

async fn stages(mut context: Context, findings: &mut Findings) {
    let below = below_mqtt(&mut context, findings).await;
    beyond::check(&context, below, findings).await;
}

/// The way to the broker, up to TLS.
async fn below_mqtt(context: &mut Context, findings: &mut Findings) -> Next {
    let addresses = if context.wants(Stage::Dns) {
        network::look_up(context, findings).await
    } else {
        Err(NOT_ASKED.into())
    };
    match addresses {
        Ok(addresses) => context.addresses = addresses,
        Err(why) => {
            for code in [CONNECTION, TLS, CLOCK] {
                findings.skip(code, &why);
            }
            return Next::Stop(why);
        }
    }
    context.reached = Some(Stage::Dns);
    let look = clock::Look::start(context);
    let tls = connection(context, findings).await;
    clock::check(context, look, findings).await;
    tls
}

async fn connection(context: &mut Context, findings: &mut Findings) -> Next {
    if !context.wants(Stage::Tcp) {
        findings.skip(CONNECTION, NOT_ASKED);
        return Next::Stop(NOT_ASKED.into());
    }
    let socket = match network::connect(context, findings).await {
        Ok(socket) => socket,
        Err(why) => {
            findings.skip(TLS, &why);
            return Next::Stop(why);
        }
    };
    context.reached = Some(Stage::Tcp);
    if !context.wants(Stage::Tls) {
        findings.skip(TLS, NOT_ASKED);
        return Next::Stop(NOT_ASKED.into());
    }
    let next = tls::check(context, socket, findings).await;
    if next == Next::Continue {
        context.reached = Some(Stage::Tls);
    }
    next
}

/// Runs a stage until the end of all time.
async fn in_time(
    context: &Context,
    code: Code,
    findings: &mut Findings,
    stage: impl AsyncFnOnce(&Context, &mut Findings) -> Next,
) -> Next {
    match timeout_at(context.deadline, stage(context, findings)).await {
        Ok(next) => next,
        Err(_) => {
            let within = context.args.timeout.as_secs_f32();
            // No green: whoever waits that long has a reason to look.
            let late =
                Finding::warning(code, format!("not looked at to the end within {within} s"))
                    .why("something before it or in it is slow")
                    .next("give more time with `-W SECONDS`");
            findings.add(late);
            Next::Stop("the time was up".into())
        }
    }
}

const NOT_ASKED: &str = "not asked for (`--until`)";

const CLOCK: Code = Code::new(120);
const DNS: Code = Code::new(200);
const CONNECTION: Code = Code::new(210);
const TLS: Code = Code::new(220);
const SESSION: Code = Code::new(300);
