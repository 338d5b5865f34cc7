//! A server that is slow, ends sessions, stops or comes back: what fails is said to pass, and everything goes on.

use std::time::Duration;

use futures_util::FutureExt as _;
use server_bridge::store::postgres::PostgresStore;
use server_bridge::store::query::{Parts, Query};
use server_bridge::store::{FailureClass, Store};

use super::{Place, passing, until, within};
use crate::engines::{Server, fresh};
use crate::{at, bundle, name, with_consumers};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_too_long_is_stopped_by_the_server_and_said_to_pass() {
    let mut place = Place::new();
    place.config.limits.lock = Duration::from_millis(200);
    let locks = place.open().await;
    place.config.limits.lock = Duration::from_secs(60);
    place.config.limits.statement = Duration::from_millis(200);
    place.config.limits.search = Duration::from_millis(300);
    let mut opened = None;
    // A busy machine may be slower than that.
    until("the store to be opened", async || {
        opened = PostgresStore::open(place.config.clone()).await.ok();
        opened.is_some()
    })
    .await;
    let statements = opened.unwrap();
    with_consumers(&locks, &["c1"]).await;
    locks.create_bundle(bundle("b", "c1"), at(1)).await.unwrap();
    let locked = place.locked().await;
    passing(
        &locks.mark_deleting("b", at(2)).await.unwrap_err(),
        FailureClass::Busy,
    );
    passing(
        &locks.get_bundle("b").await.unwrap_err(),
        FailureClass::Busy,
    );
    let error = statements.mark_deleting("b", at(2)).await.unwrap_err();
    passing(&error, FailureClass::Interrupted);
    let query = || Query {
        filter: None,
        order: Vec::new(),
        offset: 0,
        limit: 1,
    };
    let searched = statements.list_bundles(query(), Parts::LISTED).await;
    let error = searched.err().unwrap();
    passing(&error, FailureClass::Interrupted);
    drop(locked);
    // The lock goes a moment later, and a busy machine is slower than these limits allow.
    until("a list", async || {
        let page = statements.list_bundles(query(), Parts::LISTED).await;
        page.is_ok_and(|page| page.total == 1)
    })
    .await;
    let mut bundle = None;
    until("the bundle", async || {
        bundle = locks.get_bundle("b").await.ok().flatten();
        bundle.is_some()
    })
    .await;
    let deleted = bundle.unwrap().deleted_at;
    assert_eq!(deleted, None, "nothing of it was kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_ended_fails_only_what_ran_on_it() {
    let place = Place::patient();
    let store = place.open().await;
    with_consumers(&store, &["c1"]).await;
    store.create_bundle(bundle("b", "c1"), at(1)).await.unwrap();
    let locked = place.locked().await;
    let change = tokio::spawn({
        let store = store.clone();
        async move { store.mark_deleting("b", at(2)).await }
    });
    until("the change to wait", async || place.waiting() == "1").await;
    place.end_sessions("application_name = 'server-bridge'");
    let error = within("the change to end", change)
        .await
        .unwrap()
        .unwrap_err();
    passing(&error, FailureClass::Unreachable);
    drop(locked);
    within("the change again", store.mark_deleting("b", at(2)))
        .await
        .unwrap();
    until("readiness", async || store.ping().await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_who_goes_away_leaves_nothing_running() {
    let place = Place::patient();
    let store = place.open().await;
    with_consumers(&store, &["c1"]).await;
    let locked = place.locked().await;
    let c1 = name("c1");
    let mut read = Box::pin(store.pending_heads(&c1, 10));
    until("the reader to wait", async || {
        assert!(read.as_mut().now_or_never().is_none());
        place.waiting() == "1"
    })
    .await;
    drop(read);
    until("nobody to wait", async || place.waiting() == "0").await;
    drop(locked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_caller_goes_away_is_kept() {
    let place = Place::patient();
    let store = place.open().await;
    with_consumers(&store, &["c1"]).await;
    let locked = place.locked().await;
    let mut write = Box::pin(store.create_bundle(bundle("b", "c1"), at(1)));
    until("the writer to wait", async || {
        assert!(write.as_mut().now_or_never().is_none());
        place.waiting() == "1"
    })
    .await;
    drop(write);
    drop(locked);
    until("the bundle to be there", async || {
        store.get_bundle("b").await.unwrap().is_some()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_server_is_away_nothing_is_taken_and_readiness_says_why() {
    let server = Server::start(&[]).unwrap();
    let files = tempfile::tempdir().unwrap();
    let mut config = fresh(&server, &files);
    // A new connection takes far less, also on a busy machine.
    config.limits.acquire = Duration::from_secs(6);
    let store = PostgresStore::open(config).await.unwrap();
    with_consumers(&store, &["c1"]).await;
    store
        .create_bundle(bundle("before", "c1"), at(1))
        .await
        .unwrap();
    for round in 0..2 {
        let id = format!("after{round}");
        server.stop().unwrap();
        let error = store
            .create_bundle(bundle(&id, "c1"), at(2))
            .await
            .unwrap_err();
        passing(&error, FailureClass::Unreachable);
        let error = store.pending_heads(&name("c1"), 1).await.unwrap_err();
        passing(&error, FailureClass::Unreachable);
        let error = store.ping().await.unwrap_err().to_string();
        assert!(
            error.contains("the server cannot be reached") && error.contains("security groups"),
            "{error}"
        );
        server.launch(&[]).unwrap();
        // The first that asks gets a connection: dead ones are not handed out.
        store.create_bundle(bundle(&id, "c1"), at(2)).await.unwrap();
        until("readiness", async || store.ping().await.is_ok()).await;
    }
    assert_eq!(store.versions_of(&name("c1")).await.unwrap().len(), 3);
    store.close().await;
    let error = store.get_bundle("before").await.unwrap_err();
    passing(&error, FailureClass::Closed);
}
