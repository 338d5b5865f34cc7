//! What words are: where they end, which are names of secrets, and which say that a secret follows.

/// Whether a name is one of a secret.
pub(super) fn is_secret(name: &str) -> bool {
    let plain: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    let last = name.rsplit(['.', '_', '-', '?', '&', '/']).next();
    let last = last.unwrap_or_default().to_ascii_lowercase();
    let is_kind = KINDS.iter().any(|kind| plain.ends_with(kind));
    !is_kind && (PARTS.iter().any(|part| plain.contains(part)) || WHOLE.contains(&last.as_str()))
}

/// What ends a word.
pub(super) fn is_boundary(c: char) -> bool {
    c.is_whitespace() || "`'\",;&()<>{}[]".contains(c)
}

/// Schemes of credentials that say nothing themselves.
pub(super) const SCHEMES: [&str; 2] = ["bearer", "basic"];

// What is in the names of secrets, without what parts words.
const PARTS: [&str; 13] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "credential",
    "apikey",
    "accesskey",
    "accountkey",
    "privatekey",
    "authorization",
    "signature",
    "cookie",
];

// How names of faults end, after which their sentence follows: `ExpiredTokenException: The security token …`.
const KINDS: [&str; 4] = ["exception", "error", "tokenid", "notmatch"];

// Too short to be looked for in longer names.
const WHOLE: [&str; 3] = ["pwd", "pass", "sig"];
