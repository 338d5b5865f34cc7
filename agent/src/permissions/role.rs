//! The needs of works as RBAC objects in YAML, in a fixed order and with a reason at every rule.
//!
//! Names in works come from sources: everything that is not ours is written as a JSON string, which is YAML, and
//! comments lose their control characters.

use std::io::{self, Write};

use link::bundle::ServiceAccount;
use serde_json::json;

use super::needs::{Need, Needs};

/// Who needs it, and who is to have it.
pub(super) struct Subject<'a> {
    /// The consumer.
    pub(super) consumer: &'a str,
    /// Namespace of its works.
    pub(super) namespace: &'a str,
    /// Whom to bind the roles to.
    pub(super) account: Option<&'a ServiceAccount>,
}

/// A ClusterRole, or a Role where there is a namespace.
struct Role<'a> {
    name: String,
    namespace: Option<&'a str>,
    rules: Vec<Rule>,
}

#[derive(Default)]
struct Rule {
    why: Vec<String>,
    group: String,
    resource: String,
    names: Vec<String>,
    verbs: Vec<&'static str>,
}

/// Writes the roles, with their bindings if there is somebody to bind them to.
pub(super) fn write(out: &mut impl Write, subject: &Subject<'_>, needs: &Needs) -> io::Result<()> {
    let Subject {
        consumer,
        namespace,
        account,
    } = subject;
    let works = match needs.works {
        1 => "1 work".to_owned(),
        works => format!("{works} works"),
    };
    comment(
        out,
        &format!(
            "The smallest role for the agent of consumer `{consumer}`: {works} in namespace `{namespace}`."
        ),
    )?;
    comment(
        out,
        "Print it again when works with new kinds or other strategies arrive.",
    )?;
    for work in &needs.unread {
        comment(
            out,
            &format!("WARNING: not considered, its spec is none: {work}"),
        )?;
    }
    for (position, role) in roles(subject, needs).iter().enumerate() {
        if position > 0 {
            writeln!(out, "---")?;
        }
        role.write(out)?;
        if let Some(account) = account {
            writeln!(out, "---")?;
            role.write_binding(out, account)?;
        }
    }
    Ok(())
}

fn roles<'a>(subject: &Subject<'a>, needs: &'a Needs) -> Vec<Role<'a>> {
    let name = format!("agent-{}", subject.consumer);
    let objects = needs
        .resources
        .iter()
        .map(|((group, resource), need)| Rule {
            why: reasons(need),
            group: group.clone(),
            resource: resource.clone(),
            verbs: need.verbs(),
            ..Rule::default()
        });
    let impersonated = needs.impersonated.iter().map(|(namespace, names)| Role {
        name: format!("{name}-executors"),
        namespace: Some(namespace),
        rules: vec![
            Rule::of("", "serviceaccounts", &["impersonate"])
                .named(names.iter().cloned())
                .because("To rehearse in their name what gives rights."),
        ],
    });
    let mut roles = vec![
        Role {
            name: name.clone(),
            namespace: None,
            rules: own_cluster_rules(needs.reviews)
                .into_iter()
                .chain(objects)
                .collect(),
        },
        Role {
            name: name.clone(),
            namespace: Some(subject.namespace),
            rules: own_rules(subject.consumer),
        },
    ];
    roles.extend(impersonated);
    roles
}

fn own_cluster_rules(reviews: bool) -> Vec<Rule> {
    let mut rules = vec![
        Rule::of(
            WORK,
            "appliedmanifestworks",
            &["get", "list", "watch", "create", "patch", "delete"],
        )
        .because("Which objects the works hold."),
        Rule::of(WORK, "appliedmanifestworks/status", &["patch"]),
        Rule::of(
            "apiextensions.k8s.io",
            "customresourcedefinitions",
            &["get", "list", "watch"],
        )
        .because("To notice new kinds."),
    ];
    if reviews {
        rules.push(
            Rule::of("authorization.k8s.io", "subjectaccessreviews", &["create"])
                .because("To ask what the executors of works may do."),
        );
    }
    rules
}

