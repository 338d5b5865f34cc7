//! Both writers, torn pairs, bad replacements; each wait is for a value, with a deadline.

use std::path::Path;
use std::sync::Mutex;

use prometheus::{Encoder as _, Registry, TextEncoder};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::super::fixture::{Ca, client_params, now, replace};
use super::*;

/// A watched directory; events only, the poll is far away unless the test asks for it.
struct Rig {
    identity: channel::Receiver<Arc<Identity>>,
    problem: channel::Receiver<Option<IdentityProblem>>,
    registry: Registry,
    drain: CancellationToken,
    task: JoinHandle<()>,
}

impl Rig {
    fn start(location: Location, options: WatchOptions, clock: Clock) -> Self {
        let registry = Registry::new();
        let metrics = IdentityMetrics::register(&registry).unwrap();
        let (identity, watcher) = watch(location, clock, options, metrics).unwrap();
        let problem = watcher.problem();
        let drain = CancellationToken::new();
        let task = tokio::spawn(watcher.run(drain.clone()));
        Self {
            identity,
            problem,
            registry,
            drain,
            task,
        }
    }

    fn events_only(directory: &TempDir) -> Self {
        Self::start(
            Location::Directory(directory.path().into()),
            EVENTS,
            Clock::fixed(now()),
        )
    }

    async fn identity_of(&mut self, subject: &str) {
        let waited = self
            .identity
            .wait_for(|identity| identity.describe().subject == subject);
        if tokio::time::timeout(DEADLINE, waited).await.is_err() {
            panic!(
                "no identity of {subject}, the problem is {:?}",
                *self.problem.borrow()
            );
        }
    }

    async fn problem_with(&mut self, text: &str) -> String {
        let waited = self.problem.wait_for(|problem| {
            problem
                .as_ref()
                .is_some_and(|problem| problem.to_string().contains(text))
        });
        let problem = tokio::time::timeout(DEADLINE, waited)
            .await
            .expect("a problem")
            .unwrap()
            .clone();
        problem.unwrap().to_string()
    }

    async fn no_problem(&mut self) {
        let waited = self.problem.wait_for(Option::is_none);
        tokio::time::timeout(DEADLINE, waited)
            .await
            .expect("no problem")
            .unwrap();
    }

