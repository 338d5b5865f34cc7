//! How a run of `probe bench` ends: by Ctrl-C, and with a broker that stalls around its last messages.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::bench::result;
use super::options::wait_for_subscriber;
use super::{Broker, Run, probe, signal};

/// A run that is under way: somebody else has seen a message of it.
fn under_way(broker: &Broker, line: &[&str]) -> Child {
    let watching = seen_by_another(broker);
    let bench = probe(broker, "bench")
        .args(["--json", "--size", "100"])
        .args(line)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    assert!(watching.wait_with_output().unwrap().status.success());
    bench.unwrap()
}

/// Ends when it has seen a message of a run; it is subscribed already.
pub(super) fn seen_by_another(broker: &Broker) -> Child {
    // Of which the first one only tells that it is there.
    let watching = probe(broker, "subscribe")
        .args(["-t", "test/probe/bench/#", "-C", "2", "-W", "60"])
        .stdout(Stdio::null())
        .spawn();
    wait_for_subscriber(broker, "test/probe/bench/another", "is it there?");
    watching.unwrap()
}

fn ended(bench: Child) -> Run {
    Run::of(&bench.wait_with_output().unwrap())
}

/// Returns once a moment has passed.
fn passed(moment: Instant) {
    while Instant::now() < moment {
        std::thread::park_timeout(moment.saturating_duration_since(Instant::now()));
    }
}

#[test]
fn an_interrupt_ends_a_run_with_all_that_was_due_by_then() {
    let broker = Broker::start();
    // Many at a time, so that some are due and not sent yet at whatever moment.
    let line = [
        "-c",
        "8",
        "--rate",
        "200",
        "--warm-up",
        "0",
        "--duration",
        "60",
    ];
    for name in ["INT", "TERM", "INT", "TERM"] {
        let bench = under_way(&broker, &line);
        signal(&bench, name);
        let done = ended(bench).ended(0, &[]);
        let result = result(&done);
        assert_eq!(result["interrupted"], true, "{result}");
        assert!(result["due"].as_u64() > Some(0), "{result}");
        assert_eq!(result["received"], result["due"], "{result}");
        assert!(result["seconds"].as_f64() < Some(60.0), "{result}");
    }
}

#[test]
fn an_interrupt_in_the_warm_up_ends_a_run_in_which_nothing_was_due() {
    let broker = Broker::start();
    let bench = under_way(
        &broker,
        &["--warm-up", "60", "--duration", "1", "--rate", "50"],
    );
    signal(&bench, "INT");
    let done = ended(bench).ended(0, &[]);
    let result = result(&done);
    assert_eq!(result["due"], 0, "{result}");
    assert_eq!(result["receivedMs"], serde_json::Value::Null, "{result}");
}

#[test]
fn an_interrupt_does_not_wait_for_a_broker_that_stalls() {
    let broker = Broker::start();
    let bench = under_way(&broker, &["--rate", "500", "--warm-up", "0", "-W", "30"]);
    broker.signal("STOP");
    let stalled = Instant::now();
    passed(stalled + Duration::from_secs(1));
    signal(&bench, "INT");
    let done = ended(bench).ended(1, &["came through", "\"hint\":"]);
    // Five seconds for what was due, and as long as a close takes; not the thirty of `-W`.
    assert!(stalled.elapsed() < Duration::from_secs(20));
    broker.signal("CONT");
    let result = result(&done);
    assert_eq!(result["interrupted"], true, "{result}");
    assert!(result["unanswered"].as_u64() > Some(0), "{result}");
}

#[test]
fn a_run_without_warm_up_counts_from_its_first_message() {
    let broker = Broker::start();
    for connections in ["1", "50"] {
        let line = ["-c", connections, "--rate", "100", "--warm-up", "0"];
        let bench = probe(&broker, "bench")
            .args(["--json", "--duration", "1"])
            .args(line)
            .output();
        let result = result(&Run::of(&bench.unwrap()).ended(0, &[]));
        assert_eq!(result["due"], 100, "{result}");
        assert_eq!(result["received"], 100, "{result}");
    }
}

#[test]
fn what_a_stall_held_up_until_after_the_end_is_sent_late_within_the_timeout() {
    let broker = Broker::start();
    let bench = under_way(&broker, &[LOAD, &["-W", "30"]].concat());
    broker.signal("STOP");
    // The last message was due by then.
    passed(Instant::now() + LASTS);
    broker.signal("CONT");
    let done = ended(bench).ended(0, &[]);
    let result = result(&done);
    assert_eq!(result["due"], 2000, "{result}");
    assert_eq!(result["received"], 2000, "{result}");
    assert_eq!(result["unsent"], 0, "{result}");
    // From when it was due: what is late shows as late.
    assert!(
        result["receivedMs"]["max"].as_f64() > Some(1000.0),
        "{result}"
    );
}

#[test]
fn what_a_stall_holds_up_beyond_the_timeout_counts_as_unsent() {
    let broker = Broker::start();
    let bench = under_way(&broker, &[LOAD, &["-W", "5"]].concat());
    broker.signal("STOP");
    let stalled = Instant::now();
    let done = ended(bench).ended(1, &["does not keep up"]);
    assert!(stalled.elapsed() < LASTS + Duration::from_secs(20));
    broker.signal("CONT");
    let result = result(&done);
    assert_eq!(result["due"], 2000, "{result}");
    assert_eq!(result["interrupted"], false, "{result}");
    // More than a session takes without an answer was due.
    assert!(result["unsent"].as_u64() > Some(0), "{result}");
    assert!(result["unanswered"].as_u64() > Some(0), "{result}");
}

const LOAD: &[&str] = &["--rate", "250", "--warm-up", "0", "--duration", "8"];
const LASTS: Duration = Duration::from_secs(8);
