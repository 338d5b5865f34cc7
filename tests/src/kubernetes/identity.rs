//! Who may talk to the API server, and the kubeconfig files that say so.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use k8s_openapi::ByteString;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::pki::{Authority, PkiError, Set};

/// The API server as its clients know it: an address and the authority to trust.
pub(super) struct ApiAccess<'a> {
    pub(super) address: SocketAddr,
    pub(super) authority: &'a Authority,
}

/// Somebody who shows a token: a member of `system:masters`, who may do everything, or a node.
#[derive(Clone, Debug)]
pub(super) struct TokenUser {
    pub(super) user: String,
    group: &'static str,
    token: Uuid,
}

// === impl ApiAccess ===

impl ApiAccess<'_> {
    /// The kubeconfig of somebody who shows a token.
    pub(super) fn with_token(&self, user: &TokenUser) -> Value {
        self.kubeconfig(&json!({ "token": user.token }))
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
                "server": format!("https://{}", self.address),
                "certificate-authority-data": data(self.authority.certificate_pem()),
            }}],
            "users": [{ "name": "test", "user": credentials }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
            "current-context": "test",
        })
    }
}

// === impl TokenUser ===

impl TokenUser {
    /// With a fresh token.
    pub(super) fn new(user: &str) -> Self {
        Self {
            user: user.to_owned(),
            group: "system:masters",
            token: Uuid::new_v4(),
        }
    }

    /// The kubelet of the node of this name, who may do what a node may.
    pub(super) fn node(name: &str) -> Self {
        Self {
            user: format!("system:node:{name}"),
            group: "system:nodes",
            token: Uuid::new_v4(),
        }
    }

    /// Its line of the API server's token file.
    pub(super) fn token_line(&self) -> String {
        let Self { user, group, token } = self;
        format!("{token},{user},{user},{group}\n")
    }
}

/// Where the kubeconfig of a user lies.
pub(super) fn path(home: &Path, user: &str) -> PathBuf {
    home.join(format!("{user}.kubeconfig"))
}

fn data(pem: &str) -> ByteString {
    ByteString(pem.as_bytes().to_vec())
}
