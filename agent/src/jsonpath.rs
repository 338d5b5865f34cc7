//! kubectl's JSONPath dialect, translated to RFC 9535.
//!
//! What is written differently is rewritten: names with `-` or `/` and escaped dots are quoted, `$` in a filter is the
//! element, and an element that lacks what a filter compares never passes it. What the RFC adds is let through (`&&`,
//! names in double quotes, filters on the values of an object), except function calls. Paths that could ask for many
//! times the object are refused: kubectl's answer to them is a long wait.

/// Translates a path without braces.
///
/// # Errors
/// A phrase that says what the path lacks.
pub(crate) fn translate(path: &str) -> Result<String, &'static str> {
    let path = path.trim();
    if path.len() > MAX_BYTES {
        return Err("is longer than 2048 bytes");
    }
    if path.contains(['{', '}']) {
        return Err("may not hold braces");
    }
    if ["range", "end"].contains(&path.split_whitespace().next().unwrap_or_default()) {
        return Err("may not use `range` and `end`: `[*]` gives every element");
    }
    let body = path.strip_prefix(['$', '@']).unwrap_or(path);
    if !body.is_empty() && !body.starts_with(['.', '[']) {
        return Err("must begin with a dot");
    }
    let mut translation = Translation {
        out: String::from("$"),
        descents: 0,
        width: 1,
        filters: 0,
    };
    translation.steps(body)?;
    Ok(translation.out)
}

/// What has been translated, and how much it may ask for.
struct Translation {
    out: String,
    /// Times `..` was seen; each multiplies what is found by the depth of the object.
    descents: usize,
    /// The product of the numbers of names and indices in brackets.
    width: usize,
    /// Filters inside of each other.
    filters: usize,
}

// === impl Translation ===

impl Translation {
    // Copies a path after its root.
    fn steps(&mut self, path: &str) -> Result<(), &'static str> {
        let mut rest = path;
        while let Some(first) = rest.chars().next() {
            rest = match first {
                '.' => self.dot(rest)?,
                '[' => self.bracket(rest)?,
                space if space.is_whitespace() => rest.trim_start(),
                ',' => return Err("holds a comma outside of brackets"),
                _ => return Err("holds a name without a dot before it"),
            };
        }
        Ok(())
    }

    // Copies a name after its dots, and gives what follows.
    fn dot<'a>(&mut self, path: &'a str) -> Result<&'a str, &'static str> {
        let recursive = path.starts_with("..");
        let (name, rest) = name(path.trim_start_matches('.'));
        let bracket = rest.starts_with('[');
        if name.is_empty() && !bracket && (recursive || !rest.is_empty()) {
            return Err("holds a dot without a name");
        }
        if recursive {
            self.descents += 1;
            if self.descents > MAX_DESCENTS {
                return Err("holds `..` more than once");
            }
            self.out.push_str("..");
        }
        match name.as_str() {
            "" => {}
            "*" => self.out.push_str("[*]"),
            name => {
                self.out.push('[');
                quote(name, &mut self.out);
                self.out.push(']');
            }
        }
        Ok(rest)
    }

    // Copies what is in brackets, and gives what follows.
    fn bracket<'a>(&mut self, path: &'a str) -> Result<&'a str, &'static str> {
        let end = closing(path).ok_or("holds a bracket that is not closed")?;
        let inner = path[1..end].trim();
        self.out.push('[');
        match inner.strip_prefix('?') {
            Some(filter) => self.filter(filter)?,
            None => self.selectors(inner)?,
        }
        self.out.push(']');
        Ok(&path[end + 1..])
    }

    fn selectors(&mut self, inner: &str) -> Result<(), &'static str> {
        let mut rest = inner;
        for count in 1.. {
            let (selector, more) = selector(rest)?;
            self.out.push_str(&selector);
            match more.strip_prefix(',') {
                Some(more) => rest = more.trim_start(),
                None if more.is_empty() => {
                    self.width = self.width.saturating_mul(count);
                    break;
                }
                None => return Err("holds a name in brackets that is not in quotes"),
            }
            self.out.push(',');
        }
        if self.width > MAX_WIDTH {
            return Err("asks for too many combinations of names");
        }
        Ok(())
    }

    fn filter(&mut self, filter: &str) -> Result<(), &'static str> {
        self.filters += 1;
        if self.filters > MAX_FILTERS {
            return Err("holds filters in filters in filters");
        }
        self.out.push('?');
        let start = self.out.len();
        let paths = self.expression(filter)?;
        let expression = self.out.split_off(start);
        // One comparison: what it compares has to be there. In kubectl, `!=` does not hold of what is missing.
        let compares = expression.contains(['=', '<', '>']);
        let combines = expression.contains("&&") || expression.contains("||");
        if compares && !combines {
            for path in paths.iter().filter(|path| *path != "@") {
                self.out.push_str(path);
                self.out.push_str(" && ");
            }
        }
        self.out.push_str(&expression);
        self.filters -= 1;
        Ok(())
    }

    // Copies a filter, translating each `@` or `$` path in it, and gives these.
    fn expression(&mut self, filter: &str) -> Result<Vec<String>, &'static str> {
        let mut paths = Vec::new();
        let mut rest = filter;
        let mut parentheses = 0;
        while let Some(first) = rest.chars().next() {
            let taken = match first {
                '"' | '\'' => {
                    let end = quoted(rest).ok_or("holds a text that is not closed")?;
                    self.out.push_str(&rest[..end]);
                    end
                }
                '@' | '$' => {
                    let start = self.out.len();
                    self.out.push('@');
                    let end = path_end(&rest[1..]);
                    self.steps(&rest[1..=end])?;
                    paths.push(self.out[start..].to_string());
                    end + 1
                }
                '(' if self.out.ends_with(|last: char| last.is_alphanumeric()) => {
                    return Err("may not call functions");
                }
                other => {
                    parentheses += usize::from(other == '(');
                    self.out.push(other);
                    other.len_utf8()
                }
            };
            rest = &rest[taken..];
        }
        if parentheses > MAX_PARENTHESES {
            return Err("holds too many parentheses");
        }
        Ok(paths)
    }
}

