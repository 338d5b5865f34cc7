//! Every refusal reads as a person would see it.

// Long because each refusal of the configuration is read here as a person reads it.

use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use proptest::prelude::*;

use super::*;
use crate::error::Hint;

const CREDENTIALS: &str =
    "caFile: ca.crt\nclientCertFile: certificate\nclientKeyFile: privateKey\n";

#[derive(clap::Parser)]
struct Args {
    #[command(flatten)]
    broker: BrokerFlags,
}

fn load(text: &str, env: &[(&str, &str)], flags: &[&str]) -> Result<Broker, ConfigProblems> {
    let mut layers = Layers::new(Broker::KEYS);
    layers.text(Path::new("/etc/agent/config.yaml"), text);
    layers.env(&env.iter().copied().collect::<MapEnv>());
    let args = Args::parse_from([&["agent"], flags].concat());
    args.broker.apply(&mut layers);
    let broker = Broker::read(&mut layers);
    layers.finish(broker)
}

/// The lines a person sees, without the file's directory.
fn refusal(text: &str) -> Vec<String> {
    lines(&load(text, &[], &[]).unwrap_err())
}

fn lines(problems: &ConfigProblems) -> Vec<String> {
    problems
        .iter()
        .map(|problem| problem.to_string().replace("/etc/agent/", ""))
        .collect()
}

fn with_host(text: &str) -> String {
    format!("brokerHost: b.example:8883\n{text}")
}

#[test]
fn file_of_the_first_deployment_is_understood() {
    let text = r#"
brokerHost: "abc-ats.iot.eu-west-1.amazonaws.com:8883"
username: ""
password: ""
clientCertFile: /mnt/secrets-store/certificate
clientKeyFile: /mnt/secrets-store/privateKey
caFile: /mnt/secrets-store/ca.crt
topics:
  sourceEvents: sources/maestro/consumers/+/sourceevents
  agentEvents: sources/maestro/consumers/+/agentevents
"#;
    let broker = load(text, &[], &[]).unwrap();
    assert_eq!(broker.host, "abc-ats.iot.eu-west-1.amazonaws.com");
    assert_eq!(broker.port, 8883);
    assert_eq!(broker.keep_alive, Duration::from_secs(60));
    assert_eq!(broker.dial_timeout, Duration::from_secs(60));
    let topics = broker.topics.unwrap();
    assert_eq!(
        topics.source_events,
        "sources/maestro/consumers/+/sourceevents"
    );
    assert_eq!(
        topics.agent_events,
        "sources/maestro/consumers/+/agentevents"
    );
    assert_eq!(topics.source_broadcast, None);
    let credentials = broker.credentials.unwrap();
    assert_eq!(
        credentials.key,
        Material::File("/mnt/secrets-store/privateKey".into())
    );
}

#[test]
fn json_is_understood_and_a_host_alone_is_enough() {
    let broker = load(
        r#"{"brokerHost": "[::1]:1884", "dialTimeout": 5000000000}"#,
        &[],
        &[],
    )
    .unwrap();
    assert_eq!((broker.host.as_str(), broker.port), ("::1", 1884));
    assert_eq!(broker.dial_timeout, Duration::from_secs(5));
    assert_eq!((broker.topics, broker.credentials), (None, None));
}

#[test]
fn flags_override_the_environment_which_overrides_the_file() {
    let text = "brokerHost: file:1\nkeepAlive: 100\ndialTimeout: 1m30s\n";
    let env = [
        ("MQTT_BROKER_HOST", "env:2"),
        ("MQTT_KEEP_ALIVE", "200"),
        ("MQTT_DIAL_TIMEOUT", ""),
    ];
    let broker = load(text, &env, &["--broker-host", "flag:3"]).unwrap();
    assert_eq!((broker.host.as_str(), broker.port), ("flag", 3));
    assert_eq!(broker.keep_alive, Duration::from_secs(200));
    assert_eq!(broker.dial_timeout, Duration::from_secs(90));
}

#[test]
fn rates_of_iot_core_are_kept_unless_told_otherwise() {
    let rates = |text: &str| load(&with_host(text), &[], &[]).map(|broker| broker.rates);
    assert_eq!(rates("").unwrap(), Rates::IotCore);
    assert_eq!(rates("rates: unlimited\n").unwrap(), Rates::Unlimited);
    assert_eq!(
        lines(&rates("rates: none\n").unwrap_err()),
        [
            "config.yaml:2: `rates` is `none`, no known set of rates; write `iot-core` or `unlimited`"
        ]
    );
}

