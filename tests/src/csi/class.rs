//! A `SecretProviderClass` of the AWS provider, and the part of JMESPath that such classes use: names joined by dots,
//! in double quotes where they hold other signs than letters, digits and underscores.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

/// What to mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderClass {
    /// Its namespace, which is the pod's.
    pub namespace: String,
    /// The secrets.
    pub objects: Vec<Object>,
}

/// One secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its name in Secrets Manager.
    pub name: String,
    /// Which part of it becomes which file.
    pub paths: Vec<(Path, String)>,
}

/// A path into a JSON object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(Vec<String>);

/// A class that the provider would not take.
#[derive(Debug, thiserror::Error)]
pub enum ProviderClassError {
    /// It is no such manifest.
    #[error("read a SecretProviderClass")]
    Manifest(#[source] serde_saphyr::Error),
    /// `spec.parameters.objects` is no list of objects.
    #[error("read `spec.parameters.objects`")]
    Objects(#[source] serde_saphyr::Error),
    /// The pod's role is not asked for.
    #[error("`usePodIdentity` is not \"true\", or `provider` is not aws")]
    Provider,
    /// Beyond the part of JMESPath that is understood.
    #[error("JMESPath `{0}` is more than names joined by dots")]
    Path(String),
}

// === impl ProviderClass ===

impl ProviderClass {
    /// Reads a manifest.
    ///
    /// # Errors
    /// See [`ProviderClassError`].
    pub fn parse(manifest: &str) -> Result<Self, ProviderClassError> {
        let manifest: Manifest =
            serde_saphyr::from_str(manifest).map_err(ProviderClassError::Manifest)?;
        let Spec {
            provider,
            parameters,
        } = manifest.spec;
        if provider != "aws" || parameters.use_pod_identity != "true" {
            return Err(ProviderClassError::Provider);
        }
        let objects: Vec<Entry> =
            serde_saphyr::from_str(&parameters.objects).map_err(ProviderClassError::Objects)?;
        let objects = objects.into_iter().map(Entry::object);
        Ok(Self {
            namespace: manifest.metadata.namespace,
            objects: objects.collect::<Result<_, _>>()?,
        })
    }

    /// The names of the files that the class asks for by name, in its order.
    pub fn files(&self) -> Vec<&str> {
        let paths = self.objects.iter().flat_map(|object| &object.paths);
        paths.map(|(_, alias)| alias.as_str()).collect()
    }
}

// === impl Entry ===

impl Entry {
    fn object(self) -> Result<Object, ProviderClassError> {
        let paths = self.jmes_path.into_iter().map(|one| {
            let path = Path::parse(&one.path).ok_or(ProviderClassError::Path(one.path))?;
            Ok((path, one.object_alias))
        });
        Ok(Object {
            name: self.object_name,
            paths: paths.collect::<Result<_, _>>()?,
        })
    }
}

// === impl Path ===

impl Path {
    /// `None` for what is not understood.
    pub fn parse(text: &str) -> Option<Self> {
        let mut names = Vec::new();
        let mut rest = text.trim();
        loop {
            let name;
            (name, rest) = match rest.strip_prefix('"') {
                Some(_) => quoted(rest)?,
                None => bare(rest)?,
            };
            names.push(name);
            match rest.strip_prefix('.') {
                Some(more) => rest = more,
                None if rest.is_empty() => return Some(Self(names)),
                None => return None,
            }
        }
    }

    /// The text at this path. The provider mounts nothing but texts.
    pub fn find<'a>(&self, value: &'a Value) -> Option<&'a str> {
        let found = self.0.iter().try_fold(value, |value, name| value.get(name));
        found?.as_str()
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

/// A name in quotes, which are JSON's, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut texts = serde_json::Deserializer::from_str(text).into_iter::<String>();
    let name = texts.next()?.ok()?;
    let end = texts.byte_offset();
    Some((name, text.get(end..)?))
}

fn bare(text: &str) -> Option<(String, &str)> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let end = text.find(|c| !plain(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    begins.then(|| (name.to_owned(), rest))
}

#[derive(Deserialize)]
struct Manifest {
    metadata: Metadata,
    spec: Spec,
}

#[derive(Deserialize)]
struct Metadata {
    namespace: String,
}

#[derive(Deserialize)]
struct Spec {
    provider: String,
    parameters: Parameters,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parameters {
    use_pod_identity: String,
    objects: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    object_name: String,
    #[serde(default)]
    jmes_path: Vec<Part>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    path: String,
    object_alias: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_are_names_plain_or_quoted() {
        let value = json!({ "a": { "b-c.d": "deep" }, "port": 5432 });
        let find =
            |text: &str| Path::parse(text).and_then(|path| path.find(&value).map(str::to_owned));
        assert_eq!(find(r#"a."b-c.d""#).as_deref(), Some("deep"));
        assert_eq!(find("port"), None, "a number is not mounted");
        for odd in ["", "a.", "a[0]", "b-c", "a || b", "\"a"] {
            assert_eq!(Path::parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_class_without_pod_identity_is_refused() {
        let manifest = |identity: &str| {
            format!(
                "metadata: {{namespace: n}}\nspec:\n  provider: aws\n  parameters:\n    \
                 usePodIdentity: \"{identity}\"\n    objects: |\n      - objectName: s\n        \
                 jmesPath: [{{path: '\"a-b\"', objectAlias: f}}]\n"
            )
        };
        let class = ProviderClass::parse(&manifest("true")).unwrap();
        assert_eq!(class.files(), ["f"]);
        let refused = ProviderClass::parse(&manifest("false"));
        assert!(
            matches!(refused, Err(ProviderClassError::Provider)),
            "{refused:?}"
        );
    }
}
