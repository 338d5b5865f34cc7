//! What the store costs with many works. Run with `cargo test -p agent --test load -- --ignored --nocapture`.

use std::time::Instant;

use agent::work::{Files, Head, Work};
use bytes::Bytes;
use link::order::Version;

fn work(index: usize, payload: &Bytes) -> Work {
    Work {
        head: Head {
            id: format!("55c61e54-a3f6-563d-9fec-{index:012}")
                .as_str()
                .into(),
            version: Version::FIRST,
            source: "maestro".into(),
            metadata: Some(format!(
                "{{\"name\":\"{index}\",\"labels\":{{\"team\":\"a\"}}}}"
            )),
            log_tracing: Some("{}".into()),
            deleting_since: None,
            received_at: None,
            content: "0".repeat(64),
            rejected: None,
        },
        payload: payload.clone(),
    }
}

#[test]
#[ignore = "a measurement, not a promise"]
fn figures_of_the_store() {
    for (count, bytes, batch) in [(2_000, 49_899, 100), (6_000, 3_127, 100), (500, 3_127, 1)] {
        let dir = tempfile::tempdir().unwrap();
        let payload = Bytes::from(vec![b'x'; bytes]);
        let works: Vec<Work> = (0..count).map(|index| work(index, &payload)).collect();
        let store = Files::open(dir.path()).unwrap().store;
        let start = Instant::now();
        for works in works.chunks(batch) {
            store.commit(works).unwrap();
        }
        let committed = start.elapsed();
        drop((store, works));
        let start = Instant::now();
        let opened = Files::open(dir.path()).unwrap();
        println!(
            "{count} works of {bytes} bytes in batches of {batch}: committed in {committed:?} ({:.0}/s), loaded in {:?}",
            f64::from(u32::try_from(count).unwrap()) / committed.as_secs_f64(),
            start.elapsed(),
        );
        assert_eq!(opened.works, count);
    }
}
