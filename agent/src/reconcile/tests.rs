use std::sync::Mutex;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use link::order::Version;
use serde_json::{Value, json};

use super::*;
use crate::target::{Applied, Claim, Desired, Held, Release, Released};
use crate::work::{Files, Head};

/// A target whose answers are set by the test.
#[derive(Default)]
struct Fake {
    held: Mutex<Vec<Held>>,
    pending: Mutex<u32>,
    broken: Mutex<bool>,
    applied: Mutex<u32>,
    // Objects cannot be read; or they have removed themselves.
    blind: Mutex<bool>,
    expired: Mutex<bool>,
    // Whether nobody changes what was applied.
    peaceful: Mutex<bool>,
    // What panics once.
    apply_panics: Mutex<bool>,
    watch_panics: Mutex<bool>,
}

impl Target for Fake {
    async fn claim(&self, _: &WorkId, declared: &[Claim]) -> Result<Vec<Held>, TargetError> {
        let mut held = self.held.lock().unwrap();
        let declared: Vec<Held> = declared
            .iter()
            .map(|claim| Held::from(&claim.object))
            .collect();
        let stale = held
            .iter()
            .filter(|held| !declared.contains(held))
            .cloned()
            .collect();
        held.extend(declared);
        Ok(stale)
    }

    async fn apply(&self, _: &WorkId, desired: Desired<'_>) -> Result<Applied, TargetError> {
        if std::mem::take(&mut *self.apply_panics.lock().unwrap()) {
            panic!("an apply fails on purpose");
        }
        if *self.broken.lock().unwrap() {
            return Err(TargetError {
                kind: ErrorKind::Unavailable,
                message: format!("could not write {}: no answer", desired.object),
            });
        }
        *self.applied.lock().unwrap() += 1;
        Ok(Applied {
            changed: !*self.peaceful.lock().unwrap(),
            observed: Some(desired.manifest.clone()),
            mark: None,
        })
    }

    async fn rivals(&self, _: Desired<'_>) -> Vec<String> {
        vec!["hpa".into()]
    }

    async fn observe(&self, object: &ObjectRef) -> Result<Option<Value>, TargetError> {
        if *self.blind.lock().unwrap() {
            return Err(TargetError {
                kind: ErrorKind::Unavailable,
                message: format!("could not read {object}: no answer"),
            });
        }
        let held = self.held.lock().unwrap();
        let expired = *self.expired.lock().unwrap();
        let found = held.iter().any(|held| held.object() == *object) && !expired;
        let applied = *self.applied.lock().unwrap() > 0;
        Ok((found && applied).then(|| finished_job(&object.name)))
    }

    async fn release(&self, _: &WorkId, held: &Held, _: Release) -> Result<Released, TargetError> {
        let mut pending = self.pending.lock().unwrap();
        if *pending > 0 {
            *pending -= 1;
            return Ok(Released::Pending("waits for finalizers".into()));
        }
        self.held.lock().unwrap().retain(|other| other != held);
        Ok(Released::Gone)
    }

