//! XML as JSON, for the services whose answers moto gives in nothing else: EC2, and RDS, where its JSON fails on dates.

use roxmltree::{Document, Node};
use serde_json::{Map, Value};

/// The document's root as JSON: an element without elements is its text, one with [`ITEMS`] of one name only an array,
/// every other an object. An empty list cannot be told from an empty text, so both are null.
///
/// # Errors
/// When it is not XML.
pub(super) fn to_json(text: &str) -> Result<Value, roxmltree::Error> {
    Ok(value(Document::parse(text)?.root_element()))
}

fn value(node: Node<'_, '_>) -> Value {
    let children: Vec<_> = node.children().filter(Node::is_element).collect();
    if children.is_empty() {
        return node.text().map_or(Value::Null, Value::from);
    }
    let name = children[0].tag_name().name();
    let alike = children.iter().all(|child| child.tag_name().name() == name);
    // `CreateDBInstanceResult` holds one `DBInstance`, and is no list.
    if alike && ITEMS.contains(&name) && !node.tag_name().name().ends_with("Result") {
        return children.into_iter().map(value).collect();
    }
    let named = children
        .into_iter()
        .map(|child| (child.tag_name().name().to_owned(), value(child)));
    Value::Object(named.collect::<Map<_, _>>())
}

// The elements of lists in EC2 and RDS, as far as the harness reads them.
const ITEMS: &[&str] = &[
    "item",
    "member",
    "DBInstance",
    "DBParameterGroup",
    "DBSnapshot",
    "DBSubnetGroup",
    "Parameter",
    "Subnet",
    "Tag",
    "VpcSecurityGroupMembership",
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_objects_and_texts_are_told_apart() {
        let text = "<?xml version=\"1.0\"?><R xmlns=\"urn:x\"><set><item><id>a</id><tags/></item></set><n>1</n></R>";
        assert_eq!(
            to_json(text).unwrap(),
            json!({ "set": [{ "id": "a", "tags": null }], "n": "1" })
        );
    }
}
