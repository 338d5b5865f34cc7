//! One configured topic with its source and consumer levels taken apart.

use super::SchemeError;
use crate::id::SourceId;

/// `[$share/NAME/]<word>[/<source or +>]/<word>/<consumer or +>/<last>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TopicPattern {
    share: Option<String>,
    first: String,
    source: Level,
    second: String,
    consumer: Option<String>,
    last: &'static str,
}

/// `[$share/NAME/]<word>/<name or +>/<last>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broadcast {
    share: Option<String>,
    word: String,
    name: Option<String>,
    last: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Level {
    // Four levels: the scheme of the first deployment has no place for the source.
    Absent,
    // `+`: filled with the source another field names.
    Open,
    Named(String),
}

// === impl TopicPattern ===

impl TopicPattern {
    pub(super) fn of_words(
        first: &str,
        source: Option<&SourceId>,
        second: &str,
        last: &'static str,
    ) -> Self {
        Self {
            share: None,
            first: first.to_owned(),
            source: source.map_or(Level::Absent, |id| Level::Named(id.to_string())),
            second: second.to_owned(),
            consumer: None,
            last,
        }
    }

    pub(super) fn parse(
        field: &'static str,
        text: &str,
        last: &'static str,
    ) -> Result<Self, SchemeError> {
        let refuse = |problem: String| SchemeError::Shape {
            field,
            value: text.to_owned(),
            problem,
            last,
        };
        let (share, levels) = take_apart(text).map_err(refuse)?;
        let (first, source, second, consumer, end) = match levels[..] {
            [first, second, consumer, end] => (first, Level::Absent, second, consumer, end),
            [first, source, second, consumer, end] => {
                let source = named(source).map_err(refuse)?;
                let source = source.map_or(Level::Open, Level::Named);
                (first, source, second, consumer, end)
            }
            _ => {
                return Err(refuse(format!(
                    "it has {} levels where 4 or 5 are known",
                    levels.len()
                )));
            }
        };
        let pattern = Self {
            share: share.map(str::to_owned),
            first: word(first).map_err(refuse)?,
            source,
            second: word(second).map_err(refuse)?,
            consumer: named(consumer).map_err(refuse)?,
            last,
        };
        ends_with(end, last).map_err(refuse)?;
        Ok(pattern)
    }

    pub(super) fn has_source(&self) -> bool {
        self.source != Level::Absent
    }

    pub(super) fn source(&self) -> Option<&str> {
        match &self.source {
            Level::Named(name) => Some(name),
            Level::Absent | Level::Open => None,
        }
    }

    pub(super) fn consumer(&self) -> Option<&str> {
        self.consumer.as_deref()
    }

    pub(super) fn share(&self) -> Option<&str> {
        self.share.as_deref()
    }

    pub(super) fn set_share(&mut self, group: Option<&str>) -> Result<(), SchemeError> {
        self.share = group
            .map(name)
            .transpose()
            .map_err(|problem| SchemeError::Shape {
                field: "agentEvents",
                value: format!("$share/{}/…", group.unwrap_or_default()),
                problem,
                last: self.last,
            })?;
        Ok(())
    }

    pub(super) fn topic(&self, source: Option<&SourceId>, consumer: &str) -> String {
        let (first, second, last) = (&self.first, &self.second, self.last);
        match &self.source {
            Level::Absent => format!("{first}/{second}/{consumer}/{last}"),
            Level::Named(source) => format!("{first}/{source}/{second}/{consumer}/{last}"),
            Level::Open => {
                let source = source.map_or("+", SourceId::as_str);
                format!("{first}/{source}/{second}/{consumer}/{last}")
            }
        }
    }

    pub(super) fn filter(&self, source: Option<&SourceId>, consumer: &str) -> String {
        shared(self.share(), self.topic(source, consumer))
    }

    pub(super) fn consumer_of<'t>(
        &self,
        source: Option<&SourceId>,
        topic: &'t str,
    ) -> Option<&'t str> {
        let rest = topic.strip_prefix(&self.first)?.strip_prefix('/')?;
        let rest = match &self.source {
            Level::Absent => rest,
            Level::Named(source) => rest.strip_prefix(source.as_str())?.strip_prefix('/')?,
            Level::Open => rest
                .strip_prefix(source.map_or("", SourceId::as_str))?
                .strip_prefix('/')?,
        };
        let rest = rest.strip_prefix(&self.second)?.strip_prefix('/')?;
        rest.strip_suffix(self.last)?.strip_suffix('/')
    }
}

// === impl Broadcast ===

impl Broadcast {
    pub(super) fn parse(
        field: &'static str,
        text: &str,
        last: &'static str,
    ) -> Result<Self, SchemeError> {
        let refuse = |problem: String| SchemeError::Shape {
            field,
            value: text.to_owned(),
            problem,
            last,
        };
        let (share, levels) = take_apart(text).map_err(refuse)?;
        let [first, middle, end] = levels[..] else {
            return Err(refuse(format!(
                "it has {} levels where 3 are known",
                levels.len()
            )));
        };
        ends_with(end, last).map_err(refuse)?;
        Ok(Self {
            share: share.map(str::to_owned),
            word: word(first).map_err(refuse)?,
            name: named(middle).map_err(refuse)?,
            last,
        })
    }

    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    pub(super) fn topic(&self, name: &str) -> String {
        let name = self.name().unwrap_or(name);
        format!("{}/{name}/{}", self.word, self.last)
    }

    pub(super) fn filter(&self) -> String {
        shared(self.share.as_deref(), self.topic("+"))
    }

    /// The party that published on a topic of this broadcast.
    pub(super) fn name_in<'t>(&self, topic: &'t str) -> Option<&'t str> {
        let rest = topic.strip_prefix(&self.word)?.strip_prefix('/')?;
        let name = rest.strip_suffix(self.last)?.strip_suffix('/')?;
        self.name().is_none_or(|ours| ours == name).then_some(name)
    }
}

fn shared(group: Option<&str>, topic: String) -> String {
    match group {
        Some(group) => format!("$share/{group}/{topic}"),
        None => topic,
    }
}

fn take_apart(text: &str) -> Result<(Option<&str>, Vec<&str>), String> {
    if text.is_empty() {
        return Err("it is empty".into());
    }
    let (share, rest) = crate::iot::filter::split_share(text);
    if let Some(group) = share {
        name(group)?;
    }
    Ok((share, rest.split('/').collect()))
}

fn word(level: &str) -> Result<String, String> {
    if !level.is_empty() && level.bytes().all(|b| b.is_ascii_lowercase()) {
        Ok(level.to_owned())
    } else {
        Err(format!(
            "level `{level}` must be a word of lower-case letters"
        ))
    }
}

fn named(level: &str) -> Result<Option<String>, String> {
    match level {
        "+" => Ok(None),
        other => name(other).map(Some),
    }
}

fn name(level: &str) -> Result<String, String> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if !level.is_empty() && level.bytes().all(allowed) {
        Ok(level.to_owned())
    } else {
        Err(format!(
            "level `{level}` must be `+` or a name of lower-case letters, digits and `-`"
        ))
    }
}

fn ends_with(level: &str, last: &str) -> Result<(), String> {
    if level == last {
        Ok(())
    } else {
        Err(format!("it ends with `{level}` instead of `{last}`"))
    }
}
