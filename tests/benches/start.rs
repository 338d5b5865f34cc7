//! Start time of `probe publish` against `mosquitto_pub`: one message over mutual TLS, acknowledged, to the same
//! broker, in turns. The sizes of the binaries are printed with it.
//!
//! `cargo bench -p tests --bench start`

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tests::measure::{self, Sample, say};
use tests::mosquitto;
use tests::pki::{Authority, Layout, write_mount};
use tests::process::ProcessSpec;
use tests::test_dir::{TestDir, profile_directory};

#[tokio::main]
async fn main() -> Result<()> {
    measure::begin("start: one acknowledged message, from the command to its exit")?;
    let test_dir = TestDir::new("bench-start")?;
    let authority = Authority::new("bench CA")?;
    let builder = mosquitto::MosquittoBuilder::new(&authority).persistence(false);
    let broker = builder.start(test_dir.path()).await?;
    let identity = test_dir.dir("client")?.join("mount");
    let set = authority.client("client")?;
    write_mount(&identity, &set, &[], Layout::PerFileRename)?;
    let topic = ["-t", "bench/start", "-m", "hello", "-q", "1"];
    // Speaks MQTT 5 too, so that both make the same round trips.
    let theirs = mosquitto::client("mosquitto_pub", broker.address(), &identity)?
        .args(topic)
        .args(["-V", "5", "-i", "theirs"]);
    let ours = ProcessSpec::binary("probe")?
        .arg("publish")
        .arg("--identity")
        .arg(&identity)
        .args(["-h", "127.0.0.1", "-p"])
        .arg(broker.address().port().to_string())
        .args(topic)
        .args(["-i", "ours"]);
    let (mut our_times, mut their_times) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let times = (timed(&theirs)?, timed(&ours)?);
        // The first fills the caches.
        if round > 0 {
            their_times.push(times.0);
            our_times.push(times.1);
        }
    }
    let (ours, theirs) = (Sample::of(our_times), Sample::of(their_times));
    let line = |name: &str, sample: &Sample| {
        say(&format!(
            "{name}: median {:.1} ms, {:.1}-{:.1} ms",
            sample.median() * 1e3,
            sample.least() * 1e3,
            sample.most() * 1e3
        ));
    };
    say(&format!("{ROUNDS} runs each"));
    line("mosquitto_pub", &theirs);
    line("probe publish", &ours);
    say(&format!(
        "ratio {:.2} (goal <= 1)",
        ours.median() / theirs.median()
    ));
    for binary in ["agent", "server-bridge", "probe", "sandbox"] {
        let bytes = std::fs::metadata(profile_directory()?.join(binary))?.len();
        say(&format!("{binary}: {:.1} MB stripped", bytes as f64 / 1e6));
    }
    say(&format!("load average afterwards {}", measure::load()));
    test_dir.passed();
    Ok(())
}

/// Runs a command to its end; waiting by polling would round the time up.
fn timed(spec: &ProcessSpec) -> Result<Duration> {
    let mut command: Command = spec.command();
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let started = Instant::now();
    let status = command.status()?;
    let took = started.elapsed();
    ensure!(status.success(), "{spec:?} ended with {status}");
    Ok(took)
}

const ROUNDS: usize = 20;
