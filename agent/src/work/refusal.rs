//! Why an API server refused a request, and whether that concerns one object or all.
//!
//! Commits depend on one distinction: a refusal that concerns one object only must not stop the others.

use std::error::Error as StdError;
use std::time::Duration;

use kube::core::Status;
use link::error::Hint;

/// Why the API server did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ApiRefusal {
    /// It answered no.
    #[error("{} (HTTP {})", .0.message, .0.code)]
    Answer(Box<Status>),
    /// It did not answer in time.
    #[error("no answer within {} s", .0.as_secs())]
    Slow(Duration),
    /// It cannot be reached, or the connection broke.
    #[error("the API server cannot be reached")]
    Unreachable(#[source] Box<dyn StdError + Send + Sync>),
    /// It answered something else.
    #[error("the answer is not what was asked for")]
    Unreadable(#[source] serde_json::Error),
    /// It would not read that much, and might close the connection without an answer.
    #[error("it has {bytes} bytes, and an API server takes at most {LARGEST}")]
    TooLarge {
        /// Length of the request.
        bytes: usize,
    },
}

// === impl ApiRefusal ===

impl ApiRefusal {
    /// There is no such object (while its kind and its namespace are there).
    pub(super) fn is_missing_object(&self) -> bool {
        self.answer().is_some_and(|status| {
            let of_object = |name: &str| !name.is_empty();
            status.reason == "NotFound"
                && status
                    .details
                    .as_ref()
                    .is_some_and(|details| of_object(&details.name) && details.kind != NAMESPACES)
        })
    }

    /// There is such an object already.
    pub(super) fn is_already_exists(&self) -> bool {
        self.answer().is_some_and(Status::is_already_exists)
    }

    /// The object is not the one that was meant, or was changed meanwhile.
    pub(super) fn is_conflict(&self) -> bool {
        self.answer()
            .is_some_and(|status| status.is_conflict() && !status.is_already_exists())
    }

    /// The patch does not fit the object.
    pub(super) fn is_invalid(&self) -> bool {
        self.answer().is_some_and(Status::is_invalid)
    }

    /// Whether this object alone is refused, now and later: its size, its content, a policy about it. Everything
    /// else concerns whatever is asked next just the same: rights, missing kinds, load, the network.
    pub(super) fn concerns_one_object(&self) -> bool {
        match self {
            Self::TooLarge { .. } => true,
            Self::Answer(status) => match status.code {
                400 | 413 | 422 => true,
                403 => ADMISSION.iter().any(|by| status.message.contains(by)),
                500 => TOO_LARGE.iter().any(|how| status.message.contains(how)),
                _ => false,
            },
            Self::Slow(_) | Self::Unreachable(_) | Self::Unreadable(_) => false,
        }
    }

    fn answer(&self) -> Option<&Status> {
        match self {
            Self::Answer(status) => Some(status),
            _ => None,
        }
    }
}

impl Hint for ApiRefusal {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Answer(status) => return hint(status),
            Self::Slow(_) | Self::Unreachable(_) => {
                "check that the API server answers: `kubectl get --raw /readyz`"
            }
            Self::Unreadable(_) => "check that the address is a Kubernetes API server's",
            Self::TooLarge { .. } => "split the bundle into smaller ones",
        };
        Some(hint.into())
    }
}

impl From<kube::Error> for ApiRefusal {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Answer(status),
            kube::Error::SerdeError(error) => Self::Unreadable(error),
            // The inner one says it without the library's own prefix.
            kube::Error::Service(error) => Self::Unreachable(error),
            kube::Error::HyperError(error) => Self::Unreachable(Box::new(error)),
            other => Self::Unreachable(Box::new(other)),
        }
    }
}

fn hint(status: &Status) -> Option<String> {
    let missing = |kind: &str| {
        let details = status.details.as_ref();
        details.is_some_and(|details| details.kind == kind)
    };
    let message = status.message.as_str();
    let hint = match status.code {
        401 => "check the token or the client certificate of the agent's kubeconfig",
        403 if ADMISSION.iter().any(|by| message.contains(by)) => {
            "ask the owners of that admission policy"
        }
        403 if message.contains("is being terminated") => {
            "the namespace is going; give the agent another one"
        }
        403 => "give the agent's account the right that is named, in its Role",
        404 if missing(NAMESPACES) => "make the namespace, or name another one",
        // Of a kind it does not serve, an API server says no more than this.
        404 if status.details.is_none() || message.contains(NO_KIND) => {
            "install the agent's kinds: `agent crds | kubectl apply -f -`"
        }
        413 => "split the bundle into smaller ones",
        500 if TOO_LARGE.iter().any(|how| message.contains(how)) => {
            "split the bundle into smaller ones"
        }
        429 | 500.. => "the API server is busy or broken; the agent tries again by itself",
        _ => return None,
    };
    Some(hint.into())
}

/// The longest request body an API server reads (`MaxRequestBodyBytes`, 3 MiB).
pub(super) const LARGEST: usize = 3 * 1024 * 1024;

const NAMESPACES: &str = "namespaces";
const NO_KIND: &str = "could not find the requested resource";
// How an API server begins the message of a webhook or a policy; those about rights and quotas begin otherwise.
const ADMISSION: [&str; 3] = [
    "admission webhook",
    "ValidatingAdmissionPolicy",
    "MutatingAdmissionPolicy",
];
// etcd takes 1.5 MiB unless told otherwise, and its client 2 MiB; the API server passes both on as its own failure.
const TOO_LARGE: [&str; 2] = [
    "etcdserver: request is too large",
    "trying to send message larger than max",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: u16, message: &str) -> ApiRefusal {
        ApiRefusal::Answer(Status::failure(message, "").with_code(code).boxed())
    }

    #[test]
    fn one_object_s_fault_is_told_from_everybody_s() {
        let alone = [
            answer(400, "the object provided is unrecognized"),
            answer(413, "Request entity too large: limit is 3145728"),
            answer(
                422,
                "metadata.annotations: Too long: may not be more than 262144 bytes",
            ),
            answer(
                403,
                "admission webhook \"policy.example\" denied the request: no",
            ),
            answer(
                403,
                "x is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
            ),
            answer(500, "etcdserver: request is too large"),
            ApiRefusal::TooLarge { bytes: LARGEST + 1 },
        ];
        for refusal in alone {
            assert!(refusal.concerns_one_object(), "{refusal}");
        }
        let everybody = [
            answer(401, "Unauthorized"),
            answer(
                403,
                "manifestworks.work.open-cluster-management.io is forbidden: User \"u\" cannot create resource",
            ),
            answer(403, "manifestworks \"a\" is forbidden: exceeded quota: q"),
            answer(
                403,
                "unable to create new content in namespace n because it is being terminated",
            ),
            answer(404, "404 page not found"),
            answer(409, "the object has been modified"),
            answer(429, "too many requests"),
            answer(500, "etcdserver: leader changed"),
            answer(503, "apiserver is shutting down"),
            ApiRefusal::Slow(Duration::from_secs(1)),
        ];
        for refusal in everybody {
            assert!(!refusal.concerns_one_object(), "{refusal}");
        }
    }

    #[test]
    fn every_hint_names_a_next_step() {
        let kinds = answer(404, "404 page not found").hint().unwrap();
        assert_eq!(
            kinds,
            "install the agent's kinds: `agent crds | kubectl apply -f -`"
        );
        assert!(answer(401, "Unauthorized").hint().is_some());
        assert!(
            answer(403, "User \"u\" cannot patch resource")
                .hint()
                .unwrap()
                .contains("Role")
        );
        assert!(answer(409, "modified").hint().is_none());
    }
}