#[test]
fn problem_names_the_source_that_won() {
    let text = with_host("keepAlive: 60\n");
    let env = load(&text, &[("MQTT_KEEP_ALIVE", "5")], &[]).unwrap_err();
    assert_eq!(
        lines(&env),
        [
            "environment variable `MQTT_KEEP_ALIVE`: `keepAlive` is 5, below 30; write 30 to 1200 (seconds)"
        ]
    );
    let flag = load(&text, &[], &["--keep-alive", "60s"]).unwrap_err();
    assert_eq!(
        lines(&flag),
        ["flag `--keep-alive`: `keepAlive` is `60s`, no whole number; write 30 to 1200 (seconds)"]
    );
}

#[test]
fn all_problems_come_at_once_one_per_line() {
    let text = "broker: b.example:8883\nkeepAlive: 5\npubQoS: 0\ncaFile: ca.crt\n";
    let problems = load(text, &[("MQTT_DIAL_TIMEOUT", "soon")], &[]).unwrap_err();
    assert_eq!(
        problems.to_string().replace("/etc/agent/", ""),
        "configuration has 6 problems
  config.yaml:1: unknown key `broker` (did you mean `brokerHost`?)
  `brokerHost` is missing; set `brokerHost` in the configuration file, the environment variable `MQTT_BROKER_HOST` or the flag `--broker-host`
  config.yaml:2: `keepAlive` is 5, below 30; write 30 to 1200 (seconds)
  environment variable `MQTT_DIAL_TIMEOUT`: `dialTimeout` is `soon`, no duration; write 100ms to 600s, for example `60s`
  config.yaml:3: `pubQoS` is 0, which loses messages; write 1 or remove it
  config.yaml:4: `caFile` is given without a client certificate, so TLS would silently be off; add `clientCertFile` and `clientKeyFile`"
    );
    assert!(problems.hint().unwrap().contains("docs/CONFIGURATION.md"));
    assert_eq!(problems.into_failure().kind().code(), 2);
}

#[test]
fn broker_hosts_that_are_none_are_refused_with_the_fix() {
    for (host, expected) in [
        (
            "mqtts://b.example:8883",
            "is `mqtts://b.example:8883`, with the scheme `mqtts://`; write `b.example:8883`",
        ),
        (
            "ssl://b.example/",
            "is `ssl://b.example/`, with the scheme `ssl://`; write `b.example:8883`",
        ),
        (
            "b.example",
            "is `b.example`, without a port; write `b.example:8883`",
        ),
        (
            "'b.example:'",
            "is `b.example:`, without a port; write `b.example:8883`",
        ),
        ("'::1'", "is `::1`, without a port; write `[::1]:8883`"),
        (
            "b.example:0",
            "is `b.example:0`, whose port is not 1 to 65535; write `b.example:8883`",
        ),
        (
            "b.example:99999",
            "is `b.example:99999`, whose port is not 1 to 65535; write `b.example:8883`",
        ),
        (
            "':8883'",
            "is `:8883`, without a host; write for example `broker.example:8883`",
        ),
        (
            "b.example:8883/mqtt",
            "is `b.example:8883/mqtt`, which is no host and port; write for example `broker.example:8883`",
        ),
        (
            "mqtts://me:s3cret@b:1",
            "holds `@`, so it looks like a URL with a user name; write only host and port, for example `broker.example:8883`",
        ),
        (
            "8883",
            "is read as a number where text is expected; put it in quotes",
        ),
    ] {
        let lines = refusal(&format!("brokerHost: {host}\n"));
        assert_eq!(lines, [format!("config.yaml:1: `brokerHost` {expected}")]);
    }
}

