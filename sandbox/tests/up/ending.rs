//! How a region ends, and what it leaves: nothing in a throw-away directory, however it is told to stop.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::rig::{Up, sh, wait_for};

#[tokio::test]
async fn a_closed_terminal_ends_a_region_as_ctrl_c_does() {
    let temporary = tempfile::tempdir().unwrap();
    let up = Up::start(temporary.path(), &free(&["--json"]));
    up.line();
    // A terminal that is closed sends it more than once.
    sh(&format!("kill -HUP {}", up.id()));
    let ended = up.stop("HUP");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(left(temporary.path()), Vec::<String>::new());
}

#[tokio::test]
async fn a_log_that_nobody_takes_stops_nothing_and_hurts_nobody() {
    let temporary = tempfile::tempdir().unwrap();
    let args = free(&["--json", "--log-level", "info"]);
    let up = Up::start_unheard(temporary.path(), &args);
    up.line();
    let ended = up.stop("HUP");
    assert_eq!(ended.code, Some(0));
    assert_eq!(left(temporary.path()), Vec::<String>::new());
}

#[tokio::test]
async fn a_region_under_nohup_outlives_its_terminal() {
    let temporary = tempfile::tempdir().unwrap();
    let up = Up::start_by(
        temporary.path(),
        "trap '' HUP; exec \"$@\"",
        &free(&["--json"]),
    );
    let line = up.line();
    sh(&format!("kill -HUP {}", up.id()));
    let api = serde_json::from_str::<serde_json::Value>(&line).unwrap()["api"].clone();
    let url = format!("{}/api/maestro/v1/consumers", api.as_str().unwrap());
    assert_eq!(crate::rig::http("GET", &url, None).await.0, 200);
    assert_eq!(up.stop("INT").code, Some(0));
}

#[tokio::test]
async fn a_second_ctrl_c_ends_at_once_and_leaves_nothing() {
    let temporary = tempfile::tempdir().unwrap();
    let up = Up::start(temporary.path(), &free(&[]));
    while !up.line().starts_with("Ctrl-C stops") {}
    sh(&format!("kill -INT {}", up.id()));
    let ended = up.stop("INT");
    // The first may have been enough by then.
    assert!(matches!(ended.code, Some(0 | 1)), "{}", ended.stderr);
    assert!(
        ended
            .stderr
            .contains("stopping; Ctrl-C again stops at once")
    );
    assert_eq!(left(temporary.path()), Vec::<String>::new());
}

#[tokio::test]
async fn what_a_killed_region_left_goes_with_the_next_one() {
    let temporary = tempfile::tempdir().unwrap();
    let up = Up::start(temporary.path(), &free(&["--json"]));
    up.line();
    assert_eq!(up.stop("KILL").code, None);
    let [killed] = &left(temporary.path())[..] else {
        panic!("a directory is left");
    };
    assert!(temporary.path().join(killed).join("ca.key").is_file());
    let next = Up::start(temporary.path(), &free(&["--json"]));
    next.line();
    assert!(!temporary.path().join(killed).exists());
    next.stop("INT");
    assert_eq!(left(temporary.path()), Vec::<String>::new());
}

#[tokio::test]
async fn a_directory_with_other_files_is_kept_only_if_somebody_says_so() {
    let temporary = tempfile::tempdir().unwrap();
    let foreign = temporary.path().join("work");
    fs::create_dir(&foreign).unwrap();
    fs::set_permissions(&foreign, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(foreign.join("thesis.tex"), "").unwrap();
    let keep = ["--json", "--keep", foreign.to_str().unwrap()];
    let refused = Up::start(temporary.path(), &free(&keep)).ended();
    assert_eq!(refused.code, Some(2));
    for part in [
        "holds files that are not a region's (`thesis.tex`)",
        "add `--yes`",
    ] {
        assert!(refused.stderr.contains(part), "{}", refused.stderr);
    }
    let mode = fs::metadata(&foreign).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode, left(&foreign)),
        (0o755, vec!["thesis.tex".to_owned()])
    );

    let file = foreign.join("thesis.tex");
    let no_directory = ["--keep", file.to_str().unwrap()];
    let refused = Up::start(temporary.path(), &free(&no_directory)).ended();
    assert_eq!(refused.code, Some(2));
    assert!(
        refused.stderr.contains("is no directory"),
        "{}",
        refused.stderr
    );

    let accepted = [&keep[..], &["--yes"]].concat();
    let up = Up::start(temporary.path(), &free(&accepted));
    up.line();
    assert_eq!(up.stop("INT").code, Some(0));
    // It is a region's now.
    let up = Up::start(temporary.path(), &free(&keep));
    up.line();
    assert_eq!(up.stop("INT").code, Some(0));
    assert!(foreign.join("thesis.tex").is_file());
}

#[tokio::test]
async fn too_few_descriptors_are_named_before_anything_fails() {
    let temporary = tempfile::tempdir().unwrap();
    let args = free(&["--agents", "20"]);
    let refused = Up::start_by(temporary.path(), "ulimit -n 200; exec \"$@\"", &args).ended();
    assert_eq!(refused.code, Some(1));
    for part in [
        "20 agents need some 260 open files",
        "may have 200",
        "`ulimit -n 260`",
    ] {
        assert!(refused.stderr.contains(part), "{}", refused.stderr);
    }
    assert_eq!(left(temporary.path()), Vec::<String>::new());
    // A soft limit is raised.
    let up = Up::start_by(
        temporary.path(),
        "ulimit -Sn 60; exec \"$@\"",
        &free(&["--json"]),
    );
    up.line();
    assert_eq!(up.stop("INT").code, Some(0));
}

#[tokio::test]
async fn a_request_that_is_still_answered_is_waited_for_by_name() {
    let temporary = tempfile::tempdir().unwrap();
    let up = Up::start(temporary.path(), &free(&["--json"]));
    let region: serde_json::Value = serde_json::from_str(&up.line()).unwrap();
    let address = region["api"].as_str().unwrap().replace("http://", "");
    let mut slow = tokio::net::TcpStream::connect(&address).await.unwrap();
    let head = format!(
        "POST /api/maestro/v1/consumers HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: 100\r\nExpect: 100-continue\r\n\r\n"
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    // Asked for the rest, it is at the request.
    let mut begun = [0; 12];
    slow.read_exact(&mut begun).await.unwrap();
    assert_eq!(&begun, b"HTTP/1.1 100");
    sh(&format!("kill -INT {}", up.id()));
    wait_for("what is waited for", async || {
        let said = up.stderr();
        match said.contains("waiting for: server-bridge") {
            true => Ok(()),
            false => Err(said),
        }
    })
    .await;
    drop(slow);
    assert_eq!(up.ended().code, Some(0));
}

/// Free ports: the usual ones are another test's.
fn free<'a>(args: &[&'a str]) -> Vec<&'a str> {
    let any = "127.0.0.1:0";
    let ports = [
        "--broker-port",
        "0",
        "--api-listen",
        any,
        "--grpc-listen",
        any,
    ];
    [&ports[..], args].concat()
}

fn left(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}
