//! What was answered stays, and a store that is closed says so.

use jiff::Timestamp;
use link::id::ConsumerName;
use server_bridge::store::Store as _;
use server_bridge::store::sqlite::SqliteStore;

#[tokio::test]
async fn everything_answered_survives_the_process_going_away() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bridge.db");
    let now = Timestamp::UNIX_EPOCH;
    let store = SqliteStore::open(&path).await.unwrap();
    let name = ConsumerName::new("c1").unwrap();
    let new = server_bridge::store::NewConsumer {
        id: "c".into(),
        name,
        labels: Default::default(),
    };
    store.create_consumer(new, now).await.unwrap();
    // Copied while open, as a kill would leave the files.
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        if !entry.file_name().to_string_lossy().ends_with("-shm") {
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
    }
    std::mem::forget(store);
    let again = SqliteStore::open(copy.path().join("bridge.db"))
        .await
        .unwrap();
    assert!(again.get_consumer("c").await.unwrap().is_some());
}

#[tokio::test]
async fn closing_leaves_the_database_alone_and_later_calls_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path().join("bridge.db"))
        .await
        .unwrap();
    store.close().await;
    let mut files: Vec<String> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert_eq!(files, ["bridge.db", "bridge.db.lock"]);
    let error = store
        .mark_deleting("b", Timestamp::UNIX_EPOCH)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "the store is closed");
    let error = store.ping().await.unwrap_err();
    assert_eq!(error.to_string(), "the store is closed");
}
