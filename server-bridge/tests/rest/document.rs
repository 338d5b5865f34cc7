//! The OpenAPI document and the server say the same: of routes, of what is taken and refused, of what is answered.

use super::schema::{Change, Document};
use super::*;

fn document() -> Document {
    Document::new(include_str!("../../openapi.json"))
}

const METHODS: [Method; 5] = [
    Method::GET,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
];

#[tokio::test]
async fn the_document_has_the_methods_that_the_server_has_and_no_others() {
    let server = Server::start().await;
    let document = document();
    assert_eq!(server.get("/openapi").await, *document.at(""));
    let root = server.base.strip_suffix("/api/maestro/v1").unwrap();
    for (path, item) in document.at("/paths").as_object().unwrap() {
        let url = format!("{root}{}", path.replace("{id}", "none"));
        for method in METHODS {
            let response = server.client.request(method.clone(), &url);
            let status = response.send().await.unwrap().status();
            let documented = item.get(method.as_str().to_lowercase()).is_some();
            assert_eq!(
                status == StatusCode::METHOD_NOT_ALLOWED,
                !documented,
                "{method} {path}: {status}"
            );
        }
    }
    let version = document.at("/info/version").as_str().unwrap();
    assert!(version.starts_with("1."), "the paths say v1, not {version}");
}

#[tokio::test]
async fn every_operation_has_a_tag_that_is_explained_and_a_name_of_its_own() {
    let document = document();
    let tags = document.at("/tags").as_array().unwrap();
    let mut names = std::collections::BTreeSet::new();
    for item in document.at("/paths").as_object().unwrap().values() {
        for (_, operation) in item
            .as_object()
            .unwrap()
            .iter()
            .filter(|(key, _)| *key != "parameters")
        {
            let tag = &operation["tags"][0];
            assert!(
                tags.iter().any(|known| known["name"] == *tag),
                "{operation}"
            );
            assert!(names.insert(operation["operationId"].as_str().unwrap()));
            assert_eq!(
                operation["responses"]["401"]["$ref"],
                "#/components/responses/Unauthenticated"
            );
        }
    }
}

#[tokio::test]
async fn answers_are_what_the_document_says_and_hold_nothing_it_does_not_name() {
    let server = Server::with_consumer().await;
    let document = document();
    let everything = document.at(&format!("{CREATE}/everything/value"));
    let (status, created) = server
        .send(Method::POST, "/resource-bundles", Some(everything.clone()))
        .await;
    assert_eq!(status, StatusCode::CREATED, "{created}");
    let id = created["id"].as_str().unwrap().to_owned();
    let at = Timestamp::UNIX_EPOCH;
    let status = Json::from_value(&document.schema_example_status());
    go::report(&server, &id, status).await;
    let seen = vec![ConsumerName::new("cluster1").unwrap()];
    server.store.note_seen(seen, at).await.unwrap();
    server
        .send(Method::DELETE, &format!("/resource-bundles/{id}"), None)
        .await;
    for (path, schema) in [
        ("".to_owned(), "VersionInfo"),
        ("/errors".to_owned(), "ErrorList"),
        ("/errors/7".to_owned(), "ErrorBody"),
        ("/consumers".to_owned(), "ConsumerList"),
        (
            "/consumers?fields=name,last_seen_at,bundles,waiting_to_send,oldest_waiting_since"
                .to_owned(),
            "ConsumerList",
        ),
        (
            "/resource-bundles?fields=applied,available,status_version,status_at,waiting_for,waiting_since"
                .to_owned(),
            "ResourceBundleList",
        ),
        ("/consumers/cluster1".to_owned(), "Consumer"),
        ("/overview".to_owned(), "Overview"),
        ("/overview?page=0".to_owned(), "ErrorBody"),
        ("/resource-bundles".to_owned(), "ResourceBundleList"),
        (
            "/resource-bundles?fields=id,executer,source,ledger,applied,available,status_version,status_at,waiting_for,waiting_since".to_owned(),
            "ResourceBundleList",
        ),
        (format!("/resource-bundles/{id}"), "ResourceBundle"),
        (format!("/resource-bundles/{id}/explain"), "BundleStory"),
        ("/consumers/cluster1/explain".to_owned(), "ConsumerStory"),
        ("/resource-bundles/none".to_owned(), "ErrorBody"),
        ("/resource-bundles?size=x".to_owned(), "ErrorBody"),
        ("/nothing".to_owned(), "ErrorBody"),
    ] {
        let (_, answer) = server.send(Method::GET, &path, None).await;
        let problems = document.problems(document.schema(schema), &answer);
        assert_eq!(problems, [""; 0], "{path}: {answer}");
    }
    let stale = json!({"version": 7});
    let (_, answer) = server
        .send(
            Method::PATCH,
            &format!("/resource-bundles/{id}"),
            Some(stale),
        )
        .await;
    assert_eq!(
        document.problems(document.schema("ErrorBody"), &answer),
        [""; 0]
    );
}

