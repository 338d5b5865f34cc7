//! More callers than connections: as many wait as may, the rest is told at once, and readiness does not notice.

use std::time::Duration;

use server_bridge::store::{FailureClass, Store, StoreError};
use tokio::task::JoinSet;

use super::{Place, passing, until, within};
use crate::{at, bundle, name, with_consumers};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_past_the_limit_is_turned_away_while_delivery_and_readiness_go_on() {
    let mut place = Place::patient();
    place.config.max_connections = 8;
    place.config.limits.waiting = 3;
    place.config.limits.acquire = Duration::from_secs(60);
    let store = place.open().await;
    with_consumers(&store, &["c1"]).await;
    store.create_bundle(bundle("b", "c1"), at(1)).await.unwrap();
    let locked = place.locked().await;
    // Half of the connections, and three for each of them in the queue.
    let mut callers = JoinSet::new();
    for _ in 0..4 + 4 * 3 {
        let store = store.clone();
        callers.spawn(async move {
            // Whoever looks below whether the queue is full may stand in it for a moment.
            loop {
                match store.mark_deleting("b", at(2)).await {
                    Err(StoreError::Overloaded { .. }) => tokio::task::yield_now().await,
                    done => return done,
                }
            }
        });
    }
    until("the API to have its share", async || place.waiting() == "4").await;
    let error = loop {
        // Until the last of them stands in the queue, this one would wait like them.
        match tokio::time::timeout(Duration::from_millis(200), store.get_bundle("b")).await {
            Ok(answer) => break answer.unwrap_err(),
            Err(_) => continue,
        }
    };
    passing(&error, FailureClass::Busy);
    assert!(
        matches!(error, StoreError::Overloaded { waiting: 12, .. }),
        "{error:?}"
    );
    // What the lock does not concern: delivery has connections, and readiness its own.
    let names = within("delivery's reading", store.consumer_names()).await;
    assert_eq!(names.unwrap(), [name("c1")]);
    within("delivery's writing", store.prune_tombstones(at(0)))
        .await
        .unwrap();
    for _ in 0..3 {
        let store = store.clone();
        callers.spawn(async move { store.versions_of(&name("c1")).await.map(|_| ()) });
    }
    until("every connection to be taken", async || {
        place.waiting() == "7"
    })
    .await;
    until("the heartbeat", async || store.ping().await.is_ok()).await;
    drop(locked);
    for done in within("everybody to be served", callers.join_all()).await {
        done.unwrap();
    }
    store.get_bundle("b").await.unwrap();
}
