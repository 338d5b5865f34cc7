//! An agent that is killed between any two changes it makes in its cluster, at whichever, ends where it would have
//! ended without.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent::crd::{AppliedManifestWork, ManifestWork};
use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ListParams;
use kube::{Api, Client};
use serde_json::{Value, json};
use tests::api::{self, Bundle, Change, config_map};
use tests::kubernetes::Cluster;
use tests::region::{Agent, BrokerKind, RegionBuilder};
use tests::test_dir::TestDir;
use tests::wait::wait_for;

use self::throttle::{Cut, Line, Throttle};

mod throttle;

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_killed_at_any_change_it_makes_ends_at_the_right_objects() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let test_dir = TestDir::new("crashes")?;
    let throttle = Throttle::start(cluster.client().await?).await?;
    let kubeconfig = throttle.kubeconfig(test_dir.path())?;
    let objects = cluster.namespace("crashes").await?;
    let mut region = RegionBuilder::new("kubernetes-crashes", BrokerKind::Sandbox)
        .agents(AGENTS)
        .on_cluster_by(&kubeconfig)
        // Nobody is waited for after a kill, and every change is about a work.
        .agent_args(["--disable-leader-election"])
        .start()
        .await?;
    let api = region.api().await?;
    let cases = Cases::default();
    let mut workers = Vec::new();
    for (consumer, agent) in std::mem::take(&mut region.agents) {
        let view = View {
            api: api.clone(),
            client: cluster.client().await?,
            works: agent.namespace.clone().context("works in a cluster")?,
            objects: objects.clone(),
            consumer: consumer.clone(),
        };
        let worker = Worker {
            shared: view.shared_by_another_bundle().await?,
            line: throttle.line(&consumer),
            agent,
            view,
        };
        workers.push(worker.work(&cases));
    }
    try_join_all(workers).await?;
    println!("{}", cases.report()?);
    region.passed();
    test_dir.passed();
    Ok(())
}

/// The changes at which an agent is still to be killed, shared by all workers.
#[derive(Default)]
struct Cases {
    next: AtomicUsize,
    // By position of the cut: a scenario went by without so many changes.
    over: [AtomicUsize; 2],
    struck: Mutex<Vec<(Case, Vec<String>)>>,
}

/// One run of the scenario.
#[derive(Clone, Copy, Debug)]
struct Case {
    nth: usize,
    cut: Cut,
}

/// An agent that goes through the scenario again and again.
struct Worker {
    agent: Agent,
    line: Arc<Line>,
    view: View,
    /// The id of the bundle that holds [`View::common`] all the time.
    shared: String,
}

/// What there is to see of one agent's works.
struct View {
    api: api::Api,
    client: Client,
    works: String,
    objects: String,
    consumer: String,
}

// === impl Cases ===

impl Cases {
    fn next(&self) -> Option<Case> {
        loop {
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            let case = Case {
                nth: number / 2 + 1,
                cut: [Cut::Before, Cut::After][number % 2],
            };
            if self.over.iter().all(|over| over.load(Ordering::SeqCst) > 0) || case.nth > MOST {
                return None;
            }
            if self.over(case).load(Ordering::SeqCst) == 0 {
                return Some(case);
            }
        }
    }

    fn ended(&self, case: Case, struck: Vec<String>) {
        if struck.is_empty() {
            self.over(case).store(case.nth, Ordering::SeqCst);
        } else {
            self.struck().push((case, struck));
        }
    }

    fn over(&self, case: Case) -> &AtomicUsize {
        &self.over[usize::from(case.cut == Cut::After)]
    }

    fn struck(&self) -> MutexGuard<'_, Vec<(Case, Vec<String>)>> {
        self.struck.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where agents were killed, if that was often enough for the name of the test.
    fn report(&self) -> Result<String> {
        let mut struck = self.struck();
        struck.sort_by_key(|(case, _)| (case.nth, case.cut == Cut::After));
        let list: String = struck
            .iter()
            .map(|(Case { nth, cut }, changes)| {
                format!("{nth:3} {cut:?}: {}\n", changes.join(", then "))
            })
            .collect();
        let kills: usize = struck.iter().map(|(_, changes)| changes.len()).sum();
        let runs = struck.len();
        ensure!(
            self.over.iter().all(|over| over.load(Ordering::SeqCst) > 0),
            "the scenario does not come to an end of its changes"
        );
        ensure!(runs > 2 * FEWEST, "too few changes were cut");
        Ok(format!("killed {kills} times in {runs} runs:\n{list}"))
    }
}

