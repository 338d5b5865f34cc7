//! Faults before CONNECT (point 21 of docs/IOT-CORE.md §2), with real sockets.

use std::io::ErrorKind;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use link::clock::Clock;
use rmqtt_codec::v5;
use rustls::version::{TLS12, TLS13};
use sandbox::broker::{AlpnRule, CertificateRefusal, Front, Handshake, Port, Quotas, TlsVersion};
use sandbox::pki::{Authority, CertificateRequest, LOCAL_NAMES};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::client::V5;
use super::rig::{Rig, connect5};
use super::tls::Dial;

const ALPN: &[&[u8]] = &[b"x-amzn-mqtt-ca"];

fn now() -> Timestamp {
    Clock::system().now()
}

fn front(rig: &Rig, change: impl FnOnce(&mut Front)) {
    rig.broker.faults().set(|faults| {
        faults.front = Front::default();
        change(&mut faults.front);
    });
}

#[tokio::test]
async fn point_21_another_server_certificate_fails_for_its_own_reason() {
    let rig = Rig::new().await;
    let other = Authority::new("other").unwrap().server(&[]).unwrap();
    let name = CertificateRequest::new("elsewhere");
    let elsewhere = rig.authority.server_as(&["elsewhere.invalid"], &name);
    let day = SignedDuration::from_hours(24);
    let now = now();
    let old = CertificateRequest::new("localhost").valid(now - day - day, now - day);
    let expired = rig.authority.server_as(&LOCAL_NAMES, &old);
    for (identity, said) in [
        (other, "UnknownIssuer"),
        (elsewhere.unwrap(), "not valid for name"),
        (expired.unwrap(), "expired"),
    ] {
        front(&rig, |front| front.identity = Some(identity));
        let error = Dial::new(&rig.set).open(&rig).await.unwrap_err();
        assert!(error.to_string().contains(said), "{said}: {error}");
    }
    front(&rig, |_| {});
    assert!(Dial::new(&rig.set).works(&rig).await);
}

#[tokio::test]
async fn point_21_versions_names_and_alpn_are_taken_as_the_fault_has_it() {
    let rig = Rig::new().await;
    let dial = Dial::new(&rig.set);
    for (only, other, version) in [
        (TlsVersion::Tls12, &TLS13, &TLS12),
        (TlsVersion::Tls13, &TLS12, &TLS13),
    ] {
        front(&rig, |front| front.tls_version = Some(only));
        let refused = Dial {
            version: other,
            ..Dial::new(&rig.set)
        };
        assert!(!refused.works(&rig).await, "{only:?}");
        let taken = Dial {
            version,
            ..Dial::new(&rig.set)
        };
        assert!(taken.works(&rig).await, "{only:?}");
    }
    // An address is sent as no name.
    let nameless = Dial {
        name: "127.0.0.1",
        ..Dial::new(&rig.set)
    };
    for (name, named, unnamed) in [
        (None, true, true),
        (Some("localhost"), true, false),
        (Some("other.invalid"), false, false),
    ] {
        front(&rig, |front| front.server_name = name.map(str::to_owned));
        assert_eq!(dial.works(&rig).await, named, "{name:?}");
        assert_eq!(nameless.works(&rig).await, unnamed, "{name:?}");
    }
    let with_alpn = Dial {
        alpn: ALPN,
        ..Dial::new(&rig.set)
    };
    for (rule, with, without) in [
        (AlpnRule::Own, true, true),
        (AlpnRule::Required, true, false),
        (AlpnRule::Foreign, false, false),
    ] {
        front(&rig, |front| front.alpn = rule);
        assert_eq!(with_alpn.works(&rig).await, with, "{rule:?}");
        assert_eq!(dial.works(&rig).await, without, "{rule:?}");
    }
}

#[tokio::test]
async fn point_21_the_first_port_closes_or_falls_silent_while_the_one_for_alpn_is_open() {
    let rig = Rig::with(|config| {
        config.quotas = Quotas::none();
        config.alpn_listen = Some(([127, 0, 0, 1], 0).into());
    })
    .await;
    let dial = Dial::new(&rig.set);
    let alpn = Dial {
        alpn: ALPN,
        address: rig.broker.alpn_addr(),
        ..Dial::new(&rig.set)
    };
    assert!(dial.works(&rig).await && alpn.works(&rig).await);
    for port in [Port::Closed, Port::Silent, Port::Closed, Port::Open] {
        front(&rig, |front| front.port = port);
        rig.broker.faults().port_is_as_set().await;
        let patience = match port {
            Port::Silent => Duration::from_millis(500),
            Port::Open | Port::Closed => Duration::from_secs(20),
        };
        let seen = match timeout(patience, dial.open(&rig)).await {
            Ok(Ok(_)) => Port::Open,
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => Port::Closed,
            Ok(Err(error)) => panic!("{port:?}: {error}"),
            Err(_) => Port::Silent,
        };
        assert_eq!(seen, port);
        // It stays the broker's, so that it can be opened again.
        let another = std::net::TcpListener::bind(rig.broker.local_addr());
        assert_eq!(another.unwrap_err().kind(), ErrorKind::AddrInUse);
        assert!(alpn.works(&rig).await, "{port:?}");
    }
}

