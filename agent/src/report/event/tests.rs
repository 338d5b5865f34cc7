use link::order::Version;

use super::*;

fn at() -> Timestamp {
    "2026-08-01T10:00:00Z".parse().unwrap()
}

fn reporter() -> Reporter {
    Reporter {
        consumer: ConsumerName::new("cluster1").unwrap(),
        agent: "cluster1-work-agent".into(),
        topic: "t".into(),
        clock: Clock::fixed(at()),
    }
}

fn head() -> Head {
    Head {
        id: "55c61e54-a3f6-563d-9fec-b1fe297bdfdb".into(),
        version: Version::FIRST,
        source: "maestro".into(),
        metadata: None,
        log_tracing: Some("{}".into()),
        deleting_since: None,
        received_at: None,
        content: String::new(),
        rejected: None,
    }
}

fn record(status: Status) -> StatusRecord {
    StatusRecord {
        version: Version::FIRST,
        status,
        hash: "h".into(),
        acknowledged: false,
        applied_at: None,
    }
}

#[test]
fn the_metadata_equals_the_go_agent_s() {
    let (at, reporter) = (at(), reporter());
    let (mut head, mut record) = (head(), record(Status::default()));
    let metadata = |head: &Head, record: &StatusRecord| {
        let message = reporter.message(head, record, "1".parse().unwrap(), Action::Update);
        let event = link::event::decode(&message).unwrap();
        assert_eq!(event.original_source.as_deref(), Some("maestro"));
        assert_eq!(event.status_hash.as_deref(), Some("h"));
        event.metadata.unwrap()
    };
    // The sample of docs/MAESTRO.md §2.3.
    assert_eq!(
        metadata(&head, &record),
        r#"{"name":"55c61e54-a3f6-563d-9fec-b1fe297bdfdb","namespace":"cluster1","uid":"55c61e54-a3f6-563d-9fec-b1fe297bdfdb","generation":1,"labels":{"cloudevents.open-cluster-management.io/originalsource":"maestro"},"annotations":{"cloudevents.open-cluster-management.io/datatype":"io.open-cluster-management.works.v1alpha1.manifestbundles"},"finalizers":["cluster.open-cluster-management.io/manifest-work-cleanup"]}"#
    );
    head.deleting_since = Some(at);
    record.status.conditions.push(link::bundle::Condition::new(
        "Deleted", "True", "R", "m", 0, at,
    ));
    let deleted = metadata(&head, &record);
    assert!(deleted.contains(r#""deletionTimestamp":"2026-08-01T10:00:00Z""#));
    assert!(!deleted.contains("finalizers"));
}

fn applied(message: &str) -> Status {
    let condition = link::bundle::Condition::new("Applied", "False", "R", message, 0, at());
    Status {
        conditions: vec![condition],
        ..Status::default()
    }
}

/// What arrives of a message that fits.
fn sent(head: &Head, status: &Status) -> (Event, Status) {
    let sequence = "1".parse().unwrap();
    let message = reporter().message(head, &record(status.clone()), sequence, Action::Update);
    assert_eq!(fits(&message), Ok(()));
    let event = link::event::decode(&message).unwrap();
    let status = serde_json::from_slice(event.data_bytes()).unwrap();
    (event, status)
}

fn metadata_of(key: &str, entry: &str, value: &str) -> String {
    let mut meta = serde_json::json!({"name": "n", "labels": {"team": "a"}});
    meta[key][entry] = value.into();
    meta.to_string()
}

#[test]
fn an_echo_that_would_not_fit_is_left_out_step_by_step_and_the_status_arrives_whole() {
    let status = applied(&"w".repeat(119_000));
    let echoed = |metadata: String| {
        let head = Head {
            metadata: Some(metadata),
            ..head()
        };
        let (event, arrived) = sent(&head, &status);
        assert_eq!(arrived, status);
        let echo: Value = serde_json::from_str(&event.metadata.unwrap()).unwrap();
        (
            echo["annotations"]["a"].as_str().map(str::len),
            echo["labels"]["team"].is_string(),
            echo["name"] == "n",
        )
    };
    assert_eq!(
        echoed(metadata_of("annotations", "a", "x")),
        (Some(1), true, true)
    );
    // 65 KB of metadata beside 119 KB of status.
    let large = "x".repeat(65_000);
    assert_eq!(
        echoed(metadata_of("annotations", "a", &large)),
        (None, true, true)
    );
    assert_eq!(
        echoed(metadata_of("labels", "l", &large)),
        (None, false, true)
    );
    assert_eq!(
        echoed(metadata_of("other", "l", &large)),
        (None, true, true)
    );
    let named = serde_json::json!({"name": large}).to_string();
    assert_eq!(echoed(named), (None, false, false));
}

#[test]
fn an_echo_is_measured_as_it_is_sent_at_the_limit_and_one_byte_past_it() {
    // JSON as Go writes it takes six bytes for each `<`.
    let room = |fill: &str| {
        let head = Head {
            metadata: Some(metadata_of("annotations", "a", fill)),
            ..head()
        };
        let (event, _) = sent(&head, &Status::default());
        event.metadata.unwrap()
    };
    let none = room("").len();
    for (count, kept) in [(10_000, true), (11_000, false)] {
        let metadata = room(&"<".repeat(count));
        assert_eq!(metadata.len() == none + 6 * count, kept, "{count}");
    }
    let most = 65_535 - none;
    assert_eq!(room(&"x".repeat(most)).len(), 65_535);
    assert!(room(&"x".repeat(most + 1)).len() < 1_000);
}

#[test]
fn tracing_that_leaves_no_room_is_left_out() {
    let head = Head {
        log_tracing: Some("t".repeat(40_000)),
        ..head()
    };
    let (event, _) = sent(&head, &applied("short"));
    assert!(event.log_tracing.is_some());
    let (event, status) = sent(&head, &applied(&"w".repeat(119_000)));
    assert_eq!(
        (event.log_tracing, status),
        (None, applied(&"w".repeat(119_000)))
    );
}

#[test]
fn a_status_kept_by_an_older_agent_is_made_to_fit_when_it_is_sent() {
    let long = Head {
        id: "<".repeat(1_024).into(),
        source: "<".repeat(1_024),
        ..head()
    };
    for head in [head(), long] {
        let (_, status) = sent(&head, &applied(&"<".repeat(200_000)));
        assert_eq!(status.conditions.len(), 1);
        assert!(!status.conditions[0].message.is_empty());
    }
}
