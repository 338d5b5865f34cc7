//! Faults on the way to the broker, and of the clock.

use std::time::Duration;

use jiff::SignedDuration;
use link::clock::Clock;

use super::pki::{authority, good, leaf, mount};
use super::servers::{Tls, closed, closing, plain, swallowing};
use super::{at, doctor, in_namespace};

#[test]
fn a_broker_without_a_fault_is_healthy() {
    let ca = authority("the CA");
    let server = good(&ca);
    let port = Tls {
        clients: Some(&ca),
        ..Tls::new(&server)
    }
    .start();
    let directory = mount(&ca, &good(&ca));
    let run = doctor(&at(&port, directory.path()));
    run.has(&[]);
    assert_eq!(run.report["schema"], "maestro-findings/1");
    let ok: Vec<&str> = run
        .found()
        .into_iter()
        .filter(|(_, it)| *it == "ok")
        .map(|(code, _)| code)
        .collect();
    assert_eq!(ok, ["MQ100", "MQ110", "MQ200", "MQ210", "MQ220"]);
    // What was not looked at is said: the clock, and what was not asked for.
    let info: Vec<&str> = run
        .found()
        .into_iter()
        .filter(|(_, it)| *it == "info")
        .map(|(code, _)| code)
        .collect();
    assert_eq!(info, ["MQ120", "MQ300"]);
    let quick = || doctor(&at(&port, directory.path())).took < Duration::from_secs(5);
    assert!((0..ATTEMPTS).any(|_| quick()));
}

#[test]
fn a_port_that_is_blocked_refused_or_silent_is_told_apart() {
    let ca = authority("the CA");
    let server = good(&ca);
    let directory = mount(&ca, &good(&ca));
    let (_keep, refused) = closed();
    let (_keep_too, other) = closed();
    let blocked = swallowing();
    let beside = Tls {
        alpn: &["x-amzn-mqtt-ca"],
        ..Tls::new(&server)
    }
    .start();
    let run = |port: &str, beside: &str| {
        let mut arguments = at(port, directory.path());
        arguments.extend(["--alpn-port", beside]);
        doctor(&arguments)
    };
    let seen = run(&refused, &other).has(&[("MQ213", "error")]);
    assert!(seen.contains("refuses the connection"), "{seen}");
    let swallowed = run(&blocked.port, &other);
    let seen = swallowed.has(&[("MQ212", "error")]);
    assert!(seen.contains("no answer"), "{seen}");
    let seen = run(&blocked.port, &beside).has(&[("MQ211", "error")]);
    assert!(seen.contains("x-amzn-mqtt-ca` works"), "{seen}");
    // A local address of IPv6 without the name of its network: the system does not even try.
    let identity = directory.path().to_str().unwrap();
    let scopeless = [
        "-h",
        "fe80::1",
        "--alpn-port",
        &other,
        "--identity",
        identity,
    ];
    let seen = doctor(&scopeless).has(&[("MQ210", "error")]);
    assert!(seen.contains("fe80::1"), "{seen}");
    // TLS without the application protocol is somebody else's.
    let foreign = Tls::new(&server).start();
    run(&blocked.port, &foreign).has(&[("MQ212", "error")]);
}

#[test]
fn everything_ends_within_ten_seconds_whatever_hangs() {
    let ca = authority("the CA");
    let directory = mount(&ca, &good(&ca));
    let silent = plain("");
    let blocked = swallowing();
    let also_blocked = swallowing();
    for (port, beside, code) in [
        (&silent, &silent, "MQ220"),
        (&silent, &blocked.port, "MQ220"),
        (&blocked.port, &also_blocked.port, "MQ212"),
        (&blocked.port, &silent, "MQ212"),
    ] {
        let mut arguments = at(port, directory.path());
        arguments.extend(["--alpn-port", beside, "-W", "10"]);
        let quick = || {
            let run = doctor(&arguments);
            run.has(&[(code, "error")]);
            run.took < Duration::from_secs(10)
        };
        assert!((0..ATTEMPTS).any(|_| quick()), "{code}");
    }
    // Less time is less time.
    let mut arguments = at(&silent, directory.path());
    arguments.extend(["-W", "1"]);
    let quick = || {
        let run = doctor(&arguments);
        assert_eq!(run.code, 1, "{}", run.all);
        run.took < Duration::from_secs(4)
    };
    assert!((0..ATTEMPTS).any(|_| quick()));
}

