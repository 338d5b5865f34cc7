//! `sandbox up` as a script and as a person use it: the real binary, its JSON line, its printed lines, its end.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

#[path = "up/ending.rs"]
mod ending;
#[path = "up/fault.rs"]
mod fault;
#[path = "up/rig.rs"]
mod rig;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use self::rig::{Up, http, sh, wait_for};

#[tokio::test]
async fn the_json_line_leads_to_every_agent_and_nothing_is_left_behind() {
    let temporary = tempfile::tempdir().unwrap();
    // Free ports: the usual ones are another test's as soon as this region lets go of them.
    let any = "127.0.0.1:0";
    let ports = [
        "--broker-port",
        "0",
        "--api-listen",
        any,
        "--grpc-listen",
        any,
    ];
    let args = [&ports[..], &["--json", "--agents", "2"]].concat();
    let up = Up::start(temporary.path(), &args);
    let region: Value = serde_json::from_str(&up.line()).unwrap();
    assert_eq!(
        keys(&region),
        [
            "api",
            "apis",
            "bridge",
            "broker",
            "consumers",
            "grpc",
            "operator",
            "replicas"
        ]
    );
    // One bridge, which runs in the sandbox's own process.
    assert_eq!(region["apis"], serde_json::json!([region["api"]]));
    assert_eq!(
        keys(&region["replicas"][0]),
        ["admin", "api", "grpc", "pid"]
    );
    assert_eq!(region["replicas"][0]["api"], region["api"]);
    assert_eq!(region["replicas"][0]["grpc"], region["grpc"]);
    let grpc: std::net::SocketAddr = text(&region["grpc"]).parse().unwrap();
    tokio::net::TcpStream::connect(grpc).await.unwrap();
    assert_eq!(keys(&region["broker"]), ["host", "port"]);
    assert_eq!(keys(&region["operator"]), ["identity"]);
    let consumers = region["consumers"].as_array().unwrap();
    let names: Vec<_> = consumers.iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["cluster1", "cluster2"]);
    let api = text(&region["api"]);
    for consumer in consumers {
        assert_eq!(keys(consumer), ["admin", "identity", "name", "target"]);
        let (status, _) = http("GET", &format!("{}/readyz", text(&consumer["admin"])), None).await;
        assert_eq!(status, 200);
        for name in ["certificate", "privateKey", "ca.crt", "config.yaml"] {
            assert!(path(&consumer["identity"]).join(name).is_file(), "{name}");
        }
        let named = std::fs::read_to_string(path(&consumer["identity"]).join("consumerName"));
        assert_eq!(named.unwrap(), text(&consumer["name"]));

        let id = post(&api, &text(&consumer["name"]), "one").await;
        applied(&api, &id, 1).await;
        let file = path(&consumer["target"]).join("default/configmap/hello.yaml");
        assert!(std::fs::read_to_string(file).unwrap().contains("one"));
    }

    let ended = up.stop("INT");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout, "", "one line and nothing else");
    assert_eq!(ended.stderr, notes(&ended.stderr), "no warnings");
    let left: Vec<_> = std::fs::read_dir(temporary.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    let port = u16::try_from(region["broker"]["port"].as_u64().unwrap()).unwrap();
    assert!(
        tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_kept_region_goes_on_where_it_was() {
    let temporary = tempfile::tempdir().unwrap();
    let state = temporary.path().join("state");
    let args = ["--json", "--consumer", "mc-a", "--keep"];
    let args: Vec<&str> = args.into_iter().chain(state.to_str()).collect();
    let certificate = state.join("consumers/mc-a/identity/certificate");
    let file = state.join("consumers/mc-a/target/default/configmap/hello.yaml");

    let up = Up::start(temporary.path(), &args);
    let region: Value = serde_json::from_str(&up.line()).unwrap();
    let id = post(&text(&region["api"]), "mc-a", "one").await;
    applied(&text(&region["api"]), &id, 1).await;
    let first = std::fs::read_to_string(&certificate).unwrap();
    let in_use = Up::start(temporary.path(), &args).ended();
    assert_eq!(in_use.code, Some(1));
    assert!(
        in_use
            .stderr
            .contains("is in use by another region\nhint: "),
        "{}",
        in_use.stderr
    );
    assert_eq!(up.stop("TERM").code, Some(0));
    assert!(file.is_file(), "works stay applied");

    let up = Up::start(temporary.path(), &args);
    let region: Value = serde_json::from_str(&up.line()).unwrap();
    let api = text(&region["api"]);
    assert_eq!(std::fs::read_to_string(&certificate).unwrap(), first);
    applied(&api, &id, 1).await;
    let url = format!("{api}{ROOT}/resource-bundles/{id}");
    let change = json!({ "version": 1, "manifests": [config_map("two")] });
    let (status, body) = http("PATCH", &url, Some(&change)).await;
    assert_eq!(status, 200, "{body}");
    applied(&api, &id, 2).await;
    assert!(std::fs::read_to_string(&file).unwrap().contains("two"));
    assert_eq!(up.stop("INT").code, Some(0));
}

#[tokio::test]
async fn what_the_control_plane_made_is_kept_with_the_region() {
    let temporary = tempfile::tempdir().unwrap();
    let state = temporary.path().join("state");
    // Free ports throughout: another test looks whether the default ones are free.
    let any = "127.0.0.1:0";
    let ports = [
        "--broker-port",
        "0",
        "--api-listen",
        any,
        "--grpc-listen",
        any,
    ];
    let ports = [&ports[..], &["--control", any]].concat();
    let args = ports.into_iter().chain(["--json", "--keep"]);
    let args: Vec<&str> = args.chain(state.to_str()).collect();
    for method in ["POST", "GET"] {
        let up = Up::start(temporary.path(), &args);
        let region: Value = serde_json::from_str(&up.line()).unwrap();
        let url = format!("{}/things/made", text(&region["control"]));
        let (status, thing) = http(method, &url, None).await;
        assert_eq!((status, text(&thing["thingName"])), (200, "made".into()));
        assert_eq!(up.stop("INT").code, Some(0));
    }
}

#[tokio::test]
async fn a_second_region_takes_other_ports_and_says_so() {
    let temporary = tempfile::tempdir().unwrap();
    let first = Up::start(temporary.path(), &["--json"]);
    let region: Value = serde_json::from_str(&first.line()).unwrap();
    let second = Up::start(temporary.path(), &["--json"]);
    let other: Value = serde_json::from_str(&second.line()).unwrap();
    assert_ne!(region["broker"]["port"], other["broker"]["port"]);
    assert_ne!(region["api"], other["api"]);
    assert_ne!(region["grpc"], other["grpc"]);

    // Asked for by name, a taken port is an error.
    let port = region["broker"]["port"].to_string();
    let refused = Up::start(temporary.path(), &["--broker-port", &port]).ended();
    assert_eq!(refused.code, Some(1));
    let expected = format!("sandbox: listen on `127.0.0.1:{port}`: ");
    assert!(refused.stderr.starts_with(&expected), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("leave `--broker-port` away"),
        "{}",
        refused.stderr
    );
    for (what, flag) in [("api", "--api-listen"), ("grpc", "--grpc-listen")] {
        let address = text(&region[what]).replace("http://", "");
        let refused = Up::start(temporary.path(), &[flag, &address]).ended();
        assert_eq!(refused.code, Some(1));
        let hint = format!("leave `{flag}` away");
        assert!(refused.stderr.contains(&hint), "{}", refused.stderr);
    }

    let said = second.stop("INT").stderr;
    let last = |address: &Value| text(address).rsplit(':').next().unwrap().to_owned();
    for (what, port) in [
        ("the broker", other["broker"]["port"].to_string()),
        ("the REST API", last(&other["api"])),
        ("gRPC", last(&other["grpc"])),
    ] {
        let note = format!("is taken, so {what} listens on {port}");
        // A parallel test may have let go of the usual port in between.
        let usual = ["8883", "8000", "8090"].contains(&port.as_str());
        assert!(usual || said.contains(&note), "{said}");
    }
    first.stop("INT");
}

#[tokio::test]
async fn the_printed_lines_show_a_bundle_applied_and_its_status() {
    let temporary = tempfile::tempdir().unwrap();
    let up = Up::start(temporary.path(), &[]);
    let mut printed = Vec::new();
    while !printed
        .last()
        .is_some_and(|line: &String| line.starts_with("Ctrl-C stops everything and removes"))
    {
        printed.push(up.line());
    }
    let line = |start: &str, part: &str| {
        printed
            .iter()
            .map(|line| line.trim())
            .find(|line| line.starts_with(start) && line.contains(part))
            .unwrap_or_else(|| panic!("no `{start}` with `{part}` in {printed:#?}"))
    };
    let created = sh(line("curl", "ConfigMap"));
    assert!(created.contains("\"version\":1"), "{created}");
    let status = line("curl", "search=");
    wait_for("the status by the printed line", async || {
        let answer = sh(status);
        if answer.contains("\"Applied\"") {
            Ok(())
        } else {
            Err(answer)
        }
    })
    .await;
    assert!(sh(line("cat", "hello.yaml")).contains("greeting: hello"));
    let ready = sh(line("curl", "/readyz"));
    assert!(
        ready.contains("broker ok") && ready.contains("# TYPE"),
        "{ready}"
    );
    for command in ["check", "doctor", "subscribe", "publish"] {
        line("", &format!(" {command} --identity "));
    }
    assert_eq!(up.stop("INT").code, Some(0));
}

#[tokio::test]
async fn a_region_outlives_its_reader() {
    let temporary = tempfile::tempdir().unwrap();
    let state = temporary.path().join("state");
    let args = ["--json", "--log-level", "info", "--keep"];
    let args: Vec<&str> = args.into_iter().chain(state.to_str()).collect();
    let up = Up::start_unread(temporary.path(), &args);
    wait_for("the attempt to print", async || {
        let stderr = up.stderr();
        if stderr.contains("Nobody reads standard output; running on") {
            Ok(())
        } else {
            Err(stderr)
        }
    })
    .await;
    let config = std::fs::read_to_string(state.join("bridge/identity/config.yaml")).unwrap();
    let address = config.trim().strip_prefix("brokerHost: ").unwrap();
    tokio::net::TcpStream::connect(address).await.unwrap();
    assert_eq!(up.stop("INT").code, Some(0));
}

#[tokio::test]
async fn a_number_of_agents_that_makes_no_sense_is_refused_with_the_reason() {
    let temporary = tempfile::tempdir().unwrap();
    for (agents, part) in [
        ("0", "applies nothing"),
        ("101", "inotify"),
        ("x", "not a number"),
    ] {
        let refused = Up::start(temporary.path(), &["--agents", agents]).ended();
        assert_eq!(refused.code, Some(2));
        assert!(refused.stderr.contains(part), "{}", refused.stderr);
    }
}

async fn post(api: &str, consumer: &str, value: &str) -> String {
    let bundle = json!({ "consumer_name": consumer, "manifests": [config_map(value)] });
    let url = format!("{api}{ROOT}/resource-bundles");
    let (status, body) = http("POST", &url, Some(&bundle)).await;
    assert_eq!(status, 201, "{body}");
    text(&body["id"])
}

async fn applied(api: &str, id: &str, version: u64) {
    let url = format!("{api}{ROOT}/resource-bundles/{id}");
    wait_for("the status", async || {
        let (_, bundle) = http("GET", &url, None).await;
        let status = &bundle["status"];
        let applied = status["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|one| one["type"] == "Applied" && one["status"] == "True");
        if applied && status["ObservedVersion"] == version {
            Ok(())
        } else {
            Err(bundle.to_string())
        }
    })
    .await;
}

fn config_map(value: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": "hello", "namespace": "default" },
        "data": { "value": value },
    })
}

/// The lines about other ports: parallel tests and other brokers may hold the usual ones; and about what ends late.
fn notes(stderr: &str) -> String {
    let is_note = |line: &&str| line.contains("is taken, so") || line.contains("waiting for: ");
    let notes = stderr.lines().filter(is_note);
    notes.map(|line| format!("{line}\n")).collect()
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    keys
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn path(value: &Value) -> PathBuf {
    Path::new(value.as_str().unwrap()).to_path_buf()
}

const ROOT: &str = "/api/maestro/v1";
