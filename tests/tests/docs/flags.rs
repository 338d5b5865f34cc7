//! The tables of one program: what several of its commands take alike, then each command with what it alone takes.
//!
//! The flags of configuration keys stand in the table of keys and are not repeated.

use std::fmt::Write as _;

use link::config::Broker;

use super::man::{Command, Flag};

/// What stands in the reference of `program`, whose own command comes first.
pub(super) fn tables(program: &str, commands: &[Command]) -> String {
    let mut page = String::new();
    let shared = shared(commands);
    for command in commands {
        let mut own: Vec<_> = command
            .flags
            .iter()
            .filter(|flag| !is_key(flag) && !shared.iter().any(|(other, _)| alike(flag, other)))
            .collect();
        by_group(&mut own, |flag| flag);
        let is_root = command.name == program;
        if !is_root {
            line(
                &mut page,
                format_args!("#### `{}`\n\n{}.\n", command.name, prose(&command.about)),
            );
        }
        rows(&mut page, &own);
        if command.flags.iter().any(is_key) {
            line(
                &mut page,
                format_args!("Also the flags of the [keys](#keys).\n"),
            );
        }
        if is_root && !shared.is_empty() {
            line(
                &mut page,
                format_args!("Flags of several commands:\n\n{HEAD} Commands |\n{RULE}---|"),
            );
            let mut group = "";
            for (flag, names) in &shared {
                heading(&mut page, &mut group, flag, 5);
                let taken = taken_by(program, commands, names);
                line(&mut page, format_args!("{} {taken} |", row(flag)));
            }
            page.push('\n');
        }
    }
    page
}

/// Flags that several commands take with the same default and meaning, each with the names of these.
fn shared(commands: &[Command]) -> Vec<(&Flag, Vec<&str>)> {
    let mut found: Vec<(&Flag, Vec<&str>)> = Vec::new();
    for command in commands {
        for flag in command.flags.iter().filter(|flag| !is_key(flag)) {
            match found.iter_mut().find(|(other, _)| alike(flag, other)) {
                Some((_, names)) => names.push(&command.name),
                None => found.push((flag, vec![&command.name])),
            }
        }
    }
    found.retain(|(_, names)| names.len() > 1);
    by_group(&mut found, |(flag, _)| flag);
    found
}

/// Puts those of no group first and keeps those of one group together; otherwise the order stays.
fn by_group<T>(rows: &mut [T], flag: impl Fn(&T) -> &Flag) {
    let mut groups = vec![String::new()];
    for row in &*rows {
        if !groups.contains(&flag(row).group) {
            groups.push(flag(row).group.clone());
        }
    }
    rows.sort_by_key(|row| groups.iter().position(|group| *group == flag(row).group));
}

/// The same but for the group, which differs between commands.
fn alike(one: &Flag, other: &Flag) -> bool {
    let without = |flag: &Flag| Flag {
        group: String::new(),
        ..flag.clone()
    };
    without(one) == without(other)
}

