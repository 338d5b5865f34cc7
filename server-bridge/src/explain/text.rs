//! Stories for a terminal: one thing a line, the answer first.

use std::fmt::Write as _;

use jiff::Timestamp;
use link::printable::printable;

use super::story::{AgentShown, BundleStory, ConsumerStory, Stay, UnmetCondition};
use super::words;

/// The story of a bundle, without a newline at its end.
pub fn bundle_text(story: &BundleStory) -> String {
    let mut out = Lines::default();
    let subject = &story.subject;
    let name = subject.name.as_ref();
    let name = name.map_or_else(String::new, |name| format!(" ({name})"));
    let (id, consumer, version) = (&subject.id, &subject.consumer, subject.version);
    out.line(
        "bundle",
        &format!("{id}{name}, for {consumer}, version {version}"),
    );
    out.line("state", &story.state);
    if let Some(stay) = &story.waiting {
        out.stay(stay, story.at);
    }
    for hop in &story.hops {
        let at = hop.at.map_or_else(|| "-".to_owned(), words::at);
        let took = hop
            .took_seconds
            .map_or_else(String::new, |took| format!("  +{took:.3} s"));
        let note = hop.note.as_ref();
        let note = note.map_or_else(String::new, |note| format!("  {note}"));
        out.line(
            "hop",
            &format!("v{} {:<12} {at}{took}{note}", hop.version, hop.hop),
        );
    }
    if let Some(attempts) = story.attempts.as_ref().filter(|it| it.failure.is_some()) {
        let next = attempts
            .next_at
            .map_or_else(String::new, |next| format!(", next at {}", words::at(next)));
        out.line("attempts", &format!("{}{next}", attempts.count));
    }
    for condition in &story.conditions {
        out.condition(condition);
    }
    if let Some(agent) = &story.agent {
        out.agent(agent, story.at);
    }
    for version in &story.earlier {
        let note = version.note.as_ref();
        let note = note.map_or_else(String::new, |note| format!(": {note}"));
        let at = words::at(version.stored_at);
        out.line(
            "earlier",
            &format!(
                "v{} stored {at}, {}{note}",
                version.version, version.reached
            ),
        );
    }
    for note in &story.notes {
        out.line("note", note);
    }
    out.text
}

/// The story of a consumer, without a newline at its end.
pub fn consumer_text(story: &ConsumerStory) -> String {
    let mut out = Lines::default();
    out.line("consumer", &story.subject.name);
    out.line("state", &story.state);
    let counts = &story.counts;
    out.line(
        "waiting",
        &format!(
            "{} to be sent, {} to be applied, {} to be available, {} to be deleted, of {}",
            counts.send, counts.apply, counts.available, counts.deletion, counts.bundles
        ),
    );
    for oldest in &story.oldest {
        out.line("oldest", &oldest.bundle);
        out.stay(&oldest.waiting, story.at);
    }
    out.agent(&story.agent, story.at);
    let lane = &story.lane;
    let since = lane.nobody_since;
    let since = since.map_or_else(String::new, |since| format!(" since {}", words::at(since)));
    match (&lane.owner, lane.replicas) {
        (Some(owner), _) => {
            let slot = lane.slot.unwrap_or_default();
            let term = lane.term.unwrap_or_default();
            let until = lane
                .until
                .map_or_else(String::new, |until| format!(" until {}", words::at(until)));
            out.line("lane", &format!("{owner}, slot {slot}, term {term}{until}"));
        }
        (None, Some(replicas)) => {
            out.line(
                "lane",
                &format!("nobody's{since}; {replicas} replica(s) are there"),
            );
        }
        (None, None) if lane.nobody_since.is_some() => {
            out.line("lane", &format!("no bridge has heard agents{since}"));
        }
        (None, None) => {}
    }
    let unconfirmed = if lane.unconfirmed {
        "; bundles of it are not confirmed in it"
    } else {
        ""
    };
    let foreign = if lane.foreign_works {
        "; its agent holds works that are not known here"
    } else {
        ""
    };
    let began = words::at(lane.epoch_began_at);
    out.line(
        "epoch",
        &format!("{} since {began}{unconfirmed}{foreign}", lane.epoch),
    );
    for raised in &lane.raised {
        let at = words::at(raised.at);
        out.line(
            "raised",
            &format!(
                "{} v{} at {at}: {}",
                raised.bundle, raised.version, raised.note
            ),
        );
    }
    out.text
}

#[derive(Default)]
struct Lines {
    text: String,
}

// === impl Lines ===

impl Lines {
    fn line(&mut self, name: &str, text: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        // What an agent says may hold anything; a terminal must not obey it, nor show it as what it is not.
        let clean = printable(&text.replace(|c: char| c.is_whitespace(), " "));
        // Writing to a text cannot fail.
        let _ = write!(self.text, "{name:<9} {}", clean.trim_end());
    }

    fn stay(&mut self, stay: &Stay, now: Timestamp) {
        let (since, ago) = (words::at(stay.since), words::ago(stay.since, now));
        self.line(
            "waits",
            &format!("{} for `{}` since {since} ({ago})", stay.code, stay.hop),
        );
        self.line("why", &stay.why);
        self.line("next", &stay.next);
        self.line("page", &stay.page);
    }

    fn condition(&mut self, it: &UnmetCondition) {
        let object = it.object.as_ref();
        let object = object.map_or_else(String::new, |object| format!("{object}: "));
        let (kind, status, reason) = (&it.condition, &it.status, &it.reason);
        self.line(
            "condition",
            &format!("{object}{kind}={status} {reason}: {}", it.message),
        );
    }

    fn agent(&mut self, agent: &AgentShown, now: Timestamp) {
        let mut text = agent.state.to_string();
        let mut say = |more: String| {
            text.push_str(", ");
            text.push_str(&more);
        };
        if let Some(since) = agent.since {
            say(format!("since {}", words::at(since)));
        }
        if let Some(why) = &agent.why {
            say(why.clone());
        }
        if let Some(heard) = agent.last_heard_at {
            say(format!("heard {} ago", words::ago(heard, now)));
        }
        if let Some(version) = &agent.version {
            say(format!("version {version}"));
        }
        if let Some(expires) = agent.certificate_expires_at {
            say(format!("certificate until {}", words::at(expires)));
        }
        if let Some(refusal) = &agent.refusal {
            say(format!("refuses this version: {refusal}"));
        }
        self.line("agent", &text);
    }
}
