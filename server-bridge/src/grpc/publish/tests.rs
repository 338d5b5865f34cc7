//! What a source may do with bundles, against a real store that fails where a test says.

use jiff::Timestamp;
use link::event::{Action as EventAction, Kind};
use link::id::SourceId;
use link::topic::Scheme;
use serde_json::{Value, json};
use std::net::SocketAddr;

use super::*;
use crate::audit::tests::Lines;
use crate::store::faulty::{Fault, Faulty};
use crate::store::sqlite::SqliteStore;
use crate::store::{Labels, NewConsumer};

struct Source {
    publisher: Publisher<Faulty<SqliteStore>>,
    name: &'static str,
}

fn now() -> Timestamp {
    "2026-08-01T10:00:00Z".parse().unwrap()
}

async fn source(directory: &tempfile::TempDir) -> Source {
    let store = SqliteStore::open(directory.path().join("bridge.db")).await;
    let store = Faulty::new(store.unwrap());
    for name in ["c1", "c2"] {
        let new = NewConsumer {
            id: name.into(),
            name: ConsumerName::new(name).unwrap(),
            labels: Labels::default(),
        };
        store.create_consumer(new, now()).await.unwrap();
    }
    Source {
        publisher: Publisher {
            store,
            clock: Clock::fixed(now()),
            limits: BundleLimits::default(),
            envelope: Arc::new(Envelope {
                source: SourceId::new("maestro").unwrap(),
                scheme: Scheme::default(),
            }),
            access: Access::open(),
            hub: Hub::default(),
        },
        name: "a",
    }
}

fn config_map(data: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "d"}, "data": {"k": data}})
}

// === impl Source ===

impl Source {
    fn named(&self, name: &'static str) -> Self {
        Self {
            publisher: self.publisher.clone(),
            name,
        }
    }

