//! `server-bridge consumer …`: consumers of a store that no bridge need run on.

use clap::Subcommand;
use link::cli::{Stdout, stdout_line};
use link::clock::Clock;
use link::error::{ExitKind, Failure};
use link::id::ConsumerName;
use link::supervise::Restarts;

use super::Args;
use crate::audit;
use crate::store::{AnyStore, Location, OpenError, Store as _, StoreError, unseen_since};

/// What is to be done with a consumer.
#[derive(Debug, Subcommand)]
pub enum ConsumerVerb {
    /// Remove a consumer from the store; its cluster keeps what it holds and is told nothing
    Remove(Remove),
}

/// A consumer to remove.
#[derive(Debug, clap::Args)]
pub struct Remove {
    /// Name of the consumer
    #[arg(value_name = "NAME")]
    pub name: ConsumerName,
    /// Remove it with its bundles, their statuses and all that is remembered of them. Without it one that has bundles is
    /// refused
    #[arg(long)]
    pub force: bool,
    /// Its name once more, to remove it although it has bundles and its agent was heard in the last 24 hours, or nobody
    /// noted when
    #[arg(long, value_name = "NAME", requires = "force")]
    pub confirm: Option<String>,
}

// === impl ConsumerVerb ===

impl ConsumerVerb {
    /// Does it.
    ///
    /// # Errors
    /// Exit code 2 for what is wrong with the command line; 1 when the store refused or failed.
    pub(super) async fn run(&self, args: &Args) -> Result<(), Failure> {
        let Self::Remove(remove) = self;
        let opened = location(args)?.open(Restarts::unregistered()).await;
        let store = opened.map_err(|error| held_by_a_bridge(error, remove))?;
        let done = remove.run(&store).await;
        store.close().await;
        // Whoever does not read it any more has seen enough.
        let (Stdout::Open | Stdout::Closed) = stdout_line(&done?)?;
        Ok(())
    }
}

// === impl Remove ===

impl Remove {
    async fn run(&self, store: &AnyStore) -> Result<String, Failure> {
        let name = &self.name;
        if self
            .confirm
            .as_deref()
            .is_some_and(|confirm| confirm != name.as_str())
        {
            return Err(Failure::usage(format!(
                "`--confirm` does not repeat the name `{name}`"
            )));
        }
        let Some(consumer) = store.get_consumer_by_name(name).await? else {
            return Err(Failure::new(
                ExitKind::Failed,
                format!("consumer `{name}` does not exist"),
            ));
        };
        if !self.force {
            store
                .delete_consumer(&consumer.id)
                .await
                .map_err(with_force)?;
            return Ok(format!("Removed consumer `{name}`"));
        }
        let now = Clock::system().now();
        let unseen_since = match &self.confirm {
            Some(_) => None,
            None => Some(unseen_since(now)),
        };
        let who = "the command line".to_owned();
        let removing = audit::remove_consumer(store.clone(), who, consumer, unseen_since, now);
        let bundles = removing.await?.bundles;
        Ok(format!("Removed consumer `{name}` with {bundles} bundles"))
    }
}

fn location(args: &Args) -> Result<Location, Failure> {
    let location = args.store.location(args.mount.as_deref())?;
    match &location {
        // A bridge would make it; here it is a slip.
        Location::Sqlite(file) if !file.exists() => Err(Failure::usage(format!(
            "there is no database at `{}`",
            file.display()
        ))
        .with_hint("name the bridge's with `--db` or `--store`".to_owned())),
        _ => Ok(location),
    }
}

/// A running bridge holds its SQLite file, and removes consumers itself.
fn held_by_a_bridge(error: StoreError, remove: &Remove) -> Failure {
    let locked = matches!(&error, StoreError::Open { source, .. } if matches!(**source, OpenError::Locked { .. }));
    let force = if remove.force { "?force=true" } else { "" };
    let hint = locked.then(|| {
        format!(
            "a bridge runs on this file; ask it with `DELETE /api/maestro/v1/consumers/{}{force}`",
            remove.name
        )
    });
    Failure::failed(error).with_hint(hint)
}

