//! Whatever order specs come in, and however often, the newest versions stand at the end.

use link::order::Version;
use proptest::prelude::*;
use serde_json::Value;

use super::harness::{Harness, config_map, upsert};

#[derive(Clone, Debug)]
struct Step {
    work: usize,
    version: i64,
}

fn payload_of(work: usize, version: i64) -> Vec<Value> {
    // A few objects that come and go with the version.
    (0..3)
        .filter(|bit| (version >> bit) & 1 == 1)
        .map(|bit| config_map(&format!("w{work}-{bit}"), &version.to_string()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn whatever_the_order_and_repetitions_the_directory_equals_the_newest_versions(
        steps in prop::collection::vec((0usize..4, 1i64..8).prop_map(|(work, version)| Step { work, version }), 1..40),
        restart_after in 0usize..40,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut agent = Harness::start().await;
            for (index, step) in steps.iter().enumerate() {
                agent.send(upsert(&format!("w{}", step.work), step.version, &payload_of(step.work, step.version))).await;
                if index == restart_after {
                    agent.until(|agent| agent.acks() > index).await;
                    agent = agent.restart().await;
                }
            }
            let mut newest = std::collections::BTreeMap::new();
            for step in &steps {
                let version = newest.entry(step.work).or_insert(step.version);
                *version = step.version.max(*version);
            }
            let mut expected: Vec<(String, Value)> = newest
                .iter()
                .flat_map(|(work, version)| payload_of(*work, *version))
                .map(|manifest| (format!("d/configmap/{}.yaml", manifest["metadata"]["name"].as_str().unwrap()), manifest))
                .collect();
            expected.sort_by(|a, b| a.0.cmp(&b.0));
            agent.until(|agent| agent.files() == expected).await;
            for (work, version) in &newest {
                let id = format!("w{work}");
                agent.until(|agent| agent.status_version(&id) == Version::new(*version) && agent.acknowledged(&id)).await;
            }
            agent.stop().await;
        });
    }
}