#[tokio::test]
async fn examples_of_the_document_are_what_it_says_and_requests_among_them_are_taken() {
    let server = Server::start().await;
    let document = document();
    let mut tried = 0;
    for (path, item) in document.at("/paths").as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let answers = operation["responses"].as_object().into_iter().flatten();
            for (_, answer) in answers {
                let content = &document.resolved(answer)["content"]["application/json"];
                if let Some(example) = content.get("example") {
                    assert_eq!(document.problems(&content["schema"], example), [""; 0]);
                    tried += 1;
                }
            }
            let body = &operation["requestBody"]["content"]["application/json"];
            for (name, example) in body["examples"].as_object().into_iter().flatten() {
                let example = &example["value"];
                assert_eq!(
                    document.problems(&body["schema"], example),
                    [""; 0],
                    "{name}"
                );
                tried += 1;
                let path = path.trim_start_matches("/api/maestro/v1");
                let path = match path {
                    "/consumers/{id}" => "/consumers/cluster1",
                    "/resource-bundles/{id}" => {
                        let (_, new) = server
                            .send(
                                Method::POST,
                                "/resource-bundles",
                                Some(bundle(&format!("b-{tried}"))),
                            )
                            .await;
                        &format!("/resource-bundles/{}", new["id"].as_str().unwrap())
                    }
                    path => path,
                };
                let method: Method = method.to_uppercase().parse().unwrap();
                let (status, answer) = server.send(method, path, Some(example.clone())).await;
                assert!(status.is_success(), "{path} {name}: {answer}");
            }
        }
    }
    assert!(tried > 12, "only {tried} examples");
}

/// The number of changes tried, so that none of the tests becomes one of nothing.
async fn each_is(
    server: &Server,
    method: &Method,
    changes: &[(String, Change)],
    base: &Value,
    good: bool,
) -> usize {
    for (number, (pointer, change)) in changes.iter().enumerate() {
        let mut body = change.apply(base, pointer);
        let path = if *method == Method::POST {
            if pointer != "/name" {
                body["name"] = format!("n-{good}-{number}").into();
            }
            "/resource-bundles".to_owned()
        } else {
            let id = format!("p-{good}-{number}");
            let (status, answer) = server
                .send(Method::POST, "/resource-bundles", Some(bundle(&id)))
                .await;
            assert_eq!(status, StatusCode::CREATED, "{answer}");
            format!("/resource-bundles/{id}")
        };
        let (status, answer) = server.send(method.clone(), &path, Some(body)).await;
        let refused = status == StatusCode::BAD_REQUEST;
        assert_eq!(
            !refused, good,
            "{method} {pointer} {change:?}: {status} {answer}"
        );
        assert!(
            refused || status.is_success(),
            "{method} {pointer} {change:?}: {status} {answer}"
        );
    }
    changes.len()
}

