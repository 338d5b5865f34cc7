//! What callers may do, by a file of rules.

use reqwest::{Client, Method};
use serde_json::{Value, json};
use server_bridge::callers::{Authorization, CallersConfig};

use crate::bridge::{Bridge, Place, bundle, told, until};

const RULES: &str = "
rules:
- groups: [ops]
  sources: ['*']
  consumers: ['*']
  verbs: ['*']
- users: [ann]
  sources: [maestro]
  consumers: [c1]
  verbs: [get, list, create]
- users: ['robot-*']
  sources: ['*']
  consumers: [c2]
  verbs: [get, list, update, delete]
- users: [other]
  sources: [other]
  consumers: ['*']
  verbs: ['*']
";

struct Cast {
    ops: Client,
    ann: Client,
    robot: Client,
    other: Client,
    nobody: Client,
}

async fn begin(place: &Place) -> (Bridge, Cast) {
    let config = CallersConfig {
        authorization: Authorization::File(place.write("rules.yaml", RULES)),
        ..place.mutual()
    };
    let bridge = Bridge::start(place, config).await;
    let client = |name: &str, group| place.client(&place.clients.client(name, group));
    let cast = Cast {
        ops: client("olga", Some("ops")),
        ann: client("ann", None),
        robot: client("robot-7", None),
        other: client("other", None),
        nobody: client("robot", Some("op")),
    };
    for name in ["c1", "c2"] {
        let body = json!({"name": name});
        assert_eq!(bridge.post(&cast.ops, "/consumers", body).await.0, 201);
        let made = bridge
            .post(
                &cast.ops,
                "/resource-bundles",
                bundle(&format!("b-{name}"), name),
            )
            .await;
        assert_eq!(made.0, 201, "{made:?}");
    }
    (bridge, cast)
}

fn names(answer: &(u16, Value), key: &str) -> Vec<String> {
    assert_eq!(answer.0, 200, "{answer:?}");
    let items = answer.1["items"].as_array().unwrap();
    assert_eq!(answer.1["total"], items.len());
    let name = |item: &Value| item[key].as_str().unwrap().to_owned();
    items.iter().map(name).collect()
}

#[tokio::test]
async fn lists_are_narrowed_and_what_is_not_seen_is_not_there() {
    let place = Place::new();
    let (bridge, cast) = begin(&place).await;
    for (client, seen, of_all_sources) in [
        (&cast.ops, vec!["c1", "c2"], 200),
        (&cast.ann, vec!["c1"], 403),
        (&cast.robot, vec!["c2"], 200),
    ] {
        let bundles = bridge.get(client, "/resource-bundles").await;
        assert_eq!(names(&bundles, "consumer_name"), seen);
        let consumers = bridge.get(client, "/consumers").await;
        assert_eq!(names(&consumers, "name"), seen);
        for name in ["c1", "c2"] {
            let status = if seen.contains(&name) { 200 } else { 404 };
            let answer = bridge
                .get(client, &format!("/resource-bundles/b-{name}"))
                .await;
            assert_eq!(answer.0, status, "{answer:?}");
            let answer = bridge.get(client, &format!("/consumers/{name}")).await;
            assert_eq!(answer.0, status, "{answer:?}");
            let path = format!("/resource-bundles/b-{name}/explain");
            let story = bridge.get(client, &path).await;
            assert_eq!(story.0, status, "{story:?}");
            // What waits for a consumer is of all sources: it is told to who may list those of all.
            let path = format!("/consumers/{name}/explain");
            let story = bridge.get(client, &path).await;
            let told = if status == 200 { of_all_sources } else { 404 };
            assert_eq!(story.0, told, "{story:?}");
        }
    }
    // A search widens nothing.
    let search = "/resource-bundles?search=consumer_name='c2'%20or%20consumer_name='c1'";
    let found = bridge.get(&cast.ann, search).await;
    assert_eq!(names(&found, "consumer_name"), ["c1"]);
    let found = bridge.get(&cast.other, "/resource-bundles").await;
    assert_eq!(names(&found, "consumer_name"), Vec::<String>::new());
    for (id, text) in [("b-c2", "b-c2"), ("none", "none")] {
        let answer = bridge
            .get(&cast.ann, &format!("/resource-bundles/{id}"))
            .await;
        let expected = format!("404 maestro-7: ResourceBundle with id='{text}' not found");
        assert_eq!(told(&answer), expected);
    }
    // Who takes a name that is taken is led to its bundle only if it may see it.
    let again =
        json!({"name": "b-c2", "consumer_name": "c1", "manifests": bundle("x", "c1")["manifests"]});
    for (client, seen) in [(&cast.ops, true), (&cast.ann, false)] {
        let answer = bridge
            .post(client, "/resource-bundles", again.clone())
            .await;
        let text = told(&answer);
        let start = "409 maestro-6: a resource bundle with name `b-c2` already exists: ";
        assert!(text.starts_with(start), "{text}");
        assert_eq!(
            text.contains("/resource-bundles/b-c2` and `\"version\":1`"),
            seen,
            "{text}"
        );
        assert_eq!(text.contains("consumer `c2`"), seen, "{text}");
    }
    let answer = bridge.get(&cast.nobody, "/resource-bundles").await;
    assert_eq!(
        told(&answer),
        "403 maestro-4: no rule lets `robot` send GET: it has none of the verbs `get`, `list`"
    );
    let answer = bridge.get(&cast.nobody, "/openapi").await;
    assert_eq!(answer.0, 403);
}

