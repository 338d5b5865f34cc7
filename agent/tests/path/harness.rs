//! An agent with a source of our own making at the other end of its border.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent::uplink::{Incoming, Subscription};
use agent::work::{Store, WorkId};
use link::bundle::Status;
use link::event::{Action, Event, Kind, SubResource, decode, encode};
use link::message::Message;
use link::order::{SequenceId, Version};
use link::supervise::TaskDied;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::PATIENCE;
use super::faults::Faulty;

mod fake_link;
mod halted;
mod specs;

use halted::Halted;
pub(crate) use specs::{config_map, consumer, delete, upsert};

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
