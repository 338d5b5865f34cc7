//! Says at a ManifestWork what is wrong with its objects, as Kubernetes Events that `kubectl describe` shows.
//!
//! Recording never waits; what exceeds the limit is dropped and counted. The same trouble with the same object is one
//! event whose count rises (`series`); all together stay below one request a second. An agent without the right to
//! write events logs that once and then stops.
//!
//! kube's own `Recorder` does not replace it: it makes a request for each occurrence, bounds neither their rate nor
//! its cache, and goes on patching an event that somebody deleted until its entry expires.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Resource as _};
use link::bundle::manifest::ObjectRef;
use link::clock::Clock;
use link::supervise::{Restarts, restarting};
use prometheus::{IntCounter, Registry};
use serde_json::json;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};
use uuid::Uuid;

use crate::applier::{ApplierError, ApplierErrorKind, FIELD_MANAGER, OnTrouble};
use crate::cluster::{Bucket, Cluster, error_message};
use crate::crd::ManifestWork;
use crate::work_id::{WorkId, object_name};

use self::series::{SeriesAction, SeriesTable, Topic};

mod series;

/// Takes troubles and writes events of them. Clones share it; it ends with the last one.
#[derive(Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Trouble>,
    dropped: IntCounter,
    _writer: Arc<AbortOnDropHandle<()>>,
}

#[derive(Debug)]
struct Trouble {
    topic: Topic,
    note: String,
}

/// Writes the events.
struct EventWriter {
    events: Api<Event>,
    works: Api<ManifestWork>,
    namespace: String,
    consumer: String,
    clock: Clock,
    bucket: Bucket,
    series: SeriesTable,
    dropped: IntCounter,
}

/// The agent may not write events.
struct Forbidden;

// === impl Recorder ===

impl Recorder {
    /// Starts writing events into the namespace of the cluster's works.
    ///
    /// # Errors
    /// When the metrics are registered already.
    pub fn start(
        cluster: &Cluster,
        registry: &Registry,
        restarts: &Restarts,
        clock: Clock,
    ) -> Result<Self, prometheus::Error> {
        let dropped = IntCounter::new(
            "agent_kubernetes_events_dropped_total",
            "Kubernetes Events that were not written because there were too many",
        )?;
        registry.register(Box::new(dropped.clone()))?;
        let (queue, troubles) = mpsc::channel(QUEUE);
        let writer = EventWriter {
            events: Api::namespaced(cluster.client.clone(), &cluster.namespace),
            works: Api::namespaced(cluster.client.clone(), &cluster.namespace),
            namespace: cluster.namespace.clone(),
            consumer: cluster.consumer.clone(),
            clock,
            bucket: Bucket::full(PER_SECOND, BURST, Instant::now()),
            series: SeriesTable::default(),
            dropped: dropped.clone(),
        };
        let shared = Arc::new(Mutex::new((writer, troubles)));
        let restarts = restarts.clone();
        let writer = tokio::spawn(async move {
            let write = || {
                let shared = Arc::clone(&shared);
                async move {
                    let mut shared = shared.lock().await;
                    let (writer, troubles) = &mut *shared;
                    writer.write(troubles).await;
                }
            };
            // Until it is aborted.
            restarting("events", &restarts, &CancellationToken::new(), write).await;
        });
        Ok(Self {
            queue,
            dropped,
            _writer: Arc::new(AbortOnDropHandle::new(writer)),
        })
    }

    /// Records that an object of a work could not be brought to what the work says. Returns at once.
    pub fn trouble(&self, work: &WorkId, object: &ObjectRef, error: &ApplierError) {
        let trouble = Trouble {
            topic: Topic {
                work: object_name(work),
                object: object.clone(),
                reason: reason(&error.kind),
            },
            note: note(&error.message),
        };
        match self.queue.try_send(trouble) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => self.dropped.inc(),
            // The agent may not write events; that was logged.
            Err(mpsc::error::TrySendError::Closed(_)) => {}
        }
    }

    /// The same as what reconciles tell of troubles.
    pub fn on_trouble(&self) -> OnTrouble {
        let recorder = self.clone();
        Box::new(move |work, object, error| recorder.trouble(work, object, error))
    }
}

