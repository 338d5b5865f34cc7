//! `sandbox fault` as a person uses it on a region: exit codes, words, and what a restart leaves.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::rig::{Up, http};

/// A region with a control plane, on free ports.
fn region(temporary: &Path, more: &[&str]) -> (Up, Value) {
    let any = "127.0.0.1:0";
    let ports = ["--json", "--broker-port", "0", "--control", any];
    let ports = [
        &ports[..],
        &["--api-listen", any, "--grpc-listen", any],
        more,
    ]
    .concat();
    let up = Up::start(temporary, &ports);
    let region = serde_json::from_str(&up.line()).unwrap();
    (up, region)
}

fn fault(control: &Value, line: &[&str]) -> Output {
    let control = control.as_str().unwrap();
    Command::new(env!("CARGO_BIN_EXE_sandbox"))
        .arg("fault")
        .args(line)
        .args(["--control", control])
        .output()
        .unwrap()
}

/// What it printed, if it ended with this code.
#[track_caller]
fn ended(output: &Output, code: i32) -> String {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    format!("{out}{err}")
}

/// The faults that are on, as `NAME=VALUE`.
fn on(control: &Value) -> Vec<String> {
    let text = ended(&fault(control, &["list", "--json"]), 0);
    let listed: Value = serde_json::from_str(&text).unwrap();
    let faults = listed["faults"].as_array().unwrap().iter();
    faults
        .filter_map(|fault| {
            let (name, value) = (fault["name"].as_str()?, fault["value"].as_str()?);
            Some(format!("{name}={value}"))
        })
        .collect()
}

/// Answers everything with 200 and nothing, or with an object to who asks for something, until the test ends.
fn another_server() -> Value {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut read = [0; 4096];
            let count = stream.read(&mut read).unwrap_or(0);
            let body = match read[..count].starts_with(b"DELETE") {
                true => "",
                false => "{}",
            };
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    format!("http://{address}").into()
}

#[tokio::test]
async fn faults_are_set_listed_and_cleared_and_what_is_wrong_is_told_with_what_to_do() {
    let temporary = tempfile::tempdir().unwrap();
    let (up, region) = region(temporary.path(), &[]);
    let control = &region["control"];
    assert_eq!(on(control), [""; 0]);
    for (given, shown) in [
        ("deny-receive", "deny-receive=*"),
        ("throttle=0.25", "throttle=0.25"),
        ("max-payload=131071", "max-payload=131071"),
    ] {
        let said = ended(&fault(control, &["set", given]), 0);
        assert_eq!(said.trim(), shown);
    }
    assert_eq!(
        on(control),
        ["deny-receive=*", "max-payload=131071", "throttle=0.25"]
    );
    let table = ended(&fault(control, &["list"]), 0);
    let line = table.lines().find(|line| line.starts_with("throttle "));
    assert!(line.unwrap().contains("ON: 0.25"), "{table}");
    assert!(table.contains("→ MQ333"), "{table}");

    for (line, words) in [
        (&["set", "throtle"][..], "did you mean `throttle`?"),
        (&["clear", "throtle"], "did you mean `throttle`?"),
        (&["set", "a/b"], "there is no fault `a/b`"),
        (&["set", "throttle=1.1"], "from 0 to 1"),
        (&["set", "throttle="], "an empty value"),
        (&["set", "max-payload=131072"], "below 131072"),
        (&["set", "tls-version"], "needs a value: 1.2 | 1.3"),
    ] {
        let said = ended(&fault(control, line), 2);
        assert!(said.contains(words), "{line:?}: {said}");
        assert!(said.contains("hint: `sandbox fault list`"), "{said}");
    }
    // A variable of a script that is not set is not all faults.
    for line in [&["clear", ""][..], &["set", ""], &["set", "=1"]] {
        let said = ended(&fault(control, line), 2);
        assert!(said.contains("no name"), "{line:?}: {said}");
    }
    assert_eq!(on(control).len(), 3, "what was refused changed nothing");

    ended(&fault(control, &["clear", "throttle"]), 0);
    assert_eq!(on(control), ["deny-receive=*", "max-payload=131071"]);
    // One that is off already is off.
    ended(&fault(control, &["clear", "throttle"]), 0);
    ended(&fault(control, &["clear"]), 0);
    assert_eq!(on(control), [""; 0]);

    // The region's API is no control plane, and neither is what is not there.
    for line in [&["list"][..], &["set", "port"], &["clear"]] {
        let said = ended(&fault(&region["api"], line), 1);
        assert!(
            said.contains("none of a sandbox's\nhint: name the address"),
            "{said}"
        );
    }
    // Nor is one that answers everything with success.
    let other = another_server();
    for line in [
        &["list"][..],
        &["list", "--json"],
        &["set", "port"],
        &["clear"],
        &["clear", "port"],
    ] {
        let said = ended(&fault(&other, line), 1);
        assert!(said.contains("none of a sandbox's"), "{line:?}: {said}");
    }
    let control = control.clone();
    assert_eq!(up.stop("INT").code, Some(0));
    for line in [&["list"][..], &["set", "port"], &["clear"]] {
        let said = ended(&fault(&control, line), 1);
        assert!(
            said.contains("hint: start the sandbox with `--control IP:PORT`"),
            "{said}"
        );
    }
    for wrong in [
        "127.0.0.1:1",
        "https://127.0.0.1:1",
        "localhost:1",
        "file:///x",
    ] {
        let said = ended(&fault(&Value::from(wrong), &["list"]), 2);
        assert!(said.contains("http://127.0.0.1:8080"), "{wrong}: {said}");
    }
}

