//! What only SQLite has: a file that is copied, moved and put back.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use link::id::SourceId;
use server_bridge::store::sqlite::SqliteStore;
use server_bridge::store::{ReportStore as _, SourceName, Store, StoreError};
use sqlx::{Connection as _, SqliteConnection};
use tempfile::TempDir;

use crate::reports::{reported, source};
use crate::status::status;
use crate::{at, bundle, content, progress, version, with_consumers};

struct Place {
    path: PathBuf,
    scratch: TempDir,
}

impl Place {
    /// A database with one bundle in its second version.
    async fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("bridge.db");
        let store = SqliteStore::open(&path).await.unwrap();
        with_consumers(&store, &["c1"]).await;
        store.create_bundle(bundle("b", "c1"), at(1)).await.unwrap();
        change(&store).await;
        store.close().await;
        Self { path, scratch }
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Why each epoch began, the present one first.
    async fn epochs(&self) -> Vec<String> {
        epochs(&self.path).await
    }
}

async fn epochs(path: &Path) -> Vec<String> {
    let store = SqliteStore::open(path).await.unwrap();
    let history = store.history().await.unwrap();
    store.close().await;
    history.epochs.into_iter().map(|epoch| epoch.why).collect()
}

async fn change(store: &SqliteStore) -> i32 {
    let number = store.get_bundle("b").await.unwrap().unwrap().version;
    let text = content(&number.to_string());
    let changed = store
        .update_bundle("b", None, None, text, None, at(2))
        .await;
    changed.unwrap().version.get()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_stays_where_it_is_begins_no_epoch() {
    let place = Place::new().await;
    for _ in 0..3 {
        assert_eq!(place.epochs().await.len(), 1);
    }
    // Nor one that is given another name, nor one that lost its lock file.
    let moved = place.beside("moved.db");
    std::fs::rename(&place.path, &moved).unwrap();
    assert_eq!(epochs(&moved).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_copy_begins_an_epoch_however_it_is_put_back() {
    let place = Place::new().await;
    let backup = place.beside("backup");
    std::fs::copy(&place.path, &backup).unwrap();
    let store = SqliteStore::open(&place.path).await.unwrap();
    assert_eq!(change(&store).await, 3);
    store.close().await;

    // Written over the file, which stays the same one to the file system.
    std::fs::copy(&backup, &place.path).unwrap();
    let why = place.epochs().await;
    assert!(why[0].contains("older copy") && why.len() == 2, "{why:?}");
    // Removed, and copied anew.
    std::fs::remove_file(&place.path).unwrap();
    std::fs::remove_file(place.beside("bridge.db.lock")).unwrap();
    std::fs::copy(&backup, &place.path).unwrap();
    let why = place.epochs().await;
    assert!(
        why[0].contains("another place") && why.len() == 2,
        "{why:?}"
    );
    // Copied elsewhere.
    let copy = place.beside("copy.db");
    std::fs::copy(&place.path, &copy).unwrap();
    assert_eq!(epochs(&copy).await.len(), 3);

    let store = SqliteStore::open(&place.path).await.unwrap();
    assert_eq!(
        store.get_bundle("b").await.unwrap().unwrap().version,
        version(2)
    );
    let jump = store.epoch().await.unwrap().jump();
    assert_eq!(change(&store).await, 2 + jump);
    assert_eq!(change(&store).await, 3 + jump);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_are_good_in_the_file_of_before_and_refused_in_an_older_copy() {
    let place = Place::new().await;
    let store = SqliteStore::open(&place.path).await.unwrap();
    let before = store.reports_end().await.unwrap();
    store.close().await;
    let backup = place.beside("backup");
    std::fs::copy(&place.path, &backup).unwrap();
    let store = SqliteStore::open(&place.path).await.unwrap();
    store.apply_status(status("b", "c1", 2, 1)).await.unwrap();
    let (seen, after) = reported(&store, before.clone()).await;
    assert_eq!(seen, ["b"]);
    store.close().await;

    std::fs::copy(&backup, &place.path).unwrap();
    let store = SqliteStore::open(&place.path).await.unwrap();
    for position in [before, after] {
        let lost = store.reports_after(position, 9).await.unwrap_err();
        assert!(matches!(lost, StoreError::PositionLost), "{lost:?}");
    }
    let end = store.reports_end().await.unwrap();
    store.apply_status(status("b", "c1", 2, 2)).await.unwrap();
    assert_eq!(reported(&store, end).await.0, ["b"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bundles_of_before_are_those_of_the_source_that_the_bridge_speaks_for_first() {
    let place = Place::new().await;
    let store = SqliteStore::open(&place.path).await.unwrap();
    let mut new = bundle("rosa", "c1");
    new.source = source("rosa");
    store.create_bundle(new, at(3)).await.unwrap();
    store.close().await;
    // As the bridge of the version before left it.
    let mut file = SqliteConnection::connect(&format!("sqlite://{}", place.path.display()))
        .await
        .unwrap();
    sqlx::query("UPDATE bundles SET source = NULL WHERE id = 'b'")
        .execute(&mut file)
        .await
        .unwrap();
    file.close().await.unwrap();
    let store = SqliteStore::open(&place.path).await.unwrap();
    let of = async |id: &str| store.get_bundle(id).await.unwrap().unwrap().source;
    assert_eq!(of("b").await, SourceName::default());
    for own in ["ours", "others"] {
        store
            .assign_source(&SourceId::new(own).unwrap())
            .await
            .unwrap();
        assert_eq!(of("b").await, source("ours"));
        assert_eq!(of("rosa").await, source("rosa"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statuses_of_before_are_looked_into_after_opening_and_nothing_is_said_of_them_until_then() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("bridge.db");
    let store = SqliteStore::open(&path).await.unwrap();
    progress::three(&store).await;
    assert!(progress::all_is_said(&store).await);
    let mut file = SqliteConnection::connect(&format!("sqlite://{}", path.display()))
        .await
        .unwrap();
    sqlx::query(progress::FORGET)
        .execute(&mut file)
        .await
        .unwrap();
    file.close().await.unwrap();
    assert!(progress::nothing_is_said(&store).await);
    store.close().await;
    let store = SqliteStore::open(&path).await.unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    while !progress::all_is_said(&store).await {
        assert!(Instant::now() < until, "everything is said");
        tokio::task::yield_now().await;
    }
}
