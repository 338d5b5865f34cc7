use std::sync::Mutex;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use link::order::Version;
use serde_json::{Value, json};

use super::*;
use crate::applier::{Applied, Claim, Desired, HeldObject, Release, Released};
use crate::work::{Files, Head};

mod finished;
mod write_conflicts;

/// An applier whose answers are set by the test.
#[derive(Default)]
struct Fake {
    held: Mutex<Vec<HeldObject>>,
    pending: Mutex<u32>,
    broken: Mutex<bool>,
    applied: Mutex<u32>,
    registered: Mutex<u32>,
    // Objects cannot be read; or they have removed themselves.
    blind: Mutex<bool>,
    expired: Mutex<bool>,
    // Whether nobody changes what was applied.
    peaceful: Mutex<bool>,
    // What panics once.
    apply_panics: Mutex<bool>,
    watch_panics: Mutex<bool>,
}

impl Applier for Fake {
    async fn claim(&self, _: &WorkId, declared: &[Claim]) -> Result<Vec<HeldObject>, ApplierError> {
        let mut held = self.held.lock().unwrap();
        let declared: Vec<HeldObject> = declared
            .iter()
            .map(|claim| HeldObject::from(&claim.object))
            .collect();
        let stale = held
            .iter()
            .filter(|held| !declared.contains(held))
            .cloned()
            .collect();
        held.extend(declared);
        Ok(stale)
    }

    async fn register(&self, _: &WorkId) -> Result<(), ApplierError> {
        *self.registered.lock().unwrap() += 1;
        Ok(())
    }

    async fn apply(&self, _: &WorkId, desired: Desired<'_>) -> Result<Applied, ApplierError> {
        if std::mem::take(&mut *self.apply_panics.lock().unwrap()) {
            panic!("an apply fails on purpose");
        }
        if *self.broken.lock().unwrap() {
            return Err(ApplierError {
                kind: ApplierErrorKind::Unavailable,
                message: format!("could not write {}: no answer", desired.object),
            });
        }
        *self.applied.lock().unwrap() += 1;
        Ok(Applied {
            changed: !*self.peaceful.lock().unwrap(),
            observed: Some(desired.manifest.clone()),
            fingerprint: None,
        })
    }

    async fn conflicting_managers(&self, _: Desired<'_>) -> Vec<String> {
        vec!["hpa".into()]
    }

    async fn observe(&self, object: &ObjectRef) -> Result<Option<Value>, ApplierError> {
        if *self.blind.lock().unwrap() {
            return Err(ApplierError {
                kind: ApplierErrorKind::Unavailable,
                message: format!("could not read {object}: no answer"),
            });
        }
        let held = self.held.lock().unwrap();
        let expired = *self.expired.lock().unwrap();
        let found = held.iter().any(|held| held.object() == *object) && !expired;
        let applied = *self.applied.lock().unwrap() > 0;
        Ok((found && applied).then(|| finished_job(&object.name)))
    }

    async fn release(
        &self,
        _: &WorkId,
        held: &HeldObject,
        _: Release,
    ) -> Result<Released, ApplierError> {
        let mut pending = self.pending.lock().unwrap();
        if *pending > 0 {
            *pending -= 1;
            return Ok(Released::Pending("waits for finalizers".into()));
        }
        self.held.lock().unwrap().retain(|other| other != held);
        Ok(Released::Gone)
    }

    async fn settle(&self, _: &WorkId) -> Result<(), ApplierError> {
        Ok(())
    }

    fn owns(&self, _: &WorkId) -> bool {
        !self.held.lock().unwrap().is_empty()
    }

    async fn watch(&self, _: mpsc::Sender<Change>) {
        if std::mem::take(&mut *self.watch_panics.lock().unwrap()) {
            panic!("a watch fails on purpose");
        }
        std::future::pending::<()>().await;
    }
}

fn finished_job(name: &str) -> Value {
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": "d"},
        "status": {"conditions": [{"type": "Complete", "status": "True"}]}})
}

