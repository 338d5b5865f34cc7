//! Open files: a process may have more than it is given at first, and a region says when that is too few.

use link::error::Hint;
use rustix::process::{Resource, getrlimit, setrlimit};

/// There are too many agents for what this process may open.
#[derive(Debug, thiserror::Error)]
#[error("{agents} agents need some {needed} open files, and this process may have {limit}")]
pub struct TooFewDescriptors {
    agents: usize,
    needed: u64,
    limit: u64,
}

impl Hint for TooFewDescriptors {
    fn hint(&self) -> Option<String> {
        Some(format!(
            "run `ulimit -n {}` before it, which takes root's rights past `ulimit -Hn`, or start fewer agents",
            self.needed
        ))
    }
}

/// Takes as many open files as this process may have, and checks that they are enough.
///
/// # Errors
/// When they are not; every agent would fail at something else then.
pub(super) fn take(agents: usize, in_cluster: bool) -> Result<(), TooFewDescriptors> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let more = rustix::process::Rlimit {
            current: limit.maximum,
            ..limit
        };
        // Where the system gives out fewer than it says, there is what there was.
        if setrlimit(Resource::Nofile, more).is_ok() {
            limit = more;
        }
    }
    enough(agents, in_cluster, limit.current)
}

fn enough(agents: usize, in_cluster: bool, limit: Option<u64>) -> Result<(), TooFewDescriptors> {
    let each = if in_cluster { EACH_IN_CLUSTER } else { EACH };
    let needed = ANYWAY + each * u64::try_from(agents).unwrap_or(u64::MAX / each - ANYWAY);
    match limit {
        Some(limit) if limit < needed => Err(TooFewDescriptors {
            agents,
            needed,
            limit,
        }),
        _ => Ok(()),
    }
}

// Broker, bridge and what they listen on have 50; the others are for callers.
const ANYWAY: u64 = 100;
// Two sockets at both ends, one more to listen, a watch with its epoll, a lock.
const EACH: u64 = 8;
// And a connection for each kind that is watched.
const EACH_IN_CLUSTER: u64 = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_limit_is_enough_for_the_most_agents_and_a_small_one_is_named() {
        assert!(enough(100, false, Some(1024)).is_ok());
        assert!(enough(100, true, None).is_ok());
        let error = enough(100, true, Some(1024)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "100 agents need some 2500 open files, and this process may have 1024"
        );
        assert!(error.hint().unwrap().contains("`ulimit -n 2500`"));
    }

    #[test]
    fn a_process_takes_what_it_may_have() {
        take(1, false).unwrap();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
