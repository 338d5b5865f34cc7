//! What the client library has said of messages already, without waiting for more.
//!
//! **Invariant:** nothing that was said is left for later. What a connection left behind is settled before the next one sends
//! anything: a message that is still taken for sent then would be overtaken by those behind it.

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::task::coop::unconstrained;

/// The next notice that is there. Not by tokio's budget: once a task has spent that, what is there looks as if it were not.
pub(super) fn known<F: Future>(notices: &mut FuturesUnordered<F>) -> Option<F::Output> {
    unconstrained(notices.next()).now_or_never().flatten()
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn all_that_was_said_is_known_however_much_it_is() {
        let said = |number| {
            let (say, notice) = oneshot::channel();
            say.send(number).unwrap();
            notice
        };
        let mut notices: FuturesUnordered<_> = (0..1000).map(said).collect();
        let (_silent, notice) = oneshot::channel();
        notices.push(notice);
        let mut known_numbers = 0;
        while let Some(number) = known(&mut notices) {
            assert_eq!(number, Ok(known_numbers));
            known_numbers += 1;
        }
        assert_eq!((known_numbers, notices.len()), (1000, 1));
    }
}
