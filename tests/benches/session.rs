//! QoS 1 through `link::mqtt` against the bare client library: same run, same broker, same window, in turns.
//!
//! `cargo bench -p tests --bench session`

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use link::clock::Clock;
use link::identity::{Identity, Location};
use link::iot::limits;
use link::message::Message;
use link::mqtt::IN_FLIGHT_WINDOW;
use rumqttc::mqttbytes::v5::PubAckReason;
use rumqttc::{
    AckMode, AsyncClient, Event, EventLoop, MqttOptions, Packet, PublishOptions, QoS,
    TlsConfiguration, Transport,
};
use tests::measure::{self, Sample, say};
use tests::mosquitto;
use tests::pki::{Authority, Layout, write_mount};
use tests::session::{Client, SessionFixture};
use tests::test_dir::TestDir;

#[tokio::main]
async fn main() -> Result<()> {
    measure::begin("session: QoS 1 through `link::mqtt` and through the bare client library")?;
    say(&format!(
        "{MESSAGES} messages of {PAYLOAD} bytes, window {IN_FLIGHT_WINDOW}, medians of {ROUNDS} runs each, in turns"
    ));
    let test_dir = TestDir::new("bench-session")?;
    let fixture = SessionFixture::start().await?;
    let mounts = test_dir.dir("sandbox")?;
    for name in CLIENTS {
        let set = fixture.enrol(name)?;
        write_mount(&mounts.join(name), &set, &[], Layout::PerFileRename)?;
    }
    compare("sandbox, no quotas", fixture.broker.local_addr(), &mounts).await?;
    let authority = Authority::new("bench CA")?;
    let directory = test_dir.dir("mosquitto-broker")?;
    let builder = mosquitto::MosquittoBuilder::new(&authority).persistence(false);
    let broker = builder.start(&directory).await?;
    let mounts = test_dir.dir("mosquitto")?;
    for name in CLIENTS {
        let set = authority.client(name)?;
        write_mount(&mounts.join(name), &set, &[], Layout::PerFileRename)?;
    }
    compare("mosquitto", broker.address(), &mounts).await?;
    say(&format!("load average afterwards {}", measure::load()));
    test_dir.passed();
    Ok(())
}

async fn compare(broker: &str, address: SocketAddr, mounts: &Path) -> Result<()> {
    let (mut publish, mut receive) = (Pair::default(), Pair::default());
    for _ in 0..ROUNDS {
        publish
            .bare
            .push(rate(bare_publish(address, mounts).await?));
        publish.ours.push(rate(our_publish(address, mounts).await?));
        receive
            .bare
            .push(rate(bare_receive(address, mounts).await?));
        receive.ours.push(rate(our_receive(address, mounts).await?));
    }
    publish.print(broker, "publish");
    receive.print(broker, "receive");
    Ok(())
}

#[derive(Default)]
struct Pair {
    bare: Vec<f64>,
    ours: Vec<f64>,
}

// === impl Pair ===

impl Pair {
    fn print(self, broker: &str, work: &str) {
        let (bare, ours) = (Sample::new(self.bare), Sample::new(self.ours));
        let range = |sample: &Sample| {
            format!(
                "{:.0}/s ({:.0}-{:.0})",
                sample.median(),
                sample.least(),
                sample.most()
            )
        };
        say(&format!(
            "{broker}: {work}: bare {}, link::mqtt {}, ratio {:.2} (goal >= 0.9)",
            range(&bare),
            range(&ours),
            ours.median() / bare.median()
        ));
    }
}

async fn our_publish(address: SocketAddr, mounts: &Path) -> Result<Duration> {
    let client = ours(address, mounts, &[])?;
    ensure!(client.session.ready().await, "the session closed");
    let payload = Bytes::from(vec![b'x'; PAYLOAD]);
    let started = Instant::now();
    let mut receipts = Vec::with_capacity(MESSAGES);
    for _ in 0..MESSAGES {
        let message = Message::new(TOPIC, payload.clone());
        receipts.push(client.session.publish(message).await?);
    }
    for receipt in receipts {
        receipt.await?;
    }
    let took = started.elapsed();
    client.shutdown().await?;
    Ok(took)
}

async fn our_receive(address: SocketAddr, mounts: &Path) -> Result<Duration> {
    let mut client = ours(address, mounts, &[TOPIC])?;
    ensure!(client.session.ready().await, "the session closed");
    let feeding = feed(address, mounts).await?;
    let started = Instant::now();
    for _ in 0..MESSAGES {
        let delivery = client.inbound.recv().await.context("the session closed")?;
        delivery.ack();
    }
    let took = started.elapsed();
    feeding.await??;
    client.shutdown().await?;
    Ok(took)
}

async fn bare_publish(address: SocketAddr, mounts: &Path) -> Result<Duration> {
    let bare = Bare::connect(address, mounts.join(BARE), BARE, None).await?;
    bare.publish_all().await
}

