//! The MQTT session against a real broker: cut connections, replaced certificates, takeovers, poison.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use link::message::Message;
use link::mqtt::{ConnectError, Inbound, PublishError, Session, State};
use sandbox::broker::CertificateState;
use sandbox::pki::{Authority, CertificateRequest, Layout, write_mount};
use tests::mosquitto::MosquittoBuilder;
use tests::proxy::CuttingProxy;
use tests::session::{Client, SessionFixture};
use tests::test_dir::TestDir;
use tests::wait::{timeout, wait_for};
use tokio::sync::Semaphore;

const EVENTS: u64 = 20_000;
const PATIENCE: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread")]
async fn events_both_ways_survive_a_connection_cut_every_30_to_250_ms_in_order()
-> anyhow::Result<()> {
    let test_dir = TestDir::new("session-cut")?;
    let fixture = SessionFixture::start().await?;
    let proxy_a = CuttingProxy::start(fixture.broker.local_addr()).await?;
    let proxy_b = CuttingProxy::start(fixture.broker.local_addr()).await?;
    let mut a = fixture.client("a", proxy_a.address(), &["to/a"], test_dir.path())?;
    let mut b = fixture.client("b", proxy_b.address(), &["to/b"], test_dir.path())?;
    assert!(a.session.ready().await && b.session.ready().await);
    let (up, down) = (a.session.clone(), b.session.clone());
    let sent = timeout(PATIENCE, async {
        tokio::join!(
            publish_numbered(&up, "to/b"),
            publish_numbered(&down, "to/a"),
            receive_in_order(&mut b.inbound),
            receive_in_order(&mut a.inbound),
        )
    })
    .await?;
    sent.0?;
    sent.1?;
    assert_eq!((sent.2, sent.3), (EVENTS, EVENTS));
    assert!(
        proxy_a.cuts() >= 3 && proxy_b.cuts() >= 3,
        "{} and {} cuts",
        proxy_a.cuts(),
        proxy_b.cuts()
    );
    a.shutdown().await?;
    b.shutdown().await?;
    test_dir.passed();
    Ok(())
}

async fn publish_numbered(session: &Session, topic: &str) -> anyhow::Result<()> {
    let window = Arc::new(Semaphore::new(200));
    for number in 0..EVENTS {
        let permit = window.clone().acquire_owned().await?;
        let receipt = session
            .publish(Message::new(topic, number.to_string()))
            .await?;
        tokio::spawn(async move {
            receipt.await.expect("acknowledged");
            drop(permit);
        });
    }
    // All permits back: everything is acknowledged.
    drop(window.acquire_many(200).await?);
    Ok(())
}

