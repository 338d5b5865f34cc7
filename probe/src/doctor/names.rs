//! Whether names and topics belong together; pure.

use link::fault::{Code, Finding};
use link::spelling::nearest;

use super::Context;
use super::api::ConsumerFacts;

/// By the command line and the configuration alone.
pub(crate) fn check(context: &Context) -> Vec<Finding> {
    let scheme = &context.target.scheme;
    let topics = topics_place(context);
    let mut found = Vec::new();
    if let (Some(given), Some(of_topics)) = (&context.args.far.source, scheme.source()) {
        found.push(source(given, "`--source`", of_topics.as_str(), &topics));
    }
    if let Some(consumer) = &context.consumer
        && let Some(of_topics) = scheme.consumer()
        && of_topics != consumer
    {
        found.push(
            Finding::error(NAMES, format!("the consumer is `{consumer}`, and the topics of {topics} are those of `{of_topics}`"))
                .why("an agent that listens on another consumer's topics gets what is meant for that one, or nothing")
                .next(format!("write `{consumer}` in place of `{of_topics}` in {topics}, or the other way round")),
        );
    }
    if found.is_empty() {
        found.push(Finding::ok(
            NAMES,
            format!("names and the topics of {topics} fit"),
        ));
    }
    found
}

/// A source and the one that the topics name.
pub(crate) fn source(given: &str, given_in: &str, of_topics: &str, topics: &str) -> Finding {
    if given == of_topics {
        return Finding::ok(
            SOURCE,
            format!("the source is `{given}`, in the topics too"),
        );
    }
    Finding::error(
        SOURCE,
        format!("the source is `{given}` ({given_in}), and the topics of {topics} are those of `{of_topics}`"),
    )
    .why("agents and bridges drop events whose source is not the topic's, without a word")
    .next(format!("write the same name in both: {given_in} and {topics}"))
}

/// Whether the API knows the consumer.
pub(crate) fn consumer(facts: &ConsumerFacts) -> Finding {
    let name = &facts.name;
    if facts.registered {
        return Finding::ok(CONSUMER, format!("consumer `{name}` is registered"));
    }
    let others: Vec<&str> = facts.others.iter().map(String::as_str).collect();
    let near = nearest(name, &others);
    let near = match near {
        Some(near) => format!("; a near name is `{near}`"),
        None => format!("; {} others are", facts.others.len()),
    };
    Finding::error(CONSUMER, format!("consumer `{name}` is not registered{near}"))
        .why("nothing is published to a name that is not registered, and what its agent says is dropped")
        .next("correct the name, or register it: `POST /api/maestro/v1/consumers` with `{\"name\": \"NAME\"}`")
}

// Where the topics are written.
fn topics_place(context: &Context) -> String {
    let connection = &context.args.connection;
    let mounted = || {
        let file = connection.identity.as_ref()?.join("config.yaml");
        file.exists().then_some(file)
    };
    match connection.config.clone().or_else(mounted) {
        Some(file) => format!("`{}`", file.display()),
        None => "the default scheme".into(),
    }
}

const NAMES: Code = Code::new(400);
const SOURCE: Code = Code::new(401);
const CONSUMER: Code = Code::new(402);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sources_and_their_files_are_named() {
        let finding = source("maestro-a", "`--source`", "maestro-b", "`/x/config.yaml`");
        assert_eq!(finding.code, SOURCE);
        for part in ["maestro-a", "maestro-b", "/x/config.yaml", "--source"] {
            assert!(finding.seen.contains(part), "{}", finding.seen);
        }
    }

    #[test]
    fn a_name_that_is_not_registered_is_shown_beside_the_nearest_one() {
        let finding = consumer(&ConsumerFacts {
            name: "cluster-01".into(),
            registered: false,
            others: vec!["prod-eu".into(), "cluster-1".into()],
        });
        assert!(finding.seen.contains("`cluster-1`"), "{}", finding.seen);
    }
}
