//! The engine when something goes wrong: what was not committed is never answered, and what ails it is said.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::FutureExt as _;
use jiff::Timestamp;
use link::id::ConsumerName;
use tokio::time::{Instant, timeout};

use super::health::PANIC;
use super::*;
use crate::store::query::{Parts, Query};
use crate::store::{Consumer, FailureClass, Labels, NewConsumer, Store as _};

struct Opened {
    store: SqliteStore,
    path: PathBuf,
    scratch: tempfile::TempDir,
}

async fn opened() -> Opened {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("bridge.db");
    let store = SqliteStore::open(&path).await.unwrap();
    Opened {
        store,
        path,
        scratch,
    }
}

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

async fn register(store: &SqliteStore, name: &str) -> Result<Consumer, StoreError> {
    let new = NewConsumer {
        id: name.to_owned(),
        name: ConsumerName::new(name).unwrap(),
        labels: Labels::new(),
    };
    store.create_consumer(new, now()).await
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("{what} within {PATIENCE:?}"))
}

#[test]
fn every_migration_on_disk_is_run() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/sqlite");
    let mut on_disk: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    on_disk.sort();
    let run: Vec<String> = open::migrations()
        .iter()
        .map(|one| format!("{:04}_{}.sql", one.version, one.description))
        .collect();
    assert_eq!(run, on_disk);
}

#[tokio::test]
async fn a_failed_commit_is_an_error_of_its_class_and_keeps_nothing() {
    for (code, class, retryable) in [
        (5, FailureClass::Busy, true),
        (6, FailureClass::Busy, true),
        (3850, FailureClass::Io, true),
        (13, FailureClass::Full, true),
        (8, FailureClass::ReadOnly, true),
        (11, FailureClass::Corrupt, true),
        (26, FailureClass::Corrupt, true),
        (14, FailureClass::CannotOpen, true),
        (19, FailureClass::Content, false),
        (1, FailureClass::Other, true),
    ] {
        let Opened {
            store,
            path,
            scratch,
        } = opened().await;
        register(&store, "before").await.unwrap();
        store.inject(Some(code));
        let error = register(&store, "during").await.unwrap_err();
        assert_eq!(error.class(), Some(class), "{code}");
        assert_eq!(error.is_retryable(), retryable, "{code}");
        assert!(!error.is_refusal(), "{code}");
        store.inject(None);
        assert_eq!(store.get_consumer("during").await.unwrap(), None, "{code}");
        store.close().await;
        let again = SqliteStore::open(&path).await.unwrap();
        assert!(again.get_consumer("before").await.unwrap().is_some());
        assert_eq!(again.get_consumer("during").await.unwrap(), None, "{code}");
        drop(scratch);
    }
}

#[tokio::test]
async fn readiness_fails_while_writes_do_and_comes_back_once_a_bundle_fits() {
    let Opened { store, scratch, .. } = opened().await;
    store.ping().await.unwrap();
    store.inject(Some(13));
    assert!(register(&store, "c").await.is_err());
    let error = store.ping().await.unwrap_err();
    assert_eq!(error.class(), Some(FailureClass::Full));
    assert!(store.health.is_failing());
    store.inject(None);
    store.ping().await.unwrap();
    assert!(!store.health.is_failing());
    register(&store, "c").await.unwrap();
    drop(scratch);
}

#[tokio::test]
async fn a_really_full_database_takes_nothing_and_says_so() {
    let Opened { store, scratch, .. } = opened().await;
    store
        .write(|c| {
            Box::pin(async move {
                let done = sqlx::query("PRAGMA max_page_count = 1").execute(c).await;
                done.map_err(rows::driver("limit the pages"))?;
                Ok(Written::of(()))
            })
        })
        .await
        .unwrap();
    store.inject(Some(13));
    assert!(register(&store, "c").await.is_err());
    store.inject(None);
    // The large heartbeat finds out by itself.
    let error = store.ping().await.unwrap_err();
    assert_eq!(error.class(), Some(FailureClass::Full), "{error:?}");
    drop(scratch);
}

#[tokio::test]
async fn what_is_written_to_a_removed_or_replaced_file_is_not_answered() {
    for suffix in ["", "-wal", "-shm"] {
        let Opened {
            store,
            path,
            scratch,
        } = opened().await;
        let file = files::beside(&path, suffix);
        std::fs::rename(&file, scratch.path().join("aside")).unwrap();
        for replaced in [false, true] {
            if replaced {
                std::fs::write(&file, "").unwrap();
            }
            for error in [
                register(&store, "c").await.unwrap_err(),
                store.ping().await.unwrap_err(),
            ] {
                let text = error.to_string();
                let word = if replaced {
                    "was replaced"
                } else {
                    "was removed"
                };
                assert!(text.contains(word), "{suffix}: {text}");
                assert!(error.is_retryable());
            }
        }
    }
}

#[tokio::test]
async fn a_damaged_database_is_noticed_and_takes_no_more_writes() {
    let Opened {
        store,
        path,
        scratch,
    } = opened().await;
    register(&store, "c").await.unwrap();
    store
        .write(|c| {
            Box::pin(async move {
                // Ends the transaction that runs, so that the log can be folded back.
                for text in [
                    "COMMIT",
                    "PRAGMA wal_checkpoint(TRUNCATE)",
                    "BEGIN",
                    "SAVEPOINT job",
                ] {
                    let done = sqlx::query(text).execute(&mut *c).await;
                    done.map_err(rows::driver("fold the log back"))?;
                }
                Ok(Written::of(()))
            })
        })
        .await
        .unwrap();
    overwrite(&path);
    let error = store.ping().await.unwrap_err();
    assert_eq!(error.class(), Some(FailureClass::Corrupt), "{error:?}");
    let error = register(&store, "d").await.unwrap_err();
    assert!(
        error.to_string().contains("the database is damaged"),
        "{error}"
    );
    drop(scratch);
}

