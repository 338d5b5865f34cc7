//! One scenario of several bridges: agents, bundles that change all the time, a fault, and what must be true of it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::{try_join, try_join_all};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tests::api::{Api, config_map};
use tests::fleet::{ExpectedBundle, ExpectedBundles, Writer};
use tests::postgres::Server;
use tests::proxy::RetargetableProxy;
use tests::region::{BrokerKind, Region, RegionBuilder, Service};
use tests::seed;
use tests::wait::{patient, wait_for};
use tokio::sync::watch;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

/// How large, and with what.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    test: &'static str,
    consumers: usize,
    /// Of each consumer.
    bundles: usize,
    kills: usize,
    args: Vec<&'static str>,
    fault: Option<Fault>,
}

/// What a scenario needs besides processes that can be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A second server that follows the first.
    Standby,
}

/// What runs while a fault is made.
pub(crate) struct Scenario {
    pub(crate) server: Server,
    standby: Option<Server>,
    way: RetargetableProxy,
    region: Region,
    apis: watch::Sender<Vec<Api>>,
    kills: usize,
}

// === impl Plan ===

impl Plan {
    pub(crate) fn new(test: &'static str) -> Self {
        let full = std::env::var_os("REPLICAS_FULL").is_some();
        Self {
            test,
            consumers: if full { 40 } else { 6 },
            bundles: if full { 125 } else { 25 },
            kills: if full { 40 } else { 6 },
            args: Vec::new(),
            fault: None,
        }
    }

    pub(crate) fn args(mut self, args: impl IntoIterator<Item = &'static str>) -> Self {
        self.args.extend(args);
        self
    }

    pub(crate) fn with(mut self, fault: Fault) -> Self {
        self.fault = Some(fault);
        self
    }
}

// === impl Scenario ===

impl Scenario {
    pub(crate) fn kills(&self) -> usize {
        self.kills
    }

    /// One of the bridges, in turn.
    pub(crate) fn bridge(&mut self, turn: usize) -> &mut Service {
        match turn % (1 + self.region.replicas.len()) {
            0 => &mut self.region.bridge,
            other => &mut self.region.replicas[other - 1],
        }
    }

    /// Callers learn where the bridges listen now.
    pub(crate) async fn follow(&mut self) -> Result<()> {
        let apis = self.region.apis().await?;
        self.apis.send_replace(apis);
        Ok(())
    }

    /// Callers leave one bridge alone.
    pub(crate) async fn without(&mut self, turn: usize) -> Result<()> {
        let mut apis = self.region.apis().await?;
        apis.remove(turn);
        self.apis.send_replace(apis);
        Ok(())
    }

    /// Waits until the second server follows the first again, which answers no commit before, and all bridges are ready.
    pub(crate) async fn recovered(&mut self) -> Result<()> {
        let follows = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = 'sync'";
        wait_for("the standby", FOLLOWED, async || {
            let said = self.server.sql("postgres", follows);
            let said = said.map_err(|error| error.to_string())?;
            (said == "1").then_some(()).ok_or(said)
        })
        .await?;
        self.region.ready().await
    }

    /// The first server dies, the one that followed it takes its place.
    pub(crate) async fn fail_over(&mut self) -> Result<()> {
        let standby = self.standby.take().context("a standby")?;
        self.server.stop()?;
        standby.promote()?;
        self.way.retarget(([127, 0, 0, 1], standby.port()).into());
        self.server = standby;
        Ok(())
    }
}

/// Runs a plan with a fault, and says what must be true afterwards and meanwhile.
pub(crate) async fn run(
    plan: Plan,
    fault: impl AsyncFnOnce(&mut Scenario) -> Result<()>,
) -> Result<()> {
    let mut rng = seed::rng(plan.test);
    let server = Server::start(&SETTINGS)?;
    let database = server.database()?;
    let standby = match plan.fault {
        Some(Fault::Standby) => Some(server.standby(&SETTINGS)?),
        None => None,
    };
    let way = RetargetableProxy::start(([127, 0, 0, 1], server.port()).into()).await?;
    let files = tempfile::tempdir()?;
    server.mount(files.path(), &database)?;
    std::fs::write(
        files.path().join("db.port"),
        way.address().port().to_string(),
    )?;
    let mut region = RegionBuilder::new(plan.test, BrokerKind::Sandbox)
        .without_quotas()
        .agents(plan.consumers)
        .replicas(files.path(), 3)
        .bridge_args(plan.args.iter().copied())
        .start()
        .await?;
    server.sql(&database, WITNESS)?;
    let (apis, follow) = watch::channel(region.apis().await?);
    let over = CancellationToken::new();
    let streams: Vec<_> = region
        .agents
        .keys()
        .map(|consumer| {
            let writer = Writer::new(follow.clone());
            let rng = StdRng::seed_from_u64(rng.random());
            write(writer, consumer.clone(), plan.bundles, rng, over.clone())
        })
        .collect();
    let kills = plan.kills;
    let mut scenario = Scenario {
        server,
        standby,
        way,
        region,
        apis,
        kills,
    };
    let faulting = async {
        let outcome = fault(&mut scenario).await;
        over.cancel();
        outcome
    };
    let (written, ()) = try_join(try_join_all(streams), faulting).await?;
    let expected = ExpectedBundles(
        written
            .into_iter()
            .flat_map(|expected| expected.0)
            .collect(),
    );
    let Scenario {
        server, mut region, ..
    } = scenario;
    region.ready().await?;
    expected.reached(&mut region, QUIESCENCE).await?;
    let backwards = server.sql(&database, BACKWARDS)?;
    ensure!(
        backwards.is_empty(),
        "statuses stored twice or backwards:\n{backwards}"
    );
    // Otherwise nothing was looked at.
    ensure!(
        server.sql(&database, WAITED)? == "t",
        "no bundle was ever noted"
    );
    let unsent = patient(UNSENT).as_secs();
    let late = server.sql(&database, &format!("{WAITS} > {unsent} LIMIT 5"))?;
    ensure!(
        late.is_empty(),
        "bundles unsent for more than {unsent} s:\n{late}"
    );
    region.passed();
    Ok(())
}

