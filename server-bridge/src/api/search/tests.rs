//! What the search language takes and how it refuses.

use proptest::prelude::*;

use super::*;
use crate::store::query::{BundleColumn, Parts, Query};
use crate::store::{Store, sqlite::SqliteStore};

const ROOTS: Roots = Roots {
    labels: &[&["payload", "metadata", "labels"]],
    metadata: &[&["payload", "metadata"]],
};

fn refused(text: &str) -> String {
    parse::<BundleColumn>(text, ROOTS).unwrap_err().to_string()
}

#[test]
fn and_binds_closer_than_or_and_not_closest() {
    let filter = parse::<BundleColumn>("id = 'a' or not name = 'b' and version >= 2", ROOTS)
        .unwrap()
        .unwrap();
    let Filter::Any(parts) = filter else {
        panic!("{filter:?}")
    };
    assert!(matches!(&parts[1], Filter::All(parts) if matches!(parts[0], Filter::Not(_))));
}

#[test]
fn labels_are_found_by_every_spelling() {
    let expected = Filter::Compare(
        Subject::<BundleColumn>::Label("app".into()),
        Comparison::Equal,
        Value::Text("web".into()),
    );
    for text in [
        "labels.app = 'web'",
        "metadata.labels.app = 'web'",
        "payload->'metadata'->'labels'->>'app' = 'web'",
    ] {
        assert_eq!(parse(text, ROOTS), Ok(Some(expected.clone())), "{text}");
    }
    let contained = parse(r#"payload->'metadata'->'labels'@>'{"app":"web"}'"#, ROOTS);
    assert_eq!(contained, Ok(Some(Filter::All(vec![expected]))));
}

#[test]
fn what_maestros_clients_send_is_taken() {
    let parsed = |text: &str| parse::<BundleColumn>(text, ROOTS).unwrap().unwrap();
    let label = |name: &str| Subject::Label(name.into());
    let text = |text: &str| Value::Text(text.into());
    assert_eq!(
        parsed("payload->'metadata'->'labels'->>'env'<>null"),
        Filter::Not(Box::new(Filter::IsNull(label("env"))))
    );
    assert_eq!(
        parsed("source='S' and (consumer_name='A' or consumer_name='B')"),
        Filter::All(vec![
            Filter::Compare(
                Subject::Column(BundleColumn::Source),
                Comparison::Equal,
                text("S")
            ),
            Filter::In(
                Subject::Column(BundleColumn::ConsumerName),
                vec![text("A"), text("B")]
            ),
        ])
    );
    assert_eq!(
        parsed("payload->'metadata'->'labels'->>'a/b.c'in('x','y')"),
        Filter::In(label("a/b.c"), vec![text("x"), text("y")])
    );
    assert_eq!(
        parsed("payload->'metadata'->>'name'='s1'"),
        Filter::Compare(Subject::Metadata("name"), Comparison::Equal, text("s1"))
    );
    insta::assert_snapshot!(refused("payload->'metadata'->>'generation'='1'"), @"at position 23: of the metadata `name`, `namespace`, `uid` and the labels can be searched");
    insta::assert_snapshot!(refused("version < null"), @"at position 11: expected an integer, found `null`");
}

#[test]
fn a_refusal_names_the_position_and_what_is_allowed() {
    insta::assert_snapshot!(refused("nmae = 'a'"), @"at position 1: unknown column `nmae`; there are `id`, `name`, `source`, `consumer_name`, `version`, `created_at`, `updated_at`, `deleted_at`, `applied`, `available`, `status_version`, `status_at`, `waiting_for`, `waiting_since` and `labels.NAME`");
    insta::assert_snapshot!(refused("name ~ 'a'"), @"at position 6: `~` is not part of the search language");
    insta::assert_snapshot!(refused("name = 'a"), @"at position 8: the string has no closing quote");
    insta::assert_snapshot!(refused("name = a"), @"at position 8: expected a string in single quotes, found `a`");
    insta::assert_snapshot!(refused("version = 'x'"), @"at position 11: expected an integer, found the string 'x'");
    insta::assert_snapshot!(refused("created_at > 'yesterday'"), @"at position 14: expected a time such as '2026-08-01T10:00:00Z' or a date such as '2026-08-01', found the string 'yesterday'");
    insta::assert_snapshot!(refused("payload->'data'->>'manifests' = 'x'"), @"at position 1: only labels can be searched by path: `payload->'metadata'->'labels'`");
    insta::assert_snapshot!(refused("(name = 'a'"), @"at position 12: expected `)`, found the end");
    insta::assert_snapshot!(refused("name = 'a'; drop table bundles"), @"at position 11: `;` is not part of the search language");
    insta::assert_snapshot!(refused("version like '1%'"), @"at position 14: `like` works on text columns and labels");
}

/// Makes a search of a size.
type Make<'a> = &'a dyn Fn(usize) -> String;

#[test]
fn each_bound_is_kept_at_its_limit_and_refused_one_past_by_its_name() {
    let conditions = |count: usize| vec!["version>1"; count].join(" or ");
    let nested = |depth: usize| format!("{}id='a'{}", "(".repeat(depth - 1), ")".repeat(depth - 1));
    let values = |count: usize| format!("version in ({})", vec!["1"; count].join(","));
    let long = |bytes: usize| format!("id='{}'", "a".repeat(bytes - 5));
    let wild = |count: usize| format!("id like '{}'", "%a".repeat(count));
    let limits: [(Make<'_>, usize, &str); 5] = [
        (&conditions, MAX_PREDICATES, "more than 100 conditions"),
        (&nested, MAX_DEPTH, "nested deeper than 32 levels"),
        (&values, MAX_IN, "more than 200 values after `in`"),
        (&long, MAX_BYTES, "the search is longer than 32768 bytes"),
        (&wild, 8, "more than 8 `%` in one pattern"),
    ];
    for (text, limit, name) in limits {
        let taken = parse::<BundleColumn>(&text(limit), ROOTS);
        assert!(taken.is_ok(), "{name}: {taken:?}");
        let refused = refused(&text(limit + 1));
        assert!(refused.ends_with(name), "{refused}");
    }
}

#[test]
fn blank_text_is_no_search() {
    assert_eq!(parse::<BundleColumn>("  ", ROOTS), Ok(None));
}

/// Text that is a search more often than not.
fn searches() -> impl Strategy<Value = String> {
    let string = "'([a-z%_*?\\[\\]\\\\\"\\-. é]|'')*'";
    let subject = prop_oneof![
        Just("id"),
        Just("name"),
        Just("labels.a/b.c-d"),
        Just("version"),
        Just("created_at"),
        Just("payload->'metadata'->'labels'->>'x'"),
        Just("payload->'metadata'->>'name'"),
        Just("source"),
    ];
    let value = prop_oneof![
        string,
        (-9i64..9_999_999_999).prop_map(|n| n.to_string()),
        Just("'2026-08-01'".to_owned()),
    ];
    let operator = prop_oneof![
        Just("="),
        Just("<>"),
        Just(">="),
        Just("like"),
        Just("not ilike"),
    ];
    let predicate = prop_oneof![
        (subject.clone(), operator, value.clone()).prop_map(|(s, o, v)| format!("{s} {o} {v}")),
        (subject.clone(), prop::collection::vec(value, 1..4))
            .prop_map(|(s, v)| format!("{s} not in ({})", v.join(","))),
        subject.clone().prop_map(|s| format!("{s} is not null")),
        subject.prop_map(|s| format!("{s}<>null")),
        Just("payload->'metadata'->'labels' @> '{\"a\":\"b\"}'".to_owned()),
    ];
    predicate.prop_recursive(4, 16, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) and {b}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} or {b}")),
            inner.prop_map(|a| format!("not ({a})")),
        ]
    })
}

#[test]
fn what_the_parser_takes_the_engine_takes_too() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let open = SqliteStore::open(directory.path().join("bridge.db"));
    let store = runtime.block_on(open).unwrap();
    let taken = std::cell::Cell::new(0);
    let text = prop_oneof![1 => any::<String>(), 9 => searches()];
    proptest!(|(text in text)| {
        if let Ok(filter @ Some(_)) = parse::<BundleColumn>(&text, ROOTS) {
            taken.set(taken.get() + 1);
            let query = Query { filter, order: Vec::new(), offset: 0, limit: 1 };
            let page = runtime.block_on(store.list_bundles(query, Parts::LISTED));
            prop_assert!(page.is_ok(), "{text}: {:?}", page.err());
        }
    });
    assert!(taken.get() > 20, "only {taken:?} searches were searches");
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        let _ = parse::<BundleColumn>(&text, ROOTS);
    }
}
