//! Two processes on one SQLite file: the second is told who has it, however it names the file and however the first ended,
//! and those that only read are not kept away.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use server_bridge::store::sqlite::SqliteStore;
use server_bridge::store::{Location, Store as _};
use sqlx::{Connection as _, SqliteConnection};
use tempfile::TempDir;
use tokio::process::Child;

use crate::{at, bundle, with_consumers};

struct Place(TempDir);

impl Place {
    /// A database with a bundle, a link to it, and what a bridge connects with.
    async fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let store = SqliteStore::open(place.path("bridge.db")).await.unwrap();
        with_consumers(&store, &["c1"]).await;
        store.create_bundle(bundle("b", "c1"), at(1)).await.unwrap();
        store.close().await;
        symlink("bridge.db", place.path("link.db")).unwrap();
        place.mount();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn mount(&self) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "bridge");
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap().pem();
        fs::create_dir(self.path("mount")).unwrap();
        let write =
            |name: &str, text: &str| fs::write(self.path("mount").join(name), text).unwrap();
        write("certificate", &certificate);
        write("privateKey", &key.serialize_pem());
        write("ca.crt", &ca);
    }

    fn command(&self, args: &[&str], file: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_server-bridge"));
        command.env_clear().args(args).arg("--db").arg(file);
        command
    }

    /// A bridge that has no broker: it tries again and again, and holds its database meanwhile.
    fn bridge(&self, file: &str) -> Command {
        let mut command = self.command(
            &["--broker-host", "127.0.0.1:1", "--enable-grpc-server=false"],
            &self.path(file),
        );
        command
            .args([
                "--api-listen",
                "127.0.0.1:0",
                "--admin-listen",
                "127.0.0.1:0",
            ])
            .arg("--mount")
            .arg(self.path("mount"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    /// Starts a bridge and waits until the file of the lock names it; its process id.
    async fn started(&self, file: &str) -> (Child, u32) {
        let mut command = tokio::process::Command::from(self.bridge(file));
        command.stderr(Stdio::null()).kill_on_drop(true);
        let mut bridge = command.spawn().unwrap();
        let pid = bridge.id().unwrap();
        let until = Instant::now() + PATIENCE;
        let held = format!("held by {pid} ");
        while !fs::read_to_string(self.path("bridge.db.lock"))
            .is_ok_and(|text| text.contains(&held))
        {
            assert!(bridge.try_wait().unwrap().is_none(), "the bridge runs");
            assert!(Instant::now() < until, "the bridge holds the file");
            tokio::task::yield_now().await;
        }
        (bridge, pid)
    }

    /// What is said of a command that is refused.
    async fn refused(&self, command: Command) -> String {
        let output = tokio::process::Command::from(command)
            .output()
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        said
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_of_two_processes_is_told_who_holds_the_file_and_one_that_was_killed_holds_nothing()
 {
    let place = Place::new().await;
    let (mut first, pid) = place.started("bridge.db").await;
    for file in ["bridge.db", "link.db"] {
        let said = place.refused(place.bridge(file)).await;
        let holder = format!("bridge.db.lock`: process {pid} on host `");
        assert!(
            said.contains("another process holds `") && said.contains(&holder),
            "{said}"
        );
        assert!(said.contains("hint: one bridge per file"), "{said}");
        let migrate = place.command(&["store", "migrate"], &place.path(file));
        assert!(place.refused(migrate).await.contains(&holder));
    }

    first.kill().await.unwrap();
    let (second, other) = place.started("link.db").await;
    assert_ne!(pid, other);
    drop(second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_reads_is_not_kept_away_by_a_bridge_and_a_backup_is_whole() {
    let place = Place::new().await;
    let (mut bridge, _) = place.started("bridge.db").await;
    for file in ["bridge.db", "link.db"] {
        let found = Location::Sqlite(place.path(file)).overview(at(2)).await;
        assert_eq!(found.unwrap().holds.unwrap().bundles, 1);
    }
    let backup = place.path("backup.db");
    let url = format!("sqlite://{}", place.path("bridge.db").display());
    let mut reader = SqliteConnection::connect(&url).await.unwrap();
    sqlx::query("VACUUM INTO ?")
        .bind(backup.display().to_string())
        .execute(&mut reader)
        .await
        .unwrap();
    reader.close().await.unwrap();
    assert!(bridge.try_wait().unwrap().is_none());
    // A store of its own, with a lock of its own.
    let store = SqliteStore::open(&backup).await.unwrap();
    assert!(store.get_bundle("b").await.unwrap().is_some());
    store.close().await;
}

const PATIENCE: Duration = Duration::from_secs(60);