// === impl EventWriter ===

impl EventWriter {
    /// Never returns; once no trouble can come any more, or none may be written, it does nothing.
    async fn write(&mut self, troubles: &mut mpsc::Receiver<Trouble>) {
        loop {
            let due = self.series.next_due();
            let outcome = tokio::select! {
                trouble = troubles.recv() => match trouble {
                    Some(trouble) => self.take(trouble).await,
                    None => return std::future::pending().await,
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.catch_up().await
                }
            };
            if let Err(Forbidden) = outcome {
                warn!(
                    namespace = %self.namespace,
                    "The agent may not write events, so troubles stand in statuses and in this log only; \
                     `agent permissions` prints the role that allows it"
                );
                troubles.close();
                return std::future::pending().await;
            }
        }
    }

    async fn take(&mut self, trouble: Trouble) -> Result<(), Forbidden> {
        match self.series.note(&trouble.topic, Instant::now()) {
            SeriesAction::Begin => self.begin(trouble).await,
            SeriesAction::Later => Ok(()),
            SeriesAction::Now => self.catch_up().await,
        }
    }

    async fn begin(&mut self, trouble: Trouble) -> Result<(), Forbidden> {
        if self.bucket.take(Instant::now()).is_some() {
            self.dropped.inc();
            return Ok(());
        }
        let Trouble { topic, note } = trouble;
        // `kubectl describe` looks for events by the uid too.
        let uid = match self.works.get_metadata(&topic.work).await {
            Ok(work) => work.metadata.uid,
            Err(error) => {
                debug!(work = %topic.work, error = %error_message(&error), "No uid for an event");
                None
            }
        };
        let event = self.event(&topic, note, uid);
        match self.events.create(&PostParams::default(), &event).await {
            Ok(event) => {
                let name = event.metadata.name.unwrap_or_default();
                self.series.begun(topic, name, Instant::now());
                Ok(())
            }
            Err(error) => self.failed(&error),
        }
    }

    /// Writes the counts that are due.
    async fn catch_up(&mut self) -> Result<(), Forbidden> {
        while let Some((topic, name, count)) = self.series.due(Instant::now()) {
            if let Some(until) = self.bucket.take(Instant::now()) {
                self.series.postpone(&topic, until);
                continue;
            }
            let patch = json!({ "series": {
                "count": count,
                "lastObservedTime": MicroTime(self.clock.now()),
            }});
            let params = PatchParams::default();
            match self
                .events
                .patch(&name, &params, &Patch::Merge(patch))
                .await
            {
                Ok(_) => self.series.written(&topic, count, Instant::now()),
                Err(error) => {
                    // Events live for an hour: the next trouble begins another one.
                    self.series.forget(&topic);
                    self.failed(&error)?;
                }
            }
        }
        Ok(())
    }

    fn failed(&self, error: &kube::Error) -> Result<(), Forbidden> {
        match error {
            // A namespace that is going refuses like this too, and then there is nothing to say any more.
            kube::Error::Api(status) if status.is_forbidden() => Err(Forbidden),
            error => {
                debug!(error = %error_message(error), "Cannot write an event");
                Ok(())
            }
        }
    }

    fn event(&self, topic: &Topic, note: String, uid: Option<String>) -> Event {
        let unique = Uuid::new_v4().simple().to_string();
        let prefix: String = topic.work.chars().take(PREFIX).collect();
        let prefix = prefix.trim_end_matches(['-', '.']);
        let object = &topic.object;
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Event {
            metadata: ObjectMeta {
                name: Some(format!("{prefix}.{}", &unique[..16])),
                namespace: Some(self.namespace.clone()),
                ..ObjectMeta::default()
            },
            type_: Some("Warning".into()),
            reason: Some(topic.reason.into()),
            action: Some(ACTION.into()),
            note: Some(note),
            event_time: Some(MicroTime(self.clock.now())),
            reporting_controller: Some(FIELD_MANAGER.into()),
            reporting_instance: Some(self.consumer.clone()),
            regarding: Some(ObjectReference {
                api_version: Some(ManifestWork::api_version(&()).into_owned()),
                kind: Some(ManifestWork::kind(&()).into_owned()),
                namespace: Some(self.namespace.clone()),
                name: Some(topic.work.clone()),
                uid,
                ..ObjectReference::default()
            }),
            related: Some(ObjectReference {
                api_version: Some(match object.group.as_str() {
                    "" => object.version.clone(),
                    group => format!("{group}/{}", object.version),
                }),
                kind: text(&object.kind),
                namespace: text(&object.namespace),
                name: text(&object.name),
                ..ObjectReference::default()
            }),
            ..Event::default()
        }
    }
}