struct Fixture {
    _dir: tempfile::TempDir,
    applier: Arc<Fake>,
    reconciler: Reconciler<Arc<Files>, Fake>,
    told: Arc<Mutex<u32>>,
    now: Arc<Mutex<Timestamp>>,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let applier = Arc::new(Fake::default());
        let told = Arc::new(Mutex::new(0));
        let counter = Arc::clone(&told);
        let now = Arc::new(Mutex::new("2026-08-01T10:00:00Z".parse().unwrap()));
        let reconciler = Reconciler {
            store: Arc::new(Files::open(dir.path()).unwrap().store),
            applier: Arc::clone(&applier),
            queue: Arc::new(WorkQueue::new(
                Duration::from_secs(1),
                Duration::from_secs(9),
            )),
            on_status: Box::new(move |_| *counter.lock().unwrap() += 1),
            write_conflicts: WriteConflicts::default(),
            on_trouble: Box::new(|_, _, _| {}),
            consumer: ConsumerName::new("cluster1").unwrap(),
            paused: None,
            period: Duration::from_secs(240),
            max_raw_bytes: 1024,
            max_status_bytes: 120_000,
            health: Health::ignored(),
            metrics: Metrics::register(&prometheus::Registry::new()).unwrap(),
            clock: Clock::from_fn({
                let now = Arc::clone(&now);
                move || *now.lock().unwrap()
            }),
        };
        Self {
            _dir: dir,
            applier,
            reconciler,
            told,
            now,
        }
    }

    fn order(&self, deleting: bool) {
        let payload = br#"{"manifests":[{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"d"}}]}"#;
        self.order_payload(deleting, payload);
    }

    /// A finished Job whose work lives for a minute after that.
    fn order_job(&self, version: Version) {
        let payload = json!({"manifests": [finished_job("a")],
            "deleteOption": {"ttlSecondsAfterFinished": 60},
            "manifestConfigs": [{
                "resourceIdentifier": {"group": "batch", "resource": "jobs", "name": "a", "namespace": "d"},
                "conditionRules": [{"type": "WellKnownConditions", "condition": "Complete"}]}]});
        self.order_version(version, false, payload.to_string().as_bytes());
    }

    /// A finished Job that removes itself two seconds later, and that nobody has a rule about.
    fn order_short_lived_job(&self) {
        let mut job = finished_job("a");
        job["spec"] = json!({"ttlSecondsAfterFinished": 2});
        self.order_payload(false, json!({"manifests": [job]}).to_string().as_bytes());
    }

    /// Types of the true conditions of the first manifest.
    fn said_of_manifest(&self) -> Vec<String> {
        let record = self.reconciler.store.status(&"w".into()).unwrap().unwrap();
        let conditions = record.status.resource_status[0].conditions.iter();
        let holds = conditions.filter(|condition| condition.is_true());
        holds.map(|condition| condition.kind.clone()).collect()
    }

    fn order_payload(&self, deleting: bool, payload: &[u8]) {
        self.order_version(Version::FIRST, deleting, payload);
    }

    fn order_version(&self, version: Version, deleting: bool, payload: &[u8]) {
        let head = self.head(version, deleting);
        let payload = Bytes::copy_from_slice(payload);
        Files::commit(&self.reconciler.store, &[Work { head, payload }]).unwrap();
    }

    /// A version that cannot be used; what was accepted before stays.
    fn order_unusable(&self, version: Version) {
        let stored = Files::read(&self.reconciler.store, &"w".into())
            .unwrap()
            .unwrap();
        let head = Head {
            rejected: Some("no".into()),
            ..self.head(version, false)
        };
        let payload = stored.payload;
        Files::commit(&self.reconciler.store, &[Work { head, payload }]).unwrap();
    }

    fn head(&self, version: Version, deleting: bool) -> Head {
        Head {
            id: "w".into(),
            version,
            source: "maestro".into(),
            metadata: None,
            log_tracing: None,
            deleting_since: deleting.then(|| self.reconciler.clock.now()),
            received_at: None,
            content: String::new(),
            rejected: None,
        }
    }

    fn told(&self) -> u32 {
        *self.told.lock().unwrap()
    }

    async fn look(&self) -> (QueueAction, Vec<String>, u32) {
        let next = self.reconciler.reconcile(&"w".into()).await;
        let record = self.reconciler.store.status(&"w".into()).unwrap().unwrap();
        let conditions = record.status.conditions.iter();
        let kinds = conditions
            .map(|c| format!("{}={}", c.kind, c.status))
            .collect();
        (next, kinds, *self.told.lock().unwrap())
    }
}

#[tokio::test]
async fn a_removal_that_takes_time_is_told_once_and_acknowledged_at_its_end() {
    let fixture = Fixture::new();
    fixture.order(false);
    let (next, ..) = fixture.look().await;
    assert!(
        matches!(next, QueueAction::After(delay) if delay >= Duration::from_secs(240) && delay <= Duration::from_secs(360))
    );
    fixture.order(true);
    *fixture.applier.pending.lock().unwrap() = 2;
    for _ in 0..2 {
        let (next, conditions, told) = fixture.look().await;
        assert!(matches!(next, QueueAction::Retry(_)), "{next:?}");
        assert_eq!(
            conditions,
            ["Applied=True", "Available=True", "Deleting=True"]
        );
        assert_eq!(told, 3, "applied, deleting, and what it waits for");
    }
    let (next, conditions, told) = fixture.look().await;
    assert_eq!(next, QueueAction::Forget);
    assert_eq!(conditions[2..], ["Deleting=True", "Deleted=True"]);
    assert_eq!(told, 4);
}