    fn metric(&self, name: &str) -> f64 {
        let mut page = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut page)
            .unwrap();
        let page = String::from_utf8(page).unwrap();
        let line = page
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_else(|| panic!("{name} in {page}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    async fn metric_at_least(&self, name: &str, value: f64) {
        let reached = async {
            let mut tick = tokio::time::interval(Duration::from_millis(5));
            while self.metric(name) < value {
                tick.tick().await;
            }
        };
        tokio::time::timeout(DEADLINE, reached).await.expect(name);
    }

    async fn stop(self) {
        self.drain.cancel();
        tokio::time::timeout(DEADLINE, self.task)
            .await
            .expect("an end")
            .unwrap();
    }
}

#[tokio::test]
async fn the_provider_renaming_file_by_file_is_followed() {
    let ca = Ca::new("root");
    let directory = ca.client("one").in_directory();
    let mut rig = Rig::events_only(&directory);
    for name in ["two", "three"] {
        ca.client(name).provider_writes(directory.path());
        rig.identity_of(&format!("CN={name}")).await;
    }
    assert_eq!(
        rig.metric("identity_expiry_timestamp_seconds"),
        1_825_027_200.0
    );
    rig.stop().await;
}

#[tokio::test]
async fn the_driver_swapping_the_data_link_is_followed() {
    let ca = Ca::new("root");
    let directory = tempfile::tempdir().unwrap();
    ca.client("one").driver_writes(directory.path(), "1");
    let mut rig = Rig::events_only(&directory);
    for name in ["2", "3"] {
        ca.client(name).driver_writes(directory.path(), name);
        rig.identity_of(&format!("CN={name}")).await;
    }
    rig.stop().await;
}

#[tokio::test]
async fn explicit_files_in_two_directories_are_followed() {
    let ca = Ca::new("root");
    let (first, second) = (
        ca.client("one").in_directory(),
        ca.client("one").in_directory(),
    );
    let set = ca.client("one");
    replace(first.path(), "client.crt", &set.certificate);
    replace(second.path(), "client.key", &set.key);
    let location = Location::Files {
        certificate: first.path().join("client.crt"),
        key: second.path().join("client.key"),
        ca: first.path().join("ca.crt"),
    };
    let mut rig = Rig::start(location, EVENTS, Clock::fixed(now()));
    let set = ca.client("two");
    replace(first.path(), "client.crt", &set.certificate);
    replace(second.path(), "client.key", &set.key);
    rig.identity_of("CN=two").await;
    rig.stop().await;
}

#[tokio::test]
async fn a_torn_pair_keeps_the_old_set_and_is_reported_once_until_it_is_whole() {
    let ca = Ca::new("root");
    let directory = ca.client("one").in_directory();
    let mut rig = Rig::events_only(&directory);
    let two = ca.client("two");
    replace(directory.path(), "certificate", &two.certificate);
    let problem = rig.problem_with("does not match the certificate").await;
    assert!(
        problem.ends_with("(since 2026-11-24T12:00:00Z)"),
        "{problem}"
    );
    assert_eq!(rig.identity.borrow().describe().subject, "CN=one");
    assert_eq!(rig.metric("identity_set_refused"), 1.0);
    // The same torn content written again is the same problem.
    replace(directory.path(), "certificate", &two.certificate);
    replace(directory.path(), "privateKey", &two.key);
    rig.identity_of("CN=two").await;
    rig.no_problem().await;
    assert_eq!(rig.metric("identity_set_refused"), 0.0);
    assert_eq!(
        rig.metric("identity_reloads_total{outcome=\"refused\"}"),
        1.0
    );
    assert_eq!(
        rig.metric("identity_reloads_total{outcome=\"accepted\"}"),
        1.0
    );
    rig.stop().await;
}

#[tokio::test]
async fn an_expired_replacement_is_reported_and_not_used() {
    let ca = Ca::new("root");
    let directory = ca.client("one").in_directory();
    let mut rig = Rig::events_only(&directory);
    let mut params = client_params("old");
    params.not_after = rcgen::date_time_ymd(2026, 11, 20);
    ca.issue(&params, &rcgen::PKCS_ECDSA_P256_SHA256)
        .provider_writes(directory.path());
    rig.problem_with("expired at 2026-11-20T00:00:00Z; the clock here shows 2026-11-24T12:00:00Z")
        .await;
    assert_eq!(rig.identity.borrow().describe().subject, "CN=one");
    ca.client("two").provider_writes(directory.path());
    rig.identity_of("CN=two").await;
    rig.no_problem().await;
    rig.stop().await;
}

#[tokio::test]
async fn going_back_to_the_set_in_use_ends_the_problem_without_a_reload() {
    let ca = Ca::new("root");
    let one = ca.client("one");
    let directory = one.in_directory();
    let mut rig = Rig::events_only(&directory);
    replace(directory.path(), "privateKey", "{}");
    rig.problem_with("JSON object").await;
    one.provider_writes(directory.path());
    rig.no_problem().await;
    assert!(!rig.identity.has_changed().unwrap());
    rig.stop().await;
}

#[tokio::test]
async fn a_replaced_directory_is_watched_again() {
    let ca = Ca::new("root");
    let parent = tempfile::tempdir().unwrap();
    let mount = parent.path().join("mount");
    std::fs::create_dir(&mount).unwrap();
    ca.client("one").provider_writes(&mount);
    let mut rig = Rig::start(
        Location::Directory(mount.clone()),
        EVENTS,
        Clock::fixed(now()),
    );
    std::fs::remove_dir_all(&mount).unwrap();
    rig.problem_with("does not exist").await;
    swap_in(&mount, parent.path(), |fresh| {
        ca.client("two").provider_writes(fresh);
    });
    rig.identity_of("CN=two").await;
    // Moved aside, its name given to another one: the event of the move is all there is.
    std::fs::rename(&mount, parent.path().join("aside")).unwrap();
    swap_in(&mount, parent.path(), |fresh| {
        ca.client("three").provider_writes(fresh);
    });
    rig.identity_of("CN=three").await;
    // By event again, with the poll far away.
    ca.client("four").provider_writes(&mount);
    rig.identity_of("CN=four").await;
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_change_without_an_event_is_found_by_the_poll() {
    let ca = Ca::new("root");
    let directory = ca.client("one").in_directory();
    let target = tempfile::tempdir().unwrap();
    let set = ca.client("one");
    set.provider_writes(target.path());
    // The files are links out of the watched directory: writing behind them is not seen in it.
    for name in ["certificate", "privateKey", "ca.crt"] {
        std::fs::remove_file(directory.path().join(name)).unwrap();
        std::os::unix::fs::symlink(target.path().join(name), directory.path().join(name)).unwrap();
    }
    let mut rig = Rig::start(
        Location::Directory(directory.path().into()),
        WatchOptions::default(),
        Clock::fixed(now()),
    );
    rig.metric_at_least("identity_reloads_total{outcome=\"unchanged\"}", 1.0)
        .await;
    ca.client("two").provider_writes(target.path());
    rig.identity_of("CN=two").await;
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn unchanged_rewrites_publish_nothing() {
    let one = Ca::new("root").client("one");
    let directory = one.in_directory();
    let rig = Rig::start(
        Location::Directory(directory.path().into()),
        WatchOptions::default(),
        Clock::fixed(now()),
    );
    for looks in 1..=3 {
        one.provider_writes(directory.path());
        rig.metric_at_least(
            "identity_reloads_total{outcome=\"unchanged\"}",
            f64::from(looks),
        )
        .await;
    }
    assert!(!rig.identity.has_changed().unwrap());
    assert!(rig.problem.borrow().is_none());
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_set_in_use_running_out_is_reported() {
    let directory = Ca::new("root").client("one").in_directory();
    let time = Arc::new(Mutex::new(now()));
    let shown = Arc::clone(&time);
    let clock = Clock::from_fn(move || *shown.lock().unwrap());
    let mut rig = Rig::start(
        Location::Directory(directory.path().into()),
        WatchOptions::default(),
        clock,
    );
    *time.lock().unwrap() = "2027-11-02T00:00:00Z".parse().unwrap();
    rig.problem_with("expired at 2027-11-01T00:00:00Z; the clock here shows 2027-11-02T00:00:00Z")
        .await;
    rig.stop().await;
}

#[test]
fn watching_begins_with_a_good_set_or_not_at_all() {
    let directory = Ca::new("root").client("one").in_directory();
    replace(directory.path(), "privateKey", "");
    let metrics = IdentityMetrics::register(&Registry::new()).unwrap();
    let refused = watch(
        Location::Directory(directory.path().into()),
        Clock::fixed(now()),
        WatchOptions::default(),
        metrics,
    );
    assert!(matches!(refused, Err(IdentityError::Content { .. })));
}

/// Fills a directory under another name and moves it to `mount`, whole.
fn swap_in(mount: &Path, parent: &Path, fill: impl FnOnce(&Path)) {
    let fresh = parent.join("fresh");
    std::fs::create_dir(&fresh).unwrap();
    fill(&fresh);
    std::fs::rename(fresh, mount).unwrap();
}

const EVENTS: WatchOptions = WatchOptions {
    poll_interval: Duration::from_secs(3600),
    debounce: Duration::from_millis(15),
};

// Longer than the poll, because under a paused clock both pass at once.
const DEADLINE: Duration = Duration::from_secs(45);
