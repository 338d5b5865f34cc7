//! A snapshot as lines of text; pure.
//!
//! Everything is readable without colour: the marked cluster has a `>`, what needs somebody has a word.

use jiff::Timestamp;

use super::snapshot::{BundleRow, ClusterRow, Snapshot, age};
use super::view::{View, pane};

/// How a line is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Title,
    Header,
    Selected,
    Warning,
    Dim,
}

/// One line, no longer than the screen is wide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) style: Style,
}

/// What a screen shows.
pub(super) struct Picture<'a> {
    /// Where the region is.
    pub(super) address: &'a str,
    /// The last look that came to something.
    pub(super) snapshot: Option<&'a Snapshot>,
    pub(super) view: &'a View,
    /// Why the last look came to nothing.
    pub(super) trouble: Option<&'a str>,
    pub(super) now: Timestamp,
}

// === impl Picture ===

impl Picture<'_> {
    /// Exactly `height` lines.
    pub(super) fn lines(&self, width: usize, height: usize) -> Vec<Line> {
        let mut lines = vec![self.heading(width)];
        let Some(snapshot) = self.snapshot else {
            let text = self.trouble.unwrap_or("looking…");
            lines.push(line(text, style_of(self.trouble), width));
            lines.resize_with(height, blank);
            return lines;
        };
        lines.push(match self.trouble {
            Some(trouble) => line(&format!("API away: {trouble}"), Style::Warning, width),
            None => line(&sums(snapshot), Style::Plain, width),
        });
        lines.push(line(&header(width), Style::Header, width));
        for (index, row) in snapshot.rows.iter().enumerate().take(self.view.rows) {
            let marked = index == self.view.selected;
            let mark = if marked { "> " } else { "  " };
            let style = match marked {
                true => Style::Selected,
                false => style_of_cluster(row, self.now),
            };
            lines.push(line(
                &format!("{mark}{}", cells(row, self.now, width)),
                style,
                width,
            ));
        }
        let pane = pane(height);
        let footer = 1;
        let below = 2 + 2 * pane + footer;
        lines.resize_with(height.saturating_sub(below).max(4), blank);
        lines.push(blank());
        lines.push(line(&self.of_bundles(snapshot), Style::Header, width));
        for bundle in snapshot.bundles.iter().take(pane) {
            lines
                .extend(of_bundle(bundle, self.now).map(|(text, style)| line(&text, style, width)));
        }
        lines.resize_with(height.saturating_sub(footer), blank);
        lines.push(self.footer(width));
        lines.truncate(height);
        lines
    }

    fn heading(&self, width: usize) -> Line {
        let mut text = format!("probe watch  {}", self.address);
        if let Some(snapshot) = self.snapshot {
            text.push_str(&format!(
                "  {} old  {}",
                age(snapshot.at, self.now),
                clusters(snapshot.clusters, self.view)
            ));
        }
        line(&text, Style::Title, width)
    }

    fn of_bundles(&self, snapshot: &Snapshot) -> String {
        let mut whose = String::new();
        if let Some(name) = &self.view.cluster {
            if snapshot.is_missing {
                return format!("NO CLUSTER {name}");
            }
            whose = format!(" of {name}");
            let row = snapshot.rows.iter().find(|row| row.name == *name);
            if let Some(reason) = row.and_then(|row| row.reason.as_ref()) {
                whose.push_str(&format!(" ({reason})"));
            }
        }
        match snapshot.stuck {
            0 => format!("NO STUCK BUNDLES{whose}"),
            count => format!("STUCK BUNDLES{whose}  {count}"),
        }
    }

    fn footer(&self, width: usize) -> Line {
        let text = match &self.view.typing {
            Some(text) => format!("name holds: {text}_  (enter: take, esc: leave)"),
            None => {
                let sort = self.view.sort.as_str();
                format!(
                    "q quit  s sort ({sort})  a away  / filter  enter cluster  esc back  arrows move"
                )
            }
        };
        line(&text, Style::Dim, width)
    }
}

/// The whole snapshot for a file, a log or a pipe.
pub(super) fn plain(snapshot: &Snapshot, width: usize) -> String {
    let now = snapshot.at;
    let mut lines = vec![
        format!(
            "{}  {} clusters  {}; {} stuck",
            link::clock::rfc3339_seconds(now),
            snapshot.clusters,
            sums(snapshot),
            snapshot.stuck
        ),
        header(width),
    ];
    lines.extend(
        snapshot
            .rows
            .iter()
            .map(|row| format!("  {}", cells(row, now, width))),
    );
    if snapshot.stuck > 0 {
        lines.push(String::new());
        lines.push(format!("STUCK BUNDLES  {}", snapshot.stuck));
    }
    for bundle in &snapshot.bundles {
        // Nothing is cut here: what is read later cannot be asked for again.
        lines.extend(of_bundle(bundle, now).map(|(text, _)| text));
    }
    let lines: Vec<&str> = lines.iter().map(|line| line.trim_end()).collect();
    lines.join("\n")
}

