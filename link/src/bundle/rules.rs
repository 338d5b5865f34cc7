//! Which manifests a rule of a bundle selects, and what is wrong with one that selects none.
//!
//! A rule names its objects by group, plural, namespace and name; a typing error in one of the four makes it a rule
//! about nothing, and what it was to protect is treated like everything else. Pure.

use serde_json::Value;

use super::kinds::{self, Scope};
use super::manifest::ObjectRef;
use super::spec::{OrphaningRule, ResourceIdentifier};

/// A manifest as rules see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its index among the manifests.
    pub index: usize,
    /// Which object it declares.
    pub object: ObjectRef,
    /// The plural of its kind; `None` where only a cluster knows it.
    pub resource: Option<String>,
    /// Whether it has no namespace, whatever the manifest says.
    pub cluster_scoped: bool,
}

/// The objects that a rule is about, by group, plural, namespace and name.
#[derive(Clone, Copy, Debug)]
pub struct ObjectSelector<'r> {
    group: &'r str,
    resource: &'r str,
    namespace: &'r str,
    name: &'r str,
    /// Whether `*` in name and namespace is any text.
    wildcards: bool,
}

/// One difference between a rule and a manifest: the rule's field, what it says, what the manifest is.
struct Difference<'a> {
    field: &'static str,
    said: &'a str,
    is: &'a str,
}

/// The manifests of a bundle as rules see them without a cluster.
pub fn candidates(manifests: &[Value]) -> Vec<Candidate> {
    let defined = defined(manifests);
    let candidate = |(index, manifest)| {
        let object = ObjectRef::of(manifest);
        let scope = kinds::scope(&object);
        let resource = defined
            .iter()
            .find(|(group, kind, _)| *group == object.group && *kind == object.kind)
            .map(|(_, _, plural)| plural.clone())
            .or_else(|| scope.map(|_| object.plural_guess()));
        Candidate {
            index,
            object,
            resource,
            cluster_scoped: scope == Some(Scope::Cluster),
        }
    };
    manifests.iter().enumerate().map(candidate).collect()
}

/// Group, kind and plural of what the manifests themselves define: no cluster can know it yet.
pub fn defined(manifests: &[Value]) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().map(String::from);
    let definitions = manifests
        .iter()
        .filter(|manifest| manifest["kind"] == "CustomResourceDefinition");
    definitions
        .filter_map(|definition| {
            let (group, names) = (&definition["spec"]["group"], &definition["spec"]["names"]);
            Some((text(group)?, text(&names["kind"])?, text(&names["plural"])?))
        })
        .collect()
}

// === impl Candidate ===

impl Candidate {
    /// A manifest whose plural is known.
    pub fn new(index: usize, object: ObjectRef, resource: String) -> Self {
        Self {
            index,
            cluster_scoped: kinds::scope(&object) == Some(Scope::Cluster),
            object,
            resource: Some(resource),
        }
    }
}

// === impl ObjectSelector ===

impl<'r> From<&'r ResourceIdentifier> for ObjectSelector<'r> {
    fn from(rule: &'r ResourceIdentifier) -> Self {
        Self {
            group: &rule.group,
            resource: &rule.resource,
            namespace: &rule.namespace,
            name: &rule.name,
            wildcards: true,
        }
    }
}

impl<'r> From<&'r OrphaningRule> for ObjectSelector<'r> {
    fn from(rule: &'r OrphaningRule) -> Self {
        Self {
            group: &rule.group,
            resource: &rule.resource,
            namespace: &rule.namespace,
            name: &rule.name,
            wildcards: false,
        }
    }
}

