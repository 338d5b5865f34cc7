//! What Go clients of Maestro read and send: their models refuse a whole list for one member they do not know, they page
//! by number until a page is not full, and they write searches and URLs in their own way.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Map;

use super::*;

/// A list as the generated client of Maestro decodes it: exactly these members, all of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GoList<T> {
    kind: String,
    page: u32,
    size: u32,
    total: u32,
    items: Vec<T>,
}

/// A bundle in a list: no other members. The client reads `version` without asking whether it is there.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "that it can be read is the point")]
struct GoBundle {
    id: Option<String>,
    kind: Option<String>,
    href: Option<String>,
    name: Option<String>,
    consumer_name: Option<String>,
    version: i32,
    created_at: Option<Timestamp>,
    updated_at: Option<Timestamp>,
    deleted_at: Option<Timestamp>,
    metadata: Option<Map<String, Value>>,
    manifests: Option<Vec<Map<String, Value>>>,
    delete_option: Option<Map<String, Value>>,
    manifest_configs: Option<Vec<Map<String, Value>>>,
    status: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "that it can be read is the point")]
struct GoConsumer {
    id: Option<String>,
    kind: Option<String>,
    href: Option<String>,
    name: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    created_at: Option<Timestamp>,
    updated_at: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "that it can be read is the point")]
struct GoError {
    id: Option<String>,
    kind: Option<String>,
    href: Option<String>,
    code: Option<String>,
    reason: Option<String>,
    operation_id: Option<String>,
}

async fn list<T: serde::de::DeserializeOwned>(server: &Server, path: &str) -> GoList<T> {
    let answer = server.get(path).await;
    serde_json::from_value(answer.clone())
        .unwrap_or_else(|error| panic!("{path}: {error}: {answer}"))
}

/// Bundles on a page, as the pager of Maestro's client asks for it.
async fn page(server: &Server, search: &str, page: u32, size: u32) -> GoList<GoBundle> {
    let query = [
        ("page", page.to_string()),
        ("search", search.to_owned()),
        ("size", size.to_string()),
    ];
    let url = reqwest::Url::parse_with_params("http://x/", &query).unwrap();
    list(
        server,
        &format!("/resource-bundles?{}", url.query().unwrap()),
    )
    .await
}

fn ids(list: &GoList<GoBundle>) -> Vec<String> {
    list.items
        .iter()
        .map(|item| item.id.clone().unwrap())
        .collect()
}

/// What an agent says of version 1.
pub(crate) async fn report(server: &Server, id: &str, payload: Json) {
    let at: Timestamp = "2026-08-01T10:00:02Z".parse().unwrap();
    let update = StatusUpdate {
        bundle_id: id.into(),
        consumer: ConsumerName::new("cluster1").unwrap(),
        version: Version::FIRST,
        sequence_id: SequenceId::from_parts(at, 1, 0),
        status_hash: None,
        payload,
        metadata: None,
        deleted: false,
        received_at: None,
        applied_at: Some(at),
        at,
    };
    server.store.apply_status(update).await.unwrap();
}

