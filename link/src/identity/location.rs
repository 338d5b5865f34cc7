//! Where the three files are, and their bytes read together.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::error::{IdentityError, Role};
use crate::file::ReadError;

/// Where an identity is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A mounted directory with `certificate`, `privateKey`, `ca.crt`, or else `tls.crt`, `tls.key`, `ca.crt`
    /// (docs/CONFIGURATION.md#mounted-files).
    Directory(PathBuf),
    /// Three files by name.
    Files {
        /// The client certificate chain, leaf first.
        certificate: PathBuf,
        /// The private key of the leaf.
        key: PathBuf,
        /// The CA certificates the server's chain may lead to: a file, or a directory whose `.crt` and `.pem` files
        /// are taken together.
        ca: PathBuf,
    },
}

/// The paths of one set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The client certificate chain.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
    /// The CA certificates.
    pub ca: PathBuf,
}

/// SHA-256 over the contents of a set. Every poll of the CSI provider rewrites every file (docs/IOT-CORE.md §4), so
/// times and inodes say nothing and only contents are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

/// The bytes of one set. No `Debug`: one of them is a private key.
pub(super) struct Contents {
    files: Files,
    certificate: Vec<u8>,
    key: Vec<u8>,
    ca: Vec<u8>,
    digest: Digest,
}

// === impl Location ===

impl Location {
    /// Finds out which files make up the set. Directory: the first pair of names of which any file is there.
    pub fn files(&self) -> Result<Files, IdentityError> {
        match self {
            Self::Files {
                certificate,
                key,
                ca,
            } => Ok(Files {
                certificate: certificate.clone(),
                key: key.clone(),
                ca: ca.clone(),
            }),
            Self::Directory(directory) => {
                let present = list(directory)?;
                let has = |name: &str| present.iter().any(|n| n == name);
                let (certificate, key) = PAIRS
                    .into_iter()
                    .find(|(certificate, key)| has(certificate) || has(key))
                    .ok_or_else(|| IdentityError::NoFiles {
                        directory: directory.clone(),
                        present: present.clone(),
                    })?;
                Ok(Files {
                    certificate: directory.join(certificate),
                    key: directory.join(key),
                    ca: directory.join(CA),
                })
            }
        }
    }

    /// The directories a change of the set shows in.
    pub(super) fn directories(&self) -> Vec<PathBuf> {
        match self {
            Self::Directory(directory) => vec![directory.clone()],
            Self::Files {
                certificate,
                key,
                ca,
            } => {
                let mut all: Vec<PathBuf> = [certificate, key, ca]
                    .into_iter()
                    .map(|file| parent(file))
                    .collect();
                all.sort();
                all.dedup();
                all
            }
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(directory) => write!(f, "`{}`", directory.display()),
            Self::Files {
                certificate,
                key,
                ca,
            } => write!(
                f,
                "`{}`, `{}`, `{}`",
                certificate.display(),
                key.display(),
                ca.display()
            ),
        }
    }
}

// === impl Files ===

impl Files {
    pub(super) fn in_directory(directory: &Path) -> Self {
        let [(certificate, key), _] = PAIRS;
        Self {
            certificate: directory.join(certificate),
            key: directory.join(key),
            ca: directory.join(CA),
        }
    }
}

// === impl Digest ===

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

// === impl Contents ===

impl Contents {
    pub(super) fn new(files: Files, certificate: Vec<u8>, key: Vec<u8>, ca: Vec<u8>) -> Self {
        let mut hash = Sha256::new();
        for part in [&certificate, &key, &ca] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self {
            digest: Digest(hash.finalize().into()),
            files,
            certificate,
            key,
            ca,
        }
    }

    pub(super) fn read(location: &Location) -> Result<Self, IdentityError> {
        let files = location.files()?;
        let certificate = read(Role::Certificate, &files.certificate)?;
        let key = read(Role::Key, &files.key)?;
        let ca = read_ca(&files.ca)?;
        Ok(Self::new(files, certificate, key, ca))
    }

    pub(super) fn files(&self) -> &Files {
        &self.files
    }

    pub(super) fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    pub(super) fn ca(&self) -> &[u8] {
        &self.ca
    }

    pub(super) fn digest(&self) -> Digest {
        self.digest
    }
}

fn list(directory: &Path) -> Result<Vec<String>, IdentityError> {
    let entries = std::fs::read_dir(directory).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => IdentityError::NoDirectory {
            directory: directory.to_owned(),
        },
        io::ErrorKind::PermissionDenied => IdentityError::DirectoryDenied {
            directory: directory.to_owned(),
        },
        _ => IdentityError::List {
            directory: directory.to_owned(),
            source,
        },
    })?;
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    Ok(names)
}

/// The CA file, or all of a directory of them, one after the other.
pub(super) fn read_ca(path: &Path) -> Result<Vec<u8>, IdentityError> {
    if !path.is_dir() {
        return read(Role::Ca, path);
    }
    let mut all = Vec::new();
    for name in list(path)? {
        // `openssl rehash` puts links to the same files beside them, named by hash and number.
        if name.ends_with(".crt") || name.ends_with(".pem") {
            all.extend(read(Role::Ca, &path.join(name))?);
            all.push(b'\n');
        }
    }
    if all.is_empty() {
        return Err(IdentityError::Missing {
            role: Role::Ca,
            path: path.join("*.crt"),
        });
    }
    Ok(all)
}

pub(super) fn read(role: Role, path: &Path) -> Result<Vec<u8>, IdentityError> {
    let path_of = || path.to_owned();
    crate::file::read(path, MAX_FILE_BYTES).map_err(|error| match error {
        ReadError::Io(source) => match source.kind() {
            io::ErrorKind::NotFound => IdentityError::Missing {
                role,
                path: path_of(),
            },
            io::ErrorKind::PermissionDenied => IdentityError::Denied {
                role,
                path: path_of(),
            },
            _ => IdentityError::Read {
                role,
                path: path_of(),
                source,
            },
        },
        ReadError::TooLarge { limit } => IdentityError::TooLarge {
            role,
            path: path_of(),
            limit,
        },
        ReadError::NotRegular(_) | ReadError::NotText => IdentityError::NotAFile {
            role,
            path: path_of(),
        },
    })
}

fn parent(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

const PAIRS: [(&str, &str); 2] = [("certificate", "privateKey"), ("tls.crt", "tls.key")];

const CA: &str = "ca.crt";

// A secret in Secrets Manager ends at 64 KiB and a whole system trust store is about 220 KiB.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
