//! Inputs as they are found in practice (`tests/cases`): what every agent would refuse, or would pass over in silence, is
//! refused when it is given; what clients of Maestro send is taken.

use super::*;

/// What a body is answered with, as `status reason`.
async fn posted(server: &Server, body: &str) -> String {
    let response = server
        .client
        .post(format!("{}/resource-bundles", server.base))
        .header("content-type", "application/json")
        .body(body.to_owned())
        .send()
        .await
        .unwrap();
    let status = response.status().as_u16();
    let answer: Value = response.json().await.unwrap();
    format!("{status} {}", answer["reason"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn what_no_cluster_can_be_brought_to_is_refused_by_its_path_and_what_to_do() {
    let server = Server::with_consumer().await;
    let mut answers = Vec::new();
    for case in [
        include_str!("../../../tests/cases/two-versions-of-one-object.json"),
        include_str!("../../../tests/cases/config-that-matches-nothing.json"),
        include_str!("../../../tests/cases/owner-reference.json"),
        include_str!("../../../tests/cases/rest-list-kind.json"),
        include_str!("../../../tests/cases/rest-duplicate-keys.json"),
    ] {
        answers.push(posted(&server, case).await);
    }
    insta::assert_snapshot!(answers.join("\n"), @r"
    400 manifests[1]: declares autoscaling/v2 HorizontalPodAutoscaler default/h again, which manifests[0] already does as autoscaling/v1 HorizontalPodAutoscaler default/h
    400 manifest_configs[0].resourceIdentifier: matches no manifest; the nearest is manifests[0] (ConfigMap default/typo), whose name is `typo`, not `tpyo`
    400 manifests[0].metadata.ownerReferences: must not be set: an owner's uid belongs to one cluster, and where it is not known the object is collected as garbage; hint: take `ownerReferences` out of the manifest, the agent makes itself the owner
    400 manifests[0].kind: `List` is not an object: post its items, each as a manifest
    400 name: is there twice, and only one of the two can count; manifests[0].data.k: is there twice, and only one of the two can count
    ");
    assert_eq!(server.get("/resource-bundles").await["total"], 0);
}

#[tokio::test]
async fn a_cluster_scoped_object_declared_twice_is_refused_whatever_namespace_it_says() {
    let server = Server::with_consumer().await;
    let object = |kind: &str, version: &str, namespace: Option<&str>| {
        let mut object =
            json!({"apiVersion": version, "kind": kind, "metadata": {"name": "team-a"}});
        if let Some(namespace) = namespace {
            object["metadata"]["namespace"] = namespace.into();
        }
        object
    };
    for (kind, version) in [
        ("Namespace", "v1"),
        ("ClusterRole", "rbac.authorization.k8s.io/v1"),
        ("CustomResourceDefinition", "apiextensions.k8s.io/v1"),
    ] {
        let manifests = [
            object(kind, version, Some("whatever")),
            object(kind, version, None),
        ];
        let body = json!({"consumer_name": "cluster1", "manifests": manifests});
        let answer = server
            .refused(Method::POST, "/resource-bundles", body)
            .await;
        assert_eq!(
            answer,
            format!(
                "400 maestro-8: manifests[1]: declares {version} {kind} team-a again, which manifests[0] already does as \
                 {version} {kind} whatever/team-a"
            )
        );
    }
    // Once it is one object.
    let manifests = [object("Namespace", "v1", Some("whatever"))];
    let body = json!({"consumer_name": "cluster1", "manifests": manifests});
    let (status, _) = server
        .send(Method::POST, "/resource-bundles", Some(body))
        .await;
    assert_eq!(status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_change_is_refused_as_its_making_would_be() {
    let server = Server::with_consumer().await;
    server
        .send(Method::POST, "/resource-bundles", Some(bundle("b1")))
        .await;
    let mut owned = config_map("a", "2");
    owned["metadata"]["ownerReferences"] = json!([{"uid": "1"}]);
    let rule = |name: &str| json!({"group": "", "resource": "configmaps", "name": name, "namespace": "default"});
    let spares = |name: &str| json!({"propagationPolicy": "SelectivelyOrphan", "selectivelyOrphans": {"orphaningRules": [rule(name)]}});
    let mut answers = Vec::new();
    for change in [
        json!({"manifests": [owned]}),
        json!({"manifest_configs": [{"resourceIdentifier": rule("b"), "updateStrategy": {"type": "ReadOnly"}}]}),
        json!({"delete_option": spares("b")}),
    ] {
        let mut change = change;
        change["version"] = 1.into();
        answers.push(
            server
                .refused(Method::PATCH, "/resource-bundles/b1", change)
                .await,
        );
    }
    insta::assert_snapshot!(answers.join("\n"), @r"
    400 maestro-8: manifests[0].metadata.ownerReferences: must not be set: an owner's uid belongs to one cluster, and where it is not known the object is collected as garbage; hint: take `ownerReferences` out of the manifest, the agent makes itself the owner
    400 maestro-8: manifest_configs[0].resourceIdentifier: matches no manifest; the nearest is manifests[0] (ConfigMap default/a), whose name is `a`, not `b`
    400 maestro-8: delete_option.selectivelyOrphans.orphaningRules[0]: matches no manifest; the nearest is manifests[0] (ConfigMap default/a), whose name is `a`, not `b`
    ");
}

#[tokio::test]
async fn a_rule_that_spares_what_is_taken_out_stays_a_rule() {
    let server = Server::with_consumer().await;
    let mut new = bundle("b1");
    new["manifests"] = json!([config_map("a", "1"), config_map("b", "1")]);
    server
        .send(Method::POST, "/resource-bundles", Some(new))
        .await;
    let rule = json!({"group": "", "resource": "configmaps", "name": "b", "namespace": "default"});
    let option = json!({"propagationPolicy": "SelectivelyOrphan", "selectivelyOrphans": {"orphaningRules": [rule]}});
    for (version, change) in [
        (
            1,
            json!({"manifests": [config_map("a", "1")], "delete_option": option}),
        ),
        // What it spares is not even in the version before any more.
        (2, json!({"manifests": [config_map("a", "2")]})),
    ] {
        let mut change = change;
        change["version"] = version.into();
        let (status, answer) = server
            .send(Method::PATCH, "/resource-bundles/b1", Some(change))
            .await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
}

#[tokio::test]
async fn a_rule_that_may_be_about_nothing_is_taken() {
    let server = Server::with_consumer().await;
    let config = |group: &str, resource: &str, name: &str| {
        json!({
            "resourceIdentifier": {"group": group, "resource": resource, "name": name, "namespace": "default"},
            "updateStrategy": {"type": "ReadOnly"},
        })
    };
    let mut new = bundle("b1");
    new["manifests"] = json!([config_map("a", "1"), config_map("b", "1")]);
    // One list of rules for whatever a bundle may hold.
    new["manifest_configs"] = json!([
        config("apps", "deployments", "*"),
        config("", "configmaps", "b")
    ]);
    let (status, answer) = server
        .send(Method::POST, "/resource-bundles", Some(new))
        .await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    // The rule about `b` is there already, and this change takes `b` out.
    let change = json!({"version": 1, "manifests": [config_map("a", "1")]});
    let (status, answer) = server
        .send(Method::PATCH, "/resource-bundles/b1", Some(change))
        .await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let typo = json!({"version": 2, "manifest_configs": [config("", "configmaps", "bb")]});
    let (status, _) = server
        .send(Method::PATCH, "/resource-bundles/b1", Some(typo))
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn searches_of_maestros_clients_are_answered() {
    let server = Server::with_consumer().await;
    let mut one = bundle("b1");
    one["metadata"] =
        json!({"name": "s1", "labels": {"env": "prod", "api.openshift.com/id": "x1"}});
    for new in [one, bundle("b2")] {
        server
            .send(Method::POST, "/resource-bundles", Some(new))
            .await;
    }
    let lines = include_str!("../../../tests/cases/rest-search.txt").lines();
    let searches: Vec<&str> = lines.filter(|line| !line.starts_with('#')).collect();
    let expected = [vec!["b1"], vec![], vec!["b1"]];
    let more = [
        (
            "source='maestro' and consumer_name='cluster1'",
            vec!["b1", "b2"],
        ),
        (
            "source='maestro' and (consumer_name='a' or consumer_name='cluster1')",
            vec!["b1", "b2"],
        ),
        ("source<>'maestro'", vec![]),
        ("payload->'metadata'->'labels'->>'env'=null", vec!["b2"]),
        ("payload->'metadata'->'labels'->>'env'<>'dev'", vec!["b1"]),
        ("metadata->>'name' like 's%'", vec!["b1"]),
    ];
    assert_eq!(searches.len(), expected.len());
    for (search, expected) in searches.into_iter().zip(expected).chain(more) {
        let query = [("search", search), ("fields", "id")];
        let url = format!("{}/resource-bundles", server.base);
        let url = reqwest::Url::parse_with_params(&url, query).unwrap();
        let response = server.client.get(url).send().await.unwrap();
        let body: Value = response.json().await.unwrap();
        let ids: Vec<&str> = body["items"]
            .as_array()
            .unwrap_or_else(|| panic!("{search}: {body}"))
            .iter()
            .map(|item| item["id"].as_str().unwrap())
            .collect();
        assert_eq!(ids, expected, "{search}");
    }
}

#[tokio::test]
async fn an_unknown_query_parameter_is_refused_with_parameters_that_exist() {
    let server = Server::with_consumer().await;
    let mut answers = Vec::new();
    for query in ["field=name", "filter=x", "serach=x"] {
        let path = format!("/resource-bundles?{query}");
        answers.push(server.refused(Method::GET, &path, Value::Null).await);
    }
    insta::assert_snapshot!(answers.join("\n"), @r"
    400 maestro-21: unknown query parameter `field`, did you mean `fields`?
    400 maestro-21: unknown query parameter `filter`, known are `page`, `size`, `orderBy`, `fields`, `search`
    400 maestro-21: unknown query parameter `serach`, did you mean `search`?
    ");
}

#[tokio::test]
async fn labels_that_are_not_there_are_left_out() {
    let server = Server::start().await;
    let (_, consumer) = server
        .send(
            Method::POST,
            "/consumers",
            Some(json!({"name": "cluster1"})),
        )
        .await;
    let list = server.get("/consumers?fields=name,labels").await;
    for shown in [&consumer, &list["items"][0]] {
        assert!(shown.get("labels").is_none(), "{shown}");
    }
}
