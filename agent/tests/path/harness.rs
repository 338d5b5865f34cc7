//! An agent with a source of our own making at the other end of its border.

// Long because every part of the border is faked in one place.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent::app::AgentConfig;
use agent::applier::directory::Directory;
use agent::health::Health;
use agent::intake::Rules;
use agent::metrics::Metrics;
use agent::self_report::About;
use agent::uplink::{Downlink, Incoming, PublishFailure, Published, Subscription, Uplink};
use agent::work::{Files, Store, WorkId};
use jiff::Timestamp;
use link::bundle::Status;
use link::clock::Clock;
use link::event::agent_report::AgentTarget;
use link::event::{Action, Event, Kind, SubResource, decode, encode};
use link::id::ConsumerName;
use link::message::Message;
use link::order::{SequenceId, Version};
use link::supervise::{Restarts, TaskDied};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::PATIENCE;
use super::faults::{Faulty, Slow};

pub(crate) struct Harness {
    dir: tempfile::TempDir,
    release: Duration,
    pub(crate) store: Faulty,
    health: Arc<Mutex<Result<(), String>>>,
    registry: prometheus::Registry,
    deliveries: mpsc::Sender<Incoming>,
    published: mpsc::Receiver<Message>,
    subscription: watch::Sender<Subscription>,
    acks: Arc<AtomicUsize>,
    sequences: HashMap<String, SequenceId>,
    statuses: usize,
    drain: CancellationToken,
    task: JoinHandle<Result<(), TaskDied>>,
    requests: usize,
    panics: Arc<AtomicBool>,
    deaf: Arc<AtomicBool>,
    unheard: Arc<AtomicUsize>,
    denied: Arc<AtomicBool>,
    resync: Arc<Mutex<Result<(), String>>>,
}

pub(crate) struct Halted {
    dir: tempfile::TempDir,
    release: Duration,
}

struct Down(mpsc::Receiver<Incoming>);

#[derive(Clone)]
struct Up {
    published: mpsc::Sender<Message>,
    subscription: watch::Receiver<Subscription>,
    // Panics once when a resync request is to be sent.
    panics: Arc<AtomicBool>,
    // Nobody is subscribed: what is published is counted and lost.
    deaf: Arc<AtomicBool>,
    unheard: Arc<AtomicUsize>,
    // Resync requests are not authorized.
    denied: Arc<AtomicBool>,
}

impl Downlink for Down {
    async fn recv(&mut self) -> Option<Incoming> {
        self.0.recv().await
    }
}

impl Uplink for Up {
    async fn publish(&self, message: Message) -> Result<Published, PublishFailure> {
        let offline = || PublishFailure {
            message: "offline".into(),
            retryable: true,
        };
        if !self.subscription.borrow().active {
            return Err(offline());
        }
        let asks =
            decode(&message).is_ok_and(|event| event.kind == Kind::spec(Action::ResyncRequest));
        if asks && self.panics.swap(false, Ordering::SeqCst) {
            panic!("an uplink fails on purpose");
        }
        if asks && self.denied.load(Ordering::SeqCst) {
            return Err(PublishFailure {
                message: "not authorized".into(),
                retryable: false,
            });
        }
        if self.deaf.load(Ordering::SeqCst) {
            self.unheard.fetch_add(1, Ordering::SeqCst);
            return Ok(Published { matched: false });
        }
        self.published.send(message).await.map_err(|_| offline())?;
        Ok(Published { matched: true })
    }

    fn subscription(&self) -> watch::Receiver<Subscription> {
        self.subscription.clone()
    }
}

impl Harness {
    pub(crate) async fn start() -> Self {
        Self::start_slow(Duration::ZERO).await
    }

    /// With a target that takes so long to remove an object.
    pub(crate) async fn start_slow(release: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Halted { dir, release }.resume(true).await
    }

    pub(crate) async fn send(&self, event: Event) {
        let message = encode(&event, "maestro/consumers/cluster1/sourceevents");
        self.deliver(message).await;
    }

    pub(crate) async fn send_raw(&self, topic: &str, payload: &'static [u8]) {
        self.deliver(Message::new(topic, payload)).await;
    }

    async fn deliver(&self, message: Message) {
        let acks = Arc::clone(&self.acks);
        let incoming = Incoming::new(message, move || {
            acks.fetch_add(1, Ordering::SeqCst);
        });
        self.deliveries.send(incoming).await.unwrap();
    }

    /// The next event the agent publishes, with the check that sequence ids rise per work.
    pub(crate) async fn next(&mut self) -> Event {
        let message = tokio::time::timeout(PATIENCE, self.published.recv())
            .await
            .expect("the agent published nothing in time")
            .unwrap();
        assert_eq!(message.topic, "maestro/consumers/cluster1/agentevents");
        self.note(&message)
    }

    /// The next event within this time, if there is one.
    pub(crate) async fn next_within(&mut self, time: Duration) -> Option<Event> {
        let received = tokio::time::timeout(time, self.published.recv()).await;
        received.ok().map(|message| self.note(&message.unwrap()))
    }

