//! Servers inside TLS that answer CONNECT as a broker of MQTT 5 does not, or in words that may not be shown.

use std::process::Command;

use super::pki::{authority, good, mount};
use super::servers::Tls;
use super::{at, text};

#[test]
fn what_speaks_no_mqtt_5_is_told_and_the_certificate_is_not_blamed() {
    let ca = authority("the CA");
    let server = good(&ca);
    let directory = mount(&ca, &good(&ca));
    for (answer, seen, code) in [
        (
            b"\x20\x02\x00\x01".as_slice(),
            "does not speak MQTT 5 (CONNACK of MQTT 3.1.1)",
            "connect.protocol-version",
        ),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            "no MQTT (HTTP is spoken there)",
            "connect.http",
        ),
        (
            b"SSH-2.0-OpenSSH\r\n",
            "no MQTT (what came is no packet)",
            "connect.protocol",
        ),
    ] {
        let port = Tls {
            answer: answer.to_vec(),
            ..Tls::new(&server)
        }
        .start();
        let connection = at(&port, directory.path());
        let doctor = probe(&["doctor", "--until", "connect", "-W", "40"], &connection);
        assert!(doctor.contains("error    MQ300"), "{doctor}");
        assert!(doctor.contains(seen), "{doctor}");
        assert!(!doctor.contains("MQ301"), "{doctor}");
        let check = probe(&["check", "-W", "40"], &connection);
        assert!(check.contains(&format!(" {code}: ")), "{check}");
        assert!(!check.contains("ACTIVE"), "{check}");
    }
}

#[test]
fn what_the_broker_says_when_it_disconnects_is_printed_without_its_secrets() {
    let ca = authority("the CA");
    let server = good(&ca);
    let directory = mount(&ca, &good(&ca));
    let words = b"see mqtts://me:s3cret@h token=s3cret";
    let disconnect = |code: u8| {
        let properties = [&[0x1f, 0, words.len() as u8], words.as_slice()].concat();
        let size = properties.len() as u8;
        [&[0xe0, size + 2, code, size], properties.as_slice()].concat()
    };
    let connack = b"\x20\x03\x00\x00\x00".to_vec();
    for (answer, shown) in [
        ([connack, disconnect(0x98)].concat(), "<removed>"),
        // In place of CONNACK.
        (
            disconnect(0x87),
            "CONNECT was answered with DISCONNECT (NotAuthorized)",
        ),
    ] {
        let port = Tls {
            answer,
            ..Tls::new(&server)
        }
        .start();
        let connection = at(&port, directory.path());
        for verb in [
            ["check", "-W", "40"].as_slice(),
            &["ping", "-W", "40"],
            &["subscribe", "-t", "test/a", "-W", "40"],
            &["publish", "-t", "test/a", "-m", "x", "-W", "40"],
        ] {
            let said = probe(verb, &connection);
            assert!(said.contains(shown), "{verb:?}: {said}");
            assert!(!said.contains("s3cr"), "{verb:?}: {said}");
        }
    }
}

fn probe(verb: &[&str], connection: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_probe"));
    command.env_clear().args(verb).args(connection);
    text(&command.output().unwrap())
}
