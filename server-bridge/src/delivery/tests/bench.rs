//! What the tests of delivery stand on: a real database with faults before it, a session that keeps what it is given,
//! and an agent's side that counts acks.

// Long because nearly every test of delivery needs all of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use link::admin::Checks;
use link::clock::Clock;
use link::event::{Action, Event, Kind, decode, encode};
use link::id::{ConsumerName, SourceId};
use link::message::Message;
use link::mqtt::{Ack, PublishError, State};
use link::order::{SequenceId, Version};
use link::supervise::Restarts;
use link::topic::Scheme;
use prometheus::Registry;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::delivery::transport::{Incoming, Intake, Outlet, Receipt};
use crate::delivery::{DeliveryConfig, Pool, Signs};
use crate::replicas::Ownership;
use crate::store::faulty::Faulty;
use crate::store::sqlite::SqliteStore;
use crate::store::{Content, Json, Labels, NewBundle, NewConsumer, SourceName, Store};

pub(super) type Answer = Box<dyn Fn(&Message) -> Result<Ack, PublishError> + Send>;

/// Delivery that runs, and everything around it.
pub(super) struct Bench {
    pub(super) store: Faulty<SqliteStore>,
    pub(super) checks: Checks,
    pub(super) registry: Registry,
    pub(super) broker: Broker,
    pub(super) state: watch::Sender<State>,
    /// What the sessions after the first one are doing.
    pub(super) others: Vec<watch::Sender<State>>,
    /// Whether all sessions share the subscription.
    pub(super) shared: bool,
    /// What is this process's to send.
    pub(super) ownership: Ownership,
    /// The next wait for a message panics.
    pub(super) recv_panics: Arc<AtomicBool>,
    acked: Arc<Mutex<Vec<u32>>>,
    said: u32,
    /// Of each session that listens.
    inbound: Vec<mpsc::Sender<Incoming>>,
    pub(super) drain: CancellationToken,
    running: JoinHandle<()>,
    sequence: i64,
    _directory: tempfile::TempDir,
}

/// A session that acknowledges as it is told.
#[derive(Clone)]
pub(super) struct Broker {
    sent: Arc<Mutex<Vec<Message>>>,
    answer: Arc<Mutex<Answer>>,
    /// Whether acknowledgements come, or wait until they do.
    pub(super) acks: watch::Sender<bool>,
    /// Whether an end of the subscription is confirmed, or waits until it is.
    pub(super) confirms: watch::Sender<bool>,
    state: watch::Receiver<State>,
}

struct Received(mpsc::Receiver<Incoming>, Arc<AtomicBool>);

// === impl Bench ===

impl Bench {
    /// With consumers `c1` and `c2`; delivery runs.
    pub(super) async fn start() -> Self {
        let mut bench = Self::prepare().await;
        bench.run();
        bench
    }