#[tokio::test]
async fn what_is_counted_of_all_sources_is_shown_only_to_who_may_list_them_all() {
    let place = Place::new();
    let (bridge, cast) = begin(&place).await;
    let path = "/consumers?fields=name,bundles,waiting_to_send";
    for (client, counts) in [(&cast.ops, vec![1, 1]), (&cast.robot, vec![1])] {
        let answer = bridge.get(client, path).await;
        let items = answer.1["items"].as_array().unwrap();
        let counted: Vec<_> = items.iter().map(|item| item["bundles"].clone()).collect();
        assert_eq!(counted, counts);
    }
    let answer = bridge.get(&cast.other, path).await;
    assert_eq!(
        told(&answer),
        "403 maestro-4: query parameter `fields`: `bundles` is of all sources, and the rules let you list those of some only"
    );
    let answer = bridge.get(&cast.other, "/consumers/c1/explain").await;
    assert_eq!(
        told(&answer),
        "403 maestro-4: what waits for a consumer is told over all sources, and the rules let you list those of some only"
    );
    let answer = bridge
        .get(&cast.other, "/resource-bundles/b-c1/explain")
        .await;
    assert_eq!(answer.0, 404);
    let plain = "/consumers?fields=name,last_seen_at";
    assert_eq!(bridge.get(&cast.other, plain).await.0, 200);
}

#[tokio::test]
async fn the_story_of_a_bundle_tells_who_has_one_source_nothing_of_others() {
    let place = Place::new();
    let (bridge, cast) = begin(&place).await;
    let waiting = async |client: &Client, id: &str| {
        let answer = bridge
            .get(client, &format!("/resource-bundles/{id}/explain"))
            .await;
        assert_eq!(answer.0, 200, "{answer:?}");
        let waiting = &answer.1["waiting"];
        format!("{} {} {}", waiting["code"], waiting["why"], waiting["next"])
    };
    for id in ["o1", "o2"] {
        let mut body = bundle(id, "c1");
        body["source"] = "other".into();
        let made = bridge.post(&cast.ops, "/resource-bundles", body).await;
        assert_eq!(made.0, 201, "{made:?}");
    }
    let body = bundle("b2", "c1");
    let made = bridge.post(&cast.ann, "/resource-bundles", body).await;
    assert_eq!(made.0, 201, "{made:?}");
    let all = waiting(&cast.ops, "b2").await;
    assert!(all.contains("3 bundles of its consumer"), "{all}");
    let own = waiting(&cast.ann, "b2").await;
    assert!(own.contains("1 bundle of its source"), "{own}");
    // The first of its source, though not the first of all.
    let own = waiting(&cast.other, "o1").await;
    assert!(!own.contains("of its"), "{own}");

    // A name that is another source's id is its bundle's all the same.
    let mut body = bundle("o3", "c1");
    body["source"] = "other".into();
    body["name"] = "o3-name".into();
    let made = bridge.post(&cast.ops, "/resource-bundles", body).await;
    assert_eq!(made.0, 201, "{made:?}");
    let mut body = bundle("b3", "c1");
    body["name"] = "o3".into();
    let made = bridge.post(&cast.ann, "/resource-bundles", body).await;
    assert_eq!(made.0, 201, "{made:?}");
    for (client, id) in [(&cast.ann, "b3"), (&cast.ops, "o3"), (&cast.other, "o3")] {
        let story = bridge.get(client, "/resource-bundles/o3/explain").await;
        assert_eq!(story.1["subject"]["id"], id, "{story:?}");
    }

    let check = bridge.checks.add("broker");
    check.failing("connect to `db.internal`");
    let all = waiting(&cast.ops, "b2").await;
    assert!(all.contains("broker: connect to `db.internal`"), "{all}");
    for (client, id) in [
        (&cast.ann, "b2"),
        (&cast.other, "o1"),
        (&cast.robot, "b-c2"),
    ] {
        let own = waiting(client, id).await;
        assert!(own.contains("its check `broker` fails"), "{own}");
        assert!(!own.contains("db.internal"), "{own}");
    }
}

