//! Policies, their versions, attachments and tags.

use super::*;

#[tokio::test]
async fn a_policy_is_given_back_as_it_was_written() {
    let api = Api::new().await;
    // With white space, which the document model would drop.
    let text = r#"{ "Version": "2012-10-17", "Statement": [] }"#;
    let body = json!({ "policyDocument": text, "tags": [{ "Key": "k", "Value": "v" }] });
    let made = api.post("/policies/p", body.clone()).await.ok();
    let arn = "arn:aws:iot:us-east-1:000000000000:policy/p";
    let expected = json!({
        "policyName": "p", "policyArn": arn, "policyDocument": text, "policyVersionId": "1",
    });
    assert_eq!(made, expected);
    let shown = api.get("/policies/p").await.ok();
    assert_eq!(shown["policyDocument"], text);
    assert_eq!(shown["defaultVersionId"], "1");
    assert!(shown["creationDate"].is_f64() && shown["lastModifiedDate"].is_f64());
    let listed = api.get("/policies").await.ok();
    assert_eq!(listed["policies"][0]["policyArn"], arn);

    let reply = api.post("/policies/p", body).await;
    assert_eq!(reply.body["resourceArn"], arn);
    reply.fails(409, "ResourceAlreadyExistsException");
    api.delete("/policies/p").await.ok();
    for method in [Method::GET, Method::DELETE] {
        let reply = api.call(method, "/policies/p", Value::Null).await;
        reply.fails(404, "ResourceNotFoundException");
    }
}

