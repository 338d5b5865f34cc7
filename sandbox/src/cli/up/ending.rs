//! What a person sees while a region stops: what is waited for, and what becomes of the cluster it used.

use std::future::Future;
use std::io::Write as _;
use std::time::Duration;

use link::error::{ExitKind, Failure};
use link::shutdown::Drain;
use tokio::time::{Instant, interval_at};

use crate::up::TargetCluster;

/// A line on standard error. Whoever closed the terminal reads it nowhere.
pub(super) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Does something to its end, and says every few seconds what `drain` is still waiting for.
pub(super) async fn tell_while<T>(drain: &Drain, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    let mut ticks = interval_at(Instant::now() + SAY_EVERY, SAY_EVERY);
    loop {
        tokio::select! {
            output = &mut work => return output,
            _ = ticks.tick() => {
                let pending = drain.pending();
                if !pending.is_empty() {
                    say(&format!("waiting for: {}", pending.join(", ")));
                }
            }
        }
    }
}

/// Takes away what the region has in a cluster, until the next signal.
pub(super) async fn clean(cluster: &TargetCluster, drain: &Drain) -> Result<(), Failure> {
    let name = format!("cluster of `{}`", cluster.kubeconfig().display());
    let abort = drain.abort();
    let interrupted = async {
        match drain.is_requested() {
            true => abort.requested().await,
            false => drain.requested().await,
        }
    };
    let _pending = drain.register(format!("the {name} to be cleaned"));
    let outcome = tokio::select! {
        biased;
        () = interrupted => Err(Failure::new(ExitKind::Failed, Interrupted)),
        cleaned = tell_while(drain, cluster.clean()) => cleaned,
    };
    match &outcome {
        Ok(()) => say(&format!("the {name} is clean")),
        Err(_) if cluster.is_touched() => say(&format!("some of this may be left: {cluster}")),
        Err(_) => {}
    }
    outcome
}

/// A signal came first.
#[derive(Debug, thiserror::Error)]
#[error("the cluster was not cleaned: stopped by a second signal")]
struct Interrupted;

// A healthy region stops sooner, and says nothing.
const SAY_EVERY: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use link::shutdown::Shutdown;
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_takes_long_is_waited_for_and_what_it_gives_comes_back() {
        let shutdown = Shutdown::manual();
        let drain = shutdown.drain();
        let _pending = drain.register("agent of cluster1");
        let work = async {
            sleep(3 * SAY_EVERY).await;
            7
        };
        assert_eq!(tell_while(&drain, work).await, 7);
    }
}
