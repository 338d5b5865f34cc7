//! The archive, and that no secret gets into it or into what is printed.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::pki::{authority, good, mount, put};
use super::servers::Tls;
use super::{at, command, in_namespace, text};

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
        let mut command = command(&[("AWS_REGION", "us-east-2"), ("A\u{1b}[2J\u{202e}", "x")]);
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
    // Nothing that a terminal acts on, whoever gave it its name.
    assert!(of("environment.txt").contains("A\u{fffd}[2J\u{fffd}"));
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

#[test]
fn an_archive_is_whole_or_not_there_and_does_not_need_standard_output() {
    let ca = authority("the CA");
    let directory = mount(&ca, &good(&ca));
    let scratch = tempfile::tempdir().unwrap();
    // What was printed is lost, and the archive is all that is left.
    let file = scratch.path().join("a.tar");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
    let output = command(&[])
        .args(at("1", directory.path()))
        .arg("--bundle")
        .arg(&file)
        .stdout(full.unwrap())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(
        text(&output).contains("standard output"),
        "{}",
        text(&output)
    );
    assert!(std::fs::metadata(&file).unwrap().len() > 1024);
    // A disk that is full: nothing is left of the first try, so that the second says the same.
    let disk = scratch.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let shown = disk.display();
    let prepare = format!(
        "mount -t tmpfs -o size=4k tmpfs {shown} && ! \"$@\" >/dev/null 2>&1 && test -z \"$(ls {shown})\""
    );
    let file = disk.join("a.tar");
    let run = in_namespace(
        "-rm",
        &prepare,
        &[
            &at("1", directory.path())[..],
            &["--bundle", file.to_str().unwrap()],
        ]
        .concat(),
    );
    assert_eq!(run.code, 1, "{}", run.all);
    assert!(run.all.contains("No space left"), "{}", run.all);
    // No right to the directory is said before anything is looked at.
    let output = command(&[])
        .args(at("1", directory.path()))
        .args(["--bundle", "/proc/a.tar"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
}
