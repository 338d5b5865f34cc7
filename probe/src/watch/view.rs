//! What is looked at and what keys change of it; pure.

use crate::args::{PresenceFilter, SortKey, WatchArgs};

/// A key that means something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    Enter,
    Escape,
    Backspace,
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    /// Ctrl-C or Ctrl-D.
    Interrupt,
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// End.
    Quit,
    /// Draw anew.
    Draw,
    /// Something else is to be fetched.
    Fetch,
    /// Nothing.
    None,
}

/// What is looked at.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    pub(super) sort: SortKey,
    /// A part of names.
    pub(super) filter: Option<String>,
    /// How agents are.
    pub(super) presence: Option<PresenceFilter>,
    /// Whose bundles are shown; all clusters' without.
    pub(super) cluster: Option<String>,
    /// Clusters that fit on the screen, at least one.
    pub(super) rows: usize,
    /// Clusters before the first that is shown.
    pub(super) offset: usize,
    /// Which of the clusters on the screen is marked.
    pub(super) selected: usize,
    /// The text of a filter that is being typed.
    pub(super) typing: Option<String>,
}

// === impl View ===

impl View {
    pub(super) fn new(args: &WatchArgs, rows: usize) -> Self {
        Self {
            sort: args.sort,
            filter: args.filter.clone(),
            presence: args.presence,
            cluster: args.cluster.clone(),
            rows: rows.max(1),
            offset: 0,
            selected: 0,
            typing: None,
        }
    }

    /// Makes the window fit a terminal of this height. True: something else is to be fetched.
    pub(super) fn resize(&mut self, height: usize) -> bool {
        // Heading, sums, column names, a blank line, heading of bundles, keys; two lines for each bundle.
        let rows = height.saturating_sub(6 + 2 * pane(height)).max(1);
        let changed = rows != self.rows;
        self.rows = rows;
        self.selected = self.selected.min(rows - 1);
        changed
    }

    /// What a key does, with the names of the clusters on the screen and how many there are in all.
    pub(super) fn on_key(&mut self, key: Key, names: &[&str], total: u64) -> Action {
        if key == Key::Interrupt {
            return Action::Quit;
        }
        if self.typing.is_some() {
            return self.on_typing(key);
        }
        let last = usize::try_from(total)
            .unwrap_or(usize::MAX)
            .saturating_sub(1);
        match key {
            Key::Char('q') => Action::Quit,
            Key::Char('s') => {
                self.sort = match self.sort {
                    SortKey::Waiting => SortKey::Name,
                    SortKey::Name => SortKey::Seen,
                    SortKey::Seen => SortKey::Presence,
                    SortKey::Presence => SortKey::Waiting,
                };
                self.rewind()
            }
            Key::Char('a') => {
                self.presence = match self.presence {
                    Some(_) => None,
                    None => Some(PresenceFilter::Away),
                };
                self.rewind()
            }
            Key::Char('/') => {
                self.typing = Some(self.filter.clone().unwrap_or_default());
                Action::Draw
            }
            Key::Char('r') => Action::Fetch,
            Key::Enter => match names.get(self.selected) {
                Some(name) => {
                    self.cluster = Some((*name).to_owned());
                    Action::Fetch
                }
                None => Action::None,
            },
            Key::Escape if self.cluster.take().is_some() => Action::Fetch,
            Key::Escape if self.filter.take().is_some() => self.rewind(),
            Key::Escape if self.presence.take().is_some() => self.rewind(),
            Key::Up if self.selected > 0 => {
                self.selected -= 1;
                Action::Draw
            }
            Key::Up if self.offset > 0 => {
                self.offset -= 1;
                Action::Fetch
            }
            Key::Down if self.selected + 1 < names.len() => {
                self.selected += 1;
                Action::Draw
            }
            Key::Down if self.offset + self.selected < last && names.len() == self.rows => {
                self.offset += 1;
                Action::Fetch
            }
            Key::PageDown if names.len() == self.rows && self.offset + self.rows <= last => {
                self.offset += self.rows;
                Action::Fetch
            }
            Key::PageUp if self.offset > 0 => {
                self.offset = self.offset.saturating_sub(self.rows);
                Action::Fetch
            }
            Key::Home => self.rewind(),
            _ => Action::None,
        }
    }

    fn on_typing(&mut self, key: Key) -> Action {
        let Some(text) = &mut self.typing else {
            return Action::None;
        };
        match key {
            Key::Char(char) if is_of_names(char) && text.len() < NAME_CHARS => text.push(char),
            Key::Backspace => drop(text.pop()),
            Key::Escape => self.typing = None,
            Key::Enter => {
                let text = self.typing.take().unwrap_or_default();
                self.filter = (!text.is_empty()).then_some(text);
                return self.rewind();
            }
            _ => return Action::None,
        }
        Action::Draw
    }

    fn rewind(&mut self) -> Action {
        (self.offset, self.selected) = (0, 0);
        Action::Fetch
    }
}

