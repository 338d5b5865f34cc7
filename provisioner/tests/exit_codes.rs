//! The exit codes of a command line that cannot be run: no AWS is asked.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::process::Command;

/// The program's exit code, and what it says on standard error.
fn run(words: &str, env: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_provisioner"));
    command.env_remove("LOG_LEVEL").env_remove("LOG_FORMAT");
    let output = command
        .args(words.split(' '))
        .envs(env.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), said)
}

#[test]
fn two_means_differences_where_they_are_asked_for_and_nothing_else() {
    let wrong = [
        ("plan --exit-code --bogus", None),
        ("plan --exit-code word", None),
        ("plan --detailed-exitcode=1", None),
        ("plan -detailed-exitcode=1", None),
        ("paln --exit-code", None),
        ("plan --exit-code", Some(("LOG_LEVEL", "loud"))),
        ("plan -detailed-exitcode", Some(("LOG_LEVEL", "loud"))),
        ("plan --exit-code", Some(("LOG_FORMAT", "x"))),
    ];
    for (words, env) in wrong {
        let (code, said) = run(words, env.as_slice());
        assert_eq!(code, Some(1), "{words} {env:?}: {said}");
        assert!(said.contains("error") || said.contains("hint"), "{said}");
    }
    let (code, said) = run("plan --exit-code --help", &[]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    for (words, env) in [
        ("plan --bogus", None),
        ("plan", Some(("LOG_LEVEL", "loud"))),
    ] {
        let (code, said) = run(words, env.as_slice());
        assert_eq!(code, Some(2), "{words} {env:?}: {said}");
    }
}
