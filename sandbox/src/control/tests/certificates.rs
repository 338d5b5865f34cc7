//! Certificates.

use super::*;

#[tokio::test]
async fn a_certificate_is_made_shown_switched_and_deleted() {
    let api = Api::new().await;
    let request = csr("agent");
    let path = "/certificates?setAsActive=true";
    let made = api.post(path, request.clone()).await.ok();
    let again = api.post(path, request).await.ok();
    assert_ne!(made["certificateId"], again["certificateId"]);
    let id = made["certificateId"].as_str().unwrap();
    let arn = format!("arn:aws:iot:us-east-1:000000000000:cert/{id}");
    assert_eq!(made["certificateArn"], arn);

    let path = format!("/certificates/{id}");
    let shown = api.get(&path).await.ok()["certificateDescription"].clone();
    assert_eq!(shown["certificatePem"], made["certificatePem"]);
    assert_eq!(shown["certificateArn"], arn);
    assert_eq!(shown["status"], "ACTIVE");
    assert_eq!(shown["certificateMode"], "DEFAULT");
    assert_eq!(shown["ownedBy"], "000000000000");
    assert_eq!(shown["validity"]["notAfter"], 2_524_607_999.0);
    let created = shown["creationDate"].as_f64().unwrap();
    let from = shown["validity"]["notBefore"].as_f64().unwrap();
    assert!((86_399.0..=86_402.0).contains(&(created - from)));
    assert_eq!(shown["lastModifiedDate"], shown["creationDate"]);

    let reply = api.delete(&path).await;
    reply.fails(406, "CertificateStateException");
    let changed = format!("{path}?newStatus=INACTIVE");
    api.put(&changed, Value::Null).await.ok();
    let shown = api.get(&path).await.ok();
    assert_eq!(shown["certificateDescription"]["status"], "INACTIVE");
    api.delete(&path).await.ok();
    let reply = api.get(&path).await;
    reply.fails(404, "ResourceNotFoundException");
    let reply = api.delete(&path).await;
    reply.fails(404, "ResourceNotFoundException");
    let reply = api.put(&changed, Value::Null).await;
    reply.fails(404, "ResourceNotFoundException");
}

#[tokio::test]
async fn a_certificate_is_inactive_unless_asked_otherwise_and_revoked_for_ever() {
    let api = Api::new().await;
    let (id, _) = api.certificate().await;
    let path = format!("/certificates/{id}");
    let shown = api.get(&path).await.ok();
    assert_eq!(shown["certificateDescription"]["status"], "INACTIVE");
    for state in ["PENDING_TRANSFER", "REGISTER_INACTIVE", "active"] {
        let changed = format!("{path}?newStatus={state}");
        let reply = api.put(&changed, Value::Null).await;
        reply.fails(400, "InvalidRequestException");
    }
    let reply = api.put(&path, Value::Null).await;
    reply.fails(400, "InvalidRequestException");
    let revoked = format!("{path}?newStatus=REVOKED");
    api.put(&revoked, Value::Null).await.ok();
    api.put(&revoked, Value::Null).await.ok();
    let active = format!("{path}?newStatus=ACTIVE");
    let reply = api.put(&active, Value::Null).await;
    reply.fails(406, "CertificateStateException");
    api.delete(&path).await.ok();
}

#[tokio::test]
async fn a_request_that_cannot_be_signed_is_refused() {
    let api = Api::new().await;
    let too_long = "x".repeat(4097);
    for request in ["nonsense", &too_long] {
        let body = json!({ "certificateSigningRequest": request });
        let reply = api.post("/certificates", body).await;
        reply.fails(400, "InvalidRequestException");
    }
    assert!(api.broker.registry().certificates().is_empty());
}

#[tokio::test]
async fn what_is_attached_keeps_a_certificate_and_force_covers_policies_only() {
    let api = Api::new().await;
    let (id, arn) = api.certificate().await;
    let path = format!("/certificates/{id}");
    let forced = format!("{path}?forceDelete=true");
    api.policy("p").await;
    let target = json!({ "target": arn });
    api.put("/target-policies/p", target).await.ok();
    api.post("/things/t", Value::Null).await.ok();
    let principals = "/things/t/principals";
    let attached = api.with_principal(Method::PUT, principals, &arn).await;
    attached.ok();
    for path in [&path, &forced] {
        let reply = api.delete(path).await;
        reply.fails(409, "DeleteConflictException");
    }
    let detached = api.with_principal(Method::DELETE, principals, &arn).await;
    detached.ok();
    let reply = api.delete(&path).await;
    reply.fails(409, "DeleteConflictException");
    api.delete(&forced).await.ok();
    api.delete("/policies/p").await.ok();
}

#[tokio::test]
async fn certificates_are_listed_page_by_page_by_date() {
    let api = Api::new().await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(api.certificate().await.0);
    }
    for ascending in [true, false] {
        let mut seen: Vec<String> = Vec::new();
        let mut marker = String::new();
        loop {
            let path = format!("/certificates?pageSize=2&isAscendingOrder={ascending}{marker}");
            let page = api.get(&path).await.ok();
            let items = page["certificates"].as_array().unwrap().iter();
            seen.extend(items.map(|item| item["certificateId"].as_str().unwrap().to_owned()));
            let Some(next) = page["nextMarker"].as_str() else {
                break;
            };
            marker = format!("&marker={next}");
        }
        if !ascending {
            seen.reverse();
        }
        assert_eq!(seen, made);
    }
}