/// The reason of the event for each kind of trouble.
fn reason(kind: &ApplierErrorKind) -> &'static str {
    match kind {
        ApplierErrorKind::Conflict { .. } => "Conflict",
        ApplierErrorKind::Forbidden => "AgentForbidden",
        ApplierErrorKind::NotAllowed => "ExecutorNotAllowed",
        ApplierErrorKind::UnknownKind => "UnknownKind",
        ApplierErrorKind::Refused => "Refused",
        ApplierErrorKind::Invalid => "Invalid",
        ApplierErrorKind::IgnoreFields => "IgnoreFieldsUnusable",
        ApplierErrorKind::NoNamespace => "NamespaceMissing",
        ApplierErrorKind::Unavailable => "Unavailable",
    }
}

/// As much as an event takes.
fn note(message: &str) -> String {
    if message.len() <= NOTE {
        return message.to_owned();
    }
    let end = message.floor_char_boundary(NOTE - '…'.len_utf8());
    format!("{}…", &message[..end])
}

const ACTION: &str = "Reconcile";

// What the API server allows, in bytes.
const NOTE: usize = 1024;

// A name may have 253 characters, 17 of which make it unique.
const PREFIX: usize = 200;

// Troubles that wait while one event is written: as many as fail at once when the objects of 50 works lose a right.
const QUEUE: usize = 256;

const PER_SECOND: f64 = 1.0;
const BURST: u32 = 25;

/// How long the same trouble is one event.
const WINDOW: Duration = Duration::from_secs(600);
/// How often the count of an event is written at the most.
const PACE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use kube::client::Body;
    use tower::service_fn;

    use super::*;

    #[test]
    fn note_is_cut_between_characters() {
        assert_eq!(note("short"), "short");
        let long = note(&"ü".repeat(600));
        assert!(long.len() <= NOTE && long.ends_with('…'), "{}", long.len());
    }

    #[tokio::test(start_paused = true)]
    async fn a_writer_that_dies_is_made_again_and_counted() {
        // A server that says no to everything but a missing right, which would end the writing.
        let asked = Arc::new(AtomicU32::new(0));
        let service = service_fn({
            let asked = Arc::clone(&asked);
            move |_: http::Request<Body>| {
                asked.fetch_add(1, Ordering::SeqCst);
                let answer = http::Response::builder().status(500);
                std::future::ready(answer.body(Body::empty()))
            }
        });
        let cluster = Cluster::of_client(kube::Client::new(service, "agent"));
        let panics = AtomicBool::new(true);
        let clock = Clock::from_fn(move || {
            assert!(
                !panics.swap(false, Ordering::SeqCst),
                "a clock fails on purpose"
            );
            jiff::Timestamp::UNIX_EPOCH
        });
        let registry = Registry::new();
        let restarts = Restarts::register(&registry).unwrap();
        let recorder = Recorder::start(&cluster, &Registry::new(), &restarts, clock).unwrap();
        let error = ApplierError {
            kind: ApplierErrorKind::Forbidden,
            message: "no".into(),
        };
        let mut told = 0;
        // One request for the uid and, when it does not die before, one for the event.
        while asked.load(Ordering::SeqCst) < 3 {
            told += 1;
            assert!(told < 10, "nobody writes any more");
            recorder.trouble(&format!("w{told}").into(), &ObjectRef::default(), &error);
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        let families = registry.gather();
        let restarts = families[0].get_metric()[0].get_counter().get_value();
        assert!((restarts - 1.0).abs() < f64::EPSILON, "{restarts}");
    }
}