#[tokio::test]
async fn a_target_that_does_not_answer_is_told_and_tried_again_without_new_noise() {
    let fixture = Fixture::new();
    fixture.order(false);
    *fixture.applier.broken.lock().unwrap() = true;
    for _ in 0..3 {
        let (next, conditions, told) = fixture.look().await;
        assert!(matches!(next, QueueAction::Retry(_)), "{next:?}");
        assert_eq!(conditions, ["Applied=False", "Available=False"]);
        assert_eq!(told, 1);
    }
    *fixture.applier.broken.lock().unwrap() = false;
    assert_eq!(fixture.look().await.1, ["Applied=True", "Available=True"]);
}

#[tokio::test]
async fn a_version_that_came_during_a_pause_is_applied_after_it_and_not_told_before() {
    let fixture = Fixture::new();
    fixture.order_job(Version::FIRST);
    fixture.look().await;
    let index = fixture.reconciler.store.index();
    index.set_paused(Some("paused by the operator".into()));
    fixture.order_job(Version::new(2).unwrap());
    fixture.look().await;
    let applied_at = || {
        let record = fixture
            .reconciler
            .store
            .status(&"w".into())
            .unwrap()
            .unwrap();
        record.applied_at
    };
    assert_eq!(applied_at(), None);
    *fixture.now.lock().unwrap() += SignedDuration::from_secs(5);
    index.set_paused(None);
    fixture.look().await;
    assert_eq!(*fixture.applier.applied.lock().unwrap(), 2);
    assert_eq!(applied_at(), Some(*fixture.now.lock().unwrap()));
}

#[tokio::test]
async fn an_awaited_work_holds_its_objects_whatever_becomes_of_itself() {
    let fixture = Fixture::new();
    fixture.order(false);
    fixture.look().await;
    let held = fixture.applier.held.lock().unwrap().clone();
    let store = &fixture.reconciler.store;
    Files::commit(store, &[Work::awaited("w".into())]).unwrap();
    for dropped in [false, true] {
        let drop = |entry: &mut Entry| entry.dropped = dropped;
        store.index().update(&"w".into(), drop);
        let next = fixture.reconciler.reconcile(&"w".into()).await;
        assert_eq!(next, QueueAction::Forget);
        assert_eq!(*fixture.applier.registered.lock().unwrap(), 1);
        assert_eq!(*fixture.applier.held.lock().unwrap(), held);
    }
}

#[tokio::test]
async fn a_paused_work_is_looked_at_and_not_touched() {
    let fixture = Fixture::new();
    let index = fixture.reconciler.store.index();
    index.set_paused(Some("paused by the operator".into()));
    fixture.order(false);
    let (_, conditions, _) = fixture.look().await;
    assert_eq!(
        conditions,
        ["Applied=Unknown", "Available=False", "Paused=True"]
    );
    fixture.order(true);
    assert_eq!(fixture.look().await.1.last().unwrap(), "Paused=True");
    assert_eq!(*fixture.applier.applied.lock().unwrap(), 0);
    index.set_paused(None);
    let (_, conditions, _) = fixture.look().await;
    assert_eq!(conditions.last().unwrap(), "Deleted=True");
}

#[tokio::test(start_paused = true)]
async fn a_worker_and_a_watch_that_die_are_made_again_counted_and_cost_no_work() {
    let fixture = Fixture::new();
    fixture.order(false);
    *fixture.applier.apply_panics.lock().unwrap() = true;
    *fixture.applier.watch_panics.lock().unwrap() = true;
    let registry = prometheus::Registry::new();
    let restarts = Restarts::register(&registry).unwrap();
    let (applier, stop) = (Arc::clone(&fixture.applier), CancellationToken::new());
    let running = tokio::spawn(fixture.reconciler.run(stop.clone(), restarts));
    while *applier.applied.lock().unwrap() == 0 || restarted(&registry).len() < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(restarted(&registry), ["reconcile 1", "watches 1"]);
    stop.cancel();
    running.await.unwrap();
}

fn restarted(registry: &prometheus::Registry) -> Vec<String> {
    let families = registry.gather();
    let metrics = families.iter().flat_map(|family| family.get_metric());
    metrics
        .map(|metric| {
            format!(
                "{} {}",
                metric.get_label()[0].value(),
                metric.get_counter().get_value()
            )
        })
        .collect()
}
