//! Bundles: what a caller of the API does to them.

use server_bridge::store::{Json, Store, StoreError};

use crate::{at, bundle, content, name, version, with_consumers};

pub(crate) async fn versions_rise_only_with_content_and_only_from_the_latest(store: impl Store) {
    with_consumers(&store, &["c1"]).await;
    let created = store
        .create_bundle(bundle("b1", "c1"), at(1))
        .await
        .unwrap();
    assert_eq!(store.get_bundle("b1").await.unwrap(), Some(created.clone()));
    for (id, bundle_name, taken) in [("b1", "x", "id"), ("x", "b1", "name"), ("b1", "b1", "name")] {
        let mut twin = bundle(id, "c1");
        twin.name = bundle_name.to_owned();
        let error = store.create_bundle(twin, at(1)).await.unwrap_err();
        assert!(
            matches!(error, StoreError::BundleExists { field, ref value } if value == "b1" && field == taken),
            "{error:?}"
        );
    }
    let metadata = created.metadata.clone();
    let same = store
        .update_bundle(
            "b1",
            Some(version(1)),
            metadata.clone(),
            content("one"),
            None,
            at(2),
        )
        .await
        .unwrap();
    assert_eq!((same.version, same.updated_at), (version(1), at(1)));
    let changed = store
        .update_bundle(
            "b1",
            Some(version(1)),
            metadata.clone(),
            content("two"),
            None,
            at(2),
        )
        .await
        .unwrap();
    assert_eq!(changed.version, version(2));
    let error = store
        .update_bundle(
            "b1",
            Some(version(1)),
            metadata.clone(),
            content("three"),
            None,
            at(3),
        )
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::VersionConflict { latest, .. } if latest == version(2)));
    for number in 3..=25 {
        let next = content(&number.to_string());
        store
            .update_bundle("b1", None, None, next, None, at(number))
            .await
            .unwrap();
    }
    let ledger = store
        .get_bundle("b1")
        .await
        .unwrap()
        .unwrap()
        .ledger
        .unwrap();
    let versions: Vec<i32> = ledger.iter().map(|entry| entry.version.get()).collect();
    assert_eq!(versions, (16..=25).collect::<Vec<i32>>());
    store.mark_deleting("b1", at(30)).await.unwrap();
    store.mark_deleting("b1", at(31)).await.unwrap();
    let deleting = store.get_bundle("b1").await.unwrap().unwrap();
    assert_eq!(
        (deleting.deleted_at, deleting.version),
        (Some(at(30)), version(25))
    );
    let error = store
        .update_bundle("b1", None, None, content("late"), None, at(32))
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::BundleDeleting { .. }));
    let error = store.mark_deleting("none", at(1)).await.unwrap_err();
    assert!(matches!(error, StoreError::BundleNotFound { .. }));
}

pub(crate) async fn concurrent_writers_neither_lose_nor_mix_their_writes(store: impl Store) {
    with_consumers(&store, &["c1"]).await;
    store
        .create_bundle(bundle("shared", "c1"), at(0))
        .await
        .unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8 {
        let store = store.clone();
        tasks.spawn(async move {
            let mut won = 0;
            for number in 0..25 {
                let id = format!("t{task}-{number}");
                store.create_bundle(bundle(&id, "c1"), at(1)).await.unwrap();
                // A refusal in the same commit must not undo its neighbours.
                assert!(store.create_bundle(bundle(&id, "c1"), at(1)).await.is_err());
                let latest = store.get_bundle("shared").await.unwrap().unwrap().version;
                let next = content(&id);
                won += i32::from(
                    store
                        .update_bundle("shared", Some(latest), None, next, None, at(2))
                        .await
                        .is_ok(),
                );
            }
            won
        });
    }
    let won: i32 = tasks.join_all().await.into_iter().sum();
    assert_eq!(store.versions_of(&name("c1")).await.unwrap().len(), 201);
    let shared = store.get_bundle("shared").await.unwrap().unwrap();
    assert_eq!(shared.version.get(), won + 1);
}

pub(crate) async fn json_comes_back_to_the_letter(store: impl Store) {
    with_consumers(&store, &["c1"]).await;
    let json = |text: &str| Json::parse(text).unwrap();
    let mut new = bundle("b", "c1");
    new.metadata = Some(json(
        r#"{"b":1.0,"a":1e2,"annotations":{"n":"\u0000\ud83d\ude00"},"labels":{"z":"1","a":"\u0000"}}"#,
    ));
    new.content.manifests = json(
        r#"[{"n":[12345678901234567890123, 1.10, -0, 1E-7],"s":"\u0000 \" \\ ü","dup":1,"dup":2}]"#,
    );
    new.content.executer = Some(json("null"));
    let created = store.create_bundle(new.clone(), at(1)).await.unwrap();
    let read = store.get_bundle("b").await.unwrap().unwrap();
    assert_eq!(read, created);
    assert_eq!(read.content, Some(new.content.clone()));
    assert_eq!(read.metadata, new.metadata);
    let pending = store.pending(&name("c1"), vec!["b".into()]).await.unwrap();
    assert_eq!(pending[0].payload, new.content.payload());
    assert_eq!(pending[0].metadata, new.metadata);
    // Equal text is equal content; another text is another version, whatever it means.
    let same = store
        .update_bundle(
            "b",
            None,
            new.metadata.clone(),
            new.content.clone(),
            None,
            at(2),
        )
        .await
        .unwrap();
    assert_eq!(same.version, version(1));
    new.content.executer = None;
    let other = store
        .update_bundle("b", None, new.metadata, new.content, None, at(2))
        .await
        .unwrap();
    assert_eq!(other.version, version(2));
}