fn own_rules(consumer: &str) -> Vec<Rule> {
    vec![
        Rule::of(
            WORK,
            "manifestworks",
            &["get", "list", "watch", "create", "patch", "delete"],
        )
        .because("The works."),
        Rule::of(WORK, "manifestworks/status", &["patch"]),
        Rule::of("", "configmaps", &["create"]).because("The agent's state."),
        Rule::of("", "configmaps", &["get", "list", "watch", "patch"])
            .named([format!("agent-{consumer}-state")]),
        Rule::of(
            "coordination.k8s.io",
            "leases",
            &["get", "list", "watch", "create", "update"],
        )
        .because("To work one at a time."),
        Rule::of("events.k8s.io", "events", &["create", "patch"])
            .because("To say at a ManifestWork what is wrong."),
    ]
}

fn reasons(need: &Need) -> Vec<String> {
    let count = need.works.len();
    let who: Vec<&str> = need.works.iter().map(String::as_str).take(NAMED).collect();
    let noun = if count == 1 { "work" } else { "works" };
    let more = match count.saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let mut why = vec![format!("{}: {noun} {}{more}", need.kind, who.join(", "))];
    if !need.known {
        why.push("The cluster does not have this kind (yet); the plural is a guess.".into());
    }
    if need.gives_rights && need.writes() {
        why.extend(ESCALATION.lines().map(str::to_owned));
    }
    why
}

// === impl Role ===

impl Role<'_> {
    fn kind(&self) -> &'static str {
        if self.namespace.is_some() {
            "Role"
        } else {
            "ClusterRole"
        }
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        self.write_head(out, self.kind())?;
        writeln!(out, "rules:")?;
        for rule in &self.rules {
            for line in &rule.why {
                write!(out, "  ")?;
                comment(out, line)?;
            }
            writeln!(out, "  - apiGroups: {}", list(&[&rule.group]))?;
            writeln!(out, "    resources: {}", list(&[&rule.resource]))?;
            if !rule.names.is_empty() {
                writeln!(out, "    resourceNames: {}", list(&rule.names))?;
            }
            writeln!(out, "    verbs: {}", list(&rule.verbs))?;
        }
        Ok(())
    }

    fn write_binding(&self, out: &mut impl Write, account: &ServiceAccount) -> io::Result<()> {
        self.write_head(out, &format!("{}Binding", self.kind()))?;
        writeln!(out, "roleRef:")?;
        writeln!(out, "  apiGroup: rbac.authorization.k8s.io")?;
        writeln!(out, "  kind: {}", self.kind())?;
        writeln!(out, "  name: {}", json!(self.name))?;
        writeln!(out, "subjects:")?;
        writeln!(out, "  - kind: ServiceAccount")?;
        writeln!(out, "    namespace: {}", json!(account.namespace))?;
        writeln!(out, "    name: {}", json!(account.name))
    }

    fn write_head(&self, out: &mut impl Write, kind: &str) -> io::Result<()> {
        writeln!(out, "apiVersion: rbac.authorization.k8s.io/v1")?;
        writeln!(out, "kind: {kind}")?;
        writeln!(out, "metadata:")?;
        writeln!(out, "  name: {}", json!(self.name))?;
        if let Some(namespace) = self.namespace {
            writeln!(out, "  namespace: {}", json!(namespace))?;
        }
        Ok(())
    }
}

// === impl Rule ===

impl Rule {
    fn of(group: &str, resource: &str, verbs: &[&'static str]) -> Self {
        Self {
            group: group.to_owned(),
            resource: resource.to_owned(),
            verbs: verbs.to_vec(),
            ..Self::default()
        }
    }

    fn because(mut self, why: &str) -> Self {
        self.why.push(why.to_owned());
        self
    }

    fn named(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.names.extend(names);
        self
    }
}

fn list(texts: &[impl AsRef<str>]) -> String {
    let texts: Vec<String> = texts
        .iter()
        .map(|text| json!(text.as_ref()).to_string())
        .collect();
    format!("[{}]", texts.join(", "))
}

fn comment(out: &mut impl Write, line: &str) -> io::Result<()> {
    let ends_the_line = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    writeln!(out, "# {}", line.replace(ends_the_line, "?"))
}

const WORK: &str = "work.open-cluster-management.io";

// Works that a comment names; a hundred would hide the rule.
const NAMED: usize = 3;

const ESCALATION: &str = "\
These objects give rights. The API server lets the agent write them only if it has the same rights itself, or the
verb `escalate` (for roles) or `bind` (for the roles that bindings name), which are as good as cluster-admin. Neither
is printed here: add by hand what you decide on.";

#[cfg(test)]
mod tests;
