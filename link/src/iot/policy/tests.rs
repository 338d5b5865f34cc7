//! The document model: what is read, what is refused and how it reads.

use proptest::prelude::*;

use super::*;
use crate::error::{Hint, chain};

const FULL: &str = r#"{
    "Version": "2012-10-17",
    "Id": "agent",
    "Statement": [
        {"Sid": "C", "Effect": "Allow", "Action": "iot:Connect",
         "Resource": "arn:aws:iot:us-east-2:123456789012:client/c1-work-agent-client",
         "Condition": {"ForAllValues:StringEquals": {"iot:ConnectAttributes": ["LastWill"]},
                       "Bool": {"iot:Connection.Thing.IsAttached": true}}},
        {"Effect": "Deny", "Action": ["iot:Publish", "iot:Receive"], "Resource": ["*", "arn:aws:iot:*:*:topic/x"]}
    ]
}"#;

#[test]
fn documents_are_read_with_every_key_iot_has() {
    let document = Document::parse(FULL).unwrap();
    assert_eq!(document.id.as_deref(), Some("agent"));
    let [first, second] = &document.statements[..] else {
        panic!("two statements");
    };
    assert_eq!(first.sid.as_deref(), Some("C"));
    assert_eq!(first.actions, ["iot:Connect"]);
    assert_eq!(
        first.condition["Bool"]["iot:Connection.Thing.IsAttached"],
        ["true"]
    );
    assert_eq!(second.effect, Effect::Deny);
    assert_eq!(second.resources.len(), 2);
    assert_eq!(Document::parse(&document.to_json()).unwrap(), document);
}

#[test]
fn single_statement_may_stand_without_a_list() {
    let json = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iot:*","Resource":"*"}}"#;
    let document = Document::parse(json).unwrap();
    assert_eq!(
        document.to_json(),
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:*","Resource":"*"}]}"#
    );
    assert!(
        PolicyAction::ALL
            .iter()
            .all(|action| document.statements[0].covers(*action))
    );
}

#[test]
fn the_older_version_is_kept_and_warned_of() {
    let json = r#"{"Version":"2008-10-17","Statement":[{"Effect":"Allow","Action":"iot:*","Resource":"*"}]}"#;
    let document = Document::parse(json).unwrap();
    assert_eq!(document.version, PolicyVersion::V2008);
    assert_eq!(document.to_json(), json);
    assert!(
        document.warnings()[0].starts_with("Version: `2008-10-17` takes variables for plain text")
    );
}

#[test]
fn size_counts_characters_without_white_space() {
    let document = Document::parse(FULL).unwrap();
    assert_eq!(
        size_of(FULL),
        FULL.chars().filter(|c| !c.is_whitespace()).count()
    );
    assert_eq!(document.size(), document.to_json().len());
    let long = Statement::allow(
        [PolicyAction::Publish],
        [format!("arn:{}", "é".repeat(2048))],
    );
    let error = Document::new(vec![long]).check_size().unwrap_err();
    assert!(error.to_string().starts_with("policy has 21"), "{error}");
    assert!(error.to_string().ends_with("the limit is 2048"), "{error}");
    document.check_size().unwrap();
}

