//! What a creation sets, one attribute a line, as Terraform prints it.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::super::PendingAttribute;

/// Writes `+ attribute = value` lines, in the order of names. Objects and texts of several lines take more than one.
pub(super) fn write(
    f: &mut fmt::Formatter<'_>,
    after: &BTreeMap<String, Value>,
    later: &[PendingAttribute],
) -> fmt::Result {
    let known = after
        .iter()
        .map(|(name, value)| (name.as_str(), text(value)));
    let later = later.iter().map(|it| {
        let text = format!("(known once {} is there)", it.waits_for);
        (it.attribute.as_str(), text)
    });
    let lines: BTreeMap<&str, String> = known.chain(later).collect();
    let width = lines.keys().map(|name| name.len()).max().unwrap_or(0);
    lines
        .iter()
        .try_for_each(|(name, text)| writeln!(f, "    + {name:width$} = {text}"))
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) if text == crate::resource::SENSITIVE => text.clone(),
        Value::String(text) if text.trim_end().contains('\n') => {
            let lines = text.trim_end().lines();
            let lines: String = lines.map(|line| format!("{DEEPER}{line}\n")).collect();
            format!("<<-EOT\n{lines}{INDENT}EOT")
        }
        Value::Object(fields) if !fields.is_empty() => pretty(value),
        Value::Array(items) if items.iter().any(|it| it.is_object() || it.is_array()) => {
            pretty(value)
        }
        other => other.to_string(),
    }
}

fn pretty(value: &Value) -> String {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.replace('\n', &format!("\n{INDENT}"))
}

// Below the name after `    + `.
const INDENT: &str = "      ";
const DEEPER: &str = "        ";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Shown(BTreeMap<String, Value>, Vec<PendingAttribute>);

    impl fmt::Display for Shown {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write(f, &self.0, &self.1)
        }
    }

    #[test]
    fn each_attribute_of_a_creation_has_its_line() {
        let after = [
            ("instanceClass", json!("db.t4g.micro")),
            ("multiAz", json!(false)),
            ("storage", json!(20)),
            ("subnets", json!(["subnet-a", "subnet-b"])),
            ("egress", json!({})),
            ("content.password", json!(crate::resource::SENSITIVE)),
            (
                "content.config",
                json!("brokerHost: a:8883\nusername: ''\n"),
            ),
            ("tags", json!({"provisioner:region": "r1"})),
        ];
        let after = after.map(|(name, value)| (name.to_owned(), value));
        let later = PendingAttribute {
            attribute: "securityGroups".into(),
            waits_for: "the security group",
        };
        let shown = Shown(BTreeMap::from(after), vec![later]).to_string();
        insta::assert_snapshot!(shown, @r#"
        + content.config   = <<-EOT
            brokerHost: a:8883
            username: ''
          EOT
        + content.password = (sensitive value)
        + egress           = {}
        + instanceClass    = "db.t4g.micro"
        + multiAz          = false
        + securityGroups   = (known once the security group is there)
        + storage          = 20
        + subnets          = ["subnet-a","subnet-b"]
        + tags             = {
            "provisioner:region": "r1"
          }
        "#);
    }
}
