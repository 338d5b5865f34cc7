//! A caller of a bridge on the node, as the bridge's chart lets one in: a service account with a token that was made for the
//! bridge, and what RBAC gives it.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::Node;
use crate::api::Api;
use crate::wait::wait_for;

// === impl Node ===

impl Node {
    /// A client of the REST API of the bridge with these labels, which listens in its pod; it may do everything.
    ///
    /// # Errors
    /// When there is no such pod, or the cluster refuses.
    pub async fn bridge(&self, namespace: &str, labels: &str) -> Result<Api> {
        let name = format!("{namespace}-caller");
        self.apply(&[
            json!({
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": { "name": "caller", "namespace": namespace },
            }),
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRole",
                "metadata": { "name": name },
                "rules": [
                    { "nonResourceURLs": ["/sources/*"], "verbs": ["pub", "sub"] },
                    {
                        "nonResourceURLs": ["/api/maestro/v1/*"],
                        "verbs": ["get", "post", "patch", "delete"],
                    },
                ],
            }),
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": { "name": name },
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name,
                },
                "subjects": [{ "kind": "ServiceAccount", "name": "caller", "namespace": namespace }],
            }),
        ])
        .await?;
        // The API server learns of its own rules a moment later, and the bridge keeps an answer for ten seconds.
        let account = format!("system:serviceaccount:{namespace}:caller");
        let may = ["auth", "can-i", "pub", "/sources/any", "--as", &account];
        wait_for("the caller's rights", PATIENCE, async || {
            self.kubectl(&may).await
        })
        .await?;
        let token = self.token(namespace, "caller").await?;
        let address = self.pod_ip(namespace, labels).await?;
        Ok(Api::with_token(&format!("http://{address}:8000"), &token)?)
    }

    /// A token of a service account for a bridge, good for an hour.
    ///
    /// # Errors
    /// When there is no such account.
    pub async fn token(&self, namespace: &str, account: &str) -> Result<String> {
        let create = ["create", "token", account, "--namespace", namespace];
        let create = [&create[..], &["--audience=server-bridge"]].concat();
        Ok(self.kubectl(&create).await?.trim().to_owned())
    }
}

const PATIENCE: Duration = Duration::from_secs(30);
