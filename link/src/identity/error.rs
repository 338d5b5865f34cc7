//! Why a set cannot be used: which file, what kind of thing is in it, and what to do. Never its content.

use std::fmt;
use std::io;
use std::path::PathBuf;

use jiff::Timestamp;

use super::class::Class;
use super::key_kind::KeyKind;
use crate::clock::rfc3339_seconds;
use crate::error::Hint;

/// Which of the three files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The client certificate chain.
    Certificate,
    /// The private key.
    Key,
    /// The CA certificates.
    Ca,
}

/// Why an identity was refused.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The directory does not exist.
    #[error("identity directory `{}` does not exist", directory.display())]
    NoDirectory {
        /// The directory asked for.
        directory: PathBuf,
    },
    /// The directory may not be listed.
    #[error("permission denied on identity directory `{}`", directory.display())]
    DirectoryDenied {
        /// The directory asked for.
        directory: PathBuf,
    },
    /// The directory cannot be listed, for example because it is a file.
    #[error("list identity directory `{}`", directory.display())]
    List {
        /// The directory asked for.
        directory: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// Neither pair of names is in the directory.
    #[error("`{}` holds no identity: neither `certificate` and `privateKey` nor `tls.crt` and `tls.key`; {}", directory.display(), found(present))]
    NoFiles {
        /// The directory looked into.
        directory: PathBuf,
        /// The names it has.
        present: Vec<String>,
    },
    /// One file of the set is missing.
    #[error("{role} file `{}` does not exist", path.display())]
    Missing {
        /// Which of the three.
        role: Role,
        /// Its path.
        path: PathBuf,
    },
    /// One file of the set may not be read.
    #[error("permission denied on {role} file `{}`", path.display())]
    Denied {
        /// Which of the three.
        role: Role,
        /// Its path.
        path: PathBuf,
    },
    /// One path of the set is a directory, a pipe or a device.
    #[error("{role} `{}` is not a regular file", path.display())]
    NotAFile {
        /// Which of the three.
        role: Role,
        /// Its path.
        path: PathBuf,
    },
    /// One file of the set cannot be read.
    #[error("read {role} file `{}`", path.display())]
    Read {
        /// Which of the three.
        role: Role,
        /// Its path.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// One file of the set is far larger than what belongs there.
    #[error("{role} file `{}` is larger than {limit} bytes", path.display())]
    TooLarge {
        /// Which of the three.
        role: Role,
        /// Its path.
        path: PathBuf,
        /// The most that is read, in bytes.
        limit: u64,
    },
    /// The file holds something else.
    #[error("no {role} in `{}`: {class}{}", path.display(), expected(*role, *class))]
    Content {
        /// Which of the three.
        role: Role,
        /// Its path.
        path: PathBuf,
        /// What is there instead.
        class: Class,
    },
    /// The private key is protected by a passphrase.
    #[error("private key in `{}` is encrypted with a passphrase", path.display())]
    Encrypted {
        /// The key file.
        path: PathBuf,
    },
    /// PEM is right, the bytes in it are not a private key.
    #[error("private key in `{}` cannot be parsed", path.display())]
    KeyEncoding {
        /// The key file.
        path: PathBuf,
    },
    /// PEM is right, the bytes in it are not a certificate.
    #[error("certificate {position} in `{}` cannot be parsed", path.display())]
    CertificateEncoding {
        /// The certificate or CA file.
        path: PathBuf,
        /// Which one of the file, from 1.
        position: usize,
    },
    /// A kind of key that IoT Core does not accept (docs/IOT-CORE.md §1.6).
    #[error("{role} in `{}` uses a key of kind {kind}, which IoT Core does not accept", path.display())]
    KeyKind {
        /// Certificate or key.
        role: Role,
        /// Its file.
        path: PathBuf,
        /// What it is.
        kind: KeyKind,
    },
    /// The private key belongs to another certificate.
    #[error("private key in `{}` does not match the certificate in `{}`", key.display(), certificate.display())]
    KeyMismatch {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
    },
    /// The client certificate is of an old version of X.509, which TLS libraries do not take.
    #[error("certificate in `{}` (`{subject}`) is of X.509 version {version}, and TLS takes version 3 only", path.display())]
    CertificateVersion {
        /// The certificate file.
        path: PathBuf,
        /// Its subject.
        subject: String,
        /// Its version, as people count.
        version: u32,
    },
    /// The TLS library does not take the certificate.
    #[error("certificate in `{}` cannot be used for TLS: {reason}", path.display())]
    CertificateUnusable {
        /// The certificate file.
        path: PathBuf,
        /// What the library says.
        reason: String,
    },
    /// The certificate's time is over.
    #[error("certificate in `{}` expired at {}; the clock here shows {}", path.display(), rfc3339_seconds(*not_after), rfc3339_seconds(*now))]
    Expired {
        /// The certificate file.
        path: PathBuf,
        /// Its last second.
        not_after: Timestamp,
        /// What our clock showed.
        now: Timestamp,
    },
    /// The certificate's time has not begun.
    #[error("certificate in `{}` is not valid before {}; the clock here shows {}", path.display(), rfc3339_seconds(*not_before), rfc3339_seconds(*now))]
    NotYetValid {
        /// The certificate file.
        path: PathBuf,
        /// Its first second.
        not_before: Timestamp,
        /// What our clock showed.
        now: Timestamp,
    },
    /// The client certificate is a CA.
    #[error("certificate in `{}` is a CA certificate (`{subject}`), not a client certificate", path.display())]
    ClientIsCa {
        /// The certificate file.
        path: PathBuf,
        /// Its subject.
        subject: String,
    },
    /// The client certificate names its uses and client authentication is not one of them.
    #[error("certificate in `{}` (`{subject}`) is not for clients: its extended key usage lacks clientAuth", path.display())]
    NotForClients {
        /// The certificate file.
        path: PathBuf,
        /// Its subject.
        subject: String,
    },
    /// A certificate of the CA file is not a CA.
    #[error("certificate {position} in CA file `{}` (`{subject}`) is not a CA", path.display())]
    NotACa {
        /// The CA file.
        path: PathBuf,
        /// Which one of the file, from 1.
        position: usize,
        /// Its subject.
        subject: String,
    },
}

// === impl Role ===

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "certificate",
            Self::Key => "private key",
            Self::Ca => "CA certificate",
        })
    }
}

