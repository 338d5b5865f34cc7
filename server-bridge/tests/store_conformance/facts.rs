//! What `explain` reads of a bundle and of a consumer.

use server_bridge::store::{Ahead, BundleFacts, ConsumerFacts, NewBundle, Store};

use crate::reports::source;
use crate::{at, bundle, history, name, version, with_consumers};

async fn of_bundle(store: &impl Store, reference: &str) -> BundleFacts {
    let facts = store.bundle_facts(reference, at(10)).await;
    facts.unwrap().unwrap()
}

fn ahead(of_source: u64, of_others: u64) -> Ahead {
    Ahead {
        of_source,
        of_others: Some(of_others),
    }
}

async fn of_consumer(store: &impl Store) -> ConsumerFacts {
    let facts = store.consumer_facts(&name("c1"), at(10)).await;
    facts.unwrap().unwrap()
}

pub(crate) async fn a_bundle_is_found_by_id_or_else_by_name_with_those_before_it(
    store: impl Store,
) {
    with_consumers(&store, &["c1", "c2"]).await;
    let named = NewBundle {
        name: "known".into(),
        ..bundle("b", "c1")
    };
    for (second, new) in [
        (1, bundle("other", "c2")),
        (2, bundle("a", "c1")),
        (3, named),
    ] {
        store.create_bundle(new, at(second)).await.unwrap();
    }
    for (reference, id, before) in [("a", "a", 0), ("b", "b", 1), ("known", "b", 1)] {
        let facts = of_bundle(&store, reference).await;
        assert_eq!(
            (facts.bundle.id.as_str(), facts.ahead),
            (id, ahead(before, 0))
        );
        assert!(facts.unsent && !facts.unconfirmed);
        assert_eq!(facts.lane.consumer.name, name("c1"));
    }
    // By its name also where another one has that as its id.
    let hidden = NewBundle {
        name: "a-too".into(),
        ..bundle("known", "c2")
    };
    store.create_bundle(hidden, at(4)).await.unwrap();
    assert_eq!(of_bundle(&store, "known").await.bundle.id, "known");
    let named = store.bundle_named("known").await.unwrap();
    assert_eq!(named.as_deref(), Some("b"));
    for unknown in ["none", "nul\0"] {
        let facts = store.bundle_facts(unknown, at(10)).await;
        assert_eq!(facts.unwrap(), None);
        assert_eq!(store.bundle_named(unknown).await.unwrap(), None);
    }
}

pub(crate) async fn those_of_other_sources_that_go_before_are_counted_apart(store: impl Store) {
    with_consumers(&store, &["c1", "c2"]).await;
    for (second, (id, consumer, of)) in [
        ("a", "c1", "anna"),
        ("b", "c1", "rosa"),
        ("c", "c2", "rosa"),
        ("d", "c1", "rosa"),
        ("e", "c1", "anna"),
        ("f", "c1", "rosa"),
    ]
    .into_iter()
    .enumerate()
    {
        let new = NewBundle {
            source: source(of),
            ..bundle(id, consumer)
        };
        let second = i64::try_from(second).unwrap();
        store.create_bundle(new, at(second)).await.unwrap();
    }
    for (id, of_source, of_others) in [("a", 0, 0), ("b", 0, 1), ("e", 1, 2), ("f", 2, 2)] {
        let found = of_bundle(&store, id).await.ahead;
        assert_eq!(found, ahead(of_source, of_others), "{id}");
    }
}

pub(crate) async fn a_consumer_is_told_by_what_waits_longest_and_what_was_raised(
    store: impl Store,
) {
    with_consumers(&store, &["c1", "c2"]).await;
    for (second, new) in [
        (1, bundle("other", "c2")),
        (2, bundle("a", "c1")),
        (3, bundle("b", "c1")),
    ] {
        store.create_bundle(new, at(second)).await.unwrap();
    }
    let before = of_consumer(&store).await;
    let oldest: Vec<&str> = before
        .oldest
        .iter()
        .map(|it| it.bundle.id.as_str())
        .collect();
    assert_eq!((oldest, before.load.waiting_to_send), (vec!["a"], 2));
    assert_eq!(before.raised, []);
    history::raise(&store, "b", 7).await;
    let raised = of_consumer(&store).await.raised;
    let raised: Vec<_> = raised
        .iter()
        .map(|it| (it.id.as_str(), it.version))
        .collect();
    assert_eq!(raised, [("b", version(8))]);
    let none = store.consumer_facts(&name("none"), at(10)).await;
    assert_eq!(none.unwrap(), None);
}
