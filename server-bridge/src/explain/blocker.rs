//! What is in the way of an object, out of what agents say in the messages of conditions: the API server's words, as our
//! agent (docs/KUBERNETES.md) and the Go agent (docs/MAESTRO.md §6.8) pass them on.

/// What kind of thing is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hindrance {
    /// Other managers own fields.
    Conflict,
    /// A webhook or a policy denies it, or a webhook cannot be called.
    Admission,
    /// A right is missing.
    Right,
    /// The kind is not there.
    Kind,
    /// The namespace is not there, or goes.
    Namespace,
    /// A quota of the cluster.
    Quota,
    /// Another work declares the object.
    OtherWork,
    /// The object itself is wrong, or a field of it cannot change.
    Content,
    /// Finalizers, dependents or contents.
    Finalizer,
}

/// What is in the way, in a phrase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blocker {
    pub(super) hindrance: Hindrance,
    pub(super) what: String,
}

/// What a message says is in the way, if it does.
pub(super) fn blocker(message: &str) -> Option<Blocker> {
    let found = |hindrance, what: String| Some(Blocker { hindrance, what });
    let within = |from, to| between(message, from, to);
    if let Some(waits) = message.split("waits for ").nth(1) {
        let waits = waits.split("; hint: ").next().unwrap_or(waits);
        return found(Hindrance::Finalizer, clipped(waits).to_owned());
    }
    if let Some(managers) = within("conflict with `", "; hint") {
        return found(Hindrance::Conflict, format!("field manager `{managers}"));
    }
    if let Some(manager) = within("conflict with \"", "\"") {
        let fields = message.rsplit(':').next().unwrap_or_default().trim();
        return found(
            Hindrance::Conflict,
            format!("field manager `{manager}`: {fields}"),
        );
    }
    if let Some(name) = within("admission webhook \"", "\"") {
        return found(Hindrance::Admission, format!("webhook `{name}` denies it"));
    }
    if let Some(name) = within("failed calling webhook \"", "\"") {
        return found(
            Hindrance::Admission,
            format!("webhook `{name}` cannot be called"),
        );
    }
    if let Some(name) = within("ValidatingAdmissionPolicy '", "'") {
        return found(Hindrance::Admission, format!("policy `{name}` denies it"));
    }
    if let Some((user, verb, resource)) = denied(message) {
        return found(
            Hindrance::Right,
            format!("`{user}` may not `{verb}` `{resource}`"),
        );
    }
    if let Some(resource) = within("not allowed to apply the resource ", ", will try") {
        return found(
            Hindrance::Right,
            format!("the executor may not apply {}", resource.trim()),
        );
    }
    if let Some((kind, rest)) = message
        .split_once("no matches for kind \"")
        .and_then(|(_, rest)| rest.split_once('"'))
    {
        let version = between(rest, "in version \"", "\"").unwrap_or("any version");
        return found(Hindrance::Kind, format!("no kind `{kind}` in `{version}`"));
    }
    if let Some(name) = within("namespaces \"", "\" not found") {
        return found(Hindrance::Namespace, format!("no namespace `{name}`"));
    }
    if message.contains("is being terminated") {
        return found(
            Hindrance::Namespace,
            "the namespace is being terminated".into(),
        );
    }
    if message.contains("exceeded quota") {
        let quota = within("exceeded quota: ", ",").unwrap_or("of the namespace");
        return found(Hindrance::Quota, format!("quota `{quota}` is used up"));
    }
    if let Some(work) = within("is held by work `", "`") {
        return found(
            Hindrance::OtherWork,
            format!("work `{work}` declares it too"),
        );
    }
    if message.contains("is immutable") {
        return found(Hindrance::Content, "a field that cannot be changed".into());
    }
    if message.contains("is invalid") || message.contains("invalid: ") {
        return found(Hindrance::Content, "the manifest is invalid".into());
    }
    None
}

/// What the agent advises, if it does.
pub(super) fn hint(message: &str) -> Option<&str> {
    let hint = message.rsplit("; hint: ").next()?;
    (hint.len() < message.len()).then_some(hint)
}

/// The verb of the request that failed, where the agent says it: `apply Kind …: …`.
pub(super) fn verb(message: &str) -> Option<&str> {
    let text = message
        .rsplit_once("Failed to apply manifest: ")
        .map_or(message, |(_, text)| text);
    let verb = text.split(' ').next()?;
    VERBS.contains(&verb).then_some(verb)
}

// === impl Hindrance ===

