//! What the program does not start with.

use std::process::Command;

use crate::bridge::Place;

/// Exit code and what is said of a start with these arguments, which never gets as far as a broker: none is named.
fn start(place: &Place, args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_server-bridge"))
        .env_clear()
        .args(["--admin-listen", "127.0.0.1:0"])
        .arg("--db")
        .arg(place.path("start.db"))
        .args(args)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), said)
}

#[test]
fn a_bridge_that_others_can_reach_does_not_start_unless_callers_are_known_or_it_is_told_so() {
    let place = Place::new();
    for (flag, address) in [("--api-listen", "0.0.0.0:0"), ("--grpc-listen", "[::]:0")] {
        let others = ["--api-listen", "127.0.0.1:0", flag, address];
        let others = &others[if flag == "--api-listen" { 2 } else { 0 }..];
        let (code, said) = start(&place, others);
        assert_eq!(code, Some(2), "{said}");
        let reason = format!(
            "`{flag} {address}` lets others than this machine connect, and callers are not asked who they are"
        );
        assert!(said.contains(&reason), "{said}");
        let hint = "hint: give `--client-ca-file`, `--token-issuer` or `--token-review`";
        assert!(said.contains(hint), "{said}");
        // Told so, it misses its broker.
        let (code, said) = start(&place, &[others, &["--insecure-callers"]].concat());
        assert_eq!(code, Some(2), "{said}");
        assert!(!said.contains("callers are not asked"), "{said}");
    }
    let (_, said) = start(&place, &["--api-listen", "127.0.0.1:0"]);
    assert!(!said.contains("callers are not asked"), "{said}");
    assert!(!place.path("start.db").exists());
}
