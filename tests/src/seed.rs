//! Randomness that can be repeated: every generator prints the seed that makes the same run again.

use rand::SeedableRng as _;
use rand::rngs::StdRng;

/// Takes the seed for `what` from `TEST_SEED`, or a new one, and prints it.
#[expect(
    clippy::print_stderr,
    reason = "the test runner shows it when the test fails"
)]
pub fn pick(what: &str) -> u64 {
    let seed = std::env::var(VARIABLE)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(rand::random);
    eprintln!("{what}: {VARIABLE}={seed}");
    seed
}

/// A generator for `what`, with a seed from [`pick`].
pub fn rng(what: &str) -> StdRng {
    StdRng::seed_from_u64(pick(what))
}

/// The environment variable that repeats a run.
pub const VARIABLE: &str = "TEST_SEED";
