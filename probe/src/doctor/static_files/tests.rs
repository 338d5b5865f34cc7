//! Files good and bad for each code.

use std::path::Path;

use link::fault::Severity;
use region_file::init::{Answers, template};

use super::*;

mod agreement;
mod charts;
mod hostile;
mod policies;

const REGION_FILE: &str = r#"
name: regional-x8k2
region: us-east-2
account: "111111111111"
network:
  vpc: vpc-0123456789abcdef0
  privateSubnets: [subnet-0123456789abcdef0, subnet-0123456789abcdef1]
eks:
  cluster: regional-x8k2
  securityGroups: [sg-0123456789abcdef0]
managementClusters:
  - {id: management-01, account: "222222222222"}
  - {id: management-02, account: "333333333333", agentClientId: other}
"#;

const AGENT_FILE: &str = r"
consumerName: management-01
secrets: {provider: csi, region: us-east-2, certificate: maestro/agent-cert, config: maestro/agent-config}
serviceAccount: {create: true, name: maestro-agent}
";

const BRIDGE_FILE: &str = r"
source: maestro
clientId: regional-x8k2-maestro-server
connections: 1
store: postgres
replicas: 2
slots: 8
secrets: {region: us-east-2}
serviceAccount: {name: maestro-server}
";

/// Checks files of these names and texts.
fn looked_as(asked: Asked, files: &[(&str, &str)]) -> Vec<Finding> {
    let directory = tempfile::tempdir().unwrap();
    let write = |(name, text): &(&str, &str)| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let files = files.iter().map(write).collect();
    let found = check(&Asked { files, ..asked });
    for finding in &found {
        assert!(!finding.seen.is_empty(), "{finding:?}");
        if finding.severity >= Severity::Warning {
            assert!(
                !finding.why.is_empty() && !finding.next.is_empty(),
                "{finding:?}"
            );
        }
    }
    found
}

fn looked(files: &[(&str, &str)]) -> Vec<Finding> {
    looked_as(Asked::default(), files)
}

fn agent(name: &str) -> Asked {
    Asked {
        consumer: Some(ConsumerName::new(name).unwrap()),
        ..Asked::default()
    }
}

fn bridge(name: &str, id: Option<&str>) -> Asked {
    Asked {
        source: Some(SourceId::new(name).unwrap()),
        id: id.map(|id| ClientId::new(id).unwrap()),
        ..Asked::default()
    }
}

/// Warnings and errors.
fn wrong(found: &[Finding]) -> Vec<&Finding> {
    let wrong = found
        .iter()
        .filter(|finding| finding.severity >= Severity::Warning);
    wrong.collect()
}

#[track_caller]
fn healthy(found: &[Finding]) {
    assert!(wrong(found).is_empty(), "{found:#?}");
}

/// There is a finding of this code with these words, and none of another.
#[track_caller]
fn only<'a>(found: &'a [Finding], code: Code, words: &[&str]) -> &'a Finding {
    let wrong = wrong(found);
    assert!(
        wrong.iter().all(|finding| finding.code == code),
        "{found:#?}"
    );
    let has = |finding: &&&Finding| words.iter().all(|word| finding.seen.contains(word));
    wrong
        .iter()
        .find(has)
        .unwrap_or_else(|| panic!("nothing says {words:?}: {found:#?}"))
}

#[test]
fn what_belongs_together_is_healthy() {
    let files = [
        ("region.yaml", REGION_FILE),
        ("agent.yaml", AGENT_FILE),
        ("server.yaml", BRIDGE_FILE),
    ];
    let found = looked(&files);
    healthy(&found);
    for code in [REGION, VALUES, AGREE] {
        assert!(
            found
                .iter()
                .any(|finding| finding.code == code && finding.severity == Severity::Ok),
            "{code}: {found:#?}"
        );
    }
}

#[test]
fn a_region_is_refused_with_the_words_of_the_provisioner() {
    for (from, to) in [
        ("us-east-2\n", "us-east\n"),
        ("name: regional-x8k2\n", "nmae: regional-x8k2\n"),
        ("\"111111111111\"", "111"),
        ("vpc-0123456789abcdef0", "vpc"),
        ("management-02", "management-01"),
        ("agentClientId: other", "agentClientID: other"),
    ] {
        let text = REGION_FILE.replace(from, to);
        assert_ne!(text, REGION_FILE, "{from}");
        let problems = region_file::Region::parse(&text, Path::new(""))
            .unwrap_err()
            .problems;
        let found = looked(&[("region.yaml", &text)]);
        assert_eq!(wrong(&found).len(), problems.len(), "{found:#?}");
        for problem in problems {
            let line = format!(" line {}", problem.line.unwrap_or(1));
            let finding = only(&found, REGION, &[&problem.field, &problem.what]);
            assert!(
                problem.line.is_none() || finding.seen.contains(&line),
                "{finding:?}"
            );
            assert_eq!(finding.next, problem.fix);
        }
    }
}

#[test]
fn what_provisioner_init_writes_is_healthy_once_filled_in() {
    let some = |text: &str| Some(text.to_owned());
    let answers = Answers {
        name: some("regional-x8k2"),
        region: some("us-east-2"),
        account: some("111111111111"),
        vpc: some("vpc-0123456789abcdef0"),
        private_subnets: vec!["subnet-01234567".into(), "subnet-01234568".into()],
        eks_cluster: some("regional-x8k2"),
        security_groups: vec!["sg-01234567".into()],
        clusters: vec![("management-01".into(), "222222222222".into())],
    };
    healthy(&looked(&[
        ("region.yaml", &template(&answers)),
        ("agent.yaml", AGENT_FILE),
    ]));
    // And refused by the names of the fields before.
    let found = looked(&[("region.yaml", &template(&Answers::default()))]);
    for field in ["name", "account", "network.vpc", "eks.cluster"] {
        only(&found, REGION, &[field]);
    }
}

#[test]
fn the_clusters_of_the_guide_are_healthy() {
    let guide = include_str!("../../../../docs/DEPLOYING.md");
    let blocks = guide
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    let clusters = blocks.filter(|block| block.starts_with("managementClusters:"));
    let mut count = 0;
    for block in clusters {
        let (before, _) = REGION_FILE.split_once("managementClusters:").unwrap();
        healthy(&looked(&[("region.yaml", &format!("{before}{block}"))]));
        count += 1;
    }
    assert!(count > 0);
}
