//! Stores that are older than their agents: versions are raised above theirs, and jump where nobody knows what they hold.

use link::order::Version;
use server_bridge::store::{
    AgentVersion, Bundle, DOUBTED, Doubts, Orphan, Raised, Raising, StatusOutcome, Store,
    StoreError,
};

use crate::status::status;
use crate::{at, bundle, content, name, version, with_consumers};

const MAX: i64 = i32::MAX as i64;

fn held(id: &str, number: i64) -> AgentVersion {
    AgentVersion {
        id: id.to_owned(),
        version: version(number),
    }
}

pub(crate) async fn raise(store: &impl Store, id: &str, number: i64) -> Raising {
    let held = vec![held(id, number)];
    store.raise(&name("c1"), held, at(500)).await.unwrap()
}

async fn shown(store: &impl Store, id: &str) -> Bundle {
    store.get_bundle(id).await.unwrap().unwrap()
}

/// The number after a change.
async fn changed(store: &impl Store, id: &str, from: i64, text: &str) -> i64 {
    let expected = Some(version(from));
    let updated = store.update_bundle(id, expected, None, content(text), None, at(600));
    i64::from(updated.await.unwrap().version.get())
}

/// What the outbox holds: id, version and whether it is a deletion.
async fn outbox(store: &impl Store) -> Vec<(String, Version, bool)> {
    let heads = store.pending_heads(&name("c1"), 100).await.unwrap();
    let heads = heads.into_iter();
    heads
        .map(|head| (head.id, head.version, head.deleting_since.is_some()))
        .collect()
}

async fn sent(store: &impl Store, id: &str, deletion: bool) {
    let version = shown(store, id).await.version;
    let published = store.record_published(id, version, deletion, at(2));
    published.await.unwrap();
    let acked = store.record_broker_acked(id, version, deletion, true, at(3));
    acked.await.unwrap();
}

pub(crate) async fn a_version_is_raised_above_the_held_one_with_its_content(store: impl Store) {
    with_consumers(&store, &["c1", "c2"]).await;
    store.create_bundle(bundle("b", "c1"), at(1)).await.unwrap();
    store.create_bundle(bundle("x", "c2"), at(1)).await.unwrap();
    sent(&store, "b", false).await;
    let before = shown(&store, "b").await;
    for (id, number) in [("b", 1), ("b", 0), ("x", 9), ("unheard", 9), ("nul\0", 9)] {
        assert_eq!(raise(&store, id, number).await, Raising::default(), "{id}");
    }
    assert!(outbox(&store).await.is_empty());

    let twice = vec![held("b", 5), held("b", 7), held("b", 6)];
    let raising = store.raise(&name("c1"), twice, at(500)).await.unwrap();
    let raised = Raised {
        id: "b".into(),
        held: version(7),
        from: version(1),
        to: Some(version(8)),
    };
    assert_eq!(raising.bundles, [raised]);
    assert_eq!(outbox(&store).await, [("b".into(), version(8), false)]);
    let pending = store.pending(&name("c1"), vec!["b".into()]).await.unwrap();
    assert!(!pending[0].first, "its agent holds one");
    let after = shown(&store, "b").await;
    assert_eq!(after.version, version(8));
    assert_eq!(
        (&after.content, &after.metadata),
        (&before.content, &before.metadata)
    );
    let ledger = after.ledger.unwrap();
    assert_eq!(ledger.len(), 2);
    let note = ledger[1].note.as_deref().unwrap_or_default();
    assert!(
        note.contains("held version 7 while this database was at 1") && note.contains("again as 8"),
        "{note}"
    );
    // What was on its way of the former version takes nothing out of the outbox.
    let late = store.record_broker_acked("b", version(1), false, true, at(501));
    late.await.unwrap();
    assert_eq!(outbox(&store).await.len(), 1);
    // Said once more; and a change in between wins.
    assert_eq!(raise(&store, "b", 7).await, Raising::default());
    assert_eq!(changed(&store, "b", 8, "two").await, 9);
    assert_eq!(raise(&store, "b", 9).await, Raising::default());
    sent(&store, "b", false).await;
    assert!(outbox(&store).await.is_empty());
    assert_eq!(
        store.get_bundle("x").await.unwrap().unwrap().version,
        version(1)
    );
}