impl ObjectSelector<'_> {
    /// Whether the rule means an object of this plural.
    pub fn selects(&self, object: &ObjectRef, resource: &str) -> bool {
        self.group == object.group
            && self.resource == resource
            && self.fits_place(object, kinds::scope(object) == Some(Scope::Cluster))
            && self.fits(self.name, &object.name)
    }

    /// What is wrong with a rule that can mean none of the manifests, with the nearest one; `None` for a rule that
    /// means one, or may mean one whose plural is not known here.
    pub fn problem(&self, candidates: &[Candidate]) -> Option<String> {
        if candidates
            .iter()
            .any(|candidate| self.may_select(candidate))
        {
            return None;
        }
        let rank = |candidate: &Candidate| {
            let differences = self.differences(candidate);
            let distance = differences.iter().map(Difference::distance).sum::<usize>();
            (differences.len(), distance)
        };
        let nearest = candidates.iter().min_by_key(|candidate| rank(candidate));
        let Some(nearest) = nearest else {
            return Some(NO_MATCH.into());
        };
        let differences: Vec<String> = self
            .differences(nearest)
            .iter()
            .map(ToString::to_string)
            .collect();
        Some(format!(
            "{NO_MATCH}; the nearest is manifests[{}] ({}), whose {}",
            nearest.index,
            nearest.object,
            differences.join(" and ")
        ))
    }

    /// Whether nothing that is known without a cluster rules it out.
    fn may_select(&self, candidate: &Candidate) -> bool {
        let resource = candidate.resource.as_deref().unwrap_or(self.resource);
        self.group == candidate.object.group
            && self.resource == resource
            && self.fits_place(&candidate.object, candidate.cluster_scoped)
            && self.fits(self.name, &candidate.object.name)
    }

    fn differences<'a>(&'a self, candidate: &'a Candidate) -> Vec<Difference<'a>> {
        let object = &candidate.object;
        let resource = candidate.resource.as_deref().unwrap_or(self.resource);
        let name = if self.fits(self.name, &object.name) {
            self.name
        } else {
            object.name.as_str()
        };
        let namespace = if self.fits_place(&candidate.object, candidate.cluster_scoped) {
            self.namespace
        } else if candidate.cluster_scoped {
            ""
        } else {
            object.namespace.as_str()
        };
        [
            ("group", self.group, object.group.as_str()),
            ("resource", self.resource, resource),
            ("namespace", self.namespace, namespace),
            ("name", self.name, name),
        ]
        .into_iter()
        .filter(|(_, said, is)| said != is)
        .map(|(field, said, is)| Difference { field, said, is })
        .collect()
    }

    /// Where an object has no namespace, the stray one of its manifest may be named and need not. An object that is
    /// told as the server does has lost it.
    fn fits_place(&self, object: &ObjectRef, cluster_scoped: bool) -> bool {
        object.namespace.is_empty()
            || self.fits(self.namespace, &object.namespace)
            || cluster_scoped && self.fits(self.namespace, "")
    }

    fn fits(&self, pattern: &str, text: &str) -> bool {
        if self.wildcards {
            wildcard(pattern, text)
        } else {
            pattern == text
        }
    }
}

// === impl Difference ===

impl Difference<'_> {
    fn distance(&self) -> usize {
        let cut = |text: &str| text.chars().take(LONGEST).collect::<String>();
        strsim::osa_distance(&cut(self.said), &cut(self.is))
    }
}

impl std::fmt::Display for Difference<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { field, said, is } = self;
        match (is.is_empty(), said.is_empty()) {
            (true, _) => write!(f, "{field} is empty, not `{said}`"),
            (_, true) => write!(f, "{field} is `{is}`, not empty"),
            _ => write!(f, "{field} is `{is}`, not `{said}`"),
        }
    }
}

