//! Lease renewers over a real database: they share, and take over what one of them leaves or loses.

use std::time::Duration;

use link::admin::Checks;
use link::supervise::Restarts;
use prometheus::Registry;
use server_bridge::replicas::{Membership, Ownership, ReplicaMetrics, ReplicaOptions};
use server_bridge::store::postgres::PostgresStore;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Place, until, within};
use crate::name;

struct Node {
    ownership: Ownership,
    registry: Registry,
    checks: Checks,
    done: CancellationToken,
    running: JoinHandle<Membership<PostgresStore>>,
}

impl Node {
    async fn start(place: &Place, who: &str) -> Self {
        let (checks, registry) = (Checks::new(), Registry::new());
        let metrics = ReplicaMetrics::register(&registry).unwrap();
        let options = ReplicaOptions {
            slots: 2,
            name: who.to_owned(),
        };
        let (done, stop) = (CancellationToken::new(), CancellationToken::new());
        let joining = Membership::join(place.open().await, &options, metrics, &checks, &stop);
        let membership = within("a slot", joining).await.unwrap();
        let ownership = membership.ownership();
        let until = done.clone();
        let running = tokio::spawn(async move {
            membership
                .keep(&Restarts::unregistered(), &until, &stop)
                .await;
            membership
        });
        Self {
            ownership,
            registry,
            checks,
            done,
            running,
        }
    }

    fn owned(&self) -> f64 {
        let metrics = self.registry.gather();
        let owned = metrics
            .iter()
            .find(|family| family.name() == "bridge_buckets_owned");
        owned.unwrap().get_metric()[0].get_gauge().get_value()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_share_everything_and_each_takes_over_from_the_other_in_time() {
    let place = Place::new();
    let a = Node::start(&place, "a").await;
    until("everything", async || a.owned() == 256.0).await;
    let b = Node::start(&place, "b").await;
    until("half of it", async || {
        (a.owned(), b.owned()) == (128.0, 128.0)
    })
    .await;
    assert!(a.checks.all_ok() && b.checks.all_ok());
    // Below the middle, so the first one's.
    let consumer = name("c1");
    let before = a.ownership.fence(&consumer).unwrap().unwrap();
    assert!(b.ownership.fence(&consumer).is_err());

    // By `kill -9`.
    let began = Instant::now();
    a.running.abort();
    until("the take-over", async || b.owned() == 256.0).await;
    // The lease and the looks of the others are 15 s together; a busy machine needs a moment for each.
    assert!(began.elapsed() < Duration::from_secs(25));
    let after = b.ownership.fence(&consumer).unwrap().unwrap();
    assert_eq!((after.term, after.bucket), (before.term + 1, before.bucket));

    // By a signal.
    let c = Node::start(&place, "c").await;
    until("half of it", async || {
        (b.owned(), c.owned()) == (128.0, 128.0)
    })
    .await;
    b.done.cancel();
    within("the end", b.running).await.unwrap().leave().await;
    let began = Instant::now();
    until("the rest", async || c.owned() == 256.0).await;
    assert!(began.elapsed() < LEASE, "nobody waited for it to end");
    let replicas = "SELECT string_agg(slot || name, ',') FROM bridge.replicas";
    assert_eq!(place.sql(replicas), "0c");
}

/// For how long a lease lasts.
const LEASE: Duration = Duration::from_secs(10);
