//! The archive, and that no secret gets into it or into what is printed.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::pki::{authority, good, mount, put};
use super::servers::Tls;
use super::{at, command, text};

#[test]
fn secrets_planted_everywhere_are_in_neither_output_nor_archive() {
    let ca = authority("the CA");
    let server = good(&ca);
    let port = Tls::new(&server).start();
    let client = good(&ca);
    let key_line = client.key.lines().nth(1).unwrap().to_owned();
    let configurations = [
        format!("brokerHost: localhost:{port}\n"),
        format!(
            "brokerHost: localhost:{port}\nusername: canary\npassword: canary-1\ntoken: canary\n"
        ),
        "brokerHost: mqtts://canary:canary@localhost\n".to_owned(),
        "{\"brokerHost\": \"x:1\", \"password\": \"canary\"}".to_owned(),
        format!("clientKeyData: |\n  {key_line}\n  canary\nbrokerHost: [\n  canary\n"),
        format!("{}\ncanary\n", client.key),
        // Pasted at a wrong key: as a number, a duration, a file, a topic, a host; at one that there is not, and as its name.
        format!(
            "brokerHost: localhost:{port}\nkeepAlive: Canary-1\ndialTimeout: canary2\nrates: canary3\n"
        ),
        format!(
            "brokerHost: localhost:{port}\ncaFile: canary4+x=\nclientCertFile: canary5\nclientKeyFile: canary6\n"
        ),
        format!(
            "brokerHost: localhost:{port}\ntopics:\n  sourceEvents: canary/7\n  agentEvents: canary8\n"
        ),
        "brokerHost: canary9\n".to_owned(),
        "brokerHost: mqtts://canary10\n".to_owned(),
        "brokerHost: can!canary11:8883\n".to_owned(),
        format!(
            "brokerHost: localhost:{port}\nnobodysKey: canary12\ncanary13: x\ntopics:\n  canary14: canary15\n"
        ),
        format!(
            "{{\"brokerHost\": \"localhost:{port}\", \"keepAlive\": \"canary16\", \"canary17\": 1}}"
        ),
    ];
    let broken: [&[(&str, &str)]; 4] = [
        &[],
        &[
            ("certificate", "canary"),
            ("privateKey", "{\"canary\": \"canary\"}"),
        ],
        &[
            ("privateKey", "-----BEGIN canary-----\ncanary"),
            ("ca.crt", "\"canary\""),
        ],
        &[
            ("consumerName", "Canary canary"),
            (
                "certificate",
                "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----\n",
            ),
        ],
    ];
    let names = [
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_ACCESS_KEY_ID",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "KUBERNETES_SERVICE_HOST",
        "KUBERNETES_SERVICE_PORT",
        "MQTT_PASSWORD",
        "HTTPS_PROXY",
        "DATABASE_URL",
        "HOME",
    ];
    let variables: Vec<(&str, &str)> = names.iter().map(|name| (*name, "canary")).collect();
    let scratch = tempfile::tempdir().unwrap();
    let mut number = 0;
    for configuration in &configurations {
        for harm in broken {
            for json in [true, false] {
                number += 1;
                let directory = mount(&ca, &client);
                put(directory.path(), "config.yaml", configuration);
                for (name, content) in harm {
                    put(directory.path(), name, content);
                }
                let file = scratch.path().join(format!("{number}.tar"));
                // With a password in the environment no broker is asked.
                let mut command = command(&variables);
                if json {
                    command.env_remove("MQTT_PASSWORD");
                }
                command
                    .arg("--identity")
                    .arg(directory.path())
                    .arg("--bundle")
                    .arg(&file);
                command.args(["-W", "5"]).args(json.then_some("--json"));
                let output = command.output().unwrap();
                let printed = text(&output);
                let archive = String::from_utf8_lossy(&std::fs::read(&file).unwrap()).into_owned();
                for (what, content) in [("output", &printed), ("archive", &archive)] {
                    let lower = content.to_ascii_lowercase();
                    assert!(
                        !lower.contains("canary"),
                        "{what} of {configuration:?} {harm:?}:\n{content}"
                    );
                    assert!(
                        !content.contains(&key_line),
                        "{what} of {configuration:?}:\n{content}"
                    );
                }
                for name in names
                    .iter()
                    .filter(|name| !json || **name != "MQTT_PASSWORD")
                {
                    assert!(archive.contains(name), "{name} is not in the archive");
                }
            }
        }
    }
}

#[test]
fn the_archive_is_its_owners_alone_holds_what_helps_and_overwrites_nothing() {
    let ca = authority("the CA");
    let server = good(&ca);
    let port = Tls::new(&server).start();
    let directory = mount(&ca, &good(&ca));
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("a.tar");
    let run = || {
        let mut command = command(&[("AWS_REGION", "us-east-2")]);
        command
            .args(at(&port, directory.path()))
            .arg("--bundle")
            .arg(&file)
            .output()
            .unwrap()
    };
    let output = run();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let unpacked = Command::new("tar")
        .arg("-xf")
        .arg(&file)
        .current_dir(scratch.path())
        .status();
    assert!(unpacked.unwrap().success());
    let of =
        |name: &str| std::fs::read_to_string(scratch.path().join("doctor").join(name)).unwrap();
    assert!(of("report.json").contains("maestro-findings/1"));
    assert!(of("report.txt").contains("nothing is wrong"));
    assert!(of("certificates.txt").contains("trusted: `CN=the CA`"));
    assert!(of("environment.txt").contains("AWS_REGION=us-east-2"));
    assert!(of("files.txt").contains("privateKey: "));
    assert!(of("machine.txt").contains("probe "));
    let _ = of("resolv.conf");
    let again = run();
    assert_eq!(again.status.code(), Some(2), "{}", text(&again));
    assert!(
        text(&again).contains("nothing is overwritten"),
        "{}",
        text(&again)
    );
}
