//! Which rights the works of a cluster need: by kind, from what they do with it.

use std::collections::{BTreeMap, BTreeSet};

use link::bundle::Spec;
use link::bundle::manifest::ObjectRef;

use crate::applier::kubernetes::executor::gives_rights;
use crate::applier::{ObjectIdentity, Strategy};
use crate::reconcile::plan;

/// What some works need.
#[derive(Debug, Default)]
pub(super) struct Needs {
    /// How many works.
    pub(super) works: usize,
    /// By group and plural.
    pub(super) resources: BTreeMap<(String, String), Need>,
    /// Whether a work names an executor.
    pub(super) reviews: bool,
    /// Service accounts in whose name objects that give rights are rehearsed: names by namespace.
    pub(super) impersonated: BTreeMap<String, BTreeSet<String>>,
    /// Works whose spec is none, and why.
    pub(super) unread: Vec<String>,
}

/// What is needed of one kind.
#[derive(Debug)]
pub(super) struct Need {
    /// The kind's name.
    pub(super) kind: String,
    /// Whether the cluster has it; the plural is a guess otherwise.
    pub(super) known: bool,
    /// Whether its objects give rights to somebody.
    pub(super) gives_rights: bool,
    /// Which works need it.
    pub(super) works: BTreeSet<String>,
    writes: bool,
    replaces: bool,
}

// === impl Needs ===

impl Needs {
    /// Adds a work. `plural` knows the kinds of the cluster.
    pub(super) fn add(
        &mut self,
        work: &str,
        spec: Spec,
        plural: impl Fn(&ObjectRef) -> Option<String>,
    ) {
        self.works += 1;
        let account = spec
            .executer
            .as_ref()
            .and_then(|executer| executer.subject.service_account.clone());
        self.reviews |= account.is_some();
        let steps = plan(spec, |object| {
            let resource = plural(object).unwrap_or_else(|| object.plural_guess());
            ObjectIdentity::of(object.clone(), resource)
        });
        for step in steps {
            let gives_rights = gives_rights(&step.object);
            if gives_rights && let Some(account) = &account {
                let names = self
                    .impersonated
                    .entry(account.namespace.clone())
                    .or_default();
                names.insert(account.name.clone());
            }
            let known = plural(&step.object).is_some();
            let ObjectRef { group, kind, .. } = step.object;
            let need = self
                .resources
                .entry((group, step.resource))
                .or_insert_with(|| Need::of(kind, known, gives_rights));
            need.works.insert(work.to_owned());
            match step.strategy {
                Strategy::ReadOnly => {}
                Strategy::Default | Strategy::CreateOnly | Strategy::ServerSideApply(_) => {
                    need.writes = true;
                }
                Strategy::Update => {
                    need.writes = true;
                    need.replaces = true;
                }
            }
        }
    }

    /// Notes a work that cannot be read.
    pub(super) fn unread(&mut self, work: &str, why: &str) {
        self.works += 1;
        self.unread.push(format!("{work}: {why}"));
    }
}

// === impl Need ===

impl Need {
    fn of(kind: String, known: bool, gives_rights: bool) -> Self {
        Self {
            kind,
            known,
            gives_rights,
            works: BTreeSet::new(),
            writes: false,
            replaces: false,
        }
    }

    /// Whether objects of the kind are written, not only read.
    pub(super) fn writes(&self) -> bool {
        self.writes
    }

    /// The verbs. Server-side apply is a `patch`, and a `create` where there is no object yet; owners are kept by
    /// patches whatever the strategy.
    pub(super) fn verbs(&self) -> Vec<&'static str> {
        let mut verbs = vec!["get", "list", "watch"];
        if self.writes {
            verbs.extend(["create", "patch"]);
        }
        if self.replaces {
            verbs.push("update");
        }
        if self.writes {
            verbs.push("delete");
        }
        verbs
    }
}