#[tokio::test]
async fn what_the_document_refuses_the_server_refuses() {
    let server = Server::with_consumer().await;
    let document = document();
    let mut everything = document.at(&format!("{CREATE}/everything/value")).clone();
    let members = everything.as_object_mut().unwrap();
    for (member, value) in [
        ("id", json!("b")),
        ("kind", json!("")),
        ("href", json!("")),
        ("version", json!(1)),
    ] {
        members.insert(member.into(), value);
    }
    let schema = document.schema("ResourceBundleCreate");
    let breaches = document.breaches(schema, &everything);
    for (pointer, change) in &breaches {
        let changed = change.apply(&everything, pointer);
        assert_ne!(
            document.problems(schema, &changed),
            [""; 0],
            "{pointer} {change:?}"
        );
    }
    let tried = each_is(&server, &Method::POST, &breaches, &everything, false).await;
    assert!(tried > 100, "only {tried}");
    let schema = document.schema("ResourceBundlePatch");
    let mut change = everything.clone();
    for member in ["id", "name", "consumer_name"] {
        change.as_object_mut().unwrap().remove(member);
    }
    let breaches = document.breaches(schema, &change);
    let tried = each_is(&server, &Method::PATCH, &breaches, &change, false).await;
    assert!(tried > 100, "only {tried}");
    for (method, path, schema, base) in [
        (
            Method::POST,
            "/consumers",
            "ConsumerCreate",
            json!({"id": "", "kind": "", "href": "", "name": "c2", "labels": {"a": "b"}}),
        ),
        (
            Method::PATCH,
            "/consumers/cluster1",
            "ConsumerPatch",
            json!({"kind": "", "href": "", "name": "cluster1", "labels": {"a": "b"}}),
        ),
    ] {
        for (pointer, change) in document.breaches(document.schema(schema), &base) {
            let body = change.apply(&base, &pointer);
            let (status, answer) = server.send(method.clone(), path, Some(body)).await;
            assert_eq!(
                status,
                StatusCode::BAD_REQUEST,
                "{path} {pointer} {change:?}: {answer}"
            );
        }
    }
}

#[tokio::test]
async fn what_the_document_allows_the_server_takes() {
    let server = Server::with_consumer().await;
    let document = document();
    let everything = document.at(&format!("{CREATE}/everything/value"));
    let schema = document.schema("ResourceBundleCreate");
    let variants: Vec<(String, Change)> = document
        .variants(schema, everything)
        .into_iter()
        .filter(|(pointer, change)| {
            !(*change == Change::Without && TOGETHER.contains(&pointer.as_str()))
        })
        .collect();
    for (pointer, change) in &variants {
        let changed = change.apply(everything, pointer);
        assert_eq!(
            document.problems(schema, &changed),
            [""; 0],
            "{pointer} {change:?}"
        );
    }
    let tried = each_is(&server, &Method::POST, &variants, everything, true).await;
    assert!(tried > 40, "only {tried}");
    let mut change = everything.clone();
    for member in ["name", "consumer_name"] {
        change.as_object_mut().unwrap().remove(member);
    }
    change["version"] = 1.into();
    let variants: Vec<(String, Change)> = document
        .variants(document.schema("ResourceBundlePatch"), &change)
        .into_iter()
        .filter(|(pointer, change)| {
            !(*change == Change::Without && TOGETHER.contains(&pointer.as_str()))
        })
        .collect();
    each_is(&server, &Method::PATCH, &variants, &change, true).await;
}

impl Document {
    fn schema_example_status(&self) -> Value {
        let single = "/paths/~1api~1maestro~1v1~1resource-bundles~1{id}/get/responses/200/content/application~1json/example/status";
        let mut status = self.at(single).clone();
        for member in ["ObservedVersion", "SequenceID"] {
            status.as_object_mut().unwrap().remove(member);
        }
        status
    }
}

const CREATE: &str = "/paths/~1api~1maestro~1v1~1resource-bundles/post/requestBody/content/application~1json/examples";

/// Members that another one needs, as their descriptions say, so that they cannot go alone.
const TOGETHER: &[&str] = &[
    "/version",
    "/manifests",
    "/delete_option/selectivelyOrphans",
    // What the rules are about.
    "/delete_option/selectivelyOrphans/orphaningRules/0/namespace",
    "/manifest_configs/0/resourceIdentifier/group",
    "/manifest_configs/0/resourceIdentifier/namespace",
    "/manifests/0/metadata/namespace",
    "/manifests/1/metadata/namespace",
];
