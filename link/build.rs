//! Tells a release build in a checkout which commit it is of (`--version`, `build_info`), unless `BUILD_COMMIT` does.
//!
//! What is not there fails nothing: an archive of the source, or a machine without git, makes programs that do not know
//! their commit. Other builds are not told: each commit would compile all anew.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=BUILD_COMMIT");
    let release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    if std::env::var_os("BUILD_COMMIT").is_some() || !release || !is_of_this_repository() {
        return;
    }
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return;
    };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
    let dirty = if changed.is_none_or(|changed| !changed.is_empty()) {
        "-dirty"
    } else {
        ""
    };
    println!("cargo::rustc-env=BUILD_COMMIT={commit}{dirty}");
    if let Some(date) = git(&["show", "-s", "--format=%cs", "HEAD"]) {
        println!("cargo::rustc-env=BUILD_DATE={date}");
    }
    // Written by whatever makes another commit the present one.
    if let Some(log) = git(&[
        "rev-parse",
        "--path-format=absolute",
        "--git-path",
        "logs/HEAD",
    ]) && Path::new(&log).exists()
    {
        println!("cargo::rerun-if-changed={log}");
    }
}

/// An archive may lie within somebody else's checkout, whose commit is not this one's.
fn is_of_this_repository() -> bool {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let (Some(root), Some(top)) = (root, git(&["rev-parse", "--show-toplevel"])) else {
        return false;
    };
    let same = |path: &Path| path.canonicalize().ok();
    same(root).is_some() && same(root) == same(Path::new(&top))
}

fn git(arguments: &[&str]) -> Option<String> {
    let mut git = Command::new("git");
    git.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments);
    git.env("GIT_OPTIONAL_LOCKS", "0");
    let output = git.output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
