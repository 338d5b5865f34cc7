//! No decoder panics on damaged input, and what it accepts keeps its promises: a bounded run on stable Rust of what
//! `fuzz/` does without end on nightly.
//!
//! `FUZZ_SECONDS` sets the time per decoder, `TEST_SEED` repeats a run.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use tests::decoders::{ALL, Decoder};
use tests::mutate::mutant;
use tests::seed;

/// Feeds one decoder, and fails with the input that broke it.
fn smoke(name: &str) {
    let decoder = ALL.iter().find(|decoder| decoder.name == name);
    let Decoder {
        run,
        seeds,
        dictionary,
        ..
    } = decoder.expect("a decoder of this name");
    let seeds = seeds();
    for good in &seeds {
        run(good);
    }
    let mut rng = seed::rng(&format!("decoder `{name}`"));
    let seconds = std::env::var("FUZZ_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let end = Instant::now() + seconds.map_or(SHORT, Duration::from_secs);
    let mut rounds = 0_u64;
    while Instant::now() < end || rounds < LEAST {
        let input = mutant(&mut rng, &seeds, dictionary);
        let outcome = catch_unwind(AssertUnwindSafe(|| run(&input)));
        assert!(
            outcome.is_ok(),
            "round {rounds}: input {:?}",
            String::from_utf8_lossy(&input)
        );
        rounds += 1;
    }
}

macro_rules! promises {
    ($($promise:ident: $name:literal,)*) => {
        $(
            #[test]
            fn $promise() {
                smoke($name);
            }
        )*

        #[test]
        fn every_decoder_is_fed_here_and_by_a_libfuzzer_target() {
            let fed = [$($name),*];
            let targets = include_str!("../../fuzz/Cargo.toml");
            for decoder in ALL {
                assert!(fed.contains(&decoder.name), "{}", decoder.name);
                let target = format!("name = \"{}\"", decoder.name);
                assert!(targets.contains(&target), "{} in fuzz/Cargo.toml", decoder.name);
            }
        }
    };
}

promises! {
    events_from_outside_never_panic: "event",
    specs_from_outside_never_panic: "spec",
    statuses_from_outside_never_panic: "status",
    resync_requests_from_outside_never_panic: "resync",
    reports_of_agents_never_panic: "report",
    versions_and_sequences_never_panic: "order",
    searches_never_panic: "search",
    topic_schemes_never_panic: "topics",
    policies_never_panic: "policy",
    config_files_never_panic: "config",
    identities_never_panic: "identity",
    stored_works_never_panic: "work",
    condition_rules_never_panic: "rules",
}

// Together a few seconds on two cores; the endless run is libFuzzer's.
const SHORT: Duration = Duration::from_secs(2);

// Even on a machine that stands still.
const LEAST: u64 = 500;
