//! Versions that follow each other on the same tables, while one of them runs.

use std::collections::BTreeSet;
use std::path::Path;

use server_bridge::store::{Location, Store};

use super::rotation::Load;
use super::{Place, until, within};
use crate::status::status;
use crate::{at, bundle, content, name, progress, with_consumers};

/// Triggers that refuse nothing: they complete what the version before writes.
const HARMLESS: &[&str] = &[
    "bundles.own_source",
    "bundles.leave_report",
    "statuses.stamp_report",
];

pub(super) const VALID: &str = "SELECT count(*) FROM pg_index \
     WHERE indexrelid = to_regclass('bridge.bundles_by_search') AND indisvalid";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_start_waits_for_the_index_that_is_built_beside_a_long_dump_and_bridges_see_what_each_writes()
 {
    let place = Place::patient();
    let old = place.open().await;
    until("the index", async || place.sql(VALID) == "1").await;
    let mut load = Load::start(&old).await;
    // As a bridge of the version before left the tables.
    place.sql("DROP INDEX bridge.bundles_by_search");
    // A dump that takes long keeps an index from being finished, and nobody else from anything.
    let (server, database) = (place.server, place.database.clone());
    let dump = "SET application_name = 'pg_dump'; BEGIN ISOLATION LEVEL REPEATABLE READ; \
         SELECT count(*) FROM bridge.consumers; SELECT pg_sleep(600)";
    let dumping = std::thread::spawn(move || server.sql(&database, dump));
    let held = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pg_dump' \
         AND datname = current_database() AND wait_event = 'PgSleep'";
    until("the dump", async || place.sql(held) == "1").await;
    let opened = [place.open(), place.open()];
    let [new, another] = within("others", futures_util::future::join_all(opened))
        .await
        .try_into()
        .ok()
        .unwrap();
    let building =
        "SELECT count(*) FROM pg_stat_progress_create_index WHERE datname = current_database()";
    // Ended before it is there for others to see, it would leave nothing, and who built it begins again only minutes later.
    let left = "SELECT count(*) FROM pg_index WHERE indexrelid = to_regclass('bridge.bundles_by_search') AND NOT indisvalid";
    until("the index to be begun, once", async || {
        place.sql(building) == "1" && place.sql(left) == "1"
    })
    .await;
    for number in 0..20 {
        let id = format!("b{number}");
        old.create_bundle(bundle(&id, "c1"), at(1)).await.unwrap();
    }
    load.goes_on().await;
    // What is left of it where its building ends early is built anew by whoever comes next.
    until("it to be left unfinished", async || {
        place.end_sessions("query LIKE 'CREATE INDEX%'");
        place.sql(building) == "0" && place.sql(left) == "1"
    })
    .await;
    another.close().await;
    let another = place.open().await;
    let rebuilding = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
         AND (query LIKE 'DROP INDEX%' OR query LIKE 'CREATE INDEX%') AND state = 'active' AND pid <> pg_backend_pid()";
    until("it to be begun anew", async || place.sql(rebuilding) == "1").await;
    place.end_sessions("application_name = 'pg_dump'");
    assert!(dumping.join().unwrap().is_err());
    until("the index", async || place.sql(VALID) == "1").await;
    another.close().await;
    // Who only makes the tables makes it too.
    place.sql("DROP INDEX bridge.bundles_by_search");
    let location = Location::Postgres(Box::new(place.config.clone()));
    // Where that takes moments, which it may not on a busy machine.
    until("it to be made with the tables", async || {
        location.migrate(false).await.unwrap();
        place.sql(VALID) == "1"
    })
    .await;
    place.sql("DROP INDEX bridge.bundles_by_search");
    location.migrate(true).await.unwrap();
    assert_eq!(place.sql(VALID), "1");

    for (writes, reads, id) in [(&old, &new, "b0"), (&new, &old, "b1")] {
        let updated = writes
            .update_bundle(id, None, None, content(id), None, at(2))
            .await;
        let version = updated.unwrap().version;
        assert_eq!(
            reads.get_bundle(id).await.unwrap().unwrap().version,
            version
        );
        let outcome = reads.apply_status(status(id, "c1", 2, 1)).await.unwrap();
        assert_eq!(outcome, server_bridge::store::StatusOutcome::Stored);
        let heads = reads.pending_heads(&name("c1"), 100).await.unwrap();
        assert!(heads.iter().any(|head| head.id == id));
    }
    load.goes_on().await;
    load.end().await;
    old.close().await;
    // And one of the version before that starts finds what it can use.
    with_consumers(&new, &["c2"]).await;
    new.close().await;
    let again = place.open().await;
    assert_eq!(again.consumer_names().await.unwrap().len(), 2);
}

/// Of the tables: each column with its type; which columns a row cannot do without; what rows must satisfy.
fn found(place: &Place) -> [BTreeSet<String>; 3] {
    [
        "SELECT format('%s.%s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod)) FROM pg_attribute a \
         JOIN pg_class c ON c.oid = a.attrelid WHERE c.relnamespace = 'bridge'::regnamespace AND c.relkind = 'r' \
         AND a.attnum > 0 AND NOT a.attisdropped",
        "SELECT format('%s.%s', c.relname, a.attname) FROM pg_attribute a \
         JOIN pg_class c ON c.oid = a.attrelid WHERE c.relnamespace = 'bridge'::regnamespace AND c.relkind = 'r' \
         AND a.attnum > 0 AND NOT a.attisdropped AND a.attnotnull AND NOT a.atthasdef AND a.attidentity = ''",
        "SELECT format('%s.%s', conrelid::regclass::text, conname) FROM pg_constraint \
         WHERE connamespace = 'bridge'::regnamespace \
         UNION SELECT format('%s.%s', indrelid::regclass::text, indexrelid::regclass::text) FROM pg_index \
         JOIN pg_class c ON c.oid = indrelid WHERE c.relnamespace = 'bridge'::regnamespace AND indisunique \
         UNION SELECT format('%s.%s', tgrelid::regclass::text, tgname) FROM pg_trigger \
         JOIN pg_class c ON c.oid = tgrelid WHERE c.relnamespace = 'bridge'::regnamespace AND NOT tgisinternal",
    ]
    .map(|text| place.sql(text).lines().map(str::to_owned).collect())
}

