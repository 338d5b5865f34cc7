//! The form encoding of the query protocol, and of path segments.

use reqwest::Url;

/// The fields of a form or a query string, decoded, in order.
pub(super) fn decode(text: &str) -> Vec<(String, String)> {
    let mut url = nowhere();
    url.set_query(Some(text));
    url.query_pairs().into_owned().collect()
}

/// A form of these fields.
pub(super) fn encode<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut url = nowhere();
    url.query_pairs_mut().extend_pairs(fields);
    url.query().unwrap_or_default().to_owned()
}

/// The first field of a name.
pub(super) fn field(fields: &[(String, String)], name: &str) -> Option<String> {
    let found = fields.iter().find(|(key, _)| key == name);
    found.map(|(_, value)| value.clone())
}

/// A path segment without its percent signs.
pub(super) fn decode_segment(text: &str) -> String {
    // Only a form reads `+` as a space.
    let fields = decode(&format!("segment={}", text.replace('+', "%2B")));
    field(&fields, "segment").unwrap_or_default()
}

/// A value as one path segment: a `/` in it does not part it.
pub(super) fn encode_segment(text: &str) -> String {
    encode([("", text)])
        .trim_start_matches('=')
        .replace('+', "%20")
}

fn nowhere() -> Url {
    #[expect(clippy::unwrap_used, reason = "a constant")]
    Url::parse("http://localhost/").unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_again() {
        let text = encode([("Action", "Create Role"), ("Document", "{\"a\":\"b+&=\"}")]);
        let fields = decode(&text);
        assert_eq!(field(&fields, "Action").unwrap(), "Create Role");
        assert_eq!(field(&fields, "Document").unwrap(), "{\"a\":\"b+&=\"}");
    }

    #[test]
    fn an_arn_is_one_segment() {
        let arn = "arn:aws:eks:eu-west-1:1:cluster/a b+c";
        let segment = encode_segment(arn);
        assert!(
            !segment.contains('/') && !segment.contains('+'),
            "{segment}"
        );
        assert_eq!(decode_segment(&segment), arn);
    }
}