    /// The same before delivery runs.
    pub(super) async fn prepare() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path().join("bridge.db"))
            .await
            .unwrap();
        let consumers = ["c1", "c2"].map(|name| NewConsumer {
            id: name.into(),
            name: consumer(name),
            labels: Labels::new(),
        });
        store
            .ensure_consumers(consumers.into(), now())
            .await
            .unwrap();
        let (state, watched) = watch::channel(State::Connecting);
        let broker = Broker {
            sent: Arc::default(),
            answer: Arc::new(Mutex::new(Box::new(|_| Ok(Ack { matched: true })))),
            acks: watch::Sender::new(true),
            confirms: watch::Sender::new(true),
            state: watched,
        };
        Self {
            store: Faulty::new(store),
            checks: Checks::new(),
            registry: Registry::new(),
            broker,
            state,
            others: Vec::new(),
            shared: false,
            ownership: Ownership::sole(),
            recv_panics: Arc::default(),
            acked: Arc::default(),
            said: 0,
            inbound: Vec::new(),
            drain: CancellationToken::new(),
            running: tokio::spawn(async {}),
            sequence: 0,
            _directory: directory,
        }
    }

    /// Runs delivery, as a new process would: nothing but the store is kept.
    pub(super) fn run(&mut self) {
        let listening = if self.shared {
            1 + self.others.len()
        } else {
            1
        };
        let mut intakes: Vec<Box<dyn Intake>> = Vec::new();
        self.inbound.clear();
        for _ in 0..listening {
            let (inbound, received) = mpsc::channel(100);
            self.inbound.push(inbound);
            intakes.push(Box::new(Received(received, self.recv_panics.clone())));
        }
        self.registry = Registry::new();
        self.checks = Checks::new();
        self.drain = CancellationToken::new();
        let config = DeliveryConfig {
            source: source(),
            scheme: Scheme::default()
                .with_share(self.shared.then_some("bridge"))
                .unwrap(),
            delete_unknown_works: false,
            broker_patience: Duration::from_secs(1),
            ownership: self.ownership.clone(),
        };
        let signs = Signs {
            check: self.checks.add("delivery"),
            restarts: Restarts::register(&self.registry).unwrap(),
        };
        let others = self.others.iter().map(|state| Broker {
            state: state.subscribe(),
            ..self.broker.clone()
        });
        let outlets = [self.broker.clone()].into_iter().chain(others);
        let outlets = outlets.map(|broker| Box::new(broker) as Box<dyn Outlet>);
        let delivery = config
            .build_on(
                self.store.clone(),
                Pool::of_outlets(outlets.collect()).unwrap(),
                intakes,
                Clock::system(),
                &self.registry,
                signs,
            )
            .unwrap();
        self.running = tokio::spawn(delivery.run(self.drain.clone()));
    }

    /// Asks delivery to stop and waits until it has.
    pub(super) async fn stop(&mut self) {
        self.drain.cancel();
        timeout(PATIENCE, &mut self.running).await.unwrap().unwrap();
    }

    pub(super) async fn create(&self, id: &str, name: &str) {
        let new = bundle(id, name);
        self.store.sound().create_bundle(new, now()).await.unwrap();
    }

    /// Lets a message come in; its number is acked later.
    pub(super) async fn say(&mut self, message: Message) -> u32 {
        self.say_on(0, message).await
    }

    /// The same on one of the sessions that listen.
    pub(super) async fn say_on(&mut self, session: usize, message: Message) -> u32 {
        self.said += 1;
        let (number, acked) = (self.said, self.acked.clone());
        let incoming = Incoming::new(message, move || acked.lock().unwrap().push(number));
        self.inbound[session].send(incoming).await.unwrap();
        number
    }

    pub(super) fn acked(&self) -> Vec<u32> {
        let mut acked = self.acked.lock().unwrap().clone();
        acked.sort_unstable();
        acked
    }

    pub(super) async fn until_acked(&self, number: u32) {
        self.until(&format!("the ack of {number}"), async || {
            self.acked().contains(&number)
        })
        .await;
    }

    /// A connection of the first session became ready.
    pub(super) fn connected(&self, epoch: u64) {
        let resumed = false;
        self.state.send_replace(State::Ready { epoch, resumed });
    }

    /// Waits until everything for a consumer was sent and its acknowledgement noted. What was sent is in the broker's list
    /// a moment earlier.
    pub(super) async fn until_settled(&self, name: &str) {
        let (store, consumer) = (self.store.sound(), consumer(name));
        self.until("everything to be sent and noted", async || {
            store.pending_heads(&consumer, 1).await.unwrap().is_empty()
        })
        .await;
    }

    /// Waits for a condition.
    pub(super) async fn until(&self, what: &str, mut condition: impl AsyncFnMut() -> bool) {
        let waiting = async {
            let mut tick = interval(Duration::from_millis(10));
            while !condition().await {
                tick.tick().await;
            }
        };
        if timeout(PATIENCE, waiting).await.is_err() {
            panic!(
                "waited in vain for {what}; acked {:?}, sent {:?}",
                self.acked(),
                self.broker.sent()
            );
        }
    }

    /// A status event of `c1`'s agent with the next sequence id.
    pub(super) fn status(&mut self, action: Action, id: &str, version: i64, data: &str) -> Event {
        self.sequence += 1;
        let at = Timestamp::from_millisecond(now().as_millisecond() + self.sequence).unwrap();
        let mut event = Event::new("agent", Kind::status(action), &consumer("c1"), now())
            .about(id, Version::new(version).unwrap())
            .with_data(data.to_owned());
        event.original_source = Some(source().to_string());
        event.sequence_id = Some(SequenceId::from_parts(at, 1, 0));
        event
    }

    pub(super) async fn say_status(&mut self, id: &str, data: &str) -> u32 {
        let event = self.status(Action::Update, id, 1, data);
        self.say(from_agent(&event)).await
    }

    pub(super) fn counted(&self, name: &str, label: &str) -> u64 {
        let families = self.registry.gather();
        let metrics = families.iter().filter(|family| family.name() == name);
        let metrics = metrics.flat_map(|family| family.get_metric());
        metrics
            .filter(|metric| {
                label.is_empty() || metric.get_label().iter().any(|pair| pair.value() == label)
            })
            .map(|metric| {
                (metric.get_counter().get_value() + metric.get_gauge().get_value()) as u64
            })
            .sum()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.running.abort();
    }
}

