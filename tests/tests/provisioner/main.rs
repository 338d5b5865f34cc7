//! The provisioner against an AWS of several accounts, with an IoT Core whose broker obeys.

use serde_json::{Value, json};

mod adoption;
mod converge;
mod crashes;
mod drift;
mod enrolment;
mod habits;
mod iam;
mod refusals;
mod secrecy;
mod takedown;

/// A policy document of IAM or IoT with one statement.
fn statement(statement: &Value) -> String {
    json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string()
}

const CLUSTER: &str = "management-01";
const SERVER_POLICY: &str = "testbed-maestro-server-policy";
const AGENT_POLICY: &str = "management-01-maestro-agent-policy";
