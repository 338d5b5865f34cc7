//! Requests as such: signatures, unknown operations, what cannot be read; the endpoint and connections.

use super::*;

#[tokio::test]
async fn a_request_that_is_not_signed_is_refused_whatever_it_asks() {
    let api = Api::new().await;
    for path in ["/things", "/nowhere"] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let reply = api.send(request).await;
        reply.fails(403, "MissingAuthenticationTokenException");
        let request = Request::get(path).header("authorization", "Bearer abc");
        let reply = api.send(request.body(Body::empty()).unwrap()).await;
        reply.fails(403, "MissingAuthenticationTokenException");
    }
}

#[tokio::test]
async fn an_unknown_operation_is_named_in_json() {
    let api = Api::new().await;
    for (method, path) in [(Method::GET, "/thing-groups"), (Method::PATCH, "/policies")] {
        let reply = api.call(method.clone(), path, Value::Null).await;
        let message = format!("no operation is known for {method} {path}");
        assert_eq!(reply.body["message"], message);
        reply.fails(404, "UnknownOperationException");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_an_invalid_request() {
    let api = Api::new().await;
    for (method, path) in [
        (Method::GET, "/policies/a%20b"),
        (Method::GET, "/policies/%FF"),
        (Method::GET, "/things/a.b"),
        (Method::GET, "/certificates/00"),
        (Method::GET, "/policies?pageSize=0"),
        (Method::GET, "/policies?pageSize=251"),
        (Method::GET, "/policies?pageSize=x"),
        (Method::GET, "/policies?marker=xyz"),
        (Method::POST, "/certificates"),
        (Method::GET, "/principals/things"),
        (Method::DELETE, "/connections/%24GEN"),
    ] {
        let reply = api.call(method, path, Value::Null).await;
        reply.fails(400, "InvalidRequestException");
    }
    let request = signed(Method::POST, "/policies/p").body("{".into());
    let reply = api.send(request.unwrap()).await;
    reply.fails(400, "InvalidRequestException");
}

#[tokio::test]
async fn only_the_ats_endpoint_is_the_brokers() {
    let api = Api::new().await;
    let address = async |kind: &str| {
        let path = format!("/endpoint{kind}");
        api.get(&path).await.ok()["endpointAddress"].clone()
    };
    let right = address("?endpointType=iot%3AData-ATS").await;
    assert_eq!(right, "broker.example");
    for kind in ["", "?endpointType=iot:Data", "?endpointType=iot:Jobs"] {
        assert_ne!(address(kind).await, right);
    }
    let reply = api.get("/endpoint?endpointType=other").await;
    reply.fails(400, "InvalidRequestException");
}

#[tokio::test]
async fn a_client_that_is_not_connected_cannot_be_disconnected() {
    let api = Api::new().await;
    let reply = api
        .delete("/connections/a%2Fb?cleanSession=true&preventWillMessage=false")
        .await;
    reply.fails(404, "ResourceNotFoundException");
}
