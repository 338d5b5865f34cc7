//! The OpenAPI document says what the router does; what happens when the store fails is in [`failures`].

use serde_json::Value;

use super::meta::OPENAPI;

mod failures;

#[test]
fn every_route_is_documented_with_its_methods() {
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    let mut documented = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            if method != "parameters" {
                documented.push(format!("{} {path}", method.to_uppercase()));
            }
        }
    }
    documented.sort();
    insta::assert_snapshot!(documented.join("\n"), @r"
DELETE /api/maestro/v1/consumers/{id}
DELETE /api/maestro/v1/resource-bundles/{id}
GET /api/maestro
GET /api/maestro/v1
GET /api/maestro/v1/consumers
GET /api/maestro/v1/consumers/{id}
GET /api/maestro/v1/consumers/{id}/explain
GET /api/maestro/v1/consumers/{id}/presence
GET /api/maestro/v1/errors
GET /api/maestro/v1/errors/{id}
GET /api/maestro/v1/openapi
GET /api/maestro/v1/overview
GET /api/maestro/v1/resource-bundles
GET /api/maestro/v1/resource-bundles/{id}
GET /api/maestro/v1/resource-bundles/{id}/explain
PATCH /api/maestro/v1/consumers/{id}
PATCH /api/maestro/v1/resource-bundles/{id}
POST /api/maestro/v1/consumers
POST /api/maestro/v1/resource-bundles
");
}
