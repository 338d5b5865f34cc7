//! Rings between replicas: heard at once, never many, never needed.

use std::time::Duration;

use server_bridge::store::postgres::{NotifyMetrics, PostgresConfig, PostgresStore};
use server_bridge::store::{Hint, Store};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Place, until, within};
use crate::engines::{Server, fresh};
use crate::{at, bundle, content, name, with_consumers};

/// A replica, what it counts, and what it is told from now on.
struct Replica {
    store: PostgresStore,
    metrics: NotifyMetrics,
    told: Receiver<Hint>,
    /// What it had heard before.
    heard: u64,
}

impl Replica {
    async fn open(config: &PostgresConfig) -> Self {
        let config = PostgresConfig {
            metrics: NotifyMetrics::unregistered(),
            ..config.clone()
        };
        let metrics = config.metrics.clone();
        let store = PostgresStore::open(config).await.unwrap();
        Self {
            told: store.changes(),
            store,
            metrics,
            heard: 0,
        }
    }

    /// So many that listen already. What a store says when it begins to may come before anybody is there to be told.
    async fn listening<const N: usize>(server: &Server, config: &PostgresConfig) -> [Self; N] {
        let mut replicas = Vec::new();
        for _ in 0..N {
            replicas.push(Self::open(config).await);
        }
        let database = std::fs::read_to_string(&config.files.name).unwrap();
        let schema = config.schema.as_str();
        let ring = |payload: &str| {
            let notify = format!("SELECT pg_notify('{schema}.wake', '{payload}')");
            server.sql(&database, &notify).unwrap();
        };
        until("everybody to listen", async || {
            ring("who");
            replicas.iter().all(|replica| replica.metrics.heard() > 0)
        })
        .await;
        // Rings come in their order: nothing of before comes after this one.
        ring("last");
        for replica in &mut replicas {
            replica.next_of("last").await;
            replica.heard = replica.metrics.heard();
        }
        replicas.try_into().ok().unwrap()
    }

    /// How many rings it has heard.
    fn heard(&self) -> u64 {
        self.metrics.heard() - self.heard
    }

    async fn next(&mut self) -> Hint {
        within("a hint", self.told.recv()).await.unwrap()
    }