// === impl Worker ===

impl Worker {
    async fn work(mut self, cases: &Cases) -> Result<()> {
        while let Some(case) = cases.next() {
            let ran = self.run(case).await;
            let struck = ran.with_context(|| format!("{case:?} of {}", self.view.consumer))?;
            cases.ended(case, struck);
        }
        Ok(())
    }

    /// Create, change, delete; the agent is killed at one change of all that, and once more at one of those that follow.
    /// Says which these were.
    async fn run(&mut self, case: Case) -> Result<Vec<String>> {
        let run = format!("{:?}-{}", case.cut, case.nth).to_lowercase();
        let common = self.view.common();
        let object = |name: &str, value: &str| self.view.object(&run, name, value);
        let first = vec![object("a", "1"), object("b", "1"), common.clone()];
        let second = vec![object("c", "1"), common, object("b", "2")];
        self.line.arm(case.nth, case.cut);
        let mut struck = Vec::new();

        let created = change(&self.view, first);
        let bundle = self.view.api.create_bundle(&created).await?;
        let expected = [("a", "1"), ("b", "1")];
        self.reach(
            case,
            &mut struck,
            "the first version",
            async |view, shared| view.shows(&bundle, 1, &run, &expected, shared).await,
        )
        .await?;

        let changed = Change::of(1, second);
        self.view.api.change_bundle(&bundle.id, &changed).await?;
        let expected = [("b", "2"), ("c", "1")];
        self.reach(
            case,
            &mut struck,
            "the second version",
            async |view, shared| view.shows(&bundle, 2, &run, &expected, shared).await,
        )
        .await?;

        self.view.api.delete_bundle(&bundle.id).await?;
        self.reach(
            case,
            &mut struck,
            "the end of all of it",
            async |view, shared| view.shows_nothing(&bundle, &run, shared).await,
        )
        .await?;
        ensure!(
            self.agent.service.process().ended()?.is_none(),
            "the agent ended by itself"
        );
        self.line.open();
        Ok(struck)
    }

    /// Waits until something is so; kills the agent when its line is cut meanwhile, and starts it again.
    async fn reach(
        &mut self,
        case: Case,
        struck: &mut Vec<String>,
        what: &str,
        probe: impl AsyncFn(&View, &str) -> Result<()>,
    ) -> Result<()> {
        let probe = async || {
            let seen = probe(&self.view, &self.shared).await;
            seen.map_err(|error| format!("{error:#}"))
        };
        while struck.len() < KILLS {
            tokio::select! {
                reached = wait_for(what, PATIENCE, &probe) => {
                    return reached.with_context(|| format!("after {struck:?}"));
                }
                change = self.line.struck() => struck.push(change),
            }
            self.agent.service.kill()?;
            // Killed again soon: neighbouring first kills get different numbers of changes in between.
            self.line.arm(case.nth % SECOND_WITHIN + 1, case.cut);
            self.agent.service.restart()?;
        }
        self.line.open();
        let reached = wait_for(what, PATIENCE, &probe).await;
        reached.with_context(|| format!("after {struck:?}"))
    }
}

// === impl View ===

impl View {
    /// Makes the bundle that shares [`Self::common`] with all others, and gives its id.
    async fn shared_by_another_bundle(&self) -> Result<String> {
        let bundle = self
            .api
            .create_bundle(&change(self, vec![self.common()]))
            .await?;
        wait_for("the other bundle", PATIENCE, async || {
            let bundle = self.api.bundle(&bundle.id).await?.context("it is there")?;
            ensure!(bundle.is("Applied"), "{:#}", bundle.status);
            anyhow::Ok(())
        })
        .await?;
        Ok(bundle.id)
    }

    fn common(&self) -> Value {
        self.object("common", "common", "1")
    }

    fn object(&self, run: &str, name: &str, value: &str) -> Value {
        let mut object = config_map(&format!("{}-{run}-{name}", self.consumer), value);
        object["metadata"]["namespace"] = json!(self.objects);
        object["metadata"]["labels"] = json!({ "consumer": self.consumer, "run": run });
        object
    }