#[tokio::test]
async fn point_21_in_place_of_a_handshake_comes_a_close_silence_or_plain_text() {
    let rig = Rig::new().await;
    let dial = Dial::new(&rig.set);
    front(&rig, |front| front.handshake = Handshake::Closed);
    assert!(dial.open(&rig).await.is_err());
    front(&rig, |front| front.handshake = Handshake::Unanswered);
    let tried = timeout(Duration::from_secs(1), dial.open(&rig)).await;
    assert!(tried.is_err());
    front(&rig, |front| front.handshake = Handshake::Plaintext);
    let error = dial.open(&rig).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
}

#[tokio::test]
async fn point_21_a_certificate_is_refused_in_the_handshake_or_at_connect_without_a_word() {
    let rig = Rig::new().await;
    let foreign = rig.authority.client("foreign").unwrap();
    let over = |version| Dial {
        version,
        ..Dial::new(&foreign)
    };
    front(&rig, |front| {
        front.certificate_refusal = CertificateRefusal::Handshake;
    });
    let error = over(&TLS12).open(&rig).await.unwrap_err();
    assert!(error.to_string().contains("CertificateRevoked"), "{error}");
    assert!(!over(&TLS13).works(&rig).await);
    assert!(Dial::new(&rig.set).works(&rig).await);
    front(&rig, |front| {
        front.certificate_refusal = CertificateRefusal::Silent;
    });
    let mut client = V5::new(over(&TLS13).open(&rig).await.unwrap());
    client.send(connect5("x")).await;
    assert!(client.recv().await.is_none(), "no CONNACK");
    assert!(Dial::new(&rig.set).works(&rig).await);

    let day = SignedDuration::from_hours(24);
    let now = now();
    let old = CertificateRequest::new("old").valid(now - day - day, now - day);
    let old = rig.authority.issue(&old).unwrap();
    let registry = rig.broker.registry();
    registry.register_pem(&old.certificate, &["all"]).unwrap();
    for (check, works) in [(false, true), (true, false)] {
        front(&rig, |front| front.check_dates = check);
        assert_eq!(Dial::new(&old).works(&rig).await, works, "{check}");
    }
}

#[tokio::test]
async fn point_21_https_tells_the_time_and_may_be_wrong() {
    let rig = Rig::with(|config| {
        config.https_listen = Some(([127, 0, 0, 1], 0).into());
        config.alpn_listen = Some(([127, 0, 0, 1], 0).into());
    })
    .await;
    let skew = SignedDuration::from_mins(-10);
    rig.broker.faults().set(|faults| faults.clock_skew = skew);
    let https: &[&[u8]] = &[b"x-amzn-http-ca"];
    for (address, alpn) in [
        (rig.broker.https_addr(), &[][..]),
        (rig.broker.alpn_addr(), https),
    ] {
        let dial = Dial {
            alpn,
            address,
            ..Dial::new(&rig.set)
        };
        let mut stream = dial.open(&rig).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        let date = answer.lines().find_map(|line| line.strip_prefix("date: "));
        let told = jiff::fmt::rfc2822::parse(date.unwrap()).unwrap();
        let off = told.timestamp().duration_since(now()) - skew;
        assert!(off.abs() < SignedDuration::from_secs(60), "{answer}");
    }
}

#[tokio::test]
async fn point_21_a_half_open_connection_is_gone_for_the_broker_and_open_for_the_client() {
    let rig = Rig::new().await;
    let stream = Dial::new(&rig.set).open(&rig).await.unwrap();
    let connect = v5::Connect {
        clean_start: true,
        ..connect5("a")
    };
    let (mut client, _) = V5::connect(stream, connect).await;
    rig.broker.faults().set(|faults| {
        faults.half_open.insert("a".into());
    });
    super::rig::eventually("the broker to forget", || {
        rig.broker.connection("a").is_some_and(|it| !it.connected)
    })
    .await;
    client.silent_for(Duration::from_millis(300)).await;
    rig.broker.faults().set(|faults| faults.half_open.clear());
    assert!(client.recv().await.is_none());
    let plain = TcpStream::connect(rig.broker.local_addr()).await;
    assert!(plain.is_ok());
}