impl Hindrance {
    /// What would move it, where the agent gave no hint.
    pub(super) const fn next(self) -> &'static str {
        match self {
            Self::Conflict => {
                "set `force: true` in the object's update strategy, leave the fields out of the manifest, or list them under `ignoreFields`"
            }
            Self::Admission => {
                "change the manifest as the webhook or policy demands, or see that it can be called"
            }
            Self::Right => {
                "give the right; `agent permissions` prints the role that the works of the cluster need"
            }
            Self::Kind => {
                "install the definition of the kind, for example in the same bundle, or use a version that the cluster has"
            }
            Self::Namespace => {
                "put the Namespace into the bundle, before the object, or create it on the cluster"
            }
            Self::Quota => "raise the quota of the namespace or ask for less",
            Self::OtherWork => "declare the object in one of the two bundles only",
            Self::Content => {
                "correct the manifest (`kubectl explain` describes its fields), or give the object another name"
            }
            Self::Finalizer => {
                "see that the controller behind the finalizer runs in the cluster; it is looked at again by itself"
            }
        }
    }
}

fn denied(message: &str) -> Option<(&str, &str, String)> {
    let user = between(message, "User \"", "\"").unwrap_or("the agent");
    let verb = between(message, " cannot ", " resource \"")?;
    let resource = between(message, " resource \"", "\"")?;
    let group = between(message, " in API group \"", "\"").unwrap_or_default();
    let whole = match group {
        "" => resource.to_owned(),
        group => format!("{resource}.{group}"),
    };
    Some((user, verb, whole))
}

fn between<'m>(message: &'m str, from: &str, to: &str) -> Option<&'m str> {
    let (_, rest) = message.split_once(from)?;
    let (found, _) = rest.split_once(to)?;
    (!found.is_empty()).then_some(clipped(found))
}

fn clipped(text: &str) -> &str {
    &text[..text.floor_char_boundary(PHRASE_BYTES)]
}

/// What our agent says it did, as its errors begin.
const VERBS: [&str; 6] = ["apply", "create", "update", "patch", "read", "delete"];

// What is longer is in the message itself.
const PHRASE_BYTES: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_agents_say_names_what_is_in_the_way() {
        let cases = [
            (
                "Failed to apply manifest: apply Deployment shop/web: conflict with `kubectl-edit`: .spec.replicas; hint: set `force: true` to take these fields, leave them out of the manifest, or list them under `ignoreFields`",
                Hindrance::Conflict,
                "field manager `kubectl-edit`: .spec.replicas",
            ),
            (
                "Failed to apply manifest: Apply failed with 1 conflict: conflict with \"kubectl-edit\" using v1: .data.x",
                Hindrance::Conflict,
                "field manager `kubectl-edit`: .data.x",
            ),
            (
                "admission webhook \"policy.example\" denied the request: no",
                Hindrance::Admission,
                "webhook `policy.example` denies it",
            ),
            (
                "Internal error occurred: failed calling webhook \"w.example\": failed to call webhook",
                Hindrance::Admission,
                "webhook `w.example` cannot be called",
            ),
            (
                "x is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
                Hindrance::Admission,
                "policy `p` denies it",
            ),
            (
                "apply Role shop/r: roles.rbac.authorization.k8s.io \"r\" is forbidden: User \"system:serviceaccount:a:agent\" cannot patch resource \"roles\" in API group \"rbac.authorization.k8s.io\" in the namespace \"shop\"",
                Hindrance::Right,
                "`system:serviceaccount:a:agent` may not `patch` `roles.rbac.authorization.k8s.io`",
            ),
            (
                "not allowed to apply the resource  configmaps, shop a, will try again in 1m0s",
                Hindrance::Right,
                "the executor may not apply configmaps, shop a",
            ),
            (
                "apply Widget a: no matches for kind \"Widget\" in version \"example.com/v1\"; hint: install it",
                Hindrance::Kind,
                "no kind `Widget` in `example.com/v1`",
            ),
            (
                "namespaces \"shop\" not found",
                Hindrance::Namespace,
                "no namespace `shop`",
            ),
            (
                "forbidden: exceeded quota: small, requested: pods=1",
                Hindrance::Quota,
                "quota `small` is used up",
            ),
            (
                "ConfigMap a/b is held by work `other`, which declares other content; hint: x",
                Hindrance::OtherWork,
                "work `other` declares it too",
            ),
            (
                "ConfigMap default/a waits for finalizer `example.com/hold`",
                Hindrance::Finalizer,
                "finalizer `example.com/hold`",
            ),
        ];
        for (message, hindrance, what) in cases {
            let what = what.to_owned();
            assert_eq!(
                blocker(message),
                Some(Blocker { hindrance, what }),
                "{message}"
            );
        }
        assert_eq!(blocker("Apply manifest complete"), None);
    }

    #[test]
    fn hint_and_verb_are_the_agent_s() {
        let message = "Failed to apply manifest: apply Widget a: no matches; hint: install it";
        assert_eq!(
            (hint(message), verb(message)),
            (Some("install it"), Some("apply"))
        );
        assert_eq!((hint("no"), verb("no")), (None, None));
    }
}
