//! What a source lists and watches: strictly read, by labels, and page by page while rows come and go.

use std::cell::Cell;
use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests::api::config_map;
use tests::source::work;

use crate::{builder, bundle, of, source, text};

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_watches_select_by_labels_and_hold_nothing_that_the_client_does_not_know()
-> Result<()> {
    let mut region = builder("sources-labels").start().await?;
    let api = region.api().await?;
    let go = source(&mut region, "labels").await?.with(["-v2"]);
    for (name, labels) in WORKS {
        let labels: Value = serde_json::from_str(labels)?;
        let mut made: Value = serde_json::from_str(&work(name, &labels, &[config_map(name, "")]))?;
        // Which REST does not tell of to a client that breaks on it.
        made["spec"]["executor"] = json!({ "subject": { "type": "ServiceAccount",
            "serviceAccount": { "namespace": "app", "name": "deployer" } } });
        go.done(&["create", "cluster1", &made.to_string()]).await?;
    }
    // Somebody else's, which is in no list of this source.
    let other = source(&mut region, "other").await?;
    let theirs = work(
        "theirs",
        &json!({ "env": "prod" }),
        &[config_map("theirs", "")],
    );
    other.done(&["create", "cluster1", &theirs]).await?;

    for (selector, expected) in SELECTORS {
        let lines = go.lines(&["list", "cluster1", selector]).await?;
        ensure!(names(&lines) == set(expected), "`{selector}`: {lines:?}");
        let everywhere = go.lines(&["list", "", selector]).await?;
        ensure!(
            names(&everywhere) == set(expected),
            "`{selector}`: {everywhere:?}"
        );
    }
    let lines = go.lines(&["consumers"]).await?;
    ensure!(names(&lines) == set("cluster1"), "{lines:?}");

    let mut watches = Vec::new();
    for (selector, expected) in SELECTORS {
        let mut watch = go.follow(&["watch", "cluster1", selector]).await?;
        let what = format!("what `{selector}` lists");
        let all = |lines: &[Value]| {
            let open = lines.iter().any(|line| line["stream"] == "open");
            open && set(expected).is_subset(&names(lines))
        };
        watch.until(&what, all).await?;
        watches.push((selector, watch));
    }
    // One that nobody selects, and after its status one that all do: the second transport keeps their order.
    let unmatched = work(
        "unmatched",
        &json!({ "env": "none" }),
        &[config_map("unmatched", "")],
    );
    let first = go.done(&["create", "cluster1", &unmatched]).await?;
    let applied = |id: String| {
        let api = &api;
        async move {
            bundle(api, &id, "it to be applied", |found| {
                found.is_some_and(|it| it.is("Applied"))
            })
            .await
        }
    };
    applied(text(&first, "uid")).await?;
    let labels = json!({ "env": "prod", "app.kubernetes.io/name": "web", "tier": "x" });
    let matched = work("matched", &labels, &[config_map("matched", "")]);
    go.done(&["create", "cluster1", &matched]).await?;
    for (selector, watch) in &mut watches {
        let told = watch
            .line("the one that fits", |line| {
                of(line, "matched") && line["from"] == "stream"
            })
            .await;
        told.with_context(|| format!("`{selector}`"))?;
        let lines = watch.lines()?;
        let wrong = |line: &&Value| {
            of(line, "unmatched") || of(line, "theirs") || line.get("dropped").is_some()
        };
        let found = lines.iter().find(wrong);
        ensure!(
            found.is_none() || selector.is_empty(),
            "`{selector}`: {found:?}"
        );
    }
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_1201_works_is_whole_while_others_are_deleted() -> Result<()> {
    let mut region = builder("sources-pages").start().await?;
    let api = region.api().await?;
    let go = source(&mut region, "pages").await?;
    // Before the others and after them, so that every page moves when they go.
    api.create_consumer("nobody").await?;
    let mut leaving = Vec::new();
    for number in 0..LEAVING {
        let name = format!("leaving-{number}");
        let made = go_work(&go, &name).await?;
        leaving.push(made);
        if number == LEAVING / 2 {
            go.done(&["flood", &STAYING.to_string(), "4", "10", "nobody"])
                .await?;
        }
    }
    let before = go.lines(&["list"]).await?;
    ensure!(before.len() == STAYING + LEAVING + 1, "{}", before.len());
    let gone = Cell::new(false);
    let deleting = async {
        for id in &leaving {
            api.delete_bundle(id).await?;
            bundle(&api, id, "it to be gone", |found| found.is_none()).await?;
        }
        gone.set(true);
        anyhow::Ok(())
    };
    let listing = async {
        let mut lists = 0;
        while !gone.get() {
            let lines = go.lines(&["list"]).await?;
            let names = lines.iter().map(|line| text(line, "name"));
            let staying: Vec<String> = names.filter(|name| name.starts_with("flood-")).collect();
            let different: BTreeSet<&String> = staying.iter().collect();
            let (all, different) = (staying.len(), different.len());
            ensure!(
                all == STAYING && different == STAYING,
                "{all} of {STAYING}, {different} different ones"
            );
            lists += 1;
        }
        anyhow::Ok(lists)
    };
    let ((), lists) = tokio::try_join!(deleting, listing)?;
    ensure!(lists > 0, "everything went before the first list");
    let after = go.lines(&["list"]).await?;
    ensure!(after.len() == STAYING + 1, "{}", after.len());
    region.passed();
    Ok(())
}

async fn go_work(go: &tests::source::Source, name: &str) -> Result<String> {
    let made = work(name, &json!({}), &[config_map(name, "")]);
    let made = go.done(&["create", "cluster1", &made]).await?;
    Ok(text(&made, "uid"))
}

/// The names of works in these lines.
fn names(lines: &[Value]) -> BTreeSet<String> {
    let named = lines.iter().filter(|line| line.get("name").is_some());
    named.map(|line| text(line, "name")).collect()
}

fn set(names: &str) -> BTreeSet<String> {
    names.split_whitespace().map(str::to_owned).collect()
}

const WORKS: [(&str, &str); 4] = [
    ("w1", r#"{"env":"prod","app.kubernetes.io/name":"web"}"#),
    (
        "w2",
        r#"{"env":"stage","app.kubernetes.io/name":"db","tier":"x"}"#,
    ),
    ("w3", r#"{"env":"test","tier":"y"}"#),
    ("w4", r#"{"env":"it-s"}"#),
];

/// Selectors, and what each finds among the works.
const SELECTORS: [(&str, &str); 7] = [
    ("app.kubernetes.io/name", "w1 w2"),
    ("app.kubernetes.io/name=web", "w1"),
    ("env in (prod,stage)", "w1 w2"),
    ("env notin (test,none,it)", "w1 w2 w4"),
    ("tier,env!=test,env!=none", "w2"),
    ("env=prod,app.kubernetes.io/name in (web)", "w1"),
    ("env,env!=none", "w1 w2 w3 w4"),
];

const STAYING: usize = 1_201;
const LEAVING: usize = 24;
