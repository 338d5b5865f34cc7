//! What benchmarks share: order statistics, a process's memory, the machine's load, and one way of writing a result.
//!
//! A benchmark measures and prints; it never fails because of a time.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::process::ProcessSpec;
use crate::test_dir::profile_directory;

pub mod database;
pub mod load_data;
pub mod path;
pub mod sources;

/// Durations or rates, in order.
#[derive(Clone, Debug)]
pub struct Sample {
    sorted: Vec<f64>,
}

/// Memory of a process in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// What it holds now (`VmRSS`).
    pub resident: u64,
    /// The most it ever held (`VmHWM`).
    pub peak: u64,
}

/// Prints the title of a benchmark with what its figures depend on, and makes sure that it runs what users run.
///
/// # Errors
/// When this is a debug build, or the binaries of its profile are missing.
pub fn begin(title: &str) -> Result<()> {
    let directory = profile_directory()?;
    let profile = directory.file_name().unwrap_or_default();
    let profile = profile.to_string_lossy().into_owned();
    ensure!(
        profile == "release" || profile == "dist",
        "benchmarks measure builds for users: run them with `cargo bench -p tests --bench NAME`, or with \
         `--profile dist` as well"
    );
    for binary in BINARIES {
        ProcessSpec::binary(binary).with_context(|| {
            format!(
                "benchmarks run the real programs: run `cargo build --profile {profile} --bins` first"
            )
        })?;
    }
    say(&format!("# {title}, built as `{profile}`"));
    say(&format!(
        "{} cores, load average {}",
        std::thread::available_parallelism()?,
        load()
    ));
    Ok(())
}

/// Which parts of a benchmark were asked for on the command line; none means all.
pub fn wanted(part: &str) -> bool {
    let asked: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    asked.is_empty() || asked.iter().any(|arg| arg == part)
}

/// Prints one result.
#[expect(
    clippy::print_stdout,
    reason = "the result of a benchmark is its output"
)]
pub fn say(line: &str) {
    println!("{line}");
}

/// The machine's load averages over 1, 5 and 15 minutes.
pub fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace()
        .take(3)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Memory of a running process.
///
/// # Errors
/// When it is gone, or this is not Linux.
pub fn memory(process: u32) -> Result<Memory> {
    let path = format!("/proc/{process}/status");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read `{path}`"))?;
    let field = |name: &str| -> Result<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|rest| rest.split_whitespace().next());
        let kilobytes: u64 = number
            .with_context(|| format!("`{path}` has no `{name}`"))?
            .parse()?;
        Ok(kilobytes * 1024)
    };
    Ok(Memory {
        resident: field("VmRSS:")?,
        peak: field("VmHWM:")?,
    })
}

/// Processor time that a running process has taken so far.
///
/// # Errors
/// When it is gone, or this is not Linux.
pub fn processor_time(process: u32) -> Result<Duration> {
    let path = format!("/proc/{process}/stat");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read `{path}`"))?;
    // The name before it may hold anything. Then user and system time are the 12th and 13th, in hundredths of a second.
    let (_, rest) = text.rsplit_once(')').context("a name in parentheses")?;
    let ticks = rest.split_whitespace().skip(11).take(2);
    let ticks: Vec<u64> = ticks.map(str::parse).collect::<Result<_, _>>()?;
    Ok(Duration::from_millis(10 * ticks.iter().sum::<u64>()))
}

// === impl Sample ===

impl Sample {
    /// Of seconds or anything else that is a number.
    pub fn new(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self { sorted: values }
    }

    /// Of durations, in seconds.
    pub fn of(durations: impl IntoIterator<Item = Duration>) -> Self {
        Self::new(
            durations
                .into_iter()
                .map(|time| time.as_secs_f64())
                .collect(),
        )
    }

    /// The middle one.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The value that this share of the sample does not exceed (nearest rank); 0 of nothing.
    pub fn quantile(&self, share: f64) -> f64 {
        let rank = (share * self.sorted.len() as f64).ceil() as usize;
        let at = rank.saturating_sub(1);
        self.sorted.get(at).copied().unwrap_or_default()
    }

    /// The mean; 0 of nothing.
    pub fn average(&self) -> f64 {
        self.sorted.iter().sum::<f64>() / self.sorted.len().max(1) as f64
    }

    /// The smallest; 0 of nothing.
    pub fn least(&self) -> f64 {
        self.sorted.first().copied().unwrap_or_default()
    }

    /// The largest; 0 of nothing.
    pub fn most(&self) -> f64 {
        self.sorted.last().copied().unwrap_or_default()
    }
}

impl std::fmt::Display for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        write!(
            f,
            "{:.1} MB (peak {:.1} MB)",
            megabytes(self.resident),
            megabytes(self.peak)
        )
    }
}

const BINARIES: [&str; 4] = ["agent", "server-bridge", "probe", "sandbox"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_of_the_sample() {
        let sample = Sample::new(vec![3.0, 1.0, 2.0, 4.0]);
        assert_eq!((sample.least(), sample.most()), (1.0, 4.0));
        assert_eq!((sample.median(), sample.quantile(0.99)), (2.0, 4.0));
        assert_eq!(sample.average(), 2.5);
        assert_eq!(Sample::new(Vec::new()).median(), 0.0);
    }

    #[test]
    fn memory_of_this_process_is_known() {
        let memory = memory(std::process::id()).unwrap();
        assert!(memory.resident > 100_000 && memory.peak >= memory.resident);
    }
}