    async fn next_of(&mut self, consumer: &str) {
        let hint = Hint::Consumer(name(consumer));
        loop {
            match within("a hint", self.told.recv()).await {
                Ok(told) if told == hint => return,
                // More were told on a slow machine than are kept for whoever does not listen.
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => panic!("the store is gone"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_replica_commits_wakes_the_others_at_once() {
    let place = Place::new();
    let [mut one, mut two] = Replica::listening(place.server, &place.config).await;
    with_consumers(&one.store, &["c1", "c2"]).await;
    for (round, consumer) in ["c1", "c2", "c1"].into_iter().enumerate() {
        let id = format!("b{round}");
        let create = one.store.create_bundle(bundle(&id, consumer), at(1));
        create.await.unwrap();
        assert_eq!(two.next().await, Hint::Consumer(name(consumer)));
        // No store sweeps: nothing else would have told.
        assert_eq!(one.next().await, Hint::Consumer(name(consumer)));
    }
    until("three rings to be out", async || one.metrics.sent() == 3).await;
    until("three rings to be heard", async || two.heard() == 3).await;
    assert_eq!(one.heard(), 0, "its own rings come back to it");
    // A schema is a channel: nobody rings the replicas of another.
    let mut other = place.config.clone();
    other.schema = "other".parse().unwrap();
    let [other] = Replica::listening(place.server, &other).await;
    one.store.mark_deleting("b0", at(2)).await.unwrap();
    assert_eq!(two.next().await, Hint::Consumer(name("c1")));
    assert_eq!(other.heard(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_writes_are_twenty_rings_a_second() {
    let place = Place::new();
    let [one, mut two] = Replica::listening(place.server, &place.config).await;
    with_consumers(&one.store, &["c1"]).await;
    let began = Instant::now();
    let mut writers = JoinSet::new();
    for writer in 0..6 {
        let store = one.store.clone();
        writers.spawn(async move {
            let id = format!("b{writer}");
            store.create_bundle(bundle(&id, "c1"), at(1)).await.unwrap();
            for number in 1..1667 {
                let next = content(&number.to_string());
                let update = store.update_bundle(&id, None, None, next, None, at(2));
                update.await.unwrap();
            }
        });
    }
    writers.join_all().await;
    let seconds = began.elapsed().as_secs_f64();
    let sent = one.metrics.sent();
    assert!(sent >= 2, "{sent}");
    assert!(sent as f64 <= seconds * 20.0 + 1.0, "{sent} in {seconds} s");
    two.next_of("c1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_rung_is_taken_as_a_hint_and_no_more() {
    let place = Place::new();
    let [mut replica] = Replica::listening(place.server, &place.config).await;
    let ring = |payload: &str| {
        place.sql(&format!("SELECT pg_notify('bridge.wake', $${payload}$$)"));
    };
    ring("\u{1F514} {\"version\":2} +/# c_1 ../../etc");
    ring(&"x ".repeat(3000));
    ring("what c1 is ! this");
    for hint in [
        Hint::Consumer(name("x")),
        Hint::Consumer(name("what")),
        Hint::Consumer(name("c1")),
        Hint::Consumer(name("is")),
        Hint::Replicas,
        Hint::Consumer(name("this")),
    ] {
        assert_eq!(replica.next().await, hint);
    }
    ring("");
    assert_eq!(replica.next().await, Hint::Somebody);
    assert_eq!((replica.heard(), replica.metrics.reconnects()), (4, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back_is_listened_to_again_and_what_was_missed_is_looked_for() {
    let server = Server::start(&[]).unwrap();
    let files = tempfile::tempdir().unwrap();
    let config = fresh(&server, &files);
    let [one, mut two] = Replica::listening(&server, &config).await;
    with_consumers(&one.store, &["c1"]).await;
    server.stop().unwrap();
    until("the loss to be noticed", async || {
        two.metrics.reconnects() > 0
    })
    .await;
    server.launch(&[]).unwrap();
    assert_eq!(two.next().await, Hint::Somebody);
    // Connections of the pool that were used a moment ago are not tried before they are used.
    until("a write", async || {
        let create = one.store.create_bundle(bundle("b", "c1"), at(1)).await;
        !create.is_err_and(|error| error.is_retryable())
    })
    .await;
    two.next_of("c1").await;
    // One session alone, as a proxy or an operator ends it.
    let before = two.metrics.reconnects();
    let database = std::fs::read_to_string(&config.files.name).unwrap();
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() \
         AND application_name = 'server-bridge'";
    server.sql(&database, end).unwrap();
    until("the end to be noticed", async || {
        two.metrics.reconnects() > before
    })
    .await;
    assert_eq!(two.next().await, Hint::Somebody);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switched_off_nobody_listens_and_nobody_rings() {
    let mut place = Place::new();
    let [mut on] = Replica::listening(place.server, &place.config).await;
    place.config.notify = false;
    let mut off = Replica::open(&place.config).await;
    with_consumers(&off.store, &["c1", "c2"]).await;
    off.store
        .create_bundle(bundle("a", "c1"), at(1))
        .await
        .unwrap();
    on.store
        .create_bundle(bundle("b", "c2"), at(1))
        .await
        .unwrap();
    assert_eq!(
        on.next().await,
        Hint::Consumer(name("c2")),
        "the first it hears of"
    );
    until("the ring to be out", async || on.metrics.sent() == 1).await;
    assert_eq!(off.next().await, Hint::Consumer(name("c1")), "its own");
    assert!(off.told.is_empty());
    assert_eq!((off.metrics.sent(), off.metrics.heard()), (0, 0));
    // What nobody told it is found all the same.
    let found = off.store.consumers_with_pending().await.unwrap();
    assert_eq!(found, [name("c1"), name("c2")]);
    off.store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_listener_follows_to_another_database_and_to_new_credentials() {
    let mut place = Place::new();
    place.config.limits.look = Duration::from_millis(50);
    place.config.limits.lifetime = Duration::from_millis(300);
    let mut replica = Replica::open(&place.config).await;
    // Old connections go, and with them the user and password they were made with. The first may be told of too.
    for _ in 0..2 {
        assert_eq!(replica.next().await, Hint::Somebody);
    }
    let other = place.server.database().unwrap();
    std::fs::write(&place.config.files.name, &other).unwrap();
    let ring = "SELECT pg_notify('bridge.wake', 'there')";
    until("a ring from there to be heard", async || {
        place.server.sql(&other, ring).unwrap();
        while let Ok(hint) = replica.told.try_recv() {
            if hint == Hint::Consumer(name("there")) {
                return true;
            }
        }
        false
    })
    .await;
    assert_eq!(replica.metrics.reconnects(), 0, "nothing was lost");
}
