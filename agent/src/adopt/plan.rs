//! What a takeover would do, as data and as text.

use std::fmt;

use serde_json::Value;

use crate::crd::AppliedResource;

/// Everything that is taken over.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) works: Vec<PlannedWork>,
}

/// One work.
#[derive(Debug)]
pub(super) struct PlannedWork {
    /// Its id.
    pub(super) id: String,
    /// The name of its AppliedManifestWork, which stays.
    pub(super) applied: String,
    /// Its uid.
    pub(super) uid: String,
    /// Whether this agent holds it already.
    pub(super) known: bool,
    /// What it holds.
    pub(super) objects: Vec<PlannedObject>,
}

/// One object.
#[derive(Debug)]
pub(super) struct PlannedObject {
    pub(super) resource: AppliedResource,
    /// Whether it is there.
    pub(super) present: bool,
    /// As of which resource version this was planned.
    pub(super) version: Option<String>,
    /// Its `managedFields` when the other agent's fields are ours; `None` when nothing changes.
    pub(super) fields: Option<Vec<Value>>,
}

// === impl Plan ===

impl Plan {
    pub(super) fn is_empty(&self) -> bool {
        self.works.is_empty()
    }

    /// How many works and objects.
    pub(super) fn counts(&self) -> (usize, usize) {
        let objects = self.works.iter().map(|work| work.objects.len()).sum();
        (self.works.len(), objects)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return writeln!(
                f,
                "nothing to take over: no AppliedManifestWork names these agents"
            );
        }
        let (works, objects) = self.counts();
        writeln!(
            f,
            "{works} works with {objects} objects; none is made anew or removed"
        )?;
        for work in &self.works {
            let then = if work.known {
                "its ManifestWork is here"
            } else {
                "waits until its source sends it"
            };
            writeln!(f, "\nwork {}: {then}", work.id)?;
            writeln!(f, "  AppliedManifestWork {} names this agent", work.applied)?;
            for object in &work.objects {
                let what = match (object.present, &object.fields) {
                    (false, _) => "is not there; applied again with the work",
                    (true, None) => "stays as it is",
                    (true, Some(_)) => {
                        "stays as it is; the other agent's fields become this agent's"
                    }
                };
                writeln!(f, "  {} {what}", name(&object.resource))?;
            }
        }
        Ok(())
    }
}

/// An object as a person writes it.
pub(super) fn name(resource: &AppliedResource) -> String {
    let AppliedResource {
        group,
        resource,
        namespace,
        name,
        ..
    } = resource;
    let dot = if group.is_empty() { "" } else { "." };
    let slash = if namespace.is_empty() { "" } else { "/" };
    format!("{resource}{dot}{group} {namespace}{slash}{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_says_what_happens_to_every_work_and_object() {
        let object = |name: &str, present, fields: Option<Vec<Value>>| PlannedObject {
            resource: AppliedResource {
                group: "apps".into(),
                version: "v1".into(),
                resource: "deployments".into(),
                namespace: "d".into(),
                name: name.into(),
                uid: String::new(),
            },
            present,
            version: None,
            fields,
        };
        let plan = Plan {
            works: vec![
                PlannedWork {
                    id: "w1".into(),
                    applied: "hash-w1".into(),
                    uid: String::new(),
                    known: true,
                    objects: vec![object("a", true, None), object("b", false, None)],
                },
                PlannedWork {
                    id: "w2".into(),
                    applied: "hash-w2".into(),
                    uid: String::new(),
                    known: false,
                    objects: vec![object("c", true, Some(Vec::new()))],
                },
            ],
        };
        insta::assert_snapshot!(plan, @r"
        2 works with 3 objects; none is made anew or removed

        work w1: its ManifestWork is here
          AppliedManifestWork hash-w1 names this agent
          deployments.apps d/a stays as it is
          deployments.apps d/b is not there; applied again with the work

        work w2: waits until its source sends it
          AppliedManifestWork hash-w2 names this agent
          deployments.apps d/c stays as it is; the other agent's fields become this agent's
        ");
        insta::assert_snapshot!(
            Plan::default(),
            @"nothing to take over: no AppliedManifestWork names these agents"
        );
    }
}
