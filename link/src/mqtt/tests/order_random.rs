//! Messages leave in order against a broker that does anything it may: it acks in any order, or not before it hangs up, keeps
//! sessions or loses them, changes its window, and is subscribed to meanwhile.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rumqttc::Publish;

use super::order::{give, start_with_window};
use super::*;

#[tokio::test]
async fn nothing_ever_overtakes_what_was_given_before() {
    let seed =
        std::env::var("TEST_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    eprintln!("TEST_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    for window in [1, 2, 3, 5, 8, 100] {
        let whole = Run::new(window, &mut rng).run();
        timeout(Duration::from_secs(120), whole)
            .await
            .expect("it stands still");
    }
}

struct Run<'a> {
    window: u16,
    rng: &'a mut StdRng,
    // By this broker, whether the client heard of it or not.
    acked: BTreeSet<usize>,
    filters: usize,
}

/// What came over one connection.
#[derive(Default)]
struct Came {
    numbers: BTreeSet<usize>,
    unacked: Vec<Publish>,
}

// === impl Run ===

impl<'a> Run<'a> {
    fn new(window: u16, rng: &'a mut StdRng) -> Self {
        Self {
            window,
            rng,
            acked: BTreeSet::new(),
            filters: 0,
        }
    }

    async fn run(mut self) {
        let (broker, client, mut peer) = start_with_window(self.window).await;
        let session = client.session.clone();
        let given = async {
            for receipt in give(&client, 0..MESSAGES).await {
                receipt.await.unwrap();
            }
        };
        tokio::pin!(given);
        loop {
            tokio::select! {
                () = &mut given => return,
                () = self.connection(&client, &session, &mut peer) => {}
            }
            drop(peer);
            let welcome = Welcome {
                session_present: self.rng.random_bool(0.7),
                receive_max: self
                    .rng
                    .random_bool(0.5)
                    .then(|| self.rng.random_range(1..=self.window)),
                ..Welcome::default()
            };
            tokio::select! {
                () = &mut given => return,
                next = broker.connection() => peer = next,
            }
            peer.welcome(welcome).await;
        }
    }

    /// Until one of both hangs up.
    async fn connection(&mut self, client: &Client, session: &Session, peer: &mut Peer) {
        let mut came = Came::default();
        loop {
            match timeout(QUIET, peer.next_but_pings()).await {
                Ok(Some(Packet::Publish(publish))) => self.came(&mut came, publish),
                Ok(Some(Packet::Subscribe(request))) => peer.subscribe(&request).await,
                Ok(Some(other)) => panic!("{other:?}"),
                Ok(None) => return,
                // It waits for acks.
                Err(_) if came.unacked.is_empty() => {}
                Err(_) => self.ack(&mut came, peer).await,
            }
            match self.rng.random_range(0..100) {
                0..50 if !came.unacked.is_empty() => self.ack(&mut came, peer).await,
                50..54 => {
                    self.filters += 1;
                    session.listen(vec!["in".into(), format!("more/{}", self.filters)]);
                }
                54..56 => return,
                56..58 => {
                    client.identity.send_modify(|_| {});
                    while let Some(packet) = peer.next_but_pings().await {
                        if let Packet::Publish(publish) = packet {
                            self.came(&mut came, publish);
                        }
                    }
                    return;
                }
                _ => {}
            }
        }
    }

    fn came(&mut self, came: &mut Came, publish: Publish) {
        let number: usize = std::str::from_utf8(&publish.payload)
            .unwrap()
            .parse()
            .unwrap();
        let before = (0..number)
            .find(|before| !self.acked.contains(before) && !came.numbers.contains(before));
        assert_eq!(
            before, None,
            "overtaken by {number}, with a window of {}",
            self.window
        );
        came.numbers.insert(number);
        came.unacked.push(publish);
    }

    async fn ack(&mut self, came: &mut Came, peer: &mut Peer) {
        let index = self.rng.random_range(0..came.unacked.len());
        let publish = came.unacked.remove(index);
        let number = std::str::from_utf8(&publish.payload)
            .unwrap()
            .parse()
            .unwrap();
        self.acked.insert(number);
        peer.ack(&publish).await;
    }
}

const MESSAGES: usize = 250;

// So long nothing came: the client waits for this broker.
const QUIET: Duration = Duration::from_millis(20);
