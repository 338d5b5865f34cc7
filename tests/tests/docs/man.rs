//! What a program takes, read from the manual pages that it writes of itself (`NAME man DIR`): of these, unlike of help
//! texts, one layout is enough.

use std::path::Path;

use anyhow::{Context as _, Result};

/// A program or one of its verbs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Command {
    /// Such as `server-bridge store copy`.
    pub(super) name: String,
    pub(super) about: String,
    pub(super) flags: Vec<Flag>,
}

/// A flag or an argument.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Flag {
    /// The group in the help, in capitals; empty for the first one.
    pub(super) group: String,
    /// As it is typed: `-m, --message <TEXT>`.
    pub(super) typed: String,
    pub(super) default: Option<String>,
    pub(super) env: Option<String>,
    pub(super) text: String,
    /// Values that it may have, each with what it means.
    pub(super) values: Vec<String>,
}

/// Every command whose page is in a directory, the program itself first.
///
/// # Errors
/// When a page cannot be read.
pub(super) fn read(directory: &Path) -> Result<Vec<Command>> {
    let mut commands = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let page =
            std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        commands.push(command(&page));
    }
    commands.retain(|command| !command.name.ends_with(" completions"));
    commands.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(commands)
}

fn command(page: &str) -> Command {
    let mut command = Command::default();
    let mut section = String::new();
    let mut header = false;
    for line in page.lines() {
        if let Some(title) = line.strip_prefix(".SH ") {
            section = plain(title.trim_matches('"'));
            continue;
        }
        match section.as_str() {
            "" | "DESCRIPTION" | "SUBCOMMANDS" | "EXTRA" | "VERSION" | "AUTHORS" => {}
            "NAME" => {
                let text = plain(line);
                let about = text.split_once(" - ").map(|(_, about)| about);
                command.about = about.unwrap_or_default().to_owned();
            }
            "SYNOPSIS" => {
                let name = line.split("\\fR").next().unwrap_or_default();
                command.name = plain(name);
            }
            _ if line == ".TP" => header = true,
            _ if header => {
                header = false;
                let mut flag = flag(&plain(line));
                if section != "OPTIONS" {
                    flag.group.clone_from(&section);
                }
                command.flags.push(flag);
            }
            _ => {
                if let Some(flag) = command.flags.last_mut() {
                    flag.add(line);
                }
            }
        }
    }
    let own = |flag: &Flag| flag.typed.contains("--help") || flag.typed.contains("--version");
    command.flags.retain(|flag| !own(flag));
    command
}

/// The first line of an entry: what is typed, and the default.
fn flag(line: &str) -> Flag {
    let (typed, default) = match line.split_once(" [default: ") {
        Some((typed, default)) => (typed, Some(default.trim_end_matches(']').to_owned())),
        None => (line, None),
    };
    Flag {
        typed: typed.trim().to_owned(),
        default,
        ..Flag::default()
    }
}

// === impl Flag ===

impl Flag {
    /// One more line of its entry.
    fn add(&mut self, line: &str) {
        if line.starts_with(".IP ") {
            self.values.push(String::new());
            return;
        }
        if line.is_empty() || line.starts_with('.') || line.contains("Possible values:") {
            return;
        }
        let text = plain(line);
        let env = text
            .strip_prefix("May also be specified with the ")
            .and_then(|rest| rest.split(' ').next());
        let place = self.values.last_mut().unwrap_or(&mut self.text);
        match env {
            Some(env) => self.env = Some(env.to_owned()),
            None if place.is_empty() => *place = text,
            None => {
                place.push(' ');
                place.push_str(&text);
            }
        }
    }
}

/// Text without roff's fonts and escapes.
fn plain(line: &str) -> String {
    let mut line = line.to_owned();
    for font in ["\\fB", "\\fI", "\\fR"] {
        line = line.replace(font, "");
    }
    for (escape, sign) in [
        ("\\-", "-"),
        ("\\*(Aq", "'"),
        ("\\(aq", "'"),
        ("\\&", ""),
        ("\\\\", "\\"),
    ] {
        line = line.replace(escape, sign);
    }
    line.trim().to_owned()
}

#[test]
fn a_page_is_read() {
    let page = r".SH NAME
probe\-publish \- Publish messages
.SH SYNOPSIS
\fBprobe publish\fR [\fB\-\-help\fR] <\fITOPIC\fR>
.SH OPTIONS
.TP
\fB\-\-help\fR
Print help
.TP
\fB\-W\fR, \fB\-\-timeout\fR \fI<SECONDS>\fR [default: 30]
Deadline\*(Aqs seconds
.RS
May also be specified with the \fBDEADLINE\fR environment variable. 
.RE
.SH BROKER
.TP
\fB\-\-format\fR \fI<FORMAT>\fR
How
.br
\fIPossible values:\fR
.RS 14
.IP \(bu 2
text: To read
.IP \(bu 2
json
.RE
";
    let flag = |group: &str, typed: &str, text: &str| Flag {
        group: group.to_owned(),
        typed: typed.to_owned(),
        text: text.to_owned(),
        ..Flag::default()
    };
    let expected = Command {
        name: "probe publish".to_owned(),
        about: "Publish messages".to_owned(),
        flags: vec![
            Flag {
                default: Some("30".to_owned()),
                env: Some("DEADLINE".to_owned()),
                ..flag("", "-W, --timeout <SECONDS>", "Deadline's seconds")
            },
            Flag {
                values: vec!["text: To read".to_owned(), "json".to_owned()],
                ..flag("BROKER", "--format <FORMAT>", "How")
            },
        ],
    };
    assert_eq!(command(page), expected);
}