/// Creates the bundles of a consumer and changes them until it is over; each carries one object.
async fn write(
    writer: Writer,
    consumer: String,
    bundles: usize,
    mut rng: StdRng,
    over: CancellationToken,
) -> Result<ExpectedBundles> {
    let mut pace = interval(PACE);
    let mut expected = ExpectedBundles::default();
    let mut number = 0;
    while !over.is_cancelled() || number < bundles {
        pace.tick().await;
        let id = format!("{consumer}-{}", number % bundles);
        let manifests = vec![config_map(&id, &rng.random::<u64>().to_string())];
        match expected.0.get_mut(&id) {
            None => {
                writer.create(&id, &consumer, &manifests).await?;
                let bundle = ExpectedBundle {
                    consumer: consumer.clone(),
                    version: 1,
                    manifests,
                };
                expected.0.insert(id, bundle);
            }
            Some(bundle) => {
                bundle.version = writer.change(&id, bundle.version, &manifests).await?;
                bundle.manifests = manifests;
            }
        }
        number += 1;
    }
    Ok(expected)
}

/// Those of the smallest class of RDS.
pub(crate) const SETTINGS: [&str; 1] = ["max_connections=80"];

/// Notes every status that is stored, and how long each bundle waited to be sent, whatever its version became meanwhile.
const WITNESS: &str = "
    CREATE TABLE public.stored (n bigint GENERATED ALWAYS AS IDENTITY, bundle bigint, version bigint, sequence text);
    CREATE FUNCTION public.note_status() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO public.stored (bundle, version, sequence) VALUES (NEW.key, NEW.status_version, NEW.status_sequence);
        RETURN NULL; END $$;
    CREATE TRIGGER note_status AFTER UPDATE OF status_sequence ON bridge.bundles
        FOR EACH ROW EXECUTE FUNCTION public.note_status();
    CREATE TABLE public.waiting (bundle bigint PRIMARY KEY, since timestamptz NOT NULL);
    CREATE TABLE public.waited (bundle bigint, seconds numeric);
    CREATE FUNCTION public.note_unsent() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.unsent THEN
            INSERT INTO public.waiting VALUES (NEW.key, clock_timestamp()) ON CONFLICT DO NOTHING;
        ELSE
            INSERT INTO public.waited SELECT bundle, extract(epoch FROM clock_timestamp() - since)
                FROM public.waiting WHERE bundle = NEW.key;
            DELETE FROM public.waiting WHERE bundle = NEW.key;
        END IF;
        RETURN NULL; END $$;
    CREATE TRIGGER note_unsent AFTER INSERT OR UPDATE OF unsent ON bridge.bundles
        FOR EACH ROW EXECUTE FUNCTION public.note_unsent();";

/// A status whose sequence is not above the one stored before it, or whose version is lower.
const BACKWARDS: &str = "
    SELECT * FROM (SELECT bundle, version, sequence,
            lag(sequence) OVER w AS sequence_before, lag(version) OVER w AS version_before
        FROM public.stored WINDOW w AS (PARTITION BY bundle ORDER BY n)) s
    WHERE sequence::numeric <= sequence_before::numeric OR version < version_before LIMIT 5";

/// Whether any bundle was sent after a wait, and those that waited longer than what is put behind it.
const WAITED: &str = "SELECT count(*) > 0 FROM public.waited";
const WAITS: &str = "SELECT bundle, round(seconds, 1) FROM (SELECT * FROM public.waited UNION ALL
        SELECT bundle, extract(epoch FROM clock_timestamp() - since) FROM public.waiting) w
    WHERE seconds";

/// How long a bundle may wait through two faults in a row: each a lease that runs out, and a take-over.
const UNSENT: Duration = Duration::from_secs(30);

// It tries again every five seconds.
const FOLLOWED: Duration = Duration::from_secs(60);

// Of each consumer: some five changes a second.
const PACE: Duration = Duration::from_millis(200);

const QUIESCENCE: Duration = Duration::from_secs(90);
