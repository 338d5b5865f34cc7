//! `server-bridge explain`: the story of a bundle or a consumer, read from the store beside the bridges that run on it, or
//! asked of one of them.

use clap::Args as ClapArgs;
use jiff::Timestamp;
use link::cli::{Stdout, stdout_line};
use link::clock::Clock;
use link::error::{ExitKind, Failure};
use link::http::client::ApiFlags;
use serde::Serialize;

use super::Args;
use crate::explain::{self, BundleStory, ConsumerStory, near};
use crate::store::{Found, KnownNames, Wanted};

mod remote;

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
    #[expect(missing_docs, reason = "flattened; a text would become help")]
    #[command(flatten)]
    pub api: ApiFlags,
}

/// What was found.
enum Told {
    Bundle(Box<BundleStory>),
    Consumer(Box<ConsumerStory>),
}

// === impl ExplainArgs ===

impl ExplainArgs {
    /// Does it: with `--api` by the API, and else on the store.
    ///
    /// # Errors
    /// Exit code 2 for what is wrong with the command line, 1 where nothing of this name is there, several things are, or the
    /// store cannot be read.
    pub(super) async fn run(&self, args: &Args) -> Result<(), Failure> {
        let (wanted, reference) = meant(&self.subject);
        let told = if self.api.is_given() {
            remote::ask(&self.api, reference, wanted).await?
        } else {
            let now = Clock::system().now();
            let location = args.store.location(args.mount.as_deref())?;
            told(
                &location.find(reference, wanted, now).await?,
                reference,
                now,
            )?
        };
        let text = match &told {
            Told::Bundle(story) => self.shown(story, explain::bundle_text(story)),
            Told::Consumer(story) => self.shown(story, explain::consumer_text(story)),
        };
        // Whoever does not read it any more has seen enough.
        let (Stdout::Open | Stdout::Closed) = stdout_line(&text?)?;
        Ok(())
    }

    fn shown(&self, story: &impl Serialize, text: String) -> Result<String, Failure> {
        match self.json {
            true => serde_json::to_string_pretty(story)
                .map_err(|error| Failure::new(ExitKind::Failed, error)),
            false => Ok(text),
        }
    }
}

fn told(found: &Found, reference: &str, now: Timestamp) -> Result<Told, Failure> {
    let story = match (&found.bundle, &found.consumer, &found.tombstone) {
        (Some(_), Some(_), _) => return Err(ambiguous(reference)),
        (Some(bundle), None, _) => Told::Bundle(Box::new(explain::bundle(bundle, None, now))),
        (None, Some(consumer), _) => {
            Told::Consumer(Box::new(explain::consumer(consumer, None, now)))
        }
        (None, None, Some(tombstone)) => Told::Bundle(Box::new(explain::gone(tombstone, now))),
        (None, None, None) => return Err(nothing(reference, &found.names)),
    };
    Ok(story)
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

fn nothing(reference: &str, names: &KnownNames) -> Failure {
    let named = |kind: &str, names: &[String]| {
        let near = near(reference, names);
        (!near.is_empty()).then(|| format!("{kind} `{}`", near.join("`, `")))
    };
    let near = [
        named("consumers", &names.consumers),
        named("bundles", &names.bundles),
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

const EXIT_CODES: &str = "Exit codes: 0 told; 1 nothing of this name is there, several things are, or they cannot be read; 2 wrong flags or files";

#[cfg(test)]
mod tests {
    use super::*;

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
        let names = KnownNames {
            bundles: vec!["shop-web".into(), "shop-db".into()],
            consumers: vec!["cluster-1".into()],
        };
        let told = |reference| format!("{:?}", nothing(reference, &names));
        assert!(told("shop").contains("bundles `shop-web`, `shop-db`"));
        assert!(told("clutser-1").contains("consumers `cluster-1`"));
        assert!(told("q").contains("is this the bridge's store?"));
    }
}
