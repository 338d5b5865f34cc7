//! The value of a secret: read, compared and completed, and never printed.

use std::collections::BTreeMap;
use std::fmt;

use rand::distr::{Alphanumeric, SampleString};
use serde_json::{Map, Value};

use crate::aws::{AwsError, AwsErrorKind};

use super::super::{DesiredValue, Facts, SENSITIVE};
use super::Content;

/// What is stored under a secret's name. `Debug` shows the keys only.
pub(crate) enum SecretValue {
    /// No value yet.
    Nothing,
    /// Something other than a JSON object.
    Opaque,
    /// A JSON object.
    Object(Map<String, Value>),
}

impl Content {
    /// What the attribute of this key should be. Of a password only that there is one.
    pub(super) fn wanted(&self, facts: &Facts) -> DesiredValue {
        if matches!(self, Self::Password(_)) {
            return DesiredValue::Known(SENSITIVE.into());
        }
        match (self.text(facts), self) {
            (Some(text), _) => DesiredValue::Known(text.into()),
            (None, Self::WithEndpoint(_)) => DesiredValue::After("the endpoint"),
            (None, _) => DesiredValue::After("the database"),
        }
    }

    /// The text, as far as it is known; none for a password.
    fn text(&self, facts: &Facts) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::WithEndpoint(text) => {
                let endpoint = facts.endpoint.as_ref()?;
                Some(text.replace("{endpoint}", endpoint))
            }
            Self::DatabaseHost => Some(facts.database.as_ref()?.0.clone()),
            Self::DatabasePort => Some(facts.database.as_ref()?.1.to_string()),
            Self::Password(_) => None,
        }
    }
}

// === impl SecretValue ===

impl SecretValue {
    /// From the text that Secrets Manager gives; none for a binary value.
    pub(crate) fn parse(text: Option<&str>) -> Self {
        let object = text.and_then(|text| serde_json::from_str(text).ok());
        object.map_or(Self::Opaque, Self::Object)
    }

    /// The text under a key, if it is one and not empty.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str().filter(|text| !text.is_empty())
    }

    /// The attribute of a key: its value, or whether there is a password.
    pub(super) fn observed(&self, key: &str, content: &Content) -> Value {
        match content {
            Content::Password(_) => self.text(key).map(|_| SENSITIVE).into(),
            _ => self.get(key).cloned().unwrap_or_default(),
        }
    }

    /// Names of the keys that the file does not name.
    pub(super) fn unknown(&self, content: &BTreeMap<String, Content>) -> Vec<&str> {
        let Self::Object(object) = self else {
            return Vec::new();
        };
        let keys = object.keys().map(String::as_str);
        keys.filter(|key| !content.contains_key(*key)).collect()
    }

    /// With every key of `content`: what is known is written, what is not known yet and absent becomes an empty text,
    /// a password that is missing is made, and everything else stays.
    pub(super) fn completed(self, content: &BTreeMap<String, Content>, facts: &Facts) -> Self {
        let mut object = match self {
            Self::Object(object) => object,
            Self::Nothing | Self::Opaque => Map::new(),
        };
        for (key, content) in content {
            let present = object.get(key).and_then(Value::as_str);
            let text = match content {
                Content::Password(letters) => match present.filter(|text| !text.is_empty()) {
                    Some(_) => continue,
                    None => password(*letters),
                },
                _ => match content.text(facts) {
                    Some(text) => text,
                    None if present.is_some() => continue,
                    None => String::new(),
                },
            };
            object.insert(key.clone(), text.into());
        }
        Self::Object(object)
    }

    /// The text to store.
    ///
    /// # Errors
    /// [`AwsErrorKind::Limit`] if Secrets Manager would refuse it for its length.
    pub(super) fn to_json(&self, name: &str) -> Result<String, AwsError> {
        let text = match self {
            Self::Object(object) => Value::Object(object.clone()).to_string(),
            Self::Nothing | Self::Opaque => "{}".to_owned(),
        };
        if text.len() > LARGEST {
            let why = format!("its value has {} bytes, {LARGEST} is the most", text.len());
            return Err(AwsError::new(
                AwsErrorKind::Limit,
                "secretsmanager:PutSecretValue",
                name,
                why,
            ));
        }
        Ok(text)
    }

    fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Self::Object(object) => object.get(key),
            Self::Nothing | Self::Opaque => None,
        }
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("Nothing"),
            Self::Opaque => f.write_str("Opaque"),
            Self::Object(object) => f.debug_set().entries(object.keys()).finish(),
        }
    }
}

/// Letters and digits only: RDS forbids `/`, `"`, `@` and spaces, and everything else needs no quoting anywhere.
/// The generator is the operating system's, stretched by a stream cipher.
fn password(letters: usize) -> String {
    Alphanumeric.sample_string(&mut rand::rng(), letters)
}

// Bytes of a secret's value (Secrets Manager quotas).
const LARGEST: usize = 65_536;
