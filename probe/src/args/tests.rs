use clap::Parser;
use clap::error::ErrorKind;

use std::time::Duration;

use super::*;

fn parse(line: &str) -> Result<Args, clap::Error> {
    Args::try_parse_from(line.split_whitespace())
}

fn publish(line: &str) -> PublishArgs {
    match parse(line).unwrap().command {
        Verb::Publish(args) => *args,
        other => panic!("not a publish: {other:?}"),
    }
}

fn refusal(line: &str) -> String {
    let error = parse(line).unwrap_err();
    assert!(error.use_stderr(), "{line}");
    error.to_string()
}

#[test]
fn the_first_deployments_line_works_as_it_stands() {
    let args = publish(
        "probe publish -h HOST -p 8883 --cafile ca.crt --cert client.crt --key client.key \
         -t maestro/consumers/test/sourceevents -m test",
    );
    assert_eq!(args.connection.host.as_deref(), Some("HOST"));
    assert_eq!(args.connection.port, Some(8883));
    assert_eq!(
        args.topic.as_deref(),
        Some("maestro/consumers/test/sourceevents")
    );
    assert_eq!(args.message.as_deref(), Some("test"));
    assert_eq!(args.timeout, Duration::from_secs(30));
}

#[test]
fn mosquittos_letters_keep_their_meaning() {
    let args = publish(
        "probe publish -h h -p 1 -t t -f file -q 1 -r -i me -k 30 -V mqttv5 -W 2.5 \
         -D publish user-property k v -D publish content-type text/plain",
    );
    assert_eq!(args.file, Some("file".into()));
    assert_eq!(args.qos, Some(1));
    assert!(args.retain);
    assert_eq!(args.connection.id.as_deref(), Some("me"));
    assert_eq!(args.connection.keepalive, Some(30));
    assert_eq!(args.connection.protocol_version, Some(ProtocolVersion));
    assert_eq!(args.timeout, Duration::from_millis(2500));
    assert_eq!(args.property.len(), 7);
    let negative = publish("probe publish -D publish user-property k -5 -t t -n").property;
    assert_eq!(negative.last().map(String::as_str), Some("-5"));
    assert!(publish("probe publish -t t -l").stdin_line);
    assert!(publish("probe publish -t t -s").stdin_file);
    assert!(publish("probe publish -t t -n").null_message);
    assert_eq!(
        publish("probe publish -t t -m -5").message.as_deref(),
        Some("-5")
    );

    let Verb::Subscribe(args) = parse("probe subscribe -t a -t $share/g/b/# -C 3 -v -W 1 -V 5")
        .unwrap()
        .command
    else {
        panic!("not a subscribe");
    };
    assert_eq!(args.topics, ["a", "$share/g/b/#"]);
    assert_eq!((args.count, args.verbose), (Some(3), true));
}

#[test]
fn wrong_lines_say_which_option_is_wrong_and_why() {
    for (line, expected) in [
        (
            "probe publish -t t -m a -f b",
            ["'--message <TEXT>'", "'--file <FILE>'"],
        ),
        (
            "probe publish -t t -l -s",
            ["'--stdin-line'", "'--stdin-file'"],
        ),
        (
            "probe publish -t t -n -m a",
            ["'--null-message'", "'--message <TEXT>'"],
        ),
        ("probe publish -t t", ["--message <TEXT>", "required"]),
        ("probe publish -m a", ["--topic <TOPIC>", "required"]),
        (
            "probe publish -t t -m a --cert c",
            ["--key <FILE>", "required"],
        ),
        (
            "probe publish -t t -m a --identity d --cafile c",
            ["'--identity <DIR>'", "'--cafile <FILE>'"],
        ),
        (
            "probe publish -t t -m a -q 2",
            ["'--qos <QOS>'", "AWS IoT Core has no QoS 2"],
        ),
        (
            "probe publish -t t -m a -V 311",
            [
                "'--protocol-version <VERSION>'",
                "speaks MQTT 5 only; use `mosquitto_pub -V mqttv311`",
            ],
        ),
        (
            "probe publish -t t -m a -V mqttv311",
            ["'--protocol-version <VERSION>'", "MQTT 5 only"],
        ),
        (
            "probe publish -t t -m a -h mqtts://h",
            ["'--host <HOST>'", "without `mqtts://`"],
        ),
        (
            "probe publish -t t -m a -h h:8883",
            ["'--host <HOST>'", "`-h h -p 8883`"],
        ),
        (
            "probe publish -t t -m a -h u:p@h",
            ["'--host <HOST>'", "holds a user name; give only the host"],
        ),
        (
            "probe publish -t t -m a -W 0",
            ["'--timeout <SECONDS>'", "there is always a deadline"],
        ),
        (
            "probe publish -t t -m a -k 5",
            ["'--keepalive <SECONDS>'", "from 30 to 1200"],
        ),
        ("probe subscribe -t t -C 0", ["'-C <COUNT>'", "0"]),
        ("probe subscribe -t t --raw --json", ["'--raw'", "'--json'"]),
        (
            "probe check -t t --consumer c",
            ["'--topic <TOPIC>'", "'--consumer <NAME>'"],
        ),
        (
            "probe ping --tls-alpn=",
            ["'--tls-alpn <PROTOCOL>'", "1 to 255 bytes"],
        ),
        ("probe watch --api-ca c", ["--api <URL>", "required"]),
        (
            "probe doctor --api-cert c --api-key k",
            ["--api <URL>", "required"],
        ),
        ("probe ping --size 8", ["'--size <BYTES>'", "32..=131072"]),
    ] {
        let text = refusal(line);
        for part in expected {
            assert!(
                text.contains(part),
                "`{line}` said:\n{text}\nwithout `{part}`"
            );
        }
    }
}

#[test]
fn help_is_a_word_because_h_is_the_host() {
    let help = parse("probe publish --help").unwrap_err();
    assert_eq!(help.kind(), ErrorKind::DisplayHelp);
    assert!(refusal("probe publish -h").contains("'--host <HOST>'"));
    assert_eq!(
        parse("probe --version").unwrap_err().kind(),
        ErrorKind::DisplayVersion
    );
}

#[test]
fn help_texts_are_as_reviewed() {
    for name in [
        "",
        "publish",
        "subscribe",
        "ping",
        "check",
        "bench",
        "watch",
    ] {
        let mut line = vec!["probe"];
        line.extend(Some(name).filter(|name| !name.is_empty()));
        line.push("--help");
        let command = link::cli::command::<Args>();
        let help = command.try_get_matches_from(line).unwrap_err().to_string();
        let snapshot = format!("help_{}", if name.is_empty() { "probe" } else { name });
        insta::assert_snapshot!(snapshot, help);
    }
}

#[test]
fn the_command_line_is_sound() {
    <Args as clap::CommandFactory>::command().debug_assert();
}
