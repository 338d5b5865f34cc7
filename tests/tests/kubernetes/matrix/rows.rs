//! The three sides of the matrix and what is to become of objects (docs/MAESTRO.md §6.4 to §6.6).

use serde_json::{Value, json};

use super::{ALLOWED, EDITED};

/// An update strategy, and the `value/shared` of an object's data that it leads to.
pub(super) struct Strategy {
    pub(super) name: &'static str,
    /// JSON; empty for none.
    option: &'static str,
    pub(super) created: &'static str,
    /// After the manifest went from `1` to `2`.
    pub(super) updated: &'static str,
    /// After somebody else set both.
    pub(super) edited: &'static str,
    /// The fields over which the edit makes it fail; empty when it does not.
    pub(super) conflict: &'static str,
    pub(super) only_reads: bool,
}

/// A delete option.
pub(super) struct Deletion {
    pub(super) name: &'static str,
    policy: Option<&'static str>,
    /// Objects stay.
    pub(super) leaves: bool,
    /// Objects that its rules name stay.
    pub(super) spares: bool,
}

/// Whose rights count.
pub(super) struct Executor {
    pub(super) name: &'static str,
    pub(super) account: Option<&'static str>,
    pub(super) refused: bool,
}

// === impl Strategy ===

impl Strategy {
    const fn new(name: &'static str, option: &'static str) -> Self {
        Self {
            name,
            option,
            created: "1/1",
            updated: "2/2",
            edited: "2/2",
            conflict: "",
            only_reads: false,
        }
    }

    const fn conflicting(name: &'static str, option: &'static str) -> Self {
        Self {
            edited: EDITED,
            conflict: ".data.shared, .data.value",
            ..Self::new(name, option)
        }
    }

    /// `shared` keeps its first value, and is no longer asked for once somebody else took it; the rest is as ever.
    const fn present(name: &'static str, option: &'static str) -> Self {
        Self {
            updated: "2/1",
            edited: EDITED,
            conflict: ".data.value",
            ..Self::new(name, option)
        }
    }

    /// Whatever is edited stays until the manifest changes, and then all of it is applied.
    const fn change(name: &'static str, option: &'static str) -> Self {
        Self {
            edited: EDITED,
            ..Self::new(name, option)
        }
    }

    pub(super) fn option(&self) -> Option<Value> {
        serde_json::from_str(self.option).ok()
    }
}

// === impl Deletion ===

impl Deletion {
    pub(super) fn option(&self, object: impl Fn(&str) -> String, namespace: &str) -> Option<Value> {
        let policy = self.policy?;
        let mut option = json!({ "propagationPolicy": policy });
        if policy == "SelectivelyOrphan" {
            let rule = |part| json!({ "group": "", "resource": "configmaps", "name": object(part), "namespace": namespace });
            let rules = ["spared", "dropped-spared"].map(rule);
            option["selectivelyOrphans"] = json!({ "orphaningRules": rules });
        }
        Some(option)
    }
}

pub(super) const STRATEGIES: &[Strategy] = &[
    Strategy::new("none", ""),
    Strategy::new("update", r#"{"type":"Update"}"#),
    Strategy {
        updated: "1/1",
        edited: EDITED,
        ..Strategy::new("create-only", r#"{"type":"CreateOnly"}"#)
    },
    Strategy::conflicting("apply", r#"{"type":"ServerSideApply"}"#),
    Strategy::new(
        "force",
        r#"{"type":"ServerSideApply","serverSideApply":{"force":true}}"#,
    ),
    Strategy::conflicting(
        "manager",
        r#"{"type":"ServerSideApply","serverSideApply":{"fieldManager":"work-agent-x"}}"#,
    ),
    Strategy::present(
        "present-path",
        r#"{"type":"ServerSideApply","serverSideApply":{"ignoreFields":[
            {"condition":"OnSpokePresent","jsonPaths":[".data.shared"]}]}}"#,
    ),
    Strategy::present(
        "present-pointer",
        r#"{"type":"ServerSideApply","serverSideApply":{"ignoreFields":[
            {"condition":"OnSpokePresent","jsonPointers":["/data/shared"]}]}}"#,
    ),
    Strategy::present(
        "present-jq",
        r#"{"type":"ServerSideApply","serverSideApply":{"ignoreFields":[
            {"condition":"OnSpokePresent","jqPathExpressions":[".data.shared"]}]}}"#,
    ),
    Strategy::change(
        "change-path",
        r#"{"type":"ServerSideApply","serverSideApply":{"ignoreFields":[
            {"condition":"OnSpokeChange","jsonPaths":[".data.shared"]}]}}"#,
    ),
    Strategy::change(
        "change-pointer",
        r#"{"type":"ServerSideApply","serverSideApply":{"ignoreFields":[
            {"condition":"OnSpokeChange","jsonPointers":["/data/shared"]}]}}"#,
    ),
    Strategy::change(
        "change-jq",
        r#"{"type":"ServerSideApply","serverSideApply":{"ignoreFields":[
            {"condition":"OnSpokeChange","jqPathExpressions":[".data.shared"]}]}}"#,
    ),
    Strategy {
        created: "theirs/theirs",
        updated: "theirs/theirs",
        edited: EDITED,
        only_reads: true,
        ..Strategy::new("read-only", r#"{"type":"ReadOnly"}"#)
    },
];

pub(super) const DELETIONS: &[Deletion] = &[
    Deletion {
        name: "default",
        policy: None,
        leaves: false,
        spares: false,
    },
    Deletion {
        name: "foreground",
        policy: Some("Foreground"),
        leaves: false,
        spares: false,
    },
    Deletion {
        name: "orphan",
        policy: Some("Orphan"),
        leaves: true,
        spares: true,
    },
    Deletion {
        name: "selective",
        policy: Some("SelectivelyOrphan"),
        leaves: false,
        spares: true,
    },
];

pub(super) const EXECUTORS: &[Executor] = &[
    Executor {
        name: "agent",
        account: None,
        refused: false,
    },
    Executor {
        name: "allowed",
        account: Some(ALLOWED),
        refused: false,
    },
    Executor {
        name: "refused",
        account: Some("nobody"),
        refused: true,
    },
];
