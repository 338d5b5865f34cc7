//! A request as the Query protocol has it: a form of names and texts, lists spelled out with numbers from 1.
//!
//! EC2 writes its lists flat (`GroupId.1`), RDS with the name of an item (`SubnetIds.SubnetIdentifier.1`). A list
//! without items is not in the form.

use std::fmt::{self, Display};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What is asked for, and with which parameters.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct QueryRequest {
    action: &'static str,
    params: Vec<(String, String)>,
}

// === impl QueryRequest ===

impl QueryRequest {
    /// `action` is the operation's name, such as `DescribeVpcs`.
    pub(crate) fn new(action: &'static str) -> Self {
        let params = Vec::new();
        Self { action, params }
    }

    pub(crate) fn action(&self) -> &'static str {
        self.action
    }

    /// Adds a text, a number, `true` or `false`.
    #[must_use]
    pub(crate) fn with(mut self, name: impl Into<String>, value: impl Display) -> Self {
        self.params.push((name.into(), value.to_string()));
        self
    }

    /// Adds what is there.
    #[must_use]
    pub(crate) fn maybe(self, name: impl Into<String>, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Adds `name.1`, `name.2` and so on.
    #[must_use]
    pub(crate) fn list(self, name: &str, items: impl IntoIterator<Item = impl Display>) -> Self {
        self.each(name, items, |request, name, item| request.with(name, item))
    }

    /// Adds whatever `add` makes of every item and its name, `name.1`, `name.2` and so on.
    #[must_use]
    pub(crate) fn each<T>(
        self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        add: impl Fn(Self, String, T) -> Self,
    ) -> Self {
        let numbered = (1_usize..).zip(items);
        numbered.fold(self, |request, (number, item)| {
            add(request, format!("{name}.{number}"), item)
        })
    }

    /// Adds tags as a list called `name`.
    #[must_use]
    pub(crate) fn tags<'a>(
        self,
        name: &str,
        tags: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        self.each(name, tags, |request, name, (key, value)| {
            let request = request.with(format!("{name}.Key"), key);
            request.with(format!("{name}.Value"), value)
        })
    }

    /// The body of the request.
    pub(crate) fn form(&self, version: &str) -> String {
        let mut form = format!("Action={}&Version={version}", self.action);
        for (name, value) in &self.params {
            let value = utf8_percent_encode(value, ESCAPED);
            form.push_str(&format!("&{name}={value}"));
        }
        form
    }
}

/// Names only: a value may be a password.
impl fmt::Debug for QueryRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.params.iter().map(|(name, _)| name);
        f.write_str(self.action)?;
        f.debug_set().entries(names).finish()
    }
}

// All but what RFC 3986 calls unreserved.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_count_from_one_and_values_are_escaped() {
        let request = QueryRequest::new("Do")
            .with("Yes", true)
            .with("Port", 5432)
            .maybe("Not", None::<&str>)
            .list("Id", ["a", "b"])
            .list("None", [] as [&str; 0])
            .tags("Tags.Tag", [("a:b", "x y+z&ü=~-._*")]);
        assert_eq!(
            request.form("2016-11-15"),
            "Action=Do&Version=2016-11-15&Yes=true&Port=5432&Id.1=a&Id.2=b\
             &Tags.Tag.1.Key=a%3Ab&Tags.Tag.1.Value=x%20y%2Bz%26%C3%BC%3D~-._%2A"
        );
    }

    #[test]
    fn no_value_is_in_a_trace() {
        let request = QueryRequest::new("Do").with("MasterUserPassword", "hunter2");
        assert_eq!(format!("{request:?}"), r#"Do{"MasterUserPassword"}"#);
    }
}
