//! Pages.

use futures_util::TryStreamExt;
use server_bridge::store::Store;
use server_bridge::store::query::{
    BundleColumn, Comparison, ConsumerColumn, Filter, Glob, Order, Parts, Pattern, Query, Subject,
    Value,
};
use server_bridge::store::{Json, Labels, NewConsumer};

use crate::{at, bundle, name, with_consumers};

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
        progress: false,
    };
    let page = store
        .list_bundles(query(None, false, 0, 1), none)
        .await
        .unwrap();
    let rows: Vec<_> = page.rows.try_collect().await.unwrap();
    assert!(rows[0].content.is_none());
    assert_eq!(rows[0].ledger.as_ref().unwrap().len(), 1);
}

async fn found(
    store: &impl Store,
    filter: Filter<BundleColumn>,
    order: &[Order<BundleColumn>],
) -> String {
    let query = Query {
        filter: Some(filter),
        order: order.to_vec(),
        offset: 0,
        limit: 100,
    };
    let page = store.list_bundles(query, Parts::LISTED).await.unwrap();
    let total = page.total;
    let rows: Vec<_> = page.rows.try_collect().await.unwrap();
    assert_eq!(total, rows.len() as u64);
    let names: Vec<_> = rows.into_iter().map(|bundle| bundle.name).collect();
    names.join(" ")
}

pub(crate) async fn searches_compare_by_bytes_and_absent_values_sort_first(store: impl Store) {
    with_consumers(&store, &["c1"]).await;
    for (second, (id, metadata)) in [
        (
            "a_1",
            Some(r#"{"labels":{"app":"Web","ü.x/y-z":"1"},"name":"n","uid":"u"}"#),
        ),
        (
            "B-1",
            Some(r#"{"labels":{"app":"web","n":7,"odd\"'":"q"}}"#),
        ),
        (
            "Ä",
            Some(r#"{"labels":{"app":"wÉb"},"annotations":{"a":"\u0000"}}"#),
        ),
        ("ä", Some(r#"{"name":"N","labels":{}}"#)),
        ("z%", None),
    ]
    .into_iter()
    .enumerate()
    {
        let mut new = bundle(id, "c1");
        new.metadata = metadata.map(|text| Json::parse(text).unwrap());
        store
            .create_bundle(new, at(i64::try_from(second).unwrap()))
            .await
            .unwrap();
    }
    for id in ["B-1", "z%"] {
        store.mark_deleting(id, at(50)).await.unwrap();
    }
    let column = Subject::Column;
    let label = |text: &str| Subject::Label(text.to_owned());
    let text = |text: &str| Value::Text(text.to_owned());
    let compare = |subject, how, value| Filter::Compare(subject, how, value);
    let like = |subject, pattern: &str, fold| {
        let pieces = pattern.chars().map(|c| match c {
            '%' => Glob::AnyText,
            '?' => Glob::AnyChar,
            c => Glob::Char(c),
        });
        Filter::Like {
            subject,
            pattern: Pattern(pieces.collect()),
            fold,
        }
    };
    let by = |column, descending| [Order { column, descending }];
    let all = || Filter::All(Vec::new());
    let app = || label("app");
    use BundleColumn::{DeletedAt, Id, Name, Version};
    for (filter, order, expected) in [
        (all(), &by(Name, false)[..], "B-1 a_1 z% Ä ä"),
        (all(), &by(Name, true), "ä Ä z% a_1 B-1"),
        (all(), &by(DeletedAt, false), "a_1 Ä ä B-1 z%"),
        (all(), &by(DeletedAt, true), "B-1 z% a_1 Ä ä"),
        (all(), &by(Version, true), "a_1 B-1 Ä ä z%"),
        (Filter::Any(Vec::new()), &[], ""),
        (
            compare(column(Name), Comparison::Less, text("a")),
            &[],
            "B-1",
        ),
        (
            compare(column(Name), Comparison::GreaterOrEqual, text("z")),
            &[],
            "Ä ä z%",
        ),
        (
            compare(column(Version), Comparison::Equal, Value::Integer(1)),
            &[],
            "a_1 B-1 Ä ä z%",
        ),
        (
            compare(
                column(BundleColumn::CreatedAt),
                Comparison::Greater,
                Value::Integer(at(2).as_microsecond()),
            ),
            &[],
            "ä z%",
        ),
        (compare(app(), Comparison::Equal, text("web")), &[], "B-1"),
        (
            compare(app(), Comparison::NotEqual, text("web")),
            &[],
            "a_1 Ä",
        ),
        (
            Filter::Not(Box::new(compare(app(), Comparison::Equal, text("web")))),
            &[],
            "a_1 Ä",
        ),
        (
            compare(app(), Comparison::Greater, text("Web")),
            &[],
            "B-1 Ä",
        ),
        (Filter::IsNull(app()), &[], "ä z%"),
        (
            Filter::Not(Box::new(Filter::IsNull(app()))),
            &[],
            "a_1 B-1 Ä",
        ),
        (Filter::In(app(), vec![text("Web"), text("x")]), &[], "a_1"),
        (
            Filter::In(column(Id), vec![text("ä"), text("z%"), text("\0")]),
            &[],
            "ä z%",
        ),
        (like(app(), "web", true), &[], "a_1 B-1"),
        (like(app(), "WÉB", true), &[], "Ä"),
        (like(app(), "wéb", true), &[], ""),
        (like(app(), "w?b", false), &[], "B-1 Ä"),
        (like(column(Name), "?_%", false), &[], "a_1"),
        (like(column(Name), "?", false), &[], "Ä ä"),
        (like(column(Name), "%1", false), &[], "a_1 B-1"),
        (
            compare(label("ü.x/y-z"), Comparison::Equal, text("1")),
            &[],
            "a_1",
        ),
        (
            compare(label("odd\"'"), Comparison::Equal, text("q")),
            &[],
            "B-1",
        ),
        (
            compare(label("none\0"), Comparison::Equal, text("q")),
            &[],
            "",
        ),
        (
            compare(Subject::Metadata("name"), Comparison::Equal, text("n")),
            &[],
            "a_1",
        ),
        (Filter::IsNull(Subject::Metadata("uid")), &[], "B-1 Ä ä z%"),
        (
            compare(
                column(BundleColumn::Source),
                Comparison::Equal,
                text("maestro"),
            ),
            &[],
            "a_1 B-1 Ä ä z%",
        ),
        (
            like(column(BundleColumn::Source), "M%", true),
            &[],
            "a_1 B-1 Ä ä z%",
        ),
    ] {
        let shown = format!("{filter:?}");
        let found = found(&store, filter, order).await;
        assert_eq!(found, expected, "{shown}");
    }

    let labels = Labels::from([
        ("env\0".to_owned(), "p\0".to_owned()),
        ("a".into(), "1".into()),
    ]);
    let new = NewConsumer {
        id: "odd".into(),
        name: name("odd"),
        labels: labels.clone(),
    };
    store.create_consumer(new, at(1)).await.unwrap();
    let query = Query {
        filter: Some(Filter::Compare(label_of("a"), Comparison::Equal, text("1"))),
        order: vec![Order {
            column: ConsumerColumn::Name,
            descending: true,
        }],
        offset: 0,
        limit: 5,
    };
    let page = store.list_consumers(query).await.unwrap();
    let rows: Vec<_> = page.rows.try_collect().await.unwrap();
    assert_eq!((page.total, rows.len()), (1, 1));
    assert_eq!(rows[0].labels, labels);
}

fn label_of(name: &str) -> Subject<ConsumerColumn> {
    Subject::Label(name.to_owned())
}
