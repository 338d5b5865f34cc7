//! The terminal: its size, keys without echo, a screen of its own, and the terminal as it was when it ends, panics
//! included.

use std::io::{self, Write as _, stdin, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use link::error::Hint;
use rustix::termios::{self, LocalModes, OptionalActions, Termios};

use super::render::{Line, Style};

/// The terminal while it is ours.
pub(super) struct Terminal {
    before: Arc<Before>,
}

/// The terminal could not be used.
#[derive(Debug, thiserror::Error)]
#[error("use the terminal")]
pub(super) struct TerminalError(#[source] io::Error);

/// How it was; given back once.
struct Before {
    modes: Option<Termios>,
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
        let modes = termios::tcgetattr(stdin()).ok();
        if let Some(modes) = &modes {
            let mut ours = modes.clone();
            ours.local_modes.remove(
                LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG | LocalModes::IEXTEN,
            );
            termios::tcsetattr(stdin(), OptionalActions::Now, &ours)
                .map_err(|error| TerminalError(error.into()))?;
        }
        let before = Arc::new(Before {
            modes,
            given_back: AtomicBool::new(false),
        });
        let (other, said) = (Arc::clone(&before), std::panic::take_hook());
        // What a panic says belongs on the screen that stays.
        std::panic::set_hook(Box::new(move |panic| {
            other.give_back();
            said(panic);
        }));
        let terminal = Self { before };
        write(ENTER).map_err(TerminalError)?;
        Ok(terminal)
    }

    /// Whether there are keys to read.
    pub(super) fn has_keys(&self) -> bool {
        self.before.modes.is_some()
    }

    /// Shows these lines, as many as the screen has, in one write.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn draw(&self, lines: &[Line]) -> Result<(), TerminalError> {
        // Another task has panicked: what it said is not drawn over.
        if self.before.given_back.load(Ordering::SeqCst) {
            return Ok(());
        }
        let mut text = String::from(HOME);
        for (number, line) in lines.iter().enumerate() {
            if number > 0 {
                text.push_str("\r\n");
            }
            // Before the text: behind a line as wide as the screen the last character would go too.
            text.push_str(CLEAR_LINE);
            text.push_str(begin(line.style));
            text.push_str(&line.text);
            text.push_str(END_OF_STYLE);
        }
        write(&text).map_err(TerminalError)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.before.give_back();
    }
}

// === impl Before ===

impl Before {
    fn give_back(&self) {
        if self.given_back.swap(true, Ordering::SeqCst) {
            return;
        }
        // Nobody is left to tell when the terminal is gone.
        let _ = write(LEAVE);
        if let Some(modes) = &self.modes {
            let _ = termios::tcsetattr(stdin(), OptionalActions::Now, modes);
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

fn write(text: &str) -> io::Result<()> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn begin(style: Style) -> &'static str {
    match style {
        Style::Plain => "",
        Style::Title => "\u{1b}[1m",
        Style::Header => "\u{1b}[1;4m",
        Style::Selected => "\u{1b}[7m",
        Style::Warning => "\u{1b}[33m",
        Style::Dim => "\u{1b}[2m",
    }
}

// Second screen, no cursor, and long lines are cut rather than wrapped; and back.
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l\u{1b}[?7l\u{1b}[2J";
const LEAVE: &str = "\u{1b}[0m\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l";
const HOME: &str = "\u{1b}[H";
const CLEAR_LINE: &str = "\u{1b}[K";
const END_OF_STYLE: &str = "\u{1b}[0m";

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// Does nothing but for the other test, which runs it in a terminal of its own.
    #[test]
    fn panics_with_a_terminal_taken() {
        if std::env::var_os(ASKED).is_none() {
            return;
        }
        let terminal = Terminal::open().unwrap();
        assert!(terminal.has_keys());
        // Another task's, while this one goes on drawing.
        let other = std::thread::spawn(|| panic!("the panic's words"));
        assert!(other.join().is_err());
        let late = Line {
            text: "drawn late".into(),
            style: Style::Plain,
        };
        terminal.draw(&[late]).unwrap();
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

    const ASKED: &str = "PROBE_TEST_PANICS_WITH_A_TERMINAL";
}