fn clusters(count: u64, view: &View) -> String {
    let mut text = match view.presence {
        Some(state) => format!("{count} {} clusters", state.as_str()),
        None => format!("{count} clusters"),
    };
    if let Some(part) = &view.filter {
        text.push_str(&format!(" with `{part}`"));
    }
    text
}

fn sums(snapshot: &Snapshot) -> String {
    let waits = snapshot.waiting;
    format!(
        "waiting: {} send, {} apply, {} available, {} deletion",
        waits.send, waits.apply, waits.available, waits.deletion
    )
}

fn header(width: usize) -> String {
    let wide = is_wide(width);
    let mut text = format!(
        "  {:<name$} {:<15} {:>5} {:>5} {:>5} {:>5} {:>5}",
        "CLUSTER",
        "AGENT",
        "LAG",
        "SEND",
        "APPLY",
        "AVAIL",
        "DEL",
        name = name_width(width)
    );
    if wide {
        text.push_str(&format!(
            " {:>7} {:<14} {:>5}",
            "BUNDLES", "VERSION", "CERT"
        ));
    }
    text
}

fn cells(row: &ClusterRow, now: Timestamp, width: usize) -> String {
    let waits = row.waits;
    let mut text = format!(
        "{} {} {:>5} {:>5} {:>5} {:>5} {:>5}",
        fit(&row.name, name_width(width)),
        fit(&agent(row, now), 15),
        row.oldest
            .map_or_else(|| "-".into(), |since| age(since, now)),
        waits.send,
        waits.apply,
        waits.available,
        waits.deletion,
    );
    if is_wide(width) {
        let bundles = row
            .bundles
            .map_or_else(|| "-".into(), |count| count.to_string());
        text.push_str(&format!(
            " {bundles:>7} {} {:>5}",
            fit(row.version.as_deref().unwrap_or("-"), 14),
            row.certificate
                .map_or_else(|| "-".into(), |end| left(end, now)),
        ));
    }
    text
}

/// How the agent is and since when; from a bridge that does not tell, when it was heard.
fn agent(row: &ClusterRow, now: Timestamp) -> String {
    let since = |at: Option<Timestamp>| {
        at.map(|at| format!(" {}", age(at, now)))
            .unwrap_or_default()
    };
    match (&row.state, row.last_seen) {
        (Some(state), _) => format!("{state}{}", since(row.since)),
        (None, Some(at)) => format!("heard{} ago", since(Some(at))),
        (None, None) => "never heard".into(),
    }
}

/// Time that a certificate has left.
fn left(end: Timestamp, now: Timestamp) -> String {
    match end <= now {
        true => "ENDED".into(),
        false => age(now, end),
    }
}

fn of_bundle(bundle: &BundleRow, now: Timestamp) -> [(String, Style); 2] {
    let since = bundle
        .since
        .map_or_else(|| "-".into(), |since| age(since, now));
    let code = bundle
        .code
        .as_ref()
        .map(|code| format!("{code} "))
        .unwrap_or_default();
    let next = bundle
        .next
        .as_ref()
        .map(|next| format!(" -> {next}"))
        .unwrap_or_default();
    [
        (
            format!(
                "  {since:>4} {:<9} {}/{} v{}",
                bundle.hop, bundle.cluster, bundle.name, bundle.version
            ),
            Style::Plain,
        ),
        (format!("       {code}{}{next}", bundle.why), Style::Dim),
    ]
}

fn style_of_cluster(row: &ClusterRow, now: Timestamp) -> Style {
    let gone = matches!(row.state.as_deref(), Some("away" | "never"));
    let ends = row
        .certificate
        .is_some_and(|end| end.duration_since(now).as_hours() < SOON_HOURS);
    match gone || ends {
        true => Style::Warning,
        false => Style::Plain,
    }
}

fn style_of(trouble: Option<&str>) -> Style {
    match trouble {
        Some(_) => Style::Warning,
        None => Style::Plain,
    }
}

fn is_wide(width: usize) -> bool {
    width >= WIDE
}

/// What the other columns leave.
fn name_width(width: usize) -> usize {
    let others = if is_wide(width) { 2 + 46 + 29 } else { 2 + 46 };
    width.saturating_sub(others).clamp(10, 63)
}

/// Exactly as many characters.
fn fit(text: &str, width: usize) -> String {
    format!("{:<width$}", cut(text, width))
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

fn line(text: &str, style: Style, width: usize) -> Line {
    let text = cut(text.trim_end(), width);
    Line { text, style }
}

fn blank() -> Line {
    Line {
        text: String::new(),
        style: Style::Plain,
    }
}

// From here on there is space for all columns and a name of 23 characters.
const WIDE: usize = 100;
// Two weeks: the time in which a certificate is to be replaced (docs/CERTIFICATES.md).
const SOON_HOURS: i64 = 14 * 24;

#[cfg(test)]
mod tests;
