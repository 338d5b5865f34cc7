//! Writes an identity the way the two CSI writers do (docs/IOT-CORE.md §4).
//!
//! **Invariant:** what is written is readable by its owner only, 0600 in a directory of 0700, whatever the umask and
//! whatever the directory's mode was.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use link::private;

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
pub struct WriteMountError {
    path: String,
    #[source]
    source: io::Error,
}

/// Writes `certificate`, `privateKey`, `ca.crt` and further files to a directory, replacing what is there.
///
/// # Errors
/// When the directory cannot be written to.
pub fn write_mount(
    directory: &Path,
    set: &Set,
    extra: &[(&str, &str)],
    layout: Layout,
) -> Result<(), WriteMountError> {
    let own = [
        ("certificate", set.certificate.as_str()),
        ("privateKey", set.key.as_str()),
        ("ca.crt", set.ca.as_str()),
    ];
    let files: Vec<_> = own.into_iter().chain(extra.iter().copied()).collect();
    at(directory, private::create_dir_all(directory))?;
    at(directory, private::tighten(directory))?;
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

fn replace(directory: &Path, name: &str, content: &str) -> Result<(), WriteMountError> {
    let temporary = directory.join(format!("{name}{}", uuid::Uuid::new_v4().simple()));
    write(&temporary, content)?;
    let target = directory.join(name);
    at(&target, fs::rename(&temporary, &target))
}

fn swap(directory: &Path, files: &[(&str, &str)]) -> Result<(), WriteMountError> {
    let version = format!("..{}", uuid::Uuid::new_v4().simple());
    let fresh = directory.join(&version);
    at(&fresh, private::create_dir_all(&fresh))?;
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

fn write(path: &Path, content: &str) -> Result<(), WriteMountError> {
    let opened = private::write_options().create_new(true).open(path);
    let written = opened.and_then(|mut file| {
        file.write_all(content.as_bytes())
            .and_then(|()| file.sync_all())
    });
    at(path, written)
}

#[cfg(unix)]
fn symlink(target: &str, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(not(unix))]
fn symlink(_target: &str, _link: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn at<T>(path: &Path, outcome: io::Result<T>) -> Result<T, WriteMountError> {
    outcome.map_err(|source| WriteMountError {
        path: path.display().to_string(),
        source,
    })
}

impl link::error::Hint for WriteMountError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(tag: &str) -> Set {
        Set {
            certificate: format!("c{tag}"),
            key: format!("k{tag}"),
            ca: format!("a{tag}"),
        }
    }

    #[test]
    fn both_layouts_replace_what_was_there() {
        for layout in [Layout::PerFileRename, Layout::DataSymlink] {
            let directory = tempfile::tempdir().unwrap();
            for tag in ["1", "2", "3"] {
                let extra = [("consumerName", tag)];
                write_mount(directory.path(), &set(tag), &extra, layout).unwrap();
                let read = |name| fs::read_to_string(directory.path().join(name)).unwrap();
                assert_eq!(read("certificate"), format!("c{tag}"));
                assert_eq!(read("privateKey"), format!("k{tag}"));
                assert_eq!(read("ca.crt"), format!("a{tag}"));
                assert_eq!(read("consumerName"), tag);
            }
            let entries = fs::read_dir(directory.path()).unwrap().count();
            assert_eq!(entries, if layout == Layout::DataSymlink { 6 } else { 4 });
        }
    }

    #[test]
    fn what_is_laid_down_is_its_owners_alone_even_in_an_open_directory() {
        use std::os::unix::fs::PermissionsExt as _;

        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        for layout in [Layout::PerFileRename, Layout::DataSymlink] {
            let scratch = tempfile::tempdir().unwrap();
            let directory = scratch.path().join("mount");
            fs::create_dir(&directory).unwrap();
            fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
            write_mount(&directory, &set("1"), &[("consumerName", "a")], layout).unwrap();
            assert_eq!(mode(&directory), 0o700);
            for name in ["certificate", "privateKey", "ca.crt", "consumerName"] {
                assert_eq!(mode(&directory.join(name)), 0o600, "{layout:?} {name}");
            }
            if layout == Layout::DataSymlink {
                assert_eq!(mode(&directory.join("..data")), 0o700);
            }
        }
    }

    #[test]
    fn the_layout_may_change_under_a_reader() {
        let directory = tempfile::tempdir().unwrap();
        write_mount(directory.path(), &set("1"), &[], Layout::PerFileRename).unwrap();
        write_mount(directory.path(), &set("2"), &[], Layout::DataSymlink).unwrap();
        let text = fs::read_to_string(directory.path().join("privateKey")).unwrap();
        assert_eq!(text, "k2");
    }
}
