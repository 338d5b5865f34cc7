//! Sessions that the broker keeps, and wills that it publishes.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::broker::Broker;
use super::formats::mosquitto_ran;
use super::options::wait_for_subscriber;
use super::{Run, probe, run, runs_out, signal};

#[test]
fn a_kept_session_has_what_came_meanwhile_and_a_clean_one_has_not() {
    let broker = Broker::start();
    let subscribe = |rest: &[&str]| {
        run(probe(&broker, "subscribe")
            .args(["-t", "test/kept", "-i", "me", "-v"])
            .args(rest))
    };
    let publish = |text: &str| {
        mosquitto_ran(&broker, "mosquitto_pub", &["-t", "test/kept", "-m", text]);
    };
    assert_eq!(subscribe(&["-c", "-E"]).ended(0, &[]).out, "");
    publish("one");
    publish("two");
    // More than once: the session is kept again.
    assert_eq!(
        subscribe(&["-c", "-x", "600", "-C", "1"]).ended(0, &[]).out,
        "test/kept one\n"
    );
    assert_eq!(
        subscribe(&["-c", "-x", "600", "-C", "1"]).ended(0, &[]).out,
        "test/kept two\n"
    );
    // Publishing goes on in a kept session too.
    let sent = ["-t", "test/kept", "-m", "three", "-i", "me", "-c", "--json"];
    let sent = run(probe(&broker, "publish").args(sent)).ended(0, &[]);
    assert_eq!(sent.json()[0]["matched"], true);
    // What mosquitto kept is taken up, and the other way round.
    let theirs = ["-t", "test/kept", "-i", "me", "-c", "-C", "1"];
    assert_eq!(
        mosquitto_ran(&broker, "mosquitto_sub", &theirs).out,
        "three\n"
    );
    publish("four");
    assert_eq!(
        subscribe(&["-c", "-C", "1"]).ended(0, &[]).out,
        "test/kept four\n"
    );

    // A clean start throws the session away, and keeps nothing.
    publish("five");
    subscribe(&["-E"]).ended(0, &[]);
    publish("six");
    let line = ["-t", "test/kept", "-i", "me", "-c"];
    runs_out(&broker, &line, "no message on `test/kept`");

    let nameless = run(probe(&broker, "subscribe").args(["-t", "test/kept", "-c", "-E"]));
    nameless.ended(2, &["`-c` keeps a session", "`-i ID`"]);
    for (line, option) in [
        ("-c -I pre-", "`-c`"),
        ("-x -1", "`-x -1`"),
        ("-x 4294967295", "`-x -1`"),
        ("-x -1 -I pre-", "`-x -1`"),
    ] {
        let line = ["-t", "test/kept", "-E"].into_iter().chain(line.split(' '));
        run(probe(&broker, "subscribe").args(line)).ended(2, &[option, "`-i ID`"]);
    }
    let words = run(probe(&broker, "subscribe").args(["-t", "t", "-x", "soon"]));
    words.ended(2, &["not a number of seconds"]);
}

#[test]
fn a_will_is_published_with_its_properties_when_the_client_dies_and_not_when_it_leaves() {
    let broker = Broker::start();
    let start = || {
        let mut command = probe(&broker, "subscribe");
        let will = "--will-topic test/will --will-payload gone --will-qos 1 --will-retain -D WILL user-property k v \
                    -D will content-type text/plain";
        command.args(["-t", "test/alive", "-W", "60"]);
        command.args(will.split_whitespace());
        command
            .arg("-d")
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let said = BufReader::new(child.stderr.take().unwrap());
        let mut said = said.lines().map(Result::unwrap);
        assert!(said.any(|line| line.contains("Subscribed to")));
        // What it says later is taken too.
        std::thread::spawn(move || said.count());
        child
    };
    let watch = || -> Child {
        let mut command = probe(&broker, "subscribe");
        command.args([
            "-t",
            "test/will",
            "-t",
            "test/watched",
            "-T",
            "test/watched",
        ]);
        command.args(["-C", "1", "-W", "20", "--json"]);
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        wait_for_subscriber(&broker, "test/watched", "x");
        child
    };
    let watching = watch();
    let mut dying = start();
    dying.kill().unwrap();
    dying.wait().unwrap();
    let heard = Run::of(&watching.wait_with_output().unwrap()).ended(0, &[]);
    let will = &heard.json()[0];
    assert_eq!(
        (&will["payload"], &will["qos"]),
        (&"gone".into(), &1.into())
    );
    assert_eq!(will["userProperties"][0][1], "v");
    assert_eq!(will["contentType"], "text/plain");
    let kept = ["-t", "test/will", "-C", "1", "-F", "%r %p"];
    assert_eq!(
        run(probe(&broker, "subscribe").args(kept))
            .ended(0, &[])
            .out,
        "1 gone\n"
    );

    // Ctrl-C says DISCONNECT: the retained one stays what it was, and nothing fresh comes.
    run(probe(&broker, "publish").args(["-t", "test/will", "-n", "-r"])).ended(0, &[]);
    let mut leaving = start();
    let id = leaving.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap()
            .success()
    );
    assert!(leaving.wait().unwrap().success());
    runs_out(&broker, &["-t", "test/will"], "no message on `test/will`");

    let halves = run(probe(&broker, "publish").args(["-t", "t", "-m", "x", "--will-payload", "x"]));
    halves.ended(2, &["--will-topic"]);
    let properties = ["-t", "t", "-m", "x", "-D", "will", "content-type", "x"];
    run(probe(&broker, "publish").args(properties))
        .ended(2, &["`-D will …`", "`--will-topic TOPIC`"]);
}

#[test]
fn a_subscriber_that_still_connects_ends_at_ctrl_c_and_when_it_is_told_to_and_has_failed() {
    let broker = Broker::start();
    // Takes the connection, and says nothing.
    broker.signal("STOP");
    for name in ["INT", "TERM"] {
        let mut child = probe(&broker, "subscribe")
            .args(["-t", "test/x", "-d", "-W", "120"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stderr.take().unwrap());
        let mut said = said.lines().map(Result::unwrap);
        assert!(said.any(|line| line.contains("Sending CONNECT")));
        let told = Instant::now();
        signal(&child, name);
        let said: Vec<String> = said.collect();
        // Not 0: nothing was acknowledged.
        assert_eq!(child.wait().unwrap().code(), Some(1), "{said:?}");
        assert!(told.elapsed() < Duration::from_secs(60), "{said:?}");
        let hint = said.last().unwrap();
        assert!(
            hint.starts_with("hint: ") && said.concat().contains("interrupted"),
            "{said:?}"
        );
    }
    broker.signal("CONT");
}
