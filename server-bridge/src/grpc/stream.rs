//! One stream of a source: what was reported lately, then what is reported, each bundle in its present state.
//!
//! **Contract:** the first event is a heartbeat at once, and another follows every [`Pace::heartbeat`]; Go clients connect
//! again after 20 s without any (docs/GRPC.md rule 12). Nothing is confirmed by a client and its library keeps no position, so
//! each stream first repeats what was reported in the last [`REPLAY`]: that closes the gap of a reconnect.
//! **Invariant:** a stream waits for its own client alone, and no longer than [`STALL`]: then it is ended, and reset if
//! that is not taken either. What else is on its connection goes on.
//! **Invariant:** what its caller may hear is asked again with each heartbeat ([`StreamRights`]).

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{BoxStream, poll_fn};
use jiff::{SignedDuration, Timestamp};
use link::clock::Clock;
use link::error::chain;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tonic::Status;
use tracing::{debug, info};

use super::backlog::{NextEvent, Wanted};
use super::connections::Termination;
use super::error::Refusal;
use super::hub::Subscription;
use super::metrics::Registered;
use super::proto::CloudEvent;
use super::reports::{Present, Reports};
use super::rights::StreamRights;
use super::wire::heartbeat;
use crate::callers::Denied;
use crate::store::{ReportCursor, Store, StoreError};

/// How often a stream says that it is alive, and since when it repeats.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    pub(super) heartbeat: Duration,
    pub(super) clock: Clock,
}

/// What a stream works with.
pub(super) struct Stream<S> {
    pub(super) seat: Subscription,
    pub(super) reports: Reports<S>,
    /// Bundles of consumers beyond them are left out.
    pub(super) rights: StreamRights,
    pub(super) pace: Pace,
    pub(super) ending: Termination,
    pub(super) registered: Registered,
}

/// Events as the connection takes them.
type Sender = mpsc::Sender<Result<CloudEvent, Status>>;

/// Why a stream ends.
enum End {
    /// Its client went.
    Gone,
    /// Its connection is to end.
    Asked,
    /// Its client takes nothing.
    Stalled,
    /// Its caller may not hear of the source any more.
    Withdrawn(Denied),
}

/// Where the repetition of what was reported is.
struct Replay {
    since: Timestamp,
    /// Where the last page ended.
    after: Option<ReportCursor>,
    /// Since when the one that follows repeats.
    again: Option<Timestamp>,
}

/// How many events went lately.
struct Rate {
    until: Instant,
    sent: u32,
}

// === impl Stream ===