pub(crate) async fn at_the_end_of_the_versions_nothing_is_raised_or_made(store: impl Store) {
    with_consumers(&store, &["c1"]).await;
    for id in ["b", "gone"] {
        store.create_bundle(bundle(id, "c1"), at(1)).await.unwrap();
    }
    let to = |raising: Raising| raising.bundles[0].to;
    assert_eq!(
        to(raise(&store, "b", MAX - 3).await),
        Some(version(MAX - 2))
    );
    // Neither jumps beyond the end nor stops before it.
    assert_eq!(to(raise(&store, "b", MAX - 1).await), Some(version(MAX)));
    assert_eq!(raise(&store, "b", MAX).await, Raising::default());
    let exhausted = store.update_bundle("b", None, None, content("two"), None, at(9));
    assert!(matches!(
        exhausted.await.unwrap_err(),
        StoreError::VersionExhausted { .. }
    ));

    assert_eq!(to(raise(&store, "gone", MAX).await), None);
    assert_eq!(shown(&store, "gone").await.version, version(1));
    let ahead = store.apply_status(status("gone", "c1", MAX, 1)).await;
    assert_eq!(ahead.unwrap(), StatusOutcome::Ahead { stored: version(1) });
    let text = shown(&store, "gone").await.status.unwrap().payload;
    assert!(text.as_str().contains("hint: delete the bundle"), "{text}");
    // Deleting is what is left, and ends although no deletion of a newer version can be sent.
    store.mark_deleting("gone", at(10)).await.unwrap();
    let mut deleted = status("gone", "c1", MAX, 2);
    deleted.deleted = true;
    let outcome = store.apply_status(deleted).await.unwrap();
    assert_eq!(outcome, StatusOutcome::Deleted);
}

pub(crate) async fn a_deletion_is_sent_again_under_a_version_above_the_held_one(store: impl Store) {
    with_consumers(&store, &["c1"]).await;
    store.create_bundle(bundle("b", "c1"), at(1)).await.unwrap();
    store.mark_deleting("b", at(2)).await.unwrap();
    sent(&store, "b", true).await;
    assert!(outbox(&store).await.is_empty());
    // It was deleted there in a newer version: this deletion has not been heard, or was not meant.
    let stored = version(1);
    let deleted = |number: i64, step: u16| {
        let mut deleted = status("b", "c1", number, step);
        deleted.deleted = true;
        deleted
    };
    for step in [1, 1] {
        let outcome = store.apply_status(deleted(7, step)).await.unwrap();
        assert_eq!(outcome, StatusOutcome::Ahead { stored });
    }
    let raising = raise(&store, "b", 7).await;
    assert_eq!(raising.bundles[0].to, Some(version(8)));
    // An agent takes no deletion that was asked for before what it holds was made.
    let heads = store.pending_heads(&name("c1"), 9).await.unwrap();
    assert_eq!(heads[0].deleting_since, Some(at(500)));
    assert_eq!(outbox(&store).await, [("b".into(), version(8), true)]);
    let ledger = shown(&store, "b").await.ledger.unwrap();
    let last = ledger.last().unwrap();
    assert!(last.deletion && last.note.is_some(), "{last:?}");
    sent(&store, "b", true).await;
    assert!(outbox(&store).await.is_empty());
    let stored = version(8);
    let late = store.apply_status(deleted(1, 2)).await.unwrap();
    assert_eq!(late, StatusOutcome::StaleVersion { stored });
    let outcome = store.apply_status(deleted(8, 3)).await.unwrap();
    assert_eq!(outcome, StatusOutcome::Deleted);
}

pub(crate) async fn a_status_that_comes_twice_shows_a_newer_version_twice(store: impl Store) {
    with_consumers(&store, &["c1"]).await;
    store.create_bundle(bundle("b", "c1"), at(1)).await.unwrap();
    let stored = version(1);
    for _ in 0..2 {
        // The store may have failed between keeping it and raising.
        let outcome = store.apply_status(status("b", "c1", 7, 4)).await.unwrap();
        assert_eq!(outcome, StatusOutcome::Ahead { stored });
    }
    let late = store.apply_status(status("b", "c1", 6, 4)).await.unwrap();
    assert_eq!(late, StatusOutcome::StaleVersion { stored });
    raise(&store, "b", 7).await;
    let stored = version(8);
    let again = store.apply_status(status("b", "c1", 7, 4)).await.unwrap();
    assert_eq!(again, StatusOutcome::StaleVersion { stored });
    let current = store.apply_status(status("b", "c1", 8, 5)).await.unwrap();
    assert_eq!(current, StatusOutcome::Stored);
}

