//! Many events each way while connections are cut on both sides and the certificate is replaced.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use link::message::Message;
use link::mqtt::{Ack, Receipt, Session};
use rmqtt_codec::v5::Packet;
use tests::proxy::CuttingProxy;
use tests::region::BrokerKind;
use tests::seed;
use tests::session::Client;
use tests::wait::{patient, timeout};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::fixture::{FILTER, Options, RunningSidecar, agent, certificate, region, topic};
use crate::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn no_event_is_lost_or_overtaken_while_both_sides_are_cut_and_the_certificate_is_replaced()
-> Result<()> {
    story(BrokerKind::Sandbox, "sidecar-volume", EVENTS).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_over_mosquitto() -> Result<()> {
    story(
        BrokerKind::Mosquitto,
        "sidecar-volume-mosquitto",
        EVENTS / 4,
    )
    .await
}

async fn story(kind: BrokerKind, test: &str, events: usize) -> Result<()> {
    let region = region(test, kind, CONSUMERS).await?;
    let far = cutting(region.broker.address(), "towards the broker").await?;
    let options = Options {
        connections: 3,
        ..Options::default()
    };
    let sidecar = RunningSidecar::start(&region, far.address(), options).await?;
    let near = cutting(sidecar.address, "towards the sidecar").await?;

    let (stand, mut agents) = (Arc::new(Progress::default()), JoinSet::new());
    let ahead = Arc::new(Semaphore::new(AHEAD));
    let (over, part) = (CancellationToken::new(), events / CONSUMERS);
    for index in 0..CONSUMERS {
        let consumer = format!("cluster{}", index + 1);
        let client = agent(&region, &consumer)?;
        ensure!(client.session.ready().await, "the agent is not ready");
        let agent = Agent {
            consumer,
            part,
            stand: stand.clone(),
            ahead: ahead.clone(),
            over: over.clone(),
        };
        agents.spawn(agent.play(client));
    }
    let serving = serve(near.address(), events, &ahead, &stand, || {
        sidecar.mount.replace(&certificate(&region, 3)?)?;
        Ok(())
    });
    // All of the agents' events were taken, and all of the server's acknowledged: what was acknowledged is with the agents.
    let playing = async {
        let all = |count: &usize| *count == events;
        let (mut said, mut heard) = (stand.said.subscribe(), stand.heard.subscribe());
        tokio::select! {
            Some(ended) = agents.join_next() => bail!("an agent ended: {:?}", ended?.err()),
            _ = async { tokio::join!(said.wait_for(all), heard.wait_for(all)) } => anyhow::Ok(()),
        }
    };
    let done = timeout(LONGEST, async { tokio::try_join!(serving, playing) }).await;
    let (near_cut, far_cut) = (near.cuts(), far.cuts());
    let told = || {
        let page = sidecar.text();
        let broker = region.broker.sandbox().map(|it| it.connections());
        let cuts = format!("{near_cut} cuts towards the sidecar, {far_cut} towards the broker");
        format!("of {events} each way {stand}\n{cuts}\n{page}\n{broker:#?}")
    };
    done.with_context(|| format!("an event was acknowledged and is lost: {}", told()))?
        .with_context(told)?;
    ensure!(near_cut > 0 && far_cut > 0, "{near_cut} and {far_cut} cuts");
    let doubtful = sidecar.events("down", "refused") + sidecar.events("up", "foreign");
    ensure!(doubtful == 0, "{doubtful} events were refused");
    over.cancel();
    while let Some(agent) = agents.join_next().await {
        agent??.shutdown().await?;
    }
    sidecar.stop().await?;
    drop((near, far));
    region.passed();
    Ok(())
}

/// How far each hop is: where it stands shows which of them stalls.
#[derive(Default)]
struct Progress {
    /// Connections of the server on which it subscribed.
    subscribed: watch::Sender<usize>,
    /// Events of the agents that the broker acknowledged, and that the server took.
    said: watch::Sender<usize>,
    taken: watch::Sender<usize>,
    /// Events of the server that the sidecar acknowledged, and that came to their agents.
    acknowledged: watch::Sender<usize>,
    heard: watch::Sender<usize>,
}

/// An agent: says numbers up in order, and holds those that come down to theirs.
struct Agent {
    consumer: String,
    part: usize,
    stand: Arc<Progress>,
    ahead: Arc<Semaphore>,
    over: CancellationToken,
}

// === impl Agent ===

impl Agent {
    async fn play(self, mut client: Client) -> Result<Client> {
        let session = client.session.clone();
        let hearing = self.over.run_until_cancelled(self.hear(&mut client));
        let saying = async {
            let said = self.over.run_until_cancelled(self.say(&session)).await;
            said.unwrap_or(Ok(()))
        };
        let hearing = async { hearing.await.unwrap_or(Ok(())) };
        tokio::try_join!(saying, hearing)?;
        Ok(client)
    }

    async fn say(&self, session: &Session) -> Result<()> {
        // What is said before anybody has ever subscribed is for nobody: the sidecar connects once its server has.
        let mut subscribed = self.stand.subscribed.subscribe();
        subscribed.wait_for(|times| *times > 0).await?;
        let topic = topic(&self.consumer, "agentevents");
        let mut receipts = VecDeque::new();
        for number in 0..self.part {
            // No further ahead of the server than the broker would queue for it.
            self.ahead.acquire().await?.forget();
            receipts.push_back(session.publish(event(&topic, number)).await?);
            if receipts.len() < AHEAD / CONSUMERS {
                continue;
            }
            if let Some(receipt) = receipts.pop_front() {
                self.said(receipt).await?;
            }
        }
        for receipt in receipts {
            self.said(receipt).await?;
        }
        Ok(())
    }

    async fn said(&self, receipt: Receipt) -> Result<()> {
        let Ack { matched } = receipt.await?;
        ensure!(matched, "{}: nobody hears it any more", self.consumer);
        self.stand.said.send_modify(|said| *said += 1);
        Ok(())
    }

    async fn hear(&self, client: &mut Client) -> Result<()> {
        let mut next = 0;
        loop {
            let delivery = client.inbound.recv().await.context("the session is open")?;
            let number = number_of(&delivery.message.payload)?;
            ensure!(
                number <= next,
                "{}: {number} came before {next}",
                self.consumer
            );
            if number == next {
                next += 1;
                self.stand.heard.send_modify(|heard| *heard += 1);
            }
            delivery.ack();
        }
    }
}

/// The server: comes back whenever it is cut off, says again what was not acknowledged, and counts as taken only what it
/// acknowledged.
async fn serve(
    address: SocketAddr,
    events: usize,
    ahead: &Semaphore,
    stand: &Progress,
    half_way: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let mut half_way = Some(half_way);
    let mut unsent: BTreeSet<usize> = (0..events).collect();
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    let mut left = events;
    let mut heard = stand.heard.subscribe();
    while !unsent.is_empty() || left > 0 {
        let Ok(mut server) = Server::subscribed(address, "maestro-0", FILTER).await else {
            continue;
        };
        stand.subscribed.send_modify(|times| *times += 1);
        let window = usize::from(server.connack.receive_max.get());
        let mut open: HashMap<NonZeroU16, usize> = HashMap::new();
        let mut next = unsent.iter().copied().collect::<Vec<_>>().into_iter();
        while !unsent.is_empty() || left > 0 {
            // No further ahead of the agents than a broker queues for one of them.
            let sent = events - unsent.len() + open.len();
            let may_send = open.len() < window && sent < *heard.borrow_and_update() + AHEAD;
            if may_send && let Some(number) = next.next() {
                let consumer = format!("cluster{}", number % CONSUMERS + 1);
                let down = topic(&consumer, "sourceevents");
                let message = event(&down, number / CONSUMERS);
                match server.publish(&message).await {
                    Ok(id) => open.insert(id, number),
                    Err(_) => break,
                };
                if !open.len().is_multiple_of(16) {
                    continue;
                }
            }
            let packet = tokio::select! {
                packet = server.next() => packet,
                _ = heard.changed(), if !may_send => continue,
            };
            let Ok(packet) = packet else {
                break;
            };
            match packet {
                Packet::PublishAck(ack) => {
                    ensure!(u8::from(ack.reason_code) < 0x80, "{ack:?}");
                    let number = open.remove(&ack.packet_id).context("a PUBACK of nothing")?;
                    unsent.remove(&number);
                    stand.acknowledged.send_modify(|acked| *acked += 1);
                }
                Packet::Publish(publish) => {
                    if server.ack(publish.packet_id).await.is_err() {
                        break;
                    }
                    let number = number_of(&publish.payload)?;
                    let next = taken.entry(publish.topic.to_string()).or_default();
                    ensure!(number <= *next, "{}: {number} before {next}", publish.topic);
                    if number == *next {
                        *next += 1;
                        left -= 1;
                        ahead.add_permits(1);
                        stand.taken.send_modify(|taken| *taken += 1);
                    }
                }
                Packet::Disconnect(_) => break,
                other => bail!("unexpected: {other:?}"),
            }
            if left < events / 2
                && let Some(half_way) = half_way.take()
            {
                half_way()?;
            }
        }
    }
    Ok(())
}

// === impl Progress ===

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let now = |count: &watch::Sender<usize>| *count.borrow();
        write!(
            f,
            "agents said {}, the server took {}; the server was acknowledged {}, agents heard {}; it subscribed {} times",
            now(&self.said),
            now(&self.taken),
            now(&self.acknowledged),
            now(&self.heard),
            now(&self.subscribed)
        )
    }
}

async fn cutting(target: SocketAddr, what: &str) -> Result<CuttingProxy> {
    // A slow machine needs longer for a handshake: of each connection's life some must be left for events.
    let after = patient(Duration::from_millis(100))..patient(Duration::from_millis(900));
    Ok(CuttingProxy::with(target, after, seed::pick(what)).await?)
}

fn event(topic: &str, number: usize) -> Message {
    Message {
        content_type: Some("application/json".into()),
        user_properties: vec![
            ("ce-specversion".into(), "1.0".into()),
            ("ce-resourceversion".into(), number.to_string()),
        ],
        ..Message::new(topic, number.to_string())
    }
}

fn number_of(payload: &[u8]) -> Result<usize> {
    Ok(std::str::from_utf8(payload)?.parse()?)
}

const EVENTS: usize = 20_000;
const CONSUMERS: usize = 5;

// Events that may be on their way in each direction: more than a window, fewer than a broker keeps for a client.
const AHEAD: usize = 400;

const LONGEST: Duration = Duration::from_secs(300);
