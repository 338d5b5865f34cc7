//! What variables stand for, at the limits that AWS documents.

use super::*;

fn with(attribute: &str, values: &[&str]) -> Context {
    let mut context = Context::new(ArnPrefix::default(), "c");
    let values = values.iter().map(|&value| value.to_owned()).collect();
    context
        .certificate
        .attributes
        .insert(attribute.to_owned(), values);
    context
}

fn one(text: &str) -> VariableValue {
    VariableValue::One(text.to_owned())
}

#[test]
fn certificate_values_are_counted_from_zero_up_to_five() {
    let context = with("Subject.CommonName", &["a", "b", "c", "d", "e", "f"]);
    let value =
        |suffix: &str| context.value(&format!("iot:Certificate.Subject.CommonName{suffix}"));
    assert_eq!(value(""), one("a"));
    assert_eq!(value(".0"), one("a"));
    assert_eq!(value(".4"), one("e"));
    assert_eq!(value(".5"), VariableValue::Absent);
    assert_eq!(value(".9"), VariableValue::Absent);
    let five = ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
    assert_eq!(value(".List"), VariableValue::Many(five));
    for odd in [".10", ".01", ".-1", ".list", ".", ".1.List"] {
        assert_eq!(
            value(odd),
            VariableValue::Unknown(UnknownReason::Unlisted),
            "{odd}"
        );
    }
}

#[test]
fn certificate_values_that_aws_does_not_replace_are_unknown() {
    let longest = "x".repeat(1024);
    let name = "iot:Certificate.Issuer.Organization";
    let value = |text: &str| with("Issuer.Organization", &[text]).value(name);
    assert_eq!(value(&longest), one(&longest));
    assert_eq!(
        value(&"x".repeat(1025)),
        VariableValue::Unknown(UnknownReason::Long)
    );
    assert_eq!(value("a*"), VariableValue::Unknown(UnknownReason::Wildcard));
    assert_eq!(value("a?"), VariableValue::Unknown(UnknownReason::Wildcard));
    let list = with("Issuer.Organization", &["a", "b*"]);
    assert_eq!(list.value(name), one("a"));
    let all = list.value("iot:Certificate.Issuer.Organization.List");
    assert_eq!(all, VariableValue::Unknown(UnknownReason::Wildcard));
    let missing = list.value("iot:Certificate.Subject.Organization");
    assert_eq!(missing, VariableValue::Unknown(UnknownReason::Unset));
}

#[test]
fn only_documented_names_have_values() {
    let context = Context::new(ArnPrefix::default(), "c");
    for name in [
        "iot:clientid",
        "iot:Nothing",
        "iot:Thing.ThingName",
        "iot:Connection.Thing.Name",
        "iot:Connection.Thing.Attributes[site",
        "iot:Certificate.AvailableKeys",
        "iot:Certificate.Subject.commonname",
        "iot:Certificate.Subject.AlternativeName.Email",
        "aws:CurrentTime",
        "iot:ClientId, 'x'",
    ] {
        assert_eq!(
            context.value(name),
            VariableValue::Unknown(UnknownReason::Unlisted),
            "{name}"
        );
    }
    for name in ["aws:SourceIp", "iot:CertificateId", "iot:DomainName"] {
        assert_eq!(
            context.value(name),
            VariableValue::Unknown(UnknownReason::Unseen),
            "{name}"
        );
    }
    let thing = context.value("iot:Connection.Thing.Attributes[site]");
    assert_eq!(thing, VariableValue::Absent);
}

#[test]
fn a_mapped_address_is_the_one_it_stands_for() {
    let mut context = Context::new(ArnPrefix::default(), "c");
    context.source_ip = "::ffff:10.1.2.3".parse().ok();
    assert_eq!(context.value("aws:SourceIp"), one("10.1.2.3"));
}
