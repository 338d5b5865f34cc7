//! `provisioner init` with the AWS configuration files of a user who has profiles.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::fs;
use std::path::Path;
use std::process::Command;

/// The exit code of `provisioner init` in a directory, and what it says on standard error.
fn init(directory: &Path, words: &str) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_provisioner"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let output = command
        .args(["init", "--force"])
        .args(words.split_whitespace())
        .current_dir(directory)
        .env_clear()
        .env("PATH", path)
        .env("HOME", directory)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), said)
}

#[test]
fn the_region_is_that_of_the_profile_that_is_named() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(".aws")).unwrap();
    let config = "[default]\nregion = us-west-2\n[profile p]\nregion = eu-north-1\n";
    fs::write(home.path().join(".aws/config"), config).unwrap();
    for (words, region) in [
        ("", "us-west-2"),
        ("--profile p", "eu-north-1"),
        ("--profile p --region eu-west-1", "eu-west-1"),
    ] {
        assert_eq!(init(home.path(), words), (Some(0), String::new()));
        let file = fs::read_to_string(home.path().join("region.yaml")).unwrap();
        assert!(file.contains(&format!("\nregion: \"{region}\"")), "{file}");
    }
    fs::remove_file(home.path().join("region.yaml")).unwrap();
    for (words, says) in [
        ("--profile nosuch", "there is no AWS profile `nosuch`"),
        ("--name X_Y --account 12 --region mars-1", "`mars-1`"),
    ] {
        let (code, said) = init(home.path(), words);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(says) && said.contains("hint: "), "{said}");
    }
    assert!(!home.path().join("region.yaml").exists());
}
