//! Consumers.

use server_bridge::store::{Labels, NewConsumer, Store, StoreError};

use crate::{at, bundle, name, with_consumers};

pub(crate) async fn consumers_live_and_are_protected_by_their_bundles(store: impl Store) {
    with_consumers(&store, &["c1", "c2"]).await;
    with_consumers(&store, &["c1", "c2"]).await;
    assert_eq!(
        store.consumer_names().await.unwrap(),
        [name("c1"), name("c2")]
    );
    let again = NewConsumer {
        id: "other".into(),
        name: name("c1"),
        labels: Labels::new(),
    };
    let error = store.create_consumer(again, at(1)).await.unwrap_err();
    assert_eq!(error.to_string(), "consumer `c1` already exists");
    let cleared = store
        .update_consumer_labels("id-c1", Labels::new(), at(2))
        .await
        .unwrap();
    assert_eq!((cleared.labels.len(), cleared.updated_at), (0, at(2)));
    assert_eq!(
        store.get_consumer_by_name(&name("c1")).await.unwrap(),
        Some(cleared)
    );
    store
        .create_bundle(bundle("b1", "c1"), at(3))
        .await
        .unwrap();
    let error = store.delete_consumer("id-c1").await.unwrap_err();
    assert!(matches!(
        error,
        StoreError::ConsumerInUse { bundles: 1, .. }
    ));
    store.delete_consumer("id-c2").await.unwrap();
    assert!(store.get_consumer("id-c2").await.unwrap().is_none());
    let error = store
        .create_bundle(bundle("b2", "c2"), at(3))
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::ConsumerNotFound { .. }));
}
