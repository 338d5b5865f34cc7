//! The terminal: its size, keys without echo, a screen of its own, and the terminal as it was when it ends, panics
//! included.
//!
//! **Invariant:** a terminal that takes nothing more (a connection that stalls) holds up nobody: what is written is written
//! by a thread of its own, one picture at a time, and at the end it is waited for a moment only.

use std::io::{self, Write as _, stdin, stdout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use link::error::Hint;
use rustix::termios::{self, InputModes, LocalModes, OptionalActions, QueueSelector, Termios};
use tokio::task::{JoinHandle, spawn_blocking};

use super::render::{Line, Style};

/// The terminal while it is ours.
pub(super) struct Terminal {
    before: Arc<Before>,
    /// Unless `NO_COLOR` is set (no-color.org).
    has_colours: bool,
    /// What is being written.
    writing: Option<JoinHandle<io::Result<()>>>,
}

/// The terminal could not be used.
#[derive(Debug, thiserror::Error)]
#[error("use the terminal")]
pub(super) struct TerminalError(#[source] io::Error);

/// How it was; given back once.
struct Before {
    modes: Option<Termios>,
    /// Whether somebody can type.
    has_keys: bool,
    given_back: AtomicBool,
}

// === impl Terminal ===

impl Terminal {
    /// Takes the terminal: keys come one by one and unseen, and a second screen is shown.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn open() -> Result<Self, TerminalError> {
        // Without a terminal to type on there are no keys, and the picture is shown all the same.
        let typed = termios::tcgetattr(stdin()).ok();
        let has_keys = typed.is_some();
        let modes = typed.or_else(|| termios::tcgetattr(stdout()).ok());
        let before = Arc::new(Before {
            modes,
            has_keys,
            given_back: AtomicBool::new(false),
        });
        if let Some(modes) = &before.modes {
            let mut ours = modes.clone();
            // Ctrl-S would stop a picture that tells how old it is, and the end with it.
            ours.input_modes.remove(InputModes::IXON);
            if has_keys {
                ours.local_modes.remove(
                    LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG | LocalModes::IEXTEN,
                );
            }
            before
                .set(&ours)
                .map_err(|error| TerminalError(error.into()))?;
        }
        let (other, said) = (Arc::clone(&before), std::panic::take_hook());
        // What a panic says belongs on the screen that stays.
        std::panic::set_hook(Box::new(move |panic| {
            other.give_back();
            said(panic);
        }));
        let mut terminal = Self {
            before,
            has_colours: std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty()),
            writing: None,
        };
        terminal.write(ENTER.into());
        Ok(terminal)
    }

    /// Whether there are keys to read.
    pub(super) fn has_keys(&self) -> bool {
        self.before.has_keys
    }

    /// Whether the last picture is still being written, so that another one has to wait.
    pub(super) fn is_drawing(&self) -> bool {
        self.writing.is_some()
    }

    /// Begins to show these lines, as many as the screen has.
    pub(super) fn draw(&mut self, lines: &[Line]) {
        let mut text = String::from(HOME);
        for (number, line) in lines.iter().enumerate() {
            if number > 0 {
                text.push_str("\r\n");
            }
            // Before the text: behind a line as wide as the screen the last character would go too.
            text.push_str(CLEAR_LINE);
            text.push_str(begin(line.style, self.has_colours));
            text.push_str(&line.text);
            text.push_str(END_OF_STYLE);
        }
        self.write(text);
    }

    /// Completes when the terminal has taken what was to be shown; never if nothing was.
    ///
    /// # Errors
    /// The system's.
    pub(super) async fn drawn(&mut self) -> Result<(), TerminalError> {
        let Some(writing) = &mut self.writing else {
            return std::future::pending().await;
        };
        let done = writing.await;
        self.writing = None;
        // A write that panicked has said so.
        done.unwrap_or(Ok(())).map_err(TerminalError)
    }

    fn write(&mut self, text: String) {
        let before = Arc::clone(&self.before);
        self.writing = Some(spawn_blocking(move || before.write(&text)));
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.before.give_back();
    }
}

// === impl Before ===

impl Before {
    fn write(&self, text: &str) -> io::Result<()> {
        let mut out = stdout().lock();
        for part in text.as_bytes().chunks(WRITTEN_AT_ONCE) {
            // The screen is left, or a task has panicked and what it said is not drawn over.
            if self.given_back.load(Ordering::SeqCst) {
                return Ok(());
            }
            out.write_all(part)?;
            out.flush()?;
        }
        Ok(())
    }

    fn give_back(&self) {
        if self.given_back.swap(true, Ordering::SeqCst) {
            return;
        }
        // For one word.
        let (tell, is_left) = mpsc::sync_channel(1);
        // Behind the part that is being written, however long that takes. Nobody is left to tell when the terminal is gone.
        let leaving = std::thread::Builder::new().spawn(move || {
            let mut out = stdout().lock();
            let _ = out.write_all(LEAVE.as_bytes()).and_then(|()| out.flush());
            drop(out);
            let _ = tell.send(());
        });
        if leaving.is_ok() && is_left.recv_timeout(TAKEN_WITHIN).is_err() {
            // What it has not taken makes room for the end of that part and for what leaves the screen.
            let _ = termios::tcflush(stdout(), QueueSelector::OFlush);
            let _ = is_left.recv_timeout(LEFT_WITHIN);
        }
        if let Some(modes) = &self.modes {
            let _ = self.set(modes);
        }
    }

    fn set(&self, modes: &Termios) -> rustix::io::Result<()> {
        match self.has_keys {
            true => termios::tcsetattr(stdin(), OptionalActions::Now, modes),
            false => termios::tcsetattr(stdout(), OptionalActions::Now, modes),
        }
    }
}

// === impl TerminalError ===