#[test]
fn login_is_refused_without_showing_it() {
    let lines = refusal(&with_host("username: maestro\npassword: s3cret\n"));
    assert_eq!(
        lines,
        [
            "config.yaml:2: `username` is set, but the broker knows a client by its certificate; remove it or leave it empty",
            "config.yaml:3: `password` is set, but the broker knows a client by its certificate; remove it or leave it empty",
        ]
    );
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_on_every_level() {
    let lines = refusal(&with_host(
        "clientCert: a\nsourceEvents: x\nzzz: 1\ntopics:\n  sourceEvent: x\n",
    ));
    assert_eq!(
        lines,
        [
            "config.yaml:2: unknown key `clientCert` (did you mean `clientCertFile`?)",
            "config.yaml:3: unknown key `sourceEvents` (did you mean `topics.sourceEvents`?)",
            "config.yaml:4: unknown key `zzz`; remove it",
            "config.yaml:6: unknown key `topics.sourceEvent` (did you mean `topics.sourceEvents`?)",
        ]
    );
}

#[test]
fn values_of_the_wrong_shape_are_refused() {
    for (text, expected) in [
        (
            "keepAlive: [60]",
            "`keepAlive` takes a single value; write integer (MQTT keep-alive in seconds, 30 to 1200)",
        ),
        (
            "keepAlive: 1.5",
            "`keepAlive` is `1.5`, no whole number; write 30 to 1200 (seconds)",
        ),
        (
            "keepAlive: 1201",
            "`keepAlive` is 1201, above 1200; write 30 to 1200 (seconds)",
        ),
        (
            "dialTimeout: 60",
            "`dialTimeout` is 60 nanoseconds, below 100ms; write 100ms to 600s, for example `60s`",
        ),
        (
            "dialTimeout: 2h",
            "`dialTimeout` is `2h`, above 600s; write 100ms to 600s, for example `60s`",
        ),
        (
            "subQoS: 2",
            "`subQoS` is 2, which AWS IoT Core does not have; write 1 or remove it",
        ),
        (
            "topics: x",
            "`topics` is a section; write `sourceEvents: …` and the like below it, indented",
        ),
    ] {
        assert_eq!(
            refusal(&with_host(text)),
            [format!("config.yaml:2: {expected}")]
        );
    }
}

#[test]
fn half_a_set_of_topics_is_refused() {
    assert_eq!(
        refusal(&with_host(
            "topics:\n  sourceEvents: a/+/c/+/sourceevents\n"
        )),
        [
            "config.yaml:3: `topics.agentEvents` is missing while `topics.sourceEvents` is given; add `topics.agentEvents`, or remove `topics` to use the default topics"
        ]
    );
}

#[test]
fn incomplete_credentials_are_refused() {
    for (text, expected) in [
        (
            "caFile: a",
            "`caFile` is given without a client certificate, so TLS would silently be off; add `clientCertFile` and `clientKeyFile`",
        ),
        (
            "clientCertFile: a",
            "`clientCertFile` is given without its key; add `clientKeyFile`",
        ),
        (
            "clientKeyFile: a",
            "`clientKeyFile` is given without its certificate; add `clientCertFile`",
        ),
        (
            "clientCertFile: a\nclientKeyFile: b",
            "`clientCertFile` is given without the CA of the broker; add `caFile`, for AWS IoT Core with Amazon Root CA 1",
        ),
    ] {
        assert_eq!(
            refusal(&with_host(text)),
            [format!("config.yaml:2: {expected}")]
        );
    }
}

#[test]
fn relative_paths_count_from_the_file_s_directory_but_not_in_flags() {
    let broker = load(&with_host(CREDENTIALS), &[], &["--ca-file", "other/ca.crt"]).unwrap();
    let credentials = broker.credentials.unwrap();
    assert_eq!(
        credentials.certificate,
        Material::File("/etc/agent/certificate".into())
    );
    assert_eq!(credentials.ca, Material::File("other/ca.crt".into()));
}

#[test]
fn data_wins_over_files_and_is_never_shown() {
    let pem = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
    let data = STANDARD.encode(pem);
    let text = with_host(&format!("{CREDENTIALS}clientKeyData: {data}\n"));
    let broker = load(&text, &[], &[]).unwrap();
    assert_eq!(
        broker.credentials.as_ref().unwrap().key,
        Material::Pem(pem.into())
    );
    let shown = format!("{broker:?}");
    assert!(
        shown.contains("Pem(..)") && !shown.contains("c2VjcmV0"),
        "{shown}"
    );

    let not_base64 = refusal(&with_host(&format!(
        "{CREDENTIALS}clientKeyData: '%s3cret%'\n"
    )));
    assert_eq!(
        not_base64,
        [
            "config.yaml:5: `clientKeyData` is not Base64; write the PEM text in Base64, as `base64 -w0 FILE` prints it"
        ]
    );
    let text = with_host(&format!(
        "{CREDENTIALS}clientKeyData: |\n  -----BEGIN PRIVATE KEY-----\n"
    ));
    assert!(refusal(&text)[0].contains("is PEM itself, not Base64 of it"));
    let other = STANDARD.encode("s3cret");
    let text = with_host(&format!("{CREDENTIALS}clientKeyData: {other}\n"));
    assert!(refusal(&text)[0].contains("is Base64, but not of PEM text"));
}

#[test]
fn broken_yaml_names_the_line_and_never_quotes_a_secret() {
    let fix = "write `key: value` lines and put unusual text in quotes";
    for (text, expected) in [
        (
            "brokerHost: b:1\nkeepAlive: {\n",
            "2: is not valid YAML: unclosed bracket '{'",
        ),
        (
            "brokerHost: a:1\nbrokerHost: b:2\n",
            "2: is not valid YAML: duplicate mapping key `brokerHost` is not allowed here",
        ),
        (
            "password: a\npassword: b\n",
            "2: is not valid YAML: duplicate mapping key `password` is not allowed here",
        ),
        ("password: 'abc\n", "1: is not valid YAML: unclosed quote"),
        (
            "- a\n- b\n",
            "1: is not valid YAML: expected `key: value` lines",
        ),
    ] {
        assert_eq!(refusal(text), [format!("config.yaml:{expected}; {fix}")]);
    }
    for secret in ["*s3cret", "'s3cret", "%s3cret: s3cret: [", "\"\\s3cret\""] {
        for text in [
            format!("password: {secret}\n"),
            with_host(&format!("password: {secret}\n")),
        ] {
            let lines = refusal(&text);
            assert!(!lines.join("\n").contains("s3cret"), "{lines:?}");
        }
    }
}

#[test]
fn another_file_given_by_mistake_is_named_and_never_quoted() {
    let key = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg\n-----END PRIVATE KEY-----\n";
    for text in [
        key.to_owned(),
        format!("a: b\n{key}"),
        format!("{{\"token\": \"{}\", [}}", &key[28..60]),
        format!("Proc-Type: 4,ENCRYPTED\n\n{key}"),
        format!("keepAlive: {}\n", "MIGHAgEAMBMG".repeat(500)),
    ] {
        let refused = refusal(&text).join("\n");
        assert!(!refused.contains("AgEGCCqGSM49"), "{refused}");
        assert!(refused.len() < 600, "{refused}");
    }
}

#[test]
fn what_is_no_regular_file_is_refused_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
    for (path, what) in [
        (pipe.as_path(), "is a named pipe, not a regular file"),
        (Path::new("/dev/zero"), "is a device, not a regular file"),
        (directory.path(), "is a directory, not a regular file"),
    ] {
        let mut layers = Layers::new(Broker::KEYS);
        layers.file(path);
        let refused = layers.finish::<()>(None).unwrap_err().to_string();
        assert!(refused.contains(what), "{refused}");
    }
}

