//! The live screen: one task fetches what the view shows, the other draws it and reads keys.

use std::time::Duration;

use link::clock::Clock;
use link::error::{ExitKind, Failure, Hint, chain};
use link::http::client::ApiError;
use tokio::io::{AsyncReadExt as _, stdin};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{interval, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::look::Look;
use super::render::Picture;
use super::snapshot::Snapshot;
use super::terminal::{Terminal, size};
use super::view::{Action, View, keys};
use crate::args::WatchArgs;

/// What came of looking.
#[derive(Clone, Debug, Default)]
struct Seen {
    snapshot: Option<Snapshot>,
    trouble: Option<String>,
}

/// Signals could not be listened to.
#[derive(Debug, thiserror::Error)]
#[error("listen to signals")]
struct SignalError(#[source] std::io::Error);

/// What fetches has died, so that the picture would stand still for ever.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("watch the region: the task that fetches has ended")]
struct Ended;

/// Shows the region until somebody ends it.
pub(super) async fn run(args: &WatchArgs, mut look: Look) -> Result<(), Failure> {
    let clock = Clock::system();
    let mut view = View::new(args, 1);
    let (width, height) = size().unwrap_or(SMALL);
    view.resize(height);
    // Before the screen is taken: who could not begin is told in words that stay.
    let first = match look.at(&view, clock.now()).await {
        Ok(snapshot) if snapshot.is_missing => return Err(super::no_cluster(&view)),
        Ok(snapshot) => snapshot,
        Err(error) => return Err(error.into_failure()),
    };
    let address = look.address();
    let (wanted, wanted_views) = watch::channel(view.clone());
    let (tell, mut seen) = watch::channel(Seen {
        snapshot: Some(first),
        trouble: None,
    });
    let every = args.interval;
    let _looking = AbortOnDropHandle::new(tokio::spawn(looking(
        look,
        wanted_views,
        tell,
        every,
        clock.clone(),
    )));
    let mut stop = Stop::listen().map_err(SignalError)?;
    let mut resized = signal(SignalKind::window_change()).map_err(SignalError)?;
    let mut terminal = Terminal::open()?;
    let mut tick = interval(TICK);
    let mut input = [0; KEY_BYTES];
    let mut typed = terminal.has_keys();
    let mut keyboard = stdin();
    let (mut width, mut height) = (width, height);
    // What is on the screen, or on its way there, and whether that is to be another picture by now.
    let (mut current, mut is_stale) = (Seen::default(), true);
    loop {
        if is_stale && !terminal.is_drawing() {
            current = seen.borrow_and_update().clone();
            let picture = Picture {
                address: &address,
                snapshot: current.snapshot.as_ref(),
                view: &view,
                trouble: current.trouble.as_deref(),
                now: clock.now(),
            };
            terminal.draw(&picture.lines(width, height));
            is_stale = false;
        }
        let mut fetch = false;
        tokio::select! {
            () = stop.asked() => return Ok(()),
            drawn = terminal.drawn() => {
                drawn?;
                continue;
            }
            changed = seen.changed() => if changed.is_err() {
                // Drawn over nothing: the terminal is given back first.
                drop(terminal);
                return Err(Failure::new(ExitKind::Failed, Ended).with_hint(Ended.hint()));
            },
            _ = tick.tick() => {}
            _ = resized.recv() => {
                (width, height) = size().unwrap_or(SMALL);
                fetch = view.resize(height);
            }
            read = keyboard.read(&mut input), if typed => match read {
                Ok(0) | Err(_) => typed = false,
                Ok(count) => {
                    let (names, total): (Vec<&str>, u64) = match &current.snapshot {
                        Some(snapshot) => (
                            snapshot.rows.iter().map(|row| row.name.as_str()).collect(),
                            snapshot.clusters,
                        ),
                        None => (Vec::new(), 0),
                    };
                    for key in keys(&input[..count]) {
                        match view.on_key(key, &names, total) {
                            Action::Quit => return Ok(()),
                            Action::Fetch => fetch = true,
                            Action::Draw | Action::None => {}
                        }
                    }
                }
            },
        }
        is_stale = true;
        if fetch {
            wanted.send_replace(view.clone());
        }
    }
}

/// Looks at what is wanted, again after a while or as soon as something else is wanted; ends with the screen.
async fn looking(
    mut look: Look,
    mut wanted: watch::Receiver<View>,
    tell: watch::Sender<Seen>,
    every: Duration,
    clock: Clock,
) {
    loop {
        let view = wanted.borrow_and_update().clone();
        match look.at(&view, clock.now()).await {
            Ok(mut snapshot) => {
                // What is explained already stays until it is explained anew.
                keep_reasons(&mut snapshot, &tell.borrow());
                tell.send_replace(Seen {
                    snapshot: Some(snapshot.clone()),
                    trouble: None,
                });
                tokio::select! {
                    () = look.explain(&mut snapshot) => {}
                    // Whoever looks at something else by now does not wait for reasons.
                    changed = wanted.changed() => match changed {
                        Ok(()) => {
                            // Not seen yet: it is to be looked at.
                            wanted.mark_changed();
                        }
                        Err(_) => return,
                    },
                }
                tell.send_replace(Seen {
                    snapshot: Some(snapshot),
                    trouble: None,
                });
            }
            Err(error) => tell.send_modify(|seen| seen.trouble = Some(words(&error))),
        }
        match timeout(every, wanted.changed()).await {
            Ok(Ok(())) | Err(_) => {}
            Ok(Err(_)) => return,
        }
    }
}

fn keep_reasons(snapshot: &mut Snapshot, seen: &Seen) {
    let known = seen.snapshot.iter().flat_map(|snapshot| &snapshot.bundles);
    for before in known {
        let same = snapshot.bundles.iter_mut().find(|now| {
            now.id == before.id && now.hop == before.hop && now.version == before.version
        });
        if let Some(now) = same {
            *now = before.clone();
        }
    }
}

fn words(error: &ApiError) -> String {
    match error.hint() {
        Some(hint) => format!("{} ({hint})", chain(error)),
        None => chain(error),
    }
}

/// The signals that end it; the terminal is given back before the process ends.
struct Stop([Signal; 3]);

// === impl Stop ===

impl Stop {
    fn listen() -> std::io::Result<Self> {
        Ok(Self([
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    async fn asked(&mut self) {
        let [terminate, interrupt, hangup] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

// === impl SignalError ===

impl Hint for SignalError {}

// === impl Ended ===

impl Hint for Ended {
    fn hint(&self) -> Option<String> {
        Some("this is a fault of this program: tell its makers what stands before; `--once` may still do".into())
    }
}

// So that ages go on.
const TICK: Duration = Duration::from_secs(1);
// A terminal that does not tell its size.
const SMALL: (usize, usize) = (80, 24);
// What is pasted beyond it comes with the next read.
const KEY_BYTES: usize = 64;
