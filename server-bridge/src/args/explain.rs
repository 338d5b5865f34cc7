//! `server-bridge explain`: the story of a bundle or a consumer, read from the store beside the bridges that run on it.

use clap::Args as ClapArgs;
use jiff::Timestamp;
use link::cli::{Stdout, stdout_line};
use link::clock::Clock;
use link::error::{ExitKind, Failure};
use serde::Serialize;

use super::Args;
use crate::explain::{self, near};
use crate::store::{Found, Wanted};

/// What to explain.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXIT_CODES)]
pub struct ExplainArgs {
    /// Id or name of a bundle, or name or id of a consumer; `bundle/NAME` or `consumer/NAME` where both are there
    #[arg(value_name = "BUNDLE|CONSUMER")]
    pub subject: String,
    /// As one JSON object
    #[arg(long)]
    pub json: bool,
}

// === impl ExplainArgs ===

impl ExplainArgs {
    /// Does it.
    ///
    /// # Errors
    /// Exit code 2 for what is wrong with the command line, 1 where nothing of this name is there, several things are, or the
    /// store cannot be read.
    pub(super) async fn run(&self, args: &Args) -> Result<(), Failure> {
        let (wanted, reference) = meant(&self.subject);
        let now = Clock::system().now();
        let location = args.store.location(args.mount.as_deref())?;
        let found = location.find(reference, wanted, now).await?;
        let text = self.told(&found, reference, now)?;
        // Whoever does not read it any more has seen enough.
        let (Stdout::Open | Stdout::Closed) = stdout_line(&text)?;
        Ok(())
    }

    fn told(&self, found: &Found, reference: &str, now: Timestamp) -> Result<String, Failure> {
        match (&found.bundle, &found.consumer, &found.tombstone) {
            (Some(_), Some(_), _) => Err(ambiguous(reference)),
            (Some(bundle), None, _) => {
                let story = explain::bundle(bundle, None, now);
                self.shown(&story, explain::bundle_text(&story))
            }
            (None, Some(consumer), _) => {
                let story = explain::consumer(consumer, None, now);
                self.shown(&story, explain::consumer_text(&story))
            }
            (None, None, Some(tombstone)) => {
                let story = explain::gone(tombstone, now);
                self.shown(&story, explain::bundle_text(&story))
            }
            (None, None, None) => Err(nothing(reference, found)),
        }
    }

    fn shown(&self, story: &impl Serialize, text: String) -> Result<String, Failure> {
        match self.json {
            true => serde_json::to_string_pretty(story)
                .map_err(|error| Failure::new(ExitKind::Failed, error)),
            false => Ok(text),
        }
    }
}

/// What kind of object is meant, and its id or name.
fn meant(subject: &str) -> (Wanted, &str) {
    match subject.split_once('/') {
        Some(("bundle" | "bundles" | "resource-bundles", name)) => (Wanted::Bundle, name),
        Some(("consumer" | "consumers", name)) => (Wanted::Consumer, name),
        _ => (Wanted::Any, subject),
    }
}

fn ambiguous(reference: &str) -> Failure {
    Failure::new(
        ExitKind::Failed,
        format!("`{reference}` is a bundle and a consumer"),
    )
    .with_hint(format!(
        "say which: `bundle/{reference}` or `consumer/{reference}`"
    ))
}

fn nothing(reference: &str, found: &Found) -> Failure {
    let named = |kind: &str, names: &[String]| {
        let near = near(reference, names);
        (!near.is_empty()).then(|| format!("{kind} `{}`", near.join("`, `")))
    };
    let near = [
        named("consumers", &found.names.consumers),
        named("bundles", &found.names.bundles),
    ];
    let near: Vec<String> = near.into_iter().flatten().collect();
    let hint = match near.is_empty() {
        true => "nothing here has a name near to it; is this the bridge's store?".to_owned(),
        false => format!("there are {}", near.join(", and ")),
    };
    Failure::new(
        ExitKind::Failed,
        format!("there is no bundle and no consumer `{reference}`"),
    )
    .with_hint(hint)
}

const EXIT_CODES: &str = "Exit codes: 0 told; 1 nothing of this name is there, several things are, or the store cannot be read; 2 wrong flags or files";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::KnownNames;

    #[test]
    fn a_kind_before_the_name_says_which_is_meant() {
        assert_eq!(meant("bundle/a"), (Wanted::Bundle, "a"));
        assert_eq!(meant("consumer/a"), (Wanted::Consumer, "a"));
        assert_eq!(meant("a"), (Wanted::Any, "a"));
        // An id may hold a slash.
        assert_eq!(meant("team/a"), (Wanted::Any, "team/a"));
    }

    #[test]
    fn who_misspells_a_name_is_told_the_near_ones() {
        let found = Found {
            names: KnownNames {
                bundles: vec!["shop-web".into(), "shop-db".into()],
                consumers: vec!["cluster-1".into()],
            },
            ..Found::default()
        };
        let told = |reference| format!("{:?}", nothing(reference, &found));
        assert!(told("shop").contains("bundles `shop-web`, `shop-db`"));
        assert!(told("clutser-1").contains("consumers `cluster-1`"));
        assert!(told("q").contains("is this the bridge's store?"));
    }
}
