//! The binary against a real mosquitto: exit codes, and the words a person reads.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

use std::io::{BufRead as _, Write};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

#[path = "mosquitto/bench.rs"]
mod bench;
#[path = "mosquitto/broker.rs"]
mod broker;
#[path = "mosquitto/flags.rs"]
mod flags;
#[path = "mosquitto/formats.rs"]
mod formats;
#[path = "mosquitto/options.rs"]
mod options;
#[path = "mosquitto/ports.rs"]
mod ports;
#[path = "mosquitto/run_ends.rs"]
mod run_ends;
#[path = "mosquitto/sessions.rs"]
mod sessions;

use broker::Broker;
use tokio::net::TcpSocket;

/// What a run of the binary left.
struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Run {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    fn ended(self, code: i32, words: &[&str]) -> Self {
        let all = format!("{}{}", self.out, self.err);
        assert_eq!(self.code, Some(code), "{all}");
        for word in words {
            assert!(all.contains(word), "no `{word}` in:\n{all}");
        }
        // Once, and with a next step.
        assert!(self.err.matches("probe: ").count() <= 1, "{all}");
        self
    }

    fn json(&self) -> Vec<Value> {
        self.out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// Sends a signal by its name.
fn signal(child: &Child, name: &str) {
    let id = child.id().to_string();
    let sent = Command::new("kill")
        .args([&format!("-{name}"), &id])
        .status();
    assert!(sent.unwrap().success(), "kill -{name} {id}");
}

fn command(broker: &Broker, verb: &str, ca: &str, certificate: &str, key: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_probe"));
    command
        .args([
            verb,
            "-h",
            "localhost",
            "-p",
            &broker.port.to_string(),
            "--cafile",
        ])
        .arg(broker.file(ca))
        .arg("--cert")
        .arg(broker.file(certificate))
        .arg("--key")
        .arg(broker.file(key));
    command
}

fn probe(broker: &Broker, verb: &str) -> Command {
    command(broker, verb, "ca.crt", "client.crt", "client.key")
}

fn run(command: &mut Command) -> Run {
    Run::of(&command.output().unwrap())
}

/// A run that ends by its deadline with these words; a busy machine may need a short one to connect, which is a timeout
/// with other words.
#[track_caller]
fn runs_out(broker: &Broker, line: &[&str], words: &str) -> Run {
    let patient = ["2", "6", "20"].into_iter().find_map(|seconds| {
        let done = run(probe(broker, "subscribe").args(line).args(["-W", seconds]));
        assert_eq!(done.code, Some(3), "{}{}", done.out, done.err);
        done.err.contains(words).then_some(done)
    });
    patient.expect("it subscribes within 20 s")
}

fn run_with_input(command: &mut Command, input: &str) -> Run {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    Run::of(&child.wait_with_output().unwrap())
}

#[test]
fn an_acknowledged_publish_succeeds_and_notes_that_nobody_listens() {
    let broker = Broker::start();
    let topic = "maestro/consumers/test/sourceevents";
    let done = run(probe(&broker, "publish").args(["-t", topic, "-m", "test"]));
    done.ended(
        0,
        &["1 message(s)", "acknowledged", "note: nobody is subscribed"],
    );

    let strict =
        run(probe(&broker, "publish").args(["-t", topic, "-m", "test", "--require-subscriber"]));
    strict.ended(1, &["probe: nobody is subscribed", "hint: "]);

    let lines: String = (0..250).map(|n| format!("line {n}\n")).collect();
    let many = run_with_input(
        probe(&broker, "publish").args(["-t", "test/x", "-l", "--json"]),
        &lines,
    )
    .ended(0, &[]);
    let objects = many.json();
    assert_eq!(objects.len(), 251);
    assert_eq!(objects[250]["acknowledged"], 250);
    assert_eq!(objects[249]["number"], 250);
    assert_eq!(objects[0]["matched"], false);
}

#[test]
fn a_denied_publish_is_refused_with_the_statement_that_is_missing() {
    let broker = Broker::start();
    let words = [
        "refused: not authorized (0x87)",
        "hint: allow `iot:Publish` on `arn:aws:iot:REGION:ACCOUNT:topic/denied/x`",
    ];
    run(probe(&broker, "publish").args(["-t", "denied/x", "-m", "test"])).ended(4, &words);
    let json = run(probe(&broker, "publish").args(["-t", "denied/x", "-m", "test", "--json"]))
        .ended(4, &[]);
    assert_eq!(json.json()[0]["exitCode"], 4);
    let lines = run_with_input(
        probe(&broker, "publish").args(["-t", "denied/x", "-l"]),
        "a\nb\n",
    );
    lines.ended(4, &["message 1 (0 acknowledged before)"]);
}

#[test]
fn wrong_files_end_before_the_broker_is_asked() {
    let broker = Broker::start();
    let publish = |ca, certificate, key| {
        run(command(&broker, "publish", ca, certificate, key).args(["-t", "test/x", "-m", "x"]))
    };
    publish("ca.crt", "client.crt", "other.key")
        .ended(2, &["does not match the certificate", "hint: "]);
    publish("ca.crt", "expired.crt", "expired.key")
        .ended(2, &["expired at 2021-01-01T00:00:00Z", "hint: "]);
    publish("ca.crt", "none.crt", "client.key").ended(2, &["none.crt` does not exist", "hint: "]);
    publish("other-ca.crt", "client.crt", "client.key")
        .ended(1, &["CN=another CA", "CN=test CA", "hint: "]);
    publish("ca.crt", "foreign.crt", "foreign.key")
        .ended(4, &["refused the client certificate", "hint: "]);
}

#[test]
fn a_closed_port_is_a_failure_and_a_silent_one_a_timeout() {
    let broker = Broker::start();
    let at = |port: u16, verb: &str, rest: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_probe"));
        command
            .args([verb, "-h", "127.0.0.1", "-p", &port.to_string(), "--cafile"])
            .arg(broker.file("ca.crt"));
        command
            .arg("--cert")
            .arg(broker.file("client.crt"))
            .arg("--key")
            .arg(broker.file("client.key"))
            .args(rest);
        run(&mut command)
    };
    // Bound and not listening: nobody else gets the port meanwhile.
    let closed = TcpSocket::new_v4().unwrap();
    closed.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let port = closed.local_addr().unwrap().port();
    at(port, "publish", &["-t", "test/x", "-m", "x"])
        .ended(1, &["probe: connect to `127.0.0.1:", "refused", "hint: "]);
    at(port, "check", &[]).ended(1, &["tcp.refused", "skipped  tls"]);
    // Accepts and never says anything.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    at(port, "publish", &["-t", "test/x", "-m", "x", "-W", "1"]).ended(3, &["hint: "]);
    at(port, "check", &["-W", "1"]).ended(3, &["tls.timeout"]);
}

#[test]
fn subscribe_ends_after_the_messages_it_was_asked_for() {
    let broker = Broker::start();
    let mut listener = probe(&broker, "subscribe");
    listener.args(["-t", "test/x", "-C", "1", "-W", "20", "--json"]);
    let child = listener
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(15);
    loop {
        let sent = run(probe(&broker, "publish").args([
            "-t",
            "test/x",
            "-m",
            "hello",
            "--require-subscriber",
            "-D",
            "publish",
            "user-property",
            "k",
            "v",
        ]));
        if sent.code == Some(0) {
            break;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "nobody subscribed: {}",
            sent.err
        );
    }
    let heard = Run::of(&child.wait_with_output().unwrap()).ended(0, &[]);
    let objects = heard.json();
    assert_eq!(objects.len(), 1);
    assert_eq!(
        (&objects[0]["payload"], &objects[0]["topic"]),
        (&"hello".into(), &"test/x".into())
    );
    assert_eq!(objects[0]["userProperties"][0][0], "k");
}

#[test]
fn silence_until_the_deadline_is_a_timeout() {
    let broker = Broker::start();
    // A busy machine may need the first seconds to connect, which is a timeout with other words.
    let silence = ["1", "4", "16"].into_iter().find_map(|seconds| {
        let mut listener = probe(&broker, "subscribe");
        let heard = run(listener.args(["-t", "test/silent", "-W", seconds]));
        assert_eq!(heard.code, Some(3), "{}", heard.err);
        let words = format!("no message on `test/silent` within {seconds} s");
        heard.err.contains(&words).then_some(heard)
    });
    silence
        .expect("it subscribes within 16 s")
        .ended(3, &["hint: "]);
    run(probe(&broker, "ping").args(["-t", "denied/x", "-C", "1", "-W", "20"]))
        .ended(4, &["not authorized"]);
}

#[test]
fn ping_and_check_go_there_and_back() {
    let broker = Broker::start();
    let pinged = run(probe(&broker, "ping").args(["--count", "5", "--interval", "1", "--json"]))
        .ended(0, &[]);
    let objects = pinged.json();
    assert_eq!(objects[5]["returned"], 5);
    assert!(objects[5]["p50Ms"].as_f64().unwrap() > 0.0);

    // Whoever reads no more ends it.
    let mut endless = probe(&broker, "ping");
    endless.args(["--count", "100000", "--interval", "20"]);
    let mut endless = endless.stdout(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    let mut reader = std::io::BufReader::new(endless.stdout.take().unwrap());
    reader.read_line(&mut first).unwrap();
    drop(reader);
    assert!(first.starts_with("1: "), "{first}");
    assert!(endless.wait().unwrap().success());

    let checked = run(probe(&broker, "check").arg("--json")).ended(0, &[]);
    let objects = checked.json();
    assert_eq!(objects.len(), 9);
    assert!(
        objects[..8].iter().all(|stage| stage["outcome"] == "pass"),
        "{}",
        checked.out
    );
    assert_eq!(objects[8]["ok"], true);

    let code = |ca: &str, file: &str, rest: &[&str], exit: i32| {
        let certificate = format!("{file}.crt");
        let key = format!("{file}.key");
        let checked = run(command(&broker, "check", ca, &certificate, &key)
            .arg("--json")
            .args(rest))
        .ended(exit, &[]);
        checked.json().last().unwrap()["code"]
            .as_str()
            .unwrap_or_default()
            .to_string()
    };
    assert_eq!(code("other-ca.crt", "client", &[], 1), "tls.unknown-issuer");
    assert_eq!(
        code("ca.crt", "foreign", &[], 4),
        "tls.client-certificate-refused"
    );
    assert_eq!(code("ca.crt", "expired", &[], 2), "files.expired");
    assert_eq!(
        code("ca.crt", "client", &["-t", "denied/x"], 4),
        "publish.denied"
    );
    for (topic, words) in [("a/b/c/d/e/f/g/h/i", "8 slashes"), ("a/#", "wildcard")] {
        let nothing = run(probe(&broker, "check").args(["-t", topic])).ended(2, &[words, "hint: "]);
        assert_eq!(nothing.out, "");
    }

    for (stage, passed) in [("tls", 4), ("connect", 5), ("subscribe", 6), ("publish", 7)] {
        let checked = run(probe(&broker, "check").args(["--json", "--until", stage]));
        let objects = checked.ended(0, &[]).json();
        let ended = |outcome: &str| objects.iter().filter(|it| it["outcome"] == outcome).count();
        assert_eq!(
            (ended("pass"), ended("skipped")),
            (passed, 8 - passed),
            "{stage}"
        );
    }

    let agent =
        run(probe(&broker, "check").args(["--consumer", "c1", "--account", "123456789012"]));
    agent.ended(
        0,
        &[
            "topicfilter/maestro/consumers/c1/sourceevents",
            "123456789012:client/c1-work-agent-client",
            "skipped  round-trip",
        ],
    );
}
