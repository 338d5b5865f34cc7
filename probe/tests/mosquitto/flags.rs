//! Every option of mosquitto_pub and mosquitto_sub 2.0 has an answer: it works, or it is refused by name.

use std::collections::BTreeSet;
use std::process::Command;

use clap::Parser as _;
use probe::args::Args;
use probe::args::refused::REFUSED;

/// What happens to an option.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// It is taken; with what else it needs.
    Works(&'static str),
    /// It is refused, with these words in the reason or in the hint.
    Refused(&'static str, &'static str),
}

use Answer::{Refused, Works};

/// The options of both tools.
const BOTH: &[(&[&str], Answer)] = &[
    (&["-A"], Refused("127.0.0.1", "ip route")),
    (&["-c", "--disable-clean-session"], Works("")),
    (&["--cafile"], Works("ca.crt")),
    (&["--capath"], Works("certs")),
    (&["--cert"], Works("c --key k")),
    (&["--ciphers"], Refused("ALL", "security policy")),
    (&["-d", "--debug"], Works("")),
    (&["-D", "--property"], Works("will content-type text/plain")),
    (&["--help"], Works("")),
    (&["-h", "--host"], Works("h")),
    (&["-i", "--id"], Works("me")),
    (&["-I", "--id-prefix"], Works("me-")),
    (&["--insecure"], Refused("", "always checked")),
    (&["-k", "--keepalive"], Works("60")),
    (&["--key"], Works("k --cert c")),
    (&["--keyform"], Refused("pem", "PEM files")),
    (&["-L", "--url"], Works("mqtts://h/t")),
    (&["--nodelay"], Works("")),
    (&["-p", "--port"], Works("8883")),
    (&["-P", "--pw"], Refused("secret", "no password is sent")),
    (
        &["--proxy"],
        Refused("socks5h://u:secret@h", "neither SOCKS nor HTTPS"),
    ),
    (&["--psk"], Refused("0011", "no pre-shared keys")),
    (&["--psk-identity"], Refused("me", "no pre-shared keys")),
    (&["-q", "--qos"], Works("1")),
    (&["--quiet"], Works("")),
    (&["-S"], Refused("", "describe-endpoint")),
    (&["-t", "--topic"], Works("t")),
    (&["--tls-alpn"], Works("mqtt")),
    (&["--tls-engine"], Refused("e", "PEM files")),
    (&["--tls-engine-kpass-sha1"], Refused("00", "PEM files")),
    (&["--tls-use-os-certs"], Refused("", "Amazon Root CA 1")),
    (&["--tls-version"], Works("tlsv1.3")),
    (
        &["-u", "--username"],
        Refused("me", "the certificate says who we are"),
    ),
    (&["--unix"], Refused("/tmp/s", "TLS over TCP")),
    (&["-V", "--protocol-version"], Works("mqttv5")),
    (&["--will-payload"], Works("x --will-topic w")),
    (&["--will-qos"], Works("1 --will-topic w")),
    (&["--will-retain"], Works("--will-topic w")),
    (&["--will-topic"], Works("w")),
    // Of 2.1.
    (&["--ws"], Refused("", "WebSocket is not used")),
    (&["-x"], Works("-1")),
];

/// Those of mosquitto_pub alone.
const PUBLISH: &[(&[&str], Answer)] = &[
    (&["-f", "--file"], Works("f")),
    (&["-l", "--stdin-line"], Works("")),
    (&["-m", "--message"], Works("m")),
    (&["-M"], Works("10")),
    (&["-n", "--null-message"], Works("")),
    (&["-r", "--retain"], Works("")),
    (&["--repeat"], Works("3")),
    (&["--repeat-delay"], Works("0.5 --repeat 3")),
    (&["-s", "--stdin-file"], Works("")),
];

/// Those of mosquitto_sub alone.
const SUBSCRIBE: &[(&[&str], Answer)] = &[
    (&["-C"], Works("1")),
    (&["-E"], Works("")),
    (&["-F"], Works("%t")),
    (&["-N"], Works("")),
    (&["--pretty"], Works("--json")),
    (&["-R"], Works("")),
    (
        &["--random-filter"],
        Refused("10", "every message is shown"),
    ),
    (&["--remove-retained"], Works("")),
    (&["--retain-as-published"], Works("")),
    (&["--retained-only"], Works("")),
    (&["-T", "--filter-out"], Works("a/#")),
    (&["-U", "--unsubscribe"], Refused("t", "without `-c`")),
    (&["-v", "--verbose"], Works("")),
    (&["-W"], Works("5")),
];

fn table(own: &'static [(&[&str], Answer)]) -> impl Iterator<Item = (&'static str, Answer)> {
    let all = BOTH.iter().chain(own);
    all.flat_map(|(names, answer)| names.iter().map(|name| (*name, *answer)))
}