fn overwrite(path: &Path) {
    let length = usize::try_from(std::fs::metadata(path).unwrap().len()).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    // Closing it drops SQLite's own locks, which is the least of this database's troubles.
    std::os::unix::fs::FileExt::write_all_at(&file, &vec![0xa5; length], 0).unwrap();
}

async fn fault(_: &mut SqliteConnection) -> Result<Written<()>, StoreError> {
    panic!("a fault")
}

#[tokio::test]
async fn a_write_that_panics_is_undone_alone() {
    let Opened { store, scratch, .. } = opened().await;
    let panics = store.write(|c| Box::pin(fault(c)));
    let (panicked, other) = tokio::join!(panics, register(&store, "c"));
    assert!(matches!(panicked, Err(StoreError::Panicked)));
    other.unwrap();
    store.ping().await.unwrap();
    drop(scratch);
}

#[tokio::test]
async fn a_writer_that_dies_is_made_again_and_nothing_uncommitted_is_answered() {
    let Opened {
        store,
        path,
        scratch,
    } = opened().await;
    store.inject(Some(PANIC));
    let error = register(&store, "c").await.unwrap_err();
    assert!(error.to_string().contains("its writer died"), "{error}");
    assert!(error.is_retryable());
    store.inject(None);
    within("the writer is back", register(&store, "c"))
        .await
        .unwrap();
    store.ping().await.unwrap();
    within("the store closes", store.close()).await;
    let again = SqliteStore::open(&path).await.unwrap();
    assert!(again.get_consumer("c").await.unwrap().is_some());
    drop(scratch);
}

#[tokio::test]
async fn a_second_bridge_on_the_same_file_is_refused_until_the_first_has_closed() {
    let Opened {
        store,
        path,
        scratch,
    } = opened().await;
    let link = scratch.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for name in [&path, &link] {
        let error = SqliteStore::open(name).await.unwrap_err();
        let text = link::error::chain(&error);
        assert!(text.contains("another process holds `"), "{text}");
        assert!(text.contains("bridge.db.lock`: process "), "{text}");
        let hint = link::error::Hint::hint(&error).unwrap();
        assert!(hint.starts_with("one bridge per file"), "{hint}");
    }
    store.close().await;
    SqliteStore::open(&link).await.unwrap();
}

#[tokio::test]
async fn the_files_of_the_database_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let Opened {
        store,
        path,
        scratch,
    } = opened().await;
    register(&store, "c").await.unwrap();
    for suffix in ["", "-wal", "-shm", ".lock"] {
        let mode = std::fs::metadata(files::beside(&path, suffix))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{suffix}");
    }
    drop(scratch);
}

/// A query without an end.
async fn endless(c: &mut SqliteConnection) -> Result<i64, StoreError> {
    sqlx::query_scalar(
        "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT COUNT(*) FROM n",
    )
    .fetch_one(c)
    .await
    .map_err(rows::driver("count for ever"))
}

fn short(store: &SqliteStore, limit: Duration) -> SearchPool {
    store.searches.with_limit(limit)
}

#[tokio::test]
async fn a_search_is_stopped_at_its_deadline_and_its_reader_is_free_again() {
    let Opened { store, scratch, .. } = opened().await;
    let limit = Duration::from_millis(50);
    let searches = short(&store, limit);
    for _ in 0..search::readers() + 1 {
        let search = searches.run("search", |c| Box::pin(endless(c)));
        let stopped = within("it stops", search).await.unwrap_err();
        assert!(
            matches!(stopped, StoreError::Deadline { .. }),
            "{stopped:?}"
        );
    }
    let query = Query {
        filter: None,
        order: Vec::new(),
        offset: 0,
        limit: 1,
    };
    let page = within("a list", store.list_bundles(query, Parts::LISTED)).await;
    assert_eq!(page.unwrap().total, 0);
    drop(scratch);
}

#[tokio::test]
async fn a_search_whose_caller_goes_away_is_stopped() {
    let Opened { store, scratch, .. } = opened().await;
    let searches = short(&store, Duration::from_secs(3600));
    for _ in 0..search::readers() {
        let mut search = Box::pin(searches.run("search", |c| Box::pin(endless(c))));
        // Far enough to be running: acquiring and preparing take a few milliseconds.
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(50) {
            assert!(search.as_mut().now_or_never().is_none());
            tokio::task::yield_now().await;
        }
        drop(search);
    }
    let beats = searches.run("read", |c| {
        Box::pin(async move {
            sqlx::query_scalar("SELECT beats FROM heartbeat")
                .fetch_one(c)
                .await
                .map_err(rows::driver("read"))
        })
    });
    let beats: i64 = within("a reader is free", beats).await.unwrap();
    assert_eq!(beats, 0);
    drop(scratch);
}

#[tokio::test]
async fn searches_without_an_end_hold_up_neither_writes_nor_delivery_nor_single_reads() {
    let Opened { store, scratch, .. } = opened().await;
    let searches = short(&store, Duration::from_secs(3600));
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..4 * search::readers() {
        let searches = searches.clone();
        running.spawn(async move { searches.run("search", |c| Box::pin(endless(c))).await });
    }
    let work = async {
        register(&store, "c").await.unwrap();
        let name = ConsumerName::new("c").unwrap();
        assert!(store.pending_heads(&name, 10).await.unwrap().is_empty());
        assert!(store.get_consumer("c").await.unwrap().is_some());
        store.ping().await.unwrap();
    };
    within("everything else", work).await;
    running.abort_all();
    drop(scratch);
}

const PATIENCE: Duration = Duration::from_secs(20);
