//! Words that have no place in the repository: paths and hosts of one machine, tools that are nobody's business.

use crate::nothing_in;
use crate::tree::texts;

#[test]
fn no_file_speaks_of_one_machine_or_its_tools() {
    let mut breaches = Vec::new();
    for file in texts() {
        for (line, text) in file.lines() {
            let lower = text.to_lowercase();
            for word in ANYWHERE.iter().filter(|word| lower.contains(**word)) {
                breaches.push(format!("{}:{line}: `{word}`; leave it out", file.path));
            }
            for path in PATHS.iter().filter(|path| starts_a_path(&lower, path)) {
                breaches.push(format!(
                    "{}:{line}: `{path}`; use a relative path",
                    file.path
                ));
            }
        }
    }
    nothing_in(&breaches);
}

/// Whether `path` stands at the start of a path: `agent/src/work/file.rs` is no absolute path.
fn starts_a_path(text: &str, path: &str) -> bool {
    text.match_indices(path).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        before.is_none_or(|char| char.is_whitespace() || "\"'`(=:<[,".contains(char))
    })
}

// In two halves, or this file would be the first breach.
const ANYWHERE: &[&str] = &[
    concat!("index.cra", "tes.io"),
    concat!("static.cra", "tes.io"),
    concat!("proxy.gol", "ang.org"),
    concat!("files.python", "hosted.org"),
    concat!("registry.npm", "js.org"),
    concat!("deb.deb", "ian.org"),
    concat!("cla", "ude"),
    concat!("anthr", "opic"),
    concat!("open", "ai"),
    concat!("chat", "gpt"),
    concat!("github cop", "ilot"),
];

const PATHS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/tmp/ba", "sh_jobs"),
];
