//! The event type grammar `<group>.<version>.<resource>.<subresource>.<action>` (docs/MAESTRO.md §2.1).

use std::fmt;
use std::str::FromStr;

/// The only data type of this link (docs/MAESTRO.md §2.2).
pub const MANIFEST_BUNDLES: &str = "io.open-cluster-management.works.v1alpha1.manifestbundles";

/// The CloudEvents `type`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kind {
    /// Group, version and resource.
    pub data_type: String,
    /// Which half of the resource.
    pub sub_resource: SubResource,
    /// The action: what is requested or reported.
    pub action: Action,
}

/// Which half of a resource an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SubResource {
    /// The desired half, source to agent.
    Spec,
    /// The observed half, agent to source.
    Status,
}

/// What an event asks or tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A new work.
    Create,
    /// A changed work or status.
    Update,
    /// A work to delete.
    Delete,
    /// "What am I missing?"
    ResyncRequest,
    /// One answer to it.
    ResyncResponse,
    /// Only used for authorisation checks in gRPC brokers.
    Watch,
}

/// The text is not an event type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event type `{text}` {problem}")]
pub struct InvalidKind {
    text: String,
    problem: &'static str,
}

// === impl Kind ===

impl Kind {
    /// A manifest bundle's spec event.
    pub fn spec(action: Action) -> Self {
        Self {
            data_type: MANIFEST_BUNDLES.into(),
            sub_resource: SubResource::Spec,
            action,
        }
    }

    /// A manifest bundle's status event.
    pub fn status(action: Action) -> Self {
        Self {
            data_type: MANIFEST_BUNDLES.into(),
            sub_resource: SubResource::Status,
            action,
        }
    }

    /// Whether the data is a manifest bundle.
    pub fn is_manifest_bundle(&self) -> bool {
        self.data_type == MANIFEST_BUNDLES
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sub_resource = match self.sub_resource {
            SubResource::Spec => "spec",
            SubResource::Status => "status",
        };
        write!(
            f,
            "{}.{sub_resource}.{}",
            self.data_type,
            self.action.as_str()
        )
    }
}

impl FromStr for Kind {
    type Err = InvalidKind;

    fn from_str(text: &str) -> Result<Self, InvalidKind> {
        let invalid = |problem| InvalidKind {
            text: text.chars().take(120).collect(),
            problem,
        };
        let mut parts = text.rsplitn(3, '.');
        let (action, sub_resource, data_type) = match (parts.next(), parts.next(), parts.next()) {
            (Some(action), Some(sub_resource), Some(data_type))
                if data_type.split('.').count() >= 3 =>
            {
                (action, sub_resource, data_type)
            }
            _ => return Err(invalid("has fewer than five dot-separated parts")),
        };
        if data_type.split('.').any(str::is_empty) {
            return Err(invalid("has an empty part"));
        }
        let sub_resource = match sub_resource {
            "spec" => SubResource::Spec,
            "status" => SubResource::Status,
            _ => return Err(invalid("names neither `spec` nor `status`")),
        };
        let action = Action::ALL
            .into_iter()
            .find(|known| known.as_str() == action)
            .ok_or_else(|| invalid("ends in an unknown action"))?;
        Ok(Self {
            data_type: data_type.into(),
            sub_resource,
            action,
        })
    }
}

// === impl Action ===

impl Action {
    const ALL: [Self; 6] = [
        Self::Create,
        Self::Update,
        Self::Delete,
        Self::ResyncRequest,
        Self::ResyncResponse,
        Self::Watch,
    ];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create_request",
            Self::Update => "update_request",
            Self::Delete => "delete_request",
            Self::ResyncRequest => "resync_request",
            Self::ResyncResponse => "resync_response",
            Self::Watch => "watch_request",
        }
    }
}
