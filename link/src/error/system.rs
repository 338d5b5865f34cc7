//! What the operating system has run out of, and where more of it comes from.
//!
//! These errors may end any operation, so their hint is better than the operation's own: on a full disk another directory
//! of the same disk does not help.

use std::error::Error;
use std::io;

use rustix::io::Errno;

/// The next step after an error that a used-up resource of the system caused, wherever in the chain it stands.
pub(super) fn hint(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(hint) = error.downcast_ref().and_then(used_up) {
            return Some(hint);
        }
        next = error.source();
    }
    None
}

fn used_up(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::StorageFull => {
            return Some("the disk is full: free some space on it (`df -h` shows which it is)");
        }
        io::ErrorKind::QuotaExceeded => {
            return Some("this user's quota on the disk is used up: free some of it");
        }
        io::ErrorKind::ReadOnlyFilesystem => return Some("the disk is mounted read-only"),
        _ => {}
    }
    match error.raw_os_error().map(Errno::from_raw_os_error)? {
        Errno::MFILE => Some(
            "this process may not open more files: raise its limit with `ulimit -n 4096` before it is started",
        ),
        Errno::NFILE => {
            Some("this machine may not open more files: raise `fs.file-max` with `sysctl -w`")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Failure, Hint};
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("write `a`")]
    struct Write(#[source] io::Error);

    impl Hint for Write {
        fn hint(&self) -> Option<String> {
            Some("write elsewhere".into())
        }
    }

    #[test]
    fn a_used_up_resource_is_named_in_place_of_the_operations_own_hint() {
        for (error, part) in [
            (Errno::NOSPC, "the disk is full"),
            (Errno::DQUOT, "quota"),
            (Errno::MFILE, "`ulimit -n"),
            (Errno::NFILE, "`fs.file-max`"),
            (Errno::ROFS, "read-only"),
            (Errno::ACCESS, "write elsewhere"),
        ] {
            let failure = Failure::from(Write(error.into()));
            let hint = failure.hint().unwrap();
            assert!(hint.contains(part), "{hint}");
            let failure = Failure::misuse(Write(error.into()));
            assert!(failure.hint().unwrap().contains(part));
        }
    }
}
