use link::error::ExitKind;

use super::run::consumer;
use super::*;

fn parse(extra: &[&str]) -> Result<RunArgs, String> {
    let args = Args::try_parse_from(["agent"].iter().chain(extra));
    args.map(|args| args.run).map_err(|error| error.to_string())
}

#[test]
fn the_first_deployment_s_flags_are_understood() {
    let args = parse(&[
        "--consumer-name=mc1",
        "--workload-source-driver=mqtt",
        "--workload-source-config=/mnt/secrets-store/config.yaml",
        "--cloudevents-client-id=mc1-work-agent",
        "--disable-leader-election",
    ])
    .unwrap();
    assert_eq!(args.consumer_name.unwrap().as_str(), "mc1");
    assert!(args.disable_leader_election);
    assert_eq!(args.target, TargetSpec::Kubernetes);
    assert_eq!(args.status_sync_interval, Duration::from_secs(10));
    assert_eq!(args.max_json_raw_length, 1_048_576);
}

#[test]
fn wrong_values_are_refused_with_what_to_write() {
    for (extra, part) in [
        (["--consumer-name", "A"], "lower-case"),
        (["--status-sync-interval", "10"], "such as `10s`"),
        (["--workload-source-driver", "kafka"], "mqtt"),
    ] {
        let error = parse(&extra).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(
        "kube".parse::<TargetSpec>().unwrap_err().to_string(),
        "`kube` is no target; write `kubernetes` or `dir:PATH`"
    );
}

#[test]
fn two_different_consumer_names_are_an_error() {
    let name = |text| ConsumerName::new(text).ok();
    assert!(consumer(name("a"), name("a")).is_ok());
    assert!(consumer(None, name("a")).is_ok());
    let error = consumer(name("a"), name("b")).unwrap_err();
    assert!(error.to_string().contains("`a` by flag"), "{error}");
    assert_eq!(consumer(None, None).unwrap_err().kind(), ExitKind::Usage);
}
