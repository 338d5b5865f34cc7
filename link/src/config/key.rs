//! The keys as data: what a file may hold, which environment variable and flag say the same, and the
//! reference page.

use std::fmt::Write as _;

/// One key of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The name in the file; a dot is one level down (`topics.sourceEvents`).
    pub name: &'static str,
    /// What a value looks like.
    pub kind: ValueKind,
    /// The default as one would write it.
    pub default: Option<&'static str>,
    /// The environment variable of the same meaning.
    pub env: Option<&'static str>,
    /// The flag of the same meaning.
    pub flag: Option<&'static str>,
    /// Whether the value must never be shown.
    pub secret: bool,
    /// What it means, as a sentence part for the reference.
    pub meaning: &'static str,
}

/// What a value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// Any text.
    Text,
    /// `host:port`.
    HostPort,
    /// A whole number.
    Integer,
    /// Go's duration text, or nanoseconds.
    Duration,
    /// A path; a relative one counts from the directory of the file that names it.
    Path,
    /// PEM in Base64.
    Base64,
}

/// A Markdown table of keys for the reference page.
pub fn reference_table(keys: &[Key]) -> String {
    let mut table = String::from(
        "| Key | Type | Default | Environment | Flag | Meaning |\n|---|---|---|---|---|---|\n",
    );
    let code = |text: Option<&str>| text.map_or_else(|| "–".to_owned(), |text| format!("`{text}`"));
    for key in keys {
        // Writing to a String cannot fail.
        let _ = writeln!(
            table,
            "| `{}` | {} | {} | {} | {} | {} |",
            key.name,
            key.kind.name(),
            code(key.default),
            code(key.env),
            code(key.flag),
            key.meaning,
        );
    }
    table
}

// === impl Key ===

impl Key {
    /// A key with a file name only; the other places are added with the methods below.
    pub const fn new(name: &'static str, kind: ValueKind, meaning: &'static str) -> Self {
        Self {
            name,
            kind,
            default: None,
            env: None,
            flag: None,
            secret: false,
            meaning,
        }
    }

    /// With a default, written as in a file.
    #[must_use]
    pub const fn default(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    /// With an environment variable.
    #[must_use]
    pub const fn env(mut self, env: &'static str) -> Self {
        self.env = Some(env);
        self
    }

    /// With a flag, dashes included.
    #[must_use]
    pub const fn flag(mut self, flag: &'static str) -> Self {
        self.flag = Some(flag);
        self
    }

    /// Never to be shown.
    #[must_use]
    pub const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }
}

// === impl ValueKind ===

impl ValueKind {
    /// The name of the kind in the reference.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::HostPort => "host:port",
            Self::Integer => "integer",
            Self::Duration => "duration",
            Self::Path => "path",
            Self::Base64 => "Base64 of PEM",
        }
    }
}