#[test]
fn file_that_is_missing_or_no_text_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.yaml");
    let read = |path: &Path| {
        let mut layers = Layers::new(Broker::KEYS);
        layers.file(path);
        layers
            .finish(Some(()))
            .map_err(|problems| problems.to_string())
    };
    let missing = read(&path).unwrap_err();
    assert!(
        missing.contains("config.yaml: cannot be read: No such file"),
        "{missing}"
    );
    std::fs::write(&path, [0xff, 0xfe, 0x00]).unwrap();
    assert!(read(&path).unwrap_err().contains("is not UTF-8 text"));
    std::fs::write(&path, vec![b'#'; 2 * 1024 * 1024]).unwrap();
    assert!(
        read(&path)
            .unwrap_err()
            .contains("is larger than 1048576 bytes")
    );
    std::fs::write(&path, "# nothing yet\n").unwrap();
    assert_eq!(read(&path), Ok(()));
}

#[test]
fn every_flag_of_the_keys_exists_and_every_name_is_unique() {
    let command = <Args as clap::CommandFactory>::command();
    let mut seen = std::collections::BTreeSet::new();
    for key in Broker::KEYS {
        assert!(seen.insert(key.name), "{}", key.name);
        assert!(key.env.is_none_or(|env| seen.insert(env)), "{}", key.name);
        if let Some(flag) = key.flag {
            let long = flag.trim_start_matches("--");
            assert!(
                command
                    .get_arguments()
                    .any(|arg| arg.get_long() == Some(long)),
                "{flag}"
            );
        }
        assert!(
            !(key.secret && key.flag.is_some()),
            "{}: a command line is public",
            key.name
        );
    }
    let flags = command
        .get_arguments()
        .filter(|arg| arg.get_long().is_some())
        .count();
    assert_eq!(
        Broker::KEYS.iter().filter(|key| key.flag.is_some()).count(),
        flags
    );
    assert!(
        reference_table(Broker::KEYS)
            .contains("| `keepAlive` | integer | `60` | `MQTT_KEEP_ALIVE` | `--keep-alive` |")
    );
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,200}|[a-zA-Z:{}\\[\\]&*!|>'\"#%@,?\n \\-]{0,200}") {
        let _ = load(&text, &[], &[]);
    }

    #[test]
    fn arbitrary_values_never_panic_and_secrets_never_show(
        key in prop::sample::select(Broker::KEYS),
        value in "\\PC{0,60}",
    ) {
        let marked = format!("s3cret{value}");
        let text = with_host(&format!("{}: {marked}\n", key.name));
        let problems = load(&text, &[], &[]).map(drop).map_err(|problems| problems.to_string());
        if key.secret {
            prop_assert!(!problems.err().unwrap_or_default().contains("s3cret"));
        }
        let _ = parse_host_port(&value);
        let _ = parse_duration(&value);
    }
}
