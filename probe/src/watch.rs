//! `probe watch`: a region as its API tells it, live in a terminal or as plain text and JSON.
//!
//! What is shown is fetched, nothing else: one page of clusters with their counts, the bundles that wait longest, and why
//! the few on the screen do. Sums are the server's. So ten thousand clusters cost what fifty do. When the API is away the
//! last picture stays, with its age. `look` fetches, `snapshot` reads answers, `view` is what keys do, `render` makes
//! lines; these three are pure. `screen` joins them on a `terminal`.

mod look;
mod render;
mod screen;
mod snapshot;
mod terminal;
mod view;

use std::io::{IsTerminal as _, stdout};

use link::cli::{Stdout, stdout_line};
use link::clock::Clock;
use link::error::{Failure, Hint};
use tokio::time::{Instant, sleep_until};

use self::look::Look;
use self::view::View;
use crate::args::WatchArgs;
use crate::output::Output;

/// Runs the command.
///
/// # Errors
/// With `--once` that the API gave no answer; else only what cannot pass, such as a file that cannot be read at the start,
/// or a caller that the API refuses.
pub async fn run(args: &WatchArgs) -> Result<(), Failure> {
    let api = args
        .api
        .client()
        .map_err(link::http::client::ApiError::into_failure)?
        .answer_bytes(ANSWER_BYTES);
    let look = Look::new(api, args.stuck_after);
    // A dumb terminal would show the commands to it as text.
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    if args.once || args.output.json || is_dumb || !stdout().is_terminal() {
        return plain(args, look).await;
    }
    screen::run(args, look).await
}

/// A table or a line of JSON for each look.
async fn plain(args: &WatchArgs, mut look: Look) -> Result<(), Failure> {
    let view = View::new(args, args.rows.into());
    let (clock, output) = (Clock::system(), Output::of(args.output));
    let width = terminal::size().map_or(PLAIN_WIDTH, |(width, _)| width);
    let mut first = true;
    let mut next_at = Instant::now();
    loop {
        sleep_until(next_at).await;
        next_at = Instant::now() + args.interval;
        match look.at(&view, clock.now()).await {
            Ok(snapshot) if first && snapshot.is_missing => return Err(no_cluster(&view)),
            Ok(mut snapshot) => {
                look.explain(&mut snapshot).await;
                let text = match args.output.json {
                    true => snapshot.json().to_string(),
                    false => render::plain(&snapshot, width),
                };
                if stdout_line(&text)? == Stdout::Closed || args.once {
                    return Ok(());
                }
                first = false;
            }
            // Whoever could not begin is told at once; later it is an outage that passes.
            Err(error) if first || args.once => return Err(error.into_failure()),
            Err(error) => output.note(&link::error::chain(&error)),
        }
    }
}

/// `--cluster` names none: that nothing of it is stuck would be no news. One that goes later is told in the picture.
#[derive(Debug, thiserror::Error)]
#[error("there is no cluster `{0}`")]
struct NoCluster(String);

fn no_cluster(view: &View) -> Failure {
    NoCluster(view.cluster.clone().unwrap_or_default()).into()
}

impl Hint for NoCluster {
    fn hint(&self) -> Option<String> {
        Some(
            "`probe watch --once --sort name` lists them, `--filter` those whose name holds a part"
                .into(),
        )
    }
}

// A page of 500 clusters or 200 bundles is some hundred KiB.
const ANSWER_BYTES: usize = 16 * 1024 * 1024;
// Where no terminal says how wide it is: a file or a log, wide enough for every column.
const PLAIN_WIDTH: usize = 140;
