//! The operator's hand tool for a link over MQTT 5 with mutual TLS: `publish`, `subscribe`, `ping`, `check`.
//!
//! # Usage
//! ```text
//! probe publish -h HOST -p 8883 --cafile ca.crt --cert client.crt --key client.key -t maestro/consumers/test/sourceevents -m test
//! probe subscribe --identity /mnt/secrets -h HOST -t 'maestro/consumers/+/agentevents' -C 1 -W 30
//! probe ping --identity /mnt/secrets -h HOST --count 100
//! probe check --identity /mnt/secrets -h HOST --consumer cluster-1
//! probe completions bash
//! ```
//! The letters of mosquitto's clients keep their meaning; `-h` is the host and help is `--help`. The differences:
//! TLS is always on, the port is 8883, QoS is 1, the protocol is MQTT 5, and there is always a deadline (`-W`).
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
//! A publish that nobody listens to (PUBACK 0x10) is a success with a note on standard error, or with
//! `--require-subscriber` exit code 1. Data goes to standard output, everything else to standard error; an error
//! is printed once, as `probe: …` and `hint: …`.
//!
//! # JSON
//! With `--json` each line of standard output is an object with a `type`; a failure is also a `result` with
//! `ok: false`, `error`, `hint` and `exitCode`. Times are milliseconds.
//!
//! | command | `type` | fields |
//! |---|---|---|
//! | `publish` | `message` | `number`, `topic`, `bytes`, `acknowledged`, `matched` (somebody listens), `ms` |
//! | | `result` | `ok`, `topic`, `clientId`, `acknowledged`, `unmatched`, `ms` |
//! | `subscribe` | `message` | `received`, `topic`, `bytes`, `retain`, `payload` or `payloadHex`; if there: `contentType`, `userProperties`, `event` (CloudEvent attributes), then `manifests`, `status` or `resync`, and `problem` when one of them could not be read |
//! | `ping` | `ping` | `number`, `ms` (null: lost) |
//! | | `result` | `ok`, `topic`, `returned`, `lost`, `minMs`, `p50Ms`, `p90Ms`, `p99Ms`, `maxMs` |
//! | `check` | `stage` | `stage`, `outcome` (`pass`, `fail`, `skipped`), `ms`, `detail`, and on failure `code`, `hint` |
//! | | `needs` | with `--consumer`: `action`, `resource` |
//! | | `result` | `ok`, `clientId`, and on failure `stage`, `code`, `hint`, `exitCode` |

pub mod args;
pub mod check;
pub mod connection;
pub mod output;
pub mod payload;
pub mod ping;
pub mod property;
pub mod publish;
pub mod subscribe;
pub mod target;
pub mod view;

use link::error::{ExitKind, Failure};

use crate::args::{Args, Command};
use crate::output::Format;

/// Runs the command that was asked for.
///
/// # Errors
/// What the user is to read, with the exit code.
pub async fn run(args: Args) -> Result<Option<ExitKind>, Failure> {
    let (outcome, json) = match args.command {
        Command::Publish(args) => (publish::run(&args).await, args.json),
        Command::Subscribe(args) => (subscribe::run(&args).await, args.json),
        Command::Ping(args) => (ping::run(&args).await, args.json),
        // Prints its own outcome, failure included.
        Command::Check(args) => return check::run(&args).await,
    };
    if let Err(failure) = &outcome {
        Format::of(json).print_failure(failure);
    }
    outcome.map(|()| None)
}
