//! Everything goes from one engine to the other and back and is the same; what is interrupted goes on; nothing is
//! overwritten, and nothing is copied that changes meanwhile.

use std::path::{Path, PathBuf};
use std::time::Duration;

use link::error::{Hint as _, chain};
use link::id::SourceId;
use link::order::SequenceId;
use link::supervise::Restarts;
use server_bridge::store::postgres::PostgresStore;
use server_bridge::store::sqlite::SqliteStore;
use server_bridge::store::{
    AgentVersion, AnyStore, Bundle, Consumer, Content, CopyReport, Json, Location, Orphan,
    PendingHead, ReportStore as _, StatusOutcome, StatusUpdate, Store, Tombstone, copy,
};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::engines::{Server, fresh, hasty, ready};
use crate::reports::{reported, source};
use crate::{at, bundle, content, name, presence, version, with_consumers};

/// A file, and a database that nobody else has.
struct Places {
    directory: TempDir,
    server: &'static Server,
    database: String,
    postgres: Location,
}

impl Places {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let server = Server::shared();
        let config = fresh(server, &directory);
        Self {
            database: std::fs::read_to_string(&config.files.name).unwrap(),
            postgres: Location::Postgres(Box::new(config)),
            directory,
            server,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn count(&self, table: &str) -> u32 {
        let text = format!("SELECT count(*) FROM bridge.{table}");
        let count = self.server.sql(&self.database, &text);
        count.map_or(0, |count| count.parse().unwrap())
    }
}

fn sqlite(file: &Path) -> Location {
    Location::Sqlite(file.to_owned())
}

async fn open(location: &Location) -> AnyStore {
    let opened = location.clone().open(Restarts::unregistered()).await;
    opened.unwrap()
}

/// One of everything: sent and not, acknowledged and refused, with statuses and without, being deleted, gone, made again.
async fn filled(store: &impl Store) {
    with_consumers(store, &["c2", "c1"]).await;
    presence::fill(store, "c1", "c2").await;
    for number in 0..12 {
        let mut new = bundle(
            &format!("b{number:02}"),
            if number % 3 == 0 { "c2" } else { "c1" },
        );
        new.name = format!("name \u{1F980} {number}");
        if number == 5 {
            new.metadata = None;
        }
        if number % 4 == 1 {
            new.source = source("rosa");
            new.origin = Some(Json::parse("{\"id\": \"\\u0000\"}").unwrap());
        }
        new.content = Content {
            manifests: Json::parse(&format!(
                "[{{\"n\":1.50,\"z\":\"\\u0000\",\"number\":{number}}}]"
            ))
            .unwrap(),
            delete_option: (number % 2 == 0).then(|| Json::parse("{\"a\": 1}").unwrap()),
            manifest_configs: (number % 4 == 0).then(|| Json::parse("[]").unwrap()),
            executer: None,
        };
        store.create_bundle(new, at(number)).await.unwrap();
    }
    let v1 = version(1);
    for id in ["b01", "b02", "b03", "b04"] {
        store.record_published(id, v1, false, at(20)).await.unwrap();
        let acked = store.record_broker_acked(id, v1, false, id != "b02", at(21));
        acked.await.unwrap();
    }
    store
        .record_published("b05", v1, false, at(22))
        .await
        .unwrap();
    let failed = store.record_publish_failed("b05", v1, false, "too \u{1F980} large", at(23));
    failed.await.unwrap();
    for (step, id) in ["b01", "b02"].into_iter().enumerate() {
        store
            .apply_status(status(id, "c1", 1, step, false))
            .await
            .unwrap();
    }
    let update = store.update_bundle("b01", None, None, content("two"), None, at(30));
    update.await.unwrap();
    for id in ["b04", "b06", "b07"] {
        store.mark_deleting(id, at(40)).await.unwrap();
    }
    store
        .apply_status(status("b07", "c1", 1, 9, true))
        .await
        .unwrap();
    store
        .create_bundle(bundle("b07", "c2"), at(50))
        .await
        .unwrap();
    store
        .apply_status(status("b04", "c1", 1, 10, true))
        .await
        .unwrap();
    let held = vec![AgentVersion {
        id: "b02".into(),
        version: version(0),
    }];
    store.request_resend(&name("c1"), held).await.unwrap();
    // What is kept of what agents say.
    let c1 = name("c1");
    let held = vec![AgentVersion {
        id: "b01".into(),
        version: version(9),
    }];
    store.raise(&c1, held, at(63)).await.unwrap();
    let seen = store.note_seen(vec![c1], at(64));
    seen.await.unwrap();
    let works = ["w2", "w1"].map(|id| Orphan {
        id: id.into(),
        version: version(7),
        deleted_here: id == "w1",
    });
    let refused = store.add_orphans(&name("c2"), works.into()).await.unwrap();
    assert_eq!(refused, 0);
}

fn status(id: &str, consumer: &str, number: i64, step: usize, deleted: bool) -> StatusUpdate {
    StatusUpdate {
        bundle_id: id.to_owned(),
        consumer: name(consumer),
        version: version(number),
        sequence_id: SequenceId::from_parts(at(100), 1, u16::try_from(step).unwrap()),
        status_hash: (step != 1).then(|| format!("hash of {id}")),
        payload: Json::parse("{\"conditions\": [1.0]}").unwrap(),
        metadata: Some(Json::parse("{\"m\": \"\\u0000\"}").unwrap()),
        deleted,
        received_at: Some(at(60)),
        applied_at: (step == 0).then(|| at(61)),
        at: at(62),
    }
}

type Shown = (
    Vec<Consumer>,
    Vec<Bundle>,
    Vec<PendingHead>,
    Vec<(String, Option<String>)>,
    Vec<Option<Tombstone>>,
    Vec<(i64, Orphan)>,
    Vec<Option<server_bridge::store::Report>>,
);

/// What callers see of it.
async fn shown(store: &impl Store) -> Shown {
    let mut seen: Shown = Default::default();
    for text in ["c1", "c2"] {
        let consumer = name(text);
        seen.0
            .extend(store.get_consumer_by_name(&consumer).await.unwrap());
        seen.2
            .extend(store.pending_heads(&consumer, 100).await.unwrap());
        seen.3
            .extend(store.status_hashes_of(&consumer).await.unwrap());
        seen.5.extend(store.orphans(&consumer, 100).await.unwrap());
    }
    for number in 0..12 {
        let id = format!("b{number:02}");
        seen.1.extend(store.get_bundle(&id).await.unwrap());
        seen.4.push(store.tombstone(&id).await.unwrap());
        seen.6.push(store.report(&id).await.unwrap());
    }
    seen
}

async fn copied(from: &Location, to: &Location) -> CopyReport {
    let report = copy(from.clone(), to.clone()).await.unwrap();
    assert_eq!(report.difference(), None);
    report
}

async fn refused(from: &Location, to: &Location) -> String {
    let error = copy(from.clone(), to.clone()).await.unwrap_err();
    let hint = error.hint().unwrap_or_default();
    format!("{}; {hint}", chain(&error))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_comes_back_as_it_was_and_both_engines_go_on_from_there() {
    let places = Places::new();
    let (first, last) = (sqlite(&places.file("a.db")), sqlite(&places.file("b.db")));
    let store = open(&first).await;
    let own: SourceId = "maestro".parse().unwrap();
    store.assign_source(&own).await.unwrap();
    filled(&store).await;
    let before = shown(&store).await;
    assert_eq!(before.0[0].last_seen_at, Some(at(64)));
    assert_eq!(before.5.len(), 2);
    let reports = before.6.iter().flatten();
    assert_eq!(
        reports.map(|report| report.gone).collect::<Vec<_>>(),
        [false, false, true]
    );
    let rosa = before
        .1
        .iter()
        .filter(|bundle| bundle.source == source("rosa"));
    assert!(rosa.clone().count() > 1 && rosa.clone().any(|bundle| bundle.origin.is_some()));
    let noted = before
        .1
        .iter()
        .flat_map(|bundle| bundle.ledger.iter().flatten());
    assert_eq!(noted.filter(|entry| entry.note.is_some()).count(), 1);
    store.close().await;
    drop(store);

    let there = copied(&first, &places.postgres).await;
    let rows: Vec<u64> = there.tables.iter().map(|table| table.source.rows).collect();
    assert_eq!(rows[0], 2);
    assert!(rows.iter().all(|rows| *rows > 0), "{there:?}");
    let back = copied(&places.postgres, &last).await;
    for (there, back) in there.tables.iter().zip(&back.tables) {
        assert_eq!(there.source, back.target);
    }

    // Whose the tables are went both ways.
    let again = Places::new();
    copied(&last, &again.postgres).await;
    let store = open(&again.postgres).await;
    let refused = store
        .assign_source(&"other".parse().unwrap())
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("source `maestro`"),
        "{refused}"
    );
    store.close().await;
    for location in [&places.postgres, &last] {
        let store = open(location).await;
        assert_eq!(format!("{:?}", shown(&store).await), format!("{before:?}"));
        // What comes now comes after what was there.
        store
            .create_bundle(bundle("new", "c1"), at(70))
            .await
            .unwrap();
        let heads = store.pending_heads(&name("c1"), 100).await.unwrap();
        assert_eq!(heads.last().unwrap().id, "new");
        let update = store.update_bundle("b08", None, None, content("x"), None, at(71));
        update.await.unwrap();
        let heads = store.pending_heads(&name("c1"), 100).await.unwrap();
        assert_eq!(heads.last().unwrap().id, "b08");
        // And what is reported is told of, also where a bundle goes whose number would have been given before.
        let end = store.reports_end().await.unwrap();
        store.mark_deleting("new", at(72)).await.unwrap();
        let gone = store.apply_status(status("new", "c1", 1, 11, true)).await;
        assert_eq!(gone.unwrap(), StatusOutcome::Deleted);
        assert_eq!(reported(&store, end).await.0, ["-new"]);
        with_consumers(&store, &["c3"]).await;
        ready(&store).await;
        store.close().await;
    }
    // Searches of PostgreSQL look at what was derived.
    let labelled = "SELECT count(*) FROM bridge.bundles WHERE search -> 'labels' ->> 'app' = 'web'";
    assert_eq!(places.server.sql(&places.database, labelled).unwrap(), "8");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_copy_is_served_to_nobody_and_goes_on_when_it_is_started_again() {
    let places = Places::new();
    let source = places.file("a.db");
    let store = SqliteStore::open(&source).await.unwrap();
    with_consumers(&store, &["c1"]).await;
    for number in 0..400 {
        let mut new = bundle(&format!("b{number}"), "c1");
        new.content = content(&number.to_string().repeat(49_000 / 3));
        store.create_bundle(new, at(1)).await.unwrap();
    }
    store.close().await;
    drop(store);
    let source = sqlite(&source);

    let mut running = Box::pin(copy(source.clone(), places.postgres.clone()));
    let deadline = Instant::now() + Duration::from_secs(60);
    while places.count("contents") == 0 {
        assert!(Instant::now() < deadline);
        tokio::select! {
            done = &mut running => panic!("{done:?} before it was interrupted"),
            () = sleep(Duration::from_millis(5)) => {}
        }
    }
    drop(running);
    let Location::Postgres(config) = places.postgres.clone() else {
        unreachable!()
    };
    let error = PostgresStore::open(*config).await.unwrap_err();
    let hint = error.hint().unwrap();
    assert!(
        chain(&error).contains("copy that is not finished"),
        "{error:?}"
    );
    assert!(hint.contains("again"), "{hint}");
    let before = places.count("contents");
    assert!(before < 400, "{before}");

    // The wrong one does not go on with it.
    let other = sqlite(&places.file("other.db"));
    let store = open(&other).await;
    with_consumers(&store, &["c1"]).await;
    store.close().await;
    drop(store);
    let said = refused(&other, &places.postgres).await;
    assert!(said.contains("unfinished copy of something else"), "{said}");
    assert_eq!(places.count("contents"), before);

    let report = copied(&source, &places.postgres).await;
    assert_eq!(report.tables[2].target.rows, 400);
    // And once more: there is nothing to do.
    copied(&source, &places.postgres).await;
    open(&places.postgres).await.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_use_or_holds_something_else_is_refused() {
    let places = Places::new();
    let (one, two) = (sqlite(&places.file("a.db")), sqlite(&places.file("b.db")));
    let said = refused(&one, &places.postgres).await;
    assert!(said.contains("no such file"), "{said}");
    assert!(!places.file("a.db").exists());

    let store = open(&one).await;
    filled(&store).await;
    let said = refused(&one, &places.postgres).await;
    assert!(said.contains("another process holds"), "{said}");
    store.close().await;
    drop(store);

    let hasty = hasty(&places.postgres);
    let bridge = open(&places.postgres).await;
    for (from, to) in [(&one, &hasty), (&hasty, &two)] {
        let said = refused(from, to).await;
        assert!(
            said.contains("is in use") && said.contains("stop every bridge"),
            "{said}"
        );
    }
    // Empty, but another's.
    bridge
        .assign_source(&"other".parse().unwrap())
        .await
        .unwrap();
    bridge.close().await;
    drop(bridge);
    let said = refused(&one, &places.postgres).await;
    assert!(said.contains("`installation` has 1 rows"), "{said}");
    let bridge = open(&places.postgres).await;
    with_consumers(&bridge, &["mine"]).await;
    bridge.close().await;
    drop(bridge);
    // As a bridge behind a pooler, whose sessions have other names.
    let slot = "INSERT INTO bridge.replicas (slot, instance, name, expires_at) \
         VALUES (0, 'i', 'r', clock_timestamp() + interval '1 minute')";
    places.server.sql(&places.database, slot).unwrap();
    let said = refused(&one, &hasty).await;
    assert!(
        said.contains("is in use") && said.contains("hold 1 slots"),
        "{said}"
    );
    places
        .server
        .sql(&places.database, "DELETE FROM bridge.replicas")
        .unwrap();
    let said = refused(&one, &places.postgres).await;
    assert!(said.contains("`consumers` has 1 rows"), "{said}");
    assert_eq!(places.count("consumers"), 1);
    open(&places.postgres).await.close().await;
}
