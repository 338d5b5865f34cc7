//! Facts of the machine: what matters to a connection, from files that everybody may read.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::doctor::files::Looked;

/// The files that were looked at: path, size, mode, owner, and what they are mounted from.
pub(super) fn files(looked: &Looked) -> String {
    let mut text = String::new();
    let identity = looked.inspection.files.iter();
    let identity = identity.flat_map(|files| [&files.certificate, &files.key, &files.ca]);
    for path in looked.configuration.iter().chain(identity) {
        let shown = path.display();
        let line = match std::fs::metadata(path) {
            Ok(file) => {
                let mode = file.mode() & 0o7777;
                let (size, user, group) = (file.len(), file.uid(), file.gid());
                format!("{shown}: {size} bytes, mode {mode:04o}, owner {user}:{group}")
            }
            Err(error) => format!("{shown}: {error}"),
        };
        let mount = looked.mounts.of(path);
        let mount = mount.map_or(String::new(), |(at, kind)| {
            format!(", on {kind} at {}", at.display())
        });
        let _ = writeln!(text, "{line}{mount}");
    }
    text
}

/// The names of all variables, and the values of the few that are listed and have the shape that they must have.
pub(super) fn environment(variables: impl Iterator<Item = (OsString, OsString)>) -> String {
    let mut lines: Vec<String> = variables
        .filter_map(|(name, value)| {
            let (name, value) = (name.into_string().ok()?, value.into_string().ok());
            let shown = value.filter(|value| is_shown(&name, value));
            Some(shown.map_or_else(|| name.clone(), |value| format!("{name}={value}")))
        })
        .collect();
    lines.sort();
    lines.join("\n") + "\n"
}

fn is_shown(name: &str, value: &str) -> bool {
    match name {
        "KUBERNETES_SERVICE_HOST" => value.parse::<IpAddr>().is_ok(),
        "KUBERNETES_SERVICE_PORT" => value.parse::<u16>().is_ok(),
        "AWS_REGION" | "AWS_DEFAULT_REGION" => is_region(value),
        _ => false,
    }
}

// `us-gov-west-1`: two to four words of letters and a number.
fn is_region(value: &str) -> bool {
    let parts: Vec<&str> = value.split('-').collect();
    let is_word =
        |part: &&str| (2..=9).contains(&part.len()) && part.chars().all(|c| c.is_ascii_lowercase());
    match parts.split_last() {
        Some((number, words)) => {
            (2..=3).contains(&words.len())
                && words.iter().all(is_word)
                && number.parse::<u8>().is_ok()
        }
        None => false,
    }
}

/// Program, system, limits.
pub(super) fn facts() -> String {
    let mut text = String::new();
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    let _ = writeln!(text, "probe {}, {os} {arch}", link::cli::version());
    for (file, wanted) in FACTS {
        let Ok(content) = link::file::read_text(Path::new(file), MOST_BYTES) else {
            continue;
        };
        let lines = content
            .lines()
            .filter(|line| wanted.is_empty() || wanted.iter().any(|start| line.starts_with(start)));
        for line in lines.take(MOST_LINES) {
            let _ = writeln!(text, "{file}: {line}");
        }
    }
    text
}

/// How names are looked up; comments are left out.
pub(super) fn resolver() -> String {
    match link::file::read_text(Path::new("/etc/resolv.conf"), MOST_BYTES) {
        Ok(text) => {
            let known = |line: &&str| {
                let word = line.split_whitespace().next().unwrap_or_default();
                ["nameserver", "search", "domain", "options", "sortlist"].contains(&word)
            };
            text.lines()
                .filter(known)
                .map(|line| format!("{line}\n"))
                .collect()
        }
        Err(error) => format!("({error})\n"),
    }
}

const FACTS: [(&str, &[&str]); 9] = [
    ("/proc/version", &[]),
    ("/proc/uptime", &[]),
    ("/proc/loadavg", &[]),
    ("/proc/meminfo", &["MemTotal", "MemAvailable"]),
    (
        "/proc/self/status",
        &[
            "Uid",
            "Gid",
            "Groups",
            "CapEff",
            "NoNewPrivs",
            "Seccomp",
            "Threads",
            "VmRSS",
        ],
    ),
    (
        "/proc/self/limits",
        &["Max open files", "Max processes", "Max locked memory"],
    ),
    ("/proc/net/route", &[]),
    ("/sys/fs/cgroup/memory.max", &[]),
    ("/sys/fs/cgroup/cpu.max", &[]),
];

const MOST_BYTES: u64 = 256 * 1024;

const MOST_LINES: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_variables_only_names_are_told_and_values_that_can_be_nothing_else() {
        let pairs = [
            ("AWS_REGION", "us-gov-west-1"),
            ("AWS_DEFAULT_REGION", "canary"),
            ("AWS_SECRET_ACCESS_KEY", "canary"),
            ("KUBERNETES_SERVICE_HOST", "10.0.0.1"),
            ("KUBERNETES_SERVICE_PORT", "canary"),
        ];
        let text = environment(
            pairs
                .map(|(name, value)| (name.into(), value.into()))
                .into_iter(),
        );
        assert_eq!(
            text,
            "AWS_DEFAULT_REGION\nAWS_REGION=us-gov-west-1\nAWS_SECRET_ACCESS_KEY\n\
             KUBERNETES_SERVICE_HOST=10.0.0.1\nKUBERNETES_SERVICE_PORT\n"
        );
    }
}