#[tokio::test]
async fn a_restart_with_the_same_directory_has_no_fault_left() {
    let temporary = tempfile::tempdir().unwrap();
    let state = temporary.path().join("state");
    let keep = ["--keep", state.to_str().unwrap()];
    let (up, first) = region(temporary.path(), &keep);
    // What would keep everybody out, were it saved with the account.
    for given in [
        "certificate=revoked",
        "no-policy",
        "port=closed",
        "deny-connect",
    ] {
        ended(&fault(&first["control"], &["set", given]), 0);
    }
    assert_eq!(up.stop("INT").code, Some(0));
    // Its line comes when all are connected.
    let (up, again) = region(temporary.path(), &keep);
    assert_eq!(on(&again["control"]), [""; 0]);
    let admin = again["consumers"][0]["admin"].as_str().unwrap();
    assert_eq!(http("GET", &format!("{admin}/readyz"), None).await.0, 200);
    assert_eq!(up.stop("INT").code, Some(0));
}

#[tokio::test]
async fn the_other_doors_of_the_broker_are_opened_told_and_refused_by_their_flags() {
    let temporary = tempfile::tempdir().unwrap();
    let any = "127.0.0.1:0";
    let (up, first) = region(
        temporary.path(),
        &["--alpn-listen", any, "--https-listen", any],
    );
    let broker = &first["broker"];
    assert_eq!(crate::keys(broker), ["alpn", "host", "https", "port"]);
    let alpn = broker["alpn"].as_str().unwrap();
    let https = broker["https"].as_str().unwrap();
    let https = https.strip_prefix("https://").unwrap();
    for (flag, address) in [("--alpn-listen", alpn), ("--https-listen", https)] {
        tokio::net::TcpStream::connect(address).await.unwrap();
        let refused = Up::start(temporary.path(), &[flag, address]).ended();
        assert_eq!(refused.code, Some(1));
        let said = &refused.stderr;
        let expected = format!("sandbox: listen on `{address}`: ");
        assert!(said.starts_with(&expected), "{said}");
        assert!(said.contains(&format!("port 0 to `{flag}`")), "{said}");
    }
    assert_eq!(up.stop("INT").code, Some(0));
}
