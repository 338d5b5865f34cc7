//! What is mounted where, from `/proc/self/mountinfo` (proc(5)).

use std::path::{Path, PathBuf};

use link::fault::{Code, Finding};

/// The mounts of this process; none where there is no `/proc`.
#[derive(Debug, Default)]
pub(super) struct Mounts(Vec<Mount>);

#[derive(Debug)]
struct Mount {
    at: PathBuf,
    kind: String,
}

// === impl Mounts ===

impl Mounts {
    pub(super) fn here() -> Self {
        let text = link::file::read_text(Path::new("/proc/self/mountinfo"), MOST_BYTES);
        text.map_or_else(|_| Self::default(), |text| Self::parse(&text))
    }

    pub(super) fn parse(text: &str) -> Self {
        let mount = |line: &str| {
            let (before, after) = line.split_once(" - ")?;
            Some(Mount {
                at: unescaped(before.split(' ').nth(4)?),
                kind: after.split(' ').next()?.to_owned(),
            })
        };
        Self(text.lines().filter_map(mount).collect())
    }

    /// Mount point and kind of file system that a file is on.
    pub(super) fn of(&self, file: &Path) -> Option<(&Path, &str)> {
        let real = file.canonicalize().ok()?;
        let holds = self.0.iter().filter(|mount| real.starts_with(&mount.at));
        // Of two at one place the later one hides the other.
        let deepest = holds.max_by_key(|mount| mount.at.components().count())?;
        Some((&deepest.at, &deepest.kind))
    }

    /// Whether a file is in the memory of a mount of its own, as Kubernetes mounts secrets; the directories that all
    /// programs of a machine share are none.
    pub(super) fn is_secret_volume(&self, file: &Path) -> bool {
        self.of(file).is_some_and(|(at, kind)| {
            kind == "tmpfs"
                && !SHARED.iter().any(|shared| at == Path::new(shared))
                && !at.starts_with("/run/user")
        })
    }

    /// A warning for the files that are mounts of their own: the kubelet never renews those.
    pub(super) fn sub_paths<'a>(
        &self,
        files: impl IntoIterator<Item = &'a PathBuf>,
    ) -> Option<Finding> {
        let is_mount = |file: &&PathBuf| self.0.iter().any(|mount| mount.at == **file);
        let alone: Vec<String> = files
            .into_iter()
            .filter(is_mount)
            .map(|file| format!("`{}`", file.display()))
            .collect();
        (!alone.is_empty()).then(|| {
            Finding::warning(STALE, format!("mounted one by one (`subPath`): {}", alone.join(", ")))
                .why("such a file never follows a rotation of the secret: certificate and key stay old until the pod is made anew")
                .next("mount the whole volume in a directory of its own, without `subPath`")
        })
    }
}

// Blanks and the like are written as three octal digits.
fn unescaped(text: &str) -> PathBuf {
    let replaced = [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ];
    let plain = replaced
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
    PathBuf::from(plain)
}

// A node with a thousand pods has less than a megabyte of them.
const MOST_BYTES: u64 = 4 * 1024 * 1024;

const SHARED: [&str; 6] = ["/", "/tmp", "/var/tmp", "/run", "/run/lock", "/dev/shm"];

const STALE: Code = Code::new(105);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_a_mount_of_its_own_is_said_to_be_stale_after_a_rotation() {
        let mounts = Mounts::parse(
            "1 0 0:1 / / rw - overlay overlay rw\n2 1 0:2 /x /mnt/my\\040secrets/certificate ro shared:1 - tmpfs tmpfs rw",
        );
        let [own, other] =
            ["/mnt/my secrets/certificate", "/mnt/my secrets/privateKey"].map(PathBuf::from);
        let finding = mounts.sub_paths([&own, &other]).unwrap();
        assert_eq!(finding.code, STALE);
        assert!(
            finding
                .seen
                .ends_with("(`subPath`): `/mnt/my secrets/certificate`"),
            "{finding:?}"
        );
        assert!(mounts.sub_paths([&other]).is_none());
    }

    #[test]
    fn memory_that_all_programs_share_is_no_volume_of_a_pod() {
        let line =
            |at: &str| format!("1 0 8:1 / / rw - ext4 a rw\n2 1 0:1 / {at} rw - tmpfs tmpfs rw");
        assert!(!Mounts::parse(&line("/tmp")).is_secret_volume(&std::env::temp_dir()));
        assert!(!Mounts::parse("").is_secret_volume(Path::new("/")));
        assert!(!Mounts::parse("nonsense\n- -").is_secret_volume(Path::new("/")));
    }
}
