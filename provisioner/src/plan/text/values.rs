//! Attributes and their values, one attribute a line, as Terraform prints them.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::resource::{Difference, SENSITIVE};

use super::super::PendingAttribute;

/// Writes `+ attribute = value` lines, in the order of names. Objects and texts of several lines take more than one.
pub(super) fn write_created(
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

/// Writes a `~ attribute = have -> want` line. Of objects and texts of several lines only what differs, with `-` and `+`.
pub(super) fn write_changed(f: &mut fmt::Formatter<'_>, change: &Difference) -> fmt::Result {
    let Difference {
        attribute,
        have,
        want,
    } = change;
    let lines = match (have, want) {
        (Value::Object(_), Value::Object(_)) => {
            ("{", differing(&entries(have), &entries(want)), "}")
        }
        (Value::String(old), Value::String(new)) if is_long(old) || is_long(new) => {
            let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
            ("<<-EOT", differing(&lines(old), &lines(new)), "EOT")
        }
        _ => return writeln!(f, "    ~ {attribute} = {} -> {}", text(have), text(want)),
    };
    let (open, lines, close) = lines;
    writeln!(f, "    ~ {attribute} = {open}\n{lines}{INDENT}{close}")
}

fn entries(object: &Value) -> Vec<String> {
    let fields = object.as_object().into_iter().flatten();
    fields
        .map(|(key, value)| format!("{key:?} = {}", brief(value)))
        .collect()
}

fn differing(have: &[String], want: &[String]) -> String {
    let only = |these: &[String], those: &[String], sign: char| -> String {
        let only = these.iter().filter(|line| !those.contains(line));
        only.map(|line| format!("{DEEPER}{sign} {line}\n"))
            .collect()
    };
    only(have, want, '-') + &only(want, have, '+')
}

/// A value on one line.
pub(super) fn brief(value: &Value) -> String {
    match value {
        Value::Null => "(nothing)".to_owned(),
        Value::String(text) if text == SENSITIVE => text.clone(),
        other => other.to_string(),
    }
}

fn is_long(text: &str) -> bool {
    text.trim_end().contains('\n')
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) if is_long(text) => {
            let lines = text.trim_end().lines();
            let lines: String = lines.map(|line| format!("{DEEPER}{line}\n")).collect();
            format!("<<-EOT\n{lines}{INDENT}EOT")
        }
        Value::Object(fields) if !fields.is_empty() => pretty(value),
        Value::Array(items) if items.iter().any(|it| it.is_object() || it.is_array()) => {
            pretty(value)
        }
        other => brief(other),
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
            write_created(f, &self.0, &self.1)
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
            ("content.password", json!(SENSITIVE)),
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

    struct Changed(Difference);

    impl fmt::Display for Changed {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write_changed(f, &self.0)
        }
    }

    fn changed(have: Value, want: Value) -> String {
        let attribute = "it".to_owned();
        Changed(Difference {
            attribute,
            have,
            want,
        })
        .to_string()
    }

    #[test]
    fn a_change_shows_what_differs_and_nothing_else() {
        assert_eq!(changed(json!(7), json!(30)), "    ~ it = 7 -> 30\n");
        assert_eq!(
            changed(Value::Null, json!("a")),
            "    ~ it = (nothing) -> \"a\"\n"
        );
        insta::assert_snapshot!(changed(json!({"a": "1", "b": "2"}), json!({"a": "1", "c": "3"})), @r#"
        ~ it = {
            - "b" = "2"
            + "c" = "3"
          }
        "#);
        insta::assert_snapshot!(changed(json!("a\nb\n"), json!("a\nc\n")), @r#"
        ~ it = <<-EOT
            - b
            + c
          EOT
        "#);
    }
}
