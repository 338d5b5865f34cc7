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

fn one(text: &str) -> Value {
    Value::One(text.to_owned())
}

#[test]
fn certificate_values_are_counted_from_zero_up_to_five() {
    let context = with("Subject.CommonName", &["a", "b", "c", "d", "e", "f"]);
    let value =
        |suffix: &str| context.value(&format!("iot:Certificate.Subject.CommonName{suffix}"));
    assert_eq!(value(""), one("a"));
    assert_eq!(value(".0"), one("a"));
    assert_eq!(value(".4"), one("e"));
    assert_eq!(value(".5"), Value::Absent);
    assert_eq!(value(".9"), Value::Absent);
    let five = ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
    assert_eq!(value(".List"), Value::Many(five));
    for odd in [".10", ".01", ".-1", ".list", ".", ".1.List"] {
        assert_eq!(value(odd), Value::Unknown(Doubt::Unlisted), "{odd}");
    }
}

#[test]
fn certificate_values_that_aws_does_not_replace_are_unknown() {
    let longest = "x".repeat(1024);
    let name = "iot:Certificate.Issuer.Organization";
    let value = |text: &str| with("Issuer.Organization", &[text]).value(name);
    assert_eq!(value(&longest), one(&longest));
    assert_eq!(value(&"x".repeat(1025)), Value::Unknown(Doubt::Long));
    assert_eq!(value("a*"), Value::Unknown(Doubt::Wildcard));
    assert_eq!(value("a?"), Value::Unknown(Doubt::Wildcard));
    let list = with("Issuer.Organization", &["a", "b*"]);
    assert_eq!(list.value(name), one("a"));
    let all = list.value("iot:Certificate.Issuer.Organization.List");
    assert_eq!(all, Value::Unknown(Doubt::Wildcard));
    let missing = list.value("iot:Certificate.Subject.Organization");
    assert_eq!(missing, Value::Unknown(Doubt::Unset));
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
            Value::Unknown(Doubt::Unlisted),
            "{name}"
        );
    }
    for name in ["aws:SourceIp", "iot:CertificateId", "iot:DomainName"] {
        assert_eq!(context.value(name), Value::Unknown(Doubt::Unseen), "{name}");
    }
    let thing = context.value("iot:Connection.Thing.Attributes[site]");
    assert_eq!(thing, Value::Absent);
}

#[test]
fn a_mapped_address_is_the_one_it_stands_for() {
    let mut context = Context::new(ArnPrefix::default(), "c");
    context.source_ip = "::ffff:10.1.2.3".parse().ok();
    assert_eq!(context.value("aws:SourceIp"), one("10.1.2.3"));
}
