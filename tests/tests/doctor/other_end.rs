//! The other end: an agent that is there or is not, by AWS and by the region's API, and a consumer that is not registered.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use link::clock::Clock;
use link::fault::Severity;
use link::id::ClientId;
use link::identity::{Identity, Location};
use link::mqtt::{self, ConnectError, Reconnect, Session, State};
use sandbox::broker::CertificateState::Active;
use sandbox::broker::Handle;
use serde_json::{Value, json};
use tests::wait::wait_for;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::bed::{Bed, Mounted, assert_faults, faults, told};
use crate::setup::{CONSUMER, agent, operator};

/// A process with an agent's client id that comes back at once whenever it is thrown out.
pub(crate) struct Rival {
    session: Session,
    lost: Arc<std::sync::atomic::AtomicU32>,
    stop: CancellationToken,
    _tasks: [AbortOnDropHandle<()>; 2],
    _identity: watch::Sender<Arc<Identity>>,
}

// === impl Rival ===

impl Rival {
    pub(crate) async fn start(broker: &Handle, mount: &Mounted, port: u16) -> Result<Self> {
        let consumer = link::id::ConsumerName::new(CONSUMER)?;
        let filter = link::topic::Scheme::default().source_events(&consumer);
        Self::subscribed(broker, &mount.path, port, vec![filter]).await
    }

