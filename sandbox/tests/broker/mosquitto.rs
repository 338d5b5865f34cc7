//! mosquitto's clients against the broker: the real thing on the other side, in both protocol versions.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use sandbox::broker::{Fingerprint, Quotas};
use sandbox::pki::{Layout, Set, write_mount};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::rig::{Rig, eventually, policy, soon};

const VERSIONS: [&str; 2] = ["mqttv311", "mqttv5"];

// More lines than any of these tests expects.
const LINES: usize = 100;

/// An identity on disk and where to connect with it.
struct Identity {
    directory: TempDir,
    port: u16,
}

/// A program that does not outlive its test.
struct Process(Child);

struct Subscriber {
    process: Process,
    lines: mpsc::Receiver<String>,
}

impl Identity {
    fn new(rig: &Rig, set: &Set) -> Self {
        let directory = tempfile::tempdir().unwrap();
        write_mount(directory.path(), set, &[], Layout::PerFileRename).unwrap();
        Self {
            directory,
            port: rig.broker.local_addr().port(),
        }
    }

    fn command(&self, program: &str, version: &str, client_id: &str) -> Command {
        let mut command = Command::new(program);
        let file = |name| self.directory.path().join(name);
        command
            .args(["-V", version, "-h", "localhost", "-q", "1", "-i", client_id])
            .args(["-p", &self.port.to_string()])
            .arg("--cafile")
            .arg(file("ca.crt"))
            .arg("--cert")
            .arg(file("certificate"))
            .arg("--key")
            .arg(file("privateKey"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs mosquitto_pub for at most `patience`; `None` when it did not end by then.
    async fn publish_within(
        &self,
        patience: Duration,
        version: &str,
        client_id: &str,
        args: &[&str],
    ) -> Option<(ExitStatus, String)> {
        let mut command = self.command("mosquitto_pub", version, client_id);
        let mut process = spawn(command.args(args));
        let deadline = tokio::time::Instant::now() + patience;
        while process.0.try_wait().unwrap().is_none() {
            if tokio::time::Instant::now() > deadline {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let output = process.output();
        Some((
            output.status,
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ))
    }

    /// Runs mosquitto_pub to its end.
    async fn publish(&self, version: &str, client_id: &str, args: &[&str]) -> (ExitStatus, String) {
        self.publish_within(Duration::from_secs(20), version, client_id, args)
            .await
            .expect("mosquitto_pub goes on for ever")
    }

    /// Starts mosquitto_sub and waits until the broker has its subscriptions.
    async fn subscribe(
        &self,
        rig: &Rig,
        version: &str,
        client_id: &str,
        filters: &[&str],
    ) -> Subscriber {
        let mut command = self.command("mosquitto_sub", version, client_id);
        for filter in filters {
            command.args(["-t", filter]);
        }
        let mut process = spawn(command.args(["-F", "%t %p"]));
        let (sender, lines) = mpsc::channel(LINES);
        let stdout = BufReader::new(process.0.stdout.take().unwrap());
        spawn_blocking(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.blocking_send(line).is_err() {
                    return;
                }
            }
        });
        eventually("the subscription to arrive", || {
            rig.broker
                .connections()
                .iter()
                .any(|c| c.client_id == client_id && c.subscriptions.len() == filters.len())
        })
        .await;
        Subscriber { process, lines }
    }
}

impl Process {
    fn output(mut self) -> Output {
        let status = self.0.wait().unwrap();
        let mut stderr = Vec::new();
        if let Some(mut pipe) = self.0.stderr.take() {
            pipe.read_to_end(&mut stderr).unwrap();
        }
        Output {
            status,
            stdout: Vec::new(),
            stderr,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Subscriber {
    async fn line(&mut self) -> String {
        soon("a line of mosquitto_sub", self.lines.recv())
            .await
            .unwrap()
    }

    async fn ended(self) {
        let output = spawn_blocking(|| self.process.output());
        soon("mosquitto_sub to end", output).await.unwrap();
    }
}

fn spawn(command: &mut Command) -> Process {
    let child = command.spawn().unwrap_or_else(|error| {
        let program = command.get_program().to_string_lossy().into_owned();
        panic!("run `{program}`: {error}; install it with `apt-get install mosquitto mosquitto-clients`")
    });
    Process(child)
}

fn pinned(rig: &Rig, name: &str) -> (Set, Fingerprint) {
    rig.register(
        name,
        policy(&[
            ("iot:Connect", &format!("client/{name}")),
            ("iot:Publish", "topic/allowed/*"),
            ("iot:Receive", "topic/allowed/*"),
            ("iot:Subscribe", "topicfilter/allowed/*"),
        ]),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn mosquitto_publishes_and_receives_what_its_policy_allows() {
    for version in VERSIONS {
        let rig = Rig::new().await;
        let (set, _) = pinned(&rig, "sub");
        let mut subscriber = Identity::new(&rig, &set)
            .subscribe(&rig, version, "sub", &["allowed/+"])
            .await;
        let (set, _) = pinned(&rig, "pub");
        let publisher = Identity::new(&rig, &set);
        let (status, text) = publisher
            .publish(version, "pub", &["-t", "allowed/a", "-m", "hello"])
            .await;
        assert!(status.success(), "{version}: {text}");
        assert_eq!(subscriber.line().await, "allowed/a hello", "{version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_publish_is_a_reason_code_on_5_and_a_lost_connection_on_3() {
    let rig = Rig::new().await;
    let (set, _) = pinned(&rig, "pub");
    let publisher = Identity::new(&rig, &set);
    let denied = ["-t", "denied", "-m", "x"];
    let (_, text) = publisher.publish("mqttv5", "pub", &denied).await;
    assert!(text.contains("Not authorized"), "{text}");
    // 3.1.1 clients reconnect and resend for ever (docs/IOT-CORE.md §1.3), so what is looked at is the broker.
    let _child = spawn(
        publisher
            .command("mosquitto_pub", "mqttv311", "pub")
            .args(denied),
    );
    eventually("a second denial of the same message", || {
        rig.broker.counts().publish_denied >= 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_client_id_does_not_connect() {
    let rig = Rig::new().await;
    let (set, _) = pinned(&rig, "me");
    let publisher = Identity::new(&rig, &set);
    for version in VERSIONS {
        let (status, text) = publisher
            .publish(version, "another", &["-t", "allowed/a", "-m", "x"])
            .await;
        assert!(!status.success(), "{version}: {text}");
    }
    assert_eq!(rig.broker.counts().connect_denied, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversize_payload_is_never_acknowledged() {
    let rig = Rig::new().await;
    let publisher = Identity::new(&rig, &rig.set);
    let file = publisher.directory.path().join("payload");
    for version in VERSIONS {
        for (size, fits) in [(131_072, true), (131_073, false)] {
            std::fs::write(&file, vec![b'x'; size]).unwrap();
            let args = ["-t", "a", "-f", file.to_str().unwrap()];
            let before = rig.broker.counts().published;
            // A refused one is sent again for ever; two seconds are many tries.
            let patience = Duration::from_secs(if fits { 20 } else { 2 });
            let outcome = publisher
                .publish_within(patience, version, "pub", &args)
                .await;
            let published = rig.broker.counts().published - before;
            assert_eq!(published, u64::from(fits), "{version} {size}: {outcome:?}");
            if fits {
                assert!(outcome.unwrap().0.success(), "{version} {size}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ninth_filter_costs_the_connection() {
    let rig = Rig::new().await;
    let identity = Identity::new(&rig, &rig.set);
    let filters: Vec<String> = (0..9).map(|n| format!("t/{n}")).collect();
    let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
    for version in VERSIONS {
        let client_id = format!("eight-{version}");
        let _eight = identity
            .subscribe(&rig, version, &client_id, &filters[..8])
            .await;
        let client_id = format!("nine-{version}");
        let mut command = identity.command("mosquitto_sub", version, &client_id);
        for filter in &filters {
            command.args(["-t", filter]);
        }
        let before = rig.broker.counts().connected;
        let _nine = spawn(&mut command);
        // mosquitto_sub may try again for ever: it must come and go without ever holding a subscription.
        eventually("a connection that ends", || {
            let connections = rig.broker.connections();
            let now = connections.iter().find(|c| c.client_id == client_id);
            assert!(
                now.is_none_or(|c| c.subscriptions.is_empty()),
                "{version}: subscribed"
            );
            rig.broker.counts().connected > before && now.is_none()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newer_of_two_clients_with_one_id_stays() {
    for version in VERSIONS {
        let rig = Rig::with(|config| config.quotas = Quotas::none()).await;
        let identity = Identity::new(&rig, &rig.set);
        let first = identity.subscribe(&rig, version, "same", &["a"]).await;
        let mut command = identity.command("mosquitto_sub", version, "same");
        let _second = spawn(command.args(["-t", "b"]));
        eventually("the second to take over", || {
            rig.broker
                .connections()
                .iter()
                .any(|c| c.subscriptions == ["b"])
        })
        .await;
        if version == "mqttv5" {
            // mosquitto_sub ends on 0x8E; after a bare close it would come back and take over in turn.
            first.ended().await;
        }
    }
}
