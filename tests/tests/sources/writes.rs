//! What a source publishes: create, patch and delete as the client of works makes them, and events without that client.

use anyhow::{Result, ensure};
use serde_json::json;
use tests::api::config_map;
use tests::source::work;

use crate::{builder, bundle, of, source, text};

#[tokio::test(flavor = "multi_thread")]
async fn works_are_created_changed_and_deleted_by_an_unchanged_go_client() -> Result<()> {
    let mut region = builder("sources-writes").start().await?;
    let api = region.api().await?;
    let go = source(&mut region, "mw-client-example").await?;
    let mut watch = go.follow(&["watch", "cluster1"]).await?;
    watch
        .line("the watch", |line| line.get("watching").is_some())
        .await?;
    watch
        .line("the stream", |line| line["stream"] == "open")
        .await?;

    let first = work("w1", &json!({ "team": "a" }), &[config_map("a", "one")]);
    let made = go.done(&["create", "cluster1", &first]).await?;
    // The id that every Go client gives it.
    ensure!(
        made["uid"] == "26bc979c-65f5-52a9-99cc-26d16545ac9b",
        "{made}"
    );
    let applied = watch
        .line("its status", |line| {
            of(line, "w1") && line["conditions"]["Applied"] == "True" && line["version"] == 1
        })
        .await?;
    ensure!(
        applied["event"] == "MODIFIED" && applied["from"] == "stream",
        "{applied}"
    );
    ensure!(applied["labels"] == json!({ "team": "a" }), "{applied}");
    ensure!(applied["objects"] == json!(["ConfigMap/a"]), "{applied}");
    ensure!(
        applied["namespace"] == "cluster1" && applied["uid"] == made["uid"],
        "{applied}"
    );

    // The whole bundle goes again, by the version that REST shows.
    let patch = json!({ "metadata": { "labels": { "team": "b" } },
        "spec": { "workload": { "manifests": [config_map("b", "two")] } } });
    let patched = go
        .done(&["patch", "cluster1", "w1", &patch.to_string()])
        .await?;
    ensure!(patched["version"] == 1, "nothing is read back: {patched}");
    let changed = watch
        .line("the status of the second version", |line| {
            of(line, "w1") && line["version"] == 2 && line["conditions"]["Applied"] == "True"
        })
        .await?;
    ensure!(changed["labels"]["team"] == "b", "{changed}");
    ensure!(changed["objects"] == json!(["ConfigMap/b"]), "{changed}");
    let held = go.done(&["get", "cluster1", "w1"]).await?;
    ensure!(held["version"] == 2 && held["name"] == "w1", "{held}");

    // Without data and content type.
    go.done(&["delete", "cluster1", "w1"]).await?;
    watch
        .line("its end", |line| {
            of(line, "w1") && line["event"] == "DELETED"
        })
        .await?;
    let id = text(&made, "uid");
    bundle(&api, &id, "the bundle to be gone", |found| found.is_none()).await?;
    let gone = go.tried(&["get", "cluster1", "w1"]).await?;
    ensure!(gone["is"] == "missing", "{gone}");
    // What is not there is deleted already: the client says so itself, and the bridge to whoever asks without it.
    go.done(&["delete", "cluster1", "w1"]).await?;
    for version in ["0", "7"] {
        let raw = [
            "publish",
            "spec.delete_request",
            "cluster1",
            UNKNOWN,
            version,
        ];
        let answer = go.tried(&raw).await?;
        ensure!(answer.get("published").is_some(), "{answer}");
    }
    ensure!(
        !watch
            .lines()?
            .iter()
            .any(|line| line.get("dropped").is_some())
    );
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_an_error_of_kubernetes_with_words_that_are_known() -> Result<()> {
    let mut region = builder("sources-refusals").start().await?;
    let go = source(&mut region, "refused").await?;

    // Twice and more at once: the same is done once, and nobody is told otherwise.
    let first = work("w1", &json!({}), &[config_map("a", "one")]);
    let answers = go.lines(&["race", "cluster1", &first, "4"]).await?;
    ensure!(answers.len() == 4, "{answers:?}");
    ensure!(
        answers.iter().all(|answer| answer.get("error").is_none()),
        "{answers:?}"
    );
    let again = go.tried(&["create", "cluster1", &first]).await?;
    ensure!(again["is"] == "exists", "{again}");
    // Another one of the same id, by whoever did not look first.
    let id = text(&answers[0], "uid");
    let data = json!({ "manifests": [config_map("a", "other")] }).to_string();
    let metadata = r#"metadata={"name":"w1","namespace":"cluster1"}"#;
    let other = [
        "publish",
        "spec.create_request",
        "cluster1",
        &id,
        "0",
        &data,
        metadata,
    ];
    let answer = go.tried(&other).await?;
    ensure!(
        answer["is"] == "exists" && answer["code"] == "AlreadyExists",
        "{answer}"
    );

    // A change of a version that is not the newest.
    let patch = json!({ "metadata": { "labels": { "n": "1" } } }).to_string();
    go.done(&["patch", "cluster1", "w1", &patch]).await?;
    let stale = json!({ "metadata": { "annotations": { BASED: "1" }, "labels": { "n": "2" } } });
    let answer = go
        .tried(&["patch", "cluster1", "w1", &stale.to_string()])
        .await?;
    ensure!(answer["is"] == "conflict", "{answer}");
    ensure!(
        text(&answer, "error").contains("the latest version: 2"),
        "{answer}"
    );
    let latest = json!({ "metadata": { "annotations": { BASED: "0" }, "labels": { "n": "2" } } });
    go.done(&["patch", "cluster1", "w1", &latest.to_string()])
        .await?;

    // The adapter of HyperFleet looks for this word.
    let answer = go.tried(&["create", "nowhere", &first]).await?;
    ensure!(
        text(&answer, "error").contains("fk_resources_consumers"),
        "{answer}"
    );
    ensure!(
        !answer["reason"].is_null() && answer["reason"] != "PublishError",
        "{answer}"
    );

    let nothing = work("w2", &json!({}), &[json!({ "kind": "ConfigMap" })]);
    let answer = go.tried(&["create", "cluster1", &nothing]).await?;
    ensure!(
        answer["is"] == "invalid" || answer["reason"] == "BadRequest",
        "{answer}"
    );

    // What lacks an id or a version, or is of another kind, is refused with a reason too.
    for (arguments, word) in [
        (
            [
                "publish",
                "spec.create_request",
                "cluster1",
                "-",
                "0",
                &data,
            ],
            "resourceid",
        ),
        (
            [
                "publish",
                "spec.update_request",
                "cluster1",
                &id,
                "-",
                &data,
            ],
            "resourceversion",
        ),
        (
            ["publish", "spec.nonsense", "cluster1", &id, "0", &data],
            "nonsense",
        ),
    ] {
        let answer = go.tried(&arguments).await?;
        ensure!(
            text(&answer, "message").contains(word),
            "{arguments:?}: {answer}"
        );
    }
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_at_the_limit_is_judged_and_one_past_it_ends_no_connection() -> Result<()> {
    let mut region = builder("sources-size").start().await?;
    let go = source(&mut region, "sized").await?;
    for (bytes, code) in [(LIMIT, "InvalidArgument"), (LIMIT + 1, "OutOfRange")] {
        let lines = go.lines(&["sized", &bytes.to_string(), "cluster1"]).await?;
        // The first is read, and then too large for what it asks for; blanks behind JSON are nothing to anybody.
        if bytes == LIMIT {
            let judged = lines[0]["code"] == "OK" || lines[0]["code"] == code;
            ensure!(judged, "{lines:?}");
        } else {
            let refused = ["OutOfRange", "ResourceExhausted"];
            ensure!(
                refused.iter().any(|code| lines[0]["code"] == *code),
                "{lines:?}"
            );
            ensure!(!text(&lines[0], "message").is_empty(), "{lines:?}");
        }
        let small = &lines[1]["code"];
        ensure!(*small == "OK" || *small == "AlreadyExists", "{lines:?}");
    }
    region.passed();
    Ok(())
}

const UNKNOWN: &str = "55c61e54-a3f6-563d-9fec-b1fe297bdfdb";
/// The annotation by which a caller says what its change is based on.
const BASED: &str = "cloudevents.open-cluster-management.io/resourceversion";
/// What grpc-go takes and sends at most, by default.
const LIMIT: usize = 4 << 20;
