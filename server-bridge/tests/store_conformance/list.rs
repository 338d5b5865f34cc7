//! Pages.

use futures_util::TryStreamExt;
use server_bridge::store::Store;
use server_bridge::store::query::{
    BundleColumn, Comparison, Filter, Order, Parts, Query, Subject, Value,
};

use crate::{at, bundle, with_consumers};

pub(crate) async fn pages_are_filtered_ordered_and_complete(store: impl Store) {
    with_consumers(&store, &["c1", "c2"]).await;
    for number in 0..40 {
        let consumer = if number % 4 == 0 { "c2" } else { "c1" };
        let new = bundle(&format!("b{number:02}"), consumer);
        store.create_bundle(new, at(number)).await.unwrap();
    }
    let query = |filter, descending, offset, limit| Query {
        filter,
        order: vec![Order {
            column: BundleColumn::Id,
            descending,
        }],
        offset,
        limit,
    };
    let on = |text: &str| {
        Filter::Compare(
            Subject::Column(BundleColumn::ConsumerName),
            Comparison::Equal,
            Value::Text(text.to_owned()),
        )
    };
    let page = store
        .list_bundles(query(Some(on("c1")), true, 2, 20), Parts::LISTED)
        .await
        .unwrap();
    assert_eq!(page.total, 30);
    let rows: Vec<_> = page.rows.try_collect().await.unwrap();
    assert_eq!((rows.len(), rows[0].id.as_str()), (20, "b37"));
    assert!(rows.windows(2).all(|pair| pair[0].id > pair[1].id));
    assert!(rows[0].content.is_some() && rows[0].ledger.is_none());

    let label = |value: &str| {
        Filter::Compare(
            Subject::Label("app".into()),
            Comparison::Equal,
            Value::Text(value.to_owned()),
        )
    };
    for (value, total) in [("web", 40), ("db", 0)] {
        let page = store
            .list_bundles(query(Some(label(value)), false, 0, 0), Parts::LISTED)
            .await
            .unwrap();
        assert_eq!(page.total, total);
        assert!(page.rows.try_collect::<Vec<_>>().await.unwrap().is_empty());
    }
    let none = Parts {
        content: false,
        status: false,
        ledger: true,
    };
    let page = store
        .list_bundles(query(None, false, 0, 1), none)
        .await
        .unwrap();
    let rows: Vec<_> = page.rows.try_collect().await.unwrap();
    assert!(rows[0].content.is_none());
    assert_eq!(rows[0].ledger.as_ref().unwrap().len(), 1);
}
