//! Each number at its edge, and the sentence a person reads beyond it.

use proptest::prelude::*;

use super::*;
use crate::error::Hint;

fn levels(slashes: usize) -> String {
    vec!["a"; slashes + 1].join("/")
}

#[test]
fn payload_limit_is_128_kib_to_the_byte() {
    assert_eq!(check_payload(131_072), Ok(()));
    let error = check_payload(131_073).unwrap_err();
    assert_eq!(
        error.to_string(),
        "payload has 131073 bytes, the limit is 131072"
    );
    assert!(error.hint().is_some());
    let limits = ConnectionLimits::IOT_CORE;
    assert_eq!(limits.check_packet(149_504), Ok(()));
    assert!(limits.check_packet(149_505).is_err());
}

#[test]
fn a_message_fits_up_to_each_limit_and_not_one_past_it() {
    let text = |bytes: usize| "x".repeat(bytes);
    let property = |name: String, value: String| Message {
        user_properties: vec![(name, value)],
        ..Message::new("t", "")
    };
    // Topic, packet id, and the payload that fills the packet.
    let packet = |bytes: usize| {
        let mut message = property(text(20_000), String::new());
        message.payload = vec![0; bytes - message.packet_bytes()].into();
        assert_eq!(message.packet_bytes(), bytes);
        message
    };
    let content_type = |bytes| Message {
        content_type: Some(text(bytes)),
        ..Message::new("t", "")
    };
    for (within, past, part) in [
        (
            property(text(65_535), text(65_535)),
            property(text(65_536), String::new()),
            "65536 bytes, the limit is 65535",
        ),
        (
            property("k".into(), text(65_535)),
            property("k".into(), text(65_536)),
            "value of user property `k` has 65536 bytes",
        ),
        (
            content_type(65_535),
            content_type(65_536),
            "content type `` has 65536",
        ),
        (
            Message::new("t", vec![0; 131_072]),
            Message::new("t", vec![0; 131_073]),
            "payload has 131073",
        ),
        (
            packet(149_504),
            packet(149_505),
            "packet has 149505 bytes, the limit is 149504",
        ),
        (
            Message::new(levels(7), ""),
            Message::new(levels(8), ""),
            "has 8 slashes",
        ),
        (
            Message::new(text(256), ""),
            Message::new(text(257), ""),
            "257 bytes, the limit is 256",
        ),
    ] {
        assert_eq!(fits(&within), Ok(()));
        let misfit = fits(&past).unwrap_err();
        assert!(misfit.to_string().contains(part), "{misfit}");
        assert!(misfit.to_string().len() < 300);
        assert!(misfit.hint().is_some());
    }
}

#[test]
fn characters_for_which_brokers_disconnect_are_refused_in_properties() {
    for (value, code) in [
        ("a\0", "0000"),
        ("\u{7f}", "007F"),
        ("a\u{ffff}b", "FFFF"),
        ("\n", "000A"),
        ("\u{fdd0}", "FDD0"),
    ] {
        let message = Message {
            user_properties: vec![("metadata".into(), value.into())],
            ..Message::new("t", "")
        };
        let misfit = fits(&message).unwrap_err().to_string();
        assert!(
            misfit.contains("`metadata` holds the character U+") && misfit.contains(code),
            "{misfit}"
        );
    }
    let message = Message {
        user_properties: vec![("é".into(), "日本 <&> \u{fffd}".into())],
        ..Message::new("t", "")
    };
    assert_eq!(fits(&message), Ok(()));
}

#[test]
fn topics_have_256_bytes_and_7_slashes() {
    assert_eq!(check_topic(&"é".repeat(128)), Ok(()));
    let error = check_topic(&"é".repeat(129)).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("has 258 bytes, the limit is 256"),
        "{error}"
    );
    assert_eq!(check_topic(&levels(7)), Ok(()));
    let error = check_topic(&levels(8)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "topic `a/a/a/a/a/a/a/a/a` has 8 slashes, the limit is 7"
    );
}

#[test]
fn share_and_rule_prefixes_are_not_counted() {
    assert_eq!(check_filter(&format!("$share/group/{}", levels(7))), Ok(()));
    assert!(check_filter(&format!("$share/group/{}", levels(8))).is_err());
    assert_eq!(check_topic(&format!("$aws/rules/r/{}", levels(7))), Ok(()));
    assert!(check_topic(&format!("$aws/rules/r/{}", levels(8))).is_err());
    let name = "n".repeat(129);
    let error = check_filter(&format!("$share/{name}/a")).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("has 129 characters, the limit is 128"),
        "{error}"
    );
}

#[test]
fn malformed_topics_and_filters_are_told_apart() {
    for (result, part) in [
        (check_topic(""), "topic `` is empty"),
        (check_topic("a/+"), "holds a wildcard"),
        (check_topic("a\0"), "null"),
        (
            check_topic("a\u{1}"),
            "topic `a\\u{1}` holds the character U+0001",
        ),
        (check_filter("a/+/\u{7f}"), "holds the character U+007F"),
        (check_filter("$share/\n/a"), "holds the character U+000A"),
        (check_filter("a+"), "`+` that is not a whole level"),
        (check_filter("a/#b"), "`#` that is not a whole level"),
        (check_filter("#/a"), "not the last level"),
        (check_filter("$share/g"), "has no filter after"),
        (check_filter("$share//a"), "empty share name"),
        (check_filter("$share/+/a"), "wildcard in its share name"),
        (check_filter("$share/g/"), "is empty"),
    ] {
        let error = result.unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
        assert!(error.hint().is_some());
    }
    assert_eq!(check_filter("+/a/#"), Ok(()));
    assert_eq!(check_filter("#"), Ok(()));
}

#[test]
fn fifty_subscriptions_pass_and_one_more_does_not() {
    let limits = ConnectionLimits::IOT_CORE;
    assert_eq!(limits.check_subscription_count(50), Ok(()));
    assert!(limits.check_subscription_count(51).is_err());
}

#[test]
fn client_ids_have_1_to_128_bytes_and_no_dollar() {
    assert_eq!(check_client_id(&"c".repeat(128)), Ok(()));
    for (id, part) in [
        ("", "is empty"),
        ("$GEN/1", "reserved"),
        (&"c".repeat(129), "129 bytes"),
    ] {
        let error = check_client_id(id).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn keep_alive_is_clamped_as_iot_core_clamps_it() {
    let seconds = |asked| effective_keep_alive(asked).as_secs();
    assert_eq!(
        [0, 1, 29, 30, 60, 1200, 1201].map(seconds),
        [1200, 30, 30, 30, 60, 1200, 1200]
    );
}

#[test]
fn long_texts_are_cut_in_messages() {
    let error = check_topic(&"x".repeat(60_000)).unwrap_err().to_string();
    assert!(error.len() < 200, "{}", error.len());
    assert!(error.contains("60000 bytes"));
}

proptest! {
    #[test]
    fn any_text_passes_or_is_refused_with_a_hint(text in "\\PC{0,300}|[a$/+#]{0,20}|\\$share/.{0,20}") {
        for result in [check_topic(&text), check_filter(&text), check_client_id(&text)] {
            if let Err(error) = result {
                prop_assert!(error.hint().is_some());
            }
        }
        // What may be published may be subscribed to: a topic is a filter without wildcards.
        if check_topic(&text).is_ok() && !text.starts_with('$') {
            prop_assert_eq!(check_filter(&text), Ok(()));
        }
    }
}
