//! What is not consistent at once.

use super::*;

const SETTLE: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn a_new_resource_is_seen_later() {
    let api = Api::settling(SETTLE).await;
    let (id, _) = api.certificate().await;
    api.policy("p").await;
    api.post("/things/t", Value::Null).await.ok();
    let certificate = format!("/certificates/{id}");
    let shown = [certificate.as_str(), "/policies/p", "/things/t"];
    let lists = [
        ("/certificates", "certificates"),
        ("/policies", "policies"),
        ("/things", "things"),
    ];
    for path in shown {
        let reply = api.get(path).await;
        reply.fails(404, "ResourceNotFoundException");
    }
    for (path, field) in lists {
        assert_eq!(api.get(path).await.ok()[field], json!([]));
    }
    let reply = api.post("/policies/p", document("iot:Connect")).await;
    reply.fails(409, "ResourceAlreadyExistsException");
    tokio::time::advance(SETTLE).await;
    for path in shown {
        api.get(path).await.ok();
    }
    for (path, field) in lists {
        let listed = api.get(path).await.ok();
        assert_eq!(listed[field].as_array().unwrap().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_just_detached_cannot_be_deleted_yet() {
    let api = Api::settling(SETTLE).await;
    let (id, arn) = api.certificate().await;
    api.policy("p").await;
    api.post("/things/t", Value::Null).await.ok();
    let target = json!({ "target": arn });
    api.put("/target-policies/p", target.clone()).await.ok();
    let principals = "/things/t/principals";
    for method in [Method::PUT, Method::DELETE] {
        api.with_principal(method, principals, &arn).await.ok();
    }
    api.post("/target-policies/p", target).await.ok();
    let certificate = format!("/certificates/{id}");
    let policy = api.delete("/policies/p").await;
    policy.fails(409, "DeleteConflictException");
    let refused = api.delete(&certificate).await;
    refused.fails(409, "DeleteConflictException");
    let thing = api.delete("/things/t").await;
    thing.fails(400, "InvalidRequestException");
    tokio::time::advance(SETTLE).await;
    for path in ["/policies/p", &certificate, "/things/t"] {
        api.delete(path).await.ok();
    }
}
