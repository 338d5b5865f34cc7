//! `probe doctor`: which hop, why, and what to do.
//!
//! Stages run in the order in which a message needs what they look at, each within its share of the time, and all within
//! `--timeout`. A stage adds findings and says whether what needs it can go on; what is not looked at is said with the
//! reason. Nothing that a stage meets ends the doctor: a file that cannot be read is a finding, not a failure.
//!
//! **Contract of a stage:** `check(&Context, &mut Findings) -> Next`. It ends within `Context::share` of a constant of its
//! own, may be dropped at any await, and puts no secret into a finding ([`Findings::add`] looks once more).

mod archive;
mod aws;
mod clock;
mod context;
mod endpoint;
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
mod off_thread;
mod policy;
mod redact;
mod session;
mod tls;

use link::error::{ExitKind, Failure};
use link::fault::{Code, Finding};
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
    let report = findings.finish()?;
    let _ = output.print(
        || findings::summary(&report, &about),
        || serde_json::to_value(&report).unwrap_or_default(),
    )?;
    if let Some(file) = &args.bundle {
        archive::write(file, &report, &about, &start.files).map_err(Failure::failed)?;
        output.note(&format!(
            "wrote `{}`: read it before it leaves the house",
            file.display()
        ));
    }
    Ok((!report.is_healthy()).then_some(ExitKind::Failed))
}

async fn stages(mut context: Context, findings: &mut Findings) {
    let below = below_mqtt(&mut context, findings).await;
    let context = &context;
    let session = if context.wants(Stage::Connect) {
        needs(below, context, SESSION, findings, session::check).await
    } else {
        findings.skip(SESSION, NOT_ASKED);
        return;
    };
    if !context.wants_all() {
        return;
    }
    let _ = needs(session, context, POLICY, findings, policy::check).await;
    // What needs no connection is looked at even if there is none.
    let _ = in_time(context, NAMES, findings, names::check).await;
    let _ = in_time(context, LIMITS, findings, limits::check).await;
    let _ = in_time(context, FAR_END, findings, far_end::check).await;
    let _ = in_time(context, AWS, findings, aws::check).await;
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

/// Runs a stage if the one that it needs lets it.
async fn needs(
    before: Next,
    context: &Context,
    code: Code,
    findings: &mut Findings,
    stage: impl AsyncFnOnce(&Context, &mut Findings) -> Next,
) -> Next {
    match before {
        Next::Continue => in_time(context, code, findings, stage).await,
        Next::Stop(why) => {
            findings.skip(code, &why);
            Next::Stop(why)
        }
    }
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
const POLICY: Code = Code::new(310);
const LIMITS: Code = Code::new(330);
const NAMES: Code = Code::new(400);
const FAR_END: Code = Code::new(500);
const AWS: Code = Code::new(600);
