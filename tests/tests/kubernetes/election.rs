//! One leader at a time, whatever happens to the ways to the API server.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::time::Duration;

use agent::cluster::Cluster as Connection;
use agent::cluster::election::{Election, ElectionConfig, Leadership, Timing};
use anyhow::{Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use link::clock::Clock;
use link::shutdown::Shutdown;
use prometheus::Registry;
use tests::kubernetes::Cluster;
use tests::test_dir::TestDir;
use tests::wait::{quick_enough, timeout, wait_for};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::connection::ProxiedServer;

const PATIENCE: Duration = Duration::from_secs(60);

// The shortest there is; a busy machine still renews three times before it is over.
const LEASE: Duration = Duration::from_secs(3);

// For requests and for a machine that builds at the same time.
const SLACK: Duration = Duration::from_secs(2);

fn candidate(connection: &Connection, namespace: &str, identity: &str) -> Result<Election> {
    let config = ElectionConfig {
        namespace: namespace.to_owned(),
        name: "election".to_owned(),
        name_of_process: Some(identity.to_owned()),
        timing: Timing::new(LEASE),
    };
    Ok(config.build(connection.client.clone(), &Registry::new(), Clock::system())?)
}

async fn elected(election: &Election) -> Result<Leadership> {
    let shutdown = Shutdown::manual();
    let won = timeout(PATIENCE, election.acquire(&shutdown.drain())).await?;
    won.ok_or_else(|| anyhow::anyhow!("the drain was requested"))
}

/// A process that works whenever it may.
struct Worker {
    proxied: ProxiedServer,
    terms: Arc<AtomicU32>,
    task: JoinHandle<()>,
}

/// How many work now, and the most that ever did.
#[derive(Default)]
struct Work {
    now: AtomicI32,
    most: AtomicI32,
}

impl Worker {
    async fn start(
        servers: &Cluster,
        test_dir: &TestDir,
        namespace: &str,
        identity: &str,
        work: &Arc<Work>,
        stop: CancellationToken,
    ) -> Result<Self> {
        let proxied = ProxiedServer::open(servers, test_dir).await?;
        let connection = proxied.connect().await?;
        let election = candidate(&connection, namespace, identity)?;
        let (work, terms) = (work.clone(), Arc::<AtomicU32>::default());
        let counted = terms.clone();
        let task = tokio::spawn(async move {
            let shutdown = Shutdown::manual();
            let drain = shutdown.drain();
            loop {
                let leadership = tokio::select! {
                    () = stop.cancelled() => return,
                    leadership = election.acquire(&drain) => leadership,
                };
                let Some(leadership) = leadership else { return };
                let working = work.now.fetch_add(1, Ordering::SeqCst) + 1;
                work.most.fetch_max(working, Ordering::SeqCst);
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::select! {
                    () = leadership.lost() => {}
                    () = stop.cancelled() => {}
                }
                work.now.fetch_sub(1, Ordering::SeqCst);
            }
        });
        Ok(Self {
            proxied,
            terms,
            task,
        })
    }
}

#[tokio::test]
async fn two_never_lead_at_once_while_ways_stall() -> Result<()> {
    let servers = Cluster::shared().await?;
    let namespace = servers.namespace("stall").await?;
    let test_dir = TestDir::new("election")?;
    let work = Arc::new(Work::default());
    let stop = CancellationToken::new();
    let mut workers = Vec::new();
    for identity in ["one", "two", "three"] {
        let worker = Worker::start(
            servers,
            &test_dir,
            &namespace,
            identity,
            &work,
            stop.clone(),
        )
        .await?;
        workers.push(worker);
    }
    let terms = || -> Vec<u32> {
        let terms = workers.iter().map(|worker| &worker.terms);
        terms.map(|terms| terms.load(Ordering::SeqCst)).collect()
    };
    let leases: Api<Lease> = Api::namespaced(servers.client().await?, &namespace);
    for round in 0..5 {
        wait_for("a leader", PATIENCE, async || {
            let working = work.now.load(Ordering::SeqCst);
            (working == 1)
                .then_some(())
                .ok_or_else(|| format!("{working} work"))
        })
        .await?;
        let holder = leases
            .get("election")
            .await?
            .spec
            .and_then(|spec| spec.holder_identity);
        let leader = ["one", "two", "three"].iter().position(|identity| {
            let holder = holder.as_deref().unwrap_or_default();
            holder.split('/').next() == Some(*identity)
        });
        let Some(leader) = leader else { continue };
        let before = terms();
        // Whoever stalled in the round before comes back in the middle of this one.
        workers[leader].proxied.proxy.stall();
        if round % 2 == 0 {
            workers.iter().for_each(|worker| {
                if !std::ptr::eq(worker, &workers[leader]) {
                    worker.proxied.proxy.pass();
                }
            });
        }
        wait_for("another leader", PATIENCE, async || {
            let now = terms();
            let others = (0..now.len()).filter(|worker| *worker != leader);
            let changed = others
                .into_iter()
                .any(|worker| now[worker] > before[worker]);
            changed
                .then_some(())
                .ok_or_else(|| format!("terms {now:?}"))
        })
        .await?;
        workers
            .iter()
            .for_each(|worker| worker.proxied.proxy.pass());
    }
    stop.cancel();
    for worker in workers {
        worker.task.await?;
    }
    assert_eq!(work.most.load(Ordering::SeqCst), 1);
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn standby_follows_a_dead_leader_within_the_duration_and_not_before() -> Result<()> {
    quick_enough("following the dead", LEASE + SLACK, follow_the_dead).await
}

/// How long a leader was dead when another one followed.
async fn follow_the_dead() -> Result<Duration> {
    let servers = Cluster::shared().await?;
    let namespace = servers.namespace("dead").await?;
    let test_dir = TestDir::new("election")?;
    let proxied = ProxiedServer::open(servers, &test_dir).await?;
    let connection = proxied.connect().await?;
    let leadership = elected(&candidate(&connection, &namespace, "first")?).await?;
    let died = Instant::now();
    drop(leadership);
    let second = elected(&candidate(&connection, &namespace, "second")?).await?;
    let waited = died.elapsed();
    ensure!(waited + SLACK / 20 >= LEASE, "it followed after {waited:?}");
    second.release().await;
    test_dir.passed();
    Ok(waited)
}

#[tokio::test]
async fn standby_follows_a_release_at_once() -> Result<()> {
    // Well below what is left of the Lease.
    quick_enough("following a release", LEASE / 3, follow_a_release).await
}

/// How long ago a leader had released its Lease when another one followed.
async fn follow_a_release() -> Result<Duration> {
    let servers = Cluster::shared().await?;
    let namespace = servers.namespace("release").await?;
    let test_dir = TestDir::new("election")?;
    let proxied = ProxiedServer::open(servers, &test_dir).await?;
    let connection = proxied.connect().await?;
    let first = elected(&candidate(&connection, &namespace, "first")?).await?;
    let standby = candidate(&connection, &namespace, "second")?;
    let audit = servers.audit().await?;
    let mark = audit.mark().await?;
    let (followed, released) = tokio::join!(
        async {
            elected(&standby)
                .await
                .map(|second| (second, Instant::now()))
        },
        async {
            wait_for("the standby's watch", PATIENCE, async || {
                let entries = audit.since(mark).await.map_err(|error| error.to_string())?;
                let watching = entries.iter().any(|entry| {
                    entry.verb == "watch"
                        && entry.resource == "leases"
                        && entry.namespace == namespace
                });
                watching.then_some(()).ok_or_else(|| format!("{entries:?}"))
            })
            .await?;
            let released = Instant::now();
            first.release().await;
            anyhow::Ok(released)
        }
    );
    let (second, followed) = followed?;
    let waited = followed - released?;
    second.release().await;
    let leases: Api<Lease> = Api::namespaced(connection.client.clone(), &namespace);
    let spec = leases.get("election").await?.spec.unwrap_or_default();
    assert_eq!(spec.holder_identity, None);
    assert_eq!(spec.lease_transitions, Some(2));
    test_dir.passed();
    Ok(waited)
}

#[tokio::test]
async fn leader_that_cannot_renew_stops_before_anybody_may_follow() -> Result<()> {
    quick_enough("stopping", LEASE, stop_when_cut_off).await
}

async fn stop_when_cut_off() -> Result<Duration> {
    let servers = Cluster::shared().await?;
    let namespace = servers.namespace("cut").await?;
    let test_dir = TestDir::new("election")?;
    let proxied = ProxiedServer::open(servers, &test_dir).await?;
    let connection = proxied.connect().await?;
    let leadership = elected(&candidate(&connection, &namespace, "first")?).await?;
    proxied.proxy.stall();
    let cut = Instant::now();
    timeout(PATIENCE, leadership.lost()).await?;
    let waited = cut.elapsed();
    test_dir.passed();
    Ok(waited)
}

#[tokio::test]
async fn candidate_gives_up_when_it_is_to_stop() -> Result<()> {
    let servers = Cluster::shared().await?;
    let namespace = servers.namespace("drained").await?;
    let test_dir = TestDir::new("election")?;
    let proxied = ProxiedServer::open(servers, &test_dir).await?;
    let connection = proxied.connect().await?;
    let leader = elected(&candidate(&connection, &namespace, "first")?).await?;
    let shutdown = Shutdown::manual();
    let standby = candidate(&connection, &namespace, "second")?;
    let drain = shutdown.drain();
    let (outcome, ()) = tokio::join!(standby.acquire(&drain), async {
        shutdown.trigger().request();
    });
    assert!(outcome.is_none());
    leader.release().await;
    test_dir.passed();
    Ok(())
}