    fn note(&mut self, message: &Message) -> Event {
        let event = decode(message).unwrap();
        if let (Some(id), Some(sequence)) = (&event.resource_id, event.sequence_id) {
            let last = self.sequences.insert(id.clone(), sequence);
            assert_eq!(sequence.is_newer_than(last), Ok(true));
            self.statuses += 1;
        }
        if event.kind == Kind::spec(Action::ResyncRequest) {
            self.requests += 1;
        }
        event
    }

    /// Spec resync requests that were sent.
    pub(crate) fn requests(&self) -> usize {
        self.requests
    }

    /// What readiness says of the store.
    pub(crate) fn store_health(&self) -> Result<(), String> {
        self.health.lock().unwrap().clone()
    }

    /// Tasks that were made again, with how often.
    pub(crate) fn restarts(&self) -> Vec<String> {
        let families = self.registry.gather();
        let metrics = families.iter().flat_map(|family| family.get_metric());
        metrics
            .map(|metric| {
                let count = metric.get_counter().get_value();
                format!("{} {count}", metric.get_label()[0].value())
            })
            .collect()
    }

    /// Lets time pass and takes what is published meanwhile.
    pub(crate) async fn pass(&mut self, time: Duration) {
        let until = tokio::time::Instant::now() + time;
        while let Ok(message) = tokio::time::timeout_at(until, self.published.recv()).await {
            let message = message.unwrap();
            self.note(&message);
        }
    }

    /// The next resync request panics.
    pub(crate) fn panic_at_resync(&self) {
        self.panics.store(true, Ordering::SeqCst);
    }

    /// From now on the broker refuses resync requests, or takes them again.
    pub(crate) fn deny_resync(&self, denied: bool) {
        self.denied.store(denied, Ordering::SeqCst);
    }

    /// What readiness says of resync requests.
    pub(crate) fn resync_health(&self) -> Result<(), String> {
        self.resync.lock().unwrap().clone()
    }

    /// From now on nobody is subscribed to what the agent says, or somebody is again.
    pub(crate) fn deaf(&self, deaf: bool) {
        self.deaf.store(deaf, Ordering::SeqCst);
    }

    /// How much was published while nobody was subscribed.
    pub(crate) fn unheard(&self) -> usize {
        self.unheard.load(Ordering::SeqCst)
    }

    /// How the agent ended by itself.
    pub(crate) async fn ended(self) -> Result<(), TaskDied> {
        drop(self.published);
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .unwrap()
            .unwrap()
    }

    pub(crate) async fn status(
        &mut self,
        id: &str,
        wanted: impl Fn(&Status) -> bool,
    ) -> (Event, Status) {
        loop {
            let event = self.next().await;
            if event.kind.sub_resource != SubResource::Status
                || event.resource_id.as_deref() != Some(id)
            {
                continue;
            }
            let status: Status = serde_json::from_slice(event.data_bytes()).unwrap();
            if wanted(&status) {
                return (event, status);
            }
        }
    }

    pub(crate) async fn resync_request(&mut self) -> Event {
        loop {
            let event = self.next().await;
            if event.kind == Kind::spec(Action::ResyncRequest) {
                return event;
            }
        }
    }

    pub(crate) async fn until(&mut self, condition: impl Fn(&Self) -> bool) {
        self.until_within(PATIENCE, condition).await;
    }