// === impl IdentityError ===

impl Hint for IdentityError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoDirectory { directory } | Self::List { directory, .. } => {
                format!("check that the secret volume is mounted at `{}`, or name the three files one by one", directory.display())
            }
            Self::NoFiles { .. } => {
                "check the `objectAlias` names in the SecretProviderClass, or name the three files one by one".into()
            }
            Self::DirectoryDenied { directory: path } | Self::Denied { path, .. } => {
                format!("let the user of this process read `{}`: on a secret volume set `fsGroup` and check `filePermission`", path.display())
            }
            Self::Missing { role, .. } => {
                format!("add the {role} to the secret and to `objects` in the SecretProviderClass, or correct the path")
            }
            Self::NotAFile { role, .. } | Self::Read { role, .. } => {
                format!("put the {role} there as a PEM file")
            }
            Self::TooLarge { role, .. } => format!("put only the PEM of the {role} there"),
            Self::Content { role, class, .. } => content_hint(*role, *class),
            Self::Encrypted { .. } => {
                "store the key without a passphrase: `openssl pkey -in KEY -out NEWKEY`; nobody is there to type it".into()
            }
            Self::KeyEncoding { .. } => {
                "store the key again as PKCS#8, PKCS#1 (RSA) or SEC1 (EC) in PEM, whole and unedited".into()
            }
            Self::CertificateEncoding { .. } => "store the certificate again, whole and unedited".into(),
            Self::KeyKind { .. } => {
                "make a new key and certificate: IoT Core accepts RSA of 2048 bits or more, EC P-256 and EC P-384".into()
            }
            Self::KeyMismatch { .. } => {
                "store certificate and key of the same pair; during a rotation the second file may only be late, which passes by itself".into()
            }
            Self::CertificateVersion { .. } => {
                "make it again with extensions, which make it version 3; its key may stay: \
                 `echo basicConstraints=CA:FALSE > v3.ext`, then `openssl x509 -req -in CSR -CA CA -CAkey CAKEY \
                 -CAcreateserial -days 365 -extfile v3.ext -out CERTIFICATE`"
                    .into()
            }
            Self::CertificateUnusable { .. } => "issue the certificate again, as X.509 version 3 with the usual extensions".into(),
            Self::Expired { .. } => "check the clock, then issue a new certificate and store it with its key".into(),
            Self::NotYetValid { .. } => "check the clock of this machine, then the validity of the certificate".into(),
            Self::ClientIsCa { .. } => {
                "put the device's own certificate first in the file; the CA belongs into the CA file".into()
            }
            Self::NotForClients { .. } => {
                "issue the certificate with the extended key usage clientAuth, or without that extension".into()
            }
            Self::NotACa { .. } => {
                "put only root certificates there: for IoT Core Amazon Root CA 1 and 3, not the certificate of a server or device".into()
            }
        })
    }
}

fn content_hint(role: Role, class: Class) -> String {
    match class {
        _ if class.is_json() => format!(
            "pick the {role} out of the secret with `jmesPath` and `objectAlias` in the SecretProviderClass; without them the whole secret becomes the file"
        ),
        Class::Empty | Class::Blank => {
            format!(
                "check that the secret has a value for the {role} and that the volume has been filled"
            )
        }
        Class::Truncated(_) | Class::Damaged(_) => {
            format!("store the {role} again, whole and with its last line")
        }
        Class::Der => {
            format!("convert the {role} to PEM with `openssl ... -inform DER -outform PEM`")
        }
        Class::EscapedLineBreaks | Class::OneLine | Class::Indented | Class::ByteOrderMark => {
            format!(
                "store the {role} with the line breaks it was made with and nothing in front of its lines"
            )
        }
        Class::Base64OfPem => format!("decode the {role} with `base64 -d` before storing it"),
        Class::Pem(_) => format!("check that the files are not swapped and put the {role} there"),
        Class::Json | Class::JsonString | Class::Binary | Class::Text => {
            format!("put the PEM of the {role} there, starting with `-----BEGIN`")
        }
    }
}

fn expected(role: Role, class: Class) -> String {
    match class {
        Class::Pem(_) => format!(" where a {role} was expected"),
        _ => String::new(),
    }
}

fn found(present: &[String]) -> String {
    if present.is_empty() {
        return "it is empty".into();
    }
    let shown: Vec<String> = present
        .iter()
        .take(SHOWN_NAMES)
        .map(|name| format!("`{}`", name.escape_debug()))
        .collect();
    let more = match present.len().saturating_sub(SHOWN_NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("found {}{more}", shown.join(", "))
}

// Enough to recognise a mount by; a home directory given by mistake would fill the screen.
const SHOWN_NAMES: usize = 8;