    pub(crate) async fn subscribed(
        broker: &Handle,
        mount: &Path,
        port: u16,
        filters: Vec<String>,
    ) -> Result<Self> {
        let id = format!("{CONSUMER}-work-agent-client");
        let mut config = mqtt::Config::new("localhost", port, ClientId::new(id.clone())?);
        config.subscriptions = filters;
        let soon = Duration::from_millis(1200);
        config.reconnect = Reconnect {
            first: soon,
            max: soon,
            refused: soon,
            ..Reconnect::default()
        };
        let location = Location::Directory(mount.to_owned());
        let identity = Identity::load(&location, Clock::system().now())?;
        let (keep, identity) = watch::channel(Arc::new(identity));
        let metrics = mqtt::SessionMetrics::register(&prometheus::Registry::new())?;
        let (session, _inbound, driver) = config.build(identity, metrics)?;
        let stop = CancellationToken::new();
        let driving = tokio::spawn(driver.run(stop.clone()));
        let lost = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let mut states = session.state();
        let counter = lost.clone();
        let counting = tokio::spawn(async move {
            while states.changed().await.is_ok() {
                let state = states.borrow_and_update().clone();
                if let State::Waiting { error, .. } = state
                    && matches!(*error, ConnectError::Disconnected { code: 0x8e, .. })
                {
                    counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            }
        });
        let rival = Self {
            session,
            lost,
            stop,
            _tasks: [
                AbortOnDropHandle::new(driving),
                AbortOnDropHandle::new(counting),
            ],
            _identity: keep,
        };
        wait_for("the rival", Duration::from_secs(10), async || {
            let connected = broker.connections().iter().any(|it| it.client_id == id);
            match rival.session.state().borrow().is_ready() && connected {
                true => Ok(()),
                false => Err("not connected"),
            }
        })
        .await?;
        Ok(rival)
    }

    /// How often it was thrown out.
    pub(crate) fn lost(&self) -> u32 {
        self.lost.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tokio::test]
async fn aws_tells_of_an_agent_that_is_there_deaf_or_gone() -> Result<()> {
    let bed = Bed::new("doctor-other-end").await?;
    let mount = bed.mounted(agent(&bed.arn(), CONSUMER)?, Active)?;
    let port = bed.broker.local_addr().port();
    let consumer = ["--consumer", CONSUMER];
    let report = bed.with_aws(&mount.path, &consumer).await?;
    assert!(faults(&report).contains(&501), "{:#?}", report.findings);

    let there = Rival::start(&bed.broker.handle(), &mount, port).await?;
    let report = bed.with_aws(&mount.path, &consumer).await?;
    assert_faults(&report, &[]);
    for code in [300, 320, 330, 340, 501, 502, 600] {
        let found = report.findings.iter().find(|it| it.code.number() == code);
        assert!(
            found.is_some_and(|it| it.severity == Severity::Ok || code == 600),
            "MQ{code}: {:#?}",
            report.findings
        );
    }
    drop(there);

    let deaf = Rival::subscribed(&bed.broker.handle(), &mount.path, port, Vec::new()).await?;
    let report = bed.with_aws(&mount.path, &consumer).await?;
    assert_faults(&report, &[502]);
    assert!(told(&report, 502).contains("sourceevents"));
    drop(deaf);
    bed.dir.passed();
    Ok(())
}

#[tokio::test]
async fn a_consumer_that_is_not_registered_is_shown_with_near_names() -> Result<()> {
    let bed = Bed::new("doctor-names").await?;
    let mount = bed.mounted(agent(&bed.arn(), "cluster-11")?, Active)?;
    let api = Api::start(Router::new().route(
        "/api/maestro/v1/consumers",
        get(async || {
            json!({"kind": "ConsumerList", "items": [{"name": "prod-eu"}, {"name": CONSUMER}]})
                .to_string()
        }),
    ))
    .await?;
    let options = [
        "--consumer",
        "cluster-11",
        "--take-over",
        "--watch",
        "0.01",
        "--api",
        &api.url,
    ];
    let report = bed.doctor(&mount.path, &options).await?;
    assert_faults(&report, &[402]);
    assert!(told(&report, 402).contains(CONSUMER));
    bed.dir.passed();
    Ok(())
}

#[tokio::test]
async fn what_the_region_knows_of_an_agent_is_said_with_its_own_words() -> Result<()> {
    let bed = Bed::new("doctor-region").await?;
    let mount = bed.mounted(operator(&bed.arn())?, Active)?;
    let waiting = |code: &str| {
        json!({"state": "a bundle waits", "waiting": {
            "code": code, "since": "2026-11-29T00:00:00Z", "hop": "applied",
            "why": "ConfigMap a/b: forbidden: cannot patch configmaps", "next": "grant the agent `patch` on configmaps",
        }})
    };
    let idle = json!({"state": "idle", "since": "2026-11-28T00:00:00Z"});
    let away = json!({"state": "away", "since": "2026-11-28T00:00:00Z", "reason": "MQTT_KEEP_ALIVE_TIMEOUT"});
    let nothing = json!({"state": "nothing waits", "waiting": null});
    for (presence, story, expected, words) in [
        (&idle, nothing.clone(), None, ""),
        (&away, nothing.clone(), Some(501), "MQTT_KEEP_ALIVE_TIMEOUT"),
        (&json!({"state": "never"}), nothing, Some(501), "ever heard"),
        (
            &idle,
            waiting("MQ908"),
            Some(504),
            "cannot patch configmaps",
        ),
        (&idle, waiting("MQ907"), Some(503), "does not answer"),
    ] {
        let api = Api::start(region(presence, &story)).await?;
        let options = ["--topic", "test/a", "--api", &api.url];
        let report = bed.doctor(&mount.path, &options).await?;
        // Without a consumer only the API itself is looked at.
        assert_faults(&report, &[]);
        let config = bed.dir.path().join("far.yaml");
        std::fs::write(&config, "")?;
        let mount = bed.mounted(agent(&bed.arn(), CONSUMER)?, Active)?;
        let options = [
            "--consumer",
            CONSUMER,
            "--take-over",
            "--watch",
            "0.01",
            "--api",
            &api.url,
        ];
        let report = bed.doctor(&mount.path, &options).await?;
        let expected: Vec<u16> = expected.into_iter().collect();
        assert_faults(&report, &expected);
        if let Some(code) = expected.first() {
            assert!(
                told(&report, *code).contains(words),
                "{:#?}",
                report.findings
            );
        }
    }
    let options = ["--api", "http://127.0.0.1:1"];
    let report = bed.doctor(&mount.path, &options).await?;
    assert_faults(&report, &[510]);
    bed.dir.passed();
    Ok(())
}

fn region(presence: &Value, story: &Value) -> Router {
    let base = format!("/api/maestro/v1/consumers/{CONSUMER}");
    let say = |value: &Value| {
        let text = value.to_string();
        get(async move || text)
    };
    Router::new()
        .route(
            "/api/maestro/v1/consumers",
            get(async || json!({"kind": "ConsumerList", "items": []}).to_string()),
        )
        .route(
            &base,
            get(async || json!({"kind": "Consumer", "name": CONSUMER}).to_string()),
        )
        .route(&format!("{base}/presence"), say(presence))
        .route(&format!("{base}/explain"), say(story))
}

/// A stand-in for the region's API.
struct Api {
    url: String,
    _task: AbortOnDropHandle<()>,
}

// === impl Api ===

impl Api {
    async fn start(router: Router) -> Result<Self> {
        let router = router.fallback(async || (StatusCode::NOT_FOUND, "{}"));
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = TcpListener::bind(any).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            url,
            _task: AbortOnDropHandle::new(task),
        })
    }
}