#[test]
fn every_option_is_taken_or_refused_by_name_with_what_to_do_instead() {
    for (verb, own, needs) in [
        ("publish", PUBLISH, ["-t", "t", "-m", "m"].as_slice()),
        ("subscribe", SUBSCRIBE, &["-t", "t"]),
    ] {
        for (name, answer) in table(own) {
            let (Works(rest) | Refused(rest, _)) = answer;
            let mut line = vec!["probe", verb, name];
            line.extend(rest.split_whitespace());
            // What the option does not bring itself; content and topic may come from it.
            let brings_content = ["-f", "-l", "-m", "-n", "-s"].contains(&name)
                || [
                    "--file",
                    "--stdin-line",
                    "--message",
                    "--null-message",
                    "--stdin-file",
                ]
                .contains(&name);
            let needs = needs.chunks(2).filter(|need| match need[0] {
                "-t" => !["-t", "--topic", "-L", "--url"].contains(&name),
                _ => !brings_content,
            });
            line.extend(needs.flatten());
            match (answer, Args::try_parse_from(&line)) {
                (Works(_), Ok(args)) => {
                    assert!(
                        args.command.connection().unwrap().refused.0.is_none(),
                        "{line:?}"
                    );
                }
                (Works(_), Err(error)) if name == "--help" => assert!(!error.use_stderr()),
                (Refused(value, words), Ok(args)) => {
                    let refused = args.command.connection().unwrap().refused.0;
                    let option = refused.unwrap_or_else(|| panic!("{line:?} is taken"));
                    let said = format!("{} {}", option.reason, option.hint);
                    assert!(said.contains(words), "{line:?}: {said}");
                    assert!(value.is_empty() || value.len() < 3 || !said.contains(value));
                }
                (_, Err(error)) => panic!("{line:?}: {error}"),
            }
        }
    }
    let refused = |option: &&probe::args::refused::RefusedOption| {
        table(SUBSCRIBE)
            .any(|(name, answer)| name == option.name() && matches!(answer, Refused(..)))
    };
    assert_eq!(REFUSED.iter().filter(refused).count(), REFUSED.len());
}

#[test]
fn every_option_that_the_installed_tools_have_is_in_the_table() {
    for (tool, own) in [("mosquitto_pub", PUBLISH), ("mosquitto_sub", SUBSCRIBE)] {
        let output = Command::new(tool).arg("--help").output().unwrap();
        let help = String::from_utf8_lossy(&output.stdout).into_owned();
        let known: BTreeSet<&str> = table(own).map(|(name, _)| name).collect();
        let words = help.split(|c: char| c.is_whitespace() || "[]{}|,".contains(c));
        let options: BTreeSet<&str> = words
            .filter(|word| {
                let name = word.trim_start_matches('-');
                word.starts_with('-') && name.starts_with(|c: char| c.is_ascii_alphabetic())
            })
            .collect();
        assert!(options.len() > 30, "{help}");
        let unknown: Vec<_> = options.difference(&known).collect();
        assert!(unknown.is_empty(), "{tool}: {unknown:?}");
    }
}

#[test]
fn a_refused_option_ends_the_command_before_anything_and_its_value_is_not_shown() {
    let program = env!("CARGO_BIN_EXE_probe");
    for line in [
        "publish -h localhost -t t -m m -u me -P secret",
        "publish -h localhost -t t -m m --pw secret",
        "publish -h localhost -t t -m m --proxy socks5h://me:secret@proxy",
        "subscribe -L mqtt://me:secret@localhost/t",
        "subscribe -L mqtts://me:secret@localhost:port/t",
        "publish -h localhost -t t -m m -P=secret --json",
        "check -h localhost -P secret --quiet",
    ] {
        let output = Command::new(program)
            .args(line.split(' '))
            .output()
            .unwrap();
        let all = [output.stdout, output.stderr].concat();
        let all = String::from_utf8_lossy(&all).into_owned();
        assert_eq!(output.status.code(), Some(2), "{line}: {all}");
        assert!(
            all.contains("hint: ") || all.contains("\"hint\""),
            "{line}: {all}"
        );
        assert!(!all.contains("secret"), "{line}: {all}");
    }
}

#[test]
fn a_password_that_stands_where_none_is_meant_is_not_shown() {
    let program = env!("CARGO_BIN_EXE_probe");
    for line in [
        "publish -h mqtts://u:s3cret@h -t t -m m",
        "publish -h u:s3cret@h -t t -m m",
        "pub mqtts://u:s3cret@h/t",
        "check mqtts://u:s3cret@h/t",
        "mqtts://u:s3cret@h/t",
        "publish -h h -t t -m m -u me -P my s3cret",
        "publish -h h -t t -m m -u -P s3cret",
        "subscribe -h h -t t --quiet=s3cret",
    ] {
        let output = Command::new(program)
            .args(line.split(' '))
            .output()
            .unwrap();
        let all = [output.stdout, output.stderr].concat();
        let all = String::from_utf8_lossy(&all).into_owned();
        assert_eq!(output.status.code(), Some(2), "{line}: {all}");
        assert!(!all.contains("s3cret"), "{line}: {all}");
    }
}

#[test]
fn help_and_version_are_where_people_look_for_them() {
    let program = env!("CARGO_BIN_EXE_probe");
    let run = |line: &str| {
        let output = Command::new(program)
            .args(line.split(' '))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text)
    };
    for line in ["-h", "help", "--help"] {
        let (code, text) = run(line);
        assert!(text.contains("Usage: probe <COMMAND>"), "{line}: {text}");
        assert_eq!(code, Some(0), "{line}");
    }
    for verb in ["publish", "subscribe", "ping", "check"] {
        let (code, text) = run(&format!("help {verb}"));
        assert!(text.contains(&format!("Usage: probe {verb}")), "{text}");
        assert_eq!(code, Some(0));
        let (code, text) = run(&format!("{verb} --version"));
        assert!(text.contains(link::cli::version()), "{verb}: {text}");
        assert_eq!(code, Some(0));
    }
    let (code, text) = run("completions bash");
    assert!(text.contains("--will-topic"));
    assert_eq!(code, Some(0));
}
