//! Who may talk to the API server, and the kubeconfig files that say so.

use std::path::{Path, PathBuf};

use k8s_openapi::ByteString;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::pki::{Authority, PkiError, Set};

/// The API server as its clients know it: an address and the authority to trust.
pub(super) struct Entrance<'a> {
    pub(super) port: u16,
    pub(super) authority: &'a Authority,
}

/// A member of `system:masters`, who may do everything.
#[derive(Clone, Debug)]
pub(super) struct Master {
    pub(super) user: &'static str,
    token: Uuid,
}

// === impl Entrance ===

impl Entrance<'_> {
    /// The kubeconfig of somebody who shows a token.
    pub(super) fn with_token(&self, master: &Master) -> Value {
        self.kubeconfig(&json!({ "token": master.token }))
    }

    /// The kubeconfig of somebody who shows a certificate with the user's name in it.
    ///
    /// # Errors
    /// When no certificate can be made with that name.
    pub(super) fn with_certificate(&self, user: &str) -> Result<Value, PkiError> {
        let Set {
            certificate, key, ..
        } = self.authority.client(user)?;
        Ok(self.kubeconfig(&json!({
            "client-certificate-data": data(&certificate),
            "client-key-data": data(&key),
        })))
    }

    // JSON is YAML, and everything is inside: the file may be moved and mounted.
    fn kubeconfig(&self, credentials: &Value) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "test", "cluster": {
                "server": format!("https://127.0.0.1:{}", self.port),
                "certificate-authority-data": data(self.authority.certificate_pem()),
            }}],
            "users": [{ "name": "test", "user": credentials }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
            "current-context": "test",
        })
    }
}

// === impl Master ===

impl Master {
    /// With a fresh token.
    pub(super) fn new(user: &'static str) -> Self {
        Self {
            user,
            token: Uuid::new_v4(),
        }
    }

    /// Its line of the API server's token file.
    pub(super) fn token_line(&self) -> String {
        let Self { user, token } = self;
        format!("{token},{user},{user},system:masters\n")
    }
}

/// Where the kubeconfig of a user lies.
pub(super) fn path(home: &Path, user: &str) -> PathBuf {
    home.join(format!("{user}.kubeconfig"))
}

fn data(pem: &str) -> ByteString {
    ByteString(pem.as_bytes().to_vec())
}
