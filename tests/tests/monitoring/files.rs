//! Rules, their unit tests, pages and dashboards fit together.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::prometheus::promtool;
use tests::test_dir::TestDir;

use super::charts::{BASE, CHARTS, dashboards, list, panels, queries, rendered, root, rules};

#[tokio::test]
async fn each_alert_fires_in_time_not_below_its_limit_and_ends() -> Result<()> {
    let test_dir = TestDir::new("monitoring-rules")?;
    for chart in CHARTS {
        let file = super::charts::rules_file(chart);
        let file = file.to_string_lossy();
        let checked = promtool(test_dir.path(), ["check", "rules", &file]).await?;
        ensure!(
            checked.status.success(),
            "{}{}",
            checked.stdout,
            checked.stderr
        );

        let cases = root().join(format!("tests/rules/{chart}.yaml"));
        let tested = promtool(test_dir.path(), ["test", "rules", &cases.to_string_lossy()]).await?;
        ensure!(
            tested.status.success(),
            "{}{}",
            tested.stdout,
            tested.stderr
        );

        // An alert without a case where it fires, and one where it does not, is not tested.
        let cases: Value = serde_saphyr::from_str(&std::fs::read_to_string(cases)?)?;
        let mut seen: BTreeMap<&str, [bool; 2]> = BTreeMap::new();
        for case in list(&cases["tests"])
            .iter()
            .flat_map(|case| list(&case["alert_rule_test"]))
        {
            let name = case["alertname"]
                .as_str()
                .context("a case names its alert")?;
            let fires = !list(&case["exp_alerts"]).is_empty();
            seen.entry(name).or_default()[usize::from(fires)] = true;
        }
        for rule in rules(chart)? {
            let name = rule["alert"].as_str().context("a rule has a name")?;
            let cases = seen.get(name).copied().unwrap_or_default();
            ensure!(
                cases == [true, true],
                "{name} has no case of each kind in tests/rules/{chart}.yaml"
            );
        }
    }
    test_dir.passed();
    Ok(())
}

#[test]
fn each_alert_has_a_page_that_says_what_to_do_and_each_page_an_alert() -> Result<()> {
    let mut alerts = BTreeSet::new();
    for chart in CHARTS {
        for rule in rules(chart)? {
            let name = rule["alert"].as_str().context("a rule has a name")?;
            let notes = &rule["annotations"];
            ensure!(
                notes["runbook_url"] == format!("docs/runbooks/{name}.md"),
                "{name}: {}",
                notes["runbook_url"]
            );
            for note in ["summary", "description"] {
                let text = notes[note].as_str().unwrap_or_default();
                ensure!(!text.is_empty(), "{name} has no {note}");
            }
            let severity = rule["labels"]["severity"].as_str().unwrap_or_default();
            ensure!(
                ["critical", "warning"].contains(&severity),
                "{name}: {severity}"
            );
            alerts.insert(name.to_owned());
        }
    }
    let mut pages = BTreeSet::new();
    for entry in std::fs::read_dir(root().join("docs/runbooks"))? {
        let path = entry?.path();
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let text = std::fs::read_to_string(&path)?;
        ensure!(
            text.starts_with(&format!("# {name}\n")),
            "{name} has another heading"
        );
        for part in PARTS {
            let (_, rest) = text
                .split_once(&format!("\n## {part}\n"))
                .with_context(|| format!("{name} does not say: {part}"))?;
            let said = rest.split("\n## ").next().unwrap_or_default();
            ensure!(!said.trim().is_empty(), "{name} says nothing under {part}");
        }
        pages.insert(name);
    }
    ensure!(alerts == pages, "alerts: {alerts:?}\npages: {pages:?}");
    // The overview names them all.
    let overview = std::fs::read_to_string(root().join("docs/MONITORING.md"))?;
    for alert in &alerts {
        ensure!(
            overview.contains(&format!("(runbooks/{alert}.md)")),
            "docs/MONITORING.md: {alert}"
        );
    }
    Ok(())
}

