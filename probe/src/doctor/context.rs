//! What the stages know: the resolved command line, and what earlier stages found.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use link::id::ConsumerName;
use link::identity::Identity;
use tokio::time::Instant;

use crate::args::DoctorArgs;
use crate::stage::Stage;
use crate::target::Target;

/// What a stage may use. Read-only: a stage hands on what it found by its own result.
#[derive(Clone, Debug)]
pub struct Context {
    /// The broker, and who we are to it.
    pub target: Target,
    /// The command line.
    pub args: DoctorArgs,
    /// The consumer: the one of `--consumer`, else the mount's.
    pub consumer: Option<ConsumerName>,
    /// Certificate, key and CA; `None` where they cannot be used. Its dates may be wrong by the clock here, so that the
    /// broker can say what it thinks of them.
    pub identity: Option<Arc<Identity>>,
    /// The addresses of the broker's name; empty until it was looked up.
    pub addresses: Vec<SocketAddr>,
    /// The last stage that worked, up to TLS here; `session` tells of what follows by its own result.
    pub reached: Option<Stage>,
    /// When everything ends.
    pub deadline: Instant,
}

// === impl Context ===

impl Context {
    /// The time that an answer may take: `share` of the usual ten seconds, more where `-W` gives more than twenty, or what is
    /// left if that is less.
    pub fn share(&self, share: Duration) -> Duration {
        self.at_most(part(share, self.args.timeout))
    }

    /// A time, or what is left if that is less.
    pub fn at_most(&self, time: Duration) -> Duration {
        time.min(self.deadline.saturating_duration_since(Instant::now()))
    }

    /// Whether a stage is asked for.
    pub fn wants(&self, stage: Stage) -> bool {
        self.args.until.is_none_or(|until| stage <= until)
    }

    /// Whether the stages after the round trip are asked for.
    pub fn wants_all(&self) -> bool {
        self.args.until.is_none()
    }

    /// Whether the broker is AWS IoT Core, by its name.
    pub fn is_aws(&self) -> bool {
        super::endpoint::Endpoint::of(&self.target.host) != super::endpoint::Endpoint::Elsewhere
    }
}

/// The part of a time that is `share` of the usual one: of half of it, so that more time is also time for more stages that
/// get no answer. Never less than `share`, as little time ends by itself, and never more than [`MOST`] times as much: what
/// is silent is waited for in vain.
fn part(share: Duration, all: Duration) -> Duration {
    let half = all.as_secs_f32() / 2.0;
    share.mul_f32((half / USUAL.as_secs_f32()).clamp(1.0, MOST))
}

// What all stages have together where `-W` is not given.
const USUAL: Duration = Duration::from_secs(10);
const MOST: f32 = 3.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_time_for_all_is_more_time_for_each_answer() {
        let share = Duration::from_secs(2);
        for (all, expected) in [(1, 2.0), (20, 2.0), (22, 2.2), (60, 6.0), (61, 6.0)] {
            let given = part(share, Duration::from_secs(all));
            assert!((given.as_secs_f32() - expected).abs() < 0.01, "{given:?}");
        }
    }
}
