//! Every program tells its version, completes its command line, and has a manual page for each of its verbs.

use std::path::Path;

use anyhow::{Result, ensure};
use tests::process::{Output, ProcessSpec};
use tests::test_dir::{TestDir, profile_directory};

use crate::{PATIENCE, PROGRAMS, label};

#[tokio::test]
async fn every_program_tells_its_version_and_commit() -> Result<()> {
    let test_dir = TestDir::new("commands-version")?;
    for program in PROGRAMS {
        let said = run(program, &["--version"], test_dir.path()).await?;
        ensure!(said.status.success(), "{}", said.stderr);
        // A build of a test is told of no commit.
        let expected = format!("{program} {} (", env!("CARGO_PKG_VERSION"));
        ensure!(said.stdout.starts_with(&expected), "{}", said.stdout);
        ensure!(said.stdout.ends_with(")\n"), "{}", said.stdout);
    }
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn no_verb_takes_version_for_something_else() -> Result<()> {
    let test_dir = TestDir::new("commands-verb-version")?;
    for program in PROGRAMS {
        for verbs in all_verbs(program, test_dir.path()).await? {
            let arguments: Vec<&str> = verbs
                .iter()
                .map(String::as_str)
                .chain(["--version"])
                .collect();
            let said = run(program, &arguments, test_dir.path()).await?;
            match said.status.code() {
                Some(0) => ensure!(
                    said.stdout.contains(env!("CARGO_PKG_VERSION")),
                    "{program} {arguments:?}: {}",
                    said.stdout
                ),
                code => ensure!(
                    code == Some(2)
                        && said
                            .stderr
                            .contains("unexpected argument '--version' found"),
                    "{program} {arguments:?}: {code:?} {}",
                    said.stderr
                ),
            }
        }
    }
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn every_verb_has_a_manual_page_and_is_named_in_the_one_above() -> Result<()> {
    let test_dir = TestDir::new("commands-manual")?;
    for program in PROGRAMS {
        let pages = test_dir.path().join("man").join(program);
        let written = run(program, &["man", &pages.to_string_lossy()], test_dir.path()).await?;
        ensure!(written.status.success(), "{}", written.stderr);
        ensure!(written.stdout.is_empty(), "{}", written.stdout);
        let page = |verbs: &[String]| {
            let name = [&[(*program).to_owned()], verbs].concat().join("-");
            std::fs::read_to_string(pages.join(format!("{name}.1")))
        };
        for verbs in all_verbs(program, test_dir.path()).await? {
            let own = page(&verbs)?;
            ensure!(own.contains(".SH NAME"), "{program} {verbs:?}: {own}");
            // Written as roff, where a hyphen is escaped.
            let link = format!("{program}-{}(1)", verbs.join("-")).replace('-', "\\-");
            let above = page(&verbs[..verbs.len() - 1])?;
            ensure!(above.contains(&link), "no {link} in\n{above}");
        }
    }
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn every_program_completes_its_verbs_in_every_shell() -> Result<()> {
    let test_dir = TestDir::new("commands-completions")?;
    for program in PROGRAMS {
        for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
            let script = run(program, &["completions", shell], test_dir.path()).await?;
            ensure!(
                script.status.success(),
                "{program} {shell}: {}",
                script.stderr
            );
            for verbs in all_verbs(program, test_dir.path()).await? {
                let verb = &verbs[verbs.len() - 1];
                ensure!(
                    script.stdout.contains(verb.as_str()),
                    "{program} {shell}: no {verb}"
                );
            }
        }
    }
    test_dir.passed();
    Ok(())
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_script_that_finds_no_room_is_a_failure_and_a_closed_pipe_is_none() -> Result<()> {
    let test_dir = TestDir::new("commands-full")?;
    let shell = ProcessSpec::installed("sh", "install a shell")?;
    let binary = profile_directory()?.join("probe");
    for (redirected, code, told) in [
        ("> /dev/full", "1", "write the completion script"),
        ("| true", "0", ""),
    ] {
        // The status is the program's, not that of the end of a pipe.
        let line = format!("{{ \"$0\" completions bash; echo $? >&3; }} 3>&2 {redirected}");
        let said = shell
            .clone()
            .label(label())
            .args(["-c", line.as_str()])
            .arg(&binary)
            .run(test_dir.path(), PATIENCE)
            .await?;
        let ended = said.stderr.lines().any(|line| line == code);
        ensure!(ended && said.stderr.contains(told), "{}", said.stderr);
    }
    test_dir.passed();
    Ok(())
}

/// Every verb that the help shows, with those above it.
async fn all_verbs(program: &str, logs: &Path) -> Result<Vec<Vec<String>>> {
    let mut found = Vec::new();
    let mut todo = vec![Vec::new()];
    while let Some(verbs) = todo.pop() {
        let arguments: Vec<&str> = verbs.iter().map(String::as_str).chain(["--help"]).collect();
        let help = run(program, &arguments, logs).await?;
        ensure!(
            help.status.success(),
            "{program} {arguments:?}: {}",
            help.stderr
        );
        for verb in listed(&help.stdout) {
            let below = [verbs.as_slice(), &[verb]].concat();
            found.push(below.clone());
            todo.push(below);
        }
    }
    ensure!(!found.is_empty(), "{program} has no verbs");
    Ok(found)
}

/// The verbs of a help text; `help` is the argument parser's.
fn listed(help: &str) -> Vec<String> {
    help.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|verb| *verb != "help")
        .map(str::to_owned)
        .collect()
}

async fn run(program: &str, arguments: &[&str], logs: &Path) -> Result<Output> {
    let spec = ProcessSpec::binary(program)?
        .label(label())
        .env("COLUMNS", "200");
    Ok(spec.args(arguments).run(logs, PATIENCE).await?)
}