#[test]
fn refused_documents_name_the_place_and_the_fix() {
    let statement = |body: &str| format!(r#"{{"Version":"2012-10-17","Statement":[{{{body}}}]}}"#);
    for (json, message, hint) in [
        ("{".to_owned(), "read policy document: EOF", None),
        (
            "[]".to_owned(),
            "policy value of `the document` is an empty list instead of an object",
            Some("an object"),
        ),
        (
            r#"{"Statement":[]}"#.to_owned(),
            "policy has no `Version` in the document",
            Some(r#"write `"Version": "2012-10-17"`"#),
        ),
        (
            r#"{"Version":"2024-01-01","Statement":[]}"#.to_owned(),
            "policy value of `Version` is `2024-01-01` instead of `2012-10-17`",
            Some("2012-10-17"),
        ),
        (
            statement(r#""Effect":"Deny","Effect":"Allow","Action":"iot:Publish","Resource":"*""#),
            "read policy document: the key `Effect` stands twice",
            None,
        ),
        (
            statement(r#""Effect":"Allow","Action":"iot:Publish","Resorce":"*""#),
            "policy has an unknown key `Resorce` in Statement[0]",
            Some("write `Resource`"),
        ),
        (
            statement(r#""Effect":"Allow","NotAction":"iot:Publish","Resource":"*""#),
            "policy has an unknown key `NotAction` in Statement[0]",
            Some("IoT policies have no `NotAction`"),
        ),
        (
            statement(r#""Effect":"Allow","Principal":"*","Action":"iot:Publish","Resource":"*""#),
            "unknown key `Principal`",
            Some("attached to"),
        ),
        (
            statement(r#""Effect":"allow","Action":"iot:Publish","Resource":"*""#),
            "policy value of `Statement[0].Effect` is `allow` instead of `Allow` or `Deny`",
            Some("`Allow` or `Deny`"),
        ),
        (
            statement(r#""Effect":"Allow","Action":"s3:GetObject","Resource":"*""#),
            "policy value of `Statement[0].Action` is `s3:GetObject` instead of an action that begins with `iot:`",
            Some("iot:"),
        ),
        (
            statement(r#""Effect":"Allow","Action":["iot:Publish",7],"Resource":"*""#),
            "policy value of `Statement[0].Action[1]` is `7` instead of a string",
            Some("a string"),
        ),
        (
            statement(r#""Effect":"Allow","Action":"iot:Publish","Resource":"topic/x""#),
            "policy value of `Statement[0].Resource` is `topic/x` instead of a resource name",
            Some("arn:"),
        ),
        (
            statement(r#""Effect":"Allow","Action":"iot:Publish","Resource":[]"#),
            "policy value of `Statement[0].Resource` is an empty list",
            Some("list of strings"),
        ),
        (
            statement(
                r#""Effect":"Allow","Action":"iot:Connect","Resource":"*","Condition":{"Bool":true}"#,
            ),
            "policy value of `Statement[0].Condition.Bool` is `true` instead of an object",
            Some("an object"),
        ),
    ] {
        let error = Document::parse(&json).unwrap_err();
        let text = chain(&error);
        assert!(text.contains(message), "{text}");
        match (hint, error.hint()) {
            (Some(part), Some(hint)) => assert!(hint.contains(part), "{hint}"),
            (None, None) => {}
            (expected, found) => panic!("{expected:?} {found:?}"),
        }
    }
}

#[test]
fn legal_but_doubtful_policies_are_warned_about() {
    let json = r#"{"Version":"2012-10-17","Statement":[
        {"Effect":"Allow","Action":"iot:publish","Resource":"*"},
        {"Effect":"Allow","Action":"iot:Subscribe","Resource":"arn:aws:iot:r:a:topic/x"},
        {"Effect":"Allow","Action":"iot:Publish","Resource":"arn:aws:iot:r:a:topic/a/+/b"},
        {"Effect":"Allow","Action":"iot:Connect","Resource":"arn:aws:iot:r:a:client/*"},
        {"Effect":"Allow","Action":"iot:Subscribe","Resource":"arn:aws:iot:r:a:topicfilter/${iot:ClientId}/x"},
        {"Effect":"Allow","Action":"iot:Connect","Resource":"arn:aws:iot:r:a:client/x",
         "Condition":{"NumericEquals":{"aws:CurrentTime":1}}}]}"#;
    let warnings = Document::parse(json).unwrap().warnings();
    for part in [
        "Statement[0].Action: `iot:publish` is no action; `iot:Publish` is",
        "Statement[1].Resource: `topic/` is not what iot:Subscribe is checked against; `topicfilter/` is",
        "Statement[2].Resource: `+` and `#` are literal in `topic/a/+/b`; write `*`",
        "Statement[3].Resource: `client/*` lets",
        "Statement[4].Resource: `${iot:ClientId}` in",
        "Statement[5].Condition: operator `NumericEquals` is not known here",
        "Statement[5].Condition: key `aws:CurrentTime` is not known here",
    ] {
        assert!(
            warnings.iter().any(|w| w.starts_with(part)),
            "{part}: {warnings:#?}"
        );
    }
    assert_eq!(warnings.len(), 7, "{warnings:#?}");
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(
        text in "\\PC{0,200}",
        value in r#"[\[\]{}",:a-zA-Z0-9*$ ]{0,40}"#,
    ) {
        let _ = Document::parse(&text);
        let around = format!(
            r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":{value},"Resource":{value}}}}}"#
        );
        if let Ok(document) = Document::parse(&around) {
            let _ = document.warnings();
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Document::parse(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn written_documents_are_read_back(
        resources in proptest::collection::vec("arn:[ -~]{0,30}", 1..4),
        deny in any::<bool>(),
        action in 0..5_usize,
    ) {
        let mut statement = Statement::allow([PolicyAction::ALL[action]], resources);
        if deny {
            statement = statement.denying();
        }
        let document = Document::new(vec![statement]);
        prop_assert_eq!(Document::parse(&document.to_json()).unwrap(), document);
    }
}
