//! One pattern against one text, in every reading of what a character is.
//!
//! AWS documents `?` as any single character and does not say which: of Unicode, of UTF-16 or a byte. The three differ
//! only where `?` meets a text outside ASCII.

use super::Token;

#[derive(Clone, Copy)]
enum Unit<U> {
    Is(U),
    One,
    Any,
}

/// Whether `text` fits `tokens`, once for each reading; an unresolved variable stands for any run of characters.
pub(super) fn readings(tokens: &[Token], text: &str) -> impl Iterator<Item = bool> + Clone {
    let characters = split(tokens, |c, into| into.push(c));
    let by_character = run(&characters, &text.chars().collect::<Vec<_>>());
    let disputed = !text.is_ascii() && tokens.contains(&Token::One);
    let others = disputed.then(|| {
        let bytes = split(tokens, |c, into| {
            into.extend(c.encode_utf8(&mut [0; 4]).bytes());
        });
        let halves = split(tokens, |c, into| {
            into.extend(c.encode_utf16(&mut [0; 2]).iter().copied());
        });
        [
            run(&bytes, text.as_bytes()),
            run(&halves, &text.encode_utf16().collect::<Vec<_>>()),
        ]
    });
    [by_character]
        .into_iter()
        .chain(others.into_iter().flatten())
}

fn split<U: Copy>(tokens: &[Token], encode: impl Fn(char, &mut Vec<U>)) -> Vec<Unit<U>> {
    let mut units = Vec::new();
    let mut encoded = Vec::new();
    for token in tokens {
        match token {
            Token::Char(c) => {
                encode(*c, &mut encoded);
                units.extend(encoded.drain(..).map(Unit::Is));
            }
            Token::One => units.push(Unit::One),
            Token::Any | Token::Unresolved => units.push(Unit::Any),
        }
    }
    units
}

fn run<U: Copy + PartialEq>(pattern: &[Unit<U>], text: &[U]) -> bool {
    let (mut p, mut t) = (0, 0);
    // The last `*` seen and where it stopped: on a dead end it swallows one more character. Only the last
    // one ever needs to, so the cost is at most pattern × text.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(Unit::Any) => {
                retry = Some((p + 1, t));
                p += 1;
                continue;
            }
            Some(Unit::One) => {
                (p, t) = (p + 1, t + 1);
                continue;
            }
            Some(Unit::Is(c)) if *c == text[t] => {
                (p, t) = (p + 1, t + 1);
                continue;
            }
            _ => {}
        }
        let Some((after, stopped)) = retry else {
            return false;
        };
        retry = Some((after, stopped + 1));
        (p, t) = (after, stopped + 1);
    }
    pattern[p..].iter().all(|unit| matches!(unit, Unit::Any))
}
