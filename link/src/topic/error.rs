//! Why a `topics:` block was refused, and what to write instead.

use super::LimitError;
use crate::error::Hint;
use crate::id::{ConsumerName, InvalidName, SourceId};

/// Why topics were refused. Every variant names the field of the config file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemeError {
    /// The field is not of a shape that is known here (docs/MAESTRO.md §1.4).
    #[error("`topics.{field}` is `{value}`: {problem}")]
    Shape {
        /// The field, as spelled in the config file.
        field: &'static str,
        /// What it holds.
        value: String,
        /// What is wrong with it.
        problem: String,
        /// The level the topic must end with.
        last: &'static str,
    },
    /// Two fields name different sources or consumers.
    #[error(
        "`topics.{field}` names the {segment} `{name}` but `topics.{first_field}` names `{first}`"
    )]
    Differ {
        /// `source` or `consumer`.
        segment: &'static str,
        /// The field read first.
        first_field: &'static str,
        /// The name in the field read first.
        first: String,
        /// The field that differs.
        field: &'static str,
        /// The name that differs.
        name: String,
    },
    /// The shape has a level for the source, and no field fills it.
    #[error("`topics.agentEvents` is `{value}`: no field names the source")]
    NoSource {
        /// What `agentEvents` holds.
        value: String,
    },
    /// A level that holds a name breaks the rules for names.
    #[error("read `topics.{field}`")]
    Name {
        /// The field, as spelled in the config file.
        field: &'static str,
        /// Which rule was broken.
        #[source]
        source: InvalidName,
    },
    /// IoT Core would refuse the topic (docs/IOT-CORE.md §1.2), at least for the longest consumer name.
    #[error("use `topics.{field}` with a consumer name of 63 characters")]
    Limit {
        /// The field, as spelled in the config file.
        field: &'static str,
        /// Which limit, and by how much.
        #[source]
        source: LimitError,
    },
    /// The topics belong to another consumer than the party that starts.
    #[error("topics are those of consumer `{found}`, but this is consumer `{expected}`")]
    OtherConsumer {
        /// The consumer in the topics.
        found: ConsumerName,
        /// The consumer that starts.
        expected: ConsumerName,
    },
    /// The topics belong to another source than the party that starts.
    #[error("topics are those of source `{found}`, but the source id is `{expected}`")]
    OtherSource {
        /// The source in the topics.
        found: SourceId,
        /// The source that starts.
        expected: SourceId,
    },
}

// === impl SchemeError ===

impl Hint for SchemeError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Shape { field, last, .. } if last.ends_with("broadcast") => format!(
                "write `{field}: sources/+/{last}` (one word, a name or `+`, `{last}`) or leave the field out"
            ),
            Self::Shape { field, last, .. } => format!(
                "write `{field}: maestro/consumers/+/{last}` or `{field}: sources/maestro/consumers/+/{last}`; \
                 an agent writes its own name for the last `+`"
            ),
            Self::Differ { segment, first_field, field, .. } => format!(
                "write the same {segment} in `topics.{first_field}` and `topics.{field}`"
            ),
            Self::NoSource { .. } => {
                "write the source id for the first `+`, as in `agentEvents: sources/maestro/consumers/+/agentevents`"
                    .into()
            }
            Self::Name { field, .. } => format!(
                "write a name of lower-case letters, digits and `-` in `topics.{field}`"
            ),
            Self::Limit { field, source } => {
                let inner = source.hint().unwrap_or_else(|| "shorten it".into());
                format!("in `topics.{field}`: {inner}")
            }
            Self::OtherConsumer { found, expected } => format!(
                "write `{expected}` for `{found}` in `topics.sourceEvents` and `topics.agentEvents`, \
                 or start with `--consumer-name {found}` and that consumer's certificate"
            ),
            Self::OtherSource { found, expected } => format!(
                "write `{expected}` for `{found}` in `topics.sourceEvents` and `topics.agentEvents`, \
                 or start with `--source-id {found}`"
            ),
        })
    }
}