    /// Whether a version is there, nothing else is, and everything belongs to whom it should.
    async fn shows(
        &self,
        bundle: &Bundle,
        version: i64,
        run: &str,
        expected: &[(&str, &str)],
        shared: &str,
    ) -> Result<()> {
        let now = self.api.bundle(&bundle.id).await?.context("it is there")?;
        ensure!(
            now.observed_version() == version && now.is("Applied") && now.is("Available"),
            "{:#}",
            now.status
        );
        let owner = self.record(&bundle.id).await?;
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, value)| {
                let name = format!("{}-{run}-{name}", self.consumer);
                (name, (*value).to_owned(), BTreeSet::from([owner.clone()]))
            })
            .collect();
        let found = self.found(run).await?;
        ensure!(found == expected, "{found:?} in place of {expected:?}");
        let both = BTreeSet::from([owner, self.record(shared).await?]);
        self.common_is_of(both).await
    }

    async fn shows_nothing(&self, bundle: &Bundle, run: &str, shared: &str) -> Result<()> {
        let now = self.api.bundle(&bundle.id).await?;
        ensure!(
            now.is_none(),
            "{:#}",
            now.map(|b| b.status).unwrap_or_default()
        );
        let found = self.found(run).await?;
        ensure!(found.is_empty(), "{found:?}");
        let other = self.record(shared).await?;
        self.common_is_of(BTreeSet::from([other])).await?;
        let records = self.records(&bundle.id).await?;
        ensure!(records.is_empty(), "AppliedManifestWorks left: {records:?}");
        let works: Api<ManifestWork> = Api::namespaced(self.client.clone(), &self.works);
        let works = works.list_metadata(&ListParams::default()).await?;
        let works: Vec<_> = works
            .iter()
            .map(|work| work.metadata.name.clone())
            .collect();
        ensure!(
            works == [Some(shared.to_owned())],
            "ManifestWorks left: {works:?}"
        );
        Ok(())
    }

    /// The objects of a run: name, value, uids of owners.
    async fn found(&self, run: &str) -> Result<Vec<(String, String, BTreeSet<String>)>> {
        let objects: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.objects);
        let labels = format!("consumer={},run={run}", self.consumer);
        let objects = objects.list(&ListParams::default().labels(&labels)).await?;
        let objects = objects.items.into_iter().map(|object| {
            let owners = object.metadata.owner_references.unwrap_or_default();
            (
                object.metadata.name.unwrap_or_default(),
                object
                    .data
                    .and_then(|mut data| data.remove("value"))
                    .unwrap_or_default(),
                owners.into_iter().map(|owner| owner.uid).collect(),
            )
        });
        Ok(objects.collect())
    }

    async fn common_is_of(&self, owners: BTreeSet<String>) -> Result<()> {
        let found = self.found("common").await?;
        let value = "1".to_owned();
        let expected = [(format!("{}-common-common", self.consumer), value, owners)];
        ensure!(found == expected, "{found:?} in place of {expected:?}");
        Ok(())
    }

    /// The uid of the one AppliedManifestWork of a bundle.
    async fn record(&self, id: &str) -> Result<String> {
        let mut records = self.records(id).await?;
        ensure!(records.len() == 1, "AppliedManifestWorks: {records:?}");
        records.pop().context("there is one")
    }

    async fn records(&self, id: &str) -> Result<Vec<String>> {
        let records: Api<AppliedManifestWork> = Api::all(self.client.clone());
        let records = records.list(&ListParams::default()).await?;
        let ours = records
            .items
            .into_iter()
            .filter(|record| record.spec.manifest_work_name == id);
        Ok(ours.filter_map(|record| record.metadata.uid).collect())
    }
}

fn change(view: &View, manifests: Vec<Value>) -> Change {
    Change::create(&view.consumer, manifests)
}

// Runs at the same time: one run mostly waits for the start of an agent and for the broker.
const AGENTS: usize = 8;

const KILLS: usize = 2;
// As many changes as it takes to put one version right.
const SECOND_WITHIN: usize = 6;

// A scenario without faults makes some thirty changes.
const FEWEST: usize = 15;
const MOST: usize = 100;

const PATIENCE: Duration = Duration::from_secs(45);