#[test]
fn a_name_that_does_not_exist_is_a_fault_of_the_name_or_of_the_resolver() {
    let ca = authority("the CA");
    let directory = mount(&ca, &good(&ca));
    let identity = directory.path().to_str().unwrap();
    let run = doctor(&[
        "-h",
        "a1b2.iot.us-east-2.amazonaws.invalid",
        "--identity",
        identity,
    ]);
    let (code, _) = *run
        .found()
        .iter()
        .find(|(_, severity)| *severity == "error")
        .unwrap();
    assert!(["MQ200", "MQ201"].contains(&code), "{}", run.all);
}

#[test]
fn a_name_that_the_resolver_does_not_have_is_told_from_a_resolver_that_does_not_answer() {
    let ca = authority("the CA");
    let directory = mount(&ca, &good(&ca));
    let names = |content: &str| {
        let file = directory.path().join("nsswitch.conf");
        std::fs::write(&file, content).unwrap();
        format!("mount --bind '{}' /etc/nsswitch.conf", file.display())
    };
    let look_at = |host: &str, prepare: &str| {
        let identity = directory.path().to_str().unwrap();
        in_namespace("-rmn", prepare, &["-h", host, "--identity", identity])
    };
    let look = |prepare: &str| look_at("a1b2-ats.iot.us-east-2.amazonaws.com", prepare);
    // Names of this machine alone; and name servers without a network to them.
    let seen = look(&names("hosts: files\n")).has(&[("MQ201", "error")]);
    assert!(seen.contains("no address"), "{seen}");
    let seen = look(&names("hosts: dns\n")).has(&[("MQ200", "error")]);
    assert!(seen.contains("look-up"), "{seen}");
    // The legacy endpoint is known by its name, whether it resolves or not; a name that only begins like it is none.
    let legacy = "a1b2.iot.us-east-2.amazonaws.com";
    let run = look_at(legacy, &names("hosts: files\n"));
    run.has(&[("MQ202", "warning"), ("MQ201", "error")]);
    let run = look_at(&format!("{legacy}.invalid"), &names("hosts: files\n"));
    run.has(&[("MQ201", "error")]);
}

// How often a code is asked for that takes an answer in time.
const ATTEMPTS: usize = 3;

