//! Things and the certificates attached to them.

use super::*;

fn attributes(pairs: &[(&str, &str)]) -> Value {
    let map: serde_json::Map<_, _> = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), Value::from(*value)))
        .collect();
    json!({ "attributePayload": { "attributes": map } })
}

#[tokio::test]
async fn a_thing_is_made_once_and_again_only_with_the_same_attributes() {
    let api = Api::new().await;
    let body = attributes(&[("a", "1")]);
    let made = api.post("/things/t", body.clone()).await.ok();
    assert_eq!(
        made["thingArn"],
        "arn:aws:iot:us-east-1:000000000000:thing/t"
    );
    assert_eq!(api.post("/things/t", body).await.ok(), made);
    let reply = api.post("/things/t", attributes(&[("a", "2")])).await;
    assert_eq!(reply.body["resourceId"], made["thingId"]);
    assert_eq!(reply.body["resourceArn"], made["thingArn"]);
    reply.fails(409, "ResourceAlreadyExistsException");
    let shown = api.get("/things/t").await.ok();
    assert_eq!(shown["thingId"], made["thingId"]);
    assert_eq!(shown["defaultClientId"], "t");
    assert_eq!(shown["attributes"], json!({ "a": "1" }));
    assert_eq!(shown["version"], 1);
    let reply = api.get("/things/u").await;
    reply.fails(404, "ResourceNotFoundException");
}

#[tokio::test]
async fn a_thing_without_a_type_has_three_attributes_at_most_and_types_do_not_exist() {
    let api = Api::new().await;
    let four = attributes(&[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")]);
    let reply = api.post("/things/t", four.clone()).await;
    reply.fails(400, "InvalidRequestException");
    for (name, value) in [("a b", "1"), ("a", "1 2"), ("", "1")] {
        let reply = api.post("/things/t", attributes(&[(name, value)])).await;
        reply.fails(400, "InvalidRequestException");
    }
    for field in ["thingTypeName", "billingGroupName"] {
        let reply = api.post("/things/t", json!({ (field): "x" })).await;
        reply.fails(404, "ResourceNotFoundException");
    }
    api.post("/things/t", Value::Null).await.ok();
    let reply = api.call(Method::PATCH, "/things/t", four).await;
    reply.fails(400, "InvalidRequestException");
}

#[tokio::test]
async fn an_update_replaces_or_merges_and_counts() {
    let api = Api::new().await;
    let made = attributes(&[("a", "1"), ("b", "1")]);
    api.post("/things/t", made).await.ok();
    let update = async |body: Value| api.call(Method::PATCH, "/things/t", body).await;
    let mut merge = attributes(&[("a", ""), ("c", "2")]);
    merge["attributePayload"]["merge"] = true.into();
    merge["expectedVersion"] = 1.into();
    assert_eq!(update(merge.clone()).await.ok(), json!({}));
    let shown = api.get("/things/t").await.ok();
    assert_eq!(shown["attributes"], json!({ "b": "1", "c": "2" }));
    assert_eq!(shown["version"], 2);
    update(merge).await.fails(409, "VersionConflictException");
    update(attributes(&[("d", "3")])).await.ok();
    let shown = api.get("/things/t").await.ok();
    assert_eq!(shown["attributes"], json!({ "d": "3" }));
    let reply = api.call(Method::PATCH, "/things/u", json!({})).await;
    reply.fails(404, "ResourceNotFoundException");
}

#[tokio::test]
async fn a_thing_is_kept_by_its_certificates_and_a_missing_one_is_deleted_without_a_word() {
    let api = Api::new().await;
    let (_, arn) = api.certificate().await;
    api.post("/things/t", Value::Null).await.ok();
    let path = "/things/t/principals";
    let attached = api.with_principal(Method::PUT, path, &arn).await;
    assert_eq!(attached.ok(), json!({}));
    assert_eq!(api.get(path).await.ok()["principals"], json!([arn]));
    let things = api.with_principal(Method::GET, "/principals/things", &arn);
    assert_eq!(things.await.ok()["things"], json!(["t"]));
    let reply = api.delete("/things/t").await;
    reply.fails(400, "InvalidRequestException");
    for _ in 0..2 {
        let detached = api.with_principal(Method::DELETE, path, &arn).await;
        detached.ok();
    }
    let reply = api.delete("/things/t?expectedVersion=7").await;
    reply.fails(409, "VersionConflictException");
    api.delete("/things/t?expectedVersion=1").await.ok();
    api.delete("/things/t").await.ok();
}

#[tokio::test]
async fn principals_that_do_not_exist_are_told_from_those_that_are_none() {
    let api = Api::new().await;
    let (id, arn) = api.certificate().await;
    api.post("/things/t", Value::Null).await.ok();
    let unknown = arn.replace(&id, &"0".repeat(64));
    for method in [Method::PUT, Method::DELETE] {
        for (path, arn) in [("/things/t", &unknown), ("/things/u", &arn)] {
            let path = format!("{path}/principals");
            let reply = api.with_principal(method.clone(), &path, arn).await;
            reply.fails(404, "ResourceNotFoundException");
        }
        let reply = api.with_principal(method, "/things/t/principals", "x");
        reply.await.fails(400, "InvalidRequestException");
    }
    let exclusive = "/things/t/principals?thingPrincipalType=EXCLUSIVE_THING";
    let reply = api.with_principal(Method::PUT, exclusive, &arn).await;
    reply.fails(400, "InvalidRequestException");
    let reply = api.with_principal(Method::GET, "/principals/things", &unknown);
    reply.await.fails(404, "ResourceNotFoundException");
    let reply = api.get("/things/u/principals").await;
    reply.fails(404, "ResourceNotFoundException");
}

#[tokio::test]
async fn things_are_found_by_attribute_page_by_page() {
    let api = Api::new().await;
    for (name, color) in [("a", "red"), ("b", "blue"), ("c", "red"), ("d", "reddish")] {
        let body = attributes(&[("color", color)]);
        api.post(&format!("/things/{name}"), body).await.ok();
    }
    let names = async |query: &str| {
        let page = api.get(&format!("/things?{query}")).await.ok();
        let things = page["things"].as_array().unwrap().iter();
        let names = things.map(|thing| thing["thingName"].as_str().unwrap());
        (names.collect::<String>(), page["nextToken"].clone())
    };
    let red = "attributeName=color&attributeValue=red";
    assert_eq!(names(red).await.0, "ac");
    let prefix = format!("{red}&usePrefixAttributeValue=true");
    assert_eq!(names(&prefix).await.0, "acd");
    assert_eq!(names("attributeName=size").await.0, "");
    assert_eq!(names("thingTypeName=x").await.0, "");
    let (first, next) = names("maxResults=3").await;
    let next = next.as_str().unwrap();
    let (second, end) = names(&format!("maxResults=3&nextToken={next}")).await;
    assert_eq!((first.as_str(), second.as_str()), ("abc", "d"));
    assert!(end.is_null());
}