/// Receives until every number was seen; first deliveries must come in order.
#[expect(
    clippy::print_stderr,
    reason = "the test runner shows it when the test fails"
)]
async fn receive_in_order(inbound: &mut Inbound) -> u64 {
    let mut next = 0;
    let mut duplicates = 0;
    while next < EVENTS {
        let delivery = inbound.recv().await.expect("the session lives");
        let number: Option<u64> = std::str::from_utf8(&delivery.message.payload)
            .ok()
            .and_then(|text| text.parse().ok());
        let number = number.expect("the payload is a number");
        assert!(number <= next, "{number} came before {next}");
        if number == next {
            next += 1;
        } else {
            duplicates += 1;
        }
        delivery.ack();
    }
    eprintln!("{duplicates} duplicates");
    next
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_certificate_is_in_use_within_seconds_and_no_event_is_lost() -> anyhow::Result<()>
{
    let test_dir = TestDir::new("session-rotate")?;
    let fixture = SessionFixture::start().await?;
    let address = fixture.broker.local_addr();
    let mut receiver = fixture.client("receiver", address, &["numbers"], test_dir.path())?;
    let sender = fixture.client("sender", address, &[], test_dir.path())?;
    assert!(receiver.session.ready().await && sender.session.ready().await);
    let load = tokio::spawn({
        let session = sender.session.clone();
        async move { publish_numbered(&session, "numbers").await }
    });
    let fingerprint = || {
        let connections = fixture.broker.connections();
        connections
            .into_iter()
            .find(|connection| connection.client_id == "sender")
            .map(|connection| connection.fingerprint)
    };
    let receiving = async { receive_in_order(&mut receiver.inbound).await };
    let rotating = async {
        for (round, layout) in [Layout::PerFileRename, Layout::DataSymlink]
            .into_iter()
            .cycle()
            .take(6)
            .enumerate()
        {
            let old = wait_for(
                "the sender is connected",
                Duration::from_secs(10),
                async || fingerprint().ok_or("not connected"),
            )
            .await?;
            let set = fixture.enrol(&format!("sender-{round}"))?;
            if layout == Layout::DataSymlink {
                // A fresh directory layout: the atomic writer never shares one with the other writer.
                for name in ["certificate", "privateKey", "ca.crt"] {
                    let _ = std::fs::remove_file(sender.mount.join(name));
                }
            }
            write_mount(&sender.mount, &set, &[], layout)?;
            wait_for(
                "the new certificate is in use",
                Duration::from_secs(10),
                async || match fingerprint() {
                    Some(new) if new != old => Ok(()),
                    seen => Err(format!("{seen:?}")),
                },
            )
            .await?;
        }
        anyhow::Ok(())
    };
    let (received, rotated) =
        timeout(PATIENCE, async { tokio::join!(receiving, rotating) }).await?;
    rotated?;
    assert_eq!(received, EVENTS);
    load.await??;
    test_dir.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_the_broker_refuses_gives_way_to_the_old_one() -> anyhow::Result<()> {
    let test_dir = TestDir::new("session-refused")?;
    let fixture = SessionFixture::start().await?;
    let address = fixture.broker.local_addr();
    let client = fixture.client("client", address, &[], test_dir.path())?;
    assert!(client.session.ready().await);
    let request = CertificateRequest::new("client-2");
    let refused = fixture.enrol_as(&request, CertificateState::Inactive)?;
    write_mount(&client.mount, &refused, &[], Layout::PerFileRename)?;
    wait_for(
        "the refusal is counted",
        Duration::from_secs(20),
        async || match client.counter("mqtt_identity_refusals_total") {
            0 => Err("none yet"),
            _ => Ok(()),
        },
    )
    .await?;
    assert!(client.session.ready().await);
    client
        .session
        .publish(Message::new("a", "b"))
        .await?
        .await?;
    test_dir.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_and_torn_sets_are_reported_and_not_used() -> anyhow::Result<()> {
    let test_dir = TestDir::new("session-bad-sets")?;
    let fixture = SessionFixture::start().await?;
    let client = fixture.client("client", fixture.broker.local_addr(), &[], test_dir.path())?;
    assert!(client.session.ready().await);
    let connections = client.counter("mqtt_connections_total");
    let now = link::clock::Clock::system().now();
    let hour = jiff::SignedDuration::from_hours(1);
    let request = CertificateRequest::new("client").valid(now - hour * 2, now - hour);
    let expired = fixture.authority.issue(&request)?;
    let torn = sandbox::pki::Set {
        key: fixture.enrol("other")?.key,
        ..fixture.enrol("client")?
    };
    for (bad, refused) in [(expired, 1), (torn, 2)] {
        write_mount(&client.mount, &bad, &[], Layout::PerFileRename)?;
        wait_for(
            "the bad set is counted",
            Duration::from_secs(10),
            async || match client.counter_of("identity_reloads_total", "refused") {
                seen if seen >= refused => Ok(()),
                seen => Err(seen),
            },
        )
        .await?;
        client
            .session
            .publish(Message::new("a", "b"))
            .await?
            .await?;
    }
    assert_eq!(
        client.counter("mqtt_connections_total"),
        connections,
        "no reconnect for a bad set"
    );
    test_dir.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_is_named_and_waited_out() -> anyhow::Result<()> {
    let test_dir = TestDir::new("session-takeover")?;
    let fixture = SessionFixture::start().await?;
    let address = fixture.broker.local_addr();
    let first = fixture.client("same", address, &[], test_dir.path())?;
    assert!(first.session.ready().await);
    let mut state = first.session.state();
    let second = fixture.client("same", address, &[], &test_dir.dir("second")?)?;
    let seen = timeout(
        Duration::from_secs(10),
        state.wait_for(|state| matches!(state, State::Waiting { .. })),
    )
    .await??;
    let State::Waiting { error, retry_in } = &*seen else {
        unreachable!()
    };
    assert!(
        matches!(**error, ConnectError::Disconnected { code: 0x8e, .. }),
        "{error}"
    );
    assert!(*retry_in >= Duration::from_millis(200), "{retry_in:?}");
    drop(seen);
    // What the other leaves with the broker is not ours.
    assert!(second.session.ready().await);
    drop(second);
    let ready = state.wait_for(|state| matches!(state, State::Ready { .. }));
    let again = timeout(Duration::from_secs(60), ready).await??;
    assert!(matches!(*again, State::Ready { resumed: false, .. }));
    test_dir.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_publish_fails_with_its_reason_and_the_next_one_passes() -> anyhow::Result<()> {
    let test_dir = TestDir::new("session-denied")?;
    let fixture = SessionFixture::start().await?;
    let registry = fixture.broker.registry();
    let policy = r#"{"Version":"2012-10-17","Statement":[
        {"Effect":"Allow","Action":"iot:*","Resource":"*"},
        {"Effect":"Deny","Action":"iot:Publish","Resource":"*topic/secret"}]}"#;
    registry.put_policy("everything", link::iot::policy::Document::parse(policy)?)?;
    let client = fixture.client("client", fixture.broker.local_addr(), &[], test_dir.path())?;
    let denied = client.session.publish(Message::new("secret", "x")).await?;
    let allowed = client.session.publish(Message::new("open", "x")).await?;
    let error = denied.await.unwrap_err();
    assert!(error.is_denied(), "{error}");
    assert_eq!(
        error.to_string(),
        "publish to `secret` refused: not authorized (0x87)"
    );
    allowed.await?;
    let too_large = client
        .session
        .publish(Message::new("open", vec![0u8; 131_073]))
        .await
        .unwrap_err();
    assert!(matches!(too_large, PublishError::Limit { .. }));
    test_dir.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_falls_behind_gets_every_event_once_it_catches_up() -> anyhow::Result<()> {
    let test_dir = TestDir::new("session-behind")?;
    let fixture = SessionFixture::start().await?;
    let proxy = CuttingProxy::start(fixture.broker.local_addr()).await?;
    let mut slow = fixture.client("slow", proxy.address(), &["work"], test_dir.path())?;
    let sender = fixture.client("sender", fixture.broker.local_addr(), &[], test_dir.path())?;
    assert!(slow.session.ready().await && sender.session.ready().await);
    let mut receipts = Vec::new();
    for number in 0..150 {
        receipts.push(
            sender
                .session
                .publish(Message::new("work", number.to_string()))
                .await?,
        );
    }
    for receipt in receipts {
        receipt.await?;
    }
    // Nothing is taken while the connection is cut again and again: what is delivered again must not pile up.
    let cuts = proxy.cuts();
    wait_for(
        "the connection was cut",
        Duration::from_secs(30),
        async || match proxy.cuts() {
            seen if seen >= cuts + 5 => Ok(()),
            seen => Err(seen),
        },
    )
    .await?;
    proxy.calm(true);
    let mut seen = HashSet::new();
    timeout(Duration::from_secs(30), async {
        while seen.len() < 150 {
            let delivery = slow.inbound.recv().await.expect("the session lives");
            seen.insert(delivery.message.payload.clone());
            delivery.ack();
        }
    })
    .await?;
    assert!(slow.inbound.try_recv().is_none(), "nothing waits twice");
    test_dir.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn more_messages_than_the_window_reach_a_slow_consumer_once_through_mosquitto()
-> anyhow::Result<()> {
    const COUNT: usize = 1_200;

    link::tls::install_provider();
    let test_dir = TestDir::new("session-mosquitto")?;
    let authority = Authority::new("test CA")?;
    let broker = MosquittoBuilder::new(&authority)
        .start(test_dir.path())
        .await?;
    let mut clients = Vec::new();
    for (name, filters) in [("slow", &["work"][..]), ("sender", &[])] {
        let mount = test_dir.dir(name)?;
        write_mount(&mount, &authority.client(name)?, &[], Layout::PerFileRename)?;
        let client = Client::start(name, broker.address(), filters, mount)?;
        assert!(client.session.ready().await);
        clients.push(client);
    }
    let (sender, mut slow) = (clients.remove(1), clients.remove(0));
    let mut receipts = Vec::new();
    for number in 0..COUNT {
        let message = Message::new("work", number.to_string());
        receipts.push(sender.session.publish(message).await?);
    }
    for receipt in receipts {
        receipt.await?;
    }
    // Fifty acks, and mosquitto sends the rest at once, whatever the window says.
    let taking = async {
        for number in 0..COUNT {
            let delivery = slow.inbound.recv().await.expect("the session lives");
            assert_eq!(delivery.message.payload, number.to_string());
            delivery.ack();
            if number >= 50 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    };
    timeout(PATIENCE, taking).await?;
    assert!(slow.inbound.try_recv().is_none());
    assert_eq!(slow.counter("mqtt_received_total"), COUNT as u64);
    assert_eq!(slow.counter("mqtt_connections_total"), 1);
    let log = broker.log();
    assert!(!log.contains("rotocol error"), "{log}");
    test_dir.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_certificate_never_speaks_mqtt() -> anyhow::Result<()> {
    let test_dir = TestDir::new("session-none")?;
    let fixture = SessionFixture::start().await?;
    let mount = test_dir.dir("empty")?;
    let error = Client::start("nobody", fixture.broker.local_addr(), &[], mount)
        .map(drop)
        .unwrap_err();
    assert!(format!("{error:#}").contains("empty"), "{error:#}");
    test_dir.passed();
    Ok(())
}