impl Hint for TerminalError {
    fn hint(&self) -> Option<String> {
        Some("use `--once` or `--json`, which need none".into())
    }
}

/// Columns and lines of the terminal on standard output, if it is one that tells.
pub(super) fn size() -> Option<(usize, usize)> {
    let size = termios::tcgetwinsize(stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then(|| (size.ws_col.into(), size.ws_row.into()))
}

fn begin(style: Style, has_colours: bool) -> &'static str {
    match style {
        Style::Plain => "",
        Style::Title => "\u{1b}[1m",
        Style::Header => "\u{1b}[1;4m",
        Style::Selected => "\u{1b}[7m",
        Style::Warning if has_colours => "\u{1b}[33m",
        Style::Warning => "\u{1b}[1m",
        Style::Dim => "\u{1b}[2m",
    }
}

// Second screen, no cursor, and long lines are cut rather than wrapped; and back.
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l\u{1b}[?7l\u{1b}[2J";
const LEAVE: &str = "\u{1b}[0m\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l";
const HOME: &str = "\u{1b}[H";
const CLEAR_LINE: &str = "\u{1b}[K";
const END_OF_STYLE: &str = "\u{1b}[0m";

// A terminal's buffer has room for more: it takes what is left of a part once it is emptied.
const WRITTEN_AT_ONCE: usize = 1024;

// More than any terminal takes that reads at all.
const TAKEN_WITHIN: Duration = Duration::from_millis(500);

// Waits for a thread that has nothing to wait for.
const LEFT_WITHIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn without_colours_there_are_none() {
        let styles = [
            Style::Plain,
            Style::Title,
            Style::Header,
            Style::Selected,
            Style::Warning,
            Style::Dim,
        ];
        // Colours are 30 to 37 and 90 to 97.
        let is_coloured =
            |style, has| begin(style, has).contains("[3") || begin(style, has).contains("[9");
        assert!(styles.iter().all(|style| !is_coloured(*style, false)));
        assert!(is_coloured(Style::Warning, true));
    }

    /// Does nothing but for the other test, which runs it in a terminal of its own.
    #[tokio::test]
    async fn panics_with_a_terminal_taken() {
        if std::env::var_os(ASKED).is_none() {
            return;
        }
        let mut terminal = Terminal::open().unwrap();
        terminal.drawn().await.unwrap();
        assert!(terminal.has_keys());
        // Another task's, while this one goes on drawing.
        let other = std::thread::spawn(|| panic!("the panic's words"));
        assert!(other.join().is_err());
        let late = Line {
            text: "drawn late".into(),
            style: Style::Plain,
        };
        terminal.draw(&[late]);
        terminal.drawn().await.unwrap();
    }

    #[test]
    fn a_panic_gives_the_terminal_back_before_it_says_anything() {
        let program = std::env::current_exe().unwrap();
        let test = "watch::terminal::tests::panics_with_a_terminal_taken";
        let line = format!(
            "stty -g; '{}' --exact --nocapture {test}; stty -g",
            program.display()
        );
        // Of util-linux: runs the line in a new terminal, and copies what is written there.
        let run = Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .env(ASKED, "1")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let shown = String::from_utf8_lossy(&run.stdout);
        let at = |part: &str| {
            let found = shown.find(part);
            found.unwrap_or_else(|| panic!("no {part:?} in {shown:?}"))
        };
        assert!(at(ENTER) < at(LEAVE) && at(LEAVE) < at("the panic's words"));
        assert_eq!(shown.matches(LEAVE).count(), 1, "{shown:?}");
        assert!(!shown.contains("drawn late"), "{shown:?}");
        let modes = |line: Option<&str>| line.map(|line| line.trim().to_owned());
        let (before, after) = (modes(shown.lines().next()), modes(shown.lines().last()));
        assert!(before.as_ref().is_some_and(|modes| modes.contains(':')));
        assert_eq!(before, after, "{shown:?}");
    }

    /// Does nothing but for the other test, which runs it in a terminal that nobody reads.
    #[tokio::test]
    async fn leaves_a_terminal_that_takes_nothing_more() {
        let Some(told) = std::env::var_os(STALLED) else {
            return;
        };
        let mut terminal = Terminal::open().unwrap();
        let line = Line {
            text: "x".repeat(1000),
            style: Style::Plain,
        };
        let picture = vec![line; 100];
        loop {
            match tokio::time::timeout(Duration::from_secs(2), terminal.drawn()).await {
                Ok(drawn) => drawn.unwrap(),
                Err(_) => break,
            }
            terminal.draw(&picture);
        }
        assert!(terminal.is_drawing());
        drop(terminal);
        std::fs::write(told, "left").unwrap();
    }

    #[tokio::test]
    async fn a_terminal_that_takes_nothing_more_is_left_all_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let told = directory.path().join("told");
        let program = std::env::current_exe().unwrap();
        let test = "watch::terminal::tests::leaves_a_terminal_that_takes_nothing_more";
        let line = format!("'{}' --exact --nocapture {test}", program.display());
        // What it copies has nowhere to go, so that it reads its terminal no more.
        let mut run = Command::new("timeout")
            .args(["-k", "1", "120", "script", "-qec", &line, "/dev/null"])
            .env(STALLED, &told)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        while !told.exists() {
            assert_eq!(run.try_wait().unwrap(), None, "it did not leave");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let shown = run.wait_with_output().unwrap();
        let shown = String::from_utf8_lossy(&shown.stdout);
        assert!(
            shown.contains(ENTER) && shown.contains(LEAVE),
            "{}",
            shown.len()
        );
    }

    const ASKED: &str = "PROBE_TEST_PANICS_WITH_A_TERMINAL";
    const STALLED: &str = "PROBE_TEST_STALLED_TERMINAL";
}