pub(crate) async fn what_was_deleted_before_a_restore_deletes_nothing_after_it(store: impl Store) {
    with_consumers(&store, &["c1"]).await;
    let c1 = name("c1");
    for id in ["x", "y", "other"] {
        store.create_bundle(bundle(id, "c1"), at(1)).await.unwrap();
    }
    let delete = async |id, second| {
        store.mark_deleting(id, at(second)).await.unwrap();
        let mut deleted = status(id, "c1", 1, 1);
        (deleted.deleted, deleted.at) = (true, at(second));
        let outcome = store.apply_status(deleted).await.unwrap();
        assert_eq!(outcome, StatusOutcome::Deleted);
    };
    let says = async |deleted, step| {
        let mut said = status("x", "c1", 1, step);
        (said.deleted, said.at) = (deleted, at(600));
        store.apply_status(said).await.unwrap()
    };
    let deleted_here = async |id: &str| {
        let gone = store.gone(&c1, vec![id.to_owned()]).await.unwrap();
        gone[0].deleted_here
    };
    delete("x", 2).await;
    assert!(deleted_here("x").await);
    assert_eq!(says(false, 2).await, StatusOutcome::DeletedHere);
    let orphan = |id: &str, deleted_here| Orphan {
        id: id.into(),
        version: version(1),
        deleted_here,
    };
    let works = vec![orphan("x", true), orphan("z", false)];
    store.add_orphans(&c1, works).await.unwrap();

    // The agent turns out to be ahead: what it holds under this id may have been made in the time that was lost.
    raise(&store, "other", 7).await;
    assert!(!deleted_here("x").await);
    assert!(store.orphans(&c1, 9).await.unwrap().is_empty());
    assert!(store.consumers_with_pending().await.unwrap() == [c1.clone()]);
    for (deleted, step) in [(false, 3), (true, 4), (false, 5)] {
        assert_eq!(says(deleted, step).await, StatusOutcome::UnknownBundle);
    }
    // What is deleted from here on is.
    delete("y", 601).await;
    assert!(deleted_here("y").await && !deleted_here("x").await);
}

pub(crate) async fn the_first_change_of_what_nobody_confirmed_jumps(store: impl Store) {
    with_consumers(&store, &["c1"]).await;
    for id in ["a", "b", "c", "d", "e", "f"] {
        store.create_bundle(bundle(id, "c1"), at(1)).await.unwrap();
    }
    // Nothing jumps in the first epoch, heard of or not.
    let first = store.epoch().await.unwrap();
    assert_eq!(first.number, 1);
    assert_eq!(changed(&store, "a", 1, "two").await, 2);
    assert_eq!(store.history().await.unwrap().unconfirmed, 0);

    let raising = raise(&store, "a", 7).await;
    assert!(raising.doubted && raising.began.is_none(), "{raising:?}");
    // Further signs are those of the same restore, and what was heard of since is no news soon after.
    assert!(!raise(&store, "b", 4).await.doubted);
    assert!(!raise(&store, "a", 9).await.doubted);
    let history = store.history().await.unwrap();
    assert_eq!(
        history.epochs,
        std::slice::from_ref(&first),
        "one consumer's word begins none"
    );
    assert_eq!((history.unconfirmed, history.unconfirmed_consumers), (4, 1));

    // What was raised is above what the agent holds; a change goes on from there.
    assert_eq!(changed(&store, "a", 10, "three").await, 11);
    // Confirmed by a status, and by a list that names exactly this version.
    let confirmed = store.apply_status(status("c", "c1", 1, 1)).await.unwrap();
    assert_eq!(confirmed, StatusOutcome::Stored);
    assert_eq!(changed(&store, "c", 1, "two").await, 2);
    let list = vec![held("d", 1), held("e", 0)];
    store.request_resend(&name("c1"), list).await.unwrap();
    assert_eq!(changed(&store, "d", 1, "two").await, 2);
    // Not confirmed: its agent may hold another 2.
    let jumped = i64::from(first.jump()) + 1;
    assert!((1_001..2_001).contains(&jumped));
    assert_eq!(changed(&store, "e", 1, "two").await, jumped);
    let note = |bundle: Bundle| bundle.ledger.unwrap().pop().unwrap().note;
    let why = note(shown(&store, "e").await).unwrap();
    assert!(
        why.contains("restored or moved") && why.contains("version 1;"),
        "{why}"
    );
    assert_eq!(changed(&store, "e", jumped, "three").await, jumped + 1);
    assert_eq!(note(shown(&store, "e").await), None);
    // Neither does equal content, nor a caller with another version in mind, nor a deletion.
    let same = shown(&store, "f").await;
    let unchanged =
        store.update_bundle("f", None, same.metadata, same.content.unwrap(), None, at(7));
    assert_eq!(unchanged.await.unwrap().version, version(1));
    let conflict = store.update_bundle("f", Some(version(2)), None, content("x"), None, at(7));
    assert!(conflict.await.unwrap_err().is_refusal());
    store.mark_deleting("f", at(8)).await.unwrap();
    assert_eq!(shown(&store, "f").await.version, version(1));
    assert_eq!(store.history().await.unwrap().unconfirmed, 1);
}

