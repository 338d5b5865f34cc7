//! Text of others for a terminal: nothing in it that a terminal acts on, and nothing that is not seen. Pure.

/// The text with U+FFFD for each character that [`is_hidden`].
pub fn printable(text: &str) -> String {
    let shown = |char| if is_hidden(char) { '\u{fffd}' } else { char };
    text.chars().map(shown).collect()
}

/// The same for text of several lines, which stay lines.
pub fn printable_lines(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(printable).collect();
    lines.join("\n")
}

/// Whether a character changes what is shown without being shown: control characters, line and paragraph separators,
/// format characters (Unicode's category Cf: the order of right-to-left text, zero width, tags) and blank fillers.
pub fn is_hidden(char: char) -> bool {
    char.is_control()
        || HIDDEN
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&char))
}

// Cf of Unicode 16, U+2028 and U+2029, and the invisible ones of Default_Ignorable_Code_Point that are letters or marks.
const HIDDEN: &[(char, char)] = &[
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180e}', '\u{180e}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff9}', '\u{fffb}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e007f}'),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_acts_on_or_does_not_show_is_replaced() {
        for hidden in [
            '\u{1b}',
            '\n',
            '\u{7f}',
            '\u{9b}',
            '\u{202e}',
            '\u{2066}',
            '\u{200b}',
            '\u{2028}',
            '\u{2029}',
            '\u{feff}',
            '\u{e0041}',
        ] {
            assert_eq!(
                printable(&format!("a{hidden}b")),
                "a\u{fffd}b",
                "{hidden:?}"
            );
        }
        assert_eq!(printable("Kärntner Straße 日本"), "Kärntner Straße 日本");
    }
}
