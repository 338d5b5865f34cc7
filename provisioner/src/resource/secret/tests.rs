use aws_sdk_secretsmanager::types::Tag;
use serde_json::json;

use super::super::compare;

use super::*;

fn secret() -> Secret {
    let text = |text: &str| Content::Text(text.to_owned());
    Secret {
        scope: Scope::Region,
        name: "maestro/db-credentials".into(),
        tags: Tags::new("r1", &BTreeMap::new()),
        description: "Credentials".into(),
        kms_key: None,
        recovery_days: 0,
        content: BTreeMap::from([
            ("username".into(), text("maestro_admin")),
            ("password".into(), Content::Password(32)),
            ("host".into(), Content::DatabaseHost),
            ("port".into(), Content::DatabasePort),
            (
                "config".into(),
                Content::WithEndpoint("brokerHost: \"{endpoint}:8883\"".into()),
            ),
        ]),
    }
}

fn facts() -> Facts {
    Facts {
        endpoint: Some("a1-ats.iot.eu-west-1.amazonaws.com".into()),
        security_group: None,
        database: Some(("db.example".into(), 5432)),
        database_resource: None,
    }
}

fn about() -> DescribeSecretOutput {
    let mark = Tag::builder().key("provisioner:region").value("r1").build();
    DescribeSecretOutput::builder()
        .arn("arn:aws:secretsmanager:eu-west-1:111122223333:secret:maestro/db-credentials-AbCdEf")
        .description("Credentials")
        .tags(mark)
        .build()
}

fn json_of(stored: &SecretValue) -> Value {
    serde_json::from_str(&stored.to_json("a").unwrap()).unwrap()
}

#[test]
fn a_new_value_has_every_key_and_a_password() {
    let value = json_of(&SecretValue::Nothing.completed(&secret().content, &Facts::default()));
    let password = value["password"].as_str().unwrap().to_owned();
    assert_eq!(password.len(), 32);
    assert!(
        password
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric())
    );
    let rest = json!({
        "username": "maestro_admin", "password": password, "host": "", "port": "", "config": "",
    });
    assert_eq!(value, rest);
}

#[test]
fn a_later_write_keeps_the_password_and_unknown_keys() {
    let before = r#"{"username":"old","password":"KEEP","host":"","extra":"mine"}"#;
    let stored = SecretValue::parse(Some(before)).completed(&secret().content, &facts());
    assert_eq!(
        json_of(&stored),
        json!({
            "username": "maestro_admin", "password": "KEEP", "host": "db.example", "port": "5432", "extra": "mine",
            "config": "brokerHost: \"a1-ats.iot.eu-west-1.amazonaws.com:8883\"",
        })
    );
}

#[test]
fn what_is_not_known_now_is_not_taken_away() {
    let stored = SecretValue::parse(Some(r#"{"host":"db.example"}"#));
    let value = json_of(&stored.completed(&secret().content, &Facts::default()));
    assert_eq!(value["host"], "db.example");
}

#[test]
fn attributes_wanted_and_observed_have_the_same_names_and_no_password() {
    let stored = SecretValue::Nothing.completed(&secret().content, &facts());
    let password = stored.text("password").unwrap().to_owned();
    let observed = secret().observed(&about(), &stored);
    let wanted = secret().wanted(&Cloud::default(), &facts());
    let names = |map: Vec<&String>| map.into_iter().cloned().collect::<Vec<_>>();
    assert_eq!(
        names(wanted.keys().collect()),
        names(observed.attributes.keys().collect())
    );
    assert_eq!(compare(&wanted, &observed.attributes), (vec![], vec![]));
    assert_eq!(observed.owner, Owner::Ours);
    assert!(!format!("{observed:?} {stored:?}").contains(&password));
}

#[test]
fn what_the_database_tells_comes_later() {
    let stored = SecretValue::Nothing.completed(&secret().content, &Facts::default());
    let observed = secret().observed(&about(), &stored);
    let wanted = secret().wanted(&Cloud::default(), &Facts::default());
    let (differences, later) = compare(&wanted, &observed.attributes);
    assert_eq!(differences, vec![]);
    let later: Vec<_> = later
        .iter()
        .map(|(name, what)| (name.as_str(), *what))
        .collect();
    assert_eq!(
        later,
        [
            ("content.config", "the endpoint"),
            ("content.host", "the database"),
            ("content.port", "the database")
        ]
    );
}

#[test]
fn a_port_that_is_a_number_is_put_right() {
    let stored = SecretValue::parse(Some(r#"{"port":5432}"#));
    let have = stored.observed("port", &Content::DatabasePort);
    assert_eq!(have, json!(5432));
    assert_eq!(
        Content::DatabasePort.wanted(&facts()),
        DesiredValue::Known("5432".into())
    );
}

#[test]
fn a_missing_password_of_an_existing_secret_is_told() {
    let difference = Difference {
        attribute: "content.password".into(),
        have: Value::Null,
        want: "set".into(),
    };
    assert!(matches!(secret().change(&difference), Change::Disrupts(_)));
}

#[test]
fn unknown_keys_are_noted_by_name() {
    let stored = SecretValue::parse(Some(r#"{"extra":"VALUE"}"#));
    let observed = secret().observed(&about(), &stored);
    assert_eq!(
        observed.notes[0].text,
        "holds keys that are not in the file: extra"
    );
    assert!(!format!("{observed:?}").contains("VALUE"));
}

#[test]
fn a_value_that_is_no_object_is_not_overwritten() {
    for text in [Some("secret"), Some("[1]"), None] {
        let observed = secret().observed(&about(), &SecretValue::parse(text));
        assert!(matches!(observed.state, State::Broken { .. }));
    }
}

#[test]
fn a_value_over_the_limit_is_refused_before_the_call() {
    let mut secret = secret();
    let long = Content::Text("x".repeat(65_536));
    secret.content.insert("config".into(), long);
    let value = SecretValue::Nothing.completed(&secret.content, &facts());
    assert_eq!(value.to_json("a").unwrap_err().kind(), AwsErrorKind::Limit);
}

#[test]
fn ours_in_recovery_is_absent_and_another_keeps_the_name() {
    assert_eq!(secret().in_recovery(&about()), None);
    let other = DescribeSecretOutput::builder().build();
    let observed = secret().in_recovery(&other).unwrap();
    assert_eq!(observed.owner, Owner::Nobody);
    assert!(matches!(observed.state, State::Broken { .. }));
}

#[test]
fn another_user_than_the_database_has_is_told() {
    let change = |attribute: &str, have: &str| {
        secret().change(&Difference {
            attribute: attribute.into(),
            have: have.into(),
            want: "maestro_admin".into(),
        })
    };
    assert!(matches!(
        change("content.username", "maestro"),
        Change::Impossible { .. }
    ));
    // Nobody had one before, and a host is where it is.
    assert_eq!(change("content.username", ""), Change::Quiet);
    assert_eq!(change("content.host", "db.example"), Change::Quiet);
}