async fn bare_receive(address: SocketAddr, mounts: &Path) -> Result<Duration> {
    let mut bare = Bare::connect(address, mounts.join(BARE), BARE, Some(TOPIC)).await?;
    let feeding = feed(address, mounts).await?;
    let started = Instant::now();
    let mut received = 0;
    while received < MESSAGES {
        if let Event::Incoming(Packet::Publish(publish)) = bare.events.poll().await? {
            bare.client.try_ack(&publish)?;
            received += 1;
        }
    }
    let took = started.elapsed();
    feeding.await??;
    Ok(took)
}

/// Publishes everything from a connection of its own, by the bare library whoever receives.
async fn feed(
    address: SocketAddr,
    mounts: &Path,
) -> Result<tokio::task::JoinHandle<Result<Duration>>> {
    let feeder = Bare::connect(address, mounts.join(FEEDER), FEEDER, None).await?;
    Ok(tokio::spawn(feeder.publish_all()))
}

fn ours(address: SocketAddr, mounts: &Path, filters: &[&str]) -> Result<Client> {
    Client::start(OURS, address, filters, mounts.join(OURS))
}

/// The library as its documentation uses it, with the options that `link::mqtt` sets.
struct Bare {
    client: AsyncClient,
    events: EventLoop,
}

// === impl Bare ===

impl Bare {
    async fn connect(
        address: SocketAddr,
        mount: PathBuf,
        id: &str,
        filter: Option<&str>,
    ) -> Result<Self> {
        let identity = Identity::load(&Location::Directory(mount), Clock::system().now())?;
        let tls = link::tls::client_config(&identity, &link::tls::TlsOptions::default())?;
        let mut options = MqttOptions::new(id, ("localhost".to_owned(), address.port()));
        options
            .set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(
                Arc::clone(&tls),
            )))
            .set_keep_alive(60)
            .set_clean_start(true)
            .set_receive_maximum(Some(IN_FLIGHT_WINDOW))
            .set_outgoing_inflight_upper_limit(IN_FLIGHT_WINDOW)
            .set_max_packet_size(Some(u32::try_from(limits::PACKET_BYTES)?))
            .set_ack_mode(AckMode::Manual)
            .set_max_request_batch(usize::from(IN_FLIGHT_WINDOW));
        #[expect(
            clippy::disallowed_methods,
            reason = "the bare library is what the session is compared with"
        )]
        let (client, events) = AsyncClient::builder(options).capacity(REQUESTS).build();
        let mut bare = Self { client, events };
        bare.until(|packet| matches!(packet, Packet::ConnAck(_)))
            .await?;
        if let Some(filter) = filter {
            bare.client.subscribe(filter, QoS::AtLeastOnce).await?;
            bare.until(|packet| matches!(packet, Packet::SubAck(_)))
                .await?;
        }
        Ok(bare)
    }

    async fn until(&mut self, wanted: impl Fn(&Packet) -> bool) -> Result<()> {
        loop {
            match self.events.poll().await? {
                Event::Incoming(packet) if wanted(&packet) => return Ok(()),
                Event::Incoming(Packet::Disconnect(disconnect)) => {
                    bail!("the broker hung up: {disconnect:?}")
                }
                _ => {}
            }
        }
    }

    /// Publishes from one task and polls in this one until the last acknowledgement.
    async fn publish_all(self) -> Result<Duration> {
        let Self { client, mut events } = self;
        let started = Instant::now();
        let publishing = tokio::spawn(async move {
            let payload = Bytes::from(vec![b'x'; PAYLOAD]);
            for _ in 0..MESSAGES {
                let options = PublishOptions::new(QoS::AtLeastOnce);
                client.publish(TOPIC, payload.clone(), options).await?;
            }
            // The client goes back: the event loop ends with its last handle.
            Ok::<_, rumqttc::ClientError>(client)
        });
        let mut acknowledged = 0;
        while acknowledged < MESSAGES {
            match events.poll().await? {
                // A refusal is an answer too, and a quicker one.
                Event::Incoming(Packet::PubAck(ack)) => {
                    ensure!(is_taken(ack.reason), "refused: {:?}", ack.reason);
                    acknowledged += 1;
                }
                Event::Incoming(Packet::Disconnect(disconnect)) => {
                    bail!("the broker hung up: {disconnect:?}")
                }
                _ => {}
            }
        }
        let took = started.elapsed();
        publishing.await??;
        Ok(took)
    }
}

fn is_taken(reason: PubAckReason) -> bool {
    matches!(
        reason,
        PubAckReason::Success | PubAckReason::NoMatchingSubscribers
    )
}

fn rate(took: Duration) -> f64 {
    MESSAGES as f64 / took.as_secs_f64()
}

const TOPIC: &str = "bench/session";
const MESSAGES: usize = 20_000;
const PAYLOAD: usize = 1024;
const ROUNDS: usize = 5;

// A window of publishes, one of acknowledgements and a subscribe: as many as `link::mqtt` gives the library.
const REQUESTS: usize = 2 * IN_FLIGHT_WINDOW as usize + 8;

const OURS: &str = "ours";
const BARE: &str = "bare";
const FEEDER: &str = "feeder";
const CLIENTS: [&str; 3] = [OURS, BARE, FEEDER];
