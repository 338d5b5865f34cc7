//! Each change that somebody asked for is one line, also when it was refused before anybody looked at what it is for.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex, OnceLock};

use reqwest::Method;
use serde_json::{Value, json};
use server_bridge::callers::{Authorization, CallersConfig};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Dispatch, Event, Metadata, Subscriber};

use crate::bridge::{Bridge, Place, bundle};

/// Keeps the lines of the target `audit`.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    /// Takes the lines of this thread from now on.
    fn installed(&self) -> DefaultGuard {
        // Of a single subscriber tracing asks only in its own thread, and keeps the answer for all: whoever comes first to a
        // line decides whether anybody gets it.
        static SECOND: OnceLock<Dispatch> = OnceLock::new();
        SECOND.get_or_init(|| Dispatch::new(Self::default()));
        tracing::subscriber::set_default(self.clone())
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "audit"
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

const RULES: &str = "
rules:
- users: [olga]
  sources: ['*']
  consumers: ['*']
  verbs: ['*']
- users: [ann]
  sources: [maestro]
  consumers: [c1]
  verbs: [get, list]
- users: [eve]
  sources: ['*']
  consumers: [c2]
  verbs: [get, list, update, delete]
";

#[tokio::test]
async fn a_change_that_is_refused_anywhere_on_its_way_is_one_line() {
    let lines = Lines::default();
    let place = Place::new();
    let config = CallersConfig {
        authorization: Authorization::File(place.write("rules.yaml", RULES)),
        ..place.mutual()
    };
    let bridge = Bridge::start(&place, config).await;
    let client = |name: &str| place.client(&place.clients.client(name, None));
    let (olga, ann, eve) = (client("olga"), client("ann"), client("eve"));
    for name in ["c1", "c2"] {
        let made = bridge.post(&olga, "/consumers", json!({"name": name}));
        assert_eq!(made.await.0, 201);
    }
    let made = bridge.post(&olga, "/resource-bundles", bundle("b1", "c1"));
    assert_eq!(made.await.0, 201);
    let _installed = lines.installed();
    let change = json!({"version": 1});
    for (client, who, method, path, body, status, said) in [
        // Before the body is read.
        (
            &ann,
            "ann",
            Method::POST,
            "/resource-bundles",
            bundle("b2", "c1"),
            403,
            "verb=create kind=\"bundle\" id=\"\" ",
        ),
        (
            &ann,
            "ann",
            Method::DELETE,
            "/resource-bundles/b1",
            Value::Null,
            403,
            "verb=delete kind=\"bundle\" id=\"b1\" ",
        ),
        (
            &ann,
            "ann",
            Method::DELETE,
            "/consumers/c1?force=true&confirm=c1",
            Value::Null,
            403,
            "verb=delete kind=\"consumer\" id=\"c1\" ",
        ),
        // Answered as if it were not there.
        (
            &eve,
            "eve",
            Method::PATCH,
            "/resource-bundles/b1",
            change,
            404,
            "verb=update kind=\"bundle\" id=\"b1\" ",
        ),
        (
            &eve,
            "eve",
            Method::DELETE,
            "/consumers/c1",
            Value::Null,
            404,
            "verb=delete kind=\"consumer\" ",
        ),
    ] {
        let body = Some(body).filter(|body| !body.is_null());
        let answer = bridge.send(client, None, method, path, body).await;
        assert_eq!(answer.unwrap().0, status, "{path}");
        let told = lines.taken();
        assert_eq!(told.len(), 1, "{path}: {told:?}");
        for part in [said, &format!("who=\"{who}\" "), "outcome=\"refused\""] {
            assert!(told[0].contains(part), "{part}: {told:?}");
        }
    }
    // To read is no change, whatever comes of it.
    assert_eq!(bridge.get(&eve, "/resource-bundles/b1").await.0, 404);
    assert_eq!(lines.taken(), Vec::<String>::new());
}