    pub(crate) async fn until_within(
        &mut self,
        patience: Duration,
        condition: impl Fn(&Self) -> bool,
    ) {
        let deadline = tokio::time::Instant::now() + patience;
        while !condition(self) {
            assert!(
                tokio::time::Instant::now() < deadline,
                "the condition did not come true in time"
            );
            // What is published meanwhile must not fill the channel.
            if let Ok(message) = self.published.try_recv() {
                self.note(&message);
            } else {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    }

    pub(crate) fn offline(&self) {
        self.subscription.send_modify(|now| now.active = false);
    }

    pub(crate) fn reconnect(&self) {
        self.subscription.send_modify(|now| {
            now.active = true;
            now.generation += 1;
        });
    }

    pub(crate) fn acks(&self) -> usize {
        self.acks.load(Ordering::SeqCst)
    }

    pub(crate) fn held(&self) -> Vec<WorkId> {
        self.store
            .index()
            .entries()
            .into_iter()
            .map(|(id, _)| id)
            .collect()
    }

    pub(crate) fn acknowledged(&self, id: &str) -> bool {
        self.store
            .index()
            .entry(&id.into())
            .is_some_and(|entry| entry.acknowledged)
    }

    pub(crate) fn status_version(&self, id: &str) -> Option<Version> {
        let record = self.store.files.status(&id.into()).unwrap();
        record.map(|record| record.version)
    }

    pub(crate) fn published_statuses(&self) -> usize {
        self.statuses
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub(crate) fn target(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    pub(crate) fn files(&self) -> Vec<(String, Value)> {
        let mut files = Vec::new();
        walk(&self.target(), "", &mut files);
        files.sort_by(|a, b| a.0.cmp(&b.0));
        files
    }

    pub(crate) async fn halt(self) -> Halted {
        self.drain.cancel();
        drop(self.published);
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        Halted {
            dir: self.dir,
            release: self.release,
        }
    }

    pub(crate) async fn restart(self) -> Self {
        self.halt().await.resume(true).await
    }

    pub(crate) async fn stop(self) {
        self.halt().await;
    }
}

impl Halted {
    pub(crate) async fn resume(self, active: bool) -> Harness {
        let Self { dir, release } = self;
        let store = Faulty::new(Files::open(&dir.path().join("state")).unwrap().store);
        let records = dir.path().join("state/ownership");
        let directory = Directory::open(
            &dir.path().join("out"),
            &records,
            Duration::from_millis(200),
        )
        .unwrap();
        let applier = Slow { directory, release };
        let registry = prometheus::Registry::new();
        let panics = Arc::new(AtomicBool::new(false));
        let (deaf, unheard) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let denied = Arc::<AtomicBool>::default();
        let health = Arc::new(Mutex::new(Ok(())));
        let resync = Arc::new(Mutex::new(Ok(())));
        let (deliveries, incoming) = mpsc::channel(256);
        let (sender, published) = mpsc::channel(1024);
        let (subscription, receiver) = watch::channel(Subscription {
            generation: 1,
            active,
        });
        let config = AgentConfig {
            rules: Rules {
                consumer: consumer(),
                sources: None,
            },
            agent: "cluster1-work-agent".into(),
            agent_topic: "maestro/consumers/cluster1/agentevents".into(),
            resync_topic: "maestro/consumers/cluster1/agentevents".into(),
            consumer_of: Box::new(|topic| ConsumerName::new(topic.split('/').nth(2)?).ok()),
            paused: None,
            period: Duration::from_secs(240),
            max_raw_bytes: 1 << 20,
            max_status_bytes: 120_000,
            on_trouble: Box::new(|_, _, _| {}),
            store_health: Health::new({
                let health = Arc::clone(&health);
                move |state| *health.lock().unwrap() = state
            }),
            target_health: Health::ignored(),
            resync_health: Health::new({
                let resync = Arc::clone(&resync);
                move |state| *resync.lock().unwrap() = state
            }),
            metrics: Metrics::register(&prometheus::Registry::new()).unwrap(),
            about: About::new(AgentTarget::Directory, Clock::system().now()),
            restarts: Restarts::register(&registry).unwrap(),
            clock: Clock::system(),
        };
        let drain = CancellationToken::new();
        let agent = config.build(
            store.clone(),
            applier,
            Down(incoming),
            Up {
                published: sender,
                subscription: receiver,
                panics: Arc::clone(&panics),
                deaf: Arc::clone(&deaf),
                unheard: Arc::clone(&unheard),
                denied: Arc::clone(&denied),
            },
        );
        let task = tokio::spawn(agent.run(drain.clone()));
        Harness {
            dir,
            release,
            store,
            health,
            registry,
            deliveries,
            published,
            subscription,
            acks: Arc::default(),
            sequences: HashMap::new(),
            statuses: 0,
            drain,
            task,
            requests: 0,
            panics,
            deaf,
            unheard,
            denied,
            resync,
        }
    }
}

fn walk(dir: &Path, prefix: &str, files: &mut Vec<(String, Value)>) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().into_string().unwrap();
        if name == ".agent-tmp" {
            continue;
        }
        if entry.path().is_dir() {
            walk(&entry.path(), &format!("{prefix}{name}/"), files);
        } else if let Ok(text) = std::fs::read_to_string(entry.path()) {
            files.push((
                format!("{prefix}{name}"),
                serde_saphyr::from_str(&text).unwrap(),
            ));
        }
    }
}

pub(crate) fn consumer() -> ConsumerName {
    ConsumerName::new("cluster1").unwrap()
}

pub(crate) fn config_map(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "d"}, "data": {"v": value}})
}

pub(crate) fn upsert(id: &str, version: i64, manifests: &[Value]) -> Event {
    Event::new(
        "maestro",
        Kind::spec(Action::Update),
        &consumer(),
        Timestamp::UNIX_EPOCH,
    )
    .about(id, Version::new(version).unwrap())
    .with_data(json!({"manifests": manifests}).to_string().into_bytes())
}

pub(crate) fn delete(id: &str, version: Option<i64>) -> Event {
    let mut event = Event::new(
        "maestro",
        Kind::spec(Action::Delete),
        &consumer(),
        Timestamp::UNIX_EPOCH,
    );
    event.resource_id = Some(id.into());
    event.resource_version = version.and_then(Version::new);
    event.deletion_timestamp = Some(Timestamp::UNIX_EPOCH);
    event
}
