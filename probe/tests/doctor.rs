//! `probe doctor` up to TLS, and `--static`: each fault made for real, with real files and small servers that behave that way.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

#[path = "doctor/answers.rs"]
mod answers;
#[path = "doctor/archive.rs"]
mod archive;
#[path = "doctor/faults.rs"]
mod faults;
#[path = "doctor/files.rs"]
mod files;
#[path = "doctor/pki.rs"]
mod pki;
#[path = "doctor/servers.rs"]
mod servers;
#[path = "doctor/static_files.rs"]
mod static_files;

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

/// What a run printed, with `--json`.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) report: Value,
    pub(crate) took: Duration,
    pub(crate) all: String,
}

impl Run {
    /// Code and severity of every finding.
    pub(crate) fn found(&self) -> Vec<(&str, &str)> {
        let all = self.report["findings"].as_array().unwrap();
        all.iter()
            .map(|finding| {
                (
                    finding["code"].as_str().unwrap(),
                    finding["severity"].as_str().unwrap(),
                )
            })
            .collect()
    }

    /// The errors and warnings are exactly these; returns what was seen of the first.
    #[track_caller]
    pub(crate) fn has(&self, expected: &[(&str, &str)]) -> String {
        let wrong: Vec<(&str, &str)> = self
            .found()
            .into_iter()
            .filter(|(_, severity)| ["warning", "error"].contains(severity))
            .collect();
        assert_eq!(wrong, expected, "{}", self.all);
        assert_eq!(self.code, i32::from(!expected.is_empty()), "{}", self.all);
        let all = self.report["findings"].as_array().unwrap();
        let is_wrong = |finding: &&Value| {
            ["warning", "error"].contains(&finding["severity"].as_str().unwrap())
        };
        for finding in all.iter().filter(is_wrong) {
            for part in ["seen", "why", "next"] {
                assert!(!finding[part].as_str().unwrap().is_empty(), "{finding}");
            }
        }
        all.iter().find(is_wrong).map_or(String::new(), |finding| {
            finding["seen"].as_str().unwrap().to_owned()
        })
    }
}

/// `probe doctor --json --until tls` with more arguments; nothing of the tester's environment but the path.
pub(crate) fn doctor(arguments: &[&str]) -> Run {
    doctor_in(&[], arguments)
}

pub(crate) fn doctor_in(variables: &[(&str, &str)], arguments: &[&str]) -> Run {
    inside(&[], variables, arguments)
}

/// The same in name spaces of its own (`unshare`), after a command of the shell there.
pub(crate) fn in_namespace(spaces: &str, prepare: &str, arguments: &[&str]) -> Run {
    let script = format!("{prepare} && exec \"$@\"");
    inside(
        &["unshare", spaces, "sh", "-c", &script, "sh"],
        &[],
        arguments,
    )
}

/// The same started by another program.
pub(crate) fn inside(by: &[&str], variables: &[(&str, &str)], arguments: &[&str]) -> Run {
    let started = Instant::now();
    let mut command = command_by(by, variables);
    command.arg("--json").args(arguments);
    // The limits of the stages grow with it: a machine may have other things to do.
    if !arguments.contains(&"-W") {
        command.args(["-W", "40"]);
    }
    let output = command.output().unwrap();
    let took = started.elapsed();
    let all = text(&output);
    let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    assert!(took < Duration::from_secs(60), "{took:?}: {all}");
    Run {
        code: output.status.code().unwrap(),
        report,
        took,
        all,
    }
}

pub(crate) fn command(variables: &[(&str, &str)]) -> Command {
    command_by(&[], variables)
}

fn command_by(by: &[&str], variables: &[(&str, &str)]) -> Command {
    let probe = env!("CARGO_BIN_EXE_probe");
    let mut words = by.iter().copied().chain([probe]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    // What stands before it is looked for in the usual places.
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.envs(variables.iter().copied());
    command.args(["doctor", "--until", "tls"]);
    command
}

pub(crate) fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The arguments for a broker of this machine.
pub(crate) fn at<'a>(port: &'a str, mount: &'a Path) -> Vec<&'a str> {
    vec![
        "-h",
        "localhost",
        "-p",
        port,
        "--identity",
        mount.to_str().unwrap(),
    ]
}