pub(crate) async fn an_agent_s_word_is_about_its_own_consumer_and_several_begin_an_epoch(
    store: impl Store,
) {
    let names = ["c1", "c2", "c3", "c4"];
    with_consumers(&store, &names).await;
    for name in names {
        store
            .create_bundle(bundle(name, name), at(1))
            .await
            .unwrap();
    }
    let raise = async |consumer: &str, number, second| {
        let held = vec![held(consumer, number)];
        let consumer = name(consumer);
        let raising = store.raise(&consumer, held, at(second));
        raising.await.unwrap()
    };
    for _ in 0..2 {
        assert!(raise("c1", 7, 500).await.began.is_none());
    }
    // What others hold is as well known as before.
    assert_eq!(store.history().await.unwrap().unconfirmed, 0);
    assert_eq!(changed(&store, "c4", 1, "two").await, 2);
    assert!(raise("c2", 7, 501).await.began.is_none());
    // What one agent says however often is one consumer's word.
    for hour in 1..30 {
        let second = 501 + hour * 3600;
        let raising = raise("c1", 100 * hour, second).await;
        assert!(raising.doubted && raising.began.is_none(), "{hour}");
    }
    assert_eq!(store.epoch().await.unwrap().number, 1);

    // A region of which all agents say so, time and again: what was seen of the place stays known.
    let mut last = 1;
    for day in 2..17 {
        let (second, number) = (day * 24 * 3600, 10_000 * day);
        assert!(raise("c1", number, second).await.began.is_none());
        assert!(raise("c2", number, second + 60).await.began.is_none());
        let began = raise("c3", number, second + 120).await.began.unwrap();
        assert!(
            began.why.contains("agents of 3 consumers")
                && began.why.contains("consumer `c3` holds version"),
            "{}",
            began.why
        );
        assert_eq!(began.number, last + 1);
        last = began.number;
        let unconfirmed = store.history().await.unwrap().unconfirmed;
        assert_eq!(unconfirmed, 3, "all but what was raised with it");
        for consumer in ["c1", "c2", "c3"] {
            let list = vec![held(consumer, number + 1)];
            store.request_resend(&name(consumer), list).await.unwrap();
        }
    }
    let epochs = store.history().await.unwrap().epochs;
    assert_eq!(epochs[0], store.epoch().await.unwrap());
    assert_eq!((epochs.len(), epochs.last().unwrap().number), (11, 1));
}

pub(crate) async fn what_is_doubted_of_a_consumer_is_kept_until_it_is_removed(store: impl Store) {
    with_consumers(&store, &["c1", "c2"]).await;
    let (c1, c2) = (name("c1"), name("c2"));
    for id in ["a", "b"] {
        store.create_bundle(bundle(id, "c1"), at(1)).await.unwrap();
    }
    let doubts = async |consumer| store.doubts(consumer).await.unwrap();
    assert_eq!(doubts(&c1).await, Doubts::default());
    for second in [2, 3] {
        store.note_foreign_work(&c1, at(second)).await.unwrap();
    }
    raise(&store, "a", 7).await;
    let expected = Doubts {
        since: Some(at(500)),
        unconfirmed: true,
        foreign_works: true,
    };
    assert_eq!(doubts(&c1).await, expected);
    let week = at(500) + DOUBTED;
    assert!(expected.last(week));
    let list = vec![held("a", 8), held("b", 1)];
    store.request_resend(&c1, list).await.unwrap();
    let confirmed = doubts(&c1).await;
    assert!(!confirmed.unconfirmed && !confirmed.last(week) && confirmed.last(at(501)));
    assert_eq!(doubts(&c2).await, Doubts::default());
    store.remove_consumer("id-c1", None, at(900)).await.unwrap();
    assert_eq!(doubts(&c1).await, Doubts::default());
}

pub(crate) async fn the_ledger_remembers_as_many_versions_however_they_are_numbered(
    store: impl Store,
) {
    with_consumers(&store, &["c1"]).await;
    store.create_bundle(bundle("b", "c1"), at(1)).await.unwrap();
    let mut latest = 1;
    for number in 0..20 {
        latest = changed(&store, "b", latest, &number.to_string()).await;
    }
    raise(&store, "b", 1_000).await;
    changed(&store, "b", 1_001, "raised").await;
    let ledger = shown(&store, "b").await.ledger.unwrap();
    let numbers: Vec<_> = ledger.iter().map(|entry| entry.version.get()).collect();
    assert_eq!(numbers, [14, 15, 16, 17, 18, 19, 20, 21, 1_001, 1_002]);
}
