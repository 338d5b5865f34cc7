//! Options of mosquitto's clients do what they do there.

use super::broker::Broker;
use super::formats::mosquitto;
use super::{probe, run, run_with_input};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn a_url_a_prefix_a_version_and_a_directory_of_cas_are_taken() {
    let broker = Broker::start();
    let bare = |verb: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_probe"));
        command
            .arg(verb)
            .arg("--cert")
            .arg(broker.file("client.crt"));
        command.arg("--key").arg(broker.file("client.key"));
        command
    };
    let url = format!("mqtts://somebody:secret@localhost:{}/test/x", broker.port);
    let sent = run(bare("publish")
        .arg("--cafile")
        .arg(broker.file("ca.crt"))
        .args(["-L", &url, "-m", "x"]));
    let sent = sent.ended(
        0,
        &[
            "1 message(s) to `test/x`",
            "note: the user of the URL is not sent",
        ],
    );
    assert!(!format!("{}{}", sent.out, sent.err).contains("secret"));
    run(bare("check")
        .arg("--cafile")
        .arg(broker.file("ca.crt"))
        .args(["-L", &url]))
    .ended(0, &["`test/x`"]);

    let certs = broker.directory.path().join("certs");
    std::fs::create_dir(&certs).unwrap();
    for name in ["other-ca.crt", "ca.crt"] {
        std::fs::copy(broker.file(name), certs.join(name)).unwrap();
    }
    std::fs::write(certs.join("README"), "not a certificate").unwrap();
    let more = [
        "-m",
        "x",
        "-I",
        "me-",
        "--tls-version",
        "tlsv1.3",
        "--tls-alpn",
        "mqtt",
        "--nodelay",
        "--json",
    ];
    let sent = run(bare("publish")
        .arg("--capath")
        .arg(&certs)
        .args(["-L", &url])
        .args(more));
    let client = sent.ended(0, &[]).json()[1]["clientId"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(client.starts_with("me-"), "{client}");
    std::fs::remove_file(certs.join("ca.crt")).unwrap();
    run(bare("publish")
        .arg("--capath")
        .arg(&certs)
        .args(["-L", &url, "-m", "x"]))
    .ended(1, &["CN=another CA", "CN=test CA"]);
}

#[test]
fn a_message_is_repeated_with_the_delay_and_the_window_that_were_asked_for() {
    let broker = Broker::start();
    let mut listener = mosquitto(&broker, "mosquitto_sub");
    let listener = listener
        .args(["-t", "test/x", "-C", "3", "-W", "20"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for_subscriber(&broker, "test/x", "first");
    let more = [
        "-m",
        "x",
        "--repeat",
        "3",
        "--repeat-delay",
        "0.3",
        "-M",
        "1",
        "--json",
    ];
    let sent = run(probe(&broker, "publish").args(["-t", "test/x"]).args(more)).ended(0, &[]);
    let objects = sent.json();
    assert_eq!(objects[3]["acknowledged"], 3);
    assert!(objects[3]["ms"].as_f64().unwrap() >= 600.0, "{}", sent.out);
    let heard = listener.wait_with_output().unwrap();
    let heard = String::from_utf8_lossy(&heard.stdout).into_owned();
    assert!(
        heard.lines().filter(|line| *line == "x").count() >= 2,
        "{heard}"
    );
    run(probe(&broker, "publish").args(["-t", "test/x", "-l", "--repeat", "2"]))
        .ended(2, &["--repeat"]);

    // What a failed command leaves is no message.
    let nothing = run_with_input(
        probe(&broker, "publish").args(["-t", "test/x", "-s", "-r"]),
        "",
    );
    nothing.ended(2, &["standard input is empty", "`-n`"]);

    // A window of one does not stop a long input.
    let lines: String = (0..50).map(|n| format!("line {n}\n")).collect();
    let many = run_with_input(
        probe(&broker, "publish").args(["-t", "test/x", "-l", "-M", "1"]),
        &lines,
    );
    many.ended(0, &["50 message(s)"]);
}

#[test]
fn quiet_leaves_the_exit_code_and_debug_tells_each_packet() {
    let broker = Broker::start();
    let denied = ["-t", "denied/x", "-m", "x"];
    let quiet = run(probe(&broker, "publish").args(denied).arg("--quiet"));
    assert_eq!((quiet.code, quiet.err.as_str()), (Some(4), ""));
    let quiet = run(probe(&broker, "publish").args(["-t", "test/x", "-m", "x", "--quiet"]));
    assert_eq!((quiet.code, quiet.err.as_str()), (Some(0), ""));
    assert_eq!(quiet.out, "");
    for line in ["ping --count 1 --quiet", "check --consumer c1 --quiet"] {
        let (verb, rest) = line.split_once(' ').unwrap();
        let quiet = run(probe(&broker, verb).args(rest.split(' '))).ended(0, &[]);
        assert_eq!((quiet.out.as_str(), quiet.err.as_str()), ("", ""), "{line}");
    }
    run(probe(&broker, "publish").args(["-t", "test/x", "-m", "x", "-d"])).ended(
        0,
        &[
            "Sending CONNECT",
            "Connected",
            "Sending PUBLISH 1",
            "Received PUBACK",
            "Sending DISCONNECT",
        ],
    );
    let subscribed = run(probe(&broker, "subscribe").args(["-t", "test/x", "-E", "-d"]));
    assert_eq!(subscribed.ended(0, &["Subscribed to `test/x`"]).out, "");
}

#[test]
fn a_check_shows_the_time_of_the_handshake_and_not_of_its_own_wait() {
    let broker = Broker::start();
    // A busy machine may be slow by itself, but not each time.
    let quick = (0..5).any(|_| {
        let checked = run(probe(&broker, "check").args(["--until", "tls", "--json"]));
        let objects = checked.ended(0, &["TLS 1.3"]).json();
        objects[3]["ms"].as_f64().unwrap() < 250.0
    });
    assert!(quick);
}

/// Publishes until somebody is subscribed.
pub(super) fn wait_for_subscriber(broker: &Broker, topic: &str, text: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let sent =
            run(probe(broker, "publish").args(["-t", topic, "-m", text, "--require-subscriber"]));
        if sent.code == Some(0) {
            return;
        }
        assert!(Instant::now() < deadline, "nobody subscribed: {}", sent.err);
    }
}