/// The keys in what a terminal sent. An escape sequence comes whole; one that is not known is passed over.
pub(super) fn keys(bytes: &[u8]) -> Vec<Key> {
    let text = String::from_utf8_lossy(bytes);
    let mut keys = Vec::new();
    let mut rest = text.as_ref();
    while let Some(first) = rest.chars().next() {
        let known = SEQUENCES
            .iter()
            .find(|(sequence, _)| rest.starts_with(sequence));
        if let Some((sequence, key)) = known {
            keys.push(*key);
            rest = &rest[sequence.len()..];
            continue;
        }
        if let Some(unknown) = rest.strip_prefix("\u{1b}[") {
            let end = unknown.find(|char: char| ('@'..='~').contains(&char));
            rest = end.map_or("", |end| &unknown[end + 1..]);
            continue;
        }
        keys.extend(match first {
            '\u{3}' | '\u{4}' => Some(Key::Interrupt),
            '\r' | '\n' => Some(Key::Enter),
            '\u{1b}' => Some(Key::Escape),
            '\u{7f}' | '\u{8}' => Some(Key::Backspace),
            char if !char.is_control() => Some(Key::Char(char)),
            _ => None,
        });
        rest = &rest[first.len_utf8()..];
    }
    keys
}

/// Names of clusters are of these (`link::id`), so that nothing has to be escaped in a search.
fn is_of_names(char: char) -> bool {
    char.is_ascii_lowercase() || char.is_ascii_digit() || char == '-'
}

const SEQUENCES: &[(&str, Key)] = &[
    ("\u{1b}[A", Key::Up),
    ("\u{1b}OA", Key::Up),
    ("\u{1b}[B", Key::Down),
    ("\u{1b}OB", Key::Down),
    ("\u{1b}[5~", Key::PageUp),
    ("\u{1b}[6~", Key::PageDown),
    ("\u{1b}[H", Key::Home),
    ("\u{1b}[1~", Key::Home),
];

/// How many stuck bundles fit below the clusters on a screen of this height.
pub(super) fn pane(height: usize) -> usize {
    BUNDLES.min(height / 6)
}

/// The stuck bundles below the clusters: as many as are explained.
pub(super) const BUNDLES: usize = 8;
const NAME_CHARS: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> View {
        View {
            sort: SortKey::Waiting,
            filter: None,
            presence: None,
            cluster: None,
            rows: 3,
            offset: 0,
            selected: 0,
            typing: None,
        }
    }

    #[test]
    fn the_window_follows_the_mark_and_stops_at_the_ends() {
        let (mut view, names) = (view(), ["a", "b", "c"]);
        let mut press = |key| {
            let action = view.on_key(key, &names, 5);
            (action, view.offset, view.selected)
        };
        assert_eq!(press(Key::Up), (Action::None, 0, 0));
        assert_eq!(press(Key::Down), (Action::Draw, 0, 1));
        assert_eq!(press(Key::Down), (Action::Draw, 0, 2));
        assert_eq!(press(Key::Down), (Action::Fetch, 1, 2));
        assert_eq!(press(Key::Down), (Action::Fetch, 2, 2));
        assert_eq!(press(Key::Down), (Action::None, 2, 2));
        assert_eq!(press(Key::PageUp), (Action::Fetch, 0, 2));
        assert_eq!(press(Key::PageDown), (Action::Fetch, 3, 2));
        assert_eq!(press(Key::PageDown), (Action::None, 3, 2));
        assert_eq!(press(Key::Home), (Action::Fetch, 0, 0));
    }

    #[test]
    fn a_filter_takes_characters_of_names_only() {
        let mut view = view();
        for key in keys(b"/a'%B-1\x7f2\r") {
            view.on_key(key, &[], 0);
        }
        assert_eq!(view.filter.as_deref(), Some("a-2"));
        assert_eq!(view.on_key(Key::Escape, &[], 0), Action::Fetch);
        assert_eq!(view.filter, None);
    }

    #[test]
    fn a_key_shows_those_that_are_away_and_all_again() {
        let mut view = view();
        view.offset = 4;
        assert_eq!(view.on_key(Key::Char('a'), &[], 0), Action::Fetch);
        assert_eq!(
            (view.presence, view.offset),
            (Some(PresenceFilter::Away), 0)
        );
        // What was asked for by a flag is given up too.
        view.presence = Some(PresenceFilter::Never);
        view.on_key(Key::Char('a'), &[], 0);
        assert_eq!(view.presence, None);
        // The part of a name goes first.
        view.presence = Some(PresenceFilter::Idle);
        view.filter = Some("eu".into());
        view.on_key(Key::Escape, &[], 0);
        assert_eq!(
            (view.filter.as_ref(), view.presence),
            (None, Some(PresenceFilter::Idle))
        );
        assert_eq!(view.on_key(Key::Escape, &[], 0), Action::Fetch);
        assert_eq!(view.presence, None);
        let mut sorts = Vec::new();
        for _ in 0..4 {
            view.on_key(Key::Char('s'), &[], 0);
            sorts.push(view.sort.as_str());
        }
        assert_eq!(sorts, ["name", "seen", "presence", "waiting"]);
    }

    #[test]
    fn enter_shows_a_cluster_and_escape_all_of_them() {
        let mut view = view();
        view.on_key(Key::Down, &["a", "b"], 2);
        assert_eq!(view.on_key(Key::Enter, &["a", "b"], 2), Action::Fetch);
        assert_eq!(view.cluster.as_deref(), Some("b"));
        view.on_key(Key::Escape, &["a", "b"], 2);
        assert_eq!(view.cluster, None);
        assert_eq!(view.on_key(Key::Interrupt, &[], 0), Action::Quit);
    }

    #[test]
    fn escape_sequences_are_keys_or_nothing() {
        use Key::*;
        assert_eq!(
            keys(b"\x1b[A\x1b[6~\x1b[1;5Cq\x1b"),
            [Up, PageDown, Char('q'), Escape]
        );
        assert_eq!(keys(b"\x03"), [Interrupt]);
        assert_eq!(keys(b"\x1b["), []);
    }
}
