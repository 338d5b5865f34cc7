//! `probe doctor --static` as it is called: exit codes, both outputs, files that never end, and no secret in any of it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use super::text;

const VALUES: &str = "consumerName: cluster-1\nextraEnv: [{name: PASSWORD, value: CANARY}]\n";

fn command(files: &[&Path]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_probe"));
    command.env_clear().arg("doctor");
    for file in files {
        command.arg("--static").arg(file);
    }
    command
}

fn put(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(output)))
}

#[test]
fn exit_codes_and_report_are_the_doctor_s() {
    let directory = tempfile::tempdir().unwrap();
    let good = put(directory.path(), "good.yaml", VALUES);
    let bad = put(
        directory.path(),
        "bad.yaml",
        "consumerName: a\nreplicas: many\n",
    );

    let output = command(&[&good]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(
        text(&output).contains("nothing is wrong"),
        "{}",
        text(&output)
    );

    let output = command(&[&good, &bad]).arg("--json").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let report = report(&output);
    assert_eq!(report["schema"], "maestro-findings/1");
    let findings = report["findings"].as_array().unwrap();
    // Nothing else of the doctor runs.
    assert!(
        findings
            .iter()
            .all(|it| it["code"].as_str().unwrap().starts_with("MQ80")),
        "{report}"
    );
    let wrong: Vec<_> = findings
        .iter()
        .filter(|it| it["severity"] == "error")
        .collect();
    assert_eq!(wrong.len(), 1, "{report}");
    assert!(
        wrong[0]["seen"]
            .as_str()
            .unwrap()
            .contains("bad.yaml` line 2: replicas"),
        "{report}"
    );

    let output = command(&[&bad]).output().unwrap();
    for part in [
        "error    MQ802",
        "why: ",
        "next: ",
        "page: docs/faults/MQ802.md",
    ] {
        assert!(text(&output).contains(part), "{}", text(&output));
    }
}

#[test]
fn each_fault_of_a_file_is_found_before_anything_runs() {
    let directory = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| put(directory.path(), name, text);
    let look = |files: &[&Path], options: &[&str], code: &str, severity: &str, words: &[&str]| {
        let output = command(files).args(options).arg("--json").output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        let report = report(&output);
        let wrong: Vec<&Value> = report["findings"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|it| it["severity"] == "error" || it["severity"] == "warning")
            .collect();
        assert!(!wrong.is_empty(), "{report}");
        for finding in &wrong {
            assert_eq!(finding["code"], code, "{report}");
            assert_eq!(finding["severity"], severity, "{report}");
            assert!(!finding["next"].as_str().unwrap().is_empty(), "{finding}");
        }
        let said: String = wrong.iter().map(|it| it.to_string()).collect();
        for word in words {
            assert!(said.contains(word), "`{word}` in {said}");
        }
    };
    let missing = directory.path().join("not-there.yaml");
    look(&[&missing], &[], "MQ800", "error", &["not-there.yaml"]);
    let region = put(
        "region.yaml",
        "name: a\nregion: us-east-2\nmanagementClusters: many\n",
    );
    look(&[&region], &[], "MQ801", "error", &["managementClusters"]);
    let values = put("values.yaml", "consumerName: a\nreplicas: many\n");
    look(&[&values], &[], "MQ802", "error", &["replicas"]);
    let arn = |kind: &str, name: &str| format!("arn:aws:iot:us-east-2:111111111111:{kind}/{name}");
    let policy = |id: &str, statements: usize| {
        let (down, up) = (
            "maestro/consumers/cluster-1/sourceevents",
            "maestro/consumers/cluster-1/agentevents",
        );
        let allow = |action: &str, on: String| serde_json::json!({"Effect": "Allow", "Action": format!("iot:{action}"), "Resource": on});
        let all = [
            allow("Connect", arn("client", id)),
            allow("Publish", arn("topic", up)),
            allow("Subscribe", arn("topicfilter", down)),
            allow("Receive", arn("topic", down)),
        ];
        let statements = &all[..statements];
        serde_json::json!({"Version": "2012-10-17", "Statement": statements}).to_string()
    };
    let agent = ["--consumer", "cluster-1"];
    let lacking = put("lacking.json", &policy("cluster-1-work-agent-client", 3));
    look(&[&lacking], &agent, "MQ803", "error", &["iot:Receive"]);
    let wide = put("wide.json", &policy("*", 4));
    look(&[&wide], &agent, "MQ804", "warning", &["client/*"]);
}

#[test]
fn what_would_do_nothing_beside_it_and_too_many_files_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let good = put(directory.path(), "good.yaml", VALUES);
    for option in [
        &["-h", "localhost"][..],
        &["--until", "tls"],
        &["--bundle", "x.tar"],
        &["--identity", "/mnt"],
        &["--payload", "x"],
        &["--take-over"],
        &["--consumer", "not/a/name"],
        &["--source", "not/a/name"],
    ] {
        let output = command(&[&good]).args(option).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(2),
            "{option:?}: {}",
            text(&output)
        );
    }
    for (count, code) in [(64, 0), (65, 2)] {
        let output = command(&vec![good.as_path(); count]).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(code),
            "{count}: {}",
            text(&output)
        );
    }
}

#[test]
fn no_secret_of_any_file_is_printed() {
    let directory = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| put(directory.path(), name, text);
    let files = [
        put("values.yaml", VALUES),
        put(
            "misspelt.yaml",
            "consumerName: a\nsecret: CANARY\nimage: {pullSecrets: CANARY, tag: 'CANARY CANARY'}\n",
        ),
        put(
            "bridge.yaml",
            "clientId: a\napi: CANARY\nsecrets: {database: 'CANARY CANARY', password: CANARY}\n",
        ),
        put(
            "config.yaml",
            "brokerHost: a\nusername: CANARY\npassword: CANARY\nclientKeyData: CANARY\n",
        ),
        put(
            "key.pem",
            "-----BEGIN PRIVATE KEY-----\nCANARY\n-----END PRIVATE KEY-----\n",
        ),
        put("secret.yaml", "kind: Secret\nstringData: {token: CANARY}\n"),
        put("broken.yaml", "consumerName: 'CANARY\n"),
        put(
            "region.yaml",
            "name: a\ndatabase: {password: CANARY}\naccess: {secret: CANARY}\n",
        ),
        put(
            "policy.json",
            r#"{"Statement": [{"Effect": "Allow", "Sid": 1, "Secret": "CANARY"}]}"#,
        ),
    ];
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    for options in [&[][..], &["--json"], &["-d"]] {
        let output = command(&files).args(options).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        assert!(!text(&output).contains("CANARY"), "{}", text(&output));
    }
}

#[test]
fn a_file_that_never_ends_ends_with_the_time() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    for file in [pipe.as_path(), Path::new("/dev/zero")] {
        let output = command(&[file])
            .args(["-W", "1", "--json"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        assert_eq!(
            report(&output)["findings"][0]["code"],
            "MQ800",
            "{}",
            text(&output)
        );
    }
}
