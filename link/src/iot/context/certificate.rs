//! The values of `iot:Certificate.…` (AWS IoT developer guide, "X.509 Certificate AWS IoT Core policy variables").
//!
//! A name with several values gives its first; `.1` gives the second, and so on; `.List` gives all. At most five count.
//! A value with a wildcard character, or of more than 1 024 characters, is not put in the variable's place.

use super::{Certificate, UnknownReason, VariableValue, is_special};

// === impl Certificate ===

impl Certificate {
    /// What follows `iot:Certificate.`: `Subject.CommonName`, `Subject.CommonName.1`, `Issuer.Country.List`.
    pub(super) fn value(&self, name: &str) -> VariableValue {
        let Some((attribute, part)) = split(name) else {
            return VariableValue::Unknown(UnknownReason::Unlisted);
        };
        let Some(values) = self.attributes.get(attribute).filter(|all| !all.is_empty()) else {
            return VariableValue::Unknown(UnknownReason::Unset);
        };
        let counted = &values[..values.len().min(VALUES)];
        match part {
            Part::All => match counted.iter().find_map(|value| unusable(value)) {
                Some(reason) => VariableValue::Unknown(reason),
                None => VariableValue::Many(counted.to_vec()),
            },
            Part::At(index) => match counted.get(index) {
                // Documented: no substitution is made and authorization fails.
                None => VariableValue::Absent,
                Some(value) => match unusable(value) {
                    Some(reason) => VariableValue::Unknown(reason),
                    None => VariableValue::One(value.clone()),
                },
            },
        }
    }
}

#[derive(Clone, Copy)]
enum Part {
    At(usize),
    All,
}

fn split(name: &str) -> Option<(&str, Part)> {
    if name == "SerialNumber" || is_listed(name) {
        return Some((name, Part::At(0)));
    }
    let (attribute, suffix) = name.rsplit_once('.')?;
    let part = match suffix {
        "List" => Part::All,
        // One digit: an index of two is beyond the five that count, and how `01` is read is not documented.
        digit if digit.len() == 1 => Part::At(digit.parse().ok()?),
        _ => return None,
    };
    is_listed(attribute).then_some((attribute, part))
}

fn is_listed(name: &str) -> bool {
    let Some((of, attribute)) = name.split_once('.') else {
        return false;
    };
    let listed = match attribute.strip_prefix("AlternativeName.") {
        Some(alternative) => ALTERNATIVES.contains(&alternative),
        None => NAMES.contains(&attribute),
    };
    listed && matches!(of, "Subject" | "Issuer")
}

fn unusable(value: &str) -> Option<UnknownReason> {
    if is_special(value) {
        return Some(UnknownReason::Wildcard);
    }
    (value.chars().count() > LONGEST).then_some(UnknownReason::Long)
}

const VALUES: usize = 5;

const LONGEST: usize = 1024;

const NAMES: &[&str] = &[
    "DistinguishedNameQualifier",
    "Country",
    "Organization",
    "OrganizationalUnit",
    "State",
    "CommonName",
    "SerialNumber",
    "Title",
    "Surname",
    "GivenName",
    "Initials",
    "Pseudonym",
    "GenerationQualifier",
];

const ALTERNATIVES: &[&str] = &[
    "RFC822Name",
    "DNSName",
    "DirectoryName",
    "UniformResourceIdentifier",
    "IPAddress",
];
