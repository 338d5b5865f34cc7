//! A wrong port is told by what is spoken there, and hints name the port that was given.

use std::process::Command;

use super::broker::Broker;
use super::{Run, run};

#[test]
fn a_port_that_speaks_something_else_is_called_what_it_is() {
    let (broker, ports) = Broker::start_with_other_ports();
    for (port, what, hint, code) in [
        (
            ports.plain,
            "MQTT without TLS",
            "a port without it is not used",
            "tls.plain-mqtt",
        ),
        (
            ports.websocket,
            "HTTP is spoken there, not MQTT over TLS",
            "WebSocket",
            "tls.http",
        ),
        (
            ports.secure_websocket,
            "HTTP is spoken there over TLS",
            "WebSocket",
            "connect.http",
        ),
    ] {
        let at = |verb: &str, rest: &[&str]| -> Run {
            let mut command = Command::new(env!("CARGO_BIN_EXE_probe"));
            command.args([verb, "-h", "localhost", "-p", &port.to_string(), "--cafile"]);
            command
                .arg(broker.file("ca.crt"))
                .arg("--cert")
                .arg(broker.file("client.crt"));
            command
                .arg("--key")
                .arg(broker.file("client.key"))
                .args(rest);
            run(&mut command)
        };
        let address = format!("probe: connect to `localhost:{port}`: ");
        at("publish", &["-t", "t", "-m", "x"]).ended(1, &[&address, what, hint]);
        at("subscribe", &["-t", "t"]).ended(1, &[&address, what, hint]);
        at("check", &[]).ended(1, &[code, what, hint]);
    }
}

#[test]
fn a_port_that_is_none_is_told_what_a_port_is_and_hints_name_the_one_that_was_given() {
    let run_line =
        |line: &str| run(Command::new(env!("CARGO_BIN_EXE_probe")).args(line.split(' ')));
    for port in ["abc", "0", "70000", "-1"] {
        let said = run_line(&format!("publish -t t -m m -p={port}"));
        said.ended(2, &["not a port; a number from 1 to 65535 is"]);
    }
    let broker = Broker::start();
    let closed = tokio::net::TcpSocket::new_v4().unwrap();
    closed.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let port = closed.local_addr().unwrap().port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_probe"));
    command.args([
        "publish",
        "-t",
        "t",
        "-m",
        "x",
        "-h",
        "127.0.0.1",
        "-p",
        &port.to_string(),
    ]);
    command
        .arg("--cafile")
        .arg(broker.file("ca.crt"))
        .arg("--cert")
        .arg(broker.file("client.crt"));
    command.arg("--key").arg(broker.file("client.key"));
    run(&mut command).ended(1, &[&format!("hint: check the host, port {port} ")]);
}
