//! What is left of an agent that was stopped, and how it goes on: all its parts are made anew on the same directories.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent::app::AgentConfig;
use agent::applier::directory::Directory;
use agent::health::Health;
use agent::intake::Rules;
use agent::metrics::Metrics;
use agent::self_report::About;
use agent::uplink::Subscription;
use agent::work::Files;
use link::clock::Clock;
use link::event::agent_report::AgentTarget;
use link::id::ConsumerName;
use link::supervise::Restarts;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::super::faults::{Faulty, Slow};
use super::fake_link::{Down, Up};
use super::{Harness, consumer};

pub(crate) struct Halted {
    pub(super) dir: tempfile::TempDir,
    pub(super) release: Duration,
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