// === impl Broker ===

impl Broker {
    pub(super) fn answer(
        &self,
        answer: impl Fn(&Message) -> Result<Ack, PublishError> + Send + 'static,
    ) {
        *self.answer.lock().unwrap() = Box::new(answer);
    }

    /// What was sent to a consumer: action, id, and whether it is a deletion, in order.
    pub(super) fn sent(&self) -> Vec<(String, String, bool)> {
        self.events()
            .into_iter()
            .map(|event| {
                let deletion = event.deletion_timestamp.is_some();
                (
                    event.kind.action.as_str().to_owned(),
                    event.resource_id.unwrap_or_default(),
                    deletion,
                )
            })
            .collect()
    }

    pub(super) fn events(&self) -> Vec<Event> {
        let sent = self.sent.lock().unwrap();
        sent.iter()
            .map(|message| decode(message).unwrap())
            .collect()
    }

    /// How often a bundle was sent.
    pub(super) fn count(&self, id: &str) -> usize {
        self.sent().iter().filter(|(_, sent, _)| sent == id).count()
    }
}

impl Outlet for Broker {
    fn publish(&self, message: Message) -> BoxFuture<'_, Result<Receipt, PublishError>> {
        let answer = (self.answer.lock().unwrap())(&message);
        self.sent.lock().unwrap().push(message);
        let mut acks = self.acks.subscribe();
        let receipt = async move {
            let _ = acks.wait_for(|come| *come).await;
            answer
        };
        async move { Ok(receipt.boxed()) }.boxed()
    }

    fn unsubscribe(&self) -> BoxFuture<'_, ()> {
        let mut confirms = self.confirms.subscribe();
        async move { drop(confirms.wait_for(|come| *come).await) }.boxed()
    }

    fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }
}

impl Intake for Received {
    fn recv(&mut self) -> BoxFuture<'_, Option<Incoming>> {
        if self.1.swap(false, Ordering::SeqCst) {
            panic!("a fault of the test in `recv`");
        }
        self.0.recv().boxed()
    }
}

pub(super) fn now() -> Timestamp {
    Clock::system().now()
}

pub(super) fn consumer(name: &str) -> ConsumerName {
    ConsumerName::new(name).unwrap()
}

pub(super) fn source() -> SourceId {
    SourceId::new("maestro").unwrap()
}

pub(super) fn bundle(id: &str, name: &str) -> NewBundle {
    NewBundle {
        id: id.into(),
        name: id.into(),
        source: SourceName::default(),
        consumer_name: consumer(name),
        metadata: None,
        origin: None,
        content: Content {
            manifests: Json::parse("[{\"kind\":\"A\"}]").unwrap(),
            delete_option: None,
            manifest_configs: None,
            executer: None,
        },
    }
}

/// A message on the topic of `c1`'s agent.
pub(super) fn from_agent(event: &Event) -> Message {
    encode(event, Scheme::default().agent_events(&consumer("c1")))
}

/// What `c1`'s agent says it holds, in the version 1.
pub(super) fn holds(ids: &[&str]) -> Event {
    let held: Vec<_> = ids
        .iter()
        .map(|id| format!("{{\"resourceID\":\"{id}\",\"resourceVersion\":1}}"))
        .collect();
    let data = format!("{{\"resourceVersions\":[{}]}}", held.join(","));
    let kind = Kind::spec(Action::ResyncRequest);
    Event::new("agent", kind, &consumer("c1"), now()).with_data(data)
}

pub(super) const APPLIED: &str = "{\"conditions\":[{\"type\":\"Applied\",\"status\":\"True\"}]}";
pub(super) const DELETED: &str = "{\"conditions\":[{\"type\":\"Deleted\",\"status\":\"True\"}]}";

const PATIENCE: Duration = Duration::from_secs(30);