#[test]
fn dashboards_explain_themselves_and_ask_only_for_metrics_there_are() -> Result<()> {
    let reference = std::fs::read_to_string(root().join("docs/CONFIGURATION.md"))?;
    let (_, table) = reference
        .split_once("<!-- generated: metrics -->")
        .context("the table of metrics")?;
    let documented: BTreeSet<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    let known = |word: &str| {
        let parts = ["_bucket", "_count", "_sum"];
        let base = parts.iter().find_map(|part| word.strip_suffix(part));
        word == "up"
            || documented.contains(word)
            || base.is_some_and(|base| documented.contains(base))
    };
    let mut texts = Vec::new();
    for (name, dashboard) in dashboards()? {
        let mut ids = BTreeSet::new();
        for panel in panels(&dashboard) {
            let title = panel["title"].as_str().unwrap_or_default();
            let of = format!("{name}, `{title}`");
            ensure!(ids.insert(panel["id"].to_string()), "{of}: the id is taken");
            let described = panel["description"].as_str().unwrap_or_default();
            ensure!(
                !title.is_empty() && !described.is_empty(),
                "{of} explains nothing"
            );
            ensure!(panel["datasource"]["uid"] == "${datasource}", "{of}");
            ensure!(
                panel["fieldConfig"]["defaults"]["unit"].is_string(),
                "{of} has no unit"
            );
            for link in list(&panel["links"]) {
                let page = link["url"].as_str().unwrap_or_default();
                ensure!(root().join(page).is_file(), "{of}: no page `{page}`");
            }
            let asked = queries(panel, "agent");
            ensure!(!asked.is_empty(), "{of} asks for nothing");
            texts.extend(asked.into_iter().map(|query| (of.clone(), query)));
        }
    }
    for chart in CHARTS {
        for rule in rules(chart)? {
            let text = rule["expr"].as_str().unwrap_or_default().to_owned();
            texts.push((rule["alert"].to_string(), text));
        }
    }
    for (of, query) in &texts {
        for name in metrics(query) {
            ensure!(
                known(name),
                "{of}: no metric `{name}` in docs/CONFIGURATION.md"
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_charts_render_the_files_for_their_own_namespace() -> Result<()> {
    let test_dir = TestDir::new("monitoring-render")?;
    for chart in CHARTS {
        let objects = rendered(chart, "rel", "team-a", test_dir.path()).await?;
        let rule = objects
            .iter()
            .find(|object| object["kind"] == "PrometheusRule");
        let rule = rule.context("a PrometheusRule")?;
        ensure!(rule["metadata"]["labels"]["release"] == "monitoring");
        let text = rule["spec"].to_string();
        ensure!(
            !text.contains(&format!("container=\\\"{chart}\\\"}}")),
            "{text}"
        );
        ensure!(!text.contains("\"docs/runbooks/"), "{text}");
        let groups = list(&rule["spec"]["groups"]);
        let count: usize = groups.iter().map(|group| list(&group["rules"]).len()).sum();
        ensure!(count == rules(chart)?.len());
        for one in groups.iter().flat_map(|group| list(&group["rules"])) {
            let expression = one["expr"].as_str().unwrap_or_default();
            let own = |name: &str| format!("container=\"{name}\",namespace=\"team-a\"");
            let is_own = expression.contains(&own(chart))
                || expression.contains(&own(&format!("{chart}-verify")));
            ensure!(is_own, "{expression}");
            let page = one["annotations"]["runbook_url"]
                .as_str()
                .unwrap_or_default();
            ensure!(page.starts_with(BASE), "{page}");
        }
        let maps: Vec<_> = objects
            .iter()
            .filter(|object| object["kind"] == "ConfigMap")
            .collect();
        ensure!(!maps.is_empty(), "{chart} renders no dashboard");
        for map in maps {
            ensure!(map["metadata"]["labels"]["grafana_dashboard"] == "1");
            for text in map["data"].as_object().context("data")?.values() {
                let text = text.as_str().context("a dashboard")?;
                let dashboard: Value = serde_json::from_str(text)?;
                let links = panels(&dashboard).flat_map(|panel| list(&panel["links"]));
                for link in links {
                    let page = link["url"].as_str().unwrap_or_default();
                    ensure!(page.starts_with(BASE), "{page}");
                }
            }
        }
    }
    test_dir.passed();
    Ok(())
}

/// The words of a query that name metrics: those before `{`.
fn metrics(query: &str) -> impl Iterator<Item = &str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    query.match_indices('{').filter_map(move |(at, _)| {
        let before = &query[..at];
        let start = before.rfind(|c| !plain(c)).map_or(0, |found| found + 1);
        (start < at).then(|| &before[start..])
    })
}

const PARTS: [&str; 5] = [
    "What it means",
    "What is affected",
    "Which hop",
    "What to do",
    "How it ends",
];
