//! An answer as the Query protocol has it: XML in which only elements and their texts mean something.
//!
//! Attributes, namespaces and elements that nobody asks for are passed over, so that AWS can add to its answers.

use std::fmt::{self, Display};
use std::str::FromStr;

use roxmltree::{Document, Node, ParsingOptions};

/// An element with the elements in it, or its text.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Element {
    name: String,
    text: String,
    children: Vec<Element>,
}

/// The answer is not what the protocol says. Names elements and never quotes a whole answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer could not be read: {0}")]
pub(crate) struct Malformed(String);

// === impl Element ===

impl Element {
    /// The root of a document.
    ///
    /// # Errors
    /// It is not UTF-8, not XML, has a document type, or is larger or deeper than any answer.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let malformed = |why: &dyn Display| Malformed(why.to_string());
        let text = std::str::from_utf8(body).map_err(|error| malformed(&error))?;
        let limits = ParsingOptions {
            nodes_limit: MAX_NODES,
            ..ParsingOptions::default()
        };
        let document =
            Document::parse_with_options(text, limits).map_err(|error| malformed(&error))?;
        Self::of(document.root_element(), MAX_DEPTH)
    }

    fn of(node: Node<'_, '_>, deeper: usize) -> Result<Self, Malformed> {
        let Some(deeper) = deeper.checked_sub(1) else {
            return Err(Malformed("its elements are nested too deep".to_owned()));
        };
        let texts = node.children().filter(Node::is_text);
        let children = node.children().filter(Node::is_element);
        Ok(Self {
            name: node.tag_name().name().to_owned(),
            text: texts.filter_map(|text| text.text()).collect(),
            children: children
                .map(|child| Self::of(child, deeper))
                .collect::<Result<_, _>>()?,
        })
    }

    /// This element, if it has the name.
    ///
    /// # Errors
    /// It has another.
    pub(crate) fn expect_name(&self, name: &str) -> Result<&Self, Malformed> {
        if self.name == name {
            return Ok(self);
        }
        Err(Malformed(format!("`{}` instead of `{name}`", self.name)))
    }

    /// The first element of that name in this one.
    pub(crate) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The same where it has to be there.
    ///
    /// # Errors
    /// It is not.
    pub(crate) fn required(&self, name: &str) -> Result<&Self, Malformed> {
        self.child(name)
            .ok_or_else(|| Malformed(format!("`{}` has no `{name}`", self.name)))
    }

    /// Whether there is any element in it.
    pub(crate) fn has_children(&self) -> bool {
        !self.children.is_empty()
    }

    /// The text of an element in this one.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.child(name).map(|child| child.text.clone())
    }

    /// A number, `true` or `false` in an element in this one.
    ///
    /// # Errors
    /// It is there and is none.
    pub(crate) fn value<T: FromStr>(&self, name: &str) -> Result<Option<T>, Malformed> {
        let Some(child) = self.child(name) else {
            return Ok(None);
        };
        let value = child.text.trim().parse();
        value.map(Some).map_err(|_| {
            let kind = std::any::type_name::<T>();
            Malformed(format!("`{name}` in `{}` is no {kind}", self.name))
        })
    }

    /// The items of the list `name` in this element; none when there is no such list.
    pub(crate) fn items<'a>(
        &'a self,
        name: &str,
        item: &'a str,
    ) -> impl Iterator<Item = &'a Self> + use<'a> {
        let list = self.child(name).map(|list| list.children.as_slice());
        let items = list.unwrap_or_default().iter();
        items.filter(move |child| child.name == item)
    }

    /// The same, read with `read`.
    ///
    /// # Errors
    /// The first that `read` cannot read.
    pub(crate) fn read_items<T>(
        &self,
        name: &str,
        item: &str,
        read: impl Fn(&Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        self.items(name, item).map(read).collect()
    }

    /// The same for items that are texts.
    pub(crate) fn texts(&self, name: &str, item: &str) -> Vec<String> {
        let items = self.items(name, item);
        items.map(|item| item.text.clone()).collect()
    }
}

/// Its name only: what is in it may be anything.
impl fmt::Debug for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.name)
    }
}

// A page of a thousand security groups with a hundred rules each has fewer.
const MAX_NODES: u32 = 4_000_000;
// The deepest answer has a dozen.
const MAX_DEPTH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Element {
        Element::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn texts_values_and_lists_are_read_and_the_rest_is_passed_over() {
        let root = parsed(
            r#"<?xml version="1.0" encoding="UTF-8"?>
            <R xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
                <new attribute="x"><thing/></new>
                <name>a &amp; b &#x263A;<![CDATA[ <c>]]></name>
                <size> 20 </size> <on>true</on>
                <set><item>1</item><other/><item>2</item></set>
                <empty/>
            </R>"#,
        );
        assert_eq!(root.text("name").as_deref(), Some("a & b \u{263a} <c>"));
        assert_eq!(root.value("size"), Ok(Some(20)));
        assert_eq!(root.value("on"), Ok(Some(true)));
        assert_eq!(root.value::<bool>("off"), Ok(None));
        assert_eq!(root.texts("set", "item"), ["1", "2"]);
        assert!(root.texts("empty", "item").is_empty());
        assert!(root.texts("missing", "item").is_empty());
        assert_eq!(root.text("empty").as_deref(), Some(""));
        assert!(root.child("new").is_some_and(Element::has_children));
    }

    #[test]
    fn what_cannot_be_read_is_named_and_not_quoted() {
        let root = parsed("<R><size>hunter2</size></R>");
        let words = root.value::<i32>("size").unwrap_err().to_string();
        assert_eq!(
            words,
            "the answer could not be read: `size` in `R` is no i32"
        );
        let words = root.required("set").unwrap_err().to_string();
        assert!(words.ends_with("`R` has no `set`"), "{words}");
        assert!(root.expect_name("R").is_ok());
        assert!(root.expect_name("S").is_err());
        assert_eq!(format!("{root:?}"), "<R>");
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for text in ["", "{}", "<R>", "<!DOCTYPE html [<!ENTITY a \"b\">]><R/>"] {
            assert!(Element::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Element::parse(b"<R>\xff</R>").is_err());
        let nested = |depth| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
        assert!(Element::parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert!(Element::parse(nested(MAX_DEPTH + 1).as_bytes()).is_err());
    }
}
