//! Whether EKS Pod Identity gives this pod keys. Its agent is asked as the SDK asks it when that got nothing: the SDK keeps the
//! status of a refusal and drops its text, which alone tells whether the association or the role's trust is missing.
//!
//! **Contract:** the token is sent as it is in its file, as the SDK does: one that a line break makes useless gets no answer
//! here either.
//! **Invariant:** the pod's token goes to this machine or to the agent's own link-local addresses and nowhere else; of an answer
//! that is no refusal nothing is kept, because it holds keys.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use hyper::Request;
use hyper::header::{AUTHORIZATION, HeaderValue};
use link::fault::{Code, Finding};
use link::http::client::{HttpAddress, HttpClient};
use link::telemetry::clip;
use link::tls::HttpsFiles;

use super::facts::AwsFacts;
use crate::doctor::Context;

/// Whether a pod has keys: they come with its creation, from an association of its namespace and service account. `None` where
/// nobody asked for a secret, or this is no pod that gets its keys so.
pub(super) fn finding(context: &Context, facts: &AwsFacts) -> Option<Finding> {
    let set = |name: &str| variable(name).is_some();
    let asked = context.args.far.secret.is_some();
    if !asked || !set("KUBERNETES_SERVICE_HOST") || set("AWS_ACCESS_KEY_ID") {
        return None;
    }
    if !set("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
        return Some(
            Finding::error(IDENTITY, "this pod was given no credentials (AWS_CONTAINER_CREDENTIALS_FULL_URI is not set)")
                .why("an association that is made after the pod does not reach it, nor does one for another namespace or service account")
                .next(NEXT_ASSOCIATION),
        );
    }
    let Some(words) = &facts.pod else {
        let words = facts.caller.as_ref().err()?.words();
        return Some(Finding::info(IDENTITY, format!("not known: {words}")));
    };
    let says = |kind: &str| words.contains(kind);
    Some(if says("AccessDenied") || says("not authorized") {
        Finding::error(TRUST, format!("the association is there, and the role is not given: {words}"))
            .why("the role must trust `pods.eks.amazonaws.com` for `sts:AssumeRole` and `sts:TagSession`")
            .next("`aws iam get-role --role-name NAME --query Role.AssumeRolePolicyDocument`")
    } else if says("ResourceNotFound") {
        Finding::error(IDENTITY, format!("there is no association any more: {words}"))
            .why("it was deleted or made anew after the pod, which keeps the old one until it is made anew too")
            .next(NEXT_ASSOCIATION)
    } else {
        Finding::error(IDENTITY, words.clone())
            .why("without keys the secret cannot be read, nor AWS be asked")
            .next("look at the log of `eks-pod-identity-agent` on this node, and at the association; then make the pod anew")
    })
}

/// What the agent refuses with, in its words; `None` where there is none, or it does not refuse.
pub(super) async fn refusal(within: Duration) -> Option<String> {
    let uri = variable("AWS_CONTAINER_CREDENTIALS_FULL_URI")?;
    let token = token()?;
    if !is_agent(&uri) {
        return None;
    }
    let path = uri.splitn(4, '/').nth(3).unwrap_or_default();
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = format!("/{path}").parse().ok()?;
    let mut token = HeaderValue::from_str(&token).ok()?;
    token.set_sensitive(true);
    request.headers_mut().insert(AUTHORIZATION, token);
    let address = HttpAddress::parse_insecure(&origin(&uri)).ok()?;
    let client = HttpClient::new(address, HttpsFiles::default()).ok()?;
    let client = client.within(within).answer_bytes(ANSWER_BYTES);
    let answer = client.send(request).await.ok()?;
    if answer.status().is_success() {
        return None;
    }
    let words = String::from_utf8_lossy(answer.body());
    let words = words.trim();
    let status = answer.status().as_u16();
    Some(format!(
        "the agent of Pod Identity answers {status}: {}",
        clip(words, CLIP)
    ))
}

fn token() -> Option<String> {
    let file = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    match file {
        Some(file) => link::file::read_text(Path::new(&file), TOKEN_BYTES).ok(),
        None => variable("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

// Scheme and host, without the path.
fn origin(uri: &str) -> String {
    uri.splitn(4, '/').take(3).collect::<Vec<_>>().join("/")
}

// By its documented addresses, or on this machine.
fn is_agent(uri: &str) -> bool {
    let Some(authority) = uri
        .strip_prefix("http://")
        .and_then(|rest| rest.split('/').next())
    else {
        return false;
    };
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.chars().all(|c| c.is_ascii_digit()) => host,
        _ => authority,
    };
    let host = host.trim_matches(['[', ']']);
    AGENT.contains(&host) || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

const IDENTITY: Code = Code::new(601);
const TRUST: Code = Code::new(602);

const NEXT_ASSOCIATION: &str = "`aws eks list-pod-identity-associations --cluster-name NAME --namespace NS --service-account SA`, then make the pod anew";

const AGENT: [&str; 2] = ["169.254.170.23", "fd00:ec2::23"];

const ANSWER_BYTES: usize = 64 * 1024;

// A token of a service account has about a kilobyte.
const TOKEN_BYTES: u64 = 64 * 1024;

const CLIP: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_to_the_agent_or_to_this_machine_alone() {
        for (uri, expected) in [
            ("http://169.254.170.23/v1/credentials", true),
            ("http://[fd00:ec2::23]/v1/credentials", true),
            ("http://127.0.0.1:1234/v1/credentials", true),
            ("http://169.254.170.23.example/v1", false),
            ("http://10.0.0.1/v1", false),
            ("https://example.com/v1", false),
            ("", false),
        ] {
            assert_eq!(is_agent(uri), expected, "{uri}");
        }
        assert_eq!(origin("http://127.0.0.1:1/v1/a"), "http://127.0.0.1:1");
    }
}
