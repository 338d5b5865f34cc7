//! Decoders that read files: a mounted identity, a work on the agent's disk. Each input gets a fresh directory.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use agent::work::{Files, Head, Store, Work, WorkId};
use link::clock::Clock;
use link::identity::{Identity, Location};
use link::order::Version;
use sandbox::pki::{Authority, CertificateRequest, KeyKind};

/// Between certificate, key and CA in one input.
pub(super) const CUT: &str = "\n--8<--\n";

pub(super) fn identities() -> Vec<Vec<u8>> {
    let authority = Authority::new("fuzz").expect("a certificate authority");
    let kinds = [KeyKind::P256, KeyKind::P384];
    kinds
        .map(|kind| {
            let request = CertificateRequest::new("a").key(kind);
            let set = authority.issue(&request).expect("a certificate");
            [set.certificate, set.key, set.ca].join(CUT).into_bytes()
        })
        .to_vec()
}

pub(super) fn identity(bytes: &[u8]) {
    let directory = tempfile::tempdir().expect("a directory");
    let text = String::from_utf8_lossy(bytes);
    // The bytes as they are when there is nothing to cut, so that what is not text gets there too.
    let mut parts = text.split(CUT).map(str::as_bytes);
    for name in ["certificate", "privateKey", "ca.crt"] {
        let part = match text.contains(CUT) {
            true => parts.next().unwrap_or_default(),
            false => bytes,
        };
        fs::write(directory.path().join(name), part).expect("a written file");
    }
    let location = Location::Directory(directory.path().to_path_buf());
    match Identity::load(&location, Clock::system().now()) {
        Ok(identity) => {
            let shown = format!("{identity:?} {:?}", identity.describe());
            assert!(!shown.contains("PRIVATE KEY"));
        }
        Err(error) => {
            let shown = link::error::chain(&error);
            assert!(!shown.is_empty() && !shown.contains("PRIVATE KEY-----\n"));
        }
    }
}

pub(super) fn works() -> Vec<Vec<u8>> {
    let directory = tempfile::tempdir().expect("a directory");
    let opened = Files::open(directory.path()).expect("a store");
    let head = Head {
        id: WorkId::from(ID),
        version: Version::new(3).expect("a version"),
        source: "maestro".into(),
        metadata: Some("{\"name\":\"a\"}".into()),
        log_tracing: None,
        deleting_since: None,
        received_at: None,
        content: String::new(),
        rejected: None,
    };
    let payload = "{\"manifests\":[]}".into();
    opened
        .store
        .commit(&[Work { head, payload }])
        .expect("a written work");
    vec![fs::read(file(directory.path())).expect("the work's file")]
}

pub(super) fn work(bytes: &[u8]) {
    let directory = tempfile::tempdir().expect("a directory");
    fs::create_dir(directory.path().join("works")).expect("a directory");
    fs::write(file(directory.path()), bytes).expect("a written file");
    // Damage is moved aside, never an error: a restart must not depend on one file.
    let opened = Files::open(directory.path()).expect("a store opens whatever it holds");
    let store = Arc::new(opened.store);
    for id in store.index().ids() {
        let _ = store.head(&id);
        let _ = Files::read(&store, &id);
    }
}

fn file(directory: &Path) -> std::path::PathBuf {
    directory.join("works").join(format!("{ID}.work"))
}

const ID: &str = "a";