#[tokio::test]
async fn changes_beyond_the_rules_are_refused_in_words() {
    let place = Place::new();
    let (bridge, cast) = begin(&place).await;
    let (post, patch, delete) = (Method::POST, Method::PATCH, Method::DELETE);
    let change = json!({"version": 1, "metadata": {"labels": {"a": "b"}}});
    let none = Value::Null;
    let source = "of source `maestro` for consumer";
    for (client, method, path, body, expected) in [
        // Wrong consumer, and it may well be none.
        (
            &cast.ann,
            &post,
            "/resource-bundles",
            bundle("x", "c2"),
            format!("403 maestro-4: no rule lets `ann` create bundles {source} `c2`"),
        ),
        (
            &cast.ann,
            &post,
            "/resource-bundles",
            bundle("x", "c9"),
            format!("403 maestro-4: no rule lets `ann` create bundles {source} `c9`"),
        ),
        // Wrong source.
        (
            &cast.other,
            &post,
            "/resource-bundles",
            bundle("x", "c1"),
            format!("403 maestro-4: no rule lets `other` create bundles {source} `c1`"),
        ),
        // Wrong verb.
        (
            &cast.ann,
            &patch,
            "/resource-bundles/b-c1",
            change.clone(),
            "403 maestro-4: no rule lets `ann` send PATCH: it has none of the verbs `update`"
                .into(),
        ),
        (
            &cast.ann,
            &delete,
            "/resource-bundles/b-c1",
            none.clone(),
            "403 maestro-4: no rule lets `ann` send DELETE: it has none of the verbs `delete`"
                .into(),
        ),
        (
            &cast.robot,
            &post,
            "/resource-bundles",
            bundle("x", "c2"),
            "403 maestro-4: no rule lets `robot-7` send POST: it has none of the verbs `create`"
                .into(),
        ),
        // Not seen: as if it were not there, whether it is or not.
        (
            &cast.robot,
            &patch,
            "/resource-bundles/b-c1",
            change.clone(),
            "404 maestro-7: ResourceBundle with id='b-c1' not found".into(),
        ),
        (
            &cast.robot,
            &delete,
            "/resource-bundles/b-c1",
            none.clone(),
            "404 maestro-7: ResourceBundle with id='b-c1' not found".into(),
        ),
        (
            &cast.robot,
            &delete,
            "/resource-bundles/b-c9",
            none.clone(),
            "404 maestro-7: ResourceBundle with id='b-c9' not found".into(),
        ),
        // A consumer is everybody's.
        (
            &cast.ann,
            &post,
            "/consumers",
            json!({"name": "c1"}),
            "403 maestro-4: no rule lets `ann` create consumer `c1`".into(),
        ),
        (
            &cast.other,
            &delete,
            "/consumers/c1?force=true&confirm=c1",
            none.clone(),
            "403 maestro-4: no rule lets `other` delete consumer `c1`".into(),
        ),
        (
            &cast.robot,
            &delete,
            "/consumers/c1?force=true&confirm=c1",
            none.clone(),
            "404 maestro-7: Consumer with id='c1' not found".into(),
        ),
    ] {
        let body = Some(body).filter(|body| !body.is_null());
        let answer = bridge.send(client, None, method.clone(), path, body).await;
        assert_eq!(told(&answer.unwrap()), expected);
    }
    for (client, method, path, body, status) in [
        (
            &cast.ann,
            &post,
            "/resource-bundles",
            bundle("x", "c1"),
            201,
        ),
        (&cast.robot, &patch, "/resource-bundles/b-c2", change, 200),
        (
            &cast.robot,
            &delete,
            "/resource-bundles/b-c2",
            none.clone(),
            204,
        ),
        (
            &cast.ops,
            &delete,
            "/resource-bundles/b-c9",
            none.clone(),
            204,
        ),
    ] {
        let body = Some(body).filter(|body| !body.is_null());
        let answer = bridge.send(client, None, method.clone(), path, body).await;
        assert_eq!(answer.as_ref().unwrap().0, status, "{answer:?}");
    }
}

#[tokio::test]
async fn replaced_rules_count_at_the_next_call_and_bad_ones_never() {
    let place = Place::new();
    let (bridge, cast) = begin(&place).await;
    assert_eq!(bridge.get(&cast.ann, "/consumers/c1").await.0, 200);
    place.write(
        "rules.yaml",
        "rules:\n- users: [ann]\n  verbs: [everything]\n",
    );
    let refused = async || bridge.metric("bridge_caller_files_refused{files=\"authorization\"}");
    until(refused, |value| *value == Some(1.0)).await;
    assert_eq!(bridge.get(&cast.ann, "/consumers/c1").await.0, 200);
    place.write("rules.yaml", &RULES.replace("[c1]", "[c2]"));
    let ask = async || bridge.get(&cast.ann, "/consumers/c2").await.0;
    until(ask, |status| *status == 200).await;
    assert_eq!(bridge.get(&cast.ann, "/consumers/c1").await.0, 404);
    assert_eq!(refused().await, Some(0.0));
    place.write("rules.yaml", "rules: []");
    let ask = async || bridge.get(&cast.ops, "/consumers").await.0;
    until(ask, |status| *status == 403).await;
}