impl<S: Store> Stream<S> {
    /// Starts the stream. It ends when what is returned is dropped.
    pub(super) fn start(self) -> BoxStream<'static, Result<CloudEvent, Status>> {
        let (events, mut taken) = mpsc::channel(AHEAD + 1);
        tokio::spawn(self.run(events));
        Box::pin(poll_fn(move |cx| taken.poll_recv(cx)))
    }

    async fn run(self, events: Sender) {
        // Room for the reason why it ends, also when there is none for anything else.
        let Ok(last_word) = events.clone().reserve_owned().await else {
            return;
        };
        let why = match self.serve(&events).await {
            End::Gone => return,
            End::Asked => Refusal::unavailable(
                "this connection is at its end, so that clients spread over the servers; connect again",
            ),
            End::Withdrawn(denied) => {
                let source = self.seat.source().as_str();
                info!(source, "A stream is ended: {denied}");
                denied.into()
            }
            End::Stalled => {
                let source = self.seat.source().as_str();
                info!(
                    source,
                    "A stream is ended: its client took nothing for {} s",
                    STALL.as_secs()
                );
                Refusal::unavailable(format!(
                    "nothing was taken from this stream for {} s; connect again",
                    STALL.as_secs()
                ))
            }
        };
        last_word.send(Err(why.into()));
        // What the client does not read it does not free either, as long as its connection is there; other streams of that
        // connection may be others' clients, behind one proxy.
        if timeout(LAST_WORD, events.closed()).await.is_err() {
            self.ending.reset();
        }
    }

    async fn serve(&self, events: &Sender) -> End {
        let since = self.pace.clock.now().checked_sub(REPLAY);
        self.seat.read_since(since.unwrap_or(Timestamp::UNIX_EPOCH));
        let mut beat = interval(self.pace.heartbeat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut full_since = None;
        let mut telling = pin!(self.tell(events));
        let mut withdrawn = pin!(self.rights.withdrawn(self.pace.heartbeat));
        loop {
            tokio::select! {
                biased;
                () = events.closed() => return End::Gone,
                () = self.ending.asked() => return End::Asked,
                _ = beat.tick() => match events.try_send(Ok(heartbeat())) {
                    Ok(()) => full_since = None,
                    Err(TrySendError::Closed(_)) => return End::Gone,
                    Err(TrySendError::Full(_)) => {
                        let since = *full_since.get_or_insert_with(Instant::now);
                        if since.elapsed() >= STALL {
                            return End::Stalled;
                        }
                    }
                },
                denied = &mut withdrawn => return End::Withdrawn(denied),
                end = &mut telling => return end,
            }
        }
    }

    /// Tells what there is to tell, until the client goes or takes nothing.
    async fn tell(&self, events: &Sender) -> End {
        let mut replay: Option<Replay> = None;
        let mut rate = Rate::default();
        loop {
            match (self.seat.next(Instant::now()), &mut replay) {
                (NextEvent::Send(id, wanted), _) => match self.present(&id, wanted).await {
                    None => {}
                    Some(event) => {
                        match timeout(STALL, events.send(Ok(event))).await {
                            Ok(Ok(())) => {}
                            Ok(Err(_)) => return End::Gone,
                            Err(_) => return End::Stalled,
                        }
                        self.registered.sent();
                        self.seat.done(id, Some(Instant::now()));
                        rate.keep().await;
                    }
                },
                (NextEvent::Read(since), None) => replay = Some(Replay::new(since)),
                (NextEvent::Read(since), Some(under_way)) => under_way.read_since(since),
                (NextEvent::Wait(_), Some(under_way)) => {
                    if !self.page(under_way).await {
                        replay = None;
                    }
                }
                (NextEvent::Wait(until), None) => tokio::select! {
                    () = self.seat.changed() => {}
                    () = sleep_until(until.unwrap_or_else(|| Instant::now() + IDLE)) => {}
                },
            }
        }
    }

    /// The event of a bundle, if there is one that this stream wants; otherwise the seat knows.
    async fn present(&self, id: &Arc<str>, wanted: Wanted) -> Option<CloudEvent> {
        let event = match self.reports.present(id, &wanted).await {
            Ok(present) => present
                .filter(|present| self.wants(present, &wanted))
                .and_then(|present| present.event.clone()),
            Err(error) => {
                self.seat.put_back(id.clone(), wanted);
                self.wait_for_store(&error).await;
                return None;
            }
        };
        if event.is_none() {
            self.seat.done(id.clone(), None);
        }
        event
    }

    fn wants(&self, present: &Present, wanted: &Wanted) -> bool {
        // A list of a resync may name any id.
        present.source == *self.seat.source()
            && self.rights.permit(&present.source, &present.consumer)
            && (wanted.unless.is_none()
                || wanted.unless.as_deref() != present.status_hash.as_deref())
    }

    /// Adds the next page of what was reported; false when that was the last one.
    async fn page(&self, replay: &mut Replay) -> bool {
        let source = self.seat.source();
        let page = self.reports.since(source, replay.since, replay.after, PAGE);
        match page.await {
            Ok(page) => {
                self.seat.add(page.heads.iter());
                replay.advance(page.next)
            }
            Err(error) => {
                self.wait_for_store(&error).await;
                true
            }
        }
    }

    async fn wait_for_store(&self, error: &StoreError) {
        debug!("A stream waits for the store: {}", chain(error));
        sleep(AGAIN).await;
    }
}

// === impl Replay ===

impl Replay {
    fn new(since: Timestamp) -> Self {
        Self {
            since,
            after: None,
            again: None,
        }
    }

    /// Has what was reported since then told too. A repetition under way goes on to its end: begun anew each time, it
    /// would never come to it where more is reported than waits for a stream.
    fn read_since(&mut self, since: Timestamp) {
        if self.after.is_none() {
            self.since = self.since.min(since);
        } else {
            self.again = Some(self.again.map_or(since, |again| again.min(since)));
        }
    }

    /// Goes on behind a page; false when there is nothing.
    fn advance(&mut self, next: Option<ReportCursor>) -> bool {
        if next.is_some() {
            self.after = next;
            return true;
        }
        match self.again.take() {
            Some(since) => {
                *self = Self::new(since);
                true
            }
            None => false,
        }
    }
}

// === impl Rate ===

impl Rate {
    /// Waits so long that no more than [`BURST`] events go in a [`WINDOW`].
    async fn keep(&mut self) {
        let now = Instant::now();
        if now >= self.until {
            (self.until, self.sent) = (now + WINDOW, 0);
        }
        self.sent += 1;
        if self.sent >= BURST {
            sleep_until(self.until).await;
        }
    }
}

impl Default for Rate {
    fn default() -> Self {
        Self {
            until: Instant::now(),
            sent: 0,
        }
    }
}

/// What a new stream repeats. Clients connect again after two minutes at most (docs/MAESTRO.md §1.6), and ask REST for the rest.
pub(super) const REPLAY: SignedDuration = SignedDuration::from_mins(15);

/// How long a client may take nothing: Go clients give up a silent server after as long.
pub(super) const STALL: Duration = Duration::from_secs(20);

// Beyond what the connection has taken already: enough to keep it busy, and little, so that what is sent is the present.
const AHEAD: usize = 4;

// A client that reads has the reason by then.
const LAST_WORD: Duration = Duration::from_secs(5);

// 1000 events a second, which leaves an unchanged Go client time for its handlers.
const WINDOW: Duration = Duration::from_millis(100);
const BURST: u32 = 100;

// Heads of the store are some 100 bytes.
const PAGE: u32 = 500;

const AGAIN: Duration = Duration::from_millis(500);
const IDLE: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests;
