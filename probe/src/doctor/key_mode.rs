//! Who may read the private key.
//!
//! On a disk a key is its owner's alone. A mounted secret is 0644 by default in both the CSI driver and Kubernetes: there it
//! is in the memory of the pod's own mount, which only the pod sees, so that is no fault and not said.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use link::fault::{Code, Finding};

use super::mounts::Mounts;

/// A warning for a key that others may read, if it is on no volume of a pod.
pub(super) fn finding(key: &Path, mounts: &Mounts) -> Option<Finding> {
    let file = std::fs::metadata(key).ok()?;
    let mode = file.mode() & 0o7777;
    if mode & OTHERS == 0 || mounts.is_secret_volume(key) {
        return None;
    }
    let shown = key.display();
    let finding = Finding::warning(LOOSE, format!("`{shown}` has mode {mode:04o}"))
        .why("whoever reads the key is this party to the broker")
        .next(format!(
            "`chmod 600 {}`, as the user who runs the program",
            pasted(&shown.to_string())
        ));
    Some(finding)
}

/// A word as a shell takes it.
fn pasted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@,".contains(c);
    // What begins with `-` would be an option.
    match word.chars().all(is_plain) && !word.is_empty() && !word.starts_with('-') {
        true => word.to_owned(),
        false if word.starts_with('-') => pasted(&format!("./{word}")),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// What group and others may do.
const OTHERS: u32 = 0o077;

const LOOSE: Code = Code::new(107);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_command_works_when_it_is_pasted_whatever_the_key_is_called() {
        let scratch = tempfile::tempdir().unwrap();
        for name in ["a b", "it's", "$(false)", "-R", "plain"] {
            let path = scratch.path().join(name);
            std::fs::write(&path, "x").unwrap();
            let loose = std::fs::Permissions::from_mode(0o644);
            std::fs::set_permissions(&path, loose).unwrap();
            let disk = Mounts::parse("1 0 8:1 / / rw - ext4 /dev/sda1 rw");
            let next = finding(&path, &disk).unwrap().next;
            let command = next.split('`').nth(1).unwrap();
            let ran = std::process::Command::new("sh")
                .args(["-c", command])
                .status();
            assert!(ran.unwrap().success(), "{command}");
            assert!(finding(&path, &disk).is_none(), "{command}");
        }
        assert_eq!(pasted("-R"), "./-R");
    }

    #[test]
    fn a_loose_key_is_a_warning_on_a_disk_and_usual_on_a_volume_of_a_pod() {
        let scratch = tempfile::tempdir().unwrap();
        let key = scratch.path().join("privateKey");
        std::fs::write(&key, "x").unwrap();
        let place = scratch.path().canonicalize().unwrap();
        let disk = Mounts::parse("1 0 8:1 / / rw - ext4 /dev/sda1 rw");
        let volume = Mounts::parse(&format!(
            "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:1 / {} rw - tmpfs tmpfs rw",
            place.display()
        ));
        for (mode, on_disk) in [(0o600, false), (0o400, false), (0o640, true), (0o644, true)] {
            std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(finding(&key, &disk).is_some(), on_disk, "{mode:o}");
            assert!(finding(&key, &volume).is_none(), "{mode:o}");
        }
    }
}