fn tables(columns: &BTreeSet<String>) -> BTreeSet<&str> {
    columns
        .iter()
        .filter_map(|column| column.split('.').next())
        .collect()
}

/// What the bridge of the version before does, it can go on doing: its statements name columns that are there still, its
/// rows lack nothing, and no new rule refuses them. A change that says otherwise (`compatibility.oldest`) is not held to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_change_of_the_tables_leaves_the_version_before_all_that_it_uses() {
    let place = Place::new();
    place.sql("CREATE SCHEMA bridge");
    place.sql(&format!(
        "ALTER DATABASE {} SET search_path = bridge",
        place.database
    ));
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/postgres");
    let files: BTreeSet<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    let mut before = found(&place);
    for (number, file) in (1..).zip(&files) {
        place.sql(&std::fs::read_to_string(file).unwrap());
        let after = found(&place);
        let file = file.display();
        let oldest = place.sql("SELECT oldest FROM compatibility");
        if number > 1 && oldest != number.to_string() {
            let gone: Vec<_> = before[0].difference(&after[0]).collect();
            assert!(gone.is_empty(), "{file} takes away or changes {gone:?}");
            let known = tables(&before[0]);
            let of_known =
                |name: &&String| name.split('.').next().is_some_and(|t| known.contains(t));
            let needed: Vec<_> = after[1].difference(&before[1]).filter(of_known).collect();
            assert!(needed.is_empty(), "{file} needs values in {needed:?}");
            let harmless = |name: &&String| !HARMLESS.contains(&name.as_str());
            let rules = after[2].difference(&before[2]).filter(of_known);
            let rules: Vec<_> = rules.filter(harmless).collect();
            assert!(rules.is_empty(), "{file} holds older rows to {rules:?}");
        }
        before = after;
    }
    let whole = Place::new();
    whole.open().await.close().await;
    let ours = |columns: &BTreeSet<String>| -> BTreeSet<String> {
        let ours = columns.iter().filter(|column| !column.starts_with("_sqlx"));
        ours.cloned().collect()
    };
    assert_eq!(ours(&found(&whole)[0]), before[0], "every file is a change");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_for_a_label_or_a_name_look_only_at_what_has_it() {
    use futures_util::TryStreamExt as _;
    use server_bridge::store::query::{
        BundleColumn, Comparison, Filter, Parts, Query, Subject, Value,
    };

    let place = Place::new();
    let store = place.open().await;
    until("the index", async || place.sql(VALID) == "1").await;
    with_consumers(&store, &["c1"]).await;
    place.sql(
        "INSERT INTO bridge.bundles (name, id, consumer_name, version, created_at, updated_at, search) \
         SELECT 'n' || n, 'i' || n, 'c1', 1, 0, 0, jsonb_build_object('name', 'm' || n, 'labels', \
           jsonb_build_object('app', 'a' || n % 1000, 'tier', 't')) FROM generate_series(1, 20000) n",
    );
    place.sql(
        "INSERT INTO bridge.contents (bundle_key, manifests) SELECT key, '[]' FROM bridge.bundles; \
         ANALYZE bridge.bundles",
    );
    let text = |text: &str| Value::Text(text.to_owned());
    let label = || Subject::Label("app".into());
    let scans =
        "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'bundles_by_search'";
    let mut seen = 0;
    let filters: [(Filter<BundleColumn>, u64); 3] = [
        (Filter::Compare(label(), Comparison::Equal, text("a7")), 20),
        (Filter::In(label(), vec![text("a7"), text("a8")]), 40),
        (
            Filter::Compare(Subject::Metadata("name"), Comparison::Equal, text("m7")),
            1,
        ),
    ];
    for (filter, expected) in filters {
        let query = Query {
            filter: Some(filter.clone()),
            order: Vec::new(),
            offset: 0,
            limit: 100,
        };
        let page = store.list_bundles(query, Parts::LISTED).await.unwrap();
        assert_eq!(page.total, expected);
        let rows: Vec<_> = page.rows.try_collect().await.unwrap();
        assert_eq!(rows.len() as u64, expected);
        let now = || place.sql(scans).parse::<i64>().unwrap();
        until(&format!("the index to serve {filter:?}"), async || {
            now() > seen
        })
        .await;
        seen = now();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statuses_that_a_bridge_of_the_version_before_stores_are_looked_into_by_those_that_know() {
    let place = Place::new();
    let store = place.open().await;
    progress::three(&store).await;
    assert!(progress::all_is_said(&store).await);
    let forget = progress::FORGET.replace("bundles", "bridge.bundles");
    place.sql(&forget);
    assert!(progress::nothing_is_said(&store).await);
    let another = place.open().await;
    until("everything to be said", async || {
        progress::all_is_said(&another).await
    })
    .await;
    assert!(progress::all_is_said(&store).await);
}
