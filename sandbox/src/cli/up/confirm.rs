//! Whether a directory with other files in it may become a region's: a person is asked, a script says it beforehand.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;

use link::error::Failure;

use crate::up::{Home, HomeError};

/// The directory of `--keep`, once it may be used.
pub(super) fn kept(directory: &Path, yes: bool) -> Result<Home, Failure> {
    match Home::kept(directory, yes) {
        Err(foreign @ HomeError::Foreign { .. }) => {
            if is_confirmed(&foreign.to_string()) {
                return Ok(Home::kept(directory, true)?);
            }
            Err(Failure::misuse(foreign))
        }
        Err(
            error @ (HomeError::NoDirectory { .. }
            | HomeError::Own { .. }
            | HomeError::Dangling { .. }),
        ) => Err(Failure::misuse(error)),
        home => Ok(home?),
    }
}

/// Asks, if there is somebody to ask; no answer is a no.
fn is_confirmed(what: &str) -> bool {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return false;
    }
    let question = format!(
        "{what}\nPut a region among them, and let nobody but you read the directory? [y/N] "
    );
    let mut answer = String::new();
    let asked = io::stderr().write_all(question.as_bytes());
    asked.is_ok() && io::stdin().read_line(&mut answer).is_ok() && is_yes(&answer)
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_one() {
        for answer in ["y\n", "Yes\n", "Y"] {
            assert!(is_yes(answer), "{answer}");
        }
        for answer in ["", "\n", "n\n", "yep\n"] {
            assert!(!is_yes(answer), "{answer}");
        }
    }
}
