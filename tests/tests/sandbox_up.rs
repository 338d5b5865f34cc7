//! The lines that `sandbox up` prints for `probe`, run as they stand, and the mounted directories it lays down, used
//! by the real binaries.

#[path = "sandbox_up/doors.rs"]
mod doors;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tests::api::{Api, Change, config_map};
use tests::postgres::{PASSWORD, Server, USER};
use tests::process::{Output, Process, ProcessSpec};
use tests::source::{Source, work};
use tests::test_dir::TestDir;
use tests::tmpfs::Tmpfs;

#[tokio::test]
async fn the_printed_probe_lines_work_as_they_stand() -> Result<()> {
    let test_dir = TestDir::new("up-probe-lines")?;
    let mut region = ProcessSpec::binary("sandbox")?
        .arg("up")
        .start(test_dir.path())?;
    region.line_with("Ctrl-C stops", PATIENCE).await?;
    let text = region.stdout();
    let line = |command: &str| {
        let part = format!("probe {command} --identity ");
        let found = text.lines().find(|line| line.contains(&part));
        found.with_context(|| format!("no line with `{part}` in\n{text}"))
    };
    // Built beside `sandbox`, so the line names it with its path.
    ProcessSpec::binary("probe")?;
    let check = sh(line("check")?, test_dir.path(), "check").await?;
    assert!(check.status.success(), "{check:?}");
    let doctor = sh(line("doctor")?, test_dir.path(), "doctor").await?;
    assert!(doctor.status.success(), "{doctor:?}");
    let mut subscribing = start_sh(line("subscribe")?, test_dir.path(), "subscribe")?;
    let publishing = line("publish")?;
    // Published anew until it is seen: a person starts the subscriber first and waits, a script cannot know when.
    tests::wait::wait_for("the message at the subscriber", PATIENCE, async || {
        match sh(publishing, test_dir.path(), "publish").await {
            Ok(output) if output.status.success() => {}
            other => return Err(format!("{other:?}")),
        }
        let seen = subscribing.stdout();
        if seen.lines().any(|line| line.trim() == "hello") {
            Ok(())
        } else {
            Err(seen)
        }
    })
    .await?;
    subscribing.kill()?;
    stop(region).await?;
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn the_operator_may_use_test_topics_and_speak_for_no_consumer() -> Result<()> {
    let test_dir = TestDir::new("up-operator")?;
    let up = ProcessSpec::binary("sandbox")?.args(["up", "--json"]);
    let mut region = up.start(test_dir.path())?;
    let line = region.line_with("\"operator\"", PATIENCE).await?;
    let summary: Value = serde_json::from_str(&line)?;
    let identity = summary["operator"]["identity"]
        .as_str()
        .context("a directory")?;
    for (topic, code) in [
        ("test/anything", 0),
        ("maestro/consumers/test/sourceevents", 0),
        ("maestro/consumers/cluster1/sourceevents", REFUSED),
        ("maestro/consumers/cluster1/agentevents", REFUSED),
    ] {
        let publish = ProcessSpec::binary("probe")?
            .args(["publish", "--identity", identity, "-t", topic, "-m", "x"])
            .label(topic.replace('/', "-"));
        let output = publish.run(test_dir.path(), PATIENCE).await?;
        assert_eq!(output.status.code(), Some(code), "{topic}: {output:?}");
    }
    stop(region).await?;
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn a_go_source_works_with_the_addresses_of_the_json_line() -> Result<()> {
    let test_dir = TestDir::new("up-go-source")?;
    let up = ProcessSpec::binary("sandbox")?.args(["up", "--json", "--grpc-listen", "127.0.0.1:0"]);
    let mut region = up.start(test_dir.path())?;
    let line = region.line_with("\"grpc\"", PATIENCE).await?;
    let summary: Value = serde_json::from_str(&line)?;
    let address = |key: &str| summary[key].as_str().context("an address");
    let go = Source::at(address("api")?, address("grpc")?, "go", test_dir.path());
    let mut watch = go.follow(&["watch", "cluster1"]).await?;
    let hello = work("hello", &json!({}), &[config_map("hello", "here")]);
    go.done(&["create", "cluster1", &hello]).await?;
    watch
        .line("its status", |line| {
            line["name"] == "hello" && line["conditions"]["Applied"] == "True"
        })
        .await?;
    stop(region).await?;
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn bridges_on_one_database_are_processes_that_outlive_each_other_and_end_with_the_sandbox()
-> Result<()> {
    let test_dir = TestDir::new("up-replicas")?;
    let server = Server::start(&["max_connections=80"])?;
    let (database, port) = (server.database()?, server.port());
    let password = PASSWORD.replace(' ', "%20");
    let store = format!("postgres://{USER}:{password}@127.0.0.1:{port}/{database}");
    let up = ProcessSpec::binary("sandbox")?.args([
        "up",
        "--json",
        "--replicas",
        "3",
        "--store",
        &store,
    ]);
    let mut region = up.start(test_dir.path())?;
    let line = region.line_with("\"replicas\"", PATIENCE).await?;
    let summary: Value = serde_json::from_str(&line)?;
    let replicas = summary["replicas"].as_array().context("a list")?.clone();
    let apis = summary["apis"].as_array().context("a list")?;
    assert_eq!((replicas.len(), apis.len()), (3, 3), "{line}");
    assert_eq!(summary["api"], apis[0]);
    assert_eq!(summary["grpc"], replicas[0]["grpc"]);
    assert_ne!(replicas[0]["grpc"], replicas[1]["grpc"]);
    let alive = |pid: &Value| Path::new(&format!("/proc/{pid}")).exists();
    for (replica, api) in replicas.iter().zip(apis) {
        assert_eq!(&replica["api"], api);
        assert!(alive(&replica["pid"]), "{line}");
    }
    // What the first takes is applied and told by another after the first is gone.
    let api = Api::new(apis[0].as_str().context("a URL")?)?;
    let change = Change::create("cluster1", vec![config_map("hello", "here")]);
    let id = api.create_bundle(&change).await?.id;
    let kill = format!("kill -9 {}", replicas[0]["pid"]);
    assert!(sh(&kill, test_dir.path(), "kill").await?.status.success());
    let api = Api::new(apis[1].as_str().context("a URL")?)?;
    tests::wait::wait_for("the status at another bridge", PATIENCE, async || match api
        .bundle(&id)
        .await
        .map_err(|error| error.to_string())?
    {
        Some(bundle) if bundle.is("Applied") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await?;
    // However the sandbox ends, its bridges end.
    region.kill()?;
    tests::wait::wait_for("the end of the bridges", PATIENCE, async || match replicas
        .iter()
        .find(|replica| alive(&replica["pid"]))
    {
        None => Ok(()),
        Some(replica) => Err(format!("{replica} is there")),
    })
    .await?;
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn a_bridge_that_its_database_refuses_ends_the_region_with_its_own_words() -> Result<()> {
    let test_dir = TestDir::new("up-refused")?;
    let server = Server::start(&["max_connections=80"])?;
    let (database, port) = (server.database()?, server.port());
    let password = PASSWORD.replace(' ', "%20");
    for (user, database, said) in [
        (
            format!("{USER}:wrong"),
            database.as_str(),
            "refuses the user or its password",
        ),
        (
            USER.to_owned(),
            &database,
            "refuses the user or its password",
        ),
        (format!("{USER}:{password}"), "nowhere", "no such database"),
    ] {
        let store = format!("postgres://{user}@127.0.0.1:{port}/{database}");
        let up = ProcessSpec::binary("sandbox")?
            .args(["up", "--json", "--replicas", "2"])
            .env("SANDBOX_STORE", &store)
            .label(user.replace(':', "-"));
        let output = up.run(test_dir.path(), Duration::from_secs(20)).await?;
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        for words in [
            "server-bridge ",
            "ended by itself (exit status: 1)",
            said,
            "hint: ",
        ] {
            assert!(
                output.stderr.contains(words),
                "`{words}` in {}",
                output.stderr
            );
        }
        assert!(!output.stderr.contains("wrong") && !output.stderr.contains(PASSWORD));
    }
    test_dir.passed();
    Ok(())
}

/// Whoever parses a command line shows the value that it refuses.
#[tokio::test]
async fn a_url_that_is_refused_is_shown_by_neither_program() -> Result<()> {
    let test_dir = TestDir::new("refused-urls")?;
    let url = "postgres://app:sec:ret@db/region?pool=hidden";
    let cases: [(&str, &[&str], &str); 8] = [
        ("server-bridge", &["--store", url], "`--store` takes no URL"),
        (
            "server-bridge",
            &["--store", "app:sec:ret"],
            "`postgres` or `sqlite:FILE`",
        ),
        (
            "server-bridge",
            &["store", "status", "--store", url],
            "come from files",
        ),
        (
            "server-bridge",
            &["store", "copy", "--from", url, "--to", "postgres"],
            "`--from` takes",
        ),
        ("server-bridge", &["--help"], "BRIDGE_STORE"),
        ("sandbox", &["up", "--store", url], "percent-encoding"),
        ("sandbox", &["up"], "`SANDBOX_STORE`"),
        ("sandbox", &["up", "--help"], "SANDBOX_STORE"),
    ];
    for (number, (program, args, said)) in cases.into_iter().enumerate() {
        let spec = ProcessSpec::binary(program)?
            .args(args)
            .env("BRIDGE_STORE", url)
            .env("SANDBOX_STORE", url)
            .label(format!("{program}-{number}"));
        let output = spec.run(test_dir.path(), PATIENCE).await?;
        let text = format!("{}{}", output.stdout, output.stderr);
        let code = if args.contains(&"--help") { 0 } else { 2 };
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(said), "{text}");
        for part in ["sec", "ret@", "hidden"] {
            assert!(!text.contains(part) || part == "sec" && code == 0, "{text}");
        }
    }
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn a_full_disk_is_called_that_wherever_the_start_meets_it() -> Result<()> {
    let test_dir = TestDir::new("up-full")?;
    // Room for nothing, for some of the certificates, and for all of them but no database.
    for (kilobytes, full) in [(64, true), (24, false), (160, false)] {
        let at = test_dir.dir(&format!("disk-{kilobytes}"))?;
        let Some(disk) = Tmpfs::mount(&at, kilobytes)? else {
            test_dir.passed();
            return Ok(());
        };
        if full {
            disk.fill()?;
        }
        let up =
            ProcessSpec::binary("sandbox")?.args(["up", "--json", "--grpc-listen", "127.0.0.1:0"]);
        let up = up
            .env("TMPDIR", disk.path())
            .label(format!("up-{kilobytes}"));
        let output = up.run(test_dir.path(), PATIENCE).await?;
        assert_eq!(output.status.code(), Some(1), "{kilobytes}: {output:?}");
        assert!(
            output.stderr.contains("disk is full"),
            "{kilobytes}: {}",
            output.stderr
        );
        // Whatever was made is gone again.
        let left = std::fs::read_dir(disk.path())?.filter_map(Result::ok);
        let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
        assert!(left.iter().all(|name| name == "ballast"), "{left:?}");
    }
    test_dir.passed();
    Ok(())
}

fn start_sh(line: &str, logs: &Path, label: &str) -> Result<Process> {
    // `exec`, so that killing the shell kills the command.
    let command = format!("exec {}", line.trim());
    let spec = ProcessSpec::installed("sh", "every machine has one")?;
    Ok(spec.args(["-c", &command]).label(label).start(logs)?)
}

async fn sh(line: &str, logs: &Path, label: &str) -> Result<Output> {
    let mut process = start_sh(line, logs, label)?;
    Ok(Output {
        status: process.exited(PATIENCE).await?,
        stdout: process.stdout(),
        stderr: process.stderr(),
    })
}

async fn stop(mut region: Process) -> Result<()> {
    region.signal("INT")?;
    let status = region.exited(PATIENCE).await?;
    assert!(status.success(), "{status}: {}", region.output());
    Ok(())
}

/// What `probe` ends with when the broker refuses.
const REFUSED: i32 = 4;

const PATIENCE: Duration = Duration::from_secs(60);
