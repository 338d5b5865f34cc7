//! Messages about conflicts of server-side apply: who holds which fields, and what can be done.

use kube::core::Status;

/// The fields that other managers hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    /// The managers, in the order of the API server.
    pub(crate) managers: Vec<String>,
    /// `conflict with `hpa`: .spec.replicas`, shortened to a readable length, with a hint.
    pub(crate) message: String,
}

/// Reads the answer to an apply; `None` when it is not about managers of fields.
pub(crate) fn describe(status: &Status) -> Option<Conflict> {
    let mut held: Vec<(String, Vec<&str>)> = Vec::new();
    for cause in status.details.iter().flat_map(|details| &details.causes) {
        if cause.reason != FIELD_MANAGER_CONFLICT {
            continue;
        }
        let manager = manager(&cause.message);
        match held.iter_mut().find(|(known, _)| *known == manager) {
            Some((_, fields)) => fields.push(&cause.field),
            None => held.push((manager, vec![&cause.field])),
        }
    }
    if held.is_empty() {
        return None;
    }
    let mut parts: Vec<_> = held
        .iter()
        .take(MAX_MANAGERS)
        .map(|(manager, fields)| format!("with `{manager}`: {}", list(fields)))
        .collect();
    if held.len() > MAX_MANAGERS {
        parts.push(format!("and {} more managers", held.len() - MAX_MANAGERS));
    }
    Some(Conflict {
        message: format!("conflict {}; hint: {HINT}", parts.join("; ")),
        managers: held.into_iter().map(|(manager, _)| manager).collect(),
    })
}

fn list(fields: &[&str]) -> String {
    let shown: Vec<_> = fields
        .iter()
        .take(MAX_FIELDS)
        .map(|field| shorten(field, MAX_FIELD_CHARS))
        .collect();
    let mut text = shown.join(", ");
    if fields.len() > MAX_FIELDS {
        text.push_str(&format!(" and {} more", fields.len() - MAX_FIELDS));
    }
    text
}

/// At most `most` characters; what was cut is marked.
pub(super) fn shorten(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

// The API server writes `conflict with "kubectl-edit" using apps/v1 at …`, the name quoted as Go quotes.
fn manager(message: &str) -> String {
    let quoted = message
        .find('"')
        .map(|start| &message[start..])
        .unwrap_or_default();
    let mut names = serde_json::Deserializer::from_str(quoted).into_iter::<String>();
    match names.next() {
        Some(Ok(name)) => shorten(&name, MAX_MANAGER_CHARS),
        _ => "another manager".to_owned(),
    }
}

const FIELD_MANAGER_CONFLICT: &str = "FieldManagerConflict";
const HINT: &str = "set `force: true` to take these fields, leave them out of the manifest, or list them under \
    `ignoreFields`";
const MAX_MANAGERS: usize = 4;
// The API server allows names of 128 characters.
const MAX_MANAGER_CHARS: usize = 128;
const MAX_FIELDS: usize = 6;
const MAX_FIELD_CHARS: usize = 120;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(causes: &[(&str, &str)]) -> Status {
        let causes: Vec<_> = causes
            .iter()
            .map(|(message, field)| {
                json!({"reason": FIELD_MANAGER_CONFLICT, "message": message, "field": field})
            })
            .collect();
        let status = json!({
            "status": "Failure", "code": 409, "reason": "Conflict", "message": "Apply failed with conflicts",
            "details": {"causes": causes},
        });
        serde_json::from_value(status).unwrap()
    }

    #[test]
    fn managers_are_named_with_their_fields() {
        let conflict = describe(&status(&[
            (
                r#"conflict with "kubectl-edit" using apps/v1 at 2026-01-01T00:00:00Z"#,
                ".spec.replicas",
            ),
            (
                r#"conflict with "hpa" with subresource "scale" using apps/v1"#,
                ".spec.replicas",
            ),
            (
                r#"conflict with "kubectl-edit" using apps/v1"#,
                r#".spec.c[name="web"].image"#,
            ),
            (r#"conflict with "a \"quoted\" name""#, ".data.x"),
        ]))
        .unwrap();
        assert_eq!(
            conflict.managers,
            ["kubectl-edit", "hpa", "a \"quoted\" name"]
        );
        assert_eq!(
            conflict.message,
            "conflict with `kubectl-edit`: .spec.replicas, .spec.c[name=\"web\"].image; with `hpa`: .spec.replicas; \
             with `a \"quoted\" name`: .data.x; hint: set `force: true` to take these fields, leave them out of the \
             manifest, or list them under `ignoreFields`"
        );
    }

    #[test]
    fn long_conflicts_stay_readable() {
        let names: Vec<_> = (0..9)
            .map(|n| format!("conflict with \"manager-{n}\""))
            .collect();
        let field = format!(".{}", "é".repeat(500));
        let mut causes: Vec<_> = names
            .iter()
            .map(|name| (name.as_str(), field.as_str()))
            .collect();
        causes.extend((0..50).map(|_| ("conflict with \"manager-0\"", field.as_str())));
        let conflict = describe(&status(&causes)).unwrap();
        assert_eq!(conflict.managers.len(), 9);
        assert!(
            conflict.message.contains("and 45 more; with `manager-1`"),
            "{}",
            conflict.message
        );
        assert!(
            conflict.message.contains("; and 5 more managers; hint"),
            "{}",
            conflict.message
        );
        assert!(conflict.message.chars().count() < 2_000);
    }

    #[test]
    fn other_conflicts_are_not_described() {
        assert_eq!(describe(&status(&[])), None);
        assert_eq!(
            describe(&Status::failure("the object has been modified", "Conflict")),
            None
        );
    }

    #[test]
    fn unknown_wording_still_names_the_fields() {
        let conflict = describe(&status(&[("conflict", ".a")])).unwrap();
        assert_eq!(conflict.managers, ["another manager"]);
    }
}
