use jiff::Timestamp;
use link::message::{ExtraProperties, Message};

use super::*;

fn at() -> Timestamp {
    "2026-08-01T10:00:00.000000123Z".parse().unwrap()
}

fn message() -> Message {
    Message {
        content_type: Some("text/x".into()),
        user_properties: vec![("k".into(), "v".into()), ("k".into(), "w".into())],
        retain: true,
        expiry_seconds: Some(100),
        extra: Some(Box::new(ExtraProperties {
            payload_format_indicator: Some(1),
            response_topic: Some("r/t".into()),
            correlation_data: Some("cd".into()),
        })),
        ..Message::new("a/b", "he\"llo")
    }
}

fn render(format: &str, message: &Message) -> String {
    let received = Received {
        message,
        packet_id: Some(7),
        at: at(),
    };
    let format = MessageFormat::parse(format, false).unwrap();
    String::from_utf8(format.render(&received)).unwrap()
}

#[test]
fn each_sequence_writes_what_mosquitto_writes() {
    // The right sides are what mosquitto_sub 2.0.11 wrote of this message, but for the times.
    for (format, expected) in [
        (
            "%A|%C|%D|%E|%F|%l|%m|%P|%p|%q|%R|%r|%S|%t|%x|%X",
            "|text/x|cd|100|1|6|7|k:v k:w|he\"llo|1|r/t|1||a/b|6865226c6c6f|6865226C6C6F",
        ),
        (
            "%20t|%-20t|%020l",
            "                 a/b|a/b                 |00000000000000000006",
        ),
        ("%5.2t|%2.1C|%08l|%-08l|", "   a/| t|00000006|6       |"),
        (r"%% @@ \\ \t\n\0\e[1m%t", "% @ \\ \t\n\0\u{1b}[1ma/b"),
        ("@c|@x|@r", "Sat Aug  1 10:00:00 2026|08/01/26|10:00:00 AM"),
        ("%I %U", "2026-08-01T10:00:00+0000 1785578400.000000123"),
        (
            "@Y-@m-@dT@H:@M:@S.@N @s",
            "2026-08-01T10:00:00.000000123 1785578400",
        ),
        (
            "%j",
            "{\"tst\":\"2026-08-01T10:00:00.000000+0000\",\"topic\":\"a/b\",\"qos\":1,\"retain\":1,\"payloadlen\":6,\
             \"mid\":7,\"properties\":{\"user-properties\":{\"k\":\"v\",\"k\":\"w\"},\"content-type\":\"text/x\",\
             \"response-topic\":\"r/t\",\"correlation-data\":\"cd\",\"payload-format-indicator\":1,\
             \"message-expiry-interval\":100},\"payload\":\"he\\\"llo\"}",
        ),
        ("<%J>", "<>"),
    ] {
        assert_eq!(render(format, &message()), expected, "{format}");
    }
    let json = Message::new("t", "{\"x\": 27.0}");
    assert!(render("%J", &json).ends_with("\"payloadlen\":11,\"mid\":7,\"payload\":{\"x\":27.0}}"));
    let received = Received {
        message: &json,
        packet_id: None,
        at: at(),
    };
    let pretty = MessageFormat::parse("%J", true).unwrap().render(&received);
    let pretty = String::from_utf8(pretty).unwrap();
    assert!(pretty.contains("\n  \"qos\": 0,\n"), "{pretty}");
}

#[test]
fn a_payload_that_is_no_text_goes_out_as_it_is() {
    let message = Message::new("t", vec![0xff, 0x00]);
    let received = Received {
        message: &message,
        packet_id: None,
        at: at(),
    };
    let format = MessageFormat::parse("%p|%4p|%x", false).unwrap();
    assert_eq!(format.render(&received), b"\xff\x00|  \xff\x00|ff00");
}

#[test]
fn what_is_no_sequence_is_named_with_those_that_are() {
    for (format, message, hint) in [
        ("%z", "`%z` in `-F` is not a part of a message", "%t"),
        ("%", "`-F` ends in the middle of a `%` sequence", "%t"),
        ("%5", "`-F` ends in the middle of a `%` sequence", "`%%`"),
        (r"\q", r"`\q` in `-F` is not a character", r"\n"),
        ("abc\\", "`-F` ends in the middle of a `\\` sequence", r"\n"),
        ("@", "`-F` ends in the middle of a `@` sequence", "`@@`"),
        ("@!", "`@!` in `-F` is not a part of the time", "@Y"),
    ] {
        let error = MessageFormat::parse(format, false).unwrap_err();
        assert_eq!(error.to_string(), message);
        assert!(error.hint().unwrap().contains(hint), "{format}");
    }
}

proptest::proptest! {
    #[test]
    fn any_format_is_understood_or_refused_and_never_panics(text in ".*") {
        if let Ok(format) = MessageFormat::parse(&text, false) {
            let message = message();
            let _ = format.render(&Received { message: &message, packet_id: None, at: at() });
        }
    }
}
