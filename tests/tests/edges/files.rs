//! Files: what holds a cluster's secrets is its owner's alone, what is no file is not read as one, what is read is not
//! repeated to whoever reads the log, and nothing is written where a link leads.

use std::ffi::OsString;
use std::fs::Permissions;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use tests::api::{Change, config_map};
use tests::process::ProcessSpec;
use tests::region::{BrokerKind, RegionBuilder};
use tests::test_dir::TestDir;
use tests::wait::wait_for;

use super::{PATIENCE, goes_on};

#[tokio::test(flavor = "multi_thread")]
async fn what_holds_manifests_is_read_by_its_owner_alone() -> Result<()> {
    let mut region = RegionBuilder::new("edges-modes", BrokerKind::Sandbox)
        .bridge_limits("umask 000")
        .start()
        .await?;
    goes_on(&mut region, "cluster1", "a").await?;
    let agent = region.agent("cluster1")?;
    let mut seen = Vec::new();
    for root in [agent.state.clone(), agent.target.clone()] {
        open_to_others(&root, &mut seen)?;
    }
    let database = region.database();
    for suffix in ["", "-wal", "-shm", ".lock"] {
        let mut file = database.clone().into_os_string();
        file.push(suffix);
        if Path::new(&file).exists() {
            open_to_others(Path::new(&file), &mut seen)?;
        }
    }
    ensure!(seen.is_empty(), "others may read {seen:#?}");
    // What an older version left open is closed at the start.
    region.bridge.process().stop(PATIENCE).await?;
    std::fs::set_permissions(&database, Permissions::from_mode(0o644))?;
    let work = {
        let agent = region.agent("cluster1")?;
        agent.service.process().stop(PATIENCE).await?;
        std::fs::set_permissions(&agent.state, Permissions::from_mode(0o755))?;
        agent.service.restart()?;
        agent.state.clone()
    };
    region.bridge.restart()?;
    region.ready().await?;
    ensure!(mode(&database)? & OTHERS == 0, "{:o}", mode(&database)?);
    ensure!(mode(&work)? & OTHERS == 0, "{:o}", mode(&work)?);
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_file_is_refused_as_configuration() -> Result<()> {
    let test_dir = TestDir::new("edges-no-file")?;
    let fifo = test_dir.path().join("fifo");
    ensure!(Command::new("mkfifo").arg(&fifo).status()?.success());
    for (name, file) in [("fifo", fifo), ("zero", PathBuf::from("/dev/zero"))] {
        let database = test_dir.path().join("bridge.sqlite");
        let bridge = ProcessSpec::binary("server-bridge")?
            .arg("--db")
            .arg(database)
            .args(["--api-listen", ANY, "--grpc-listen", ANY])
            .arg("--message-broker-config-file")
            .arg(&file);
        let mut target = OsString::from("dir:");
        target.push(test_dir.path().join("target"));
        let agent = ProcessSpec::binary("agent")?
            .args(["--consumer-name", "cluster1", "--target"])
            .arg(target)
            .arg("--state-dir")
            .arg(test_dir.path().join("state"))
            .arg("--workload-source-config")
            .arg(&file);
        for (program, spec) in [("bridge", bridge), ("agent", agent)] {
            let ended = spec
                .label(format!("{program}-{name}"))
                .args(["--admin-listen", ANY])
                // A reader of everything would take the machine with it.
                .limited("ulimit -v 4000000")
                .run(test_dir.path(), PATIENCE)
                .await?;
            let named = ended.stderr.contains(&*file.to_string_lossy());
            ensure!(
                ended.status.code() == Some(2) && named,
                "{program} of {}: {} {}",
                file.display(),
                ended.status,
                ended.stderr
            );
        }
    }
    test_dir.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_given_as_a_list_of_consumers_is_not_printed() -> Result<()> {
    let region = RegionBuilder::new("edges-key", BrokerKind::Sandbox)
        .start()
        .await?;
    let key = region.bridge_mount.directory().join("privateKey");
    let ended = ProcessSpec::binary("server-bridge")?
        .label("key")
        .arg("--mount")
        .arg(region.bridge_mount.directory())
        .arg("--db")
        .arg(region.test_dir.path().join("other.sqlite"))
        .arg("--consumers")
        .arg(&key)
        .args(["--api-listen", ANY, "--grpc-listen", ANY])
        .args(["--admin-listen", ANY])
        .run(region.test_dir.path(), PATIENCE)
        .await?;
    ensure!(!ended.status.success(), "{}", ended.stderr);
    let text = std::fs::read_to_string(&key)?;
    let said = ended.stdout + &ended.stderr;
    for line in text.lines().filter(|line| !line.starts_with("-----")) {
        // Any piece of it long enough to be worth something.
        let piece = line.get(..16).unwrap_or(line);
        ensure!(!said.contains(piece), "a line of the key is in the log");
    }
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_in_the_target_leads_no_object_elsewhere() -> Result<()> {
    let mut region = RegionBuilder::new("edges-link", BrokerKind::Sandbox)
        .start()
        .await?;
    goes_on(&mut region, "cluster1", "a").await?;
    let elsewhere = region.test_dir.dir("elsewhere")?;
    let api = region.api().await?;
    let target = region.agent("cluster1")?.target.clone();
    // A directory of objects, and one object.
    symlink(&elsewhere, target.join("linked"))?;
    let victim = elsewhere.join("victim");
    std::fs::write(&victim, "untouched")?;
    let directory = target.join("default").join("configmap");
    symlink(&victim, directory.join("aimed.yaml"))?;
    let mut linked = config_map("b", "here");
    linked["metadata"]["namespace"] = "linked".into();
    for manifest in [linked, config_map("aimed", "here")] {
        let id = api
            .create_bundle(&Change::create("cluster1", vec![manifest]))
            .await?
            .id;
        wait_for("a status", PATIENCE, async || match api.bundle(&id).await {
            Ok(Some(bundle)) if bundle.observed_version() == 1 => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await?;
    }
    let found = tests::fleet::files(&elsewhere)?;
    ensure!(found.len() == 1, "written elsewhere: {found:?}");
    ensure!(std::fs::read_to_string(&victim)? == "untouched");
    goes_on(&mut region, "cluster1", "c").await?;
    region.passed();
    Ok(())
}

/// Notes everything below a path that somebody else may read or write.
fn open_to_others(path: &Path, seen: &mut Vec<String>) -> Result<()> {
    let mode = match mode(path) {
        // Written aside, and renamed meanwhile.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        mode => mode?,
    };
    if mode & OTHERS != 0 {
        seen.push(format!("{:o} {}", mode & 0o777, path.display()));
    }
    if path.is_dir() {
        for entry in std::fs::read_dir(path)? {
            open_to_others(&entry?.path(), seen)?;
        }
    }
    Ok(())
}

fn mode(path: &Path) -> io::Result<u32> {
    Ok(std::fs::metadata(path)?.permissions().mode())
}

const ANY: &str = "127.0.0.1:0";
const OTHERS: u32 = 0o077;
