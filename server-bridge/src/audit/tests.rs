//! The lines are there whatever becomes of the caller or of the commit.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures_util::FutureExt as _;
use link::clock::Clock;
use link::id::ConsumerName;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

use super::*;
use crate::store::faulty::{Fault, Faulty};
use crate::store::sqlite::SqliteStore;
use crate::store::{Labels, NewConsumer};

/// Keeps what a log level would show of the target `audit`.
#[derive(Clone)]
pub(crate) struct Lines(Arc<Mutex<Vec<String>>>, Level);

/// As `--log-level warn`.
impl Default for Lines {
    fn default() -> Self {
        Self(Arc::default(), Level::WARN)
    }
}

impl Lines {
    /// As `--log-level info`.
    pub(crate) fn of_changes() -> Self {
        Self(Arc::default(), Level::INFO)
    }

    /// Takes the lines of this thread from now on.
    pub(crate) fn installed(&self) -> DefaultGuard {
        // Of a single subscriber tracing asks only in its own thread, and keeps the answer for all: whoever comes first to a
        // line decides whether anybody gets it.
        static SECOND: OnceLock<Dispatch> = OnceLock::new();
        SECOND.get_or_init(|| Dispatch::new(Self::default()));
        tracing::subscriber::set_default(self.clone())
    }

    pub(crate) fn taken(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    fn say(&self, text: &str) -> bool {
        let lines = self.0.lock().unwrap();
        lines.iter().any(|line| line.contains(text))
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.1 && metadata.target() == "audit"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{}={value:?} ", field.name()).unwrap();
    }
}

/// A store with a consumer, which its file outlives.
async fn store() -> (tempfile::TempDir, Faulty<SqliteStore>, Consumer) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bridge.db");
    let store = SqliteStore::open(&file);
    let store = Faulty::new(store.await.unwrap());
    let new = NewConsumer {
        id: "id".into(),
        name: ConsumerName::new("c1").unwrap(),
        labels: Labels::new(),
    };
    let made = store.create_consumer(new, Clock::system().now());
    let consumer = made.await.unwrap();
    (directory, store, consumer)
}

#[test]
fn a_change_is_one_line_that_says_who_what_whose_and_what_came_of_it() {
    let lines = Lines::of_changes();
    let caller = Caller {
        user: "ann\nbob by=certificate".into(),
        groups: vec!["ops".into()],
        from: ([10, 0, 0, 1], 7).into(),
        by: crate::callers::Mechanism::Token,
    };
    let change = Change {
        verb: Verb::Delete,
        kind: "bundle",
        id: "b1",
        source: Some(&SourceName::new("shop").unwrap()),
        consumer: Some(&ConsumerName::new("c1").unwrap()),
        operation: "op-1",
    };
    let _installed = lines.installed();
    changed(&caller, &change, Outcome::Refused("no outcome=\"done\""));
    changed(&caller, &change, Outcome::Done);
    let operation = &"o".repeat(60_000);
    changed(
        &caller,
        &Change {
            operation,
            ..change
        },
        Outcome::Done,
    );
    let told = lines.taken();
    assert_eq!(told.len(), 3, "{told:?}");
    for part in [
        r#"who="ann\\nbob by=certificate" "#,
        "by=token",
        "from=10.0.0.1:7",
        "verb=delete",
        "kind=\"bundle\"",
        "id=\"b1\"",
        "source=\"shop\"",
        "consumer=\"c1\"",
        "operation=\"op-1\"",
        "outcome=\"refused\"",
        r#"reason="no outcome=\"done\"""#,
    ] {
        assert!(told[0].contains(part), "{part}: {told:?}");
    }
    assert!(told[1].contains("outcome=\"done\""), "{told:?}");
    assert!(
        told[2].contains("operation=\"ooo") && told[2].len() < 600,
        "{told:?}"
    );
}

#[tokio::test]
async fn a_removal_whose_caller_goes_away_is_done_and_told_of() {
    let lines = Lines::default();
    let _installed = lines.installed();
    let (_directory, store, consumer) = store().await;
    let removing = remove_consumer(
        store.clone(),
        "peer".into(),
        consumer,
        None,
        Timestamp::UNIX_EPOCH,
    );
    // Its caller looks once, and goes.
    let done = removing.now_or_never();
    assert!(done.is_none(), "{done:?} before its caller went away");
    let told = async {
        while !lines.say("Removed a consumer") {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), told)
        .await
        .unwrap();
    assert_eq!(store.get_consumer("id").await.unwrap(), None);
    let lines = lines.taken();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].contains("Was asked to remove") && lines[0].contains("confirmed=true"),
        "{lines:?}"
    );
    for line in lines {
        assert!(line.contains("who=\"peer\"") && line.contains("consumer=c1"));
    }
}

#[tokio::test]
async fn a_removal_in_doubt_or_refused_is_told_of_as_such() {
    let lines = Lines::default();
    let _installed = lines.installed();
    let (_directory, store, consumer) = store().await;
    let doubt = StoreError::Unavailable {
        reason: "whether this write was kept is not known".into(),
    };
    let refusal = StoreError::ConsumerSeen {
        name: consumer.name.clone(),
        last_seen_at: None,
    };
    for (error, told) in [(doubt, "is not known"), (refusal, "Refused to remove")] {
        store.next("remove_consumer", 1, Fault::Error(error));
        let removing = remove_consumer(
            store.clone(),
            "peer".into(),
            consumer.clone(),
            None,
            Timestamp::UNIX_EPOCH,
        );
        removing.await.unwrap_err();
        let lines = lines.taken();
        assert!(
            lines[0].contains("Was asked") && lines[1].contains(told),
            "{lines:?}"
        );
    }
}
