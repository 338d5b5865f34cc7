//! What every Rust file has for its reader.

use crate::nothing_in;
use crate::tree::rust;

#[test]
fn every_file_opens_with_what_it_is_for() {
    let breaches: Vec<_> = rust()
        .iter()
        // `foo/tests.rs` is explained by its name and the module it sits beside.
        .filter(|file| !file.path.ends_with("/tests.rs"))
        .filter(|file| !file.content.starts_with("//! "))
        .map(|file| {
            format!(
                "{}:1: no `//!` line; say what the module is for and its contract with callers",
                file.path
            )
        })
        .collect();
    nothing_in(&breaches);
}

#[test]
fn long_files_give_a_reason() {
    let breaches: Vec<_> = rust()
        .iter()
        .filter(|file| !file.lines().any(|(_, line)| line.starts_with(REASON)))
        .filter_map(|file| {
            let lines = file.lines().count();
            (lines > LONGEST).then(|| {
                format!(
                    "{}:{lines}: more than {LONGEST} lines; split it, or say `{REASON} …` below the module docs",
                    file.path
                )
            })
        })
        .collect();
    nothing_in(&breaches);
}

#[test]
fn modules_live_beside_their_directory() {
    let breaches: Vec<_> = rust()
        .iter()
        .filter(|file| file.path.ends_with("/mod.rs"))
        .map(|file| {
            format!(
                "{}:1: a `mod.rs`; name it after the module, beside the directory",
                file.path
            )
        })
        .collect();
    nothing_in(&breaches);
}

#[test]
fn tests_are_named_as_promises() {
    let prefix = concat!("fn test", "_");
    let mut breaches = Vec::new();
    for file in rust() {
        for (line, text) in file.lines() {
            if text
                .trim_start()
                .trim_start_matches("async ")
                .starts_with(prefix)
            {
                breaches.push(format!(
                    "{}:{line}: `{prefix}` prefix; name the promise",
                    file.path
                ));
            }
        }
    }
    nothing_in(&breaches);
}

#[test]
fn the_mqtt_library_is_used_in_one_place() {
    let uses = [concat!("use rum", "qttc"), concat!("rum", "qttc::")];
    let mut breaches = Vec::new();
    for file in rust() {
        // A benchmark that holds the session to the bare library has to use the bare library.
        if file.path.starts_with("link/src/mqtt") || file.path.contains("/benches/") {
            continue;
        }
        for (line, text) in file.lines() {
            if !text.trim_start().starts_with("//") && uses.iter().any(|word| text.contains(word)) {
                breaches.push(format!(
                    "{}:{line}: the MQTT library; go through `link::mqtt`",
                    file.path
                ));
            }
        }
    }
    nothing_in(&breaches);
}

/// Starts the comment line that excuses a long file.
const REASON: &str = "// Long because";

// One idea per file reads in one sitting; most are 100 to 350 lines.
const LONGEST: usize = 400;
