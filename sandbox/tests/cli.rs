//! `sandbox broker` as a person uses it: start it, run the line it prints.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// A sandbox that does not outlive its test.
struct Sandbox {
    child: Child,
    greeting: Vec<String>,
}

impl Sandbox {
    /// Starts `sandbox broker` and reads what it prints until it is ready.
    fn start(state: &Path, args: &[&str]) -> Self {
        let mut child = broker(state, args).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut greeting = Vec::new();
        while !greeting
            .last()
            .is_some_and(|line: &String| line.contains("probe publish"))
        {
            greeting.push(lines.next().expect("the sandbox ended").unwrap());
        }
        Self { child, greeting }
    }

    /// Where the printed lines say that the control plane is, without the scheme.
    fn control(&self) -> &str {
        let mut lines = self.greeting.iter();
        let export = lines
            .find(|line| line.contains("export AWS_ENDPOINT_URL_IOT=http://"))
            .unwrap();
        let (_, rest) = export.split_once("http://").unwrap();
        rest.split(' ').next().unwrap()
    }

    /// Runs the printed mosquitto_pub line in a shell.
    fn run_the_printed_line(&self) -> Output {
        let line = self
            .greeting
            .iter()
            .find(|line| line.contains("mosquitto_pub"))
            .unwrap();
        let output = Command::new("sh")
            .args(["-c", line.trim()])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(
            !text.contains("not found"),
            "{text}; install it with `apt-get install mosquitto mosquitto-clients`"
        );
        output
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn broker(state: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandbox"));
    command
        .args(["broker", "--listen", "127.0.0.1:0", "--state"])
        .arg(state)
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

#[test]
fn the_line_it_prints_works_and_so_it_does_after_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let mut certificates = Vec::new();
    for _ in 0..2 {
        let sandbox = Sandbox::start(state.path(), &["--client", "alice"]);
        let output = sandbox.run_the_printed_line();
        assert!(output.status.success(), "{output:?}");
        let identity = state.path().join("clients/alice/certificate");
        certificates.push(std::fs::read_to_string(identity).unwrap());
    }
    assert_eq!(certificates[0], certificates[1], "the identity is kept");
}

#[test]
fn the_control_plane_answers_where_it_says() {
    let state = tempfile::tempdir().unwrap();
    let args = ["--client", "alice", "--control", "127.0.0.1:0"];
    let sandbox = Sandbox::start(state.path(), &args);
    let mut stream = std::net::TcpStream::connect(sandbox.control()).unwrap();
    let request = "GET /things HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    let output = broker(state.path(), &["--endpoint", "broker.example"]).output();
    let output = output.unwrap();
    assert_eq!(
        output.status.code(),
        Some(2),
        "an endpoint needs a control plane"
    );
}

/// Exit code, standard output and what is said of `sandbox fault`.
fn fault(control: &str, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandbox"));
    command.args(["fault", "--control", &format!("http://{control}")]);
    let output = command.args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, said) = (text(&output.stdout), text(&output.stderr));
    (output.status.code(), out, said)
}

#[test]
fn faults_are_set_listed_and_cleared_over_the_control_plane() {
    let state = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::start(
        state.path(),
        &["--client", "alice", "--control", "127.0.0.1:0"],
    );
    let control = sandbox.control();
    let (code, out, said) = fault(control, &["set", "throttle=0.25"]);
    assert_eq!((code, out.trim()), (Some(0), "throttle=0.25"), "{said}");
    assert!(fault(control, &["list"]).1.contains("ON: 0.25"));
    for (refused, part) in [
        ("throttle=2", "a probability from 0 to 1"),
        ("nothing", "there is no fault `nothing`"),
        ("a/b", "there is no fault `a/b`"),
    ] {
        let (code, _, said) = fault(control, &["set", refused]);
        assert!(code == Some(2) && said.contains(part), "{refused}: {said}");
        assert!(said.contains("`sandbox fault list`"), "{refused}: {said}");
    }
    assert_eq!(fault(control, &["clear"]).0, Some(0));
    assert!(!fault(control, &["list"]).1.contains("ON: "));
}

#[test]
fn a_control_plane_that_is_not_there_is_said_with_what_starts_one() {
    // Bound, so that nobody else listens there.
    let closed = tokio::net::TcpSocket::new_v4().unwrap();
    closed.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = closed.local_addr().unwrap().to_string();
    let (code, _, said) = fault(&address, &["list"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains(&address) && said.contains("--control"),
        "{said}"
    );
}

#[test]
fn a_policy_file_decides_and_the_log_says_why() {
    let state = tempfile::tempdir().unwrap();
    let policy = state.path().join("policy.json");
    let text = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:Connect","Resource":"*"}]}"#;
    std::fs::write(&policy, text).unwrap();
    let client = format!("alice={}", policy.display());
    let mut sandbox = Sandbox::start(state.path(), &["--client", &client]);
    let output = sandbox.run_the_printed_line();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("Not authorized"), "{said}");
    sandbox.child.kill().unwrap();
    let mut log = String::new();
    sandbox
        .child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut log)
        .unwrap();
    assert!(log.contains("topic/test"), "{log}");
}

#[test]
fn a_bad_policy_or_client_name_is_said_before_anything_starts() {
    let state = tempfile::tempdir().unwrap();
    let policy = state.path().join("policy.json");
    std::fs::write(&policy, "{").unwrap();
    for (client, code, part) in [
        (format!("alice={}", policy.display()), 2, "parse policy"),
        ("alice=/nowhere.json".to_owned(), 1, "read `/nowhere.json`"),
        ("a/b".to_owned(), 2, "client id `a/b`"),
    ] {
        let output = broker(state.path(), &["--client", &client])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(part), "{text}");
    }
}
