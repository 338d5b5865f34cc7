use super::*;
use crate::args::{OutputArgs, UrlText};

fn resolve(args: &ConnectionArgs) -> Result<Target, Failure> {
    Target::resolve(args, Output::of(OutputArgs::default()))
}

fn args() -> ConnectionArgs {
    ConnectionArgs {
        host: Some("broker.example".into()),
        identity: Some("/mnt/identity".into()),
        ..ConnectionArgs::default()
    }
}

fn refusal(args: &ConnectionArgs) -> (String, String) {
    let failure = resolve(args).unwrap_err();
    assert_eq!(failure.kind(), ExitKind::Usage);
    (
        failure.to_string(),
        failure.hint().unwrap_or_default().to_string(),
    )
}

#[test]
fn own_client_ids_differ_and_fit_the_operators_policy() {
    let (first, second) = (resolve(&args()).unwrap(), resolve(&args()).unwrap());
    assert!(first.client_id.as_str().starts_with("probe-"));
    assert_ne!(first.client_id, second.client_id);
    assert_eq!(
        (first.port, first.address().as_str()),
        (8883, "broker.example:8883")
    );
}

#[test]
fn flags_win_over_the_configuration_and_the_file_over_defaults() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    let text = "brokerHost: file.example:1883\nkeepAlive: 120\ncaFile: ca.pem\nclientCertFile: cert.pem\nclientKeyFile: key.pem\n";
    std::fs::write(&file, text).unwrap();
    let from_file = ConnectionArgs {
        config: Some(file.clone()),
        ..ConnectionArgs::default()
    };
    let target = resolve(&from_file).unwrap();
    assert_eq!(target.address(), "file.example:1883");
    assert_eq!(target.keep_alive, Duration::from_secs(120));
    let Location::Files { ca, .. } = &target.location else {
        panic!("not three files");
    };
    assert_eq!(*ca, directory.path().join("ca.pem"));

    let mixed = ConnectionArgs {
        port: Some(443),
        cafile: Some("other.pem".into()),
        ..from_file
    };
    let target = resolve(&mixed).unwrap();
    assert_eq!(target.address(), "file.example:443");
    let Location::Files { ca, .. } = &target.location else {
        panic!("not three files");
    };
    assert_eq!(ca.to_str(), Some("other.pem"));

    let other_host = ConnectionArgs {
        config: Some(file),
        ..args()
    };
    assert_eq!(
        resolve(&other_host).unwrap().address(),
        "broker.example:8883"
    );
}

#[test]
fn a_mount_brings_its_own_configuration() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(
        directory.path().join("config.yaml"),
        "brokerHost: mount.example:8883\n",
    )
    .unwrap();
    let args = ConnectionArgs {
        identity: Some(directory.path().into()),
        ..ConnectionArgs::default()
    };
    let target = resolve(&args).unwrap();
    assert_eq!(target.host, "mount.example");
    assert_eq!(
        target.location,
        Location::Directory(directory.path().into())
    );
}

#[test]
fn what_is_missing_is_named_with_the_option_that_gives_it() {
    let none = ConnectionArgs::default();
    let host_only = ConnectionArgs {
        host: Some("h".into()),
        ..ConnectionArgs::default()
    };
    let only_ca = ConnectionArgs {
        cafile: Some("ca".into()),
        ..host_only.clone()
    };
    let no_ca = ConnectionArgs {
        cert: Some("c".into()),
        key: Some("k".into()),
        ..host_only.clone()
    };
    let bad_id = ConnectionArgs {
        id: Some("a b".into()),
        ..args()
    };
    for (args, error, hint) in [
        (none, "no broker host given", "`-h HOST`"),
        (host_only, "no client certificate given", "`--identity DIR`"),
        (
            only_ca,
            "a CA is given without `--cert` and `--key`",
            "`--cert FILE --key FILE`",
        ),
        (
            no_ca,
            "`--cert` and `--key` are given without `--cafile`",
            "`--cafile FILE`",
        ),
        (bad_id, "option `-i`", "letters, digits"),
    ] {
        let (text, said) = refusal(&args);
        assert!(text.starts_with(error), "{text}");
        assert!(said.contains(hint), "{said}");
    }
}

#[test]
fn a_url_gives_host_port_and_topic_and_its_user_is_not_sent() {
    let url = |text: &str| ConnectionArgs {
        host: None,
        url: Some(UrlText(text.into())),
        ..args()
    };
    let target = resolve(&url("mqtts://user:secret@h:443/a/b")).unwrap();
    assert_eq!((target.host.as_str(), target.port), ("h", 443));
    assert_eq!(target.tls.alpn.as_deref(), Some(tls::ALPN_MQTT));
    assert_eq!(target.one_topic(None).unwrap(), "a/b");
    assert_eq!(target.topic_or_own(None).unwrap(), "a/b");
    assert_eq!(
        target.one_topic(Some("c")).unwrap_err().kind(),
        ExitKind::Usage
    );
    let bare = resolve(&url("mqtts://h")).unwrap();
    assert_eq!(bare.port, 8883);
    assert_eq!(
        bare.one_topic(None).unwrap_err().to_string(),
        "no topic given"
    );
    assert!(
        bare.topic_or_own(None)
            .unwrap()
            .starts_with("test/probe/probe-")
    );
    let (text, hint) = refusal(&url("mqtt://user:secret@h/t"));
    assert_eq!(text, "`-L` begins with `mqtt://`");
    assert!(hint.contains("8883"), "{hint}");
    assert!(!format!("{:?}", url("mqtts://u:secret@h/t")).contains("secret"));
}

#[test]
fn prefix_version_and_protocol_are_what_was_asked_for() {
    let asked = ConnectionArgs {
        id_prefix: Some("me-".into()),
        tls_version: Some(TlsVersion::Tls13),
        tls_alpn: Some("mqtt".into()),
        ..args()
    };
    let target = resolve(&asked).unwrap();
    let own = format!("me-{}", std::process::id());
    assert_eq!(target.client_id.as_str(), own);
    assert_eq!(target.tls.min_version, tls::MinVersion::Tls13);
    assert_eq!(target.tls.alpn.as_deref(), Some("mqtt"));
}

#[test]
fn resource_names_begin_as_the_endpoint_tells() {
    for (host, arn) in [
        (
            "abc-ats.iot.us-east-2.amazonaws.com",
            "arn:aws:iot:us-east-2:ACCOUNT",
        ),
        (
            "abc.ats.iot.cn-north-1.amazonaws.com.cn",
            "arn:aws-cn:iot:cn-north-1:ACCOUNT",
        ),
        (
            "abc-ats.iot.us-gov-west-1.amazonaws.com",
            "arn:aws-us-gov:iot:us-gov-west-1:ACCOUNT",
        ),
        ("localhost", "arn:aws:iot:REGION:ACCOUNT"),
    ] {
        assert_eq!(arn_of(host).to_string(), arn);
    }
}