    async fn settle(&self, _: &WorkId) -> Result<(), TargetError> {
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
    target: Arc<Fake>,
    reconciler: Reconciler<Arc<Files>, Fake>,
    told: Arc<Mutex<u32>>,
    now: Arc<Mutex<Timestamp>>,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let target = Arc::new(Fake::default());
        let told = Arc::new(Mutex::new(0));
        let counter = Arc::clone(&told);
        let now = Arc::new(Mutex::new("2026-08-01T10:00:00Z".parse().unwrap()));
        let reconciler = Reconciler {
            store: Arc::new(Files::open(dir.path()).unwrap().store),
            target: Arc::clone(&target),
            queue: Arc::new(Queue::new(Duration::from_secs(1), Duration::from_secs(9))),
            on_status: Box::new(move |_| *counter.lock().unwrap() += 1),
            feuds: Feuds::default(),
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
            target,
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
        let head = Head {
            id: "w".into(),
            version,
            source: "maestro".into(),
            metadata: None,
            log_tracing: None,
            deleting_since: deleting.then(|| self.reconciler.clock.now()),
            received_at: None,
            content: String::new(),
            rejected: None,
        };
        let work = Work {
            head,
            payload: Bytes::copy_from_slice(payload),
        };
        Files::commit(&self.reconciler.store, &[work]).unwrap();
    }

    fn told(&self) -> u32 {
        *self.told.lock().unwrap()
    }

    async fn look(&self) -> (Next, Vec<String>, u32) {
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
        matches!(next, Next::After(delay) if delay >= Duration::from_secs(240) && delay <= Duration::from_secs(360))
    );
    fixture.order(true);
    *fixture.target.pending.lock().unwrap() = 2;
    for _ in 0..2 {
        let (next, conditions, told) = fixture.look().await;
        assert!(matches!(next, Next::Retry(_)), "{next:?}");
        assert_eq!(
            conditions,
            ["Applied=True", "Available=True", "Deleting=True"]
        );
        assert_eq!(told, 3, "applied, deleting, and what it waits for");
    }
    let (next, conditions, told) = fixture.look().await;
    assert_eq!(next, Next::Forget);
    assert_eq!(conditions[2..], ["Deleting=True", "Deleted=True"]);
    assert_eq!(told, 4);
}

#[tokio::test]
async fn a_target_that_does_not_answer_is_told_and_tried_again_without_new_noise() {
    let fixture = Fixture::new();
    fixture.order(false);
    *fixture.target.broken.lock().unwrap() = true;
    for _ in 0..3 {
        let (next, conditions, told) = fixture.look().await;
        assert!(matches!(next, Next::Retry(_)), "{next:?}");
        assert_eq!(conditions, ["Applied=False", "Available=False"]);
        assert_eq!(told, 1);
    }
    *fixture.target.broken.lock().unwrap() = false;
    assert_eq!(fixture.look().await.1, ["Applied=True", "Available=True"]);
}

#[tokio::test]
async fn a_finished_work_is_left_alone_and_its_objects_go_when_its_time_to_live_is_over() {
    let fixture = Fixture::new();
    fixture.order_job(Version::FIRST);
    let (next, conditions, _) = fixture.look().await;
    assert_eq!(conditions[2], "Complete=True");
    assert_eq!(next, Next::After(Duration::ZERO));
    let (next, ..) = fixture.look().await;
    assert_eq!(next, Next::After(Duration::from_secs(60)));
    assert_eq!(*fixture.target.applied.lock().unwrap(), 1);

    *fixture.now.lock().unwrap() += SignedDuration::from_secs(60);
    let (_, conditions, told) = fixture.look().await;
    assert_eq!(conditions.last().unwrap(), "Expired=True");
    assert!(fixture.target.held.lock().unwrap().is_empty());
    let (_, _, again) = fixture.look().await;
    assert_eq!((again, fixture.told()), (told, told), "nothing new is said");

    let second = Version::new(2).unwrap();
    fixture.order_job(second);
    let (_, conditions, _) = fixture.look().await;
    assert_eq!(
        conditions[2..],
        ["Complete=True"],
        "a new version begins anew"
    );
    assert_eq!(*fixture.target.applied.lock().unwrap(), 2);
}

#[tokio::test]
async fn a_job_that_is_spent_is_not_run_again_while_nobody_can_tell_whether_it_is_gone() {
    let fixture = Fixture::new();
    fixture.order_short_lived_job();
    fixture.look().await;
    assert!(fixture.said_of_manifest().contains(&"Finished".into()));
    // Read in vain before its time is over, and after.
    for seconds in [1, 60] {
        *fixture.now.lock().unwrap() += SignedDuration::from_secs(seconds);
        *fixture.target.blind.lock().unwrap() = true;
        let before = *fixture.target.applied.lock().unwrap();
        let (next, conditions, _) = fixture.look().await;
        assert_eq!(conditions[0], "Applied=True");
        assert!(fixture.said_of_manifest().contains(&"Finished".into()));
        if seconds == 60 {
            assert!(matches!(next, Next::Retry(_)), "{next:?}");
            assert_eq!(*fixture.target.applied.lock().unwrap(), before);
        }
    }
    *fixture.target.blind.lock().unwrap() = false;
    *fixture.target.expired.lock().unwrap() = true;
    let before = *fixture.target.applied.lock().unwrap();
    let (next, ..) = fixture.look().await;
    assert!(matches!(next, Next::After(_)), "{next:?}");
    assert_eq!(*fixture.target.applied.lock().unwrap(), before);
    assert!(fixture.said_of_manifest().contains(&"Finished".into()));
}

#[tokio::test]
async fn a_finished_work_stays_finished_while_its_objects_cannot_be_read() {
    let fixture = Fixture::new();
    fixture.order_job(Version::FIRST);
    fixture.look().await;
    let told = fixture.said_of_manifest();
    assert!(told.contains(&"Complete".into()), "{told:?}");
    *fixture.target.blind.lock().unwrap() = true;
    let (next, conditions, _) = fixture.look().await;
    assert!(matches!(next, Next::Retry(_)), "{next:?}");
    assert_eq!(conditions[2], "Complete=True");
    *fixture.target.blind.lock().unwrap() = false;
    fixture.look().await;
    assert_eq!(fixture.said_of_manifest(), told);
    assert_eq!(*fixture.target.applied.lock().unwrap(), 1);
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
    assert_eq!(*fixture.target.applied.lock().unwrap(), 0);
    index.set_paused(None);
    let (_, conditions, _) = fixture.look().await;
    assert_eq!(conditions.last().unwrap(), "Deleted=True");
}

#[tokio::test(start_paused = true)]
async fn a_worker_and_a_watch_that_die_are_made_again_counted_and_cost_no_work() {
    let fixture = Fixture::new();
    fixture.order(false);
    *fixture.target.apply_panics.lock().unwrap() = true;
    *fixture.target.watch_panics.lock().unwrap() = true;
    let registry = prometheus::Registry::new();
    let restarts = Restarts::register(&registry).unwrap();
    let (target, stop) = (Arc::clone(&fixture.target), CancellationToken::new());
    let running = tokio::spawn(fixture.reconciler.run(stop.clone(), restarts));
    while *target.applied.lock().unwrap() == 0 || restarted(&registry).len() < 2 {
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

#[tokio::test(start_paused = true)]
async fn a_feud_slows_down_repairs_and_neither_a_new_version_nor_a_deletion() {
    let fixture = Fixture::new();
    fixture.order(false);
    let waits = async || {
        let next = fixture.reconciler.reconcile(&"w".into()).await;
        matches!(next, Next::After(left) if left <= Duration::from_secs(60))
    };
    // The target says each time that somebody else had changed it.
    for _ in 0..100 {
        fixture.reconciler.reconcile(&"w".into()).await;
    }
    assert!(waits().await);
    let before = *fixture.target.applied.lock().unwrap();
    fixture.order_version(Version::new(2).unwrap(), false, br#"{"manifests":[{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"b","namespace":"d"}}]}"#);
    assert!(!waits().await);
    assert_eq!(*fixture.target.applied.lock().unwrap(), before + 1);
    for _ in 0..100 {
        fixture.reconciler.reconcile(&"w".into()).await;
    }
    assert!(waits().await);
    fixture.order(true);
    let (_, conditions, _) = fixture.look().await;
    assert_eq!(conditions.last().unwrap(), "Deleted=True");
}

#[tokio::test(start_paused = true)]
async fn a_feud_is_told_with_its_rival_until_there_is_peace_and_costs_two_reports() {
    let fixture = Fixture::new();
    fixture.order(false);
    let message = || {
        let record = fixture
            .reconciler
            .store
            .status(&"w".into())
            .unwrap()
            .unwrap();
        let applied = record.status.condition("Applied").unwrap().clone();
        (applied.status, applied.message)
    };
    for _ in 0..100 {
        let (next, ..) = fixture.look().await;
        if let Next::After(left) = next {
            tokio::time::advance(left.min(Duration::from_secs(60))).await;
        }
    }
    let (status, words) = message();
    assert_eq!(status, "False");
    assert!(
        words.starts_with(
            "Failed to apply manifest work: `hpa` changes ConfigMap d/a again and again"
        ),
        "{words}"
    );
    assert_eq!(
        fixture.told(),
        2,
        "that it was applied, and that it is fought over"
    );

    *fixture.target.peaceful.lock().unwrap() = true;
    let (next, conditions, _) = fixture.look().await;
    // The last repair may be a whole pause ago.
    if conditions[0] == "Applied=False" {
        let Next::After(left) = next else {
            panic!("{next:?}");
        };
        tokio::time::advance(left).await;
    }
    assert_eq!(fixture.look().await.1[0], "Applied=True");
}
