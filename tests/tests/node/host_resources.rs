//! What a node takes from the machine it gives back, and what it misses it names.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use tests::process::ProcessSpec;
use tests::test_dir::{TestDir, profile_directory};
use tests::wait::wait_for;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_node_whose_process_was_killed() -> Result<()> {
    let test_dir = TestDir::new("node-killed")?;
    let mut process = ProcessSpec::binary("cluster")?
        .arg("--node")
        .start(test_dir.path())?;
    let line = process.line_with("node: ", PATIENCE).await?;
    let name = line.trim_start_matches("node: ").trim();
    ensure!(Path::new("/run/netns").join(name).exists());
    let servers = Path::new("/tmp").join(name).join("servers");
    let ours = std::fs::read_to_string(&servers)?;
    process.kill()?;
    wait_for("the end of the node", PATIENCE, async || match left(name) {
        // Another node has the number by now.
        Some(_) if std::fs::read_to_string(&servers).is_ok_and(|theirs| theirs != ours) => Ok(()),
        Some(path) => Err(path.display().to_string()),
        None => Ok(()),
    })
    .await?;
    test_dir.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_root_a_node_says_what_it_misses() -> Result<()> {
    let test_dir = TestDir::new("node-nobody")?;
    let unshare = ProcessSpec::installed("unshare", "run `apt-get install util-linux`")?;
    // Whoever is in a name space of users alone is nobody there.
    let cluster = unshare
        .arg("--user")
        .arg(profile_directory()?.join("cluster"))
        .arg("--node");
    let output = cluster.run(test_dir.path(), PATIENCE).await?;
    ensure!(!output.status.success());
    let missing = "a node cannot run on this machine: not root";
    ensure!(output.stderr.contains(missing), "{}", output.stderr);
    test_dir.passed();
    Ok(())
}

/// Something of a node that is still there.
fn left(name: &str) -> Option<PathBuf> {
    let groups = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten();
    let groups = groups.filter_map(|entry| Some(entry.ok()?.path().join(name)));
    let fixed = [
        Path::new("/sys/fs/cgroup").join(name),
        Path::new("/run/netns").join(name),
        Path::new("/tmp").join(name),
    ];
    fixed.into_iter().chain(groups).find(|path| path.exists())
}

const PATIENCE: Duration = Duration::from_secs(120);