#[tokio::test]
async fn lists_hold_what_the_go_model_has_and_nothing_else() {
    let server = Server::with_consumer().await;
    let mut new = bundle("b1");
    new["executer"] = json!({"subject": {"type": "ServiceAccount", "serviceAccount": {"namespace": "a", "name": "b"}}});
    new["source"] = "another".into();
    let (status, answer) = server
        .send(Method::POST, "/resource-bundles", Some(new))
        .await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    assert_eq!(answer["executer"]["subject"]["type"], "ServiceAccount");
    report(
        &server,
        "b1",
        Json::parse(r#"{"conditions":[],"resourceStatus":[]}"#).unwrap(),
    )
    .await;
    server
        .send(Method::DELETE, "/resource-bundles/b1", None)
        .await;
    let seen = vec![ConsumerName::new("cluster1").unwrap()];
    server
        .store
        .note_seen(seen, Timestamp::UNIX_EPOCH)
        .await
        .unwrap();

    let bundles: GoList<GoBundle> = list(&server, "/resource-bundles").await;
    assert_eq!(
        (
            bundles.kind.as_str(),
            bundles.page,
            bundles.size,
            bundles.total
        ),
        ("ResourceBundleList", 1, 1, 1)
    );
    let bundle = &bundles.items[0];
    assert!(bundle.status.is_some() && bundle.deleted_at.is_some() && bundle.manifests.is_some());
    let empty: GoList<GoBundle> = list(&server, "/resource-bundles?page=2&fields=").await;
    assert_eq!((empty.page, empty.size, empty.total), (2, 0, 1));
    let consumers: GoList<GoConsumer> = list(&server, "/consumers").await;
    assert!(consumers.items[0].labels.is_some());
    let errors: GoList<GoError> = list(&server, "/errors").await;
    assert_eq!(errors.size as usize, errors.items.len());

    let asked = server
        .get("/resource-bundles?fields=executer,source,ledger")
        .await;
    let asked = &asked["items"][0];
    assert_eq!(asked["source"], "another");
    assert!(
        asked["executer"].is_object() && asked["ledger"].is_array(),
        "{asked}"
    );
    let single = server.get("/resource-bundles/b1").await;
    assert!(
        single["executer"].is_object() && single["ledger"].is_array(),
        "{single}"
    );
    assert!(server.get("/consumers/cluster1").await["last_seen_at"].is_string());
}

#[tokio::test]
async fn a_bundle_keeps_the_source_it_was_made_with() {
    let server = Server::with_consumer().await;
    for (id, source) in [("b1", None), ("b2", Some("fleet/eu-1"))] {
        let mut new = bundle(id);
        if let Some(source) = source {
            new["source"] = source.into();
        }
        let (_, made) = server
            .send(Method::POST, "/resource-bundles", Some(new))
            .await;
        assert_eq!(made["source"], source.unwrap_or("maestro"), "{made}");
    }
    let path = "/resource-bundles/b2";
    let other = json!({"version": 1, "source": "maestro"});
    insta::assert_snapshot!(server.refused(Method::PATCH, path, other).await, @"400 maestro-8: source: cannot be changed");
    let same = json!({"version": 1, "source": "fleet/eu-1", "delete_option": null});
    let (_, changed) = server.send(Method::PATCH, path, Some(same)).await;
    assert_eq!(
        (&changed["source"], &changed["version"]),
        (&json!("fleet/eu-1"), &json!(2))
    );
    for (source, found) in [
        ("fleet/eu-1", vec!["b2"]),
        ("maestro", vec!["b1"]),
        ("none", vec![]),
    ] {
        let page = page(&server, &format!("source='{source}'"), 1, 400).await;
        assert_eq!(ids(&page), found, "{source}");
    }
    let mut bad = bundle("b3");
    bad["source"] = "a b".into();
    insta::assert_snapshot!(server.refused(Method::POST, "/resource-bundles", bad).await, @r"400 maestro-8: source `a b` may hold only visible ASCII characters other than quotes, `\` and `,`");
}

#[tokio::test]
async fn metadata_come_back_as_they_were_given() {
    let server = Server::with_consumer().await;
    let metadata = json!({
        "name": "work-1", "namespace": "cluster1", "uid": "26bc979c-65f5-52a9-99cc-26d16545ac9b", "generation": 3,
        "resourceVersion": "0", "creationTimestamp": null, "labels": {"app.kubernetes.io/name": "web"},
        "annotations": {"a/b": "{\"x\":1.50,\"é\":\"\\u0000\"}"}, "managedFields": [{"manager": "m"}], "future": {"z": [1, 2.5]},
    });
    let mut new = bundle("b1");
    new["metadata"] = metadata.clone();
    let (_, made) = server
        .send(Method::POST, "/resource-bundles", Some(new))
        .await;
    assert_eq!(made["metadata"], metadata);
    assert_eq!(
        server.get("/resource-bundles/b1").await["metadata"],
        metadata
    );
    assert_eq!(
        server.get("/resource-bundles").await["items"][0]["metadata"],
        metadata
    );
    let text = json!({"consumer_name": "cluster1", "metadata": {"name": 5}, "manifests": [config_map("a", "1")]});
    insta::assert_snapshot!(server.refused(Method::POST, "/resource-bundles", text).await, @"400 maestro-8: metadata.name: must be a string");
}

#[tokio::test]
async fn label_selectors_find_what_they_select_as_go_writes_them() {
    let server = Server::with_consumer().await;
    for (id, labels) in [
        (
            "b1",
            json!({"app.kubernetes.io/name": "web", "env": "prod"}),
        ),
        ("b2", json!({"app.kubernetes.io/name": "db", "env": "dev"})),
        ("b3", json!({"env": "prod"})),
    ] {
        let mut new = bundle(id);
        new["metadata"]["labels"] = labels;
        server
            .send(Method::POST, "/resource-bundles", Some(new))
            .await;
    }
    let labels = "payload->'metadata'->'labels'";
    let name = "app.kubernetes.io/name";
    for (search, found) in [
        (
            format!("{labels}@>'{{\"{name}\":\"web\",\"env\":\"prod\"}}'"),
            vec!["b1"],
        ),
        (
            format!("{labels}->>'{name}'in('web','db')"),
            vec!["b1", "b2"],
        ),
        (format!("{labels}->>'{name}'<>'web'"), vec!["b2"]),
        (
            format!("{labels}->>'{name}'<>'web' and {labels}->>'{name}'<>'db'"),
            vec![],
        ),
        (format!("{labels}->>'{name}'<>null"), vec!["b1", "b2"]),
        (
            format!(
                "{labels}@>'{{\"env\":\"prod\"}}' and {labels}->>'{name}'in('web') and {labels}->>'env'<>'dev' and {labels}->>'{name}'<>null"
            ),
            vec!["b1"],
        ),
        (
            "(consumer_name='cluster1' or consumer_name='b')".to_owned(),
            vec!["b1", "b2", "b3"],
        ),
    ] {
        let search = format!("source='maestro' and consumer_name='cluster1' and {search}");
        assert_eq!(
            ids(&page(&server, &search, 1, 400).await),
            found,
            "{search}"
        );
    }
    // As `url.Values` encodes it.
    let encoded = "page=1&search=source%3D%27maestro%27+and+%28consumer_name%3D%27x%27+or+consumer_name%3D%27cluster1%27%29&size=400";
    let bundles: GoList<GoBundle> = list(&server, &format!("/resource-bundles?{encoded}")).await;
    assert_eq!(bundles.total, 3);
}

#[tokio::test]
async fn a_client_that_watches_hundreds_of_consumers_is_answered() {
    let server = Server::with_consumer().await;
    server
        .send(Method::POST, "/resource-bundles", Some(bundle("b1")))
        .await;
    let mut names: Vec<String> = (0..350)
        .map(|number| format!("consumer_name='{number:0>63}'"))
        .collect();
    names.push("consumer_name='cluster1'".into());
    let search = format!("source='maestro' and ({})", names.join(" or "));
    assert_eq!(ids(&page(&server, &search, 1, 400).await), ["b1"]);
}

/// 1 201 bundles in order; every third of the first 600 belongs to a cluster that will be lost.
async fn twelve_hundred() -> Server {
    let server = Server::with_consumer().await;
    server
        .send(Method::POST, "/consumers", Some(json!({"name": "lost"})))
        .await;
    for number in 0..1201 {
        let mut new = bundle(&format!("b{number:04}"));
        if number < 600 && number % 3 == 0 {
            new["consumer_name"] = "lost".into();
        }
        let (status, answer) = server
            .send(Method::POST, "/resource-bundles", Some(new))
            .await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
    }
    server
}

/// Reads all pages; between the first and the second 200 bundles go, most of them from the first, and between others some
/// come. How often each was shown, with how many pages there were.
async fn read_while_they_go(server: &Server, query: &str) -> (BTreeMap<String, u32>, u32) {
    let mut shown = BTreeMap::new();
    for number in 1.. {
        let path = format!("/resource-bundles?page={number}&size=400{query}");
        let page: GoList<GoBundle> = list(server, &path).await;
        for id in ids(&page) {
            *shown.entry(id).or_default() += 1;
        }
        assert_eq!(page.size as usize, page.items.len());
        if page.size < 400 {
            return (shown, number);
        }
        if number == 1 {
            let path = "/consumers/lost?force=true";
            let (status, _) = server.send(Method::DELETE, path, None).await;
            assert_eq!(status, StatusCode::NO_CONTENT);
        }
        let new = bundle(&format!("new-{number}"));
        server
            .send(Method::POST, "/resource-bundles", Some(new))
            .await;
    }
    unreachable!()
}

fn survives(number: u32) -> bool {
    number >= 600 || !number.is_multiple_of(3)
}

#[tokio::test]
async fn pages_show_each_bundle_that_stays_once_while_others_come_and_go() {
    let server = twelve_hundred().await;
    let (shown, pages) = read_while_they_go(&server, "&search=source='maestro'").await;
    for number in (0..1201).filter(|number| survives(*number)) {
        assert_eq!(
            shown.get(&format!("b{number:04}")),
            Some(&1),
            "b{number:04}"
        );
    }
    assert!(shown.values().all(|times| *times == 1));
    assert_eq!(pages, 3);
    // Nobody reads any more: positions again, and they are right while nothing goes.
    let all: GoList<GoBundle> = list(&server, "/resource-bundles?size=65500").await;
    let mut paged = Vec::new();
    for number in 1..=3 {
        let page = page(&server, "", number, 400).await;
        assert_eq!(page.total, all.total);
        paged.extend(ids(&page));
    }
    assert_eq!(paged, ids(&all));
}

/// What the document says does not hold.
#[tokio::test]
async fn pages_in_an_order_of_the_callers_are_cut_by_position() {
    let server = twelve_hundred().await;
    let (shown, _) = read_while_they_go(&server, "&orderBy=id").await;
    let hidden = (0..1201)
        .filter(|number| survives(*number) && !shown.contains_key(&format!("b{number:04}")));
    assert!(hidden.count() > 100);
}
