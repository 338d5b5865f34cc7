//! Why there is no connection, and messages for the refusals of an API server.

use std::fmt;
use std::path::PathBuf;

use kube::config::{InClusterError, KubeconfigError};
use link::error::{Hint, chain};

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The kubeconfig that was named cannot be used.
    #[error("use kubeconfig `{path}`")]
    Kubeconfig {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<KubeconfigFault>,
    },
    /// The kubeconfig of the environment cannot be used.
    #[error("use the kubeconfig of `$KUBECONFIG` or `~/.kube/config`")]
    Environment(#[source] Box<KubeconfigFault>),
    /// There is no kubeconfig and this is no pod with a service account.
    #[error("find a cluster: there is no kubeconfig, and this is no pod with a service account")]
    InCluster(#[source] InClusterError),
    /// Certificates, keys or addresses cannot be used.
    #[error("make a client for the Kubernetes API server")]
    Client(#[source] kube::Error),
    /// There is a connection with the same metrics already.
    #[error("register the metrics of the Kubernetes client")]
    Metrics(#[source] prometheus::Error),
}

/// What is wrong with a kubeconfig, in one line: what reads it shows the lines around a mistake, and those hold keys and tokens.
#[derive(thiserror::Error)]
#[error("{}", one_line(.0))]
pub struct KubeconfigFault(KubeconfigError);

// === impl KubeconfigFault ===

impl From<KubeconfigError> for KubeconfigFault {
    fn from(error: KubeconfigError) -> Self {
        Self(error)
    }
}

impl fmt::Debug for KubeconfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KubeconfigFault({self})")
    }
}

fn one_line(error: &KubeconfigError) -> String {
    let text = chain(error);
    let line = text.lines().next().unwrap_or_default();
    // A value of another kind than is expected is quoted.
    let shown = match error {
        KubeconfigError::Parse(_) => line.split(['"', '`']).next().unwrap_or_default(),
        _ => line,
    };
    shown.to_owned()
}

// === impl ClusterError ===

impl Hint for ClusterError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Kubeconfig { source, .. } | Self::Environment(source) => {
                Some(kubeconfig_hint(&source.0).into())
            }
            Self::InCluster(InClusterError::ReadEnvironmentVariable(_)) => Some(
                "pass `--kubeconfig FILE`, or run the agent in a pod with `automountServiceAccountToken: true`"
                    .into(),
            ),
            Self::InCluster(_) => Some(
                "check that the pod has a service account and `automountServiceAccountToken: true`"
                    .into(),
            ),
            Self::Client(error) => hint(error),
            Self::Metrics(_) => None,
        }
    }
}

fn kubeconfig_hint(error: &KubeconfigError) -> &'static str {
    match error {
        KubeconfigError::CurrentContextNotSet | KubeconfigError::LoadContext(_) => {
            "run `kubectl config get-contexts` and name one of them"
        }
        KubeconfigError::FindPath | KubeconfigError::ReadConfig(..) => {
            "check that the file is there and that this user may read it"
        }
        KubeconfigError::LoadCertificateAuthority(_)
        | KubeconfigError::LoadClientCertificate(_)
        | KubeconfigError::LoadClientKey(_)
        | KubeconfigError::ParseCertificates(_) => {
            "check the certificate and key files that the kubeconfig names; `kubectl` with the same file fails alike"
        }
        _ => "run `kubectl --kubeconfig FILE get --raw /readyz` to see whether the file works",
    }
}

/// What went wrong with a request: the API server's own message where it answered, the chain of causes where it did not.
pub fn error_message(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        kube::Error::Api(status) if !status.reason.is_empty() => {
            format!("{} (HTTP {})", status.reason, status.code)
        }
        kube::Error::Api(status) => format!("HTTP {}", status.code),
        kube::Error::Service(source) => chain(source.as_ref()),
        other => chain(other),
    }
}