#[test]
fn each_fault_of_the_handshake_has_its_code() {
    let ca = authority("the CA");
    let another = authority("another CA");
    let (server, client) = (good(&ca), good(&ca));
    let directory = mount(&ca, &client);
    let check = |port: &str, more: &[&str], code: &str, words: &[&str]| {
        let mut arguments = at(port, directory.path());
        arguments.extend(more);
        // Where this machine is busy, an alert may come later than any that crosses the earth.
        let run = (1..ATTEMPTS)
            .map(|_| doctor(&arguments))
            .find(|run| run.found().contains(&(code, "error")))
            .unwrap_or_else(|| doctor(&arguments));
        let seen = run.has(&[(code, "error")]);
        for word in words {
            assert!(seen.contains(word), "{seen}");
        }
    };
    // ca.crt is of another authority.
    let foreign = good(&another);
    check(
        &Tls::new(&foreign).start(),
        &[],
        "MQ223",
        &["CN=another CA", "CN=the CA", "ca.crt"],
    );
    let elsewhere = leaf(&ca, &["elsewhere.example.com"], -1, 100);
    check(
        &Tls::new(&elsewhere).start(),
        &[],
        "MQ225",
        &["elsewhere.example.com", "localhost"],
    );
    let over = leaf(&ca, &["localhost"], -20, -10);
    check(
        &Tls::new(&over).start(),
        &[],
        "MQ226",
        &["expired", "the clock here shows"],
    );
    let early = leaf(&ca, &["localhost"], 10, 20);
    check(&Tls::new(&early).start(), &[], "MQ226", &["not yet valid"]);
    let old = Tls {
        versions: &[&rustls::version::TLS12],
        ..Tls::new(&server)
    };
    check(
        &old.start(),
        &["--tls-version", "tlsv1.3"],
        "MQ224",
        &["TLS 1.3 only was offered", "it takes TLS 1.2"],
    );
    let web = Tls {
        alpn: &["h2"],
        ..Tls::new(&server)
    };
    check(
        &web.start(),
        &["--tls-alpn", "mqtt"],
        "MQ222",
        &["`mqtt` is not taken", "without an application protocol"],
    );
    check(
        &plain("HTTP/1.1 400 Bad Request\r\n\r\n"),
        &[],
        "MQ221",
        &["HTTP is spoken there"],
    );
    check(&closing(), &[], "MQ220", &["closed"]);
    // Our certificate is of an authority that the broker does not know.
    let strict = Tls {
        clients: Some(&another),
        ..Tls::new(&server)
    };
    check(
        &strict.start(),
        &[],
        "MQ301",
        &["refused the client certificate"],
    );
    let older = Tls {
        clients: Some(&another),
        versions: &[&rustls::version::TLS12],
        ..Tls::new(&server)
    };
    check(
        &older.start(),
        &[],
        "MQ301",
        &["refused the client certificate"],
    );
}

#[test]
fn a_broker_that_takes_the_older_tls_only_is_healthy_and_says_so() {
    let ca = authority("the CA");
    let server = good(&ca);
    let port = Tls {
        versions: &[&rustls::version::TLS12],
        ..Tls::new(&server)
    }
    .start();
    let directory = mount(&ca, &good(&ca));
    let run = doctor(&at(&port, directory.path()));
    run.has(&[]);
    assert!(run.found().contains(&("MQ224", "info")), "{}", run.all);
}

#[test]
fn the_clock_here_is_compared_with_the_servers_also_when_its_certificate_seems_over() {
    let ca = authority("the CA");
    let server = good(&ca);
    let directory = mount(&ca, &good(&ca));
    let port = Tls::new(&server).start();
    let dated = |pair, hours: i64| {
        let at = Clock::system().now() + SignedDuration::from_hours(hours);
        let date = at.strftime("%a, %d %b %Y %H:%M:%S GMT");
        let answer = format!("HTTP/1.1 403 Forbidden\r\ndate: {date}\r\n\r\n");
        Tls {
            answer: answer.into_bytes(),
            ..Tls::new(pair)
        }
        .start()
    };
    let run = |port: &str, https: &str| {
        let mut arguments = at(port, directory.path());
        arguments.extend(["--alpn-port", https]);
        doctor(&arguments)
    };
    let right = run(&port, &dated(&server, 0));
    right.has(&[]);
    assert!(right.found().contains(&("MQ120", "ok")), "{}", right.all);
    let seen = run(&port, &dated(&server, 26)).has(&[("MQ121", "error")]);
    assert!(seen.contains("s behind"), "{seen}");
    let seen = run(&port, &dated(&server, -26)).has(&[("MQ121", "error")]);
    assert!(seen.contains("s ahead"), "{seen}");
    // A clock far ahead makes the server's certificate look over; its date is believed all the same.
    let over = leaf(&ca, &["localhost"], -20, -10);
    let both = run(&Tls::new(&over).start(), &dated(&over, -24 * 15));
    both.has(&[("MQ226", "error"), ("MQ121", "error")]);
    // Somebody else's word counts for nothing.
    let foreign = authority("a foreign CA");
    let unbelieved = run(&port, &dated(&good(&foreign), 26));
    unbelieved.has(&[]);
    assert!(
        unbelieved.found().contains(&("MQ120", "info")),
        "{}",
        unbelieved.all
    );
}
