//! Faults by name.

use super::*;

async fn names(api: &Api) -> Vec<(String, Value, Value)> {
    let listed = api.get("/sandbox/faults").await.ok();
    let faults = listed["faults"].as_array().unwrap().iter();
    faults
        .map(|fault| {
            let name = fault["name"].as_str().unwrap().to_owned();
            (name, fault["default"].clone(), fault["value"].clone())
        })
        .collect()
}

#[tokio::test]
async fn every_fault_is_set_listed_and_cleared_by_its_name() {
    let api = Api::new().await;
    for (name, default, value) in names(&api).await {
        assert!(value.is_null(), "{name} is set");
        let value = match name.as_str() {
            "tls-version" => json!("1.2"),
            "takeover" => json!("a@1s"),
            _ => Value::Null,
        };
        let expected = if value.is_null() {
            default
        } else {
            value.clone()
        };
        let path = format!("/sandbox/faults/{name}");
        let set = api.put(&path, json!({ "value": value })).await.ok();
        assert_eq!(set["value"], expected, "{name}");
    }
    assert!(
        names(&api)
            .await
            .iter()
            .all(|(_, _, value)| value.is_string())
    );
    let settings = api.broker.faults().get();
    assert!(settings.refuse_publishes.contains("*") && settings.takeover.is_some());
    api.delete("/sandbox/faults/takeover").await.ok();
    assert!(api.broker.faults().get().takeover.is_none());
    api.delete("/sandbox/faults").await.ok();
    assert!(
        names(&api)
            .await
            .iter()
            .all(|(_, _, value)| value.is_null())
    );
    let settings = api.broker.faults().get();
    assert_eq!(settings.front, broker::Front::default());
    assert!(settings.refuse_publishes.is_empty());
}

#[tokio::test]
async fn what_a_fault_does_not_take_is_told() {
    let api = Api::new().await;
    for (name, value, status) in [
        ("nothing", "1", 404),
        ("throttle", "2", 400),
        ("takeover", "a@soon", 400),
        ("swallow", "connect,all", 400),
        ("event-delay", "1s-2s", 400),
        ("event-delay", "2s..1s", 400),
        ("certificate", "gone@agent", 400),
        ("certificate", "revoked@", 400),
        ("takeover", "@1s", 400),
        ("lifetime", "5s..1s", 400),
        ("takeover", "a,,b@1s", 400),
    ] {
        let path = format!("/sandbox/faults/{name}");
        let reply = api.put(&path, json!({ "value": value })).await;
        assert_eq!(reply.status, status, "{name}: {reply:?}");
        assert!(reply.body["message"].as_str().unwrap().contains(name));
    }
    let reply = api.put("/sandbox/faults/takeover", json!({})).await;
    assert_eq!(reply.status, 400, "{reply:?}");
}

#[tokio::test]
async fn values_are_taken_at_their_limits_and_not_one_past_them() {
    let api = Api::new().await;
    for (name, taken, refused, takes) in [
        ("throttle", "1", "1.000001", "from 0 to 1"),
        ("throttle", "0", "-0.000001", "from 0 to 1"),
        ("max-filters", "7", "8", "below 8"),
        ("max-filters", "0", "-1", "below 8"),
        ("max-subscriptions", "49", "50", "below 50"),
        ("max-payload", "131071", "131072", "below 131072"),
        ("max-topic", "255", "256", "below 256"),
        ("policy-delay", "24h", "24h1ns", "24h at most"),
        ("policy-spread", "24h", "24h1ns", "24h at most"),
        ("first-delivery-gap", "24h", "9999999999h", "24h at most"),
        ("event-delay", "0..24h", "0..24h1ns", "24h at most"),
        (
            "lifetime",
            "1s..1s",
            "1s..999ms",
            "a range whose end is not before",
        ),
        ("takeover", "a@10ms", "a@9ms", "10ms at least"),
        ("clock-skew", "87600h", "87600h1s", "87600h at most"),
        ("clock-skew", "-87600h", "-87600h1s", "87600h at most"),
    ] {
        let path = format!("/sandbox/faults/{name}");
        let set = api.put(&path, json!({ "value": taken })).await.ok();
        assert_eq!(set["value"], taken, "{name}");
        let reply = api.put(&path, json!({ "value": refused })).await;
        assert_eq!(reply.status, 400, "{name}={refused}: {reply:?}");
        let message = reply.body["message"].as_str().unwrap();
        assert!(message.contains(takes), "{message}");
        // What is refused changes nothing.
        let (_, _, value) = names(&api)
            .await
            .into_iter()
            .find(|(known, _, _)| known == name)
            .unwrap();
        assert_eq!(value, taken, "{name}");
    }
}

#[tokio::test]
async fn a_misspelt_fault_is_answered_with_the_nearest() {
    let api = Api::new().await;
    for (name, near) in [("throtle", "throttle"), ("deny-conect", "deny-connect")] {
        let path = format!("/sandbox/faults/{name}");
        for reply in [api.put(&path, json!({})).await, api.delete(&path).await] {
            assert_eq!(reply.status, 404, "{reply:?}");
            let message = reply.body["message"].as_str().unwrap();
            assert!(
                message.contains(&format!("did you mean `{near}`?")),
                "{message}"
            );
        }
    }
}

#[tokio::test]
async fn a_pretended_state_is_what_the_control_plane_tells_too() {
    let api = Api::new().await;
    let made = api.post("/certificates?setAsActive=true", csr("agent"));
    let made = made.await.ok();
    let id = made["certificateId"].as_str().unwrap();
    let path = format!("/certificates/{id}");
    let status = async || {
        let reply = api.get(&path).await;
        reply.body["certificateDescription"]["status"].clone()
    };
    for (value, expected) in [
        ("revoked@agent", json!("REVOKED")),
        ("inactive@other", json!("ACTIVE")),
        ("unknown", Value::Null),
    ] {
        let body = json!({ "value": value });
        api.put("/sandbox/faults/certificate", body).await.ok();
        assert_eq!(status().await, expected, "{value}");
    }
    api.delete("/sandbox/faults/certificate").await.ok();
    assert_eq!(status().await, json!("ACTIVE"));

    api.policy("p").await;
    let arn = made["certificateArn"].as_str().unwrap();
    let target = json!({ "target": arn });
    api.put("/target-policies/p", target).await.ok();
    let attached = async || {
        let path = format!("/attached-policies/{}", quoted(arn));
        let listed = api.post(&path, Value::Null).await.ok();
        listed["policies"].as_array().unwrap().len()
    };
    assert_eq!(attached().await, 1);
    let body = json!({ "value": "agent" });
    api.put("/sandbox/faults/no-policy", body).await.ok();
    assert_eq!(attached().await, 0);
    api.delete("/sandbox/faults").await.ok();
    assert_eq!(attached().await, 1);
}
