//! What the search language takes and how it refuses.

use proptest::prelude::*;

use super::*;
use crate::store::query::BundleColumn;

const ROOTS: &[&[&str]] = &[&["payload", "metadata", "labels"]];

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
fn a_refusal_names_the_position_and_what_is_allowed() {
    insta::assert_snapshot!(refused("nmae = 'a'"), @"");
    insta::assert_snapshot!(refused("name ~ 'a'"), @"");
    insta::assert_snapshot!(refused("name = 'a"), @"");
    insta::assert_snapshot!(refused("name = a"), @"");
    insta::assert_snapshot!(refused("version = 'x'"), @"");
    insta::assert_snapshot!(refused("created_at > 'yesterday'"), @"");
    insta::assert_snapshot!(refused("payload->'data'->>'manifests' = 'x'"), @"");
    insta::assert_snapshot!(refused("(name = 'a'"), @"");
    insta::assert_snapshot!(refused("name = 'a'; drop table bundles"), @"");
    insta::assert_snapshot!(refused("version like '1%'"), @"");
}

#[test]
fn blank_text_is_no_search() {
    assert_eq!(parse::<BundleColumn>("  ", ROOTS), Ok(None));
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        let _ = parse::<BundleColumn>(&text, ROOTS);
    }
}