fn with_force(error: StoreError) -> Failure {
    let in_use = matches!(error, StoreError::ConsumerInUse { .. });
    let hint = in_use.then(|| {
        "delete its resource bundles and wait until its agent confirmed; if its cluster is lost, `--force`".to_owned()
    });
    Failure::failed(error).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser;

    use super::*;
    use crate::args::verbs::Command;
    use crate::store::sqlite::SqliteStore;
    use crate::store::{
        AgentStore as _, Content, Json, Labels, NewBundle, NewConsumer, SourceName,
    };

    async fn remove(file: &Path, more: &[&str]) -> Result<(), Failure> {
        let file = file.to_str().unwrap();
        let args = ["server-bridge", "consumer", "remove", "c1", "--db", file];
        let args = Args::try_parse_from(args.iter().chain(more)).unwrap();
        let Some(Command::Consumer(ConsumerVerb::Remove(remove))) = &args.command else {
            panic!("another command");
        };
        let store = location(&args)?.open(Restarts::unregistered());
        let store = store
            .await
            .map_err(|error| held_by_a_bridge(error, remove))?;
        let done = remove.run(&store).await;
        store.close().await;
        done.map(drop)
    }

    #[tokio::test]
    async fn a_consumer_is_removed_without_a_bridge_and_with_one_the_rest_call_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("bridge.db");
        let store = SqliteStore::open(&file).await.unwrap();
        let (now, name) = (Clock::system().now(), ConsumerName::new("c1").unwrap());
        let new = NewConsumer {
            id: "id".into(),
            name: name.clone(),
            labels: Labels::new(),
        };
        store.create_consumer(new, now).await.unwrap();
        let bundle = NewBundle {
            id: "b".into(),
            name: "b".into(),
            source: SourceName::default(),
            consumer_name: name.clone(),
            metadata: None,
            origin: None,
            content: Content {
                manifests: Json::parse("[]").unwrap(),
                delete_option: None,
                manifest_configs: None,
                executer: None,
            },
        };
        store.create_bundle(bundle, now).await.unwrap();
        store.note_seen(vec![name], now).await.unwrap();
        let hint = |failed: Result<(), Failure>| {
            let failure = failed.unwrap_err();
            format!("{failure}; {}", failure.hint().unwrap_or_default())
        };
        let held = hint(remove(&file, &["--force"]).await);
        assert!(
            held.contains("`DELETE /api/maestro/v1/consumers/c1?force=true`"),
            "{held}"
        );
        store.close().await;

        let in_use = hint(remove(&file, &[]).await);
        assert!(
            in_use.contains("1 resource bundles; ") && in_use.contains("`--force`"),
            "{in_use}"
        );
        let alive = hint(remove(&file, &["--force"]).await);
        assert!(
            alive.contains("may be alive") && alive.contains("`--confirm c1`"),
            "{alive}"
        );
        let wrong = hint(remove(&file, &["--force", "--confirm", "c2"]).await);
        assert!(wrong.contains("`--confirm`"), "{wrong}");
        remove(&file, &["--force", "--confirm", "c1"])
            .await
            .unwrap();
        let gone = hint(remove(&file, &["--force"]).await);
        assert!(gone.contains("`c1` does not exist"), "{gone}");
        let nowhere = directory.path().join("nowhere.db");
        let missing = hint(remove(&nowhere, &[]).await);
        assert!(
            missing.contains("no database") && !nowhere.exists(),
            "{missing}"
        );
    }

    #[test]
    fn flags_of_the_bridge_in_front_of_a_verb_are_refused_instead_of_ignored() {
        let args = ["server-bridge", "--db", "f", "consumer", "remove", "c1"];
        let error = Args::try_parse_from(args).unwrap_err();
        assert!(error.to_string().contains("--db"), "{error}");
    }
}
