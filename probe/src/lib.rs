//! The operator's hand tool for a link over MQTT 5 with mutual TLS: `publish`, `subscribe`, `ping`, `check`,
//! `doctor`, `bench`; and of a region through its API: `watch`.
//!
//! # Usage
//! ```text
//! probe publish -h HOST -p 8883 --cafile ca.crt --cert client.crt --key client.key -t maestro/consumers/test/sourceevents -m test
//! probe subscribe --identity /mnt/secrets -h HOST -t 'maestro/consumers/+/agentevents' -C 1 -W 30
//! probe ping --identity /mnt/secrets -h HOST --count 100
//! probe check --identity /mnt/secrets -h HOST --consumer cluster-1
//! probe doctor --identity /mnt/secrets -h HOST --bundle doctor.tar
//! probe doctor --static region.yaml --static agent.yaml
//! probe bench --identity /mnt/secrets -h HOST --connections 10 --rate 200 --duration 30
//! probe watch --api https://bridge.example --api-token-file token
//! probe completions bash
//! ```
//! The options of mosquitto's clients keep their meaning, or are refused by name ([`args::refused`]); `-h` is the host and
//! help is `--help`. The differences: TLS is always on, the port is 8883, QoS is 1, the protocol is MQTT 5, there is always
//! a deadline (`-W`), and messages are shown for people unless `-v`, `-N`, `-F` or `--raw` asks for what mosquitto writes.
//!
//! # Exit codes
//! | code | meaning |
//! |---|---|
//! | 0 | done, and acknowledged by the broker |
//! | 1 | tried and failed |
//! | 2 | the command line or the configuration is wrong; nothing was tried |
//! | 3 | the broker did not answer before the deadline |
//! | 4 | the broker refused: certificate, policy or protocol |
//!
//! `subscribe` ends with 0 at Ctrl-C and SIGTERM once it is subscribed, and with 1 before.
//! `doctor` ends with 0 when nothing is wrong, with 1 when there is a warning or an error, and with 2 for a wrong command line.
//!
//! A publish that nobody listens to (PUBACK 0x10) is a success with a note on standard error, or with
//! `--require-subscriber` exit code 1. Data goes to standard output, everything else to standard error; an error
//! is printed once, as `probe: …` and `hint: …`. With `--quiet` only the exit code tells how it ended.
//!
//! # JSON
//! With `--json` each line of standard output is an object with a `type`; a failure is also a `result` with
//! `ok: false`, `error`, `hint` and `exitCode`. Times are milliseconds.
//!
//! | command | `type` | fields |
//! |---|---|---|
//! | `publish` | `message` | `number`, `topic`, `bytes`, `acknowledged`, `matched` (somebody listens), `ms` |
//! | | `result` | `ok`, `topic`, `clientId`, `acknowledged`, `unmatched`, `ms` |
//! | `subscribe` | `message` | `received`, `topic`, `bytes`, `qos`, `retain`, `payload` or `payloadHex`; if there: `contentType`, `userProperties`, `responseTopic`, `correlationDataHex`, `event` (CloudEvent attributes), then `manifests`, `status` or `resync`, and `problem` when one of them could not be read |
//! | `ping` | `ping` | `number`, `ms` (null: lost) |
//! | | `result` | `ok`, `topic`, `returned`, `lost`, `minMs`, `p50Ms`, `p90Ms`, `p99Ms`, `maxMs` |
//! | `check` | `stage` | `stage`, `outcome` (`pass`, `fail`, `skipped`), `ms`, `detail`, and on failure `code`, `hint` |
//! | | `needs` | with `--consumer`: `action`, `resource` |
//! | | `result` | `ok`, `clientId`, and on failure `stage`, `code`, `hint`, `exitCode` |
//!
//! `bench` prints one `result` with a `schema`, `watch` a `snapshot` with a `schema` for each look.
//! `doctor` prints one object without a `type`: `schema` and `findings` ([`link::fault::FindingsReport`]).

pub mod args;
pub mod bench;
pub mod check;
pub mod connection;
pub mod dial;
pub mod doctor;
pub mod format;
mod interrupt;
mod off_thread;
pub mod output;
pub mod payload;
pub mod peer;
pub mod ping;
pub mod property;
pub mod publish;
pub mod received;
mod redact;
pub mod session;
pub mod stage;
pub mod subscribe;
pub mod target;
pub mod view;
pub mod watch;

use link::error::{ExitKind, Failure};
use link::telemetry::{self, LogFormat, LogOptions};

use crate::args::refused::RefusedOption;
use crate::args::{Args, Verb};
use crate::output::Output;

/// Runs the command that was asked for.
///
/// # Errors
/// What the user is to read, with the exit code.
pub async fn run(args: Args) -> Result<Option<ExitKind>, Failure> {
    let verb = args.command;
    let output = Output::of(verb.output());
    if verb.output().debug {
        let options = LogOptions {
            format: LogFormat::Text,
            filter: "warn,probe=debug,link=debug".into(),
        };
        telemetry::init(&options).map_err(Failure::misuse)?;
    }
    let outcome = match verb
        .connection()
        .and_then(|connection| connection.refused.0)
    {
        Some(option) => Err(not_taken(option)),
        None => dispatch(&verb).await,
    };
    match outcome {
        Err(failure) => {
            output.print_failure(&failure);
            // What was typed wrong is said all the same: nothing was tried.
            match output.quiet && failure.kind() != ExitKind::Usage {
                true => Ok(Some(failure.kind())),
                false => Err(failure),
            }
        }
        done => done,
    }
}

/// An option of mosquitto's clients that is not taken.
#[derive(Debug, thiserror::Error)]
#[error("option `{name}` is not taken: {reason}")]
struct NotTaken {
    name: String,
    reason: &'static str,
}

async fn dispatch(verb: &Verb) -> Result<Option<ExitKind>, Failure> {
    match verb {
        Verb::Publish(args) => publish::run(args).await.map(|()| None),
        Verb::Subscribe(args) => subscribe::run(args).await.map(|()| None),
        Verb::Ping(args) => ping::run(args).await.map(|()| None),
        // Prints its own outcome, failure included.
        Verb::Check(args) => check::run(args).await,
        Verb::Doctor(args) => doctor::run(args).await,
        Verb::Bench(args) => bench::run(args).await,
        Verb::Watch(args) => watch::run(args).await.map(|()| None),
    }
}

fn not_taken(option: &RefusedOption) -> Failure {
    let error = NotTaken {
        name: option.name(),
        reason: option.reason,
    };
    Failure::usage(error).with_hint(option.hint.to_owned())
}
