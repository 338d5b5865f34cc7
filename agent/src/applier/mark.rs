//! What an object looked like when a work was looked at, short enough to be kept: an agent that starts again compares
//! it with what a list says, and looks again only where something differs.

use std::fmt;

/// The looks of one object. An applier makes it and is the only one who compares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The version of the object; `None` when there was none.
    pub version: Option<String>,
    /// Of what the work says about the object. It stays when others change what the work leaves to them.
    pub print: Option<String>,
}

// === impl Mark ===

impl Mark {
    /// The same for a work that cares about all of the object, such as its status.
    #[must_use]
    pub fn exact(self) -> Self {
        Self {
            print: None,
            ..self
        }
    }

    /// Reads what was written.
    pub fn read(text: &str) -> Self {
        let (version, print) = match text.split_once('/') {
            Some((version, print)) => (version, Some(print.to_owned())),
            None => (text, None),
        };
        Self {
            version: (version != ABSENT).then(|| version.to_owned()),
            print,
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.version.as_deref().unwrap_or(ABSENT))?;
        match &self.print {
            Some(print) => write!(f, "/{print}"),
            None => Ok(()),
        }
    }
}

const ABSENT: &str = "-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for text in ["12", "12/abc", "-"] {
            assert_eq!(Mark::read(text).to_string(), text);
        }
        assert_eq!(Mark::read("12/abc").exact().to_string(), "12");
        assert_eq!(Mark::read("-").version, None);
    }
}