/// The commands that take a flag, or the fewer that do not.
fn taken_by(program: &str, commands: &[Command], names: &[&str]) -> String {
    let short = |name: &str| match name.strip_prefix(program).unwrap_or(name).trim() {
        "" => format!("`{program}`"),
        verb => format!("`{verb}`"),
    };
    // Which has no flags takes none of its verbs' either.
    let others = commands.iter().filter(|command| !command.flags.is_empty());
    let others: Vec<_> = others
        .filter(|command| !names.contains(&command.name.as_str()))
        .map(|command| short(&command.name))
        .collect();
    match others.len() {
        0 => "all".to_owned(),
        len if len * 3 < names.len() => format!("all but {}", others.join(", ")),
        _ => names
            .iter()
            .map(|name| short(name))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

fn rows(page: &mut String, flags: &[&Flag]) {
    if flags.is_empty() {
        return;
    }
    line(page, format_args!("{HEAD}\n{RULE}"));
    let mut group = "";
    for flag in flags {
        heading(page, &mut group, flag, 4);
        line(page, format_args!("{}", row(flag)));
    }
    page.push('\n');
}

/// A row for the group of `flag`, where it begins.
fn heading<'f>(page: &mut String, group: &mut &'f str, flag: &'f Flag, columns: usize) {
    if flag.group != *group {
        *group = &flag.group;
        let empty = " |".repeat(columns - 1);
        line(page, format_args!("| *{}* |{empty}", title(group)));
    }
}

fn row(flag: &Flag) -> String {
    let (text, told) = told_default(&flag.text);
    let default = match &flag.default {
        Some(default) => Some(format!("`{default}`")),
        None => told.map(|told| match told.contains([' ', '<']) {
            true => prose(&told),
            false => format!("`{told}`"),
        }),
    };
    let env = flag.env.as_ref().map(|env| format!("`{env}`"));
    let none = || "–".to_owned();
    format!(
        "| `{}` | {} | {} | {}{} |",
        flag.typed.replace('|', "\\|"),
        env.unwrap_or_else(none),
        default.unwrap_or_else(none),
        prose(&text),
        values(flag),
    )
}

/// `. One of …`, unless it is yes or no.
fn values(flag: &Flag) -> String {
    if flag.values.is_empty() || flag.values == ["true", "false"] {
        return String::new();
    }
    let shown = flag
        .values
        .iter()
        .map(|value| match value.split_once(": ") {
            Some((value, meaning)) => format!("`{value}` ({})", prose(meaning)),
            None => format!("`{value}`"),
        });
    format!(". One of {}", shown.collect::<Vec<_>>().join(", "))
}

/// A default that the text tells, because the parser does not know it.
fn told_default(text: &str) -> (String, Option<String>) {
    let told = text.split_once("[default: ").and_then(|(before, rest)| {
        let (default, after) = rest.split_once(']')?;
        let text = format!("{}{after}", before.trim_end());
        Some((text, Some(default.to_owned())))
    });
    told.unwrap_or_else(|| (text.to_owned(), None))
}

/// Text as Markdown shows it in a cell: outside of inline code `<` would begin a tag.
fn prose(text: &str) -> String {
    let pieces = text.trim_end_matches('.').split('`').enumerate();
    let safe = pieces.map(|(at, piece)| match at % 2 {
        0 => piece.replace('<', "&lt;").replace('*', "\\*"),
        _ => piece.to_owned(),
    });
    safe.collect::<Vec<_>>().join("`").replace('|', "\\|")
}

/// `Last will` of `LAST WILL`.
fn title(capitals: &str) -> String {
    let lower = capitals.to_lowercase();
    let mut letters = lower.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

/// Whether it is the flag of a configuration key.
fn is_key(flag: &Flag) -> bool {
    let long = flag.typed.split(' ').find(|word| word.starts_with("--"));
    Broker::KEYS
        .iter()
        .any(|key| key.flag.is_some() && key.flag == long)
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(page, "{text}");
}

const HEAD: &str = "| Flag | Environment | Default | Meaning |";
const RULE: &str = "|---|---|---|---|";

#[test]
fn what_commands_share_is_told_once() {
    let flag = |typed: &str, text: &str| Flag {
        typed: typed.to_owned(),
        text: text.to_owned(),
        ..Flag::default()
    };
    let command = |name: &str, flags: Vec<Flag>| Command {
        name: name.to_owned(),
        about: "About".to_owned(),
        flags,
    };
    let both = flag("--both <N>", "Of both [default: the pod's]");
    let grouped = Flag {
        group: "MORE".to_owned(),
        ..both.clone()
    };
    let commands = [
        command("x", vec![both, flag("--broker-host <HOST:PORT>", "A key")]),
        command("x y", vec![flag("-o", "One | <of>"), grouped]),
    ];
    assert_eq!(
        tables("x", &commands),
        "Also the flags of the [keys](#keys).\n\n\
         Flags of several commands:\n\n\
         | Flag | Environment | Default | Meaning | Commands |\n\
         |---|---|---|---|---|\n\
         | `--both <N>` | – | the pod's | Of both | all |\n\n\
         #### `x y`\n\nAbout.\n\n\
         | Flag | Environment | Default | Meaning |\n\
         |---|---|---|---|\n\
         | `-o` | – | – | One \\| &lt;of> |\n\n"
    );
}
