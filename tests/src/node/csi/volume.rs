//! A volume in the node's own view of the file system: a tmpfs with files, which the two writers replace each in its
//! own way.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use sandbox::pki::Layout;
use uuid::Uuid;

/// The place of a volume on a running node.
#[derive(Debug)]
pub(super) struct Volume<'a> {
    /// A process in the node's mount name space.
    pub(super) process: u32,
    /// Where the kubelet wants it.
    pub(super) target: &'a str,
}

// === impl Volume ===

impl Volume<'_> {
    /// Mounts it where it is not mounted yet. Says whether it was.
    ///
    /// # Errors
    /// When the node is gone or refuses.
    pub(super) fn mount(&self) -> io::Result<bool> {
        if self.mounted()? {
            return Ok(true);
        }
        fs::create_dir_all(self.path())?;
        let options = ["-t", "tmpfs", "-o", "mode=0755,size=4m", "tmpfs"];
        self.inside("mount", &options)?;
        Ok(false)
    }

    /// Whether it is mounted.
    ///
    /// # Errors
    /// When the node is gone.
    pub(super) fn mounted(&self) -> io::Result<bool> {
        let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", self.process))?;
        Ok(mounts
            .lines()
            .any(|line| line.split(' ').nth(4) == Some(self.target)))
    }

    /// Undoes it. What is not there is no error.
    ///
    /// # Errors
    /// When the node is gone or refuses.
    pub(super) fn unmount(&self) -> io::Result<()> {
        if self.mounted()? {
            self.inside("umount", &[])?;
        }
        match fs::remove_dir_all(self.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Replaces the files that changed: one after the other, up to and including `last` if that is named, or all at
    /// once.
    ///
    /// # Errors
    /// When the volume cannot be written to.
    pub(super) fn write(
        &self,
        files: &[(String, String)],
        layout: Layout,
        last: Option<&str>,
    ) -> io::Result<()> {
        let directory = self.path();
        let same = |(name, content): &(String, String)| {
            fs::read_to_string(directory.join(name)).is_ok_and(|old| old == *content)
        };
        if files.iter().all(same) {
            return Ok(());
        }
        match layout {
            Layout::DataSymlink => swap(&directory, files),
            Layout::PerFileRename => {
                for file in files {
                    let (name, content) = file;
                    if !same(file) {
                        let fresh = directory.join(format!("{name}{}", Uuid::new_v4().simple()));
                        put(&fresh, content)?;
                        fs::rename(&fresh, directory.join(name))?;
                    }
                    if last == Some(name.as_str()) {
                        break;
                    }
                }
                Ok(())
            }
        }
    }

    /// The same directory, seen from here.
    fn path(&self) -> PathBuf {
        let target = self.target.trim_start_matches('/');
        Path::new(&format!("/proc/{}/root", self.process)).join(target)
    }

    fn inside(&self, program: &str, options: &[&str]) -> io::Result<()> {
        let output = Command::new("nsenter")
            .arg(format!("--mount=/proc/{}/ns/mnt", self.process))
            .arg(program)
            .args(options)
            .arg(self.target)
            .output()?;
        match output.status.success() {
            true => Ok(()),
            false => Err(io::Error::other(String::from_utf8_lossy(&output.stderr))),
        }
    }
}

/// As the atomic writer of Kubernetes does: all files in a directory of their own, and a link to it.
fn swap(directory: &Path, files: &[(String, String)]) -> io::Result<()> {
    let version = format!("..{}", Uuid::new_v4().simple());
    let (data, fresh) = (directory.join("..data"), directory.join(&version));
    fs::create_dir(&fresh)?;
    for (name, content) in files {
        put(&fresh.join(name), content)?;
    }
    let old = fs::read_link(&data).ok();
    let link = directory.join("..data_tmp");
    symlink(&version, &link)?;
    fs::rename(&link, &data)?;
    for (name, _) in files {
        let target = directory.join(name);
        if fs::read_link(&target).is_err() {
            symlink(format!("..data/{name}"), &target)?;
        }
    }
    old.map_or(Ok(()), |old| fs::remove_dir_all(directory.join(old)))
}

/// For everybody: who may look is decided by the pod that has the volume.
fn put(path: &Path, content: &str) -> io::Result<()> {
    fs::write(path, content)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}
