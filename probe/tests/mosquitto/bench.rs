//! `probe bench` against a real broker: the numbers add up, whatever becomes of the messages.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::run_ends::seen_by_another;
use super::{Broker, Run, probe, run};

/// The result; every message that was due is counted once.
#[track_caller]
pub(crate) fn result(run: &Run) -> Value {
    let lines = run.json();
    let result = lines
        .iter()
        .find(|line| line["schema"] == "maestro-bench/1");
    let result = result
        .unwrap_or_else(|| panic!("no result in:\n{}{}", run.out, run.err))
        .clone();
    let of = |name: &str| result[name].as_u64().unwrap();
    assert_eq!(of("due"), of("sent") + of("unsent"), "{result}");
    let ended = ["acknowledged", "throttled", "refused", "unanswered"].map(of);
    assert_eq!(of("sent"), ended.iter().sum::<u64>(), "{result}");
    assert!(of("received") <= of("due"), "{result}");
    assert!(of("lost") <= of("acknowledged"), "{result}");
    result
}

const LOAD: &[&str] = &["--json", "--warm-up", "0.2", "--duration", "1"];

#[test]
fn everything_that_is_due_comes_through_and_is_timed() {
    let broker = Broker::start();
    let line = ["-c", "5", "--rate", "200", "--size", "5000"];
    let done = run(probe(&broker, "bench").args(LOAD).args(line)).ended(0, &[]);
    let result = result(&done);
    assert_eq!(result["ok"], true);
    assert_eq!(
        (&result["due"], &result["received"]),
        (&200.into(), &200.into())
    );
    assert_eq!(
        (&result["lost"], &result["duplicated"]),
        (&0.into(), &0.into())
    );
    let times = &result["receivedMs"];
    let (low, high) = (
        times["min"].as_f64().unwrap(),
        times["max"].as_f64().unwrap(),
    );
    assert!(
        0.0 < low && low <= times["p99"].as_f64().unwrap() && high < 20_000.0,
        "{times}"
    );

    let text = run(probe(&broker, "bench")
        .args(&LOAD[1..])
        .args(["--rate", "20"]));
    text.ended(
        0,
        &[
            "20 messages of 1024 bytes",
            "20 received",
            "due to received: min",
        ],
    );
}

#[test]
fn a_broker_that_refuses_the_topic_is_refusal_and_not_loss() {
    let broker = Broker::start();
    // The access list knows `client` only; mosquitto refuses nothing of a SUBSCRIBE, and every PUBLISH.
    let other = super::command(&broker, "bench", "ca.crt", "other.crt", "other.key")
        .args(LOAD)
        .output()
        .unwrap();
    let done = Run::of(&other).ended(4, &["\"hint\":"]);
    assert!(!done.out.contains("\"ok\":true"), "{}", done.out);
}

#[test]
fn a_broker_that_dies_in_between_leaves_numbers_that_add_up() {
    let broker = Broker::start();
    let watching = seen_by_another(&broker);
    let child = probe(&broker, "bench")
        .args([
            "--json",
            "--warm-up",
            "0.2",
            "--duration",
            "8",
            "--rate",
            "50",
            "-c",
            "2",
        ])
        .args(["-W", "5"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Under way as soon as somebody else sees a message of it; it lasts eight seconds.
    assert!(watching.wait_with_output().unwrap().status.success());
    drop(broker);
    let done = Run::of(&child.wait_with_output().unwrap()).ended(1, &["came through", "\"hint\":"]);
    let result = result(&done);
    assert_eq!(result["ok"], false);
    assert_eq!(result["due"], 400);
    assert!(result["disconnects"].as_u64().unwrap() >= 1, "{result}");
    assert!(
        result["unsent"].as_u64().unwrap() + result["unanswered"].as_u64().unwrap() > 0,
        "{result}"
    );
}

#[test]
fn limits_hold_at_and_one_past_them() {
    let broker = Broker::start();
    for (line, words) in [
        (&["-c", "1001"][..], "1..=1000"),
        (&["--rate", "5001"], "1..=5000"),
        (&["--size", "131073"], "32..=131072"),
        (
            &["--rate", "513", "--size", "131072"],
            "67239936 bytes a second are more than 67108864",
        ),
        (
            &[
                "--rate",
                "5000",
                "--duration",
                "400",
                "--warm-up",
                "0.001",
                "--size",
                "100",
            ],
            "2000005 messages are more than 2000000",
        ),
    ] {
        run(probe(&broker, "bench").args(line)).ended(2, &[words]);
    }
    // At the limit of a payload.
    let line = [
        "--rate",
        "10",
        "--size",
        "131072",
        "--duration",
        "0.5",
        "--warm-up",
        "0.001",
        "--json",
    ];
    let done = run(probe(&broker, "bench").args(line)).ended(0, &[]);
    assert_eq!(result(&done)["size"], 131_072);
}

#[test]
fn real_iot_core_is_refused_with_the_price() {
    let broker = Broker::start();
    let host = "a1b2-ats.iot.eu-west-1.amazonaws.com";
    let mut command = Command::new(env!("CARGO_BIN_EXE_probe"));
    command.args(["bench", "-h", host, "--rate", "100"]);
    for (option, file) in [
        ("--cafile", "ca.crt"),
        ("--cert", "client.crt"),
        ("--key", "client.key"),
    ] {
        command.arg(option).arg(broker.file(file));
    }
    let done = run(&mut command);
    done.ended(
        2,
        &[
            "AWS IoT Core",
            "1200 messages are metered as 3602",
            "USD",
            "--accept-aws-charges",
        ],
    );
}