/// The wildcard of rules about manifests: `*` stands for any text, at any place; nothing else is special.
fn wildcard(pattern: &str, text: &str) -> bool {
    let stars = pattern.bytes().filter(|byte| *byte == b'*').count();
    if pattern.len() - stars > text.len() {
        return false;
    }
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

const NO_MATCH: &str = "matches no manifest";
// Comparing two names takes the product of their lengths; these many characters tell which one was meant.
const LONGEST: usize = 32;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifests() -> Vec<Value> {
        vec![
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "web"}}),
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "web"}}),
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "web", "namespace": "stray"}}),
        ]
    }

    fn problem(
        manifests: &[Value],
        [group, resource, namespace, name]: [&str; 4],
    ) -> Option<String> {
        let rule = ResourceIdentifier {
            group: group.into(),
            resource: resource.into(),
            namespace: namespace.into(),
            name: name.into(),
        };
        ObjectSelector::from(&rule).problem(&candidates(manifests))
    }

    #[test]
    fn a_rule_that_matches_nothing_is_told_the_nearest_manifest_and_what_differs() {
        let manifests = manifests();
        let mut told = Vec::new();
        for rule in [
            ["", "configmaps", "web", "setings"],
            ["apps", "deployment", "web", "web"],
            ["", "deployments", "web", "web"],
            ["apps", "deployments", "", "web"],
            ["", "namespaces", "elsewhere", "*"],
            ["apps", "statefulsets", "db", "pg*"],
        ] {
            told.push(problem(&manifests, rule).unwrap());
        }
        insta::assert_snapshot!(told.join("\n"), @r"
        matches no manifest; the nearest is manifests[0] (ConfigMap web/settings), whose name is `settings`, not `setings`
        matches no manifest; the nearest is manifests[1] (Deployment web/web), whose resource is `deployments`, not `deployment`
        matches no manifest; the nearest is manifests[1] (Deployment web/web), whose group is `apps`, not empty
        matches no manifest; the nearest is manifests[1] (Deployment web/web), whose namespace is `web`, not empty
        matches no manifest; the nearest is manifests[2] (Namespace stray/web), whose namespace is empty, not `elsewhere`
        matches no manifest; the nearest is manifests[1] (Deployment web/web), whose resource is `deployments`, not `statefulsets` and namespace is `web`, not `db` and name is `web`, not `pg*`
        ");
        assert_eq!(problem(&[], ["", "configmaps", "", "a"]).unwrap(), NO_MATCH);
    }

    #[test]
    fn a_rule_that_matches_or_may_match_is_let_pass() {
        let mut manifests = manifests();
        for rule in [
            ["", "configmaps", "web", "settings"],
            ["", "configmaps", "*", "set*"],
            ["", "namespaces", "", "web"],
            ["", "namespaces", "stray", "web"],
        ] {
            assert_eq!(problem(&manifests, rule), None, "{rule:?}");
        }
        // Only a cluster knows the plural of a kind that is not of Kubernetes.
        manifests.push(
            json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}}),
        );
        assert_eq!(
            problem(&manifests, ["example.com", "widgeten", "", "w"]),
            None
        );
        assert!(problem(&manifests, ["example.com", "widgeten", "", "v"]).is_some());
        // Unless the bundle brings the definition along.
        manifests.push(json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "w"},
            "spec": {"group": "example.com", "names": {"kind": "Widget", "plural": "widgeten"}},
        }));
        assert_eq!(
            problem(&manifests, ["example.com", "widgeten", "", "w"]),
            None
        );
        assert!(problem(&manifests, ["example.com", "widgets", "", "w"]).is_some());
    }

    #[test]
    fn an_orphaning_rule_knows_no_wildcards() {
        let rule = OrphaningRule {
            resource: "configmaps".into(),
            namespace: "web".into(),
            name: "*".into(),
            ..OrphaningRule::default()
        };
        assert!(
            ObjectSelector::from(&rule)
                .problem(&candidates(&manifests()))
                .is_some()
        );
    }

    #[test]
    fn wildcards_match_any_text_at_any_place() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "abc", true),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*b*c", "axbxc", true),
            ("a*", "ba", false),
            ("abc", "abcd", false),
            ("*bc", "abc", true),
            ("a*a", "a", false),
        ] {
            assert_eq!(wildcard(pattern, text), expected, "{pattern} {text}");
        }
    }
}