// Reads a name or an index in brackets.
fn selector(text: &str) -> Result<(String, &str), &'static str> {
    if text.starts_with(['"', '\'']) {
        let end = quoted(text).ok_or("holds a text that is not closed")?;
        let mut selector = String::new();
        quote(&unescaped(&text[1..end - 1]), &mut selector);
        return Ok((selector, text[end..].trim_start()));
    }
    let end = text.find(',').unwrap_or(text.len());
    let selector = text[..end].trim();
    let known = |c: char| c.is_ascii_digit() || matches!(c, '-' | ':') || c.is_whitespace();
    if selector != "*" && (selector.is_empty() || !selector.chars().all(known)) {
        return Err("holds something in brackets that is no index, `*`, or name in quotes");
    }
    Ok((selector.into(), &text[end..]))
}

// Reads a name up to the next unescaped dot, bracket, comma or space.
fn name(text: &str) -> (String, &str) {
    let mut escaped = false;
    let end = text.find(|c: char| {
        let ends = !escaped && (matches!(c, '.' | '[' | ',') || c.is_whitespace());
        escaped = !escaped && c == '\\';
        ends
    });
    let (name, rest) = text.split_at(end.unwrap_or(text.len()));
    (unescaped(name), rest)
}

fn unescaped(text: &str) -> String {
    let mut chars = text.chars();
    let mut out = String::with_capacity(text.len());
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            other => out.push(other),
        }
    }
    out
}

// Length of the path that begins here.
fn path_end(text: &str) -> usize {
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        match c {
            '[' => match closing(&text[at..]) {
                Some(end) => at += end + 1,
                None => return text.len(),
            },
            '\\' => {
                at += 1;
                at += text[at..].chars().next().map_or(0, char::len_utf8);
            }
            ' ' | '\t' | '=' | '!' | '<' | '>' | ')' | '&' | '|' | ',' => return at,
            other => at += other.len_utf8(),
        }
    }
    at
}

// Index of the bracket that closes the first one, minding texts.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        match c {
            '"' | '\'' => {
                at += quoted(&text[at..])?;
                continue;
            }
            '[' => depth += 1,
            ']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
        at += c.len_utf8();
    }
    None
}

// Length of the text that begins here, quotes included.
fn quoted(text: &str) -> Option<usize> {
    let quote = text.chars().next()?;
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some(at + c.len_utf8()),
            _ => {}
        }
    }
    None
}

fn quote(name: &str, out: &mut String) {
    out.push('\'');
    for c in name.chars() {
        if matches!(c, '\'' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('\'');
}

// More than any path of a real object needs.
const MAX_BYTES: usize = 2048;
const MAX_DESCENTS: usize = 1;
const MAX_WIDTH: usize = 64;
const MAX_FILTERS: usize = 2;
const MAX_PARENTHESES: usize = 32;

#[cfg(test)]
mod tests;
