//! Confirmation by the person who runs the command.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use link::error::{ExitKind, Failure};

/// Nobody agreed.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("nothing was changed: the answer was not `{wanted}`")]
    Declined { wanted: String },
    #[error("nothing was changed: there is nobody to ask")]
    Nobody,
    #[error("read the answer")]
    Read(#[source] io::Error),
}

/// Goes on only if the person types `wanted`; `flag` says how a script agrees.
///
/// # Errors
/// When the answer is another, and when standard input is no terminal.
pub(crate) fn confirm(question: &str, wanted: &str, flag: &str) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        let hint = format!("look at `provisioner plan`, then add `{flag}`");
        return Err(Failure::usage(AskError::Nobody).with_hint(hint));
    }
    let mut err = io::stderr();
    // There is nobody left to tell when standard error itself is gone.
    let _ = write!(err, "{question}\nType `{wanted}` to go on: ");
    let _ = err.flush();
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|error| Failure::new(ExitKind::Failed, AskError::Read(error)))?;
    if answer.trim() == wanted {
        return Ok(());
    }
    let wanted = wanted.to_owned();
    Err(Failure::new(
        ExitKind::Failed,
        AskError::Declined { wanted },
    ))
}
