//! Partitions of AWS other than the usual one, whose names are longer.

use super::*;

#[test]
fn a_policy_is_measured_with_the_names_of_its_partition() {
    let least = least_with("region: us-east-2", "region: us-gov-west-1");
    let topics = "t".repeat(150);
    let (mut fit, mut refused) = (0, 0);
    for length in 40..90 {
        let id = "c".repeat(length);
        let text = format!(
            "{least}{CLUSTERS}server: {{slots: 64, connections: 64, clientId: {id}}}\n\
             topics: {{sourceEvents: {topics}/consumers/+/sourceevents, agentEvents: {topics}/consumers/+/agentevents}}\n"
        );
        let Ok(region) = Region::parse(&text, Path::new("")) else {
            refused += 1;
            continue;
        };
        fit += 1;
        let arn = region.arn_prefix();
        assert_eq!(arn.partition, "aws-us-gov");
        let parties = region.clusters.iter().map(|cluster| &cluster.party);
        for party in parties.chain([&region.server.party]) {
            assert!(party.policy(&arn).check_size().is_ok(), "{length}");
        }
    }
    assert!(fit > 0 && refused > 0, "{fit} fit, {refused} refused");
}