/// The next step after a failed request, where one is known.
pub fn hint(error: &kube::Error) -> Option<String> {
    let hint = match error {
        kube::Error::Api(status) => match status.code {
            401 => {
                "the API server does not accept the credentials; check that the token or certificate has not expired"
            }
            403 => "run `agent permissions` to print the role the agent needs",
            _ if is_settling(error) => {
                "the API server was told of the kind a moment ago and does not serve it yet; try again"
            }
            429 if status.message.contains(FAIR) => {
                "the API server limits this client; see its FlowSchemas (`kubectl get flowschemas`)"
            }
            429 | 503 => "the API server is busy or just starting; try again",
            _ => return None,
        },
        kube::Error::Auth(_) => {
            "check the credential plugin of the kubeconfig; `kubectl` with the same file fails alike"
        }
        _ if error_message(error).contains("certificate") => {
            "check `certificate-authority-data` of the kubeconfig, and that this machine's clock is right"
        }
        kube::Error::Service(_) | kube::Error::HyperError(_) => {
            "check that the API server's address can be reached from here"
        }
        _ => return None,
    };
    Some(hint.into())
}

/// Whether the API server refuses because it has not got round to something: the storage of a kind that was just defined
/// (429, which is no limit), or its own start (503). It passes within seconds.
pub fn is_settling(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status)
        if status.code == 503 || status.code == 429 && status.message.contains(INITIALIZING))
}

/// Whether nothing is served where a kind should be: it is not defined, or was just defined.
pub fn is_not_served(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404
        && status.details.as_ref().is_none_or(|details| details.name.is_empty()))
}

/// How an API server says that the storage of a kind is being made, `storage is (re)initializing`.
pub const INITIALIZING: &str = "initializing";
// What priority and fairness answers with; others that answer 429 have messages of their own.
const FAIR: &str = "Too many requests, please try again later";

#[cfg(test)]
mod tests {
    use kube::config::Kubeconfig;
    use kube::core::Status;

    use super::*;

    #[test]
    fn refusal_has_the_servers_message() {
        let status = Status::failure("configmaps is forbidden", "Forbidden").with_code(403);
        let error = kube::Error::Api(status.boxed());
        assert_eq!(error_message(&error), "configmaps is forbidden");
        assert!(hint(&error).is_some_and(|hint| hint.contains("agent permissions")));
    }

    #[test]
    fn only_a_refusal_by_priority_and_fairness_names_flow_schemas() {
        for (code, error_message, named) in [
            (
                429,
                "Too many requests, please try again later.\n",
                "FlowSchemas",
            ),
            (429, "storage is (re)initializing", "does not serve it yet"),
            (
                503,
                "the server is currently unable to handle the request",
                "try again",
            ),
            (
                429,
                "Cannot evict pod as it would violate the pod's disruption budget.",
                "busy",
            ),
            (429, "etcdserver: too many requests", "busy"),
        ] {
            let error =
                kube::Error::Api(Status::failure(error_message, "").with_code(code).boxed());
            let hint = hint(&error).expect("it has a hint");
            assert!(hint.contains(named), "{error_message}: {hint}");
            assert_eq!(
                hint.contains("FlowSchemas"),
                named == "FlowSchemas",
                "{error_message}: {hint}"
            );
        }
    }

    #[test]
    fn kind_that_is_not_served_is_told_from_an_object_that_is_not_there() {
        let status = |details: serde_json::Value| -> kube::Error {
            let status = serde_json::json!({"code": 404, "message": "m", "details": details});
            let status: Status = serde_json::from_value(status).unwrap();
            kube::Error::Api(status.boxed())
        };
        assert!(is_not_served(&status(serde_json::Value::Null)));
        assert!(is_not_served(&status(serde_json::json!({}))));
        assert!(!is_not_served(&status(
            serde_json::json!({"name": "a", "kind": "configmaps"})
        )));
    }

    #[test]
    fn a_kubeconfig_with_a_mistake_is_told_without_what_stands_in_it() {
        for text in [
            "apiVersion: v1\nusers:\n- name: a\n  user:\n    token: s3cret\n   x: y\n",
            "apiVersion: v1\nusers: s3cret\n",
            "current-context: [s3cret]\n",
            "s3cret",
            "-----BEGIN PRIVATE KEY-----\ns3cret\n-----END PRIVATE KEY-----\n",
        ] {
            let fault = KubeconfigFault::from(Kubeconfig::from_yaml(text).unwrap_err());
            for shown in [fault.to_string(), format!("{fault:?}")] {
                assert!(shown.contains("line "), "{text}: {shown}");
                assert!(!shown.contains("s3cret"), "{text}: {shown}");
                assert!(!shown.contains('\n'), "{text}: {shown}");
            }
        }
    }

    #[test]
    fn refusal_without_a_message_has_its_code() {
        let error = kube::Error::Api(Status::default().with_code(502).boxed());
        assert_eq!(error_message(&error), "HTTP 502");
    }
}
