//! What is written of messages is what mosquitto_sub writes of them.

use std::process::Command;

use serde_json::Value;

use super::broker::Broker;
use super::{Run, probe, run, runs_out};

/// One of mosquitto's clients, on the same broker with the same certificate.
pub(super) fn mosquitto(broker: &Broker, tool: &str) -> Command {
    let mut command = Command::new(tool);
    command
        .args(["-V", "mqttv5", "-q", "1", "-h", "localhost", "-p"])
        .arg(broker.port.to_string())
        .arg("--cafile")
        .arg(broker.file("ca.crt"))
        .arg("--cert")
        .arg(broker.file("client.crt"))
        .arg("--key")
        .arg(broker.file("client.key"));
    command
}

pub(super) fn mosquitto_ran(broker: &Broker, tool: &str, line: &[&str]) -> Run {
    let done = run(mosquitto(broker, tool).args(line));
    assert_eq!(
        done.code,
        Some(0),
        "{tool} {line:?}: {}{}",
        done.out,
        done.err
    );
    done
}

/// Three retained messages: one with all properties, one whose payload is JSON, one deeper.
fn retain(broker: &Broker) {
    let properties = "-D PUBLISH user-property k v -D publish Content-Type text/plain -D publish response-topic r/t \
                      -D publish correlation-data id -D publish payload-format-indicator 1";
    let properties: Vec<&str> = properties.split_whitespace().collect();
    let mut line = vec!["-t", "test/a", "-m", "he\"llo", "-r"];
    line.extend(properties);
    // Ours, so that what is sent is compared too.
    run(probe(broker, "publish").args(&line)).ended(0, &[]);
    for (topic, payload) in [("test/b", "{\"x\":27.5}"), ("test/c/d", "deep")] {
        run(probe(broker, "publish").args(["-t", topic, "-m", payload, "-r"])).ended(0, &[]);
    }
}

#[test]
fn payloads_topics_and_formats_are_written_as_mosquitto_sub_writes_them() {
    let broker = Broker::start();
    retain(&broker);
    for line in [
        ["-t", "test/a", "-C", "1", "-F", "%t %p"].as_slice(),
        &[
            "-t",
            "test/a",
            "-C",
            "1",
            "-F",
            "%A|%C|%D|%F|%l|%P|%p|%q|%R|%r|%S|%t|%x|%X|%m",
        ],
        &[
            "-t",
            "test/a",
            "-C",
            "1",
            "-F",
            r"%20t|%-20t|%020l|%7.4t|%3.2C|%08l|%-08l|%%\t@@\\",
        ],
        &["-t", "test/a", "-C", "1", "-v"],
        &["-t", "test/a", "-C", "1", "-v", "-N"],
        &["-t", "test/a", "-C", "1", "-N", "-F", "%t:"],
        &[
            "-t", "test/#", "-T", "test/a", "-T", "test/c/+", "-C", "1", "-v",
        ],
        &["-t", "test/#", "-T", "test/a", "-C", "2", "-N", "-F", "%p;"],
        &["-t", "test/a", "-t", "test/b", "-C", "2", "-F", "%t"],
    ] {
        let theirs = mosquitto_ran(&broker, "mosquitto_sub", line);
        let ours = run(probe(&broker, "subscribe").args(line)).ended(0, &[]);
        assert_eq!(ours.out, theirs.out, "{line:?}");
    }
    let ours = run(probe(&broker, "subscribe").args(["-t", "test/a", "-C", "1", "--raw"]));
    assert_eq!(
        ours.out,
        mosquitto_ran(&broker, "mosquitto_sub", &["-t", "test/a", "-C", "1"]).out
    );

    for (topic, format) in [("test/a", "%j"), ("test/b", "%j"), ("test/b", "%J")] {
        for pretty in [["-C", "1"].as_slice(), &["-C", "1", "--pretty"]] {
            let line = [&["-t", topic, "-F", format], pretty].concat();
            let read = |text: &str| -> Value {
                let mut object: Value = serde_json::from_str(text).unwrap();
                let time = object.as_object_mut().unwrap().remove("tst").unwrap();
                assert!(time.as_str().unwrap().starts_with("20"), "{time}");
                object
            };
            let theirs = mosquitto_ran(&broker, "mosquitto_sub", &line);
            let ours = run(probe(&broker, "subscribe").args(&line)).ended(0, &[]);
            assert_eq!(read(&ours.out), read(&theirs.out), "{line:?}");
            assert_eq!(
                ours.out.trim_end().contains('\n'),
                pretty.len() > 2,
                "{}",
                ours.out
            );
        }
    }
    let no_json = run(probe(&broker, "subscribe").args(["-t", "test/a", "-C", "1", "-F", "<%J>"]));
    let no_json = no_json.ended(0, &["note: the payload on `test/a` is no JSON"]);
    assert_eq!(no_json.out, "<>\n");
    run(probe(&broker, "subscribe").args(["-t", "t", "-F", "%z"]))
        .ended(2, &["`%z` in `-F`", "%t"]);
    run(probe(&broker, "subscribe").args(["-t", "t", "--pretty"])).ended(2, &["`--json`"]);
}

#[test]
fn people_see_properties_and_quality_and_scripts_see_them_in_one_object() {
    let broker = Broker::start();
    retain(&broker);
    let seen = run(probe(&broker, "subscribe").args(["-t", "test/a", "-C", "1"]));
    seen.ended(
        0,
        &[
            "test/a bytes=6 content-type=text/plain qos=1 retained",
            "  property k=v",
            "  response-topic r/t",
        ],
    );
    let at_most = ["-t", "test/a", "-C", "1", "-q", "0", "--json", "--pretty"];
    let seen = run(probe(&broker, "subscribe").args(at_most)).ended(0, &["{\n  \""]);
    let object: Value = serde_json::from_str(&seen.out).unwrap();
    assert_eq!(
        (&object["qos"], &object["retain"]),
        (&0.into(), &true.into())
    );
}

#[test]
fn retained_messages_are_hidden_alone_shown_or_cleared() {
    let broker = Broker::start();
    retain(&broker);
    let kept = ["-t", "test/#", "--retained-only", "-v", "-C", "3"];
    let kept = run(probe(&broker, "subscribe").args(kept)).ended(0, &[]);
    assert_eq!(kept.out.lines().count(), 3);
    // Nothing fresh comes, and what is retained does not count.
    let fresh = runs_out(&broker, &["-t", "test/#", "-R", "-v"], "no message on");
    assert_eq!(fresh.out, "");

    // What is hidden stays, as with mosquitto_sub.
    let hidden = "-t test/# --remove-retained -R";
    let hidden: Vec<_> = hidden.split(' ').collect();
    runs_out(&broker, &hidden, "no message on");
    let wrong = "-t test/# -T test/c# --remove-retained -C 4";
    run(probe(&broker, "subscribe").args(wrong.split(' '))).ended(2, &["filter `test/c#`"]);
    // The empty messages come as fresh ones, and count.
    let clear = "-t test/# -T test/c/d/# --remove-retained -v -C 4 -W 20";
    let cleared = run(probe(&broker, "subscribe").args(clear.split(' '))).ended(0, &[]);
    let lines = cleared.out.lines();
    let mut empty: Vec<_> = lines.filter(|line| line.ends_with(' ')).collect();
    empty.sort_unstable();
    assert_eq!(empty, ["test/a ", "test/b "]);
    let left = runs_out(
        &broker,
        &["-t", "test/#", "-v", "-C", "2"],
        "1 of 2 messages",
    );
    assert_eq!(left.out, "test/c/d deep\n");
}
