//! The limits of Linux that keep a directory from being watched: what they are called, and whether it matters.

use std::fs::{self, File};
use std::sync::atomic::{AtomicBool, Ordering};

use notify::ErrorKind;
use rustix::io::Errno;
use tracing::warn;

/// A limit that is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    /// Inotify instances of a user; each followed identity takes one.
    Instances,
    /// Watched directories of a user.
    Watches,
    /// Open files of this process.
    Files,
}

// === impl Limit ===

impl Limit {
    /// The limit that this error is about.
    pub(super) fn behind(error: &notify::Error) -> Option<Self> {
        match &error.kind {
            ErrorKind::MaxFilesWatch => Some(Self::Watches),
            ErrorKind::Io(error) => {
                let errno = Errno::from_raw_os_error(error.raw_os_error()?);
                // The same error for two limits: a file that can be opened tells them apart.
                let files_left = || File::open("/dev/null").is_ok();
                match errno {
                    Errno::NOSPC => Some(Self::Watches),
                    Errno::MFILE if files_left() => Some(Self::Instances),
                    Errno::MFILE => Some(Self::Files),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// Says it once per process: all identities of a process meet it alike.
    pub(super) fn warn(self) {
        static SAID: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];
        if !SAID[self as usize].swap(true, Ordering::Relaxed) {
            warn!("{}", self.text());
        }
    }

    fn text(self) -> String {
        let used_up = match self {
            Self::Files => {
                "this process may not open more files; raise it with `ulimit -n` before it is started".to_owned()
            }
            Self::Instances | Self::Watches => {
                let name = self.file();
                let value = fs::read_to_string(format!("/proc/sys/fs/inotify/{name}"));
                let value = value.unwrap_or_default();
                format!(
                    "`fs.inotify.{name}` ({}) of this user is used up; raise it with `sysctl -w fs.inotify.{name}=N`",
                    value.trim()
                )
            }
        };
        format!(
            "An identity directory cannot be watched: {used_up}. It matters little: a new certificate is found by \
             polling, up to 30 s later"
        )
    }

    const fn file(self) -> &'static str {
        match self {
            Self::Watches => "max_user_watches",
            Self::Instances | Self::Files => "max_user_instances",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_used_up_limit_is_called_by_its_name_and_another_error_is_none() {
        let of = |errno: Errno| Limit::behind(&notify::Error::io(io::Error::from(errno)));
        assert_eq!(of(Errno::MFILE), Some(Limit::Instances));
        assert_eq!(of(Errno::NOSPC), Some(Limit::Watches));
        assert_eq!(of(Errno::ACCESS), None);
        let watches = notify::Error::new(ErrorKind::MaxFilesWatch);
        assert_eq!(Limit::behind(&watches), Some(Limit::Watches));
        for (limit, name) in [
            (Limit::Instances, "`fs.inotify.max_user_instances` ("),
            (Limit::Watches, "`fs.inotify.max_user_watches` ("),
            (Limit::Files, "`ulimit -n`"),
        ] {
            let text = limit.text();
            assert!(
                text.contains(name) && text.contains("matters little"),
                "{text}"
            );
        }
    }
}
