//! Sessions of a shared subscription against the sandbox broker: what a member was given is done before it goes.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use link::message::Message;
use link::mqtt::Delivery;
use tests::session::{Client, SessionFixture};
use tests::test_dir::TestDir;
use tests::wait::timeout;

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_unsubscribed_acks_what_it_was_given_and_the_other_gets_the_rest()
-> anyhow::Result<()> {
    let test_dir = TestDir::new("shared-unsubscribe")?;
    let fixture = SessionFixture::start().await?;
    let address = fixture.broker.local_addr();
    let filters = &["$share/group/up"];
    let mut leaver = fixture.client("leaver", address, filters, test_dir.path())?;
    let mut other = fixture.client("other", address, filters, test_dir.path())?;
    let sender = fixture.client("sender", address, &[], test_dir.path())?;
    for client in [&leaver, &other, &sender] {
        ensure!(client.session.ready().await, "a client is not ready");
    }

    // A window of each member at most, none of it acked.
    send(&sender, 0..HALF).await?;
    let (mut kept, mut taken) = (Vec::new(), Vec::new());
    while kept.len() + taken.len() < HALF {
        let came = async {
            tokio::select! {
                delivery = leaver.inbound.recv() => kept.extend(delivery),
                delivery = other.inbound.recv() => taken.extend(delivery),
            }
        };
        timeout(PATIENCE, came).await?;
    }
    ensure!(!kept.is_empty(), "the broker gave nothing to the leaver");

    timeout(PATIENCE, leaver.session.unsubscribe()).await?;
    send(&sender, HALF..2 * HALF).await?;
    while taken.len() < 2 * HALF - kept.len() {
        let delivery = timeout(PATIENCE, other.inbound.recv()).await?;
        let delivery = delivery.context("the other's session ended")?;
        taken.push(delivery);
    }
    ensure!(leaver.inbound.try_recv().is_none(), "more came");
    let numbers = |deliveries: &[Delivery]| -> anyhow::Result<BTreeSet<usize>> {
        let texts = deliveries.iter().map(|d| d.message.payload.to_vec());
        texts
            .map(|text| Ok(String::from_utf8(text)?.parse()?))
            .collect()
    };
    let (mine, theirs) = (numbers(&kept)?, numbers(&taken)?);
    ensure!(mine.iter().all(|number| *number < HALF));
    ensure!(mine.is_disjoint(&theirs) && mine.len() + theirs.len() == 2 * HALF);

    // Whoever has unsubscribed still acks and publishes, also over a new connection of its session.
    for delivery in kept.into_iter().chain(taken) {
        delivery.ack();
    }
    let receipt = leaver
        .session
        .publish(Message::new("elsewhere", "x"))
        .await?;
    receipt.await?;
    leaver.shutdown().await?;
    send(&sender, 0..1).await?;
    let last = timeout(PATIENCE, other.inbound.recv()).await?;
    last.context("the other's session ended")?.ack();
    other.shutdown().await?;
    sender.shutdown().await?;
    test_dir.passed();
    Ok(())
}

async fn send(sender: &Client, numbers: std::ops::Range<usize>) -> anyhow::Result<()> {
    for number in numbers {
        let message = Message::new("up", number.to_string());
        sender.session.publish(message).await?.await?;
    }
    Ok(())
}

// So that one member could have all of both halves in its window.
const HALF: usize = 40;
const PATIENCE: Duration = Duration::from_secs(20);