#[tokio::test]
async fn a_malformed_or_long_document_is_no_policy_and_no_version() {
    let api = Api::new().await;
    api.policy("p").await;
    let long = document(&format!("iot:{}", "x".repeat(2048)));
    let unknown = json!({ "policyDocument": r#"{"Version":"2012-10-17","Other":1}"# });
    let broken = json!({ "policyDocument": "{" });
    for body in [long, unknown, broken] {
        for path in ["/policies/q", "/policies/p/version"] {
            let reply = api.post(path, body.clone()).await;
            reply.fails(400, "MalformedPolicyException");
        }
    }
}

#[tokio::test]
async fn five_versions_one_in_force() {
    let api = Api::new().await;
    api.policy("p").await;
    let versions = "/policies/p/version";
    for number in 2..=5 {
        let path = format!("{versions}?setAsDefault={}", number == 4);
        let made = api.post(&path, document("iot:Publish")).await.ok();
        assert_eq!(made["policyVersionId"], number.to_string());
        assert_eq!(made["isDefaultVersion"], number == 4);
    }
    let reply = api.post(versions, document("iot:Publish")).await;
    reply.fails(409, "VersionsLimitExceededException");
    let listed = api.get(versions).await.ok()["policyVersions"].clone();
    assert_eq!(listed.as_array().unwrap().len(), 5);
    assert_eq!(listed[1]["versionId"], "4");
    assert_eq!(listed[1]["isDefaultVersion"], true);
    assert!(listed[1]["createDate"].is_f64());
    let shown = api.get("/policies/p/version/1").await.ok();
    assert_eq!(
        shown["policyDocument"],
        document("iot:Connect")["policyDocument"]
    );
    assert_eq!(shown["isDefaultVersion"], false);

    let reply = api.delete("/policies/p").await;
    reply.fails(409, "DeleteConflictException");
    let reply = api.delete("/policies/p/version/4").await;
    reply.fails(409, "DeleteConflictException");
    let first = "/policies/p/version/1";
    api.call(Method::PATCH, first, Value::Null).await.ok();
    assert_eq!(api.get("/policies/p").await.ok()["defaultVersionId"], "1");
    for number in 2..=5 {
        api.delete(&format!("{versions}/{number}")).await.ok();
    }
    let made = api.post(versions, document("iot:Publish")).await.ok();
    assert_eq!(made["policyVersionId"], "6", "numbers are not used again");
    for (method, path) in [
        (Method::DELETE, "/policies/p/version/2"),
        (Method::GET, "/policies/p/version/2"),
        (Method::GET, "/policies/q/version/1"),
        (Method::GET, "/policies/q/version"),
    ] {
        let reply = api.call(method, path, Value::Null).await;
        reply.fails(404, "ResourceNotFoundException");
    }
    let reply = api.call(Method::PATCH, "/policies/p/version/9", Value::Null);
    reply.await.fails(404, "ResourceNotFoundException");
    let reply = api.post("/policies/q/version", document("iot:Publish"));
    reply.await.fails(404, "ResourceNotFoundException");
}

#[tokio::test]
async fn policies_are_attached_to_certificates_and_kept_by_them() {
    let api = Api::new().await;
    let (_, arn) = api.certificate().await;
    api.policy("p").await;
    let target = json!({ "target": arn });
    for _ in 0..2 {
        api.put("/target-policies/p", target.clone()).await.ok();
    }
    let targets = api.post("/policy-targets/p", Value::Null).await.ok();
    assert_eq!(targets["targets"], json!([arn]));
    let attached = format!("/attached-policies/{}", quoted(&arn));
    let policies = api.post(&attached, Value::Null).await.ok();
    assert_eq!(policies["policies"][0]["policyName"], "p");
    let reply = api.delete("/policies/p").await;
    reply.fails(409, "DeleteConflictException");

    for number in 0..10 {
        let name = format!("p{number}");
        api.policy(&name).await;
        let path = format!("/target-policies/{name}");
        let reply = api.put(&path, target.clone()).await;
        if number < 9 {
            reply.ok();
        } else {
            reply.fails(410, "LimitExceededException");
        }
    }
    let page = format!("{attached}?pageSize=9");
    let page = api.post(&page, Value::Null).await.ok();
    let next = page["nextMarker"].as_str().unwrap();
    let rest = format!("{attached}?pageSize=9&marker={next}");
    let rest = api.post(&rest, Value::Null).await.ok();
    assert_eq!(rest["policies"].as_array().unwrap().len(), 1);

    api.post("/target-policies/p", target).await.ok();
    api.delete("/policies/p").await.ok();
}

#[tokio::test]
async fn attaching_to_nothing_and_detaching_from_nothing_is_told_as_iot_core_tells_it() {
    let api = Api::new().await;
    let (id, arn) = api.certificate().await;
    api.policy("p").await;
    let unknown = arn.replace(&id, &"0".repeat(64));
    let elsewhere = arn.replace("us-east-1", "eu-west-1");
    let target = |arn: &str| json!({ "target": arn });
    let attach = api.put("/target-policies/p", target(&unknown)).await;
    attach.fails(404, "ResourceNotFoundException");
    let attach = api.put("/target-policies/q", target(&arn)).await;
    attach.fails(404, "ResourceNotFoundException");
    let attach = api.put("/target-policies/p", target(&elsewhere)).await;
    attach.fails(400, "InvalidRequestException");
    let detach = api.post("/target-policies/p", target(&unknown)).await;
    assert!(detach.body.to_string().contains("Invalid Target"));
    detach.fails(400, "InvalidRequestException");
    for name in ["p", "q"] {
        let path = format!("/target-policies/{name}");
        api.post(&path, target(&arn)).await.ok();
    }
    let list = format!("/attached-policies/{}", quoted(&unknown));
    let list = api.post(&list, Value::Null).await;
    list.fails(404, "ResourceNotFoundException");
    let list = api.post("/policy-targets/q", Value::Null).await;
    list.fails(404, "ResourceNotFoundException");
}

#[tokio::test]
async fn policies_have_tags_and_nothing_else_has() {
    let api = Api::new().await;
    let (_, certificate) = api.certificate().await;
    let tags = json!([{ "Key": "a", "Value": "1" }]);
    let mut body = document("iot:Connect");
    body["tags"] = tags.clone();
    api.post("/policies/p", body.clone()).await.ok();
    let arn = "arn:aws:iot:us-east-1:000000000000:policy/p";
    let tag = |arn: &str, tags: Value| json!({ "resourceArn": arn, "tags": tags });
    let more = json!([{ "Key": "a", "Value": "2" }, { "Key": "b" }]);
    api.post("/tags", tag(arn, more)).await.ok();
    let list = format!("/tags?resourceArn={}", quoted(arn));
    let listed = api.get(&list).await.ok();
    let expected = json!([{ "Key": "a", "Value": "2" }, { "Key": "b", "Value": "" }]);
    assert_eq!(listed["tags"], expected);
    let remove = json!({ "resourceArn": arn, "tagKeys": ["a", "absent"] });
    api.post("/untag", remove).await.ok();
    let listed = api.get(&list).await.ok();
    assert_eq!(listed["tags"], json!([{ "Key": "b", "Value": "" }]));

    let reply = api.post("/tags", tag(&certificate, tags.clone())).await;
    reply.fails(400, "InvalidRequestException");
    let missing = arn.replace("/p", "/q");
    let reply = api.post("/tags", tag(&missing, tags)).await;
    reply.fails(404, "ResourceNotFoundException");
    let twice = json!([{ "Key": "c" }, { "Key": "c" }]);
    for bad in [json!([{ "Key": "aws:c" }]), json!([{ "Key": "" }]), twice] {
        let reply = api.post("/tags", tag(arn, bad)).await;
        reply.fails(400, "InvalidRequestException");
    }
    let many: Vec<Value> = (0..51).map(|n| json!({ "Key": format!("k{n}") })).collect();
    let reply = api.post("/tags", tag(arn, many.clone().into())).await;
    reply.fails(410, "LimitExceededException");
    body["tags"] = many.into();
    let reply = api.post("/policies/many", body).await;
    reply.fails(400, "InvalidRequestException");
}
