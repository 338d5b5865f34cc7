//! The harness' own promises about children.

use super::*;
use crate::test_dir::TestDir;

const PATIENCE: Duration = Duration::from_secs(10);

fn shell(script: &str) -> ProcessSpec {
    ProcessSpec::installed("sh", "install a shell")
        .unwrap()
        .arg("-c")
        .arg(script)
}

#[test]
fn a_missing_binary_names_the_command_that_builds_it() {
    let text = ProcessSpec::binary("no-such-binary")
        .unwrap_err()
        .to_string();
    assert!(
        text.ends_with("run `cargo build --workspace --bins`"),
        "{text}"
    );
}

#[tokio::test]
async fn a_child_dies_with_its_handle() {
    let test_dir = TestDir::new("process").unwrap();
    let mut process = shell("echo up; exec sleep 600")
        .start(test_dir.path())
        .unwrap();
    process.line_with("up", PATIENCE).await.unwrap();
    let id = process.id();
    assert!(Path::new(&format!("/proc/{id}")).exists());
    drop(process);
    assert!(!Path::new(&format!("/proc/{id}")).exists());
    test_dir.passed();
}

#[tokio::test]
async fn a_term_signal_lets_a_child_end_in_order() {
    let test_dir = TestDir::new("process").unwrap();
    let script = "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.01; done";
    let mut process = shell(script).start(test_dir.path()).unwrap();
    process.line_with("up", PATIENCE).await.unwrap();
    let status = process.stop(PATIENCE).await.unwrap();
    assert_eq!(status.code(), Some(7));
    assert_eq!(process.stdout(), "up\nbye\n");
    test_dir.passed();
}

#[tokio::test]
async fn a_restart_runs_the_same_command_and_keeps_the_output() {
    let test_dir = TestDir::new("process").unwrap();
    let mut process = shell("echo up $$; exec sleep 600")
        .start(test_dir.path())
        .unwrap();
    process.line_with("up", PATIENCE).await.unwrap();
    let first = process.id();
    process.restart().unwrap();
    assert_ne!(process.id(), first);
    let second = format!("up {}", process.id());
    process.line_with(&second, PATIENCE).await.unwrap();
    assert_eq!(process.stdout().lines().count(), 2);
    test_dir.passed();
}

#[tokio::test]
async fn an_early_end_shows_the_output() {
    let test_dir = TestDir::new("process").unwrap();
    let mut process = shell("echo broken >&2; exit 3")
        .start(test_dir.path())
        .unwrap();
    let error = process.line_with("ready", PATIENCE).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("exit status: 3") && text.ends_with("broken"),
        "{text}"
    );
    test_dir.passed();
}

#[tokio::test]
async fn a_limited_child_is_the_program_itself() {
    let test_dir = TestDir::new("process").unwrap();
    let script = "echo up $$ $(ulimit -n); exec sleep 600";
    let mut process = shell(script)
        .limited("ulimit -n 77")
        .start(test_dir.path())
        .unwrap();
    let line = format!("up {} 77", process.id());
    process.line_with(&line, PATIENCE).await.unwrap();
    test_dir.passed();
}
