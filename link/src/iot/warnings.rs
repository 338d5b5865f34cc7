//! What a policy may say but probably does not mean.

use super::evaluate::condition;
use super::filter;
use super::policy::{Document, PolicyAction, PolicyVersion, Statement};

// === impl Document ===

impl Document {
    /// What is legal but probably not meant: one sentence each, beginning with the field.
    pub fn warnings(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.version == PolicyVersion::V2008 {
            found.push(
                "Version: `2008-10-17` takes variables for plain text; write `2012-10-17`"
                    .to_owned(),
            );
        }
        for (index, statement) in self.statements.iter().enumerate() {
            let at = format!("Statement[{index}]");
            actions(&at, statement, &mut found);
            resources(&at, statement, &mut found);
            conditions(&at, statement, &mut found);
        }
        found
    }
}

fn actions(at: &str, statement: &Statement, found: &mut Vec<String>) {
    for name in &statement.actions {
        let literal = !name.contains(['*', '?']);
        let lower = name.to_ascii_lowercase();
        if literal && !DATA_PLANE.contains(&name.as_str()) {
            let meant = DATA_PLANE.iter().find(|known| {
                strsim::damerau_levenshtein(&known.to_ascii_lowercase(), &lower) <= 2
            });
            found.push(match meant {
                Some(meant) => format!("{at}.Action: `{name}` is no action; `{meant}` is"),
                None => format!(
                    "{at}.Action: `{name}` is no action that IoT Core checks on a connection"
                ),
            });
        }
    }
}

fn resources(at: &str, statement: &Statement, found: &mut Vec<String>) {
    let kinds: Vec<&str> = PolicyAction::ALL
        .into_iter()
        .filter(|action| statement.covers(*action))
        .map(PolicyAction::resource_kind)
        .collect();
    for pattern in &statement.resources {
        let Some(resource) = pattern.splitn(6, ':').nth(5) else {
            continue;
        };
        let Some((kind, name)) = resource.split_once('/') else {
            continue;
        };
        let known = matches!(kind, "client" | "topic" | "topicfilter");
        if known && !kinds.is_empty() && !kinds.contains(&kind) {
            found.push(format!(
                "{at}.Resource: `{kind}/` is not what {} is checked against; `{}/` is",
                statement.actions.join(", "),
                kinds[0],
            ));
        }
        if kind == "topic" && filter::has_wildcard(name) {
            found.push(format!(
                "{at}.Resource: `+` and `#` are literal in `{resource}`; write `*`"
            ));
        }
        if kind == "client" && name == "*" {
            found.push(format!(
                "{at}.Resource: `client/*` lets the certificate take over any other client's connection"
            ));
        }
        if kind == "topicfilter" && name.contains("${iot:ClientId}") {
            found.push(format!(
                "{at}.Resource: `${{iot:ClientId}}` in `{resource}` is widened by a client named `+` \
                 unless iot:Connect pins the client id"
            ));
        }
    }
}

fn conditions(at: &str, statement: &Statement, found: &mut Vec<String>) {
    for (operator, keys) in &statement.condition {
        if !condition::is_known_operator(operator) {
            found.push(format!(
                "{at}.Condition: operator `{operator}` is not known here; what depends on it is unknown, and refused"
            ));
        }
        for key in keys.keys().filter(|key| !condition::is_known_key(key)) {
            found.push(format!(
                "{at}.Condition: key `{key}` is not known here; what depends on it is unknown, and refused"
            ));
        }
    }
}

// The actions that IoT Core checks for a device's connection, jobs and shadows included.
const DATA_PLANE: &[&str] = &[
    "iot:Connect",
    "iot:Publish",
    "iot:Subscribe",
    "iot:Receive",
    "iot:RetainPublish",
    "iot:GetRetainedMessage",
    "iot:ListRetainedMessages",
    "iot:GetThingShadow",
    "iot:UpdateThingShadow",
    "iot:DeleteThingShadow",
    "iot:ListNamedShadowsForThing",
    "iot:DescribeJobExecution",
    "iot:GetPendingJobExecutions",
    "iot:StartNextPendingJobExecution",
    "iot:UpdateJobExecution",
    "iot:AssumeRoleWithCertificate",
];