    fn event(&self, action: EventAction, version: i64, data: &str) -> Event {
        let consumer = ConsumerName::new("c1").unwrap();
        let event = Event::new(self.name, Kind::spec(action), &consumer, now());
        let mut event = event.about("b1", Version::new(version).unwrap());
        event.metadata = Some(r#"{"name":"w1","namespace":"c1"}"#.into());
        if action != EventAction::Delete {
            let data = json!({"manifests": [config_map(data)]}).to_string();
            event = event.with_data(data);
        }
        event
    }

    async fn publish(&self, event: Event) -> Result<(), String> {
        let caller = Caller::unknown(SocketAddr::from(([127, 0, 0, 1], 1)));
        let mut known = None;
        let granted = |source| {
            known = Some(source);
            Ok(())
        };
        let done = self.publisher.publish(&caller, event, granted).await;
        assert_eq!(known.as_ref().map(SourceName::as_str), Some(self.name));
        done.map_err(|refusal| format!("{:?}: {}", refusal.reason(), refusal.message()))
    }

    async fn create(&self, data: &str) -> Result<(), String> {
        self.publish(self.event(EventAction::Create, 0, data)).await
    }

    async fn update(&self, version: i64, data: &str) -> Result<(), String> {
        self.publish(self.event(EventAction::Update, version, data))
            .await
    }

    async fn delete(&self) -> Result<(), String> {
        self.publish(self.event(EventAction::Delete, 0, "")).await
    }

    async fn stored(&self) -> Bundle {
        let stored = self.publisher.store.sound().get_bundle("b1").await;
        stored.unwrap().unwrap()
    }
}

#[tokio::test]
async fn a_repeated_creation_succeeds_and_another_one_of_the_same_id_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let source = source(&directory).await;
    source.create("1").await.unwrap();
    source.create("1").await.unwrap();
    let stored = source.stored().await;
    assert_eq!(
        (stored.version, stored.name.as_str()),
        (Version::FIRST, "b1")
    );
    assert_eq!(stored.source.as_str(), "a");
    assert!(stored.origin.is_some());
    let mut elsewhere = source.event(EventAction::Create, 0, "1");
    elsewhere.cluster_name = Some("c2".into());
    let other = source.named("b").create("1").await;
    let told = [
        source.create("2").await,
        source.publish(elsewhere).await,
        other,
    ];
    let told: Vec<String> = told.into_iter().map(Result::unwrap_err).collect();
    insta::assert_snapshot!(told.join("\n"), @r"
AlreadyExists: resource bundle `b1` already exists with another content
AlreadyExists: resource bundle `b1` already exists with another content
AlreadyExists: resource bundle `b1` already exists
");
    source.delete().await.unwrap();
    insta::assert_snapshot!(source.create("1").await.unwrap_err(), @"AlreadyExists: resource bundle `b1` already exists; it is being deleted, and can be made anew once its agent has confirmed that");
}

#[tokio::test]
async fn an_update_starts_from_the_latest_version_or_is_told_which_that_is() {
    let directory = tempfile::tempdir().unwrap();
    let source = source(&directory).await;
    insta::assert_snapshot!(source.update(0, "1").await.unwrap_err(), @"NotFound: resource bundle `b1` does not exist");
    source.create("1").await.unwrap();
    source.update(0, "2").await.unwrap();
    source.update(2, "3").await.unwrap();
    assert_eq!(source.stored().await.version, Version::new(3).unwrap());
    insta::assert_snapshot!(source.update(2, "4").await.unwrap_err(), @"Conflict: the resource version is not the latest, the latest version: 3");
    let mut elsewhere = source.event(EventAction::Update, 0, "4");
    elsewhere.cluster_name = Some("c2".into());
    insta::assert_snapshot!(source.publish(elsewhere).await.unwrap_err(), @"Invalid: clustername: cannot be changed, resource bundle `b1` is for `c1`");
    source.delete().await.unwrap();
    insta::assert_snapshot!(source.update(3, "4").await.unwrap_err(), @"Conflict: the resource is under deletion, id: b1");
}

#[tokio::test]
async fn anothers_bundle_is_neither_changed_nor_deleted_nor_known() {
    let directory = tempfile::tempdir().unwrap();
    let source = source(&directory).await;
    source.create("1").await.unwrap();
    let before = source.stored().await;
    let other = source.named("b");
    insta::assert_snapshot!(other.update(0, "2").await.unwrap_err(), @"NotFound: resource bundle `b1` does not exist");
    other.delete().await.unwrap();
    assert_eq!(source.stored().await, before);
    // What is not there is as good as deleted.
    source.delete().await.unwrap();
    source.delete().await.unwrap();
    assert!(source.stored().await.deleted_at.is_some());
}

#[tokio::test]
async fn what_cannot_be_stored_is_refused_in_words_that_users_look_for() {
    let directory = tempfile::tempdir().unwrap();
    let source = source(&directory).await;
    let mut nowhere = source.event(EventAction::Create, 0, "1");
    nowhere.cluster_name = Some("c3".into());
    let told = source.publish(nowhere).await.unwrap_err();
    assert!(told.contains("fk_resources_consumers"), "{told}");
    let empty = source.event(EventAction::Create, 0, "1");
    let empty = empty.with_data("{\"manifests\":[]}");
    let refused = source.publish(empty).await.unwrap_err();
    insta::assert_snapshot!(refused, @"Invalid: manifests: must hold at least one manifest");
    // What travels again is measured too.
    let mut long = source.event(EventAction::Create, 0, "1");
    long.extensions = [("long".to_owned(), "x".repeat(65_536))].into();
    let refused = source.publish(long).await.unwrap_err();
    assert!(refused.starts_with("Invalid: "), "{refused}");
}

#[tokio::test]
async fn data_that_cannot_be_read_is_a_line_of_the_audit_log_too() {
    let lines = Lines::of_changes();
    let _installed = lines.installed();
    let directory = tempfile::tempdir().unwrap();
    let source = source(&directory).await;
    let unreadable = source.event(EventAction::Create, 0, "1").with_data("{");
    source.publish(unreadable).await.unwrap_err();
    let told = lines.taken();
    assert_eq!(told.len(), 1, "{told:?}");
    for part in ["id=\"b1\"", "outcome=\"refused\"", "reason=\"data"] {
        assert!(told[0].contains(part), "{part}: {told:?}");
    }
}

#[tokio::test]
async fn a_short_failure_of_the_store_is_waited_for_and_a_long_one_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let source = source(&directory).await;
    let away = || {
        Fault::Error(StoreError::Unavailable {
            reason: "away".into(),
        })
    };
    let store = source.publisher.store.clone();
    store.next("create_bundle", 3, away());
    source.create("1").await.unwrap();
    assert_eq!(store.calls("create_bundle"), 4);
    store.every(Some(away()));
    // From here on nothing but time passes.
    tokio::time::pause();
    let began = Instant::now();
    let told = source.update(0, "2").await.unwrap_err();
    assert!(told.starts_with("Unavailable: "), "{told}");
    assert!(began.elapsed() <= PATIENCE);
    assert!(began.elapsed() >= PATIENCE - LONGEST_PAUSE);
    tokio::time::resume();
    store.every(None);
    store.next("create_bundle", 1, Fault::Panic);
    let told = source.create("1").await.unwrap_err();
    insta::assert_snapshot!(told, @"Internal: the server failed on this call");
}
