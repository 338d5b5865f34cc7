//! Writes an identity the way the two CSI writers do (iot-core.md §4, system.md §8).

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::Set;

/// How files are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Each file by temporary, fsync and rename, one after another: the AWS provider's default. A reader can see a
    /// new certificate beside an old key.
    PerFileRename,
    /// All files at once by swapping the `..data` link: Kubernetes' atomic writer.
    DataSymlink,
}

/// A file of an identity could not be written.
#[derive(Debug, thiserror::Error)]
#[error("write `{path}`")]
pub struct LayDownError {
    path: String,
    #[source]
    source: io::Error,
}

/// Writes `certificate`, `privateKey`, `ca.crt` and further files to a directory, replacing what is there.
///
/// # Errors
/// When the directory cannot be written to.
pub fn lay_down(
    directory: &Path,
    set: &Set,
    extra: &[(&str, &str)],
    layout: Layout,
) -> Result<(), LayDownError> {
    let own = [
        ("certificate", set.certificate.as_str()),
        ("privateKey", set.key.as_str()),
        ("ca.crt", set.ca.as_str()),
    ];
    let files: Vec<_> = own.into_iter().chain(extra.iter().copied()).collect();
    at(directory, fs::create_dir_all(directory))?;
    match layout {
        Layout::PerFileRename => {
            for (name, content) in files {
                replace(directory, name, content)?;
            }
            Ok(())
        }
        Layout::DataSymlink => swap(directory, &files),
    }
}

fn replace(directory: &Path, name: &str, content: &str) -> Result<(), LayDownError> {
    let temporary = directory.join(format!("{name}{}", uuid::Uuid::new_v4().simple()));
    write(&temporary, content)?;
    let target = directory.join(name);
    at(&target, fs::rename(&temporary, &target))
}

fn swap(directory: &Path, files: &[(&str, &str)]) -> Result<(), LayDownError> {
    let version = format!("..{}", uuid::Uuid::new_v4().simple());
    let fresh = directory.join(&version);
    at(&fresh, fs::create_dir(&fresh))?;
    for (name, content) in files {
        write(&fresh.join(name), content)?;
    }
    let data = directory.join("..data");
    let old = fs::read_link(&data).ok();
    let temporary = directory.join("..data_tmp");
    at(&temporary, symlink(&version, &temporary))?;
    at(&data, fs::rename(&temporary, &data))?;
    for (name, _) in files {
        let target = directory.join(name);
        if fs::read_link(&target).is_err() {
            let _ = fs::remove_file(&target);
            at(&target, symlink(&format!("..data/{name}"), &target))?;
        }
    }
    if let Some(old) = old {
        let old: PathBuf = directory.join(old);
        at(&old, fs::remove_dir_all(&old))?;
    }
    Ok(())
}

fn write(path: &Path, content: &str) -> Result<(), LayDownError> {
    let written = private(path).and_then(|mut file| {
        file.write_all(content.as_bytes())
            .and_then(|()| file.sync_all())
    });
    at(path, written)
}

fn private(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(unix)]
fn symlink(target: &str, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(not(unix))]
fn symlink(_target: &str, _link: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn at<T>(path: &Path, outcome: io::Result<T>) -> Result<T, LayDownError> {
    outcome.map_err(|source| LayDownError {
        path: path.display().to_string(),
        source,
    })
}

impl link::error::Hint for LayDownError {}
